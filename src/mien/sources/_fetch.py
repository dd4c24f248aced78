"""Fetch an image over http(s) within limits, and never from an address inside the reader's own network.

A URL may come from a stranger. So the host name is resolved once, every address it leads to is checked, and the
connection goes to the checked address itself: a name that changes its mind between check and connection gains nothing.
Redirects are followed by hand through the same gate. Proxy settings of the environment are not used, for a proxy would
resolve the name anew.
"""

import http.client
import io
import ipaddress
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from mien.errors import SourceError
from mien.sources._decode import HEAD_BYTES, is_image

Resolve = Callable[[str, int], list[str]]
Permit = Callable[[str], bool]

CHUNK_BYTES = 1 << 16
REDIRECTS = (301, 302, 303, 307, 308)
_HOST = re.compile(r"[A-Za-z0-9._~:%-]+")
DEFAULT_PORTS = {"http": 80, "https": 443}
HEADERS = {
    "User-Agent": "mien",
    "Accept": "image/*",
    "Accept-Encoding": "identity",
    "Connection": "close",
}

# IPv6 ranges that carry an IPv4 address: the network, and how far the address is shifted to the left.
EMBEDDING_NETWORKS = (
    (ipaddress.IPv6Network("::ffff:0:0/96"), 0),  # IPv4-mapped
    (ipaddress.IPv6Network("64:ff9b::/96"), 0),  # NAT64
    (ipaddress.IPv6Network("2002::/16"), 80),  # 6to4
)
# Not public, though some Python versions call them global.
REFUSED_NETWORKS = tuple(
    ipaddress.ip_network(network)
    for network in ("192.0.0.0/24", "192.88.99.0/24", "::/96", "64:ff9b:1::/48", "2001::/23", "3fff::/20", "5f00::/16")
)


@dataclass(frozen=True)
class Limits:
    """What one fetch, with all its redirects, may take.

    Attributes:
        max_bytes: Largest body.
        timeout_s: Seconds from the first look-up to the last byte.
        connect_timeout_s: Seconds for one look-up, or for one address to answer.
        max_redirects: How many redirects are followed.
        allow_private: Admit loopback, private and other addresses that are not public.
    """

    max_bytes: int
    timeout_s: float
    connect_timeout_s: float
    max_redirects: int
    allow_private: bool


