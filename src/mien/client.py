"""A client of `mien serve`, with nothing but the standard library (and `websockets` for live streams).

    from mien.client import Client

    client = Client("http://127.0.0.1:8000")
    for result in client.analyze("photo.jpg"):
        print(result.faces)
    job = client.submit("video.mp4")
    client.wait(job["id"])
    client.download(job["id"], "csv", "video.csv")

Faces come back as `Faces`, as if they had been found in this process.
"""

import base64
import http.client
import json
import math
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote, urlencode, urlsplit

import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError, MienError, SourceError, require_extra, shortened, shown
from mien.faces import ATTRIBUTES, KEEP_ALL, MESH_POINTS, NOTE, PERSON, FaceFilter, Faces, known_attributes
from mien.files import PartFile
from mien.labels import LabelSet

READ_BYTES = 1 << 20
LONGEST_WAIT_S = 2.0  # between two looks at a job
LONGEST_DETAIL = 600  # characters; as long as the server's own words may be
ENDED = ("done", "failed", "cancelled")
KINDS = ("csv", "jsonl", "parquet", "mp4", "summary", "video")

Values = dict[str, Any]


class ServerError(MienError):
    """The server refused or failed; the message is its own.

    Attributes:
        status: HTTP status; 0 where there was no answer.
        retry_after_s: After how many seconds it is worth another try, or None.
    """

    def __init__(self, message: str, *, status: int = 0, retry_after_s: float | None = None) -> None:
        """Take down what the server said.

        Args:
            message: For people.
            status: HTTP status.
            retry_after_s: From the header Retry-After.
        """
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s


@dataclass(frozen=True)
class Analyzed:
    """What the server found in one image.

    Attributes:
        source: Its name.
        faces: Its faces; none where there was an error.
        error: Why there is no result, or None.
        annotated: A JPEG with the faces drawn, where asked for.
    """

    source: str
    faces: Faces
    error: str | None = None
    annotated: bytes | None = None


