"""POST /v1/analyze: one or many images in, rows out."""

import asyncio
import json
import time
from collections.abc import Awaitable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, TypeVar

import numpy as np
from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response
from numpy.typing import NDArray
from pydantic import ValidationError
from starlette.types import Message, Receive, Scope, Send

from mien.analyzer import Analyzer
from mien.errors import InputError, MienError
from mien.faces import FaceFilter, Faces, known_attributes
from mien.output.draw.faces import draw_faces
from mien.output.encode import data_url
from mien.server.settings import MEBI, ServerSettings
from mien.server.web import records
from mien.server.web.described import ANALYZE_BODY, PROBLEMS
from mien.server.web.forms import FormReader, Holding, body_of, media_type_of, safe_name
from mien.server.web.problems import Problem, busy, problem_of
from mien.server.web.schemas import ATTRIBUTES_ARE, Analysis, AnalyzeBody, EncodedImage, FaceChoice
from mien.server.web.security import client_of
from mien.server.work.engine import Engine
from mien.sources.given import DATA_URL, from_base64, from_data_url
from mien.sources.images import Item, SourceSettings, expand, fetch_item, is_remote, load

T = TypeVar("T")

PIECE_BYTES = 64 << 10  # of an answer, which waits until its client has read so far

router = APIRouter()


@dataclass(frozen=True)
class Wanted:
    """What a request wants done with its images."""

    analyzer: Analyzer
    sources: SourceSettings
    annotated: bool


_OF = FaceChoice.model_fields


def _faces_wanted(
    min_face: Annotated[int, Query(ge=0, le=100_000, description=_OF["min_face"].description)] = 0,
    min_confidence: Annotated[float, Query(ge=0, le=1, description=_OF["min_confidence"].description)] = 0.0,
    largest_only: Annotated[bool, Query(description=_OF["largest_only"].description)] = False,
    clip_boxes: Annotated[bool, Query(description=_OF["clip_boxes"].description)] = False,
) -> FaceFilter:
    return FaceFilter(min_face, min_confidence, largest_only, clip_boxes)


def _attributes(text: str) -> tuple[str, ...]:
    try:
        return known_attributes(text)
    except InputError as error:
        raise Problem(422, str(error)) from error


@router.post(
    "/v1/analyze",
    response_model=Analysis,
    responses=PROBLEMS,
    openapi_extra={"requestBody": ANALYZE_BODY},
    tags=["images"],
    summary="Find the faces of images and their expressions",
)
async def analyze(
    request: Request,
    keep: Annotated[FaceFilter, Depends(_faces_wanted)],
    labels: Annotated[str | None, Query(description="Label set: combined, fer2013 or ferplus.", max_length=40)] = None,
    detector: Annotated[str | None, Query(description="Face detector; see /v1/models.", max_length=40)] = None,
    annotated: Annotated[bool, Query(description="Also return each image with its faces drawn.")] = False,
    attributes: Annotated[str, Query(description=f"With commas: {ATTRIBUTES_ARE}", max_length=200)] = "",
) -> Response:
    """Analyze one or many images, sent as a form (`curl -F file=@photo.jpg`), as JSON with base64, or as they are.

    An image that cannot be read gets an `error` in its place and costs the others nothing.
    """
    start = time.perf_counter()
    engine: Engine = request.app.state.engine
    analyzer = engine.analyzer(detector=detector, labels=labels, keep=keep, attributes=_attributes(attributes))
    wanted = Wanted(analyzer, _source_settings(engine.settings), annotated)
    held = request.app.state.bodies.hold(client_of(request.scope))
    try:
        items = await _items_of(request, engine.settings, held)
        results = await _unless_gone(request, _all(engine, client_of(request.scope), items, wanted, held))
    except BaseException:
        held.give(held.size)
        raise
    ms = round((time.perf_counter() - start) * 1000, 1)
    return ResultsResponse(results, {"labels": list(analyzer.labels.names), "ms": ms}, held)


class ResultsResponse(Response):
    """The results one after another, so that what is read is no longer held, and no more is packed than is read."""

    def __init__(self, results: list[dict[str, Any]], rest: dict[str, Any], held: Holding) -> None:
        """Prepare the answer.

        Args:
            results: In order.
            rest: Further members.
            held: What they hold of the server's memory; given back at the end.
        """
        super().__init__(media_type="application/json")
        del self.headers["content-length"]
        self._results, self._rest, self._held = results, rest, held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        with self._held:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            for piece in self._pieces():
                for start in range(0, len(piece), PIECE_BYTES):
                    await send(_body(piece[start : start + PIECE_BYTES]))
            await send(_body(b"", more=False))

    def _pieces(self) -> Iterator[bytes]:
        between = b'{"results":['
        self._results.reverse()
        while self._results:
            yield between + _packed(self._results.pop())
            between = b","
        yield b"]," + _packed(self._rest)[1:]