def is_public(address: str) -> bool:
    """Return whether an IP address is one of the public internet.

    Loopback, private, link-local, shared (carrier-grade NAT), multicast, reserved and unspecified addresses are not;
    nor is an IPv6 address that carries such an IPv4 address (mapped, NAT64, 6to4).

    Args:
        address: An IPv4 or IPv6 address in text, with or without a scope (`"fe80::1%eth0"`).
    """
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        ip = ipaddress.IPv6Address(int(ip))  # networks do not contain addresses with a scope
        for network, shift in EMBEDDING_NETWORKS:
            if ip in network:
                return is_public(str(ipaddress.IPv4Address(int(ip) >> shift & 0xFFFFFFFF)))
        if ip.is_site_local:
            return False
    if any(ip in network for network in REFUSED_NETWORKS):
        return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def resolve_host(host: str, port: int) -> list[str]:
    """Return the addresses of a host, in the order in which to try them.

    Raises:
        OSError: The name is not known, or no name server answers.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def fetch(url: str, limits: Limits, *, name: str, resolve: Resolve = resolve_host, permit: Permit = is_public) -> bytes:
    """Fetch an image.

    Args:
        url: An http or https URL without user name and password.
        limits: Size, time, redirects and addresses that are acceptable.
        name: What messages call it: the URL, less what is secret in it.
        resolve: Gives the addresses of a host and port.
        permit: Says of each address whether to connect to it; not asked under `limits.allow_private`.

    Returns:
        The body; its first bytes are an image's.

    Raises:
        SourceError: There is no such image within the limits; the message starts with `name`.
    """
    deadline = _Deadline(limits.timeout_s)
    try:
        for _ in range(limits.max_redirects + 1):
            target = _split(url)
            sock = _connect(target, limits, deadline, resolve=resolve, permit=permit)
            try:
                response = _request(target, sock, deadline)
                if response.status not in REDIRECTS:
                    return _read_image(response, limits.max_bytes)
                url = _redirected(url, response)
            finally:
                sock.close()
        raise _RefusedError(f"redirects more than {limits.max_redirects} times; give the address it ends at")
    except TimeoutError as error:
        raise SourceError(f"{name} is slow: no image within {limits.timeout_s:g} s; raise url_timeout_s") from error
    except (_RefusedError, OSError, http.client.HTTPException) as error:
        raise SourceError(f"{name} {_reason(error)}") from error


class _RefusedError(Exception):
    """Why there is no image, as the rest of a sentence that begins with the name."""


class _Deadline:
    """A moment that all waiting together may not pass."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def remaining(self, at_most: float = float("inf")) -> float:
        """Return the seconds left, or raise TimeoutError if there are none."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return min(left, at_most)


def _reason(error: Exception) -> str:
    if isinstance(error, _RefusedError):
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
        host, _ = _host_of(target), target.port  # reading the port checks it
    except ValueError as error:
        raise _RefusedError(f"is not a valid URL ({error}); check the address") from error
    if target.scheme not in DEFAULT_PORTS:
        raise _RefusedError(f"leads to a {target.scheme!r} address; only http and https are fetched")
    if target.username is not None:
        raise _RefusedError("holds a user name or password; mien does not log in, give an address that needs none")
    if not _HOST.fullmatch(host):
        raise _RefusedError("names no usable host; write it as https://host/image.jpg")
    return target


def _host_of(target: SplitResult) -> str:
    """Return the host in ASCII; international names become their «xn--» form."""
    host = target.hostname or ""
    return host if host.isascii() else host.encode("idna").decode("ascii")


def _port_of(target: SplitResult) -> int:
    return target.port or DEFAULT_PORTS[target.scheme]


def _connect(
    target: SplitResult, limits: Limits, deadline: _Deadline, *, resolve: Resolve, permit: Permit
) -> socket.socket:
    """Connect to the first address of the host that answers, after all of them have been checked."""
    host, port = _host_of(target), _port_of(target)
    addresses = _resolve_in_time(resolve, host, port, limits.connect_timeout_s, deadline)
    refused = [] if limits.allow_private else [address for address in addresses if not permit(address)]
    if refused:
        raise _RefusedError(
            f"leads to {refused[0]}, not a public address; pass --allow-private (allow_private=True) if you mean it"
        )
    sock = _connect_to_any(addresses, host, port, limits, deadline)
    if target.scheme == "http":
        return sock
    try:
        sock.settimeout(deadline.remaining())
        return ssl.create_default_context().wrap_socket(sock, server_hostname=host)
    except BaseException:
        sock.close()
        raise


def _connect_to_any(addresses: list[str], host: str, port: int, limits: Limits, deadline: _Deadline) -> socket.socket:
    failure: Exception = _RefusedError(f"cannot be reached: {host!r} has no address")
    for address in addresses:
        seconds = deadline.remaining(limits.connect_timeout_s)
        try:
            return socket.create_connection((address, port), timeout=seconds)
        except OSError as error:
            failure = _unreachable(error, host, seconds)
    deadline.remaining()
    raise failure


def _unreachable(error: OSError, host: str, seconds: float) -> Exception:
    if isinstance(error, TimeoutError):
        return _RefusedError(f"cannot be reached: {host!r} does not answer within {seconds:.3g} s; check the address")
    return error


def _resolve_in_time(resolve: Resolve, host: str, port: int, seconds: float, deadline: _Deadline) -> list[str]:
    """Look a host up, in a thread because the system's look-up knows no time limit."""
    outcome: list[list[str] | Exception] = []

    def look_up() -> None:
        try:
            outcome.append(resolve(host, port))
        except (OSError, ValueError) as error:  # ValueError: a label that is empty or too long
            outcome.append(error)

    thread = threading.Thread(target=look_up, daemon=True)
    thread.start()
    thread.join(deadline.remaining(seconds))
    if not outcome:
        deadline.remaining()
        raise _RefusedError(f"cannot be reached: looking up {host!r} takes more than {seconds:g} s; check the network")
    if isinstance(outcome[0], Exception):
        raise _RefusedError(f"cannot be reached: the host {host!r} is not known; check the address") from outcome[0]
    return outcome[0]


