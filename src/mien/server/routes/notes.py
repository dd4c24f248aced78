"""What people note of a video: who is who, what was really shown, when something happened; and what comes of it."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from fastapi import Path as InPath
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from pydantic import TypeAdapter, ValidationError
from starlette.concurrency import run_in_threadpool

from mien.server.routes.jobs import MEDIA_TYPES, ListKey, Name, jobs_of, known_job, owned_job
from mien.server.web.described import FEW_PROBLEMS, problems
from mien.server.web.forms import body_of
from mien.server.web.note_schemas import EventNote, NoteAnswer, NoteBody, PersonNote, Score, TruthNote
from mien.server.web.problems import Problem
from mien.server.web.security import client_of
from mien.server.work.findings import EVENTS, PEOPLE, TRUTH, JobFindings
from mien.server.work.notes import Note
from mien.server.work.store import DONE, JobRow
from mien.video.corrections import Corrections
from mien.video.truth_table import spans_from_values, spans_to_values, truth_as_csv

Kind = Annotated[Literal["people", "truth", "events"], InPath(description="What is noted.")]
LARGEST_BODY = 2 << 20
VALUES: dict[str, TypeAdapter[Any]] = {
    PEOPLE: TypeAdapter(list[PersonNote]),
    TRUTH: TypeAdapter(list[TruthNote]),
    EVENTS: TypeAdapter(list[EventNote]),
}
NOTE_BODY = {"required": True, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/NoteBody"}}}}
TABLE_BODY = {"required": True, "content": {"text/csv": {"schema": {"type": "string"}}}}
_CSV: dict[int | str, dict[str, Any]] = {200: {"content": {"text/csv": {"schema": {"type": "string"}}}}}
_KINDS = (media.partition(";")[0] for kind, media in MEDIA_TYPES.items() if kind != "mp4")
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_FILE: dict[int | str, dict[str, Any]] = {200: {"content": {media: _BINARY for media in _KINDS}}}
_CHANGES = {**FEW_PROBLEMS, **problems(403, 408, 409, 413)}
_NEEDS_RESULTS = {**FEW_PROBLEMS, **problems(409)}

router = APIRouter(tags=["notes"])


@router.get("/v1/jobs/{name}/notes/{kind}", response_model=NoteAnswer, responses=FEW_PROBLEMS, summary="Tell a note")
def told(request: Request, name: Name, kind: Kind) -> JSONResponse:
    """Return what is noted of a video: an empty list where nobody noted anything."""
    known_job(request, name)
    return _answer(kind, jobs_of(request).store.note(name, kind))


@router.put(
    "/v1/jobs/{name}/notes/{kind}",
    response_model=NoteAnswer,
    responses=_CHANGES,
    openapi_extra={"requestBody": NOTE_BODY},
    summary="Note who is who, what was shown, or when something happened",
)
async def put(request: Request, name: Name, kind: Kind, key: ListKey = "") -> JSONResponse:
    """Note something anew. The results stay as they are, and the change can be undone.

    `after` is the number of the note that it changes: 409 says that somebody else changed it meanwhile.
    """
    row = await run_in_threadpool(owned_job, request, name, key)
    body = await small_body(request)
    return await run_in_threadpool(_put, request, row, kind, body)


@router.post(
    "/v1/jobs/{name}/notes/{kind}/undo", response_model=NoteAnswer, responses=_CHANGES, summary="Undo the last change"
)
def undo(request: Request, name: Name, kind: Kind, key: ListKey = "") -> JSONResponse:
    """Go back to what was noted before the last change, and before that one the next time."""
    owned_job(request, name, key)
    note = jobs_of(request).store.undo_note(name, kind)
    if note is None:
        raise Problem(409, "there is no earlier change to go back to")
    return _answer(kind, note)


@router.get(
    "/v1/jobs/{name}/corrected.{kind}",
    response_class=FileResponse,
    responses={**_FILE, **_NEEDS_RESULTS},
    summary="Download results with the names that people gave",
)
def corrected(request: Request, name: Name, kind: Literal["csv", "jsonl", "parquet", "json"]) -> Response:
    """Return the table with a column `corrected_person` beside the model's answers, or (json) the summary by person."""
    row = done_job(request, name)
    path = JobFindings(jobs_of(request), row).corrected(kind)
    media = MEDIA_TYPES["summary" if kind == "json" else kind]
    return FileResponse(path, media_type=media, filename=f"{Path(row.source).stem}-corrected.{kind}")


