"""The addresses of the API: images, information, errors, description."""

import base64
import http.server
import json
import struct
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from conftest import EXAMPLES

pytest.importorskip("fastapi")

from helpers import wait_for
from mien import Analyzer
from mien._version import __version__
from served import check_problem, send, served

ASTRONAUT = (EXAMPLES / "astronaut.jpg").read_bytes()
HOPPER = (EXAMPLES / "grace_hopper.jpg").read_bytes()
PROBLEM = "application/problem+json"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with served(tmp_path_factory.mktemp("server"), max_images=4, max_body_mb=4, max_pixels_mp=2.0) as running:
        yield running


def test_a_form_with_one_image_gives_the_rows_of_the_library(server, astronaut):
    answer = send(server, ("astronaut.jpg", ASTRONAUT)).json()
    (result,) = answer["results"]
    (face,) = result["faces"]
    (known,) = Analyzer().analyze(astronaut).to_records()
    assert {**known, "source": "astronaut.jpg"} == {k: v for k, v in face.items() if k != "landmarks"}
    assert (result["width"], result["height"]) == (512, 512) and result["error"] is None
    assert sum(face[name] for name in answer["labels"]) == pytest.approx(1, abs=1e-3)
    assert np.shape(face["landmarks"]) == (5, 2) and answer["ms"] > 0


def test_many_images_come_back_in_order_and_a_broken_one_costs_no_other(server):
    images = [("a.jpg", ASTRONAUT), ("b.jpg", ASTRONAUT[:3000]), ("c.txt", b"hello"), ("d.jpg", HOPPER)]
    results = send(server, *images).json()["results"]
    assert [one["source"] for one in results] == ["a.jpg", "b.jpg", "c.txt", "d.jpg"]
    assert [len(one["faces"]) for one in results] == [1, 0, 0, 1]
    assert [one["error"] and one["error"]["status"] for one in results] == [None, 422, 422, None]
    assert "truncated" in results[1]["error"]["detail"]


def test_base64_json_and_plain_bodies_give_the_same_as_a_form(server):
    wanted = send(server, ("image", ASTRONAUT)).json()["results"][0]["faces"]
    coded = base64.b64encode(ASTRONAUT).decode()
    for image in (
        coded,
        base64.encodebytes(ASTRONAUT).decode(),
        {"data": coded},
        {"data": f"data:image/jpeg;base64,{coded}", "name": "x.jpg"},
    ):
        (result,) = server.http.post("/v1/analyze", json={"images": [image]}).json()["results"]
        assert [{**face, "source": "image"} for face in result["faces"]] == wanted
    plain = server.http.post("/v1/analyze", content=ASTRONAUT, headers={"content-type": "image/jpeg"}).json()
    assert plain["results"][0]["faces"] == wanted


def test_clients_choose_which_faces_they_want(server, astronaut):
    image = np.concatenate([astronaut, astronaut[:, ::-1]], axis=1)
    image = np.concatenate([image, cv2.resize(astronaut, (1024, 1024))], axis=0)
    data = cv2.imencode(".png", image[..., ::-1])[1].tobytes()

    def sides(**options):
        (result,) = send(server, ("three.png", data), **options).json()["results"]
        return sorted(round(face["x2"] - face["x1"]) for face in result["faces"])

    everybody = sides()
    assert len(everybody) == 3
    assert sides(largest_only="1") == everybody[-1:]
    assert sides(min_face="180") == everybody[-1:]
    assert sides(min_confidence="0.9999") == [] and sides(min_confidence="0.2") == everybody
    check_problem(server.http.post("/v1/analyze?min_confidence=2", json={"images": ["aaaa"]}), 422, "min_confidence")


def test_the_annotated_image_differs_from_the_image_only_where_the_face_is(server, astronaut):
    (result,) = send(server, ("a.jpg", ASTRONAUT), annotated="1").json()["results"]
    kind, _, data = result["annotated"].partition(",")
    assert kind == "data:image/jpeg;base64"
    drawn = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR_RGB).astype(int)
    assert drawn.shape == astronaut.shape
    difference = abs(drawn - astronaut).max(axis=2)
    assert difference[300:, :].mean() < 6 < difference[50:190, 170:280].mean()


def test_label_set_and_detector_are_chosen_by_name(server):
    answer = send(server, ("a.jpg", ASTRONAUT), labels="ferplus", detector="haar").json()
    assert "contempt" in answer["labels"] and len(answer["labels"]) == 8
    assert answer["results"][0]["faces"][0]["landmarks"] is None  # haar has none
    check_problem(send(server, ("a.jpg", ASTRONAUT), labels="nine"), 422, "fer2013")
    check_problem(send(server, ("a.jpg", ASTRONAUT), detector="yunet"), 422, "mtcnn")


