"""The application, put together."""

import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

from mien._version import __version__
from mien.server.routes import analyze, feed, info, notes, pages, reports, streams
from mien.server.routes import jobs as job_routes
from mien.server.routes.streams import Streams
from mien.server.settings import MEBI, ServerSettings
from mien.server.web import described, problems
from mien.server.web.connections import Hangups
from mien.server.web.forms import Budget
from mien.server.web.metrics import Measure, Metrics
from mien.server.web.security import Door, RateLimit, SecurityHeaders, SlowBodies
from mien.server.work.engine import Engine
from mien.server.work.jobs import Jobs

ABOUT = """Finds faces in images, videos and live streams, and says which expression each one shows.

Errors are problem documents (RFC 9457). The live stream is a web socket at `/v1/stream`: see the page docs/server.md.
"""

logger = logging.getLogger(__name__)


def create_app(settings: ServerSettings | None = None) -> FastAPI:
    """Build the application. Models are opened when it starts.

    Args:
        settings: Its settings; None reads the MIEN_… variables, as worker processes do.
    """
    chosen = settings or ServerSettings.from_environment()
    app = FastAPI(
        title="mien",
        version=__version__,
        description=ABOUT,
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan,
        redirect_slashes=False,
    )
    app.state.settings = chosen
    app.state.metrics = Metrics()
    app.state.bodies = Budget(chosen.bodies_mb * MEBI)
    for part in (analyze, job_routes, notes, reports, feed, info, streams):
        app.include_router(part.router)
    pages.install(app)
    problems.install(app)
    _describe(app, chosen)
    _put_layers(app, chosen)
    return app


def _put_layers(app: FastAPI, settings: ServerSettings) -> None:
    """Wrap the routes; the last layer added sees a request first."""
    app.add_middleware(problems.Guard)
    app.add_middleware(SlowBodies, timeout_s=settings.body_timeout_s)
    app.add_middleware(Door, settings=settings)
    app.add_middleware(RateLimit, per_s=settings.rate, token=settings.token)
    app.add_middleware(Measure, metrics=app.state.metrics)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(Hangups)


def _describe(app: FastAPI, settings: ServerSettings) -> None:
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = described.complete(plain(), token=bool(settings.token))
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    """Open everything, and close it in the order that lets running work finish."""
    state, settings = app.state, app.state.settings
    start = time.perf_counter()
    state.streams = Streams(settings)
    state.engine = await run_in_threadpool(Engine, settings, on_batch=state.metrics.batch_ran)
    state.jobs = await run_in_threadpool(Jobs, settings, state.engine, state.metrics)
    state.feed = (
        feed.CameraFeed(settings.source, state.engine, allow_private=settings.allow_private)
        if settings.source
        else None
    )
    _watch(app)
    state.jobs.start()
    logger.info("ready after %.1f s", time.perf_counter() - start)
    try:
        yield {"tell_streams": lambda: _say_goodbye(app), "patience_s": settings.body_timeout_s}
    finally:
        _say_goodbye(app)
        await state.streams.stop()
        if state.feed is not None:
            await run_in_threadpool(state.feed.close)
        await run_in_threadpool(state.jobs.stop)
        await run_in_threadpool(state.engine.close)
        logger.info("stopped")


def _say_goodbye(app: FastAPI) -> None:
    """Let streams and viewers end."""
    app.state.streams.stop_soon()
    if app.state.feed is not None:
        app.state.feed.wake()


def _watch(app: FastAPI) -> None:
    state = app.state
    state.metrics.watch("work_waiting", "Pieces of work that wait", lambda: state.engine.workers.waiting)
    state.metrics.watch("work_running", "Pieces of work under way", lambda: state.engine.workers.running)
    state.metrics.watch("streams", "Live streams", lambda: len(state.streams))
