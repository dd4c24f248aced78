"""The server's own camera: analyzed once, shown to all viewers as MJPEG at /video_feed, its faces at /v1/feed.

The camera is open only while somebody watches. A viewer who is slow sees fewer images, and delays nobody.
"""

import asyncio
import json
import logging
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from mien.errors import MienError
from mien.faces import Faces
from mien.output.draw.faces import draw_faces
from mien.server.routes.streams import Streams
from mien.server.web import records
from mien.server.web.described import FEW_PROBLEMS
from mien.server.web.problems import Problem, busy
from mien.server.web.security import client_of
from mien.server.work.engine import Engine
from mien.sources.live import LiveFrame, LiveSettings, LiveSource
from mien.tracking.tracker import Tracker

BOUNDARY = b"mien-image"
FIRST_S = 20.0  # until the first image: cameras and networks take their time
STALL_S = 30.0  # a viewer that takes no image for so long is gone
LINGER_S = 5.0  # the camera stays open so long for a viewer who comes back
LOOK_S = 0.5
MOST_FPS = 15.0
_MEDIA = "multipart/x-mixed-replace; boundary=" + BOUNDARY.decode()
_DESCRIBED: dict[int | str, dict[str, Any]] = {
    200: {"description": "JPEGs, one after another", "content": {_MEDIA: {}}}
}
_LINES = "application/x-ndjson"
_LINES_DESCRIBED: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "A JSON object per image, each on a line: number, width, height and faces as in /v1/stream",
        "content": {_LINES: {"schema": {"type": "string"}}},
    }
}

logger = logging.getLogger(__name__)
router = APIRouter()


@dataclass(frozen=True)
class FeedFrame:
    """One analyzed image, packed once for all viewers.

    Attributes:
        number: Counts the images of the feed, from 1.
        jpeg: The image with its faces drawn, as a file.
        faces: The faces.
        width: Of the image, pixels.
        height: Of the image, pixels.
    """

    number: int
    jpeg: bytes
    faces: Faces
    width: int
    height: int

    @cached_property
    def part(self) -> bytes:
        """The image as a part of MJPEG; the boundary behind it makes browsers show it at once, not with the next."""
        head = b"Content-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(self.jpeg)
        return head + self.jpeg + b"\r\n--%s\r\n" % BOUNDARY

    @cached_property
    def line(self) -> bytes:
        """The faces as a line of JSON."""
        faces = [records.live_face(face) for face in self.faces]
        plain = {"number": self.number, "width": self.width, "height": self.height, "faces": faces}
        return json.dumps(plain, separators=(",", ":")).encode() + b"\n"


class CameraFeed:
    """The images of the server's camera, with the faces drawn."""

    def __init__(self, source: str, engine: Engine, *, allow_private: bool = False) -> None:
        """Choose the source; it is opened for the first viewer.

        Args:
            source: A camera index, video or stream.
            engine: Does the work.
            allow_private: Whether names and redirects may lead to private addresses, too.
        """
        self._settings = LiveSettings(loop=True, reconnect_s=10, allow_private=allow_private)
        self._source = source
        self._engine = engine
        self._viewers = 0
        self._last_seen = 0.0
        self._thread: threading.Thread | None = None
        self._turning = threading.Lock()  # the camera on and off
        self._closed = threading.Event()
        self._changed = asyncio.Condition()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._newest: FeedFrame | None = None
        self._failed = 0

    @asynccontextmanager
    async def viewer(self) -> AsyncIterator[None]:
        """Keep the camera open."""
        self._loop = asyncio.get_running_loop()
        with self._turning:
            self._viewers += 1
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="mien-camera", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            self._viewers -= 1
            self._last_seen = time.monotonic()

    async def next_frame(self, after: int, *, timeout_s: float) -> FeedFrame:
        """Wait for an image that is newer than number `after` and return it.

        Args:
            after: Number of the last image seen; 0 for none.
            timeout_s: How long to wait.

        Raises:
            Problem: 503, the camera gives none.
        """
        failed = self._failed
        try:
            async with asyncio.timeout(timeout_s), self._changed:
                await self._changed.wait_for(
                    lambda: self._newer(after) or self._failed > failed or self._closed.is_set()
                )
        except TimeoutError as error:
            raise busy("the server's camera gives no image", retry_after_s=10) from error
        newest = self._newer(after)
        if newest is None:
            raise busy("the server's camera cannot be used now", retry_after_s=10)
        return newest

    def _newer(self, after: int) -> FeedFrame | None:
        return self._newest if self._newest is not None and self._newest.number > after else None

    def close(self) -> None:
        """Close the camera and end the thread; may be called from any thread."""
        self._closed.set()
        thread = self._thread
        if thread is not None:
            thread.join()

    def wake(self) -> None:
        """Let everybody who waits for an image look again."""
        self._closed.set()
        asyncio.ensure_future(self._notify())  # noqa: RUF006

    # The thread.

    def _work(self) -> None:
        while self._goes_on():
            try:
                self._show()
            except MienError as error:
                logger.warning("the server's camera: %s", error)
                self._fail()
            except Exception:
                logger.exception("the server's camera failed")
                self._fail()

    def _goes_on(self) -> bool:
        """Return whether to open the camera; if not, the thread ends, and the next viewer starts another."""
        with self._turning:
            if not self._closed.is_set() and self._is_watched():
                return True
            self._thread = None
            return False

    def _is_watched(self) -> bool:
        return self._viewers > 0 or time.monotonic() - self._last_seen < LINGER_S

    def _show(self) -> None:
        tracker = Tracker(self._engine.analyzer())
        source: str | int = int(self._source) if self._source.isdecimal() else self._source

        def see(frame: LiveFrame) -> FeedFrame:
            (faces,) = tracker.track([frame])
            height, width = frame.image.shape[:2]
            number = self._newest.number + 1 if self._newest else 1
            return FeedFrame(number, records.to_jpeg(draw_faces(frame.image, faces)), faces, width, height)

        with LiveSource(source, self._settings) as live:
            while not self._closed.is_set() and self._is_watched():
                start = time.monotonic()
                frame = live.newest(timeout_s=LOOK_S)
                if frame is None and live.ended:
                    return
                if frame is not None:
                    work = self._engine.workers.submit(self, partial(see, frame), always=True)
                    self._newest = work.result()
                    self._tell()
                    self._closed.wait(max(0.0, 1 / MOST_FPS - (time.monotonic() - start)))

    def _fail(self) -> None:
        self._failed += 1
        self._tell()
        self._closed.wait(1.0)

    def _tell(self) -> None:
        with suppress(RuntimeError):  # the loop has ended
            if self._loop is not None:
                asyncio.run_coroutine_threadsafe(self._notify(), self._loop)

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()


