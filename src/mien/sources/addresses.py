"""Which network addresses may be connected to, and what an address is called where people read it.

An address may come from a stranger. So a host name is resolved once, every address it leads to is checked, and the
connection goes to the checked address itself: a name that changes its mind between check and connection gains nothing.
All network access of this room passes `connect`, or `pinned` where FFmpeg itself speaks the protocol.
"""

import ipaddress
import re
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from mien.errors import SourceError, shortened

Resolve = Callable[[str, int], list[str]]
Permit = Callable[[str], bool]

URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
DEFAULT_PORTS = {"http": 80, "https": 443, "rtsp": 554, "rtsps": 322, "rtmp": 1935, "rtmpe": 1935, "rtmps": 443}
LONGEST_HOST = 253  # characters (RFC 1035)
_HOST = re.compile(r"[A-Za-z0-9._~:%-]+")
_LOCAL_NAME = re.compile(r"localhost|[^.:]*[A-Za-z_-][^.:]*|.+\.(local|lan|internal|home\.arpa|localhost)\.?", re.I)

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


# Names ----------------------------------------------------------------------------------------------------------------


def is_http(source: object) -> bool:
    """Whether a source is an http(s) URL.

    Args:
        source: What a user names.
    """
    return isinstance(source, str) and source.lower().startswith(("http://", "https://"))


def without_login(url: str) -> str:
    """Return a URL without user name and password, which belong in no result or message.

    Args:
        url: A URL.
    """
    scheme, rest = url.split("://", 1)
    authority = re.split(r"[/?#\\]", rest, maxsplit=1)[0]
    return f"{scheme}://{authority.rpartition('@')[2]}{rest[len(authority) :]}"


def public_name(source: str | Path) -> str:
    """Return what results and messages may call a source: a URL loses its user, password and query.

    Args:
        source: A path or URL.
    """
    text = str(source)
    if not URL.match(text):
        return text
    place, mark, _ = re.match(r"([^?#]*)([?#]?)(.*)", without_login(text), re.DOTALL).groups()  # type: ignore[union-attr]
    return f"{place}{mark and mark + '…'}"


# Rules ----------------------------------------------------------------------------------------------------------------


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


def is_plainly_local(host: str) -> bool:
    """Return whether a host, as it is written, can only be one of the reader's own network.

    That is a private IP address in its usual form (`192.168.1.10`, `fd00::1`), or a name that nobody on the internet
    can own (`localhost`, `camera`, `camera.local`). An address in disguise (`2130706433`, `0177.0.0.1`,
    `::ffff:127.0.0.1`) is not, and neither is a name that merely leads there.

    Args:
        host: A host name or address, without brackets.
    """
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        known = len(host) <= LONGEST_HOST and _LOCAL_NAME.fullmatch(host)
        return bool(known) and not re.fullmatch(r"0x[0-9a-f]+", host, re.I)
    embeds = isinstance(ip, ipaddress.IPv6Address) and any(
        ipaddress.IPv6Address(int(ip)) in network for network, _ in EMBEDDING_NETWORKS
    )
    return not embeds and not is_public(host)


def resolve_host(host: str, port: int) -> list[str]:
    """Return the addresses of a host, in the order in which to try them.

    Raises:
        OSError: The name is not known, or no name server answers.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


@dataclass(frozen=True)
class AddressRule:
    """Which addresses may be connected to.

    Attributes:
        allow_private: Admit loopback, private and other addresses that are not public.
        camera: A host that may be private all the same, because the user wrote it there: a camera of the own network.
        resolve: Gives the addresses of a host and port.
        permit: Says of each address whether to connect to it; not asked under `allow_private`.
    """

    allow_private: bool = False
    camera: str | None = None
    resolve: Resolve = resolve_host
    permit: Permit = is_public

    def refused(self, host: str, addresses: list[str]) -> str | None:
        """Return the first address of a host that may not be connected to, or None."""
        if self.allow_private or host == self.camera:
            return None
        return next((address for address in addresses if not self.permit(address)), None)


PUBLIC = AddressRule()


def video_rule(url: str, *, allow_private: bool) -> AddressRule:
    """Return the rule for a video that the user names: public over http(s), as for a camera over other protocols.

    Args:
        url: Its address.
        allow_private: Admit every address.
    """
    return AddressRule(allow_private) if is_http(url) else camera_rule(url, allow_private=allow_private)


def camera_rule(url: str, *, allow_private: bool) -> AddressRule:
    """Return the rule for a camera or stream that the user names: it may be private where its address says so.

    Args:
        url: Its address.
        allow_private: Admit every address.
    """
    try:
        host = host_of(urlsplit(url))
    except ValueError:
        return AddressRule(allow_private)
    return AddressRule(allow_private, camera=host if is_plainly_local(host) else None)


# Connections ----------------------------------------------------------------------------------------------------------


class RefusedError(Exception):
    """Why there is no connection or no file, as the rest of a sentence that begins with its name."""


class Deadline:
    """A moment that all waiting together may not pass."""

    def __init__(self, seconds: float) -> None:
        """Start to count.

        Args:
            seconds: How long all may take.
        """
        self._seconds = seconds
        self.restart()

    def restart(self) -> None:
        """Grant the whole time again."""
        self._end = time.monotonic() + self._seconds

    def remaining(self, at_most: float = float("inf")) -> float:
        """Return the seconds left, or raise TimeoutError if there are none."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return min(left, at_most)


