"""Fetch an image over http(s), within limits of size and time."""

import http.client
from dataclasses import dataclass

from mien.errors import SourceError
from mien.sources._formats import HEAD_BYTES, is_image
from mien.sources._http import HEADERS, asked, reason_of, status_error
from mien.sources.addresses import AddressRule, Deadline, RefusedError

CHUNK_BYTES = 1 << 16


@dataclass(frozen=True)
class FetchLimits:
    """What one fetch, with all its redirects, may take.

    Attributes:
        max_bytes: Largest body.
        timeout_s: Seconds from the first look-up to the last byte.
        connect_timeout_s: Seconds for one look-up, or for one address to answer.
        max_redirects: How many redirects are followed.
    """

    max_bytes: int
    timeout_s: float
    connect_timeout_s: float
    max_redirects: int


def fetch(url: str, limits: FetchLimits, rule: AddressRule, *, name: str) -> bytes:
    """Fetch an image.

    Args:
        url: An http or https URL without user name and password.
        limits: Size, time and redirects that are acceptable.
        rule: Which addresses may be connected to.
        name: What messages call it: the URL, less what is secret in it.

    Returns:
        The body; its first bytes are an image's.

    Raises:
        SourceError: There is no such image within the limits; the message starts with `name`.
    """
    try:
        with asked(
            url,
            rule,
            Deadline(limits.timeout_s),
            connect_timeout_s=limits.connect_timeout_s,
            max_redirects=limits.max_redirects,
            headers={**HEADERS, "Accept": "image/*"},
        ) as answer:
            return _read_image(answer.response, limits.max_bytes)
    except TimeoutError as error:
        raise SourceError(f"{name} is slow: no image within {limits.timeout_s:g} s; raise url_timeout_s") from error
    except (RefusedError, OSError, http.client.HTTPException) as error:
        raise SourceError(f"{name} {reason_of(error)}") from error


def _read_image(response: http.client.HTTPResponse, max_bytes: int) -> bytes:
    """Read the body piece by piece; stop as soon as it is no image or too large."""
    if response.status != 200:
        raise status_error(response)
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
        raise RefusedError(f"was cut off after {len(body):,} of {announced:,} bytes; try again")
    if not checked:
        _check_image(bytes(body), response)
    return bytes(body)


def _too_large(came: str, max_bytes: int) -> RefusedError:
    return RefusedError(f"is larger than the limit of {max_bytes:,} bytes ({came}); raise url_max_bytes")


def _check_image(head: bytes, response: http.client.HTTPResponse) -> None:
    if is_image(head):
        return
    if not head:
        raise RefusedError("is empty: the server sent no bytes; check the address")
    kind = response.getheader("Content-Type", "not stated").partition(";")[0].strip()
    coding = response.getheader("Content-Encoding")
    raise RefusedError(
        f"is not an image mien can read: its type is {kind}{f', packed with {coding}' if coding else ''}, "
        f"it starts with {head[:16]!r}; give the image's own address"
    )
