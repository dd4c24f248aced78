"""multipart/form-data, read piece by piece: images into memory, a video into its job's own file, nothing elsewhere."""

import re
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import IO, Self

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request

from mien.server.web.problems import Problem, busy

LONGEST_FIELD = 64 << 10  # bytes of a part that is not a file
LONGEST_NAME = 120  # characters of a file name
MOST_FIELDS = 32
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff<>:\"|?*\\/]")


@dataclass
class Part:
    """One part of a form.

    Attributes:
        name: Name of the form's field.
        file_name: A name for people where the part is a file, else None; never a path.
        content: The bytes; empty where they went to a file.
        size: Number of bytes.
    """

    name: str = ""
    file_name: str | None = None
    content: bytearray = field(default_factory=bytearray)
    size: int = 0

    @property
    def text(self) -> str:
        """The content as text."""
        return self.content.decode("utf-8", "replace")


def safe_name(name: str) -> str:
    """Return the last part of a file name as it may be shown: no path, no control or direction characters.

    Args:
        name: What a client calls a file.
    """
    last = re.split(r"[\\/]", name)[-1]
    clean = _UNSAFE.sub("", last).strip().lstrip(".")
    stem, dot, suffix = clean.rpartition(".")
    if len(clean) > LONGEST_NAME and dot and len(suffix) < 10:
        return f"{stem[: LONGEST_NAME - len(suffix) - 1]}.{suffix}"
    return clean[:LONGEST_NAME] or "unnamed"


class Budget:
    """Bytes of all requests and answers that are in memory at once; for the event loop's thread only.

    They count when they are there, not when they are announced: who sends slowly holds what came, and nobody else up.
    """

    def __init__(self, limit: int) -> None:
        """Start with nothing taken.

        Args:
            limit: Most bytes; one client may have half of them.
        """
        self._limit = limit
        self._taken = 0
        self._by_client: Counter[str] = Counter()

    def hold(self, client: str) -> "Holding":
        """Return what one request holds: nothing yet.

        Args:
            client: Whose request it is.
        """
        return Holding(self, client)

    def _change(self, client: str, size: int) -> None:
        self._taken += size
        self._by_client[client] += size
        if not self._by_client[client]:
            del self._by_client[client]

    def _check(self, client: str, size: int, mine: int) -> None:
        """Refuse what is too much beside what others hold; a lone request may be as large as requests may be."""
        others, same = self._taken - mine, self._by_client[client] - mine
        if others and self._taken + size > self._limit:
            raise busy("the server holds as many images as it can; try again in a moment")
        if same and self._by_client[client] + size > self._limit // 2:
            raise busy("your other requests hold as much as one client may; wait for their answers", status=429)


class Holding:
    """The bytes of one request and its answer. A context: what is left at its end is given back."""

    def __init__(self, budget: Budget, client: str) -> None:
        """Start with none."""
        self._budget, self._client, self._size = budget, client, 0

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Give everything back."""
        self.give(self._size)

    @property
    def size(self) -> int:
        """How many bytes it holds."""
        return self._size

    def expect(self, size: int) -> None:
        """See whether so many bytes would fit now, without taking them.

        Raises:
            Problem: 503, the others have taken too many; 429, this client has.
        """
        self._budget._check(self._client, size, self._size)

    def take(self, size: int) -> None:
        """Take bytes that are there.

        Raises:
            Problem: 503, the others have taken too many; 429, this client has.
        """
        self.expect(size)
        self._size += size
        self._budget._change(self._client, size)

    def give(self, size: int) -> None:
        """Give bytes back."""
        self._size -= size
        self._budget._change(self._client, -size)


async def body_of(request: Request, *, limit: int, held: Holding) -> bytes:
    """Return the body of a request.

    Args:
        request: The request.
        limit: Largest number of bytes.
        held: Takes them.

    Raises:
        Problem: 413, there are more; 503 or 429, too many are in memory.
    """
    body = bytearray()
    async for chunk in pieces_of(request, limit=limit, held=held):
        body += chunk
    return bytes(body)


async def pieces_of(request: Request, *, limit: int, held: Holding | None = None) -> AsyncIterator[bytes]:
    """Yield the body of a request.

    Args:
        request: The request.
        limit: Largest number of bytes.
        held: Takes them, if they stay in memory.

    Raises:
        Problem: 413, there are more, or there will be by the header; 400, the client left; 503 or 429, too many are in
            memory.
    """
    refused = Problem(413, f"the request must have at most {limit:,} bytes; send less at a time")
    announced = request.headers.get("content-length", "0")
    if not announced.isdecimal() or len(announced) > 20 or int(announced) > limit:
        raise refused
    if held is not None:
        held.expect(int(announced))
    size = 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > limit:
                raise refused
            if held is not None:
                held.take(len(chunk))
            yield chunk
    except ClientDisconnect as error:
        raise Problem(400, "the request ended too early") from error


def media_type_of(request: Request) -> str:
    """Return the media type of a request's body, lower case, without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