def _packed(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _body(data: bytes, *, more: bool = True) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


async def _all(engine: Engine, client: str, items: list[Item], wanted: Wanted, held: Holding) -> list[dict[str, Any]]:
    received = held.size
    calls = [_one(engine, client, item, wanted, held) for item in items]
    items.clear()
    try:
        async with asyncio.timeout(engine.settings.request_timeout_s), asyncio.TaskGroup() as group:
            tasks = [group.create_task(call) for call in calls]
    except TimeoutError as error:
        raise busy("the images took too long; send fewer or smaller ones", retry_after_s=5) from error
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    held.give(received)
    return [task.result() for task in tasks]


async def _one(engine: Engine, client: str, item: Item, wanted: Wanted, held: Holding) -> dict[str, Any]:
    """Return the result of one image; a worker that has found its faces goes on while the network looks at them."""
    try:
        if is_remote(item):
            item = await engine.fetchers.run(client, partial(fetch_item, item, settings=wanted.sources))
            held.take(len(item.origin) if isinstance(item.origin, bytes) else 0)
        if wanted.annotated:
            result = await engine.workers.run(client, lambda: _draw(engine, item, wanted))
            held.take(len(result["annotated"]))
            return result
        found = await engine.workers.run(client, lambda: _find(engine, item, wanted))
        faces = _finish(found, wanted, await asyncio.wrap_future(found.probs))
    except MienError as error:
        return _result(item.name, error=problem_of(error).to_dict())
    return _result(item.name, **_told(found, faces))


@dataclass(frozen=True)
class _Found:
    """An image between its two halves; the image itself only if it is wanted back."""

    faces: Faces
    probs: "Future[NDArray[np.float32]]"
    width: int
    height: int
    image: NDArray[np.uint8] | None


def _find(engine: Engine, item: Item, wanted: Wanted) -> _Found:
    frame = load(item, settings=wanted.sources)
    (faces,), crops = wanted.analyzer.find([frame])
    probs = engine.model.submit(crops, head=wanted.analyzer.labels.key)
    return _Found(faces, probs, frame.width, frame.height, frame.image if wanted.annotated else None)


def _finish(found: _Found, wanted: Wanted, probs: NDArray[np.float32]) -> Faces:
    (named,) = wanted.analyzer.with_expressions([found.faces], probs)
    return wanted.analyzer.keep.named(named, found.width, found.height)


def _draw(engine: Engine, item: Item, wanted: Wanted) -> dict[str, Any]:
    """Do all at one go: an image that waited to be drawn would wait decoded, and a request's images all at once."""
    found = _find(engine, item, wanted)
    faces = _finish(found, wanted, found.probs.result())
    assert found.image is not None
    drawn = data_url(records.to_jpeg(draw_faces(found.image, faces)), ".jpg")
    return _result(item.name, **_told(found, faces), annotated=drawn)


def _told(found: _Found, faces: Faces) -> dict[str, Any]:
    reduced = {"reduced": faces.reduced.factor} if faces.reduced else {}
    return {"width": found.width, "height": found.height, "faces": records.rows(faces), **reduced}


def _result(source: str, **known: Any) -> dict[str, Any]:
    empty: dict[str, Any] = {"width": None, "height": None, "faces": [], "error": None, "annotated": None}
    return {"source": source, **empty, **known}


async def _unless_gone(request: Request, work: Awaitable[T]) -> T:
    """Wait for an answer, and give it up when nobody waits for it any more."""
    task = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait((task, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise Problem(400, "the client left")
        return task.result()
    finally:
        for one in (task, leaving):
            one.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _source_settings(settings: ServerSettings) -> SourceSettings:
    return SourceSettings(
        max_pixels=settings.max_pixels,
        url_max_bytes=min(32, settings.max_body_mb) * MEBI,
        allow_private=settings.allow_private,
    )


# The three ways to send images.


async def _items_of(request: Request, settings: ServerSettings, held: Holding) -> list[Item]:
    kind = media_type_of(request)
    limit = settings.max_body_mb * MEBI
    if kind == "multipart/form-data":
        items = await _form_items(request, settings, limit, held)
    elif kind == "application/json":
        items = _json_items(await body_of(request, limit=limit, held=held), settings)
    elif kind.startswith("image/") or kind == "application/octet-stream":
        items = [Item("image", await body_of(request, limit=limit, held=held))]
    else:
        raise Problem(415, "send multipart/form-data, application/json, or an image as image/jpeg, image/png…")
    if not items:
        raise Problem(422, "the request has no image; send at least one: curl -F file=@photo.jpg …/v1/analyze")
    if len(items) > settings.max_images:
        raise Problem(413, f"a request must have at most {settings.max_images} images, got {len(items)}")
    return items


async def _form_items(request: Request, settings: ServerSettings, limit: int, held: Holding) -> list[Item]:
    parts = await FormReader(request, limit=limit, max_files=settings.max_images, held=held).read()
    items = [Item(part.file_name, bytes(part.content)) for part in parts if part.file_name is not None]
    return items + _url_items([part.text for part in parts if part.name == "url"], settings)


def _json_items(body: bytes, settings: ServerSettings) -> list[Item]:
    try:
        wanted = AnalyzeBody.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Problem(422, f"the JSON body is not as described at /docs: {where} {first['msg']}") from error
    images = [EncodedImage(data=one) if isinstance(one, str) and one else one for one in wanted.images]
    return [_encoded_item(number, one) for number, one in enumerate(images)] + _url_items(wanted.urls, settings)


def _encoded_item(number: int, image: EncodedImage | str) -> Item:
    if isinstance(image, str):
        raise Problem(422, f"image {number} is an empty text; send it in base64")
    name = safe_name(image.name) if image.name else f"image {number}"
    data = image.data
    try:
        return Item(name, from_data_url(data) if DATA_URL.match(data) else from_base64(data))
    except InputError as error:
        raise Problem(422, f"image {number} {error}") from error


def _url_items(urls: list[str], settings: ServerSettings) -> list[Item]:
    if urls and not settings.url_allowed:
        raise Problem(403, "this server fetches no URLs; download the image and send it, or see --url-allowed")
    if any(not url.lower().startswith(("http://", "https://")) for url in urls):
        raise Problem(422, "urls must start with http:// or https://")
    return [item for url in urls for item in expand(url)]
