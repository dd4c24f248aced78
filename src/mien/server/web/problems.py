"""Every error of the API as a problem document (RFC 9457)."""

import errno
import http
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mien.errors import InputError, MienError, MissingExtraError, MissingWeightsError
from mien.server.work.store import ListError

MEDIA_TYPE = "application/problem+json"
LONGEST_DETAIL = 600  # characters; messages quote what came
DATABASE_RETRY_S = 5.0
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

logger = logging.getLogger(__name__)


class Problem(Exception):
    """Something the client is told with an HTTP status.

    Attributes:
        status: HTTP status.
        detail: What must hold, what came, what to do.
        headers: Further headers of the answer.
    """

    def __init__(self, status: int, detail: str, *, headers: Mapping[str, str] | None = None) -> None:
        """Take down what happened.

        Args:
            status: HTTP status, 400-599.
            detail: A sentence for people.
            headers: Further headers of the answer.
        """
        super().__init__(detail)
        self.status = status
        self.detail = printable(detail)
        self.headers = dict(headers or {})

    def to_dict(self) -> dict[str, Any]:
        """Return the members of the problem document."""
        title = http.HTTPStatus(self.status).phrase
        return {"type": "about:blank", "title": title, "status": self.status, "detail": self.detail}

    def response(self) -> JSONResponse:
        """Return the HTTP answer."""
        return JSONResponse(self.to_dict(), self.status, self.headers, media_type=MEDIA_TYPE)


def busy(detail: str, *, status: int = 503, retry_after_s: float = 1.0) -> Problem:
    """Return the problem of a server or client over its limits.

    Args:
        status: 503 where the server has too much to do, 429 where this client asks too much.
        detail: Which limit.
        retry_after_s: When it is worth another try, seconds.
    """
    return Problem(status, detail, headers={"Retry-After": str(max(1, round(retry_after_s)))})


def printable(text: str) -> str:
    """Return text that fits in JSON and on a screen, whatever a client sent."""
    clean = text.encode("utf-8", "backslashreplace").decode()
    return clean if len(clean) <= LONGEST_DETAIL else clean[: LONGEST_DETAIL - 1] + "…"


def problem_of(error: Exception) -> Problem:
    """Return the problem that tells a client of an error.

    Args:
        error: An error of mien is the client's to mend; any other is logged and told without its text.
    """
    if isinstance(error, Problem):
        return error
    if isinstance(error, MissingExtraError):
        return Problem(501, f"this server lacks a package: {error}")
    if isinstance(error, MissingWeightsError):
        return Problem(501, f"this server lacks weights: {error}")
    if isinstance(error, InputError):
        return Problem(422, str(error))
    if isinstance(error, ListError):
        return busy(str(error), retry_after_s=DATABASE_RETRY_S)
    if _is_full(error):
        logger.warning("the disk is full; free some space in the data folder")
        return Problem(507, "the server's disk is full; try again when its administrator has freed some space")
    if isinstance(error, MienError):
        return Problem(500, str(error))
    logger.error("unexpected %s", type(error).__name__, exc_info=error)
    return Problem(500, "unexpected error of the server; the administrator finds it in the log")


def _is_full(error: BaseException | None) -> bool:
    """Return whether an error, or what caused it, is that the disk has no room."""
    return error is not None and (getattr(error, "errno", None) in NO_ROOM or _is_full(error.__cause__))


def install(app: FastAPI) -> None:
    """Make the application answer every error with a problem document.

    Args:
        app: The application.
    """
    app.add_exception_handler(Problem, _answer)
    app.add_exception_handler(MienError, _answer)
    app.add_exception_handler(HTTPException, _answer_http)
    app.add_exception_handler(RequestValidationError, _answer_invalid)


class Guard:
    """Answers with a problem where the application itself fails, inside all other layers, so that they see it."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap an application."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        started = False

        async def send_and_note(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, send_and_note)
        except Exception as error:
            if started:
                raise
            await send_problem(problem_of(error), scope, receive, send)


async def send_problem(problem: Problem, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request with a problem from outside the application, a middleware say."""
    await problem.response()(scope, receive, send)


async def _answer(request: Request, error: Exception) -> JSONResponse:
    return problem_of(error).response()


async def _answer_http(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        return problem_of(error).response()
    details = {
        404: "there is nothing at this address; /docs lists what there is",
        405: f"this address does not take {request.method}; the header Allow names what it takes",
    }
    detail = details.get(error.status_code, str(error.detail))
    return Problem(error.status_code, detail, headers=error.headers).response()


async def _answer_invalid(request: Request, error: Exception) -> JSONResponse:
    said = _said(error.errors()) if isinstance(error, RequestValidationError) else str(error)
    return Problem(422, said).response()


def _said(errors: Sequence[Any]) -> str:
    return "; ".join(f"{'.'.join(str(part) for part in e['loc'])}: {e['msg']}" for e in errors) + "; see /docs"
