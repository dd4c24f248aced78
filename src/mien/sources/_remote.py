"""Videos and streams over http(s), handed to FFmpeg as files, so that it opens no connection of its own.

`Remote.open` is what FFmpeg calls for the video itself and for all that a playlist names: each passes the same check of
addresses. A file is one request whose body is read on and on; a seek starts another (a range request), unless what is
wanted was just read or is about to come.
"""

import http.client
import io
import math
import re
from contextlib import ExitStack

from mien.errors import SourceError
from mien.sources._http import HEADERS, Answer, Login, asked, reason_of, status_error
from mien.sources.addresses import AddressRule, Deadline, RefusedError, is_http, public_name, without_login

CONNECT_TIMEOUT_S, MAX_REDIRECTS = 5.0, 5
PIECE_BYTES = 1 << 16
KEPT_BYTES = 4 << 20  # behind the place of reading, so that short ways back cost no request
SKIPPED_BYTES = 1 << 18  # so far ahead, reading on is quicker than a new request
RESUMES = 3  # in a row, without a byte between them
# What FFmpeg takes from the content type; for playlists it wants it where the name has no extension.
FORMATS = {
    "multipart/x-mixed-replace": "mpjpeg", "application/vnd.apple.mpegurl": "hls", "application/x-mpegurl": "hls",
    "audio/mpegurl": "hls", "audio/x-mpegurl": "hls",
}  # fmt: skip


class Remote:
    """One video on the web, with all the files it consists of.

    Attributes:
        url: Where the redirects ended, without user name and password.
        format: FFmpeg's name of the format, where the server says it.
        failure: Why a file of it could not be read to its end, or None; the rest of a sentence.
    """

    def __init__(self, url: str, rule: AddressRule, *, name: str, timeout_s: float) -> None:
        """Connect to the server.

        Args:
            url: An http or https URL.
            rule: Which addresses may be connected to.
            name: What messages call it.
            timeout_s: Seconds of silence after which the connection counts as lost.

        Raises:
            SourceError: There is no such file; the message starts with `name`.
        """
        self.failure: str | None = None
        self._rule, self._timeout_s = rule, timeout_s
        try:
            self._login = Login(url)
        except ValueError as error:
            raise SourceError(f"{name} is not a valid URL ({error}); check the address") from error
        self._files: list[RemoteFile] = []
        self._first: RemoteFile | None = None
        try:
            self._first = self._opened(without_login(url))
        except TimeoutError as error:
            raise SourceError(
                f"{name} does not answer in time; check the address and that it is switched on"
            ) from error
        except OSError as error:
            raise SourceError(f"{name} {error}") from error
        self.url, self.format, self.seekable = self._first.url, self._first.format, self._first.seekable()

    def open(self, url: str, flags: int, options: dict[str, str]) -> "RemoteFile":
        """Open a file for FFmpeg.

        Args:
            url: The video, or what a playlist names.
            flags: FFmpeg's, unused: nothing is written.
            options: Of the protocol; `offset` says where to begin.

        Raises:
            OSError: It is not there, or may not be opened.
        """
        if self._first is not None and url == self._first.url:
            file, self._first = self._first, None
            return file
        try:
            if not is_http(url):
                raise RefusedError(f"names {public_name(url)[:200]!r} inside; only http and https are followed")
            file = self._opened(url)
            file.seek(int(options.get("offset", 0)))
            return file
        except OSError as error:
            self.note(f"names {public_name(url)[:200]!r} inside, which {error}")
            raise
        except RefusedError as error:
            self.note(str(error))
            raise OSError(str(error)) from error

    def _opened(self, url: str) -> "RemoteFile":
        file = RemoteFile(url, self)
        self._files = [*(other for other in self._files if not other.closed), file]
        return file

    def note(self, failure: str) -> None:
        """Remember the first failure: FFmpeg forgets them, and a video that was cut off would seem to be short."""
        self.failure = self.failure or failure

    def ask(self, url: str, stack: ExitStack, start: int) -> Answer:
        """Ask for a file from a place on.

        Args:
            url: The file.
            stack: Closes the connection.
            start: The first byte wanted.

        Raises:
            OSError: There is no answer, or no such file; TimeoutError if none came in time.
        """
        try:
            answer = stack.enter_context(
                asked(
                    url,
                    self._rule,
                    Deadline(self._timeout_s),
                    connect_timeout_s=CONNECT_TIMEOUT_S,
                    max_redirects=MAX_REDIRECTS,
                    headers={**HEADERS, "Accept": "*/*", "Range": f"bytes={start}-"},
                    login=self._login,
                )
            )
            if answer.response.status not in (200, 206):
                raise status_error(answer.response)
            return answer
        except TimeoutError:
            raise
        except (RefusedError, OSError, http.client.HTTPException) as error:
            raise OSError(reason_of(error)) from error

    def close(self) -> None:
        """Close all connections."""
        for file in self._files:
            file.close()


