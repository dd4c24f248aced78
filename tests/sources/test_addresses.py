"""Which addresses images, videos and live streams may come from, and how videos come over http(s)."""

import socket
import subprocess
import sys
from contextlib import closing

import cv2
import numpy as np
import pytest

pytest.importorskip("av")

from mien.errors import SourceError
from mien.sources._remote import Remote
from mien.sources.addresses import AddressRule, camera_rule, is_plainly_local, pinned, public_name, without_login
from mien.sources.images import SourceSettings, read_image
from mien.sources.live import LiveSettings, LiveSource
from mien.sources.videos import Video, VideoSettings
from rtsp_camera import RtspCamera
from videos import numbered, read_number, write_video
from web_files import WebFiles

LOCAL = VideoSettings(allow_private=True)
DISGUISES = ("127.0.0.1", "[::ffff:127.0.0.1]", "2130706433", "0177.0.0.1", "localhost", "rebound.example")


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """An MP4 whose index is at its end, with key frames every 12."""
    path = write_video(tmp_path_factory.mktemp("clip") / "clip.mp4", numbered(60), audio=True)
    return path.read_bytes()


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """A playlist of two parts, in MPEG transport streams."""
    folder = tmp_path_factory.mktemp("parts")
    files = {}
    for number in range(2):
        images = numbered(25, start=25 * number)
        path = write_video(folder / f"part{number}.ts", images, start_s=10.0 + number)
        files[f"/part{number}.ts"] = path.read_bytes()
    return files


@pytest.fixture
def web():
    with WebFiles() as server:
        server.files["/image.png"] = cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
        yield server


@pytest.fixture(autouse=True)
def names(monkeypatch):
    """`rebound.example` leads to 127.0.0.1, and `public.example` to a public address."""
    known = {"rebound.example": "127.0.0.1", "public.example": "93.184.216.34"}
    real = socket.getaddrinfo

    def look_up(host, port, *args, **kwargs):
        return real(known.get(host, host), port, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)


def playlist(*names):
    lines = ["#EXTM3U", "#EXT-X-VERSION:3", "#EXT-X-TARGETDURATION:1"]
    lines += [line for name in names for line in ("#EXTINF:1.0,", name)]
    return "\n".join([*lines, "#EXT-X-ENDLIST", ""]).encode()


def numbers(source, settings=LOCAL):
    with Video(source, settings) as video:
        return [read_number(frame.image) for frame in video]


# What is refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", DISGUISES)
@pytest.mark.parametrize("what", ["image", "video"])
def test_images_and_videos_of_private_addresses_are_refused_however_they_are_written(web, what, host):
    web.files["/x.mp4"] = b"secret"
    url = f"http://{host}:{web.port}/"
    with pytest.raises(SourceError, match="not a public address; pass --allow-private") as said:
        read_image(url + "image.png") if what == "image" else Video(url + "x.mp4")
    assert str(said.value).startswith(url)
    assert web.requests == []


@pytest.mark.parametrize("host", ["[::ffff:127.0.0.1]", "2130706433", "0177.0.0.1", "0x7f.1", "rebound.example"])
@pytest.mark.parametrize("scheme", ["http", "rtsp", "rtmp", "tcp"])
def test_a_stream_is_not_led_to_a_private_address_in_disguise(host, scheme):
    with socket.create_server(("127.0.0.1", 0)) as inside:
        url = f"{scheme}://{host}:{inside.getsockname()[1]}/live"
        with pytest.raises(SourceError, match="not a public address; pass --allow-private"):
            LiveSource(url)
        if scheme != "http":
            with pytest.raises(SourceError, match="not a public address; pass --allow-private"):
                Video(url)
        inside.settimeout(0)
        with pytest.raises(BlockingIOError):
            inside.accept()


def test_a_camera_may_be_in_the_private_network_where_its_address_says_so(web, clip):
    web.files["/clip.mp4"] = clip
    for host in ("127.0.0.1", "localhost"):
        with LiveSource(f"http://{host}:{web.port}/clip.mp4", LiveSettings(realtime=False)) as source:
            assert read_number(source.newest(timeout_s=10).image) == 0
    with LiveSource(f"http://rebound.example:{web.port}/clip.mp4", LiveSettings(allow_private=True)) as source:
        assert source.newest(timeout_s=10) is not None


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("192.168.1.10", True), ("10.0.0.1", True), ("169.254.7.7", True), ("fd00::1", True), ("::1", True),
        ("localhost", True), ("camera", True), ("Front-Door.local", True), ("cam.home.arpa", True),
        ("8.8.8.8", False), ("example.org", False), ("local.example.org", False), ("2130706433", False),
        ("0177.0.0.1", False), ("0x7f000001", False), ("::ffff:127.0.0.1", False), ("64:ff9b::7f00:1", False),
        ("", False),
    ],
)  # fmt: skip
def test_what_is_plainly_local(host, local):
    assert is_plainly_local(host) is local


