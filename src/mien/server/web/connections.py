"""The two protocols that uvicorn speaks for mien: how much strangers may send, how slowly, and what they must read.

The application sees a request only when its head is whole, and a message of a web socket only when all of it is there.
So what comes before is bounded here, where the bytes arrive, and so is what waits to be read by the other side.
"""

import asyncio
import logging
import time
from functools import partial
from typing import Any, cast

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from mien.server.web.problems import MEDIA_TYPE, Problem

MOST_HEAD_BYTES = 32 << 10  # address and header fields of one request, trailers included
MOST_FIELD_BYTES = 8000  # one field, or the address; the web socket's own parser takes lines of 8,192
MOST_FIELDS = 100
HELLO_BYTES = 4096  # a message of a web socket before its client is known
MOST_FRAGMENTS = 1024  # of one message
LEAST_READ_BYTES = 64 << 10  # of an answer, in the time that a client may take
PATIENCE_S = 10.0
WELCOME = "mien.welcome"  # in a web socket's extensions: called when its client is known
REPEAT_S = 10.0
HUNG_UP = "mien.hung_up"  # in a request's scope: called when its connection turns out to be closed

logger = logging.getLogger(__name__)


class Seldom(logging.Filter):
    """Lets a warning pass once in a while, however often strangers cause it; errors always pass."""

    def __init__(self) -> None:
        """Start with nothing said."""
        super().__init__()
        self._last: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record is told."""
        if record.levelno > logging.WARNING:
            return True
        now, last = time.monotonic(), self._last.get(record.msg)
        if last is not None and now - last < REPEAT_S:
            return False
        if len(self._last) > MOST_FIELDS:
            self._last.clear()
        self._last[record.msg] = now
        return True


class _HeadTooLarge(ValueError):
    """Raised inside the parser, to stop it."""


class Hangups:
    """Sends nothing more to a client that has hung up, which is no error: uvloop says so before uvicorn knows."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap an application."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""

        async def send_unless_closed(message: Message) -> None:
            try:
                await send(message)
            except RuntimeError as error:
                if "handler is closed" not in str(error):
                    raise
                scope.get(HUNG_UP, _nothing)()

        await self._app(scope, receive, send_unless_closed if scope["type"] != "lifespan" else send)


def _note_hangup(cycle: RequestResponseCycle) -> None:
    cycle.disconnected = True
    cycle.message_event.set()


def _nothing() -> None:
    """Do nothing."""


class ReaderClock(asyncio.Protocol):
    """Cuts a connection whose other side reads too little of what waits for it. A mixin of uvicorn's protocols.

    Closing politely would wait for that other side to read the rest: for ever.
    """

    app_state: dict[str, Any]
    transport: asyncio.Transport
    _reading: asyncio.TimerHandle | None = None

    @property
    def patience_s(self) -> float:
        """Seconds a client may take: the setting `body_timeout_s`."""
        return float(self.app_state.get("patience_s", PATIENCE_S))

    def watch_reader(self) -> None:
        """Start the clock, if anything waits to be read and it does not run yet."""
        waiting = self.transport.get_write_buffer_size()
        if self._reading is None and waiting:
            loop = asyncio.get_running_loop()
            self._reading = loop.call_later(self.patience_s, self._look_at_reader, waiting)

    def forget_reader(self) -> None:
        """Stop the clock."""
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    def pause_writing(self) -> None:
        """Wait for the client to read, but not for ever."""
        super().pause_writing()
        self.watch_reader()

    def resume_writing(self) -> None:
        """Go on writing."""
        self.forget_reader()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self.forget_reader()
        super().connection_lost(exc)

    def _look_at_reader(self, before: int) -> None:
        self._reading = None
        if 0 < self.transport.get_write_buffer_size() > before - LEAST_READ_BYTES:
            self.transport.abort()
        else:
            self.watch_reader()


