"""`mien analyze` on videos, alone and beside images, as its users meet it."""

import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path

import cv2
import pytest

pytest.importorskip("av")

from conftest import EXAMPLES

from helpers import names_in, rows, table, wait_for
from mien.faces import COLUMNS, columns_of
from mien.labels import COMBINED8
from mien.output.rows import INTERRUPTED_ROW
from mien.sources.videos import Video
from videos import portraits, write_two_streams, write_video

ASTRONAUT = EXAMPLES / "astronaut.jpg"
FRAMES, LONG = 30, 700


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """30 frames at 25/s of a moving smile."""
    return write_video(tmp_path_factory.mktemp("clip") / "clip.mp4", portraits(FRAMES, scale=0.45), audio=True)


class TestOneVideo:
    def test_workers_share_a_video_and_nothing_else_changes(self, mien, tmp_path):
        pd = pytest.importorskip("pandas")
        long = write_video(tmp_path / "long.mp4", portraits(620, scale=0.45), fps=20, gop=20)
        for name, options in (("one", ()), ("two", ("--workers", "2"))):
            code, _, err = mien("analyze", long, "--model", "mien-s", "-o", tmp_path / f"{name}.csv", *options)
            assert code == 0, err
        one, two = (pd.read_csv(tmp_path / f"{name}.csv") for name in ("one", "two"))
        assert len(one) == 620 and one["steady_expression"].equals(two["steady_expression"])
        assert one[["frame", "track_id", "x1", "y2"]].equals(two[["frame", "track_id", "x1", "y2"]])

    @pytest.mark.parametrize("number", ["many", "-1", "1.5"])
    def test_a_number_of_workers_that_is_none_is_named(self, mien, clip, number):
        code, _, err = mien("analyze", clip, "--workers", number)
        assert code == 2 and "--workers must be a whole number, or auto for one per core" in err

    def test_a_start_beyond_the_end_says_how_long_the_video_is(self, mien, clip, tmp_path):
        code, out, err = mien("analyze", clip, "--start", "30", "-o", tmp_path / "rows.csv")
        assert (code, out) == (2, "")
        assert "is 1.20 s long, and start_s = 30 leaves none of its frames; start earlier" in err
        assert names_in(tmp_path) == []
        code, _, err = mien("analyze", clip, "--start", "3", "--end", "2")
        assert code == 2 and "--end must be after --start = 3.0, got 2.0" in err

    @pytest.mark.parametrize(
        ("module", "output", "extra"), [("matplotlib", "out", "plots"), ("pyarrow", "a.parquet", "data")]
    )
    def test_a_missing_extra_is_said_before_anything_is_made(
        self, mien, clip, tmp_path, monkeypatch, module, output, extra
    ):
        monkeypatch.setitem(sys.modules, module, None)
        sources = [(clip,), (clip, ASTRONAUT, clip)][: 2 if output == "out" else 1]
        for given in sources:
            code, _, err = mien("analyze", *given, "-o", tmp_path / "new" / output)
            assert code == 2 and f"mien[{extra}]" in err
            assert names_in(tmp_path) == []

    def test_of_two_streams_one_is_named_and_can_be_chosen(self, mien, tmp_path):
        two = write_two_streams(tmp_path / "two.mkv")
        code, _, err = mien("analyze", two, "-o", tmp_path / "rows.csv")
        assert code == 0 and "holds 2 video streams (0: 96x64, 1: 192x128)" in err
        code, _, err = mien("analyze", two, "--video-stream", "1", "-o", tmp_path / "a.mp4")
        assert code == 0 and "video streams" not in err
        with Video(tmp_path / "a.mp4") as video:
            assert (video.info.width, video.info.height) == (192, 128)

    def test_piped_output_is_a_row_per_face_and_frame(self, mien, clip):
        code, out, err = mien("analyze", clip)
        assert (code, err) == (0, "")
        found = rows(out)
        assert list(found[0]) == [*columns_of(COMBINED8, tracked=True), "error"]
        assert [row["frame"] for row in found] == list(range(FRAMES))
        assert {row["track_id"] for row in found} == {1}
        assert {row["steady_expression"] for row in found} == {"happy"}

    def test_every_kind_of_output_at_once(self, mien, clip, tmp_path):
        pytest.importorskip("pyarrow")
        import pyarrow.parquet

        outputs = [x for name in ("r.jsonl", "r.csv", "r.parquet", "a.mp4", "a.mkv") for x in ("-o", tmp_path / name)]
        more = ["--summary", tmp_path / "s.json", "--timeline", tmp_path / "t.html", "--moments", tmp_path / "m.png"]
        code, out, err = mien("analyze", clip, *outputs, *more, "--bars", "--landmarks")
        assert (code, out) == (0, "")
        assert err.count("wrote ") == 8 and f"wrote {tmp_path / 'r.csv'}\n" in err
        lines = rows((tmp_path / "r.jsonl").read_text())
        assert lines == pyarrow.parquet.read_table(tmp_path / "r.parquet").to_pylist()
        assert [row["x1"] for row in table(tmp_path / "r.csv")] == [str(row["x1"]) for row in lines]
        for name in ("a.mp4", "a.mkv"):
            with Video(tmp_path / name) as video:
                assert video.info.has_audio and sum(1 for _ in video) == FRAMES
        assert json.loads((tmp_path / "s.json").read_text())["share"]["happy"] == 1
        assert "<html" in (tmp_path / "t.html").read_text()
        assert cv2.imread(str(tmp_path / "m.png")).std() > 5
        assert len(names_in(tmp_path)) == 8

    def test_a_folder_gets_everything(self, mien, clip, tmp_path):
        pytest.importorskip("matplotlib")
        code, _, _ = mien("analyze", clip, "-o", f"{tmp_path}/out/", "-q", "--interval", "0.5s", "--every", 5)
        assert code == 0
        assert names_in(tmp_path / "out") == [
            "annotated.mp4", "intervals.csv", "moments.png", "rows.csv", "summary.csv", "summary.json",
            "timeline.html", "timeline.png",
        ]  # fmt: skip

    def test_intervals(self, mien, clip, tmp_path):
        _, out, _ = mien("analyze", clip, "--interval", "0.5s", "-o", tmp_path / "i.csv", "--json")
        assert [(row["interval"], row["frames"], row["expression"]) for row in rows(out)] == [
            (0, 13, "happy"), (1, 12, "happy"), (2, 5, "happy"),
        ]  # fmt: skip
        assert [row["frames"] for row in table(tmp_path / "i.csv")] == ["13", "12", "5"]

    def test_which_frames(self, mien, clip):
        _, out, _ = mien("analyze", clip, "--start", "0:00.2", "--end", "1s", "--fps", "5")
        assert [row["frame"] for row in rows(out)] == [5, 10, 15, 20]
        _, out, _ = mien("analyze", clip, "--every", "4", "--max-frames", "3")
        assert [row["frame"] for row in rows(out)] == [0, 4, 8]

    def test_truth_is_scored_at_the_end(self, mien, clip, tmp_path):
        (tmp_path / "truth.csv").write_text("start_s,end_s,expression\n0,0.6,happy\n0.6,,sad\n")
        _, out, err = mien("analyze", clip, "--truth", tmp_path / "truth.csv")
        assert len(rows(out)) == FRAMES
        assert "50.0% of 30 frames right" in err

    def test_other_labels_smoothing_and_search(self, mien, clip):
        arguments = ("--labels", "ferplus", "--half-life", "0", "--detect-every", "0", "--reid", "--max-frames", "5")
        _, out, _ = mien("analyze", clip, *arguments)
        for row in rows(out):
            assert (
                row["smooth_happiness" if "happiness" in row else "smooth_happy"]
                == row["happiness" if "happiness" in row else "happy"]
            )

    def test_a_gif_that_moves_is_a_video_and_one_that_does_not_an_image(self, mien, tmp_path):
        write_video(tmp_path / "moves.gif", portraits(3, scale=0.45), codec="gif", fps=10)
        write_video(tmp_path / "still.gif", portraits(1, scale=0.45), codec="gif", fps=10)
        _, out, _ = mien("analyze", tmp_path / "moves.gif")
        assert [row["frame"] for row in rows(out)] == [0, 1, 2]
        _, out, _ = mien("analyze", tmp_path / "still.gif")
        assert list(rows(out)[0]) == [*COLUMNS, *COMBINED8.names, "error"]

    def test_images_in_a_row_are_a_video(self, mien, tmp_path):
        for number, image in enumerate(portraits(4, scale=0.45, amount_px=4)):
            cv2.imwrite(str(tmp_path / f"f{number:02}.png"), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        _, out, _ = mien("analyze", tmp_path / "f%02d.png")
        assert [(row["frame"], row["time_s"], row["track_id"]) for row in rows(out)] == [
            (0, 0, 1), (1, 0.04, 1), (2, 0.08, 1), (3, 0.12, 1),
        ]  # fmt: skip

    def test_a_url_of_a_video(self, mien, tmp_path):
        write_video(tmp_path / "clip.mkv", portraits(FRAMES, scale=0.45))  # can be read without a seek
        handler = partial(SimpleHTTPRequestHandler, directory=tmp_path)
        with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            address = f"127.0.0.1:{server.server_port}/clip.mkv"
            code, _, err = mien("analyze", f"http://{address}", "-q")
            assert code == 1 and "not a public address; pass --allow-private" in err
            code, out, _ = mien("analyze", f"http://me:secret@{address}", "--allow-private", "--every", "10")
            server.shutdown()
        assert code == 0 and {row["source"] for row in rows(out)} == {f"http://{address}"}
        assert len(rows(out)) == 3

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("-o", "x.png"), "use --timeline or --moments for images"),
            (("-o", "x.xlsx"), "unknown extension '.xlsx'; known: .jsonl"),
            (("-o", "-"), "cannot write to -; for JSON on standard output"),
            (("--timeline", "x.gif"), "a timeline ends in .png, .svg"),
            (("--summary", "x.xlsx"), "a summary ends in .json, .csv, .md"),
            (("--moments", "x.csv"), "a sheet of moments ends in .jpg"),
            (("--every", "2", "--fps", "3"), "give every or fps, not both"),
            (("--start", "3", "--end", "2"), "--end must be after --start"),
            (("--start", "soon"), "--start must be seconds"),
            (("--interval", "0s"), "interval_s must be at least 0.001"),
            (("--half-life", "-1"), "--half-life must be 0 or more"),
            (("--resume",), "give the same -o again"),
            (("--truth", "no.csv"), "no.csv"),
        ],
    )
    def test_wrong_use_names_the_fix(self, mien, clip, tmp_path, monkeypatch, arguments, message):
        monkeypatch.chdir(tmp_path)
        code, out, err = mien("analyze", clip, *arguments)
        assert (code, out) == (2, "")
        assert message in err.replace("\n", " ")
        assert names_in(tmp_path) == []

    def test_options_of_videos_are_refused_for_images(self, mien, tmp_path):
        code, _, err = mien("analyze", ASTRONAUT, "--every", "2", "--timeline", tmp_path / "t.png")
        assert code == 2
        assert "--timeline, --every" in err
        code, _, err = mien("analyze", ASTRONAUT, "-o", tmp_path / "a.mp4")
        assert code == 2 and "give a folder for annotated images" in err.replace("\n", " ")
        assert names_in(tmp_path) == []

    @pytest.mark.parametrize("asked", [("-o", "annotated.mp4"), ("-o", "rows.csv", "--timeline", "t.png")])
    def test_a_video_that_is_missing_is_named_before_what_is_for_videos_only(self, mien, tmp_path, monkeypatch, asked):
        monkeypatch.chdir(tmp_path)
        code, _, err = mien("analyze", "interview.mp4", *asked)
        assert code == 2
        assert "interview.mp4 does not exist; check the spelling" in err.replace("\n", " ")
        assert "videos only" not in err and names_in(tmp_path) == []

    def test_a_file_that_is_no_video_is_one_error_record(self, mien, tmp_path):
        (tmp_path / "bad.mp4").write_text("no video")
        code, out, err = mien("analyze", tmp_path / "bad.mp4", "-o", tmp_path / "rows.csv", "--json")
        assert code == 1
        (row,) = rows(out)
        (same,) = table(tmp_path / "rows.csv")
        assert "is not a video" in row["error"] and row["error"] == same["error"]
        assert "1 of 1 sources failed" in err
        code, _, _ = mien("analyze", tmp_path / "missing.mp4")
        assert code == 1

    def test_the_smile_clip_is_neutral_then_happy_then_neutral(self, mien, shared):
        _, out, _ = mien("analyze", shared / "data" / "media" / "single_face.mp4")
        shown = [row["expression"] for row in rows(out)]
        changes = [shown[0]] + [b for a, b in pairwise(shown) if a != b]
        assert len(shown) == 72 and changes == ["neutral", "happy", "neutral"]
        assert 15 <= shown.index("happy") <= 22  # the smile begins between these frames, and ends before the last two
        assert shown[-2:] == ["neutral"] * 2