def test_an_image_without_a_face_is_a_result(server):
    empty = cv2.imencode(".png", np.full((80, 60, 3), 200, np.uint8))[1].tobytes()
    (result,) = send(server, ("empty.png", empty)).json()["results"]
    assert result == {"source": "empty.png", "width": 60, "height": 80, "faces": [], "error": None, "annotated": None}


def test_a_very_wide_image_is_annotated_smaller_where_jpeg_has_no_room(server):
    wide = cv2.imencode(".png", np.full((2, 70_000, 3), 200, np.uint8))[1].tobytes()
    (result,) = send(server, ("wide.png", wide), annotated="1").json()["results"]
    data = base64.b64decode(result["annotated"].partition(",")[2])
    assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).shape[1] == 65_500


# What is refused.


def test_requests_without_an_image_or_of_another_kind_are_told_what_to_send(server):
    check_problem(server.http.post("/v1/analyze", json={"images": []}), 422, "curl")
    check_problem(server.http.post("/v1/analyze", content=b"hi", headers={"content-type": "text/plain"}), 415)
    check_problem(server.http.post("/v1/analyze"), 415)
    check_problem(server.http.post("/v1/analyze", json={"images": ["not base64!"]}), 422, "base64")
    check_problem(server.http.post("/v1/analyze", json={"photos": []}), 422, "photos")
    check_problem(server.http.post("/v1/analyze", json=[1]), 422)
    odd = {"content-type": "application/json"}
    check_problem(server.http.post("/v1/analyze", content=b'{"images": [\xff]}', headers=odd), 422)
    check_problem(server.http.post("/v1/analyze", content=b"[" * 100_000, headers=odd), 422)
    check_problem(server.http.post("/v1/analyze?annotated=perhaps", json={"images": ["aaaa"]}), 422, "annotated")


def test_too_much_is_refused_by_number_size_and_pixels(server):
    check_problem(send(server, *[("a.jpg", HOPPER)] * 5), 413, "at most 4")
    check_problem(server.http.post("/v1/analyze", json={"images": ["aaaa"] * 5}), 413, "at most 4")
    check_problem(send(server, ("big.jpg", b"x" * (5 << 20))), 413, "4,194,304")
    (result,) = send(server, ("bomb.png", png_bomb(30_000, 30_000))).json()["results"]
    assert result["error"]["status"] == 422 and "30,000 x 30,000" in result["error"]["detail"]


def png_bomb(width, height):
    """A small file that says it holds a very large image, as decompression bombs do."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(b"\0" * (width + 1) * 50, 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def chunks(data, size):
    for start in range(0, len(data), size):
        yield data[start : start + size]


def test_a_body_without_a_length_is_counted_while_it_comes(server):
    headers = {"content-type": "image/jpeg"}
    fine = server.http.post("/v1/analyze", content=chunks(ASTRONAUT, 10_000), headers=headers)
    assert len(fine.json()["results"][0]["faces"]) == 1
    check_problem(server.http.post("/v1/analyze", content=chunks(bytes(5 << 20), 1 << 20), headers=headers), 413)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data", b""),
        ("multipart/form-data; boundary=", b""),
        ("multipart/form-data; boundary=" + "x" * 100, b""),
        ("multipart/form-data; boundary=b", b""),
        ("multipart/form-data; boundary=b", b"--c\r\n\r\n"),
        ("multipart/form-data; boundary=b", b"--b\r\nno header"),
        ("multipart/form-data; boundary=b", b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n"),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nx',
        ),
        ("multipart/form-data; boundary=b", b"--b\r\n" + b"A: b\r\n" * 10_000 + b"\r\n--b--\r\n"),
        ("multipart/form-data; boundary=b", b"--b\r\n" + b"A" * 100_000 + b": b\r\n\r\n--b--\r\n"),
    ],
)
def test_malformed_forms_are_refused(server, kind, body):
    check_problem(server.http.post("/v1/analyze", content=body, headers={"content-type": kind}), 400)


def test_a_form_with_thousands_of_fields_is_refused(server):
    field = b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\ny\r\n'
    headers = {"content-type": "multipart/form-data; boundary=b"}
    check_problem(server.http.post("/v1/analyze", content=field * 5000 + b"--b--\r\n", headers=headers), 413)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("..\\..\\windows\\system.ini", "system.ini"),
        ("/etc/cron.d/x.jpg", "x.jpg"),
        (".hidden", "hidden"),
        ("..", "unnamed"),
        ("", "unnamed"),
        ("a\x00b\nc.jpg", "abc.jpg"),
        ("gpj.\u202eexe.jpg", "gpj.exe.jpg"),
        ("x" * 400 + ".jpg", "x" * 116 + ".jpg"),
    ],
)
def test_names_of_files_are_only_names(server, name, shown):
    from mien.server.web.forms import safe_name

    assert safe_name(name) == shown
    body = {"images": [{"name": name or "..", "data": base64.b64encode(b"x").decode()}]}
    assert server.http.post("/v1/analyze", json=body).json()["results"][0]["source"] == shown


# URLs.


def test_urls_are_refused_unless_allowed(server):
    body = {"urls": ["http://127.0.0.1/a.jpg"]}
    check_problem(server.http.post("/v1/analyze", json=body), 403, "--url-allowed")
    check_problem(server.http.post("/v1/analyze", files=[("url", (None, b"http://127.0.0.1/a.jpg"))]), 403)


class ImageHandler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(HOPPER)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def inside():
    """A server of the inner network that nobody outside shall reach through mien."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), ImageHandler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}/hopper.jpg"
        running.shutdown()