class FormReader:
    """Reads one form. Parts that are files go to memory, or where `open_file` says."""

    def __init__(
        self,
        request: Request,
        *,
        limit: int,
        max_files: int,
        open_file: Callable[[], IO[bytes]] | None = None,
        held: Holding | None = None,
    ) -> None:
        """Look at the header.

        Args:
            request: A request with the media type multipart/form-data.
            limit: Largest number of bytes.
            max_files: Most parts that are files.
            open_file: Called for each file, to give it a place; None keeps files in memory.
            held: Takes the bytes that are kept in memory.

        Raises:
            Problem: 400, the boundary is missing or malformed.
        """
        self.parts: list[Part] = []
        self._request = request
        self._limit = limit
        self._max_files = max_files
        self._open_file = open_file
        self._held = held
        self._file: IO[bytes] | None = None
        self._unwritten = bytearray()
        self._header = [b"", b""]
        self._headers: dict[bytes, bytes] = {}
        self._done = False
        self._parser = self._new_parser()

    def _new_parser(self) -> MultipartParser:
        _, options = parse_options_header(self._request.headers.get("content-type", ""))
        boundary = options.get(b"boundary", b"")
        if not 1 <= len(boundary) <= 70:
            raise Problem(400, "a form needs a boundary of 1 to 70 characters in its header Content-Type")
        return MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": lambda data, start, end: self._add_to_header(0, data[start:end]),
                "on_header_value": lambda data, start, end: self._add_to_header(1, data[start:end]),
                "on_header_end": self._end_header,
                "on_headers_finished": self._end_headers,
                "on_part_data": self._take,
                "on_end": self._end,
            },
        )

    async def read(self) -> list[Part]:
        """Return the parts.

        Raises:
            Problem: 400, the form is malformed; 413, it is too large or has too many parts.
        """
        try:
            async for chunk in pieces_of(self._request, limit=self._limit, held=self._held):
                self._parser.write(chunk)
                await self._flush()
            self._parser.finalize()
        except FormParserError as error:
            raise Problem(400, "the form is malformed; send multipart/form-data as browsers and curl -F do") from error
        if not self._done:
            raise Problem(400, "the form ends before its last boundary; send it whole")
        return self.parts

    async def _flush(self) -> None:
        if self._file is not None and self._unwritten:
            await run_in_threadpool(self._file.write, bytes(self._unwritten))
            self._unwritten.clear()

    # What the parser calls.

    def _begin(self) -> None:
        self.parts.append(Part())
        self._headers = {}
        if len(self.parts) > self._max_files + MOST_FIELDS:
            raise Problem(413, f"a form must have at most {self._max_files} files and {MOST_FIELDS} fields")

    def _add_to_header(self, which: int, data: bytes) -> None:
        self._header[which] += data

    def _end_header(self) -> None:
        self._headers[self._header[0].lower()] = self._header[1]
        self._header = [b"", b""]

    def _end_headers(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        part = self.parts[-1]
        part.name = options.get(b"name", b"").decode("utf-8", "replace")
        if not part.name:
            raise Problem(400, "each part of a form needs a name in its header Content-Disposition")
        if b"filename" not in options:
            return
        part.file_name = safe_name(options[b"filename"].decode("utf-8", "replace"))
        if sum(one.file_name is not None for one in self.parts) > self._max_files:
            raise Problem(413, f"a form must have at most {self._max_files} files; send the others after these")
        self._file = self._open_file() if self._open_file else None

    def _take(self, data: bytes, start: int, end: int) -> None:
        part = self.parts[-1]
        part.size += end - start
        if part.file_name is None and part.size > LONGEST_FIELD:
            raise Problem(
                413, f"the field {part.name!r} must have at most {LONGEST_FIELD:,} bytes; send files as files"
            )
        target = self._unwritten if part.file_name is not None and self._file is not None else part.content
        target += data[start:end]

    def _end(self) -> None:
        self._done = True