def host_of(target: SplitResult) -> str:
    """Return the host of a URL in ASCII; international names become their «xn--» form.

    Raises:
        ValueError: It has none that could be looked up.
    """
    host = target.hostname or ""
    return host if host.isascii() else host.encode("idna").decode("ascii")


def connect(host: str, port: int, rule: AddressRule, deadline: Deadline, *, at_most_s: float) -> socket.socket:
    """Connect to the first address of a host that answers, after all of them have been checked.

    Args:
        host: A name or address.
        port: The port.
        rule: Which addresses are admitted.
        deadline: For all together.
        at_most_s: Seconds for the look-up, and for each address.

    Raises:
        RefusedError: The host is not known, may not be connected to or does not answer.
        OSError: The connection fails.
    """
    failure: Exception = RefusedError(f"cannot be reached: {shortened(host)!r} has no address")
    for address in checked_addresses(host, port, rule, deadline, at_most_s=at_most_s):
        seconds = deadline.remaining(at_most_s)
        try:
            return socket.create_connection((address, port), timeout=seconds)
        except TimeoutError:
            said = f"cannot be reached: {shortened(host)!r} does not answer within {seconds:.3g} s; check the address"
            failure = RefusedError(said)
        except OSError as error:
            failure = error
    deadline.remaining()
    raise failure


def checked_addresses(host: str, port: int, rule: AddressRule, deadline: Deadline, *, at_most_s: float) -> list[str]:
    """Look a host up once, and return its addresses if all of them are admitted.

    Args:
        host: A name or address.
        port: The port.
        rule: Which addresses are admitted.
        deadline: For all together.
        at_most_s: Seconds for the look-up.

    Raises:
        RefusedError: The host is not known, or has an address that is not admitted.
    """
    if not _HOST.fullmatch(host):
        raise RefusedError("names no usable host; write it as https://host/name")
    addresses = _resolve_in_time(rule.resolve, host, port, at_most_s, deadline)
    refused = rule.refused(host, addresses)
    if refused is not None:
        raise RefusedError(
            f"leads to {refused}, not a public address; pass --allow-private (allow_private=True) if you mean it"
        )
    return addresses


def _resolve_in_time(resolve: Resolve, host: str, port: int, seconds: float, deadline: Deadline) -> list[str]:
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
        raise RefusedError(
            f"cannot be reached: looking up {shortened(host)!r} takes more than {seconds:g} s; check the network"
        )
    if isinstance(outcome[0], Exception):
        raise RefusedError(
            f"cannot be reached: the host {shortened(host)!r} is not known; check the address"
        ) from outcome[0]
    return outcome[0]


def pinned(url: str, rule: AddressRule, *, name: str, timeout_s: float) -> str:
    """Return a URL whose host is replaced by its checked address, for protocols that FFmpeg speaks itself.

    Args:
        url: A URL, of a stream say. Without a host (`udp://@:1234`, which only listens) it comes back as it is.
        rule: Which addresses are admitted.
        name: What messages call it.
        timeout_s: Seconds for the look-up.

    Raises:
        SourceError: The host is not known, or has an address that is not admitted; the message starts with `name`.
    """
    try:
        target = urlsplit(url)
        host, port = host_of(target), target.port
    except ValueError as error:
        raise SourceError(f"{name} is not a valid URL ({error}); check the address") from error
    if not host:
        return url
    port = port or DEFAULT_PORTS.get(target.scheme, 0)
    try:
        address, *_ = checked_addresses(host, port, rule, Deadline(timeout_s), at_most_s=timeout_s) or [""]
    except (RefusedError, TimeoutError) as error:
        raise SourceError(f"{name} {error or 'takes too long to look up; check the network'}") from error
    if not address:
        raise SourceError(f"{name} cannot be reached: {shortened(host)!r} has no address")
    login, at, _ = target.netloc.rpartition("@")
    place = f"[{address}]" if ":" in address else address
    return target._replace(netloc=f"{login}{at}{place}{f':{target.port}' if target.port else ''}").geturl()
