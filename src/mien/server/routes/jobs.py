"""The addresses of jobs: /v1/jobs and below."""

import asyncio
import hashlib
import json
import shutil
from collections.abc import Awaitable
from pathlib import Path
from typing import IO, Annotated, Literal, TypeVar

from fastapi import APIRouter, Header, Request
from fastapi import Path as InPath
from fastapi.responses import FileResponse, JSONResponse, Response
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool

from mien.errors import FrameSizeError, MienError, require_extra
from mien.server.settings import MEBI
from mien.server.web.described import FEW_PROBLEMS, JOB_BODY, PROBLEMS, problems
from mien.server.web.forms import FormReader, Part, media_type_of
from mien.server.web.problems import Problem, busy
from mien.server.web.schemas import Job, JobList, JobOptions
from mien.server.web.security import client_of
from mien.server.work.jobs import FILES, UPLOAD, Jobs, is_ended
from mien.server.work.store import DONE, QUEUED, JobRow, new_id

CONTAINERS = {  # what FFmpeg calls them; play lists are not among them
    "mov", "matroska", "mpegts", "mpeg", "mpegvideo", "avi", "flv", "asf", "ogg", "gif", "apng", "yuv4mpegpipe",
    "h264", "hevc", "ivf", "mjpeg", "nut", "mxf", "rm", "dv",
}  # fmt: skip
Kind = Literal["csv", "jsonl", "parquet", "mp4"]
Name = Annotated[str, InPath(pattern="^[0-9a-f]{32}$", description="The job's id.")]
ListKey = Annotated[
    str,
    Header(
        alias="Mien-List",
        min_length=16,
        max_length=128,
        description="A secret of your own, which makes a list of your own; without it, the list is everybody's.",
    ),
]
MEDIA_TYPES = {
    "csv": "text/csv; charset=utf-8",
    "jsonl": "application/x-ndjson",
    "parquet": "application/vnd.apache.parquet",
    "mp4": "video/mp4",
    "summary": "application/json",
}
VIDEO_TYPES = {
    ".mp4": "video/mp4", ".m4v": "video/mp4", ".mov": "video/quicktime", ".webm": "video/webm",
    ".mkv": "video/x-matroska", ".avi": "video/x-msvideo", ".ts": "video/mp2t", ".mpg": "video/mpeg",
    ".mpeg": "video/mpeg", ".ogv": "video/ogg", ".wmv": "video/x-ms-wmv", ".flv": "video/x-flv", ".3gp": "video/3gpp",
}  # fmt: skip
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_GONE = problems(409, 416)

T = TypeVar("T")

router = APIRouter(tags=["videos"])


def jobs_of(request: Request) -> Jobs:
    """Return the jobs of the application."""
    jobs: Jobs = request.app.state.jobs
    return jobs


@router.post(
    "/v1/jobs",
    status_code=202,
    response_model=Job,
    responses={**PROBLEMS, **problems(507)},
    openapi_extra={"requestBody": JOB_BODY},
    summary="Send a video to be analyzed",
)
async def create(request: Request, key: ListKey = "") -> JSONResponse:
    """Take in a video; the answer names the job, whose address tells how far it is."""
    jobs = jobs_of(request)
    if media_type_of(request) != "multipart/form-data":
        raise Problem(415, "send the video as a form, multipart/form-data: curl -F file=@video.mp4 …/v1/jobs")
    await run_in_threadpool(_check_room, jobs)
    name = new_id()
    folder = jobs.files.of(name)
    try:
        with jobs.incoming(client_of(request.scope)):
            part, options = await _in_time(_receive(request, jobs, folder), jobs.settings.job_timeout_s)
        suffix = _suffix_of(part)
        await run_in_threadpool(_check_video, folder / UPLOAD, jobs, options)
        row = await run_in_threadpool(_add, jobs, part, suffix, options, name, _list_of(key))
    except BaseException:
        await run_in_threadpool(shutil.rmtree, folder, ignore_errors=True)
        raise
    jobs.wake()
    value = await run_in_threadpool(jobs.to_dict, row)
    return JSONResponse(value, 202, {"Location": f"/v1/jobs/{name}"})


@router.get("/v1/jobs", response_model=JobList, responses=FEW_PROBLEMS, summary="List the jobs")
def listed(request: Request, key: ListKey = "") -> JSONResponse:
    """Return the jobs of a list, the newest first. Each of them is also known to whoever knows its id."""
    jobs = jobs_of(request)
    return JSONResponse({"jobs": [jobs.to_dict(row) for row in jobs.store.all(list_id=_list_of(key))]})