@pytest.mark.parametrize("what", ["image", "video", "live"])
def test_a_redirect_to_another_private_host_is_refused(web, what):
    with WebFiles() as inside:
        inside.files["/x"] = b"secret"
        web.redirects["/away"] = f"http://localhost:{inside.port}/x"
        rule = AddressRule(camera="127.0.0.1")  # as if 127.0.0.1 were public
        url = web.url + "/away"
        with pytest.raises(SourceError, match=r"leads to (::1|127\.0\.0\.1), not a public address"):
            if what == "live":
                LiveSource(url)
            elif what == "image":
                read_with(url, rule)
            else:
                video_with(url, rule)
        assert [path for path, _ in web.requests] == ["/away"]
        assert inside.requests == []


def read_with(url, rule):
    from mien.sources._fetch import FetchLimits, fetch

    fetch(url, FetchLimits(1000, 5, 5, 3), rule, name=url)


def video_with(url, rule):
    from mien.sources._frames import Problems
    from mien.sources.videos import open_reader

    return open_reader(url, Problems(), rule=rule)


def test_a_redirect_to_a_file_or_another_protocol_is_refused(web):
    for target in ("file:///etc/passwd", "rtsp://127.0.0.1/x", "ftp://127.0.0.1/x"):
        web.redirects["/away"] = target
        with pytest.raises(SourceError, match="only http and https are fetched"):
            Video(web.url + "/away", LOCAL)


@pytest.mark.parametrize(
    "target", ["http://localhost:{port}/part0.ts", "file:///etc/passwd", "tcp://127.0.0.1:{port}/x"]
)
def test_a_playlist_does_not_reach_another_private_host_or_a_file(web, parts, target):
    with WebFiles() as inside:
        inside.files |= parts
        web.files["/list.m3u8"] = playlist(target.format(port=inside.port))
        url = web.url + "/list.m3u8"
        for opening in (lambda: video_with(url, AddressRule(camera="127.0.0.1")), lambda: LiveSource(url)):
            with pytest.raises(SourceError) as said:
                opening()
            assert str(said.value).startswith(url)
            if target.startswith("http"):
                assert "not a public address" in str(said.value)
        assert inside.requests == []


def test_a_playlist_from_a_file_reaches_nothing_but_files(tmp_path, web, parts):
    web.files |= parts
    path = tmp_path / "list.m3u8"
    path.write_bytes(playlist(web.url + "/part0.ts"))
    with pytest.raises(SourceError):
        Video(path, LOCAL)
    assert web.requests == []


def test_ffmpeg_gets_the_address_that_was_checked_and_no_other_look_up():
    answers = iter([["8.8.8.8"], ["127.0.0.1"]])
    rule = AddressRule(resolve=lambda *_: next(answers))
    url = "rtsp://me:se@public.example:8554/live?x=1"
    assert pinned(url, rule, name="it", timeout_s=5) == "rtsp://me:se@8.8.8.8:8554/live?x=1"
    six = AddressRule(resolve=lambda *_: ["2606:4700::1111"])
    assert pinned("rtsp://public.example/live", six, name="it", timeout_s=5) == "rtsp://[2606:4700::1111]/live"
    assert pinned("udp://@:1234", AddressRule(), name="it", timeout_s=5) == "udp://@:1234"
    with pytest.raises(SourceError, match=r"it leads to 10\.0\.0\.1"):
        pinned("srt://x.example:1", AddressRule(resolve=lambda *_: ["8.8.8.8", "10.0.0.1"]), name="it", timeout_s=5)
    assert camera_rule("rtsp://192.168.1.10/x", allow_private=False).camera == "192.168.1.10"
    assert camera_rule("rtsp://example.org/x", allow_private=False).camera is None


def test_names_of_addresses_hold_no_password():
    assert without_login("http://me:se@cret@cam/live?pwd=x") == "http://cam/live?pwd=x"
    assert public_name("http://me:se@cret@cam/live?pwd=x") == "http://cam/live?…"


# Videos over http -----------------------------------------------------------------------------------------------------


def test_a_video_over_http_gives_all_frames_and_can_be_entered_anywhere(web, clip):
    web.files["/clip.mp4"] = clip
    url = web.url + "/clip.mp4"
    with Video(url, LOCAL) as video:
        assert (video.info.source, video.info.frames) == (url, 60)
    assert numbers(url) == list(range(60))
    assert numbers(url, VideoSettings(start_s=1.5, allow_private=True)) == list(range(38, 60))
    assert all(headers["Range"].startswith("bytes=") for _, headers in web.requests)


