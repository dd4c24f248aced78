"""URLs against a real server on the loopback interface: what is fetched, and all that is refused."""

import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest

from mien.errors import SourceError
from mien.faces import Frame
from mien.sources._fetch import FetchLimits, fetch
from mien.sources.addresses import AddressRule, is_public, resolve_host
from mien.sources.images import Failed, SourceSettings, read_frames, read_image

RGB = np.random.default_rng(3).integers(0, 256, (20, 30, 3), np.uint8)
PNG = cv2.imencode(".png", RGB[..., ::-1].copy())[1].tobytes()
LIMITS = FetchLimits(max_bytes=100_000, timeout_s=10, connect_timeout_s=5, max_redirects=3)
LOCAL = SourceSettings(allow_private=True, url_timeout_s=10)

Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.requests.append((self.path, dict(self.headers)))  # type: ignore[attr-defined]
        self.close_connection = True
        answer = self.server.answers.get(self.path.partition("?")[0], not_found)  # type: ignore[attr-defined]
        with suppress(OSError):  # the client hangs up early where it should
            answer(self)

    def log_message(self, *_: object) -> None:
        pass

    def head(self, status: int = 200, **headers: str | int) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), str(value))
        self.end_headers()


def not_found(handler: Handler) -> None:
    handler.head(404, Content_Length=0)


def serve(data: bytes, kind: str = "image/png", **headers: str | int) -> Answer:
    def answer(handler: Handler) -> None:
        handler.head(**{"Content_Type": kind, "Content_Length": len(data), **headers})
        handler.wfile.write(data)

    return answer


def redirect(to: str, status: int = 302) -> Answer:
    return lambda handler: handler.head(status, Location=to, Content_Length=0)


def trickle(handler: Handler) -> None:
    """Send one byte now and then, each well within any socket timeout."""
    handler.head(Content_Length=len(PNG))
    for byte in PNG:
        handler.wfile.write(bytes([byte]))
        time.sleep(0.05)