class Client:
    """Talks to one server. For one thread at a time."""

    def __init__(
        self, url: str = "http://127.0.0.1:8000", *, token: str = "", list_key: str = "", timeout_s: float = 120.0
    ) -> None:
        """Remember where the server is; nothing is sent yet.

        Args:
            url: Its address, with a path before `/v1` where a proxy puts one.
            token: Its token, if it asks for one.
            list_key: A secret of your own, 16 to 128 characters, which makes a list of videos of your own: only who has
                it finds them in `jobs()`, changes or removes them. Empty for the list that is everybody's.
            timeout_s: Seconds without any answer after which a request fails.

        Raises:
            InputError: The address is no http(s) URL, token or key fit in no header, or the time is not more than 0.
        """
        try:
            parts = urlsplit(url)
            host, self._port = parts.hostname, parts.port
        except (ValueError, AttributeError):
            parts, host = urlsplit(""), None
        if parts.scheme not in ("http", "https") or not host or " " in url or not _is_plain(url):
            raise InputError(f"the address must be like http://127.0.0.1:8000, got {shown(url)}")
        if not isinstance(token, str) or not _is_plain(token):
            raise InputError("the token must be printable ASCII characters; copy it again from where the server runs")
        if not isinstance(list_key, str) or not _is_plain(list_key) or (list_key and not 16 <= len(list_key) <= 128):
            raise InputError("list_key must be 16 to 128 printable ASCII characters: secrets.token_urlsafe() makes one")
        if not (isinstance(timeout_s, (int, float)) and 0 < timeout_s < math.inf):
            raise InputError(f"timeout_s must be a number of seconds more than 0, got {shown(timeout_s)}")
        self._parts = parts
        self._place = parts.netloc.rpartition("@")[2]  # without a password
        self._host = host
        self._token = token
        self._list_key = list_key
        self._timeout_s = timeout_s

    # Images.

    def analyze(
        self,
        *sources: str | Path | bytes,
        labels: str | None = None,
        detector: str | None = None,
        annotated: bool = False,
        keep: FaceFilter = KEEP_ALL,
        attributes: Sequence[str] = (),
    ) -> list[Analyzed]:
        """Analyze images.

        Args:
            sources: Paths, http(s) URLs that the server shall fetch, or encoded images as bytes.
            labels: Label set; None takes the server's.
            detector: Face detector; None takes the server's.
            annotated: Whether to get the images with the faces drawn, too.
            keep: Which of the faces found are wanted.
            attributes: What else is measured: names of `mien.faces.ATTRIBUTES`.

        Returns:
            One result per image, files first, then URLs, each in the order given.

        Raises:
            ServerError: The server refused the request or did not answer.
            SourceError: A file cannot be read.
            InputError: A source is neither a path nor bytes.
        """
        urls = [source for source in sources if isinstance(source, str) and source.startswith(("http://", "https://"))]
        files = [_image(number, source) for number, source in enumerate(sources) if source not in urls]
        asked = {"annotated": "1"} if annotated else {}
        asked |= {"attributes": ",".join(known_attributes(attributes))} if attributes else {}
        query = _query(labels=labels, detector=detector, **asked, **_choice(keep))
        answer = self._json("POST", f"/v1/analyze{query}", json.dumps({"images": files, "urls": urls}).encode())
        with _understood():
            return [_analyzed(result, answer["labels"], labels) for result in answer["results"]]

    def models(self) -> Values:
        """Return what the server offers: models, detectors, label sets, limits."""
        return self._json("GET", "/v1/models")

    def health(self) -> Values:
        """Return that the server answers.

        Raises:
            ServerError: It does not.
        """
        return self._json("GET", "/health")

    # Videos.

    def submit(self, path: str | Path, **options: Any) -> Values:
        """Send a video to be analyzed, piece by piece.

        Args:
            path: The video.
            options: As described at the server's /docs: labels, detector, every, fps, start_s, end_s, stream,
                half_life_s, min_face, min_confidence, largest_only, clip_boxes, attributes, annotate, blur, bars,
                baseline, people, keep_video.

        Returns:
            The job; its `id` is what the other methods take.

        Raises:
            ServerError: The server refused the video or did not answer.
            SourceError: The file cannot be read.
            InputError: The options do not fit in JSON.
        """
        with _opened(_path(path)) as (file, size):
            form = _VideoForm(Path(path).name, file, size, options)
            headers = {"Content-Type": form.media_type, "Content-Length": str(form.size)}
            return self._json("POST", "/v1/jobs", form, headers=headers)

    def jobs(self) -> list[Values]:
        """Return the jobs of the list that `list_key` opens, the newest first; without a key, of everybody's."""
        answer = self._json("GET", "/v1/jobs")
        with _understood():
            return list(answer["jobs"])

    def job(self, name: str) -> Values:
        """Return a job.

        Args:
            name: Its id.
        """
        return self._json("GET", f"/v1/jobs/{_named(name)}")

    def wait(
        self, name: str, *, timeout_s: float | None = None, progress: Callable[[Values], None] | None = None
    ) -> Values:
        """Wait until a job has ended and return it.

        Args:
            name: Its id.
            timeout_s: Seconds after which to give up; None waits for as long as it takes.
            progress: Called with the job at each look.

        Raises:
            ServerError: It takes longer than `timeout_s`.
        """
        start, pause_s = time.monotonic(), 0.1
        while True:
            job = self.job(name)
            with _understood():
                state = str(job["state"])
            if progress:
                progress(job)
            if state in ENDED:
                return job
            if timeout_s is not None and time.monotonic() - start > timeout_s:
                raise ServerError(f"the job is still {state} after {timeout_s:g} s; wait longer or cancel it")
            time.sleep(pause_s)
            pause_s = min(LONGEST_WAIT_S, 1.5 * pause_s)

    def cancel(self, name: str) -> None:
        """Cancel a job that waits or runs, or remove one that has ended with its files.

        Args:
            name: Its id.
        """
        with self._asked("DELETE", f"/v1/jobs/{_named(name)}"):
            pass

    def summary(self, name: str) -> Values:
        """Return the summary of a video.

        Args:
            name: The job's id.
        """
        return self._json("GET", f"/v1/jobs/{_named(name)}/summary")

    # What people note of a video.

    def note(self, name: str, kind: str) -> Values:
        """Return what is noted of a video: `value`, the `number` of the last change, and whether it is `undoable`.

        Args:
            name: The job's id.
            kind: `people`, `truth` or `events`.
        """
        return self._json("GET", f"/v1/jobs/{_named(name)}/notes/{_named(kind)}")

    def set_note(self, name: str, kind: str, value: Sequence[Mapping[str, Any]], *, after: int | None = None) -> Values:
        """Note something anew; the results stay as they are, and `undo_note` brings back what was noted before.

        Args:
            name: The job's id.
            kind: `people` (`track_id`, `person`, and `start_s`, `end_s` for a part of a track's time), `truth`
                (`start_s`, `end_s`, `expression`, `track_id`) or `events` (`time_s`, `name`).
            value: All that shall be noted.
            after: The `number` of the note that it changes; None for whatever is noted now.

        Returns:
            What is noted now, as `note`.

        Raises:
            ServerError: The server refused it; `status` is 409 where somebody else changed the note meanwhile.
            InputError: The value does not fit in JSON.
        """
        if after is None:
            after = self.note(name, kind).get("number", 0)
        try:
            body = json.dumps({"after": after, "value": list(value)}).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise InputError(
                f"the note must be a list of dicts with numbers and texts: {shortened(str(error))}"
            ) from error
        return self._json("PUT", f"/v1/jobs/{_named(name)}/notes/{_named(kind)}", body)

    def undo_note(self, name: str, kind: str) -> Values:
        """Go back to what was noted before the last change, and return it.

        Args:
            name: The job's id.
            kind: `people`, `truth` or `events`.
        """
        return self._json("POST", f"/v1/jobs/{_named(name)}/notes/{_named(kind)}/undo")

    def correct(self, name: str, people: Sequence[Mapping[str, Any]]) -> Values:
        """Say who is who: give tracks names. Tracks with one name are one person; a name for a part of it splits it.

        Args:
            name: The job's id.
            people: `{"track_id": 1, "person": "Anna"}`, with `start_s` and `end_s` for a part of a track's time.
        """
        return self.set_note(name, "people", people)

    def score(self, name: str) -> Values:
        """Return how often the answers of a video are what was noted as the truth.

        Args:
            name: The job's id.

        Raises:
            ServerError: Nothing was noted as the truth.
        """
        return self._json("GET", f"/v1/jobs/{_named(name)}/score")

    def compare(self, videos: Sequence[str | Mapping[str, Any]], **options: Any) -> Values:
        """Return what people of several videos showed around an event: curves, means of groups with intervals, changes.

        Args:
            videos: Ids of jobs, or dicts with `job` and, where wanted, `label`, `group` and `people`.
            options: As described at the server's /docs: event, before_s, after_s, expressions, title.
        """
        return self._json("POST", "/v1/compare", _report_body(videos, options))

    def report(self, videos: Sequence[str | Mapping[str, Any]], path: str | Path, **options: Any) -> Path:
        """Save a report of videos and people as one HTML page; the file appears whole or not at all.

        Args:
            videos: As for `compare`.
            path: Where to.
            options: As for `compare`.
        """
        return self._save("POST", "/v1/report", path, _report_body(videos, options))

    def download(self, name: str, kind: str, path: str | Path, *, corrected: bool = False) -> Path:
        """Save a result of a video; the file appears whole or not at all.

        Args:
            name: The job's id.
            kind: `csv`, `jsonl`, `parquet`, `mp4`, `summary` or `video`.
            path: Where to.
            corrected: With the names that people gave, as a column `corrected_person`; for tables and the summary.

        Raises:
            InputError: Unknown kind, or one that has no names.
            ServerError: The server has no such result, or what came is not all of it.
            OutputError: The file cannot be written.
        """
        if kind not in KINDS:
            raise InputError(f"kind must be one of {', '.join(KINDS)}, got {shown(kind)}")
        if corrected and kind in ("mp4", "video"):
            raise InputError("only tables and the summary have corrected names; leave corrected out")
        plain = kind if kind in ("summary", "video") else f"result.{kind}"
        address = f"corrected.{'json' if kind == 'summary' else kind}" if corrected else plain
        return self._save("GET", f"/v1/jobs/{_named(name)}/{address}", path)

    def _save(self, method: str, address: str, path: str | Path, body: bytes | None = None) -> Path:
        """Save an answer; the file appears whole or not at all."""
        target = _path(path)
        part = PartFile(target)
        try:
            with self._asked(method, address, body) as answer:
                for piece in _pieces(answer):
                    with part.guarded() as file:
                        file.write(piece)
            part.commit()
        except BaseException:  # Ctrl-C, too
            part.discard()
            raise
        return target

    # Live.

    @contextmanager
    def stream(
        self,
        *,
        labels: str | None = None,
        detector: str | None = None,
        half_life_s: float | None = None,
        keep: FaceFilter = KEEP_ALL,
        attributes: Sequence[str] = (),
    ) -> Iterator["Stream"]:
        """Open a live stream.

        Args:
            labels: Label set; None takes the server's.
            detector: Face detector; None takes the server's.
            half_life_s: Half-life of the smoothing, seconds; None takes the server's.
            keep: Which of the faces found are wanted.
            attributes: What else is measured: names of `mien.faces.ATTRIBUTES`.

        Raises:
            ServerError: The server refused it.
            MissingExtraError: The module websockets is not installed.
        """
        if half_life_s is not None and not math.isfinite(half_life_s):
            raise InputError(f"half_life_s must be a finite number, got {half_life_s}")
        client = require_extra("server", "websockets.sync.client")
        scheme = "wss" if self._parts.scheme == "https" else "ws"
        address = f"{scheme}://{self._place}{self._parts.path.rstrip('/')}/v1/stream"
        wanted: dict[str, Any] = {"labels": labels, "detector": detector, "half_life_s": half_life_s}
        token = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        wanted |= _choice(keep)
        wanted |= {"attributes": list(known_attributes(attributes))} if attributes else {}
        with ExitStack() as stack:
            with _told_plainly():
                connection = client.connect(
                    address, max_size=None, open_timeout=self._timeout_s, compression=None, additional_headers=token
                )
                socket = stack.enter_context(connection)
                socket.send(json.dumps({name: value for name, value in wanted.items() if value is not None}))
                stream = Stream(socket, _message(socket.recv(self._timeout_s)), self._timeout_s)
            yield stream

    # HTTP.

    def _json(
        self, method: str, address: str, body: "bytes | _VideoForm | None" = None, *, headers: Mapping[str, str] = {}
    ) -> Values:
        with self._asked(method, address, body, headers=headers) as answer:
            said = answer.read()
        return _values(said)

    @contextmanager
    def _asked(
        self,
        method: str,
        address: str,
        body: "bytes | _VideoForm | None" = None,
        *,
        headers: Mapping[str, str] = {},
    ) -> Iterator[http.client.HTTPResponse]:
        kind = http.client.HTTPSConnection if self._parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=self._timeout_s)
        sent = {"Content-Type": "application/json"} if isinstance(body, bytes) else {}
        token = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        key = {"Mien-List": self._list_key} if self._list_key and address.startswith("/v1/jobs") else {}
        try:
            answer = _answer(
                connection, method, self._parts.path.rstrip("/") + address, body, {**sent, **token, **key, **headers}
            )
            if not 200 <= answer.status < 300:
                raise _refused(answer)
            yield answer
        except MienError:  # some are errors of the operating system, too
            raise
        except http.client.IncompleteRead as error:
            raise ServerError(f"the answer of {self._place} was cut off; ask again") from error
        except (OSError, http.client.HTTPException, UnicodeError) as error:  # UnicodeError: a host that no name can be
            why = shortened(str(error) or type(error).__name__)
            raise ServerError(f"{self._place} does not answer ({why}); is the server running?") from error
        finally:
            connection.close()