def test_a_redirect_is_followed_where_it_may_lead(web, clip):
    web.files["/real/clip.mp4"] = clip
    web.redirects["/clip.mp4"] = "/real/clip.mp4"
    assert numbers(web.url + "/clip.mp4") == list(range(60))
    assert numbers(f"http://localhost:{web.port}/clip.mp4") == list(range(60))


def test_a_server_without_ranges_gives_what_needs_no_seek_and_says_what_does(tmp_path, clip):
    mkv = write_video(tmp_path / "clip.mkv", numbered(20)).read_bytes()
    with WebFiles(ranges=False) as web:
        web.files |= {"/clip.mkv": mkv, "/clip.mp4": clip + b"\0" * (8 << 20)}
        assert numbers(web.url + "/clip.mkv") == list(range(20))
        web.files["/big.mp4"] = big_with_index_at_the_end(clip)
        with pytest.raises(SourceError, match="its server gives no parts of files; download it first"):
            Video(web.url + "/big.mp4", LOCAL)


def big_with_index_at_the_end(clip):
    """Return the MP4 without its index: what a reader sees that cannot go there."""
    return clip[: clip.index(b"moov") - 4]


@pytest.mark.parametrize("ranges", [True, False])
def test_an_answer_that_is_cut_off_is_an_error_and_no_short_video(tmp_path, ranges):
    data = write_video(tmp_path / "clip.ts", numbered(200)).read_bytes()
    with WebFiles(ranges=ranges) as web:
        web.files["/clip.ts"] = data
        web.cut_after = len(data) // 2
        frames = []
        with Video(web.url + "/clip.ts", LOCAL) as video:
            rest = iter(video)
            with pytest.raises(SourceError, match=r"breaks off .*was cut off after [\d,]+ of [\d,]+ bytes"):
                while True:
                    frames.append(read_number(next(rest).image))
        assert frames and frames == list(range(len(frames)))


def test_what_came_before_a_break_can_be_read_again():
    data = bytes(range(256)) * 100
    with WebFiles(ranges=True) as web:
        web.files["/clip.ts"] = data
        web.cut_after = 20_000
        with closing(Remote(f"{web.url}/clip.ts", AddressRule(allow_private=True), name="clip", timeout_s=5)) as remote:
            file = remote.open(remote.url, 0, {})
            came = b"".join(iter(lambda: file.read(4096), b""))
            assert came == data[:20_000]
            file.seek(0)  # as FFmpeg does once it has looked through what there is
            assert b"".join(iter(lambda: file.read(4096), b"")) == came
            assert "was cut off after 20,000 of 25,600 bytes" in remote.failure


