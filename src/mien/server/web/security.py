"""Who may come in, and what browsers are told: token, host and origin checks, headers, rates, slow clients.

Plain ASGI layers, so that they hold for web sockets, files and errors alike.
"""

import asyncio
import base64
import hmac
import ipaddress
import time
from collections import OrderedDict
from collections.abc import Mapping
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mien.server.settings import ServerSettings
from mien.server.web.problems import Problem, busy, send_problem

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "media-src 'self' blob:",
        "connect-src 'self'",
        "font-src 'self'",
        "manifest-src 'self'",
        "form-action 'none'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(self), display-capture=(self), microphone=(), geolocation=(), payment=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
CLOSED = ("/v1/", "/video_feed", "/metrics")  # what needs the token; the rest is the page and says nothing of anybody
LEAST_BYTES_PER_S = 16 << 10  # of a body
MOST_CLIENTS = 10_000
ADDRESS_S = 900  # for how long a signed address is good
SUBPROTOCOL = "mien"  # of the live stream, for browsers: they can send no header with a web socket
TOKEN_PROTOCOL = "mien.token."  # beside it, with the token in base64url


class SecurityHeaders:
    """Puts the usual headers on every answer."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap an application."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if scope["path"].startswith(CLOSED):
                    headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await self._app(scope, receive, send_with_headers)


class Door:
    """Lets in who names the right host, comes from the right origin and carries the token.

    Without a token the host check is what keeps foreign pages out: a page of another site can point a name of its own
    to 127.0.0.1 and read answers as its own (DNS rebinding), but cannot make the browser send another name.
    """

    def __init__(self, app: ASGIApp, settings: ServerSettings) -> None:
        """Wrap an application.

        Args:
            app: The application.
            settings: Token, names and addresses.
        """
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        problem = self._refusal(scope)
        if problem is None:
            return await self._app(scope, receive, send)
        if scope["type"] == "http":
            return await send_problem(problem, scope, receive, send)
        await refuse_web_socket(problem, scope, receive, send)

    def _refusal(self, scope: Scope) -> Problem | None:
        headers = Headers(scope=scope)
        if not self._knows(headers.get("host", "")):
            return Problem(421, "this server does not go by that name; see --allowed-hosts")
        if not self._admits(headers, scope["path"]):
            return Problem(403, "a page of another site must not use this server; see --allowed-hosts")
        if scope["type"] == "websocket":
            return None if self._may_still_tell(scope, headers) else _unauthorized()
        needed = self._settings.token and scope["path"].startswith(CLOSED)
        return _unauthorized() if needed and not is_known(self._settings.token, scope) else None

    def _may_still_tell(self, scope: Scope, headers: Headers) -> bool:
        """Return whether a web socket carries the right token, or none yet: its first message may."""
        given = token_of(scope, headers)
        return not self._settings.token or not given or is_right(self._settings.token, given)

    def _knows(self, host: str) -> bool:
        name = _name_of(host)
        if self._settings.token and not self._settings.allowed_hosts:
            return True  # the token keeps foreign pages out, and any name may lead here
        return name in self._settings.host_names or _is_address(name)

    def _admits(self, headers: Headers, path: str) -> bool:
        """Return whether a request comes from a page of this server, from no page at all, or by a link to the page.

        A frame, an image and a window that another site opens all show what is at an address; to open the camera's is
        to switch it on, whoever sees the answer.
        """
        origin = headers.get("origin")
        if origin is None:
            if headers.get("sec-fetch-site", "none") in ("same-origin", "none"):
                return True
            to_top = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
            return to_top and not path.startswith(CLOSED)
        try:
            came = urlsplit(origin).netloc.lower()
        except ValueError:
            return False
        return came == headers.get("host", "").lower() or (bool(came) and _name_of(came) in self._other_hosts())

    def _other_hosts(self) -> tuple[str, ...]:
        return self._settings.host_names if self._settings.allowed_hosts else ()


def is_known(token: str, scope: Scope) -> bool:
    """Return whether a request carries the token, or is for an address that was signed with it.

    Args:
        token: The server's.
        scope: The request.
    """
    if is_right(token, token_of(scope, Headers(scope=scope))):
        return True
    query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
    until, given = query.get("until", [""])[0], query.get("signature", [""])[0]
    if scope.get("method") not in ("GET", "HEAD") or not (given and until.isdecimal() and len(until) < 12):
        return False
    return is_right(_signature(token, scope["path"], int(until)), given) and time.time() < int(until)


def signed_address(token: str, path: str, *, now: float) -> str:
    """Return an address that whoever has it may read for `ADDRESS_S`, and nothing else.

    Args:
        token: The server's.
        path: The path, without a query.
        now: The time, seconds since 1970.
    """
    until = int(now) + ADDRESS_S
    return f"{path}?until={until}&signature={_signature(token, path, until)}"


def _signature(token: str, path: str, until: int) -> str:
    """All processes and machines with the same token make the same one."""
    return hmac.new(token.encode(), f"mien address\n{path}\n{until}".encode(), "sha256").hexdigest()


def token_of(scope: Scope, headers: Mapping[str, str]) -> str:
    """Return the token that a request carries: `Authorization: Bearer …`, or a web socket's subprotocol.

    Never one in the address: addresses stand in logs of proxies, in histories and in bookmarks.
    """
    kind, _, value = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return value.strip()
    for protocol in scope.get("subprotocols", ()):
        if protocol.startswith(TOKEN_PROTOCOL):
            return _decoded(protocol.removeprefix(TOKEN_PROTOCOL))
    return ""


def _decoded(text: str) -> str:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).decode("latin-1")
    except ValueError:
        return text


def is_right(token: str, given: str) -> bool:
    """Return whether a token is the right one, in a time that says nothing of how much of it is right."""
    return hmac.compare_digest(token.encode(), given.encode("utf-8", "replace"))


def _unauthorized() -> Problem:
    return Problem(
        401,
        "this needs the server's token; send it as «Authorization: Bearer …»",
        headers={"WWW-Authenticate": 'Bearer realm="mien"'},
    )


def _name_of(host: str) -> str:
    """Return a host without its port."""
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].rstrip(".")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


async def refuse_web_socket(problem: Problem, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a web socket's request with a problem instead of a connection."""
    await receive()
    if "websocket.http.response" not in scope.get("extensions", {}):
        return await send({"type": "websocket.close", "code": 1008, "reason": problem.detail[:100]})

    async def send_as_denial(message: Message) -> None:
        await send({**message, "type": message["type"].replace("http.", "websocket.http.", 1)})

    await problem.response()({**scope, "type": "http", "method": "GET"}, receive, send_as_denial)