def trickle_headers(handler: Handler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    for number in range(1000):
        handler.wfile.write(b"X-%d: 1\r\n" % number)
        time.sleep(0.05)


def endless(handler: Handler) -> None:
    handler.head()
    handler.wfile.write(PNG)
    while True:
        handler.wfile.write(b"\0" * 65536)


def endless_text(handler: Handler) -> None:
    handler.head(Content_Type="text/plain")
    while True:
        handler.wfile.write(b"nothing to see " * 100)
        handler.server.counter += 1  # type: ignore[attr-defined]


def chunked(handler: Handler) -> None:
    handler.head(Transfer_Encoding="chunked")
    for at in range(0, len(PNG), 500):
        piece = PNG[at : at + 500]
        handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
    handler.wfile.write(b"0\r\n\r\n")


def chunked_cut_off(handler: Handler) -> None:
    handler.head(Transfer_Encoding="chunked")
    handler.wfile.write(b"%x\r\n%s" % (len(PNG), PNG[:900]))


def lying(length: int) -> Answer:
    def answer(handler: Handler) -> None:
        handler.head(Content_Length=length)
        handler.wfile.write(PNG)

    return answer


def raw(data: bytes) -> Answer:
    def answer(handler: Handler) -> None:
        handler.wfile.write(data)

    return answer


ANSWERS: dict[str, Answer] = {
    "/a.png": serve(PNG),
    "/b%C3%BC%20c.png": serve(PNG),
    "/wrong-type": serve(PNG, "text/plain"),
    "/empty": serve(b""),
    "/page": serve(b"<!doctype html><html><body>hello" + b" " * 100, "text/html; charset=utf-8"),
    "/short-text": serve(b"hi", "text/plain"),
    "/gzip": serve(b"\x1f\x8b\x08" + b"\0" * 100, "image/png", Content_Encoding="gzip"),
    "/half": serve(PNG[: len(PNG) // 2]),
    "/slow": trickle,
    "/slow-headers": trickle_headers,
    "/huge": lying(10**12),
    "/longer-than-sent": lying(len(PNG) + 100),
    "/shorter-than-sent": lying(len(PNG) - 100),
    "/endless": endless,
    "/endless-text": endless_text,
    "/chunked": chunked,
    "/chunked-cut-off": chunked_cut_off,
    "/error": lambda handler: handler.head(500, Content_Length=0),
    "/no-content": lambda handler: handler.head(204),
    "/not-http": raw(b"SSH-2.0-OpenSSH\r\n"),
    "/nothing": raw(b""),
    "/loop": redirect("/loop"),
    "/hop1": redirect("/hop2", 301),
    "/hop2": redirect("hop3?x=1", 307),
    "/hop3": redirect("/a.png", 308),
    "/hop0": redirect("/hop1", 303),
    "/nowhere": lambda handler: handler.head(302, Content_Length=0),
    "/to-file": redirect("file:///etc/passwd"),
    "/to-ftp": redirect("ftp://example.org/a.png"),
    "/to-login": redirect("http://user:secret@localhost/a.png"),
    "/to-nonsense": redirect("http://[half"),
    "/to-fragment": redirect("/a.png#part"),
}


class Server(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers, self.requests, self.counter = dict(ANSWERS), [], 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def running(server: Server) -> Iterator[Server]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    with running(Server()) as started:
        yield started


def get(url: str, limits: FetchLimits = LIMITS, *, allow_private: bool = True, **rule: Callable) -> bytes:
    return fetch(url, limits, AddressRule(allow_private, **rule), name="it")


def reason(url: str, limits: FetchLimits = LIMITS, **rule: object) -> str:
    with pytest.raises(SourceError) as caught:
        get(url, limits, **rule)
    assert str(caught.value).startswith("it ")
    return str(caught.value)[3:]


# What is fetched.


@pytest.mark.parametrize(
    "path", ["/a.png", "/bü c.png", "/b%C3%BC%20c.png", "/wrong-type", "/chunked", "/hop1", "/to-fragment", "/a.png#x"]
)
def test_images_come_as_they_are(server: Server, path: str) -> None:
    assert get(server.url + path) == PNG


def test_the_request_is_plain(server: Server) -> None:
    get(f"http://LOCALHOST:{server.server_port}/a.png?size=1&q=a b")
    ((path, headers),) = server.requests
    assert path == "/a.png?size=1&q=a%20b"
    assert headers["Host"] == f"localhost:{server.server_port}"
    assert headers["Accept-Encoding"] == "identity"
    assert set(headers) == {"Host", "User-Agent", "Accept", "Accept-Encoding", "Connection"}


def test_proxies_of_the_environment_are_ignored(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert get(server.url + "/a.png") == PNG


def test_international_host_names_are_looked_up_in_ascii(server: Server) -> None:
    asked = []

    def resolve(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    get(f"http://bücher.example:{server.server_port}/a.png", resolve=resolve)
    assert asked == ["xn--bcher-kva.example"]
    assert server.requests[0][1]["Host"].startswith("xn--bcher-kva.example:")


def test_the_next_address_is_tried_where_the_first_does_not_answer(server: Server) -> None:
    url = f"http://two.example:{server.server_port}/a.png"
    assert get(url, resolve=lambda *_: ["127.0.0.9", "127.0.0.1"]) == PNG


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6")
def test_ipv6_literal() -> None:
    class Server6(Server):
        address_family = socket.AF_INET6

        def __init__(self) -> None:
            ThreadingHTTPServer.__init__(self, ("::1", 0), Handler)
            self.answers, self.requests, self.counter = dict(ANSWERS), [], 0

    try:
        server = Server6()
    except OSError:
        pytest.skip("no IPv6 loopback here")
    with running(server):
        url = f"http://[::1]:{server.server_port}/a.png"
        assert get(url) == PNG
        assert server.requests[0][1]["Host"] == f"[::1]:{server.server_port}"
        assert "leads to ::1, not a public address" in reason(url, allow_private=False)


# What is refused for its answer.


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/missing", "answers 404 Not Found; check the address"),
        ("/error", "answers 500 Internal Server Error; check the address"),
        ("/no-content", "answers 204 No Content; check the address"),
        ("/empty", "is empty: the server sent no bytes; check the address"),
        ("/page", "is not an image mien can read: its type is text/html, it starts with b'<!doctype html><'; give"),
        ("/short-text", "is not an image mien can read: its type is text/plain, it starts with b'hi'; give"),
        ("/gzip", "is not an image mien can read: its type is image/png, packed with gzip, it starts with"),
        ("/huge", "is larger than the limit of 100,000 bytes (1,000,000,000,000 bytes); raise url_max_bytes"),
        ("/endless", "is larger than the limit of 100,000 bytes (it goes on); raise url_max_bytes"),
        ("/longer-than-sent", f"was cut off after {len(PNG):,} of {len(PNG) + 100:,} bytes; try again"),
        ("/chunked-cut-off", "was cut off before its end; try again"),
        ("/not-http", "gave no proper HTTP answer (BadStatusLine); check the address"),
        ("/nothing", "gave no proper HTTP answer (RemoteDisconnected); check the address"),
        ("/loop", "redirects more than 3 times; give the address it ends at"),
        ("/nowhere", "answers 302 without saying where to go; check the address"),
        ("/to-file", "leads to a 'file' address; only http and https are fetched"),
        ("/to-ftp", "leads to a 'ftp' address; only http and https are fetched"),
        ("/to-login", "holds a user name or password; mien does not log in"),
        ("/to-nonsense", "redirects to something that is not a URL"),
    ],
)
def test_answers_without_an_image(server: Server, path: str, message: str) -> None:
    assert reason(server.url + path).startswith(message)


def test_redirects_count(server: Server) -> None:
    assert "more than 3 times" in reason(server.url + "/hop0")
    assert get(server.url + "/hop0", replace(LIMITS, max_redirects=4)) == PNG
    assert "more than 0 times" in reason(server.url + "/hop3", replace(LIMITS, max_redirects=0))


def test_text_without_end_is_left_after_its_first_bytes(server: Server) -> None:
    assert "its type is text/plain" in reason(server.url + "/endless-text", replace(LIMITS, max_bytes=10**12))


@pytest.mark.parametrize("path", ["/slow", "/slow-headers"])
def test_a_server_that_trickles_is_cut_off_in_time(server: Server, path: str) -> None:
    start = time.monotonic()
    message = reason(server.url + path, replace(LIMITS, timeout_s=0.4))
    assert message == "is slow: no image within 0.4 s; raise url_timeout_s"
    assert time.monotonic() - start < 5


def test_a_server_that_says_nothing_is_cut_off_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for scheme in ("http", "https"):
            url = f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/"
            assert "is slow" in reason(url, replace(LIMITS, timeout_s=0.3))


def test_a_look_up_that_hangs_is_cut_off_in_time() -> None:
    released = threading.Event()

    def resolve(*_: object) -> list[str]:
        released.wait(20)
        return ["127.0.0.1"]

    message = reason("http://stuck.example/", replace(LIMITS, connect_timeout_s=0.2), resolve=resolve)
    released.set()
    assert message.startswith("cannot be reached: looking up 'stuck.example' takes more than 0.2 s")


def test_a_server_that_is_down() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        message = reason(f"http://127.0.0.1:{port}/a.png")
    assert message == "cannot be reached: the connection was refused; check the address and that the server runs"


def test_an_unknown_host() -> None:
    def resolve(*_: object) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    message = reason("http://nobody.invalid/a.png", resolve=resolve)
    assert message == "cannot be reached: the host 'nobody.invalid' is not known; check the address"
    assert "has no address" in reason("http://nobody.invalid/a.png", resolve=lambda *_: [])


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://user:secret@127.0.0.1/a.png", "holds a user name or password"),
        ("http://", "names no usable host"),
        ("http:///a.png", "names no usable host"),
        ("http://127.0.0.1:99999/", "is not a valid URL"),
        ("http://127.0.0.1:x/", "is not a valid URL"),
        ("http://[::1/", "is not a valid URL"),
        ("http://a b/", "names no usable host"),
        ("http://127.0.0.1 x/", "names no usable host"),
        ("http://" + "ü" * 100 + ".org/", "is not a valid URL"),
        ("http://a..b/", "cannot be reached: the host 'a..b' is not known"),
        ("gopher://host/", "leads to a 'gopher' address"),
    ],
)
def test_urls_that_are_none(url: str, message: str) -> None:
    assert reason(url).startswith(message)


# Addresses.

PUBLIC = [
    "1.1.1.1", "8.8.8.8", "93.184.216.34", "172.32.0.1", "192.167.255.255", "100.128.0.1", "223.255.255.255",
    "2606:4700:4700::1111", "2a00:1450:4001:81b::200e", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1",
]  # fmt: skip
PRIVATE = [
    "127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",
    "169.254.169.254", "100.64.0.1", "100.127.255.255", "192.0.0.8", "192.0.2.1", "192.88.99.1", "198.18.0.1",
    "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
    "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12:3456::1", "fec0::1", "ff02::1", "ff0e::1",
    "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1",
    "64:ff9b::a00:1", "64:ff9b:1::808:808", "2002:7f00:1::", "2002:c0a8:101::1", "2002:a9fe:a9fe::",
    "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:db8::1", "100::1", "4000::1",
    "localhost", "", "1.2.3", "0x7f.1", "not an address",
]  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "0177.0.0.1", "127.1"])
def test_loopback_in_every_spelling_is_refused_unless_allowed(server: Server, host: str) -> None:
    url = f"http://{host}:{server.server_port}/a.png"
    message = reason(url, allow_private=False)
    assert "not a public address; pass --allow-private (allow_private=True) if you mean it" in message
    assert server.requests == []
    assert get(url) == PNG


