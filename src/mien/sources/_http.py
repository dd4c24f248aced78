"""One request over http(s): checked addresses, redirects followed by hand, a login where it is asked for.

Redirects pass the same check as the first address. Proxy settings of the environment are not used, for a proxy would
resolve the name anew.
"""

import base64
import http.client
import io
import socket
import ssl
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit

from mien.errors import shown
from mien.sources.addresses import DEFAULT_PORTS, AddressRule, Deadline, RefusedError, connect, host_of

REDIRECTS = (301, 302, 303, 307, 308)
HEADERS = {"User-Agent": "mien", "Accept-Encoding": "identity", "Connection": "close"}


@dataclass(frozen=True)
class Answer:
    """An answer whose headers are read.

    Attributes:
        url: Where the redirects ended.
        response: Status, headers and body.
        deadline: Until when the body may be read.
    """

    url: str
    response: http.client.HTTPResponse
    deadline: Deadline


class Login:
    """User name and password of a URL. They are sent to the host that the URL names, and to no other."""

    def __init__(self, url: str) -> None:
        """Take them from a URL.

        Args:
            url: With or without them.
        """
        target = urlsplit(url)
        self._origin = _origin(target)
        self._user = None if target.username is None else unquote(target.username)
        self._password = unquote(target.password or "")
        self._challenge = ""
        self._digest: urllib.request.AbstractDigestAuthHandler | None = None

    def learn(self, response: http.client.HTTPResponse, url: str) -> bool:
        """Take note of how a server wants to be told; return whether it is worth to ask again."""
        challenges = response.headers.get_all("WWW-Authenticate") or []
        ranked = [one for kind in ("digest", "basic") for one in challenges if one.lower().startswith(kind)]
        known, self._challenge = self._challenge, ranked[0] if ranked else ""
        again = bool(self._challenge) and (not known or "stale=true" in self._challenge.lower())
        return again and self._user is not None and _origin(urlsplit(url)) == self._origin

    def header(self, url: str) -> dict[str, str]:
        """Return the header for a URL, as the server asked for it."""
        if not self._challenge or self._user is None or _origin(urlsplit(url)) != self._origin:
            return {}
        if self._challenge.lower().startswith("basic"):
            packed = base64.b64encode(f"{self._user}:{self._password}".encode()).decode()
            return {"Authorization": f"Basic {packed}"}
        return {"Authorization": f"Digest {self._digest_of(url)}"}

    def _digest_of(self, url: str) -> str:
        if self._digest is None:
            known = urllib.request.HTTPPasswordMgrWithDefaultRealm()
            known.add_password(None, url, self._user or "", self._password)
            self._digest = urllib.request.AbstractDigestAuthHandler(known)
        request = urllib.request.Request(_plain(url))
        fields = filter(None, urllib.request.parse_http_list(self._challenge.partition(" ")[2]))
        answer = self._digest.get_authorization(request, urllib.request.parse_keqv_list(list(fields)))
        if not answer:
            raise RefusedError("asks for a login of a kind mien does not know; check the address")
        return answer


def _origin(target: SplitResult) -> tuple[str, str, int | None]:
    return target.scheme.lower(), target.hostname or "", target.port or DEFAULT_PORTS.get(target.scheme.lower())


@contextmanager
def asked(
    url: str,
    rule: AddressRule,
    deadline: Deadline,
    *,
    connect_timeout_s: float,
    max_redirects: int,
    headers: Mapping[str, str],
    login: Login | None = None,
) -> Iterator[Answer]:
    """Ask for a URL, follow its redirects, and keep the connection open for the body.

    Args:
        url: An http or https URL without user name and password.
        rule: Which addresses may be connected to.
        deadline: For all together; the body is read under it, too.
        connect_timeout_s: Seconds for one look-up, or for one address to answer.
        max_redirects: How many redirects are followed.
        headers: Sent with each request.
        login: User name and password, for a server that asks.

    Raises:
        RefusedError: The address may not be connected to, or redirects without end.
        TimeoutError: It takes too long.
        OSError: The connection fails.
        http.client.HTTPException: The answer is none.
    """
    for _ in range(max_redirects + 1):
        target = _split(url)
        sock = _connected(target, rule, deadline, connect_timeout_s)
        try:
            response = _request(target, sock, deadline, {**headers, **(login.header(url) if login else {})})
            if response.status == 401 and login is not None and login.learn(response, url):
                continue
            if response.status not in REDIRECTS:
                yield Answer(url, response, deadline)
                return
            url = _redirected(url, response)
        finally:
            sock.close()
    raise RefusedError(f"redirects more than {max_redirects} times; give the address it ends at")