class FeedResponse(Response):
    """What the camera sees, until the viewer leaves."""

    media = _MEDIA
    beginning = b"--%s\r\n" % BOUNDARY
    ending = b"--%s--\r\n" % BOUNDARY

    def __init__(self, feed: CameraFeed, streams: Streams, client: str, *, most_s: float) -> None:
        """Prepare the answer.

        Args:
            feed: The images.
            streams: Gives a place among the live streams.
            client: Whose place it is.
            most_s: Longest time.
        """
        super().__init__()
        self._feed = feed
        self._streams = streams
        self._client = client
        self._until = time.monotonic() + most_s

    def pack(self, newest: FeedFrame) -> bytes:
        """Return what is sent of an image."""
        return newest.part

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send images."""
        with self._streams.place(self._client):
            async with self._feed.viewer():
                newest = await self._feed.next_frame(0, timeout_s=FIRST_S)
                showing = asyncio.ensure_future(self._show(send, newest))
                leaving = asyncio.ensure_future(_left(receive))
                await asyncio.wait((showing, leaving), return_when=asyncio.FIRST_COMPLETED)
                for task in (showing, leaving):
                    task.cancel()
                with suppress(asyncio.CancelledError, Problem, TimeoutError, OSError):
                    await showing

    async def _show(self, send: Send, newest: FeedFrame) -> None:
        headers = [(b"content-type", self.media.encode()), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": self.beginning, "more_body": True})
        try:
            while time.monotonic() < self._until and not self._streams.stopping:
                async with asyncio.timeout(STALL_S):
                    await send({"type": "http.response.body", "body": self.pack(newest), "more_body": True})
                newest = await self._feed.next_frame(newest.number, timeout_s=STALL_S)
        finally:
            with suppress(Exception):
                async with asyncio.timeout(1):
                    await send({"type": "http.response.body", "body": self.ending})


class LinesResponse(FeedResponse):
    """The same as lines of JSON."""

    media = _LINES
    beginning = b""
    ending = b""

    def pack(self, newest: FeedFrame) -> bytes:
        """Return what is sent of an image."""
        return newest.line


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


@router.get(
    "/video_feed",
    response_class=Response,
    responses={**_DESCRIBED, **FEW_PROBLEMS},
    tags=["live"],
    summary="Show the server's own camera",
)
async def video_feed(request: Request) -> Response:
    """Return the annotated images of the server's camera, as MJPEG for an `<img>`."""
    return _answer(request, FeedResponse)


@router.get(
    "/v1/feed",
    response_class=Response,
    responses={**_LINES_DESCRIBED, **FEW_PROBLEMS},
    tags=["live"],
    summary="Tell the faces that the server's own camera sees",
)
async def feed_lines(request: Request) -> Response:
    """Return a line of JSON per image of the server's camera: the analysis that /video_feed shows."""
    return _answer(request, LinesResponse)


def _answer(request: Request, kind: type[FeedResponse]) -> FeedResponse:
    state = request.app.state
    if state.feed is None:
        raise Problem(404, "this server has no camera of its own; start it with --source")
    return kind(state.feed, state.streams, client_of(request.scope), most_s=state.settings.stream_max_s)
