"""Who may come in, and what happens to those who are too many, too slow or too curious."""

import base64
import json
import socket
import time

import pytest
from conftest import EXAMPLES

pytest.importorskip("fastapi")

from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from helpers import wait_for
from mien.errors import InputError
from mien.server.settings import ServerSettings
from mien.server.web.security import client_of, is_right, signed_address
from served import check_problem, send, served

ASTRONAUT = (EXAMPLES / "astronaut.jpg").read_bytes()
TOKEN = "correct-horse-battery-staple"


@pytest.fixture(scope="module")
def closed(tmp_path_factory):
    """A server with a token."""
    with served(tmp_path_factory.mktemp("closed"), token=TOKEN, insecure=False) as running:
        yield running


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """A server without a token, which goes by one further name."""
    with served(tmp_path_factory.mktemp("local"), allowed_hosts="mien.example") as running:
        yield running


# The door.


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org", "", "127.0.0.1.example.org"])
def test_other_addresses_need_a_token_or_the_word(host):
    with pytest.raises(InputError, match="--token or MIEN_TOKEN"):
        ServerSettings(host=host)
    assert ServerSettings(host=host, token=TOKEN).host == host
    assert ServerSettings(host=host, insecure=True).insecure


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_this_machine_needs_none(host):
    assert ServerSettings(host=host).token == ""


@pytest.mark.parametrize("token", ["short", "ä" * 20, "with\nnewline-and-more"])
def test_a_token_that_is_weak_or_fits_in_no_header_is_refused(token):
    with pytest.raises(InputError, match="at least 16 printable ASCII characters"):
        ServerSettings(token=token)


CLOSED = ["/v1/models", "/v1/jobs", "/v1/jobs/" + "0" * 32 + "/result.csv", "/video_feed", "/metrics"]


@pytest.mark.parametrize("path", CLOSED)
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}])
def test_without_the_token_nothing_is_told(closed, path, headers):
    answer = closed.http.get(path, headers=headers)
    assert TOKEN not in check_problem(answer, 401, "token")
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_the_token_opens_as_header_and_never_in_the_address(closed):
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    assert closed.http.get("/v1/models", headers=bearer).json()["limits"]["token"]
    check_problem(closed.http.get("/v1/models", params={"token": TOKEN}), 401, "Authorization")
    check_problem(closed.http.get(f"/v1/jobs/{'0' * 32}/result.csv", headers=bearer), 404)
    check_problem(closed.http.post("/v1/analyze", files={"file": ASTRONAUT}), 401)
    assert closed.http.post("/v1/analyze", files={"file": ASTRONAUT}, headers=bearer).status_code == 200


RESULT = f"/v1/jobs/{'0' * 32}/result.csv"


def test_an_address_can_be_signed_for_what_browsers_load(closed):
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    check_problem(closed.http.get("/v1/addresses", params={"path": RESULT}), 401)
    told = closed.http.get("/v1/addresses", params={"path": RESULT}, headers=bearer).json()
    signed = told["address"]
    assert told["seconds"] == 900 and signed.startswith(f"{RESULT}?until=") and TOKEN not in signed
    check_problem(closed.http.get(signed), 404)  # past the door: there is no such job
    check_problem(closed.http.get(signed + "&t=5"), 404)
    path, _, query = signed.partition("?")
    elsewhere = [path.replace("csv", "jsonl"), path.replace("result.csv", "video"), f"/v1/jobs/{'0' * 32}", "/v1/jobs"]
    for other in elsewhere:
        check_problem(closed.http.get(f"{other}?{query}"), 401)
    check_problem(closed.http.delete(signed), 401)
    check_problem(closed.http.post(signed), 401)
    for changed in (query.replace("until=1", "until=2"), query[:-1], query + "0", "until=99999999999", query.upper()):
        check_problem(closed.http.get(f"{path}?{changed}"), 401)
    camera = closed.http.get("/v1/addresses", params={"path": "/video_feed"}, headers=bearer).json()["address"]
    check_problem(closed.http.get(camera), 404, "--source")
    for path in ("/v1/jobs", "/v1/models", "/metrics", RESULT + "?x=1", "//evil.example/video_feed", "video_feed", ""):
        check_problem(closed.http.get("/v1/addresses", params={"path": path}, headers=bearer), 422)


def test_a_signed_address_is_over_after_a_while_and_another_token_signs_otherwise(closed):
    def answer(token, age_s):
        return closed.http.get(signed_address(token, RESULT, now=time.time() - age_s)).status_code

    assert [answer(TOKEN, 0), answer(TOKEN, 890), answer(TOKEN, 901), answer(TOKEN + "x", 0)] == [404, 404, 401, 401]