def test_a_connection_that_breaks_is_taken_up_again_where_parts_are_given(tmp_path):
    data = write_video(tmp_path / "clip.ts", numbered(200)).read_bytes()

    class Breaking(WebFiles):
        def answer(self, handler):
            start = int(handler.headers["Range"][6:-1])
            self.cut_after = start + max(1, len(data) // 5)
            super().answer(handler)

    with Breaking() as web:
        web.files["/clip.ts"] = data
        assert numbers(web.url + "/clip.ts") == list(range(200))


def test_a_file_that_changes_meanwhile_is_an_error(tmp_path):
    data = write_video(tmp_path / "clip.ts", numbered(200)).read_bytes()

    class Changing(WebFiles):
        def answer(self, handler):
            start = int(handler.headers["Range"][6:-1])
            self.cut_after = len(data) // 2
            self.files["/clip.ts"] = data + b"\0" if start else data
            super().answer(handler)

    with Changing() as web, pytest.raises(SourceError, match="changed while it was read"):
        numbers(web.url + "/clip.ts")


def test_a_playlist_over_http_is_read_part_by_part(web, parts):
    web.files |= parts | {"/list.m3u8": playlist("part0.ts", f"{web.url}/part1.ts"), "/list": playlist("part0.ts")}
    web.types["/list"] = "application/vnd.apple.mpegurl"
    assert numbers(web.url + "/list.m3u8") == list(range(50))
    assert numbers(web.url + "/list") == list(range(25))
    web.redirects["/moved"] = "/list.m3u8"
    assert numbers(web.url + "/moved") == list(range(50))


def test_a_part_that_is_missing_is_an_error_and_no_short_video(web, parts):
    web.files |= {"/part0.ts": parts["/part0.ts"], "/list.m3u8": playlist("part0.ts", "part1.ts")}
    with pytest.raises(SourceError, match=r"breaks off .*part1\.ts.*answers 404"):
        numbers(web.url + "/list.m3u8")


@pytest.mark.parametrize("kind", ["basic", "digest"])
def test_a_login_is_given_to_its_own_host_alone(clip, kind):
    with WebFiles(login=(kind, "me", "se cret")) as web, WebFiles() as other:
        web.files["/clip.mp4"] = other.files["/clip.mp4"] = clip
        url = f"http://me:se%20cret@127.0.0.1:{web.port}"
        assert numbers(url + "/clip.mp4") == list(range(60))
        web.redirects["/away"] = other.url + "/clip.mp4"
        assert numbers(url + "/away") == list(range(60))
        assert not any("Authorization" in headers for _, headers in other.requests)
        with pytest.raises(SourceError, match="answers 401") as said:
            Video(f"http://me:wrong@127.0.0.1:{web.port}/clip.mp4", LOCAL)
        assert "wrong" not in str(said.value)


def test_a_page_that_is_no_video_says_so(web):
    web.files["/page"] = b"<html>" + b"no video " * 1000
    with pytest.raises(SourceError, match="is not a video"):
        Video(web.url + "/page", LOCAL)
    with pytest.raises(SourceError, match="answers 404"):
        Video(web.url + "/absent.mp4", LOCAL)


def test_a_silent_server_is_given_up(monkeypatch):
    from mien.sources import videos

    monkeypatch.setattr(videos, "URL_TIMEOUT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(SourceError, match="does not answer in time"):
        Video(f"http://127.0.0.1:{silent.getsockname()[1]}/x.mp4", LOCAL)


def test_the_settings_of_images_hold_for_images(web):
    assert read_image(web.url + "/image.png", settings=SourceSettings(allow_private=True)).image.shape == (8, 8, 3)


def test_importing_the_room_loads_no_ffmpeg_and_no_network():
    program = (
        "import sys, cv2, numpy; known = set(sys.modules)\n"
        "import mien.sources.videos, mien.sources.live, mien.sources.images, mien.sources.addresses\n"
        "import mien.sources; [getattr(mien.sources, name) for name in mien.sources.__all__]\n"
        "new = set(sys.modules) - known\n"
        "print(sorted(new & {'av', 'ssl', 'http.client', 'urllib.request', 'mien.sources._http'}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


# Cameras --------------------------------------------------------------------------------------------------------------


def test_a_camera_over_rtsp_gives_its_frames(parts):
    with RtspCamera(parts["/part0.ts"]) as camera:
        with LiveSource(camera.url, LiveSettings(stall_s=1, reconnect_s=0)) as source:
            assert read_number(source.newest(timeout_s=10).image) < 25
        assert numbers(camera.url, VideoSettings(max_frames=3)) == [0, 1, 2]


@pytest.mark.parametrize("scheme", ["rtsp", "rtsps", "tcp", "http", "file"])
def test_a_camera_cannot_redirect_to_another_host(parts, scheme):
    with RtspCamera(parts["/part0.ts"]) as inside:
        target = f"{scheme}://127.0.0.1:{inside.port}/live"
        for opening in (LiveSource, Video):
            with (
                RtspCamera(redirect=target) as camera,
                pytest.raises(SourceError, match=r"redirects to another|is not a video") as said,
            ):
                opening(camera.url)
            assert camera.requests[-1].startswith("DESCRIBE")
            assert str(said.value).startswith(camera.url)
        assert inside.connections == 0


@pytest.mark.parametrize("target", ["{inside}/part0.ts", "file:///etc/passwd", "tcp://127.0.0.1:{port}"])
@pytest.mark.parametrize("kind", ["concat", "sdp", "master"])
def test_no_other_file_that_names_addresses_reaches_them(web, parts, kind, target):
    with WebFiles() as inside:
        inside.files |= parts
        target = target.format(inside=inside.url, port=inside.port)
        web.files["/x"] = {
            "concat": f"ffconcat version 1.0\nfile '{target}'\nduration 1\n",
            "sdp": f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {inside.port} RTP/AVP 33\n"
            f"a=control:{target}\n",
            "master": f'#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="x",URI="{target}"\n'
            f'#EXT-X-STREAM-INF:BANDWIDTH=1,AUDIO="a"\n{target}\n',
        }[kind].encode()
        web.types["/x"] = "application/vnd.apple.mpegurl" if kind == "master" else "text/plain"
        with pytest.raises(SourceError):
            video_with(web.url.replace("127.0.0.1", "localhost") + "/x", AddressRule(camera="localhost"))
        assert web.requests and inside.requests == []