def client_of(scope: Scope) -> str:
    """Return what tells clients apart: the address, or of an IPv6 address its /64, which belongs to one customer."""
    host = (scope.get("client") or ("unknown", 0))[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return str(host)
    return host if address.version == 4 else str(ipaddress.ip_network(f"{host.partition('%')[0]}/64", strict=False))


class RateLimit:
    """Answers 429 to a client that asks too often, at once."""

    def __init__(self, app: ASGIApp, *, per_s: float, token: str) -> None:
        """Wrap an application.

        Args:
            app: The application.
            per_s: Requests per second and client; 0 for any number.
            token: The server's; empty for none.
        """
        self._app = app
        self._per_s = per_s
        self._token = token
        self._buckets: OrderedDict[tuple[str, bool], tuple[float, float]] = OrderedDict()  # requests left, when

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if not self._per_s or scope["type"] == "lifespan" or not scope["path"].startswith(CLOSED):
            return await self._app(scope, receive, send)
        known = not self._token or is_known(self._token, scope)
        if self._take((client_of(scope), known)):  # strangers at the same address use up nothing of who is known
            return await self._app(scope, receive, send)
        problem = busy(f"at most {self._per_s:g} requests per second, please; wait a moment", status=429)
        if scope["type"] == "http":
            return await send_problem(problem, scope, receive, send)
        await refuse_web_socket(problem, scope, receive, send)

    def _take(self, client: tuple[str, bool]) -> bool:
        now = time.monotonic()
        most = max(1.0, 2 * self._per_s)
        left, then = self._buckets.pop(client, (most, now))
        left = min(most, left + (now - then) * self._per_s)
        self._buckets[client] = (left - 1 if left >= 1 else left, now)
        if len(self._buckets) > MOST_CLIENTS:
            self._buckets.popitem(last=False)
        return left >= 1


class SlowBodies:
    """Answers 408 where a body stalls or trickles in.

    A client may fall behind the least rate by as many seconds as it may stall, whatever it sent before: who sends fast
    at first saves up no time to be slow in.
    """

    def __init__(self, app: ASGIApp, *, timeout_s: float) -> None:
        """Wrap an application.

        Args:
            app: The application.
            timeout_s: Seconds a client may stall.
        """
        self._app = app
        self._timeout_s = timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        await self._app(scope, self._patient(receive), send)

    def _patient(self, receive: Receive) -> Receive:
        clock = asyncio.get_running_loop().time
        left_s = self._timeout_s  # only the client's own time counts
        whole = False

        async def receive_in_time() -> Message:
            nonlocal left_s, whole
            if whole:
                return await receive()
            start = clock()
            try:
                async with asyncio.timeout(left_s):
                    message = await receive()
            except TimeoutError as error:
                least = f"{LEAST_BYTES_PER_S >> 10} KiB per second, and stalls of at most {self._timeout_s:g} s"
                raise Problem(408, f"the body came too slowly; this server needs {least}") from error
            whole = message["type"] != "http.request" or not message.get("more_body")
            earned_s = len(message.get("body", b"")) / LEAST_BYTES_PER_S
            left_s = min(left_s + earned_s - (clock() - start), self._timeout_s)
            return message

        return receive_in_time