@router.get(
    "/v1/jobs/{name}/truth.csv",
    response_class=PlainTextResponse,
    responses={**_CSV, **_NEEDS_RESULTS},
    summary="Download what was really shown",
)
def truth(request: Request, name: Name) -> Response:
    """Return the spans that somebody marked, as the table that `mien analyze --truth` takes."""
    row = done_job(request, name)
    text = truth_as_csv(JobFindings(jobs_of(request), row).spans())
    headers = {"Content-Disposition": f'attachment; filename="truth-{name[:8]}.csv"'}
    return Response(text, media_type=MEDIA_TYPES["csv"], headers=headers)


@router.put(
    "/v1/jobs/{name}/truth.csv",
    response_model=NoteAnswer,
    responses=_CHANGES,
    openapi_extra={"requestBody": TABLE_BODY},
    summary="Read what was really shown from a table",
)
async def put_truth(request: Request, name: Name, key: ListKey = "") -> JSONResponse:
    """Note the spans of a table as `mien analyze --truth` takes it, those of this video, instead of those before."""
    await run_in_threadpool(owned_job, request, name, key)
    text = await small_body(request)
    return await run_in_threadpool(_put_truth, request, name, text)


@router.get("/v1/jobs/{name}/score", response_model=Score, responses=_NEEDS_RESULTS, summary="Score against the truth")
def score(request: Request, name: Name) -> JSONResponse:
    """Return how often the answers are what was really shown, as far as somebody marked it."""
    return JSONResponse(JobFindings(jobs_of(request), done_job(request, name)).score())


def done_job(request: Request, name: str) -> JobRow:
    """Return a job that has results.

    Raises:
        Problem: 404, there is none of that id; 409, it is not done.
    """
    row = known_job(request, name)
    if row.state != DONE:
        raise Problem(409, f"the job is {row.state}, so there is no result; ask for one whose state is done")
    return row


async def small_body(request: Request) -> bytes:
    """Return a body of at most `LARGEST_BODY` bytes.

    Raises:
        Problem: 413, it is larger; 503 or 429, too many are in memory.
    """
    with request.app.state.bodies.hold(client_of(request.scope)) as held:
        return await body_of(request, limit=LARGEST_BODY, held=held)


def _put(request: Request, row: JobRow, kind: str, body: bytes) -> JSONResponse:
    jobs = jobs_of(request)
    try:
        raw = json.loads(body)
        after = TypeAdapter(int).validate_python(raw["after"])
        values = [one.model_dump() for one in VALUES[kind].validate_python(raw["value"])]
        if set(raw) - set(NoteBody.model_fields):
            raise ValueError("there are other fields than after and value")
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise Problem(422, f"the note is not as described at /docs: {where} {first['msg']}") from error
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        said = "send JSON with after and value"
        raise Problem(422, f"the note is not as described at /docs ({type(error).__name__}); {said}") from error
    if kind == EVENTS:
        values = sorted(values, key=lambda event: (event["time_s"], event["name"]))
        return _noted(request, row.id, kind, values, after)
    findings = JobFindings(jobs, done_job(request, row.id))
    findings.check_tracks(one["track_id"] for one in values)
    if kind == PEOPLE:
        values = Corrections.from_values(values).to_values()
    else:
        values = spans_to_values(spans_from_values(values, findings.table.labels))
    return _noted(request, row.id, kind, values, after)


def _put_truth(request: Request, name: str, text: bytes) -> JSONResponse:
    findings = JobFindings(jobs_of(request), done_job(request, name))
    spans = findings.read_spans(text)
    findings.check_tracks(span.track_id for span in spans)
    values = spans_to_values(spans)
    return _noted(request, name, TRUTH, values, findings.note(TRUTH).number)


def _noted(request: Request, name: str, kind: str, values: list[dict[str, Any]], after: int) -> JSONResponse:
    note = jobs_of(request).store.add_note(name, kind, values, after=after)
    if note is None:
        raise Problem(409, "somebody changed the note meanwhile; get it again, and change that")
    return _answer(kind, note)


def _answer(kind: str, note: Note) -> JSONResponse:
    made = None if note.made is None else datetime.fromtimestamp(note.made, UTC).isoformat(timespec="seconds")
    told = made and made.replace("+00:00", "Z")
    value = {"kind": kind, "number": note.number, "made": told, "undoable": note.undoable, "value": list(note.value)}
    return JSONResponse(value)