class TestManyVideos:
    @pytest.fixture
    def folder(self, clip, tmp_path):
        """Two videos of one name, a bad one and an image."""
        (tmp_path / "in" / "sub").mkdir(parents=True)
        shutil.copy(clip, tmp_path / "in" / "clip.mp4")
        shutil.copy(clip, tmp_path / "in" / "sub" / "clip.mp4")
        (tmp_path / "in" / "bad.mov").write_text("no video")
        shutil.copy(ASTRONAUT, tmp_path / "in")
        return tmp_path / "in"

    def test_videos_and_images_in_one_table_in_order(self, mien, folder, tmp_path):
        code, out, err = mien("analyze", folder, "-o", tmp_path / "all.csv", "--json")
        assert code == 1
        assert "bad.mov is not a video" in err and "1 of 4 sources failed" in err
        found = table(tmp_path / "all.csv")
        sources = list(dict.fromkeys(row["source"] for row in found))
        assert [Path(source).name for source in sources] == ["astronaut.jpg", "bad.mov", "clip.mp4", "clip.mp4"]
        assert len(found) == len(rows(out)) == 2 + 2 * FRAMES
        first, second = ([{**row, "source": ""} for row in found if row["source"] == source] for source in sources[2:])
        assert first == second and len(first) == FRAMES
        assert names_in(tmp_path) == ["all.csv", "in"]

    def test_a_folder_for_each_video(self, mien, folder, tmp_path):
        pytest.importorskip("matplotlib")
        code, _, _ = mien("analyze", folder, "-o", f"{tmp_path}/out/", "-q", "--jobs", "1", "--every", "5")
        assert code == 1
        out = tmp_path / "out"
        assert names_in(out) == ["astronaut.jpg", "clip", "rows.csv", "sub", "summary.csv"]
        assert names_in(out / "clip") == names_in(out / "sub" / "clip")
        assert len(table(out / "sub" / "clip" / "rows.csv")) == FRAMES / 5
        assert len(table(out / "rows.csv")) == 2 + 2 * FRAMES / 5
        sums = table(out / "summary.csv")
        assert [(Path(row["source"]).name, row["track_id"], row["expression"]) for row in sums] == [
            ("astronaut.jpg", "", "happy"), ("bad.mov", "", ""),
            *2 * [("clip.mp4", "", "happy"), ("clip.mp4", "1", "happy")],
        ]  # fmt: skip
        assert "is not a video" in sums[1]["error"]

    @pytest.mark.parametrize("kind", ["csv", "json", "md"])
    def test_one_summary_of_all(self, mien, folder, tmp_path, kind):
        target = tmp_path / f"s.{kind}"
        code, out, err = mien("analyze", folder, "--summary", target, "--every", 10)
        assert (code, out) == (1, "")
        assert f"wrote {target}\n" in err
        text = target.read_text()
        assert text.count("bad.mov") >= 1 and text.count("clip.mp4") >= 2
        if kind == "json":
            assert [(one["dominant"], one["frames"]) for one in json.loads(text)] == [
                ("happy", 1), (None, 0), ("happy", 3), ("happy", 3),
            ]  # fmt: skip

    def test_quiet_is_quiet(self, mien, folder, tmp_path):
        shutil.rmtree(folder / "sub")
        (folder / "bad.mov").unlink()
        for arguments in (("-o", tmp_path / "all.csv"), (), ("--json",)):
            assert mien("analyze", folder, "--every", 10, *arguments, "-q") == (0, "", "")

    def test_intervals_of_several_videos(self, mien, folder, tmp_path):
        mien("analyze", folder, "-o", tmp_path / "i.csv", "--interval", "1s", "-q")
        found = [(Path(row["source"]).name, row["interval"], row["frames"]) for row in table(tmp_path / "i.csv")]
        clip = [("clip.mp4", "0", "25"), ("clip.mp4", "1", "5")]
        assert found == [("astronaut.jpg", "0", "1"), ("bad.mov", "", ""), *clip, *clip]

    def test_outputs_for_one_video_are_refused(self, mien, folder, tmp_path):
        for arguments in (("-o", tmp_path / "a.mp4"), ("--timeline", tmp_path / "t.html")):
            code, _, err = mien("analyze", folder, *arguments)
            assert code == 2
            assert "is for one video, but there are 4 sources; use -o FOLDER/" in err.replace("\n", " ")

    def test_a_folder_without_either(self, mien, tmp_path):
        code, _, err = mien("analyze", tmp_path)
        assert code == 1
        assert "is a folder without images and videos" in err