class RemoteFile(io.RawIOBase):
    """A file on a web server, read on demand: what PyAV asks of a file, and no more.

    Attributes:
        url: Where its redirects ended.
        format: FFmpeg's name of the format, where the server says it.
        size: Bytes, or None where the server does not say.
    """

    def __init__(self, url: str, remote: Remote) -> None:
        """Ask for it from its first byte on.

        Args:
            url: An http or https URL without user name and password.
            remote: What it belongs to.

        Raises:
            OSError: There is none.
        """
        self._remote, self._stack = remote, ExitStack()
        self._kept, self._kept_at, self._at = bytearray(), 0, 0
        self._broken_at = math.inf  # from this byte on nothing comes; what lies before it still does
        answer = remote.ask(url, self._stack, 0)
        self._answer: Answer | None = answer
        self.url, headers = answer.url, answer.response.headers
        self.format = FORMATS.get(headers.get_content_type())
        self._ranges = answer.response.status == 206 or headers.get("Accept-Ranges", "").lower() == "bytes"
        self.size: int | None = _total(answer) or answer.response.length

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Whether the server gives parts of files."""
        return self._ranges and self.size is not None

    def tell(self) -> int:
        """Return the place of the next byte."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Choose the next byte; nothing is asked for until it is read.

        Args:
            offset: How far.
            whence: From the beginning, from here or from the end.

        Raises:
            OSError: The end is not known, or the place lies before the beginning.
        """
        if whence == io.SEEK_END and self.size is None:
            raise OSError("the server does not say how long the file is")
        at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size or 0}[whence]
        if at < 0:
            raise OSError(f"there is no byte {at}")
        self._at = at
        return at

    def read(self, size: int = -1) -> bytes:
        """Return what comes next, at most `size` bytes and as soon as there are some; nothing at the end.

        A connection that breaks off is the end, too, so that what came before is used; `Remote.failure` tells of it.

        Args:
            size: Most bytes; below 0 for what comes in one piece.

        Raises:
            TimeoutError: The server fell silent.
        """
        try:
            if self._at >= self._broken_at or not self._advance():
                return b""
        except TimeoutError:
            self._hang_up()
            self._remote.note("fell silent; check the network and try again")
            raise
        except OSError as error:
            self._hang_up()
            self._broken_at = min(self._broken_at, self._at)
            self._remote.note(str(error))
            return b""
        start = self._at - self._kept_at
        piece = bytes(self._kept[start : start + size if size >= 0 else None])
        self._at += len(piece)
        return piece

    def close(self) -> None:
        """Close the connection."""
        self._hang_up()
        super().close()

    def _hang_up(self) -> None:
        self._answer = None
        self._stack.close()

    def _advance(self) -> bool:
        """Read until the next byte is among the kept ones; return False at the end."""
        resumes = 0
        while not self._kept_at <= self._at < self._kept_at + len(self._kept):
            if self.size is not None and self._at >= self.size:
                return False
            end = self._kept_at + len(self._kept)
            far = self._at < self._kept_at or self._at > end + (SKIPPED_BYTES if self.seekable() else float("inf"))
            if far:
                self._begin(self._at)
            elif self._answer is None:
                self._begin(end)
            if self._take():
                resumes = 0
                continue
            self._hang_up()
            at = self._kept_at + len(self._kept)
            if self.size is None:
                return False
            if not self.seekable() or resumes == RESUMES:
                raise OSError(f"was cut off after {at:,} of {self.size:,} bytes; try again")
            resumes += 1
        return True

    def _begin(self, at: int) -> None:
        """Ask for the file from a place on."""
        self._hang_up()
        if not self.seekable():
            raise OSError("comes from a server that gives no parts of files; download the file first")
        self._kept, self._kept_at = bytearray(), at
        answer = self._remote.ask(self.url, self._stack, at)
        match = re.match(r"bytes (\d+)-", answer.response.getheader("Content-Range", ""))
        if answer.response.status != 206 or match is None or int(match[1]) != at or _total(answer) != self.size:
            raise OSError("changed while it was read, or its server gives no parts of files; download the file first")
        self._answer = answer

    def _take(self) -> bool:
        """Keep the next piece of the body; return False where there is none, for whatever reason."""
        assert self._answer is not None
        self._answer.deadline.restart()
        try:
            piece = self._answer.response.read1(PIECE_BYTES)
        except TimeoutError:
            raise
        except (OSError, http.client.HTTPException) as error:
            if self.size is None:
                raise OSError(reason_of(error)) from error
            return False
        self._kept += piece
        spare = len(self._kept) - 2 * KEPT_BYTES
        if spare > 0:
            del self._kept[: spare + KEPT_BYTES]
            self._kept_at += spare + KEPT_BYTES
        return bool(piece)


def _total(answer: Answer) -> int | None:
    match = re.search(r"/(\d+)$", answer.response.getheader("Content-Range", "").strip())
    return int(match[1]) if match else None