class PatientHttp(ReaderClock, HttpToolsProtocol):
    """HTTP with limits for a request's head, and for how long its client may take.

    The parser collects a field before it hands it over, so that its callbacks alone would let one grow for ever; bytes
    since the last callback are counted, too.
    """

    def connection_made(self, transport: Any) -> None:
        """Start the clock."""
        super().connection_made(transport)
        self._head_bytes = 0
        self._silent_bytes = 0
        self._refused = False
        self._clock = self.loop.call_later(self.patience_s, transport.close)

    def data_received(self, data: bytes) -> None:
        """Parse what came."""
        self._silent_bytes += len(data)
        super().data_received(data)
        if self._silent_bytes > MOST_HEAD_BYTES and self.transport.get_protocol() is self:
            self._refuse_head()

    def _start_clock(self) -> None:
        self._clock.cancel()
        self._clock = self.loop.call_later(self.patience_s, self.transport.close)

    def _count(self, size: int) -> None:
        self._silent_bytes = 0
        self._head_bytes += size
        if size > MOST_FIELD_BYTES or self._head_bytes > MOST_HEAD_BYTES or len(self.headers) >= MOST_FIELDS:
            self._stop_parser()

    def _stop_parser(self) -> None:
        self._refused = True
        raise _HeadTooLarge

    def on_message_begin(self) -> None:
        """Start the clock again for a further request on the connection."""
        super().on_message_begin()
        self._head_bytes = self._silent_bytes = 0
        self._start_clock()

    def on_url(self, url: bytes) -> None:
        """Take a piece of the address."""
        super().on_url(url)
        if len(self.url) > MOST_FIELD_BYTES:
            self._stop_parser()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a field, of the head or after the body."""
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Stop the clock."""
        self._silent_bytes = 0
        self._clock.cancel()
        super().on_headers_complete()
        if self.cycle is not None and self.cycle.scope is self.scope:
            cast(dict[str, Any], self.scope)[HUNG_UP] = partial(_note_hangup, self.cycle)

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._silent_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Stop the clock that runs where an answer came before the end of its request."""
        self._silent_bytes = 0
        self._clock.cancel()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Throw away the rest of a request that has its answer, but not for ever; see that the answer is read."""
        super().on_response_complete()
        if self.cycle.response_complete and self.cycle.more_body:
            self._start_clock()
        self.watch_reader()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, or too much of it."""
        if self._refused:
            self._refuse_head()
        else:
            super().send_400_response(msg)
            self.watch_reader()

    def _refuse_head(self) -> None:
        if self.transport.is_closing():
            return
        problem = Problem(
            431,
            f"address and headers must have at most {MOST_HEAD_BYTES:,} bytes, {MOST_FIELDS} fields and "
            f"{MOST_FIELD_BYTES:,} bytes each; send fewer or shorter ones",
        )
        body = bytes(problem.response().body)
        head = (
            f"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: {MEDIA_TYPE}\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()
        self.watch_reader()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clocks."""
        self._clock.cancel()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Let the running request finish, and tell endless answers to end."""
        tell_streams(self.app_state)
        super().shutdown()
        self.watch_reader()


class PoliteWebSocket(ReaderClock, WebSocketsSansIOProtocol):
    """A web socket whose messages stay small until its client is known, and whose stream is told why it ends."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Begin with a stranger."""
        super().__init__(*args, **kwargs)
        self.conn.max_message_size = HELLO_BYTES

    def _welcome(self) -> None:
        """Take messages of full length from now on: the application has found the token right."""
        self.conn.max_message_size = self.config.ws_max_size

    def data_received(self, data: bytes) -> None:
        """Parse what came; a handshake comes whole, so one that is none yet never will be."""
        super().data_received(data)
        if not self.handshake_initiated:
            self.transport.close()

    def handle_connect(self, event: Any) -> None:
        """Begin, with a way for the application to welcome the client."""
        super().handle_connect(event)
        if self.response.status_code == 101:
            self.scope["extensions"][WELCOME] = {"call": self._welcome}

    def handle_cont(self, event: Any) -> None:
        """Take a piece of a message, but not one of countless empty ones."""
        if len(self.frames) >= MOST_FRAGMENTS:
            self.conn.fail(1009, "too many pieces")
            return self.handle_parser_exception()
        super().handle_cont(event)

    def handle_ping(self) -> None:
        """Answer, unless the client does not read what it has been sent already."""
        if self.writable.is_set():
            return super().handle_ping()
        self.conn.data_to_send()  # thrown away

    def send_receive_event_to_app(self) -> None:
        """Hand over a message; one that says it is text and is none ends the connection, without a word in the log."""
        if self.curr_msg_data_type == "text" and not self.close_sent:
            try:
                b"".join(self.frames).decode()
            except UnicodeDecodeError:
                self.frames = []
                self.conn.send_close(1007)
                return self.handle_parser_exception()
        super().send_receive_event_to_app()

    async def send(self, message: Any) -> None:
        """Send; a refusal is a whole answer, and no handshake is missing after it."""
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body"):
            self.handshake_complete = True
            logger.debug("a web socket was refused")
        if self.transport.is_closing():
            self.watch_reader()

    def shutdown(self) -> None:
        """Leave the closing to the stream, which finishes its answer first."""
        if not tell_streams(self.app_state) or not self.handshake_complete or self.close_sent:
            super().shutdown()


def tell_streams(state: dict[str, Any]) -> bool:
    """Start telling all streams of the process that it stops; return whether there is somebody to do so.

    Args:
        state: What the application's lifespan has yielded.
    """
    tell = state.get("tell_streams")
    if tell is not None:
        tell()
    return tell is not None