@pytest.mark.parametrize(
    "url",
    [
        "{inside}",
        "http://localhost:1/x.jpg",
        "http://[::1]/x",
        "http://169.254.169.254/meta",
        "http://2130706433/x",
        "http://0177.0.0.1/x",
        "http://[::ffff:127.0.0.1]/x",
    ],
)
def test_allowed_urls_still_do_not_lead_into_the_servers_own_network(tmp_path, inside, url):
    with served(tmp_path, url_allowed=True) as server:
        (result,) = server.http.post("/v1/analyze", json={"urls": [url.format(inside=inside)]}).json()["results"]
        assert result["error"]["status"] == 422 and result["faces"] == []


def test_private_urls_are_fetched_where_the_administrator_says_so(tmp_path, inside):
    with served(tmp_path, url_allowed=True, allow_private=True) as server:
        (result,) = server.http.post("/v1/analyze", json={"urls": [inside]}).json()["results"]
        assert [face["expression"] for face in result["faces"]] == ["neutral"]
        check_problem(server.http.post("/v1/analyze", json={"urls": ["file:///etc/passwd"]}), 422, "http://")


# Information and errors.


def test_health_ready_and_models_tell_what_the_server_is(server):
    assert server.http.get("/health").json() == {"status": "ok", "version": __version__}
    assert server.http.get("/ready").json()["status"] == "ready"
    models = server.http.get("/v1/models").json()
    assert [one["name"] for one in models["models"]] == ["mien-b"]
    assert {"name": "mtcnn", "default": True} in models["detectors"]
    sets = {one["key"]: one for one in models["label_sets"]}
    assert sets["combined"]["default"] and sets["ferplus"]["labels"][1]["name"] == "happy"
    assert sets["ferplus"]["labels"][1] == {"name": "happy", "emoji": "😄", "colour": "#f5b820"}
    assert models["limits"]["max_body_bytes"] == 4 << 20 and not models["limits"]["url_allowed"]


def test_metrics_count_requests_by_route_and_name_nobody(server):
    send(server, ("secret-name.jpg", ASTRONAUT))
    server.http.get("/v1/jobs/" + "0" * 32)
    text = server.http.get("/metrics").text
    assert 'mien_requests_total{method="POST",route="/v1/analyze",status="200"}' in text
    assert 'route="/v1/jobs/{name}",status="404"' in text
    assert "mien_batch_faces_count" in text and "mien_streams 0.0" in text
    assert "secret-name" not in text and "0" * 32 not in text and "127.0.0.1" not in text


@pytest.mark.parametrize(
    "path", ["/nothing", "/v1/nothing", "/v1/jobs/1/../../x", "/docs/secret", "/..%2f..%2fetc/passwd"]
)
def test_unknown_addresses_are_problems(server, path):
    check_problem(server.http.get(path), 404)


def test_a_method_that_an_address_does_not_take_is_answered_with_those_it_takes(server):
    answer = server.http.delete("/v1/analyze")
    check_problem(answer, 405, "DELETE")
    assert answer.headers["allow"] == "POST"


def test_an_error_of_the_server_itself_says_nothing_of_its_insides(server, monkeypatch, caplog):
    def fail(self, **_):
        raise RuntimeError("secret inside")

    monkeypatch.setattr("mien.server.work.engine.Engine.analyzer", fail)
    assert "secret" not in check_problem(send(server, ("a.jpg", ASTRONAUT)), 500)
    assert "secret inside" in caplog.text  # for the administrator
    assert 'route="/v1/analyze",status="500"' in server.http.get("/metrics").text