def test_without_a_token_there_is_nothing_to_sign(local):
    assert local.http.get("/v1/addresses", params={"path": RESULT}).json()["address"] == RESULT


@pytest.mark.parametrize("path", ["/", "/health", "/ready", "/docs", "/openapi.json"])
def test_the_page_itself_is_open_so_that_it_can_ask_for_the_token(closed, path):
    assert closed.http.get(path).status_code == 200


def test_the_description_tells_of_the_token(closed):
    assert closed.http.get("/openapi.json").json()["components"]["securitySchemes"]["token"]["scheme"] == "bearer"


def test_tokens_are_compared_whole():
    assert is_right(TOKEN, TOKEN)
    for wrong in ("", TOKEN[:-1], TOKEN + "x", "\udcff" * 30, "ä"):
        assert not is_right(TOKEN, wrong)


def test_a_stream_needs_the_token_in_its_handshake_or_first_message(closed):
    with pytest.raises(InvalidStatus) as refused:
        connect(closed.stream_url, additional_headers={"Authorization": "Bearer wrong-wrong-wrong-wrong"})
    assert refused.value.response.status_code == 401
    assert json.loads(refused.value.response.body)["status"] == 401
    for first in ({}, {"token": "wrong"}):
        with connect(closed.stream_url) as stream:
            stream.send(json.dumps(first))
            assert json.loads(stream.recv(5))["problem"]["status"] == 401
            with pytest.raises(Exception, match="1008"):
                stream.recv(5)
    with connect(closed.stream_url) as stream:
        stream.send(json.dumps({"token": TOKEN}))
        assert json.loads(stream.recv(5))["type"] == "ready"
    with connect(closed.stream_url, additional_headers={"Authorization": f"Bearer {TOKEN}"}) as stream:
        stream.send("{}")
        assert json.loads(stream.recv(5))["type"] == "ready"


# Foreign pages.


def test_a_name_that_is_not_the_servers_is_refused_against_dns_rebinding(local):
    check_problem(local.http.get("/v1/models", headers={"Host": "evil.example"}), 421)
    check_problem(local.http.get("/", headers={"Host": "evil.example:80"}), 421)
    for host in ("mien.example", "localhost:8000", "127.0.0.1", "[::1]:8000", "MIEN.example:443"):
        assert local.http.get("/v1/models", headers={"Host": host}).status_code == 200, host


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1:1", "http://localhost.evil.example"]
)
def test_pages_of_other_sites_are_refused_on_both_roads(local, origin):
    check_problem(local.http.get("/v1/models", headers={"Origin": origin}), 403)
    with pytest.raises(InvalidStatus) as refused:
        connect(local.stream_url, origin=origin)
    assert refused.value.response.status_code == 403


def test_pages_of_this_server_and_programs_are_admitted(local):
    for origin in (local.url, "https://mien.example", None):
        with connect(local.stream_url, origin=origin) as stream:
            stream.send("{}")
            assert json.loads(stream.recv(5))["type"] == "ready"