class Stream:
    """A live stream: an image in, its faces out.

    Attributes:
        labels: The expressions, in order.
    """

    def __init__(self, socket: Any, ready: Values, timeout_s: float) -> None:
        """Take over a web socket that has said it is ready."""
        with _understood():
            self.labels = LabelSet(ready["label_set"], tuple(label["name"] for label in ready["labels"]))
        self._socket = socket
        self._timeout_s = timeout_s

    def send(self, image: bytes) -> Faces:
        """Send an encoded image and return its faces, with numbers and smoothed probabilities.

        Args:
            image: A JPEG, PNG or WebP file.

        Raises:
            ServerError: The server refused the image, or stops.
            InputError: It is not bytes.
        """
        if not isinstance(image, (bytes, bytearray, memoryview)):
            raise InputError(f"the image must be an encoded one, as bytes, got {type(image).__name__}; read its file")
        with _told_plainly():
            self._socket.send(image)
            answer = self._socket.recv(self._timeout_s)
        message = _message(answer)
        with _understood():
            return _live_faces(message, self.labels)


@contextmanager
def _told_plainly() -> Iterator[None]:
    """Turn the errors of a web socket into a `ServerError`."""
    errors = require_extra("server", "websockets.exceptions")
    try:
        yield
    except errors.InvalidStatus as error:
        raise _denied(error.response.status_code, error.response.body or b"") from error
    except (errors.WebSocketException, OSError, ValueError, EOFError) as error:  # ValueError: an answer that is no HTTP
        raise ServerError(f"the live stream ended: {shortened(str(error) or type(error).__name__)}") from error


