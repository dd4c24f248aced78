"""WS /v1/stream: a live stream. Images in, faces out; the client sends the next when the last answer came.

The client begins with a text message, the settings (`StreamSettings`), and gets `{"type": "ready", …}`. Then each
binary message is one JPEG, PNG or WebP, and gets one text message, `{"type": "faces", …}` or `{"type": "error", …}`.
Settings may be sent again at any time. An image that comes before the last answer is refused, never queued.
"""

import asyncio
import json
import logging
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from pydantic import ValidationError
from starlette.websockets import WebSocketState

from mien.errors import MienError
from mien.faces import Faces, Frame
from mien.server.settings import ServerSettings
from mien.server.web import records
from mien.server.web.connections import WELCOME
from mien.server.web.metrics import Metrics
from mien.server.web.problems import Problem, busy, problem_of
from mien.server.web.schemas import StreamSettings
from mien.server.web.security import SUBPROTOCOL, client_of, is_right, refuse_web_socket, token_of
from mien.server.work.engine import Engine
from mien.sources.images import decode_image
from mien.tracking.tracker import Tracker

HELLO_S = 10.0  # for the first message
WAITING_PER_CLIENT = 32  # web sockets whose first message has not come
WAITING_STRANGERS = 256  # of all clients, without the token
LONGEST_TEXT = 4096
LAST_ANSWER_S = 20.0  # for the image under way when the server stops
NORMAL, GOING_AWAY, POLICY_VIOLATION, INTERNAL_ERROR, TRY_AGAIN = 1000, 1001, 1008, 1011, 1013

logger = logging.getLogger(__name__)
router = APIRouter()


class Streams:
    """The live streams of this process: how many there are, and how to tell them that the server stops."""

    def __init__(self, settings: ServerSettings) -> None:
        """Start with none.

        Args:
            settings: Gives the limits.
        """
        self._settings = settings
        self._by_client: Counter[str] = Counter()
        self._waiting: Counter[tuple[str, bool]] = Counter()
        self._open: set[LiveStream] = set()
        self._stopping = False
        self._goodbye: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        """Return the number of streams, viewers of the server's camera included."""
        return self._by_client.total()

    @contextmanager
    def doorstep(self, client: str, *, known: bool) -> Iterator[None]:
        """Let a web socket wait beside the places of streams until its first message has come.

        Args:
            client: Whose web socket it is.
            known: Whether its handshake had the token. Strangers never take the room of those who are known.

        Raises:
            Problem: 503, too many strangers wait or the server stops; 429, too many of this client's.
        """
        if self._stopping:
            raise busy("the server is stopping; try again in a moment", retry_after_s=5)
        if self._waiting[client, known] >= WAITING_PER_CLIENT:
            raise busy("too many web sockets of this client wait for their first message", status=429, retry_after_s=10)
        strangers = sum(count for (_, is_known), count in self._waiting.items() if not is_known)
        if not known and strangers >= WAITING_STRANGERS:
            raise busy("too many web sockets wait for their token; send it in the handshake", retry_after_s=10)
        self._waiting[client, known] += 1
        try:
            yield
        finally:
            self._waiting[client, known] -= 1
            self._waiting += Counter()  # drops the zeros

    @contextmanager
    def place(self, client: str) -> Iterator[None]:
        """Hold a place for one stream.

        Args:
            client: Whose stream it is.

        Raises:
            Problem: 503, all places are taken or the server stops; 429, all of this client's are.
        """
        if self._stopping:
            raise busy("the server is stopping; try again in a moment", retry_after_s=5)
        if len(self) >= self._settings.streams:
            raise busy(
                f"all places for live streams are taken ({self._settings.streams}); try again later", retry_after_s=10
            )
        if self._by_client[client] >= self._settings.streams_per_client:
            most = self._settings.streams_per_client
            raise busy(f"at most {most} live streams per client; end another first", status=429, retry_after_s=10)
        self._by_client[client] += 1
        try:
            yield
        finally:
            self._by_client[client] -= 1
            self._by_client += Counter()  # drops the zeros

    @property
    def stopping(self) -> bool:
        """Whether the server stops."""
        return self._stopping

    def add(self, stream: "LiveStream") -> None:
        """Note a stream, to be told when the server stops."""
        self._open.add(stream)

    def remove(self, stream: "LiveStream") -> None:
        """Forget a stream."""
        self._open.discard(stream)

    def stop_soon(self) -> None:
        """Begin to tell all streams that the server stops; further calls do nothing."""
        if not self._stopping:
            self._stopping = True
            self._goodbye = asyncio.ensure_future(self.stop())

    async def stop(self) -> None:
        """Tell all streams that the server stops, and take no more."""
        self._stopping = True
        await asyncio.gather(*(stream.close("the server is stopping") for stream in list(self._open)))