def test_other_sites_cannot_show_the_camera_but_may_link_to_the_page(local):
    image = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
    check_problem(local.http.get("/video_feed", headers=image), 403)
    for site in ("cross-site", "same-site"):
        for dest in ("iframe", "frame", "object", "embed", "image", "document"):
            opened = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": dest}
            for path in ("/video_feed", "/v1/feed", "/v1/jobs"):
                check_problem(local.http.get(path, headers=opened), 403)
            assert (local.http.get("/", headers=opened).status_code == 200) == (dest == "document")
    typed = {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    check_problem(local.http.get("/video_feed", headers=typed), 404, "--source")


def test_headers_tell_browsers_to_be_strict_on_every_answer(local):
    for path in ("/", "/v1/models", "/nothing", "/docs/swagger-ui.css"):
        headers = local.http.get(path).headers
        policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
        assert policy["default-src"] == "'none'" and policy["script-src"] == "'self'" == policy["style-src"]
        assert policy["frame-ancestors"] == "'none'"
        assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
        assert "camera=(self)" in headers["permissions-policy"]
        assert "display-capture=(self)" in headers["permissions-policy"]
        assert "set-cookie" not in headers and "server" not in headers
    assert local.http.get("/v1/models").headers["cache-control"] == "no-store"


# Too many, too slow.


def test_a_client_that_asks_too_often_is_told_to_wait_and_others_are_not(tmp_path):
    with served(tmp_path, rate=5.0, trusted_proxies="127.0.0.1") as server:
        answers = [server.http.get("/v1/jobs") for _ in range(30)]
        refused = [answer for answer in answers if answer.status_code == 429]
        assert 10 <= len(answers) - len(refused) <= 14  # twice the rate at once, and what came back meanwhile
        check_problem(refused[0], 429, "5 requests per second")
        assert refused[0].headers["retry-after"] == "1"
        assert server.http.get("/v1/jobs", headers={"X-Forwarded-For": "203.0.113.7"}).status_code == 200
        assert all(server.http.get("/health").status_code == 200 for _ in range(30))
        with pytest.raises(InvalidStatus) as refused_stream:
            for _ in range(20):
                with connect(server.stream_url):
                    pass
        assert refused_stream.value.response.status_code == 429
        time.sleep(1.1)
        assert server.http.get("/v1/jobs").status_code == 200


def test_a_forwarded_address_is_believed_of_known_proxies_only(tmp_path):
    with served(tmp_path, rate=1.0) as server:
        made_up = [server.http.get("/v1/jobs", headers={"X-Forwarded-For": f"203.0.113.{i}"}) for i in range(10)]
        assert sum(answer.status_code == 429 for answer in made_up) >= 7


def test_neighbours_in_one_ipv6_network_are_one_client():
    assert client_of({"client": ("2001:db8:1:2::1", 1)}) == client_of({"client": ("2001:db8:1:2:ffff::9", 2)})
    assert client_of({"client": ("2001:db8:1:3::1", 1)}) != client_of({"client": ("2001:db8:1:2::1", 1)})
    assert client_of({"client": ("192.0.2.1", 1)}) == "192.0.2.1" and client_of({}) == "unknown"


def test_a_body_that_trickles_in_is_given_up(tmp_path):
    with served(tmp_path, body_timeout_s=0.5) as server, socket.create_connection(("127.0.0.1", server.port)) as slow:
        slow.settimeout(10)
        head = (
            "POST /v1/analyze HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\nContent-Length: 1000\r\n\r\n"
        )
        slow.sendall(head.encode())
        start = time.monotonic()
        for byte in ASTRONAUT[:4]:
            slow.sendall(bytes([byte]))
            time.sleep(0.1)
        answer = slow.recv(4096)
        assert answer.startswith(b"HTTP/1.1 408") and 0.3 < time.monotonic() - start < 3
        assert send(server, ("a.jpg", ASTRONAUT)).status_code == 200


def test_headers_that_never_end_are_given_up(tmp_path):
    with served(tmp_path, body_timeout_s=0.3) as server:
        for said in (b"", b"GET / HTTP/1.1\r\nHost: loc", b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\nGET /"):
            with socket.create_connection(("127.0.0.1", server.port)) as slow:
                slow.settimeout(10)
                slow.sendall(said)
                start = time.monotonic()
                while slow.recv(4096):
                    pass
                assert 0.2 < time.monotonic() - start < 3
        assert server.http.get("/health").status_code == 200


@pytest.mark.parametrize("garbage", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GARBAGE\r\n\r\n", b"\0" * 1000])
def test_what_is_not_http_is_refused_and_harms_nothing(local, garbage):
    with socket.create_connection(("127.0.0.1", local.port)) as stranger:
        stranger.settimeout(5)
        stranger.sendall(garbage)
        assert stranger.recv(4096).startswith(b"HTTP/1.1 400")
    assert local.http.get("/health").status_code == 200


def test_a_client_that_leaves_takes_its_waiting_work_along(tmp_path):
    with served(tmp_path, workers=1) as server:
        body = json.dumps({"images": [base64.b64encode(ASTRONAUT).decode()] * 60}).encode()
        length = f"Content-Type: application/json\r\nContent-Length: {len(body)}"
        head = f"POST /v1/analyze HTTP/1.1\r\nHost: localhost\r\n{length}"
        with socket.create_connection(("127.0.0.1", server.port)) as leaving:
            leaving.sendall(head.encode() + b"\r\n\r\n" + body)
            wait_for(lambda: server.app.state.engine.workers.waiting > 20)
        wait_for(lambda: server.app.state.engine.workers.waiting == 0, seconds=1.5)


def test_no_address_name_or_token_is_logged(tmp_path, caplog):
    caplog.set_level("DEBUG")
    with served(tmp_path, token=TOKEN) as server:
        server.http.post("/v1/analyze?token=" + TOKEN, files={"file": ("private-name.jpg", ASTRONAUT[:100])})
        server.http.get("/v1/jobs?token=another-secret")
        with connect(f"{server.stream_url}?token={TOKEN}") as stream:
            stream.send("{}")
            stream.recv(5)
    ours = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("mien"))
    assert "stopped" in ours
    for personal in (TOKEN, "private-name", "another-secret", "127.0.0.1"):
        assert personal not in ours
    from mien.server.run import log_config

    assert log_config(20)["loggers"]["uvicorn"]["level"] == 30  # uvicorn tells of addresses and queries below that
    assert not [r for r in caplog.records if r.name.startswith("uvicorn") and r.levelno >= 30]