def _message(text: str | bytes) -> Values:
    message = _values(text)
    with _understood():
        if message["type"] == "error":
            problem = message["problem"]
            raise ServerError(shortened(str(problem["detail"]), LONGEST_DETAIL), status=int(problem["status"]))
        if message["type"] == "closing":
            raise ServerError(f"the server ends the stream: {shortened(str(message['reason']))}", status=503)
    return message


# What came.


@contextmanager
def _understood() -> Iterator[None]:
    """Turn the errors of reading what came into a `ServerError`: what answers may be no mien server at all."""
    try:
        yield
    except MienError:
        raise
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise ServerError(
            "the answer is not one of a mien server of this version; check the address and both versions"
        ) from error


def _values(text: str | bytes) -> Values:
    """Return an answer in JSON, which must be an object."""
    with _understood():
        values: Values = json.loads(text)
        if not isinstance(values, dict):
            raise TypeError("no object")
    return values


def _pieces(answer: http.client.HTTPResponse) -> Iterator[bytes]:
    """Yield a file that comes; one that was cut off ends in an error.

    `read` with a number says nothing of a Content-Length that was not reached; and where there is none, and no chunks
    either, nobody can tell a whole file from a part.
    """
    if answer.length is None and not answer.chunked:
        raise ServerError("the answer does not say how long it is; ask the server without the proxy between")
    while piece := answer.read(READ_BYTES):
        yield piece
    if answer.length:
        raise http.client.IncompleteRead(b"", answer.length)