@router.websocket("/v1/stream")
async def stream(socket: WebSocket) -> None:
    """Analyze a live stream."""
    state = socket.app.state
    client = client_of(socket.scope)
    live = LiveStream(socket, state.engine, state.metrics)
    try:
        with state.streams.doorstep(client, known=live.is_known):
            await socket.accept(subprotocol=SUBPROTOCOL if SUBPROTOCOL in socket.scope["subprotocols"] else None)
            state.streams.add(live)
            wanted = await live.first_message()
        with state.streams.place(client):
            await live.run(wanted)
    except Problem as problem:
        await _refuse(socket, problem)
    except (WebSocketDisconnect, RuntimeError, ConnectionError):
        pass  # the client left; starlette says RuntimeError where it left between two messages
    except Exception as error:
        logger.exception("a live stream failed")
        with suppress(Exception):
            await socket.send_text(_error(problem_of(error)))
            await socket.close(INTERNAL_ERROR)
    finally:
        state.streams.remove(live)


async def _refuse(socket: WebSocket, problem: Problem) -> None:
    """Tell why there is no stream, or no longer: as the answer to the handshake, or as last words."""
    with suppress(Exception):
        if socket.application_state is WebSocketState.CONNECTING:
            return await refuse_web_socket(problem, socket.scope, socket.receive, socket.send)
        await socket.send_text(_error(problem))
        await socket.close(TRY_AGAIN if problem.status in (429, 503) else POLICY_VIOLATION, problem.detail[:100])