def start(*arguments, **more):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONWARNINGS": "default"}
    command = [sys.executable, "-m", "mien", "analyze", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, **more)


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory):
    """700 frames, more than are done before a signal arrives."""
    return write_video(tmp_path_factory.mktemp("long") / "long.mp4", portraits(LONG, size=(160, 120), scale=0.22))


class TestInterrupted:
    def test_ctrl_c_keeps_what_was_done_and_resume_does_the_rest(self, long_clip, tmp_path):
        outputs = ["-o", tmp_path / "rows.csv", "-o", tmp_path / "a.mp4", "--summary", tmp_path / "s.json"]
        with start(long_clip, *outputs, "--json") as process:
            for _ in range(50):
                process.stdout.readline()
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
        assert process.returncode == 130
        assert b"--resume goes on from here" in err
        *done, last = table(tmp_path / "rows.csv")
        assert last["error"] == INTERRUPTED_ROW
        assert [row["frame"] for row in done] == [str(n) for n in range(len(done))] and 50 <= len(done) < LONG
        with Video(tmp_path / "a.mp4") as video:
            assert sum(1 for _ in video) == len(done)
        assert json.loads((tmp_path / "s.json").read_text())["frames"] == len(done)
        with start(long_clip, *outputs, "--resume", "-q") as process:
            assert process.wait(timeout=120) == 0
        whole = table(tmp_path / "rows.csv")
        assert [row["frame"] for row in whole] == [str(n) for n in range(LONG)]
        assert whole[: len(done)] == done
        assert names_in(tmp_path) == ["a.mp4", "rows.csv", "s.json"]

    def test_a_second_ctrl_c_ends_at_once(self, long_clip, tmp_path):
        with start(long_clip, "-o", tmp_path / "a.mp4", "--json") as process:
            process.stdout.readline()
            process.send_signal(signal.SIGSTOP)  # both signals are there when it goes on
            process.send_signal(signal.SIGINT)
            process.send_signal(signal.SIGCONT)
            process.stderr.readline()
            process.send_signal(signal.SIGINT)
            began = time.monotonic()
            process.communicate(timeout=60)
        assert process.returncode == 130 and time.monotonic() - began < 5

    @pytest.mark.slow
    def test_ctrl_c_and_kill_with_several_videos(self, long_clip, tmp_path):
        (tmp_path / "in").mkdir()
        for number in range(2):
            shutil.copy(long_clip, tmp_path / "in" / f"{number}.mp4")
        arguments = [tmp_path / "in", "-o", tmp_path / "rows.csv", "-q", "--jobs", 2]
        for kind in (signal.SIGINT, signal.SIGKILL):
            with start(*arguments, "--resume", start_new_session=True) as process:
                journals = wait_for(lambda: list(tmp_path.glob(".mien-*.work/*.journal")))
                sizes = [path.stat().st_size for path in journals]
                wait_for(lambda sizes=sizes, paths=journals: [p.stat().st_size for p in paths] != sizes)
                process.send_signal(kind)
                process.communicate(timeout=60)
            assert process.returncode == (130 if kind == signal.SIGINT else -9)
        with start(*arguments, "--resume") as process:
            assert process.wait(timeout=120) == 0
        found = [(row["source"][-5:], int(row["frame"])) for row in table(tmp_path / "rows.csv")]
        assert found == [(f"{n}.mp4", frame) for n in range(2) for frame in range(LONG)]
        assert names_in(tmp_path) == ["in", "rows.csv"]