def _answer(
    connection: http.client.HTTPConnection,
    method: str,
    address: str,
    body: "bytes | _VideoForm | None",
    headers: Mapping[str, str],
) -> http.client.HTTPResponse:
    """Send a request; a server that refuses a large body early has answered before it is sent."""
    try:
        connection.request(method, address, body=body, headers=headers)
    except (BrokenPipeError, ConnectionResetError):
        if isinstance(body, bytes | None):
            raise
    return connection.getresponse()


def _refused(answer: http.client.HTTPResponse) -> ServerError:
    if 300 <= answer.status < 400:
        to = shortened(answer.headers.get("Location", "nowhere"))
        return ServerError(f"the server sends on to {to}; give that server's address", status=answer.status)
    wait = answer.headers.get("Retry-After", "")
    after_s = float(wait) if wait.isdecimal() and len(wait) < 10 else None
    return _denied(answer.status, answer.read(1 << 16), after_s)


def _denied(status: int, body: bytes, retry_after_s: float | None = None) -> ServerError:
    try:
        said = shortened(str(json.loads(body)["detail"]), LONGEST_DETAIL)
    except (ValueError, LookupError, TypeError, RecursionError):
        said = f"the server answered {status}; is there a mien server at this address?"
    return ServerError(said, status=status, retry_after_s=retry_after_s)


