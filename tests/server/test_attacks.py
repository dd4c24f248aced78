"""Attacks on the server as strangers and impatient, greedy or silent clients make them."""

import asyncio
import base64
import json
import socket
import struct
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial

import cv2
import numpy as np
import pytest
from conftest import EXAMPLES

pytest.importorskip("fastapi")

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from helpers import wait_for
from served import PROBLEM, check_problem, served

ASTRONAUT = (EXAMPLES / "astronaut.jpg").read_bytes()
TOKEN = "correct-horse-battery-staple"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
PATIENCE_S = 0.5


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server with a token, few places and little patience."""
    folder = tmp_path_factory.mktemp("attacked")
    with served(folder, token=TOKEN, body_timeout_s=PATIENCE_S, streams=3, streams_per_client=3) as running:
        yield running


@contextmanager
def connected(server, said=b""):
    """A bare connection."""
    with socket.create_connection(("127.0.0.1", server.port)) as bare:
        bare.settimeout(10)
        bare.sendall(said)
        yield bare


def everything(bare):
    """Return what comes until the server hangs up."""
    said = b""
    try:
        while piece := bare.recv(1 << 16):
            said += piece
    except ConnectionError:  # it hung up while something was still under way to it
        pass
    return said


def poured(bare, piece, most):
    """Send the same again and again; return how many bytes were taken before the server hung up."""
    sent = 0
    try:
        while sent < most:
            bare.sendall(piece)
            sent += len(piece)
    except OSError:
        pass
    return sent


# What comes before the token.

HEAD = b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n"
UPGRADE = (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
    + b"A" * 22
    + b"==\r\n"
)


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        (HEAD + b"X-Long: ", b"x" * (1 << 16)),
        (HEAD + b"X", b"x" * (1 << 16)),
        (HEAD, b"X-Many: 1\r\n" * 4096),
        (HEAD, b"A:\r\n" * 8192),
        (b"GET /", b"x" * (1 << 16)),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X-Many: 1\r\n" * 4096),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX-Long: ", b"x" * (1 << 16)),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;long=", b"x" * (1 << 16)),
    ],
    ids=["value", "name", "fields", "short fields", "address", "trailers", "trailer", "extension"],
)
def test_heads_without_end_are_refused_long_before_they_fill_the_memory(server, start, piece):
    with connected(server, start) as bare:
        assert poured(bare, piece, 64 << 20) < 32 << 20  # what the sockets between hold; the server's part is below
    assert server.http.get("/health").status_code == 200


@pytest.mark.parametrize(
    ("start", "field", "count", "answer"),
    [
        (HEAD, b"X: 1\r\n", 90, b"401"),
        (HEAD, b"X: 1\r\n", 100, b"431"),
        (HEAD, b"X: " + b"x" * 7000 + b"\r\n", 4, b"401"),
        (HEAD, b"X: " + b"x" * 7000 + b"\r\n", 5, b"431"),
        (HEAD, b"X: " + b"x" * 8000 + b"\r\n", 1, b"431"),
        (b"GET /" + b"x" * 8000 + b" HTTP/1.1\r\nHost: localhost\r\n", b"", 0, b"431"),
        (HEAD + UPGRADE, b"X: 1\r\n", 100, b"431"),
        (HEAD + UPGRADE, b"X: " + b"x" * 8200 + b"\r\n", 1, b"431"),
    ],
)
def test_heads_have_a_size_and_a_number_of_fields(server, start, field, count, answer):
    with connected(
        server, start + field * count + b"Connection: close\r\n\r\n" * ("Upgrade" not in start.decode()) + b"\r\n"
    ) as bare:
        said = everything(bare)
    assert said.startswith(b"HTTP/1.1 " + answer) and PROBLEM.encode() in said.lower()


def test_a_refused_request_may_not_send_its_body_for_ever(server):
    with connected(server, b"POST /v1/analyze HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n") as bare:
        assert bare.recv(4096).startswith(b"HTTP/1.1 401")
        start = time.monotonic()
        for _ in range(100):
            try:
                bare.sendall(b"x")
            except OSError:
                break
            time.sleep(0.05)
        assert time.monotonic() - start < 4 * PATIENCE_S


# Web sockets of strangers.


def test_sockets_without_the_token_take_no_places_and_no_images(server):
    with ExitStack() as held:
        silent = [held.enter_context(connect(server.stream_url)) for _ in range(20)]
        assert len(server.app.state.streams) == 0
        for header in (BEARER, None):
            protocols = (
                None
                if header
                else ["mien", "mien.token." + base64.urlsafe_b64encode(TOKEN.encode()).decode().rstrip("=")]
            )
            with connect(server.stream_url, additional_headers=header, subprotocols=protocols) as owner:
                owner.send("{}")
                assert json.loads(owner.recv(5))["type"] == "ready"
                assert owner.subprotocol == (None if header else "mien")
                owner.send(ASTRONAUT)
                assert json.loads(owner.recv(20))["faces"][0]["expression"] == "happy"
        for stranger, message in zip(silent, (ASTRONAUT, " " * 5000, "{}", '{"token": "wrong"}'), strict=False):
            stranger.send(message)
            with pytest.raises(ConnectionClosed) as closed:
                problem = json.loads(stranger.recv(5))["problem"]
                assert problem["status"] == 401
                stranger.recv(5)
            assert closed.value.rcvd.code == (1009 if len(message) > 4096 else 1008)


def test_strangers_at_the_door_are_counted_and_do_not_stand_in_the_owners_way(server, monkeypatch):
    monkeypatch.setattr("mien.server.routes.streams.WAITING_PER_CLIENT", 4)
    with ExitStack() as held:
        for _ in range(4):
            held.enter_context(connect(server.stream_url))
        with pytest.raises(InvalidStatus) as refused:
            connect(server.stream_url)
        assert refused.value.response.status_code == 429
        assert json.loads(refused.value.response.body)["status"] == 429
        with connect(server.stream_url, additional_headers=BEARER) as owner:
            owner.send("{}")
            assert json.loads(owner.recv(5))["type"] == "ready"
    wait_for(lambda: not server.app.state.streams._waiting)
    monkeypatch.setattr("mien.server.routes.streams.WAITING_STRANGERS", 2)
    with connect(server.stream_url), connect(server.stream_url):
        with pytest.raises(InvalidStatus) as refused:
            connect(server.stream_url)
        assert refused.value.response.status_code == 503


def test_a_wrong_token_in_the_handshake_is_refused_in_the_handshake(server):
    for wrong in ("d3Jvbmc", "!", "x" * 4000):
        with pytest.raises(InvalidStatus) as refused:
            connect(server.stream_url, subprotocols=["mien", "mien.token." + wrong])
        assert refused.value.response.status_code == 401


def test_a_message_of_countless_empty_pieces_ends_the_stream(server):
    with connected(server, HEAD.replace(b"models", b"stream") + UPGRADE + b"\r\n") as bare:
        assert bare.recv(4096).startswith(b"HTTP/1.1 101")
        mask = b"\0\0\0\0"
        poured(bare, b"\x01\x80" + mask, 1)
        assert poured(bare, (b"\x00\x80" + mask) * 1000, 64 << 20) < 32 << 20
    assert server.http.get("/health").status_code == 200


def test_a_client_that_pings_and_does_not_read_is_cut_off(server):
    with connected(server, HEAD.replace(b"models", b"stream") + BEARER_LINE + UPGRADE + b"\r\n") as bare:
        assert bare.recv(4096).startswith(b"HTTP/1.1 101")
        start = time.monotonic()
        ping = b"\x89\xfd" + b"\0\0\0\0" + b"x" * 125
        while time.monotonic() - start < 20 and poured(bare, ping * 1000, 1 << 20) >= 1 << 20:
            pass
        assert time.monotonic() - start < 15


BEARER_LINE = f"Authorization: Bearer {TOKEN}\r\n".encode()


# Slow, silent and greedy clients with a token.


def post(path, length, kind="image/jpeg", client="203.0.113.1"):
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n"
    return (head + f"X-Forwarded-For: {client}\r\n\r\n").encode()


def test_slow_bodies_hold_what_came_and_nobody_else_up(tmp_path):
    with served(tmp_path, max_body_mb=1, bodies_mb=4, trusted_proxies="127.0.0.1") as server, ExitStack() as held:
        for _ in range(8):  # announced: twice of what the server may hold
            held.enter_context(connected(server, post("/v1/analyze", 1 << 20) + ASTRONAUT[:1000]))
        wait_for(lambda: server.app.state.bodies._taken == 8000)
        answer = server.http.post("/v1/analyze", content=ASTRONAUT, headers={"Content-Type": "image/jpeg"})
        assert answer.status_code == 200
        greedy = {"X-Forwarded-For": "203.0.113.2", "Content-Type": "image/jpeg"}
        for _ in range(2):  # nine tenths of what one client may have
            held.enter_context(connected(server, post("/v1/analyze", 1 << 20, client="203.0.113.2") + bytes(950_000)))
        wait_for(lambda: server.app.state.bodies._taken == 8000 + 2 * 950_000)
        check_problem(
            server.http.post("/v1/analyze", content=bytes(1 << 20), headers=greedy), 429, "your other requests"
        )
        assert server.http.post(
            "/v1/analyze", content=bytes(1 << 20), headers={"Content-Type": "image/jpeg"}
        ).is_success


def test_a_body_is_ended_that_falls_below_the_least_rate_whatever_came_before(tmp_path):
    with served(tmp_path, body_timeout_s=0.5) as server:
        with connected(server, post("/v1/analyze", 32 << 20) + bytes(8 << 20)) as slow:
            start = time.monotonic()
            slow.setblocking(False)
            while time.monotonic() - start < 10:
                try:
                    slow.send(bytes(256))
                except OSError:
                    break
                time.sleep(0.1)  # 2.5 KiB per second
            slow.settimeout(5)
            assert everything(slow).startswith(b"HTTP/1.1 408") and time.monotonic() - start < 4
        assert server.app.state.bodies._taken == 0


def test_a_pause_of_the_server_is_not_the_clients_fault(tmp_path, monkeypatch):
    from mien.server.web.forms import FormReader

    flush = FormReader._flush

    async def slow_disk(reader):
        await asyncio.sleep(0.3)
        await flush(reader)

    monkeypatch.setattr(FormReader, "_flush", slow_disk)
    with served(tmp_path, body_timeout_s=0.2) as server:
        answer = server.http.post("/v1/analyze", files={"file": ("a.jpg", ASTRONAUT + bytes(500_000))})
        assert answer.json()["results"][0]["faces"]


def test_slow_uploads_of_one_client_leave_room_for_others(tmp_path):
    form = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\nx'
    kind = "multipart/form-data; boundary=b"
    with served(tmp_path, trusted_proxies="127.0.0.1") as server, ExitStack() as held:
        for _ in range(4):
            held.enter_context(connected(server, post("/v1/jobs", 1 << 20, kind) + form))
        wait_for(lambda: server.app.state.jobs._incoming.total() == 4)
        with connected(server, post("/v1/jobs", 1 << 20, kind) + form) as fifth:
            assert fifth.recv(4096).startswith(b"HTTP/1.1 429")
        check_problem(server.http.post("/v1/jobs", files={"file": ("a.mp4", b"no video")}), 422)


def test_an_upload_may_not_take_longer_than_a_job(tmp_path):
    form = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\nx'
    with served(tmp_path, job_timeout_s=0.3) as server:
        with connected(server, post("/v1/jobs", 1 << 20, "multipart/form-data; boundary=b") + form) as slow:
            assert slow.recv(4096).startswith(b"HTTP/1.1 408")
        assert not list((tmp_path / "jobs").glob("*"))


def test_silent_addresses_hold_no_worker_and_nobody_else_up(tmp_path):
    with socket.create_server(("127.0.0.1", 0), backlog=200) as silent:
        urls = [f"http://127.0.0.1:{silent.getsockname()[1]}/{i}" for i in range(64)]
        settings = {"url_allowed": True, "allow_private": True, "request_timeout_s": 3, "trusted_proxies": "127.0.0.1"}
        with served(tmp_path, **settings) as server, ThreadPoolExecutor(1) as pool:
            post_urls = partial(server.http.post, "/v1/analyze", json={"urls": urls})
            waiting = pool.submit(post_urls, headers={"X-Forwarded-For": "203.0.113.1"})
            wait_for(lambda: server.app.state.engine.fetchers.running == 4)
            start = time.monotonic()
            image = {"Content-Type": "image/jpeg", "X-Forwarded-For": "203.0.113.2"}
            assert server.http.post("/v1/analyze", content=ASTRONAUT, headers=image).status_code == 200
            assert time.monotonic() - start < 2 and server.app.state.engine.workers.waiting == 0
            check_problem(waiting.result(), 503, "too long")
            silent.close()


def test_answers_that_nobody_reads_are_given_up(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (700, 1000, 3), np.uint8)
    image = cv2.imencode(".jpg", noise, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
    body = json.dumps({"images": [base64.b64encode(image).decode()] * 8}).encode()
    with served(tmp_path, body_timeout_s=0.5, detector="none") as server:
        bodies = server.app.state.bodies
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.connect(("127.0.0.1", server.port))
            deaf.sendall(post("/v1/analyze?annotated=1", len(body), "application/json") + body)
            wait_for(lambda: bodies._taken > len(body))
            wait_for(lambda: bodies._taken == 0, seconds=10)
            deaf.settimeout(5)
            assert not everything(deaf).endswith(b"0\r\n\r\n")
        whole = server.http.post("/v1/analyze?annotated=1", content=body, headers={"Content-Type": "application/json"})
        assert len(whole.json()["results"]) == 8 and bodies._taken == 0


def test_the_images_of_a_request_are_drawn_one_after_another(tmp_path, monkeypatch):
    """Not all held decoded until the last is found."""
    from mien.server.routes import analyze

    alive, most, find = set(), [0], analyze._find

    def counted(engine, item, wanted):
        found = find(engine, item, wanted)
        key = id(found)
        alive.add(key)
        weakref.finalize(found, alive.discard, key)
        most[0] = max(most[0], len(alive))
        return found

    monkeypatch.setattr(analyze, "_find", counted)
    with served(tmp_path, detector="none") as server:
        files = [("file", ("a.jpg", ASTRONAUT))] * 12
        assert len(server.http.post("/v1/analyze?annotated=1", files=files).json()["results"]) == 12
    assert most[0] <= 3


# Noise.


def test_text_that_is_none_ends_the_stream_in_silence(server, caplog):
    with connected(server, HEAD.replace(b"models", b"stream") + UPGRADE + b"\r\n") as bare:
        assert bare.recv(4096).startswith(b"HTTP/1.1 101")
        bare.sendall(b"\x81\x82\0\0\0\0\xff\xfe")
        assert b"\x03\xef" in everything(bare)  # 1007
    assert not [record for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")]


def test_refused_sockets_and_garbage_leave_no_errors_in_the_log(server, caplog):
    for _ in range(3):
        with pytest.raises(InvalidStatus):
            connect(f"ws://127.0.0.1:{server.port}/v1/stream", additional_headers={"Authorization": "Bearer wrong"})
        with pytest.raises(InvalidStatus):
            connect(f"ws://127.0.0.1:{server.port}/nothing", additional_headers=BEARER)
    assert not [record for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")]


def test_who_hangs_up_in_the_middle_of_an_answer_leaves_no_errors(server, caplog):
    """With a reset, so that the server learns of it while it writes."""
    body = json.dumps({"images": [base64.b64encode(ASTRONAUT).decode()] * 3}).encode()
    asked = post("/v1/analyze?annotated=1&detector=none", len(body), "application/json").replace(b"\r\n\r\n", b"\r\n")
    for number in range(12):
        with connected(server, asked + BEARER_LINE + b"\r\n" + body) as bare:
            bare.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            bare.recv(1)
            time.sleep(0.001 * number)
    pages = (HEAD.replace(b"v1/models", b"docs/swagger-ui-bundle.js") + b"\r\n") * 20
    for _ in range(12):
        with connected(server, pages) as bare:
            bare.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            bare.recv(1)
    wait_for(lambda: server.app.state.bodies._taken == 0)
    assert server.http.get("/health").status_code == 200
    assert not [record for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")]


def test_warnings_that_strangers_cause_are_told_once_in_a_while():
    import logging

    from mien.server.web.connections import Seldom

    seldom = Seldom()

    def passes(level, message):
        return seldom.filter(logging.LogRecord("x", level, "", 0, message, (), None))

    assert [passes(logging.WARNING, "Invalid HTTP request received.") for _ in range(3)] == [True, False, False]
    assert passes(logging.WARNING, "another") and all(passes(logging.ERROR, "error") for _ in range(3))