def permit_first_server(address: str) -> bool:
    return address == "127.0.0.1" or is_public(address)


def test_a_redirect_to_a_private_address_is_refused(server: Server) -> None:
    server.answers["/trap"] = redirect(f"http://127.0.0.2:{server.server_port}/a.png")
    assert get(server.url + "/a.png", allow_private=False, permit=permit_first_server) == PNG
    message = reason(server.url + "/trap", allow_private=False, permit=permit_first_server)
    assert message.startswith("leads to 127.0.0.2, not a public address")
    assert [path for path, _ in server.requests] == ["/a.png", "/trap"]


def test_one_private_address_among_public_ones_is_enough_to_refuse(server: Server) -> None:
    url = f"http://mixed.example:{server.server_port}/a.png"
    assert "leads to 10.0.0.1" in reason(url, allow_private=False, resolve=lambda *_: ["8.8.8.8", "10.0.0.1"])


def test_the_address_that_was_checked_is_the_one_connected_to(server: Server) -> None:
    """A name that first gives an admissible address and then another must not be looked up twice."""
    answers = iter([["127.0.0.1"], ["127.0.0.3"]])
    checked = []

    def permit(address: str) -> bool:
        checked.append(address)
        return True

    url = f"http://rebinding.example:{server.server_port}/a.png"
    assert get(url, resolve=lambda *_: next(answers), allow_private=False, permit=permit) == PNG
    assert checked == ["127.0.0.1"]
    assert next(answers) == ["127.0.0.3"]