class LiveStream:
    """One client's stream."""

    def __init__(self, socket: WebSocket, engine: Engine, metrics: Metrics) -> None:
        """Take over a web socket; nothing is sent or received yet.

        Args:
            socket: The web socket.
            engine: Does the work.
            metrics: Counts the frames.
        """
        self._socket = socket
        self._engine = engine
        self._metrics = metrics
        self._settings = engine.settings
        self._tracker: Tracker
        self._ready = False
        self._frames = 0
        self._start = time.monotonic()
        self._work: asyncio.Task[None] | None = None
        self._sending = asyncio.Lock()

    @property
    def is_known(self) -> bool:
        """Whether the handshake had the token, if the server asks for one."""
        token = self._settings.token
        return not token or is_right(token, token_of(self._socket.scope, self._socket.headers))

    async def first_message(self) -> StreamSettings:
        """Wait for the settings and, if the server asks for one, the token; until then messages must be small.

        Raises:
            Problem: There is no right token, or silence.
            WebSocketDisconnect: The client left.
        """
        wanted = _settings_of(await self._next_message(HELLO_S))
        if not self.is_known and not is_right(self._settings.token, wanted.token or ""):
            raise Problem(401, "this needs the server's token; send it in the first message")
        welcome = self._socket.scope["extensions"].get(WELCOME)
        if welcome is not None:
            welcome["call"]()
        return wanted

    async def run(self, wanted: StreamSettings) -> None:
        """Answer messages until the client leaves or a limit is reached.

        Args:
            wanted: From the first message.

        Raises:
            Problem: What ends the stream: silence, or the time limit.
            WebSocketDisconnect: The client left.
        """
        try:
            await self._use(wanted)
            while True:
                await self._take(await self._next_message(self._settings.stream_idle_s))
        finally:
            if self._work:
                self._work.cancel()

    async def close(self, reason: str) -> None:
        """Tell the client that the server ends the stream, after the answer that is under way."""
        with suppress(Exception):
            if self._work:
                await asyncio.wait((self._work,), timeout=LAST_ANSWER_S)
            await self._send({"type": "closing", "reason": reason})
            await self._socket.close(GOING_AWAY, reason)

    # Receiving.

    async def _next_message(self, idle_s: float) -> dict[str, Any]:
        left = self._start + self._settings.stream_max_s - time.monotonic()
        try:
            async with asyncio.timeout(max(0.0, min(idle_s, left))):
                message = dict(await self._socket.receive())
        except TimeoutError as error:
            limit = "was silent for too long" if idle_s < left else "has reached the longest time"
            raise Problem(408, f"the stream {limit}; open a new one") from error
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", NORMAL))
        return message

    async def _take(self, message: dict[str, Any]) -> None:
        try:
            if message.get("bytes") is None:
                await self._use(_settings_of(message))
            else:
                self._begin(message["bytes"])
        except Problem as problem:
            await self._send_error(problem)

    async def _use(self, wanted: StreamSettings) -> None:
        """Take new settings; an image under way still goes by the old ones."""
        keep = wanted.face_filter()
        analyzer = self._engine.analyzer(
            detector=wanted.detector, labels=wanted.labels, keep=keep, attributes=wanted.attributes
        )
        self._tracker = Tracker(analyzer, wanted.track_settings())
        await self._send(
            {
                "type": "ready",
                "labels": records.label_values(analyzer.labels),
                "detector": wanted.detector or self._settings.detector,
                "label_set": analyzer.labels.key,
                "max_pixels": self._settings.max_stream_pixels,
            }
        )

    # Working.

    def _begin(self, data: bytes) -> None:
        if self._work and not self._work.done():
            self._metrics.frames.labels("refused").inc()
            raise busy("the last image is not answered yet; send the next when it is", status=429)
        self._work = asyncio.create_task(self._answer(data, time.monotonic()))

    async def _answer(self, data: bytes, came: float) -> None:
        number, self._frames = self._frames, self._frames + 1
        tracker, time_s = self._tracker, came - self._start
        try:
            frame, faces = await self._engine.workers.run(self, lambda: self._see(data, number, time_s, tracker))
        except (Problem, MienError) as error:
            self._metrics.frames.labels("failed").inc()
            await self._send_error(problem_of(error), frame=number)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            await self._send_error(problem_of(error), frame=number)
        else:
            self._metrics.frames.labels("answered").inc()
            await self._send(_faces_message(frame, faces, ms=(time.monotonic() - came) * 1000))

    def _see(self, data: bytes, number: int, time_s: float, tracker: Any) -> tuple[Frame, Faces]:
        """Decode and analyze; runs in a worker."""
        image = decode_image(data, name="the image", max_pixels=self._settings.max_stream_pixels)
        frame = Frame(image, "stream", number, time_s)
        (faces,) = tracker.track([frame])
        return frame, faces

    # Sending.

    async def _send_error(self, problem: Problem, *, frame: int | None = None) -> None:
        await self._send({"type": "error", "frame": frame, "problem": problem.to_dict()})

    async def _send(self, message: dict[str, Any]) -> None:
        with suppress(RuntimeError, WebSocketDisconnect, ConnectionError):  # the client left
            async with self._sending:  # a client that reads too little is cut off by its connection
                await self._socket.send_text(json.dumps(message, ensure_ascii=False, separators=(",", ":")))


def _settings_of(message: dict[str, Any]) -> StreamSettings:
    text = message.get("text")
    if text is None:
        raise Problem(422, 'begin with a text message, the settings: {"labels": "fer2013"}; then send images')
    if len(text) > LONGEST_TEXT:
        raise Problem(413, f"settings must have at most {LONGEST_TEXT} characters, got {len(text)}")
    try:
        return StreamSettings.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Problem(
            422, f"the settings are not as they must be: {where} {first['msg']}".replace("  ", " ")
        ) from error


def _faces_message(frame: Frame, faces: Faces, *, ms: float) -> dict[str, Any]:
    height, width = frame.image.shape[:2]
    return {
        "type": "faces",
        "frame": frame.index,
        "time_s": round(frame.time_s, 3),
        "width": width,
        "height": height,
        "ms": round(ms, 1),
        "faces": [records.live_face(face) for face in faces],
    }


def _error(problem: Problem) -> str:
    return json.dumps({"type": "error", "frame": None, "problem": problem.to_dict()})