def test_a_jpeg_above_the_limit_is_read_reduced(server, astronaut):
    body = cv2.imencode(".jpg", cv2.resize(astronaut, (2048, 2048))[..., ::-1])[1].tobytes()
    headers = {"content-type": "image/jpeg"}
    for wanted in (False, True):
        answer = server.http.post("/v1/analyze", params={"annotated": wanted}, content=body, headers=headers)
        (result,) = answer.json()["results"]
        assert (result["width"], result["height"], result["reduced"]) == (2048, 2048, 2)
        box = np.array([result["faces"][0][side] for side in ("x1", "y1", "x2", "y2")])
        assert np.abs(box - 4 * Analyzer().analyze(astronaut).xyxy[0]).max() < 30
    drawn = cv2.imdecode(np.frombuffer(base64.b64decode(result["annotated"].partition(",")[2]), np.uint8), 1)
    assert drawn.shape == (1024, 1024, 3)


def test_a_face_in_a_very_wide_image_is_found(server, astronaut):
    wide = np.zeros((300, 40_000, 3), np.uint8)
    wide[:, 38_000:38_300] = astronaut[:300, 90:390]
    body = cv2.imencode(".png", wide[..., ::-1])[1].tobytes()
    with_limit = server.http.post("/v1/analyze", content=body, headers={"content-type": "image/png"})
    assert with_limit.json()["results"][0]["error"]["status"] == 422  # 12 megapixels of 2
    near = Analyzer().analyze(wide[:, 37_500:38_500])
    far = Analyzer().analyze(wide)
    assert far.expression == near.expression == ["happy"]
    np.testing.assert_allclose(far.probs, near.probs, atol=0.05)


def test_the_description_is_complete_and_needs_no_other_host(server):
    description = server.http.get("/openapi.json").json()
    assert {"/v1/analyze", "/v1/jobs", "/v1/jobs/{name}", "/v1/jobs/{name}/result.{kind}", "/v1/models"} <= set(
        description["paths"]
    )
    schemas = description["components"]["schemas"]
    assert {"ProblemDocument", "AnalyzeBody", "JobOptions", "Analysis", "Job"} <= set(schemas)
    references = set(json.dumps(description).split('"#/components/schemas/')[1:])
    assert {reference.split('"')[0] for reference in references} <= set(schemas)
    page = server.http.get("/docs")
    assert page.status_code == 200 and "http" not in page.text.replace("https://www.w3", "")
    assert "<script>" not in page.text and "style=" not in page.text
    for name, kind in (
        ("swagger-ui-bundle.js", "text/javascript"),
        ("swagger-ui.css", "text/css"),
        ("start.js", "text/j"),
    ):
        file = server.http.get(f"/docs/{name}")
        assert file.status_code == 200 and file.headers["content-type"].startswith(kind) and len(file.text) > 100


def test_the_page_is_at_the_root(server):
    page = server.http.get("/")
    assert page.status_code == 200 and "<html" in page.text and page.headers["content-type"].startswith("text/html")


# Load and fairness.


def test_more_work_than_may_wait_is_refused_at_once(tmp_path):
    with served(tmp_path, workers=1, waiting=2) as server:
        answer = send(server, *[("a.jpg", ASTRONAUT)] * 20)
        check_problem(answer, 503, "wait")
        assert int(answer.headers["retry-after"]) >= 1
        wait_for(lambda: send(server, ("a.jpg", ASTRONAUT)).status_code == 200)  # what was begun is still worked on


def test_requests_may_hold_so_much_memory_together_and_no_more(tmp_path):
    with served(tmp_path, max_body_mb=1, bodies_mb=1) as server:
        workers = server.app.state.engine.workers
        gate = threading.Event()
        for _ in range(workers.count):
            workers.submit("test", gate.wait)
        wait_for(lambda: workers.waiting == 0)  # both are at work: from here on only requests wait
        body = ASTRONAUT + bytes(600_000)
        kind = {"content-type": "image/jpeg"}
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(server.http.post, "/v1/analyze", content=body, headers=kind)
            wait_for(lambda: workers.waiting == 1)
            check_problem(server.http.post("/v1/analyze", content=body, headers=kind), 503, "holds")
            gate.set()
            assert first.result().status_code == 200
        assert server.http.post("/v1/analyze", content=body, headers=kind).status_code == 200


def test_images_leave_nothing_on_the_disk(server, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = sorted(path for path in server.data_dir.rglob("*") if "sqlite" not in path.name)
    noise = np.random.default_rng(0).integers(0, 255, (800, 800, 3), np.uint8)
    large = cv2.imencode(".png", noise)[1].tobytes()
    assert len(large) > 1 << 20  # where form parsers begin to use files
    assert send(server, ("large.png", large)).status_code == 200
    assert sorted(path for path in server.data_dir.rglob("*") if "sqlite" not in path.name) == before
    assert list(tmp_path.iterdir()) == []