def test_the_system_resolver_gives_addresses_once_each() -> None:
    addresses = resolve_host("127.0.0.1", 80)
    assert addresses == ["127.0.0.1"]


# Certificates.


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate with its key for the host «localhost»."""
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl command")
    folder = tmp_path_factory.mktemp("certificate")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost", "-keyout", str(folder / "key"), "-out", str(folder / "cert")],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    path = folder / "both.pem"
    path.write_bytes((folder / "key").read_bytes() + (folder / "cert").read_bytes())
    return path


@pytest.fixture
def https_port(certificate: Path) -> Iterator[int]:
    class SecureServer(Server):
        def handle_error(self, *_: object) -> None:
            pass  # a client that refuses the certificate hangs up

    server = SecureServer()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    with running(server):
        yield server.server_port


def test_a_certificate_nobody_vouches_for_is_refused(https_port: int) -> None:
    assert reason(f"https://localhost:{https_port}/a.png").startswith("has a certificate that cannot be trusted (self")


def test_a_trusted_certificate_serves_its_own_host_only(
    https_port: int, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert get(f"https://localhost:{https_port}/a.png") == PNG
    other = f"https://other.example:{https_port}/a.png"
    assert "certificate is not valid for 'other.example'" in reason(other, resolve=lambda *_: ["127.0.0.1"])


def test_https_to_a_server_without_it(server: Server) -> None:
    message = reason(f"https://127.0.0.1:{server.server_port}/a.png")
    assert message.startswith("cannot be fetched: ")
    assert message.endswith("; check the address and try again")


# Through the door that users take.


def test_a_url_is_a_source(server: Server) -> None:
    frame = read_image(server.url + "/a.png", settings=LOCAL)
    np.testing.assert_array_equal(frame.image, RGB)
    assert frame.source == server.url + "/a.png"


def test_bad_urls_leave_the_others_alone(server: Server) -> None:
    paths = ["/a.png", "/missing", "/half", "/page", "/chunked", "/shorter-than-sent"]
    results = list(read_frames([server.url + path for path in paths], settings=LOCAL))
    assert [isinstance(result, Frame) for result in results] == [True, False, False, False, True, False]
    half = results[2]
    assert isinstance(half, Failed)
    assert str(half.error).startswith(f"{server.url}/half is truncated")
    assert all(str(r.error).startswith(r.source) for r in results if isinstance(r, Failed))


def test_private_addresses_are_refused_by_default(server: Server) -> None:
    (failed,) = read_frames(server.url + "/a.png")
    assert isinstance(failed, Failed)
    assert "leads to 127.0.0.1, not a public address; pass --allow-private" in str(failed.error)


def test_limits_reach_the_fetch(server: Server) -> None:
    with pytest.raises(SourceError, match=r"larger than the limit of 10 bytes"):
        read_image(server.url + "/a.png", settings=replace(LOCAL, url_max_bytes=10))
    with pytest.raises(SourceError, match=r"is slow: no image within 0\.2 s"):
        read_image(server.url + "/slow", settings=replace(LOCAL, url_timeout_s=0.2))
    with pytest.raises(SourceError, match=r"limit of 5 pixels"):
        read_image(server.url + "/a.png", settings=replace(LOCAL, max_pixels=5))


def test_passwords_in_a_url_are_not_repeated() -> None:
    (failed,) = read_frames("http://me:secret@127.0.0.1/a.png", settings=LOCAL)
    assert isinstance(failed, Failed)
    assert "mien does not log in" in str(failed.error)
    assert "secret" not in str(failed.error) + failed.source