@router.get("/v1/jobs/{name}", response_model=Job, responses=FEW_PROBLEMS, summary="Tell how far a job is")
def told(request: Request, name: Name) -> JSONResponse:
    """Return one job."""
    return JSONResponse(jobs_of(request).to_dict(known_job(request, name)))


@router.delete(
    "/v1/jobs/{name}",
    response_model=Job,
    responses={
        204: {"description": "The job had ended; it and its files are removed."},
        **FEW_PROBLEMS,
        **problems(403),
    },
    summary="Cancel or remove a job",
)
def delete(request: Request, name: Name, key: ListKey = "") -> Response:
    """Cancel a job that waits or runs: its files go, the job stays listed as cancelled. Remove one that has ended."""
    jobs = jobs_of(request)
    row = owned_job(request, name, key)
    if is_ended(row):
        jobs.remove(row)
        return Response(status_code=204)
    jobs.store.cancel(name, keep_s=jobs.settings.keep_s)
    if row.state == QUEUED:
        jobs.files.remove(name)
    return JSONResponse(jobs.to_dict(known_job(request, name)))


@router.post(
    "/v1/jobs/{name}/again",
    status_code=202,
    response_model=Job,
    responses={**FEW_PROBLEMS, **problems(403, 409)},
    summary="Try a job that failed once more",
)
def again(request: Request, name: Name, key: ListKey = "") -> JSONResponse:
    """Put a job that failed into the queue again; the video need not be sent a second time."""
    jobs = jobs_of(request)
    row = owned_job(request, name, key)
    if not jobs.files.video(row).is_file() or not jobs.store.again(name):
        raise Problem(409, f"only a job that failed can be tried again; this one is {row.state}, or its video is gone")
    jobs.wake()
    return JSONResponse(jobs.to_dict(known_job(request, name)), 202)


@router.get(
    "/v1/jobs/{name}/result.{kind}",
    response_class=FileResponse,
    responses={
        200: {"content": {media.partition(";")[0]: _BINARY for media in MEDIA_TYPES.values()}},
        **FEW_PROBLEMS,
        **_GONE,
    },
    summary="Download a result",
)
def result(request: Request, name: Name, kind: Kind) -> Response:
    """Return the table of all faces as CSV, JSON lines or Parquet, or the annotated video."""
    return _file(request, name, kind)


@router.get(
    "/v1/jobs/{name}/summary",
    response_class=JSONResponse,
    responses={**FEW_PROBLEMS, **_GONE},
    summary="Get the summary of a video",
)
def summary(request: Request, name: Name) -> Response:
    """Return the shares of time, changes and spans of each person."""
    return _file(request, name, "summary")


@router.get(
    "/v1/jobs/{name}/video",
    response_class=FileResponse,
    responses={200: {"content": {"video/mp4": _BINARY}}, **FEW_PROBLEMS, **_GONE},
    summary="Get the video itself",
)
def video(request: Request, name: Name) -> Response:
    """Return the video as it was sent; players may ask for ranges."""
    jobs, row = jobs_of(request), known_job(request, name)
    path = jobs.files.video(row)
    if not path.is_file():
        raise Problem(409, "the video of this job is not kept")
    return FileResponse(path, media_type=VIDEO_TYPES.get(row.suffix, "application/octet-stream"))


def known_job(request: Request, name: str) -> JobRow:
    """Return a job.

    Raises:
        Problem: 404, there is none of that id.
    """
    row = jobs_of(request).store.get(name)
    if row is None:
        raise Problem(404, "there is no job of that id; it may have expired")
    return row


def _list_of(key: str) -> str:
    """Return the list that a key opens; the database does not have the key itself."""
    return hashlib.sha256(key.encode()).hexdigest() if key else ""


def owned_job(request: Request, name: str, key: str) -> JobRow:
    """Return a job that whoever sent the key may change.

    Raises:
        Problem: 404, there is none of that id; 403, it stands in another list.
    """
    row = known_job(request, name)
    if row.list_id not in ("", _list_of(key)):
        raise Problem(403, "this video stands in somebody else's list, so only they can change or remove it")
    return row


def _file(request: Request, name: str, kind: str) -> Response:
    jobs, row = jobs_of(request), known_job(request, name)
    path = jobs.files.of(name) / FILES[kind]
    if row.state != DONE:
        raise Problem(409, f"the job is {row.state}, so there is no result; ask for one whose state is done")
    if not path.is_file():
        raise Problem(409, f"this job has no {kind}; its results name what there is")
    media = MEDIA_TYPES[kind]
    if kind == "summary":
        return FileResponse(path, media_type=media)
    return FileResponse(path, media_type=media, filename=f"{Path(row.source).stem}.{kind}")