class TestTerminal:
    def run(self, *arguments):
        """Run the command in a terminal of 120 columns and return what it showed."""
        parent, child = pty.openpty()
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "COLUMNS": "120",
            "TERM": "xterm-256color",
        }
        command = [sys.executable, "-m", "mien", "analyze", *map(str, arguments)]
        with subprocess.Popen(command, stdout=child, stderr=child, env=environment) as process:
            os.close(child)
            shown = b""
            while select.select([parent], [], [], 60)[0]:
                try:
                    shown += os.read(parent, 65536)
                except OSError:  # the other side is closed
                    break
        os.close(parent)
        return process.returncode, re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())

    def test_a_summary_for_people_and_progress(self, long_clip, tmp_path):
        code, shown = self.run(long_clip, "--max-frames", 400, "-o", tmp_path / "rows.csv")
        assert code == 0
        assert re.search(r"\d+/400 frames, \d+ frames/s, [\d.:]+ s left", shown)
        end = shown.rsplit("long.mp4", 1)[1]
        assert "16.0 s, 400 frames, 1 person" in end
        assert re.search(r"#1 +0\.0 s – 16\.0 s +█{24} +😄 happy 100%", end)
        assert "wrote" in end and "rows.csv" in end
        assert "{" not in shown  # no rows


def test_live_reads_the_video_stream_that_is_chosen(mien, tmp_path):
    two = write_two_streams(tmp_path / "two.mkv")
    live = ("live", two, "--headless", "--record")
    code, _, err = mien(*live, tmp_path / "a.mp4")
    assert code == 0 and "holds 2 video streams (0: 96x64, 1: 192x128)" in err and "--video-stream" in err
    for number, size in enumerate(((96, 64), (192, 128))):
        code, _, err = mien(*live, tmp_path / f"{number}.mp4", "--video-stream", number)
        assert code == 0 and "video streams" not in err
        with Video(tmp_path / f"{number}.mp4") as video:
            assert (video.info.width, video.info.height) == size
    code, _, err = mien(*live, tmp_path / "b.mp4", "--video-stream", "2")
    assert code == 1 and "has 2 video streams, numbered from 0; there is no stream 2, choose another" in err
    code, _, err = mien(*live, tmp_path / "b.mp4", "--video-stream", "-1")
    assert code == 2 and "--video-stream must be a whole number of at least 0" in err
    code, _, err = mien("live", "9", "--headless", "--video-stream", "1")
    assert code == 1 and "leave out --video-stream" in err
