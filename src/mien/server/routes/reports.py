"""Videos and people side by side: as values, and as a page to keep and to print."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool

from mien.errors import InputError, shown
from mien.server.routes.jobs import jobs_of
from mien.server.routes.notes import done_job, small_body
from mien.server.web.described import FEW_PROBLEMS, problems
from mien.server.web.note_schemas import AlignmentAnswer, ReportBody, ReportVideo
from mien.server.web.problems import Problem
from mien.server.work.findings import TRUTH, JobFindings
from mien.video.aligned import Alignment, ChosenVideo, TimeWindow, align
from mien.video.aligned_page import alignment_to_html

MOST_FRAMES = 1_000_000  # of all videos of a report together
REPORT_BODY = {
    "required": True,
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ReportBody"}}},
}
_PROBLEMS = {**FEW_PROBLEMS, **problems(408, 409, 413)}
_PAGE: dict[int | str, dict[str, Any]] = {200: {"content": {"text/html": {"schema": {"type": "string"}}}}}

router = APIRouter(tags=["reports"])


@router.post(
    "/v1/compare",
    response_model=AlignmentAnswer,
    responses=_PROBLEMS,
    openapi_extra={"requestBody": REPORT_BODY},
    summary="Compare videos and people around an event",
)
async def compare(request: Request) -> JSONResponse:
    """Return curves of people and means of groups, with 95 % t intervals over people, aligned at an event."""
    body = _read(await small_body(request))
    found, _ = await run_in_threadpool(_aligned, request, body)
    return JSONResponse(found.to_dict())


@router.post(
    "/v1/report",
    response_class=HTMLResponse,
    responses={**_PAGE, **_PROBLEMS},
    openapi_extra={"requestBody": REPORT_BODY},
    summary="Report on videos and people",
)
async def report(request: Request) -> Response:
    """Return one page that needs nothing else: what was measured, by which model, with which limits; to be printed."""
    body = _read(await small_body(request))
    text = await run_in_threadpool(_page, request, body)
    headers = {"Content-Disposition": 'attachment; filename="mien-report.html"'}
    return HTMLResponse(text, headers=headers)


def _read(body: bytes) -> ReportBody:
    try:
        return ReportBody.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise Problem(422, f"the report is not as described at /docs: {where} {first['msg']}") from error


def _aligned(request: Request, body: ReportBody) -> tuple[Alignment, list[tuple[ChosenVideo, JobFindings]]]:
    rows = [done_job(request, video.job) for video in body.videos]
    if sum(row.frames for row in rows) > MOST_FRAMES:
        raise Problem(413, f"the videos of a report have at most {MOST_FRAMES:,} frames together; compare fewer")
    jobs = jobs_of(request)
    found = [JobFindings(jobs, row) for row in rows]
    labels = found[0].table.labels
    if any(one.table.labels != labels for one in found):
        raise InputError("the videos have different label sets; compare those of one")
    chosen = [(_choice(video, one, body.event), one) for video, one in zip(body.videos, found, strict=True)]
    window = TimeWindow(body.before_s, body.after_s)
    return align([choice for choice, _ in chosen], labels, window=window, event=body.event or ""), chosen


def _choice(video: ReportVideo, findings: JobFindings, event: str | None) -> ChosenVideo:
    seen = findings.seen()
    events = () if event is None else findings.events(event)
    if event is not None and not events:
        raise InputError(f"{seen.source} has no event {shown(event)}; note it in the video, or leave the video out")
    people = None if video.people is None else frozenset(video.people)
    return ChosenVideo(seen, video.label or "", video.group, events, people)


def _page(request: Request, body: ReportBody) -> str:
    found, chosen = _aligned(request, body)
    scores = {choice.name: one.score() for choice, one in chosen if one.note(TRUTH).value}
    facts = _facts([one.about for _, one in chosen])
    return alignment_to_html(found, title=body.title, facts=facts, expressions=body.expressions, scores=scores)


def _facts(told: list[dict[str, str]]) -> dict[str, str]:
    """Return what analyzed the videos; where that differs, all that did."""
    facts = {
        name: " / ".join(dict.fromkeys(one.get(name, "not noted") for one in told))
        for name in dict.fromkeys(name for one in told for name in one)
    }
    return facts or {"Model": "not noted: the videos were analyzed by an earlier version of mien"}