# Taking in a video.


def _check_room(jobs: Jobs) -> None:
    counts = jobs.store.counts()
    if counts[QUEUED] >= jobs.settings.jobs_waiting:
        raise busy(f"{counts[QUEUED]} videos wait already; try again later", retry_after_s=60)
    if sum(counts.values()) >= jobs.settings.jobs_kept:
        raise busy("the server keeps no more jobs; remove old ones: DELETE /v1/jobs/{id}", retry_after_s=600)


async def _in_time(receiving: Awaitable[T], most_s: float) -> T:
    try:
        async with asyncio.timeout(most_s):
            return await receiving
    except TimeoutError as error:
        raise Problem(408, f"the video took longer than {most_s:g} s to come; send a smaller one") from error


async def _receive(request: Request, jobs: Jobs, folder: Path) -> tuple[Part, JobOptions]:
    opened: list[IO[bytes]] = []

    def open_file() -> IO[bytes]:
        folder.mkdir(parents=True)
        opened.append((folder / UPLOAD).open("xb"))
        return opened[-1]

    try:
        reader = FormReader(request, limit=jobs.settings.max_video_mb * MEBI, max_files=1, open_file=open_file)
        parts = await reader.read()
    finally:
        for file in opened:
            await run_in_threadpool(file.close)
    video = next((part for part in parts if part.file_name is not None), None)
    if video is None or not video.size:
        raise Problem(422, "the form has no video; send one: curl -F file=@video.mp4 …/v1/jobs")
    return video, _options_of(parts, jobs)


def _options_of(parts: list[Part], jobs: Jobs) -> JobOptions:
    text = next((part.text for part in parts if part.name == "options" and part.file_name is None), "") or "{}"
    try:
        return JobOptions.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Problem(422, f"options are not as described at /docs: {where} {first['msg']}") from error


def _suffix_of(part: Part) -> str:
    suffix = Path(part.file_name or "").suffix.lower()
    return suffix if suffix in VIDEO_TYPES else ""


def container_of(path: Path) -> str:
    """Return FFmpeg's name of a video's format, found out in a way that opens nothing but this file.

    A play list names other files and addresses, and FFmpeg would open them. Here it has one open file and no protocol.

    Args:
        path: The file. Its name must not matter to FFmpeg, so it has no extension.

    Raises:
        Problem: 422, it is no video by its content.
    """
    av = require_extra("video", "av")
    try:
        with path.open("rb") as file, av.open(file, options={"protocol_whitelist": "none"}) as container:
            return str(container.format.name).partition(",")[0]
    except (av.FFmpegError, OSError, ValueError) as error:
        raise Problem(422, "the file is not a video that FFmpeg can read, or is cut off; check it") from error


def _check_video(path: Path, jobs: Jobs, options: JobOptions) -> None:
    """Refuse at once what is no video, too long a one, or one that lacks what is asked of it."""
    from mien.sources.videos import Video, VideoSettings

    settings = jobs.settings
    kind = container_of(path)
    if kind not in CONTAINERS:
        raise Problem(422, f"videos come as {', '.join(sorted(CONTAINERS))}; this is {kind}; convert it to MP4")
    try:
        with Video(path, VideoSettings(stream=options.stream, max_pixels=settings.max_pixels)) as video:
            info = video.info
    except FrameSizeError as error:
        raise Problem(413, f"the frames of a video must have at most {settings.max_pixels:,} pixels") from error
    except MienError as error:
        said = str(error).replace(str(path), "the video")
        raise Problem(422, said) from error
    if info.duration_s is not None and options.start_s >= info.duration_s + 1:  # what it says may be a little wrong
        raise Problem(
            422,
            f"the video is {info.duration_s:.2f} s long; start_s must be less, got {options.start_s:g}",
        )
    if settings.max_video_s and (info.duration_s or 0) > settings.max_video_s:
        raise Problem(
            413, f"a video must last at most {settings.max_video_s:g} s, this one lasts {info.duration_s:.0f} s"
        )


def _add(jobs: Jobs, part: Part, suffix: str, options: JobOptions, name: str, list_id: str) -> JobRow:
    jobs.check(options)
    values = json.loads(options.model_dump_json(exclude_defaults=True))
    return jobs.store.add(part.file_name or "video", suffix, values, name=name, list_id=list_id)
