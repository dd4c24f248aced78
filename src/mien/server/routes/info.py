"""What the server is and how it does: /health, /ready, /metrics, /v1/models."""

import time
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response

from mien._version import __version__
from mien.faces import ATTRIBUTES
from mien.models.card import ModelCard
from mien.server.settings import MEBI, ServerSettings
from mien.server.web import records
from mien.server.web.described import FEW_PROBLEMS, problems
from mien.server.web.problems import busy
from mien.server.web.schemas import Health, Models, Readiness, SignedAddress
from mien.server.web.security import ADDRESS_S, signed_address
from mien.server.work.engine import Engine
from mien.weights import WEIGHTS

LOADED = r"^/(video_feed|v1/jobs/[0-9a-f]{32}/(video|summary|truth\.csv|(result|corrected)\.[a-z0-9]{3,7}))$"

router = APIRouter(tags=["server"])


@router.get("/health", response_model=Health, responses=problems(405), summary="Tell that the process answers")
async def health() -> JSONResponse:
    """Answer at once, whatever else is going on."""
    return JSONResponse({"status": "ok", "version": __version__})


@router.get("/ready", response_model=Readiness, responses=problems(405, 503), summary="Tell whether work is taken")
async def ready(request: Request) -> JSONResponse:
    """Answer 503 while the server stops or has as much to do as it takes."""
    state = request.app.state
    engine: Engine = state.engine
    if state.streams.stopping:
        raise busy("the server is stopping", retry_after_s=5)
    if engine.workers.waiting >= engine.workers.largest_queue:
        raise busy(f"{engine.workers.waiting} pieces of work wait already")
    return JSONResponse({"status": "ready", "waiting": engine.workers.waiting, "streams": len(state.streams)})


@router.get("/metrics", response_class=Response, responses=FEW_PROBLEMS, summary="Tell counters and durations")
def metrics(request: Request) -> Response:
    """Return the metrics in Prometheus' text format."""
    answer: Response = request.app.state.metrics.response()
    return answer


@router.get(
    "/v1/addresses",
    response_model=SignedAddress,
    responses=FEW_PROBLEMS,
    summary="Sign an address for what browsers load",
)
async def addresses(
    request: Request, path: Annotated[str, Query(pattern=LOADED, description="A result, a video or the camera.")]
) -> JSONResponse:
    """Return an address that a browser can load without the token: in a link, an image or a video.

    It is good for a quarter of an hour, for reading, and for this path alone; what is being loaded then goes on.
    """
    token = request.app.state.settings.token
    address = signed_address(token, path, now=time.time()) if token else path
    return JSONResponse({"address": address, "seconds": ADDRESS_S})


@router.get("/v1/models", response_model=Models, responses=FEW_PROBLEMS, summary="Tell what the server offers")
def models(request: Request) -> JSONResponse:
    """Return the model, the detectors and label sets that requests may name, and the limits."""
    engine: Engine = request.app.state.engine
    settings, card = engine.settings, engine.card
    return JSONResponse(
        {
            "version": __version__,
            "models": [_model(card, engine)],
            "detectors": [{"name": name, "default": name == settings.detector} for name in engine.ready_detectors],
            "prior": str(engine.prior),
            "attributes": [{"name": name, "columns": ATTRIBUTES[name]} for name in engine.ready_attributes],
            "people": WEIGHTS["identity"].is_there(),
            "label_sets": [_label_set(card, head, engine.labels) for head in card.heads],
            "limits": _limits(settings),
        }
    )


def _model(card: ModelCard, engine: Engine) -> dict[str, str]:
    return {
        "name": card.name,
        "version": card.version,
        "sha256": engine.model_hash,
        "licence": card.licence,
        "data": card.data,
        "device": engine.device,
    }


def _label_set(card: ModelCard, head: str, default: str) -> dict[str, object]:
    return {"key": head, "default": head == default, "labels": records.label_values(card.label_set(head))}


def _limits(settings: ServerSettings) -> dict[str, object]:
    return {
        "max_body_bytes": settings.max_body_mb * MEBI,
        "max_video_bytes": settings.max_video_mb * MEBI,
        "max_video_s": settings.max_video_s,
        "max_images": settings.max_images,
        "max_pixels": settings.max_pixels,
        "max_stream_pixels": settings.max_stream_pixels,
        "streams": settings.streams,
        "keep_s": settings.keep_s,
        "url_allowed": settings.url_allowed,
        "server_camera": bool(settings.source),
        "jobs": True,
        "token": bool(settings.token),
    }