# Requests.


def _query(**values: Any) -> str:
    given = {name: value for name, value in values.items() if value is not None}
    return f"?{urlencode(given, errors='replace')}" if given else ""


def _is_plain(text: str) -> bool:
    """Return whether a text fits in a header as it is."""
    return text.isascii() and text.isprintable()


def _named(name: str) -> str:
    """Return a job's id for an address, whatever it is: one that cannot be is the server's to refuse."""
    return quote(str(name), safe="", errors="replace") or "-"


def _report_body(videos: Sequence[str | Mapping[str, Any]], options: Mapping[str, Any]) -> bytes:
    chosen = [{"job": video} if isinstance(video, str) else dict(video) for video in videos]
    try:
        return json.dumps({"videos": chosen, **options}).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"the options must be numbers, texts and lists of them: {shortened(str(error))}") from error


def _path(path: object) -> Path:
    if not isinstance(path, (str, os.PathLike)):
        raise InputError(f"a file must be named by its path, got {type(path).__name__}")
    return Path(os.fsdecode(path))


def _choice(keep: FaceFilter) -> dict[str, Any]:
    """Return what a filter says otherwise than the usual one, as the server's options."""
    names = {"min_face": keep.min_face_px, "min_confidence": keep.min_confidence}
    flags = {"largest_only": keep.largest_only, "clip_boxes": keep.clip_boxes}
    return {name: value for name, value in names.items() if value} | {name: True for name, on in flags.items() if on}


def _image(number: int, source: str | Path | bytes) -> Values:
    if isinstance(source, bytes):
        return {"name": f"image {number}", "data": base64.b64encode(source).decode()}
    path = _path(source)
    with _opened(path) as (file, _):
        return {"name": _printable(path.name), "data": base64.b64encode(file.read()).decode()}


def _printable(name: str) -> str:
    """Return a file name that fits in UTF-8: Linux allows any bytes."""
    return name.encode("utf-8", "replace").decode()


@contextmanager
def _opened(path: Path) -> Iterator[tuple[IO[bytes], int]]:
    try:
        file = path.open("rb")
        size = os.fstat(file.fileno()).st_size
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        why = getattr(error, "strerror", None) or str(error)
        named = shortened(_printable(str(path)))
        raise SourceError(f"{named} cannot be opened: {why}; check the name and its permissions") from error
    with file:
        yield file, size