class _TimedReader(io.RawIOBase):
    """Reads from a socket until a deadline, however the other side spaces its bytes."""

    def __init__(self, sock: socket.socket, deadline: _Deadline) -> None:
        self._sock, self._deadline = sock, deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        self._sock.settimeout(self._deadline.remaining())
        return self._sock.recv_into(cast(memoryview, buffer))

    def makefile(self, mode: str) -> io.BufferedReader:
        """Return the stream that `http.client.HTTPResponse` asks a socket for."""
        return io.BufferedReader(self)


def _request(target: SplitResult, sock: socket.socket, deadline: _Deadline) -> http.client.HTTPResponse:
    """Ask for the target and return the answer, its headers read."""
    host = _host_of(target)
    host = f"[{host}]" if ":" in host else host
    host = f"{host}:{target.port}" if target.port else host
    path = quote(target.path or "/", safe="/%:@!$&'()*+,;=~") + (
        "?" + quote(target.query, safe="/?%:@!$&'()*+,;=~[]") if target.query else ""
    )
    lines = [f"GET {path} HTTP/1.1", f"Host: {host}", *(f"{key}: {value}" for key, value in HEADERS.items())]
    sock.settimeout(deadline.remaining())
    sock.sendall("\r\n".join([*lines, "", ""]).encode("ascii"))
    response = http.client.HTTPResponse(cast(socket.socket, _TimedReader(sock, deadline)), method="GET")
    response.begin()
    return response


def _redirected(url: str, response: http.client.HTTPResponse) -> str:
    location = response.getheader("Location")
    if not location:
        raise _RefusedError(f"answers {response.status} without saying where to go; check the address")
    try:
        return urljoin(url, location)
    except ValueError as error:
        raise _RefusedError(f"redirects to something that is not a URL ({error}); check the address") from error


def _read_image(response: http.client.HTTPResponse, max_bytes: int) -> bytes:
    """Read the body piece by piece; stop as soon as it is no image or too large."""
    if response.status != 200:
        raise _RefusedError(f"answers {response.status} {response.reason}; check the address".replace("  ", " "))
    announced = response.length  # None for chunked bodies, and where the server does not say
    if announced is not None and announced > max_bytes:
        raise _too_large(f"{announced:,} bytes", max_bytes)
    body, checked = bytearray(), False
    while piece := response.read1(CHUNK_BYTES):
        body += piece
        if len(body) > max_bytes:
            raise _too_large("it goes on", max_bytes)
        if not checked and len(body) >= HEAD_BYTES:
            _check_image(bytes(body[:HEAD_BYTES]), response)
            checked = True
    if announced is not None and len(body) < announced:
        raise _RefusedError(f"was cut off after {len(body):,} of {announced:,} bytes; try again")
    if not checked:
        _check_image(bytes(body), response)
    return bytes(body)


def _too_large(came: str, max_bytes: int) -> _RefusedError:
    return _RefusedError(f"is larger than the limit of {max_bytes:,} bytes ({came}); raise url_max_bytes")


def _check_image(head: bytes, response: http.client.HTTPResponse) -> None:
    if is_image(head):
        return
    if not head:
        raise _RefusedError("is empty: the server sent no bytes; check the address")
    kind = response.getheader("Content-Type", "not stated").partition(";")[0].strip()
    coding = response.getheader("Content-Encoding")
    raise _RefusedError(
        f"is not an image mien can read: its type is {kind}{f', packed with {coding}' if coding else ''}, "
        f"it starts with {head[:16]!r}; give the image's own address"
    )