def reason_of(error: Exception) -> str:
    """Return why there is no answer, as the rest of a sentence that begins with the address.

    Args:
        error: From `asked`, or from reading the body.
    """
    if isinstance(error, RefusedError):
        return str(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"has a certificate that cannot be trusted ({error.verify_message}); check the address"
    if isinstance(error, ConnectionRefusedError):
        return "cannot be reached: the connection was refused; check the address and that the server runs"
    if isinstance(error, http.client.IncompleteRead):
        return "was cut off before its end; try again"
    if isinstance(error, http.client.HTTPException):
        return f"gave no proper HTTP answer ({type(error).__name__}); check the address"
    said = error.strerror if isinstance(error, OSError) and error.strerror else error
    return f"cannot be fetched: {said}; check the address and try again"


def _split(url: str) -> SplitResult:
    """Take a URL apart and refuse what is not plain http(s)."""
    try:
        target = urlsplit(url)
        _, _ = host_of(target), target.port  # reading them checks them
    except ValueError as error:
        raise RefusedError(f"is not a valid URL ({error}); check the address") from error
    if target.scheme not in ("http", "https"):
        raise RefusedError(f"leads to a {shown(target.scheme)} address; only http and https are fetched")
    if target.username is not None:
        raise RefusedError("holds a user name or password; mien does not log in, give an address that needs none")
    return target


def _connected(target: SplitResult, rule: AddressRule, deadline: Deadline, at_most_s: float) -> socket.socket:
    host = host_of(target)
    port = target.port or DEFAULT_PORTS[target.scheme]
    sock = connect(host, port, rule, deadline, at_most_s=at_most_s)
    if target.scheme == "http":
        return sock
    try:
        sock.settimeout(deadline.remaining())
        return ssl.create_default_context().wrap_socket(sock, server_hostname=host)
    except BaseException:
        sock.close()
        raise


class _TimedReader(io.RawIOBase):
    """Reads from a socket until a deadline, however the other side spaces its bytes."""

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._sock, self._deadline = sock, deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        self._sock.settimeout(self._deadline.remaining())
        return self._sock.recv_into(cast(memoryview, buffer))

    def makefile(self, mode: str) -> io.BufferedReader:
        """Return the stream that `http.client.HTTPResponse` asks a socket for."""
        return io.BufferedReader(self, 1 << 16)


def _plain(url: str) -> str:
    """Return a URL as it goes into a request: what is not ASCII, and spaces, are escaped."""
    target = urlsplit(url)
    path = quote(target.path or "/", safe="/%:@!$&'()*+,;=~")
    query = "?" + quote(target.query, safe="/?%:@!$&'()*+,;=~[]") if target.query else ""
    return f"{target.scheme}://{target.netloc}{path}{query}"


def _request(
    target: SplitResult, sock: socket.socket, deadline: Deadline, headers: Mapping[str, str]
) -> http.client.HTTPResponse:
    """Ask for the target and return the answer, its headers read."""
    host = host_of(target)
    host = f"[{host}]" if ":" in host else host
    host = f"{host}:{target.port}" if target.port else host
    path = _plain(target.geturl()).split("/", 3)[3]
    lines = [f"GET /{path} HTTP/1.1", f"Host: {host}", *(f"{key}: {value}" for key, value in headers.items())]
    sock.settimeout(deadline.remaining())
    sock.sendall("\r\n".join([*lines, "", ""]).encode("ascii"))
    response = http.client.HTTPResponse(cast(socket.socket, _TimedReader(sock, deadline)), method="GET")
    response.begin()
    return response


def _redirected(url: str, response: http.client.HTTPResponse) -> str:
    location = response.getheader("Location")
    if not location:
        raise RefusedError(f"answers {response.status} without saying where to go; check the address")
    try:
        return urljoin(url, location)
    except ValueError as error:
        raise RefusedError(f"redirects to something that is not a URL ({error}); check the address") from error


def status_error(response: http.client.HTTPResponse) -> RefusedError:
    """Return the error for an answer that is no success.

    Args:
        response: The answer.
    """
    return RefusedError(f"answers {response.status} {response.reason}; check the address".replace("  ", " "))