class _VideoForm:
    """A form with a video, read from the disk while it is sent."""

    def __init__(self, name: str, file: IO[bytes], size: int, options: Mapping[str, Any]) -> None:
        boundary = secrets.token_hex(16)
        try:
            said = json.dumps(options)
        except (TypeError, ValueError, RecursionError) as error:
            raise InputError(f"the options must be numbers, texts and yes or no: {shortened(str(error))}") from error
        name = _printable(name)
        plain = "".join(c if c.isprintable() and c not in '"\\' else "_" for c in name)
        field = 'Content-Disposition: form-data; name="{}"'
        head = (
            f"--{boundary}\r\n{field.format('options')}\r\n\r\n{said}\r\n"
            f'--{boundary}\r\n{field.format("file")}; filename="{plain}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        )
        self.media_type = f"multipart/form-data; boundary={boundary}"
        self._head, self._file, self._tail = head.encode(), file, f"\r\n--{boundary}--\r\n".encode()
        self.size = len(self._head) + size + len(self._tail)

    def __iter__(self) -> Iterator[bytes]:
        yield self._head
        while piece := self._file.read(READ_BYTES):
            yield piece
        yield self._tail


# Answers.


def _analyzed(result: Values, names: Sequence[str], labels: str | None) -> Analyzed:
    error, annotated = result["error"], result["annotated"]
    return Analyzed(
        result["source"],
        _faces(result["faces"], LabelSet(labels or "server", tuple(names)), result["source"]),
        None if error is None else str(error["detail"]),
        None if annotated is None else base64.b64decode(annotated.partition(",")[2]),
    )


def _faces(rows: Sequence[Values], labels: LabelSet, source: str) -> Faces:
    """Return rows as `Faces`; probabilities, which came rounded, sum to 1 again."""
    if not rows:
        return replace(Faces.empty(), source=source)
    probs = _floats([[row[name] for name in labels.names] for row in rows])
    known = all(row["landmarks"] is not None for row in rows)
    faces = Faces(
        xyxy=_floats([[row[side] for side in ("x1", "y1", "x2", "y2")] for row in rows]),
        score=_floats([row["score"] for row in rows]),
        landmarks=_floats([row["landmarks"] for row in rows]) if known else None,
        probs=probs / probs.sum(axis=1, keepdims=True),
        labels=labels,
        source=source,
    )
    measured = [name for columns in ATTRIBUTES.values() for name in columns if name in rows[0] and name != PERSON]
    return _with_measures(faces, [{name: row[name] for name in measured} for row in rows], rows)


def _with_measures(faces: Faces, measured: Sequence[Mapping[str, Any]], told: Sequence[Values]) -> Faces:
    """Return faces with the attributes that were asked for; as they are where none were."""
    if NOTE not in told[0]:
        return faces
    columns = {name: np.array([one[name] for one in measured], np.float32) for name in measured[0]}
    mesh = None
    if "mesh" in told[0]:
        nothing = np.full((MESH_POINTS, 2), np.nan)
        mesh = np.array([nothing if one["mesh"] is None else one["mesh"] for one in told], np.float32)
    return faces.with_attributes(columns, [one[NOTE] or "" for one in told], mesh=mesh)


def _live_faces(message: Values, labels: LabelSet) -> Faces:
    faces = message["faces"]
    empty = replace(Faces.empty(), source="stream", frame_index=message["frame"], time_s=message["time_s"])
    if not faces:
        return empty
    probs = _floats([[face["probs"][name] for name in labels.names] for face in faces])
    smoothed = _floats([[face["smoothed"][name] for name in labels.names] for face in faces])
    known = all(face["landmarks"] is not None for face in faces)
    seen = replace(
        empty,
        xyxy=_floats([face["box"] for face in faces]),
        score=_floats([face["score"] for face in faces]),
        landmarks=_floats([face["landmarks"] for face in faces]) if known else None,
        probs=probs / probs.sum(axis=1, keepdims=True),
        track_id=np.array([face["track_id"] for face in faces], np.int64),
        labels=labels,
        smoothed=smoothed / smoothed.sum(axis=1, keepdims=True),
        steady=np.array([labels.index(face["steady_expression"]) for face in faces], np.int64),
    )
    return _with_measures(seen, [face.get("attributes", {}) for face in faces], faces)


def _floats(values: Sequence[Any]) -> NDArray[np.float32]:
    return np.array(values, np.float32)
