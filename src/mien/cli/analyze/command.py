"""`mien analyze`: what its options ask for, and which sources are videos."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from mien.analyzer import DEFAULT_DETECTOR, Analyzer, AnalyzerSettings
from mien.cli.analyze.folders import root_of, without_results
from mien.cli.analyze.images import analyze_images
from mien.cli.analyze.request import Request
from mien.cli.console import FAILED, errors, out, say_problem
from mien.cli.options import (
    MACHINE,
    AttributeOptions,
    DetectorOption,
    DetectorOptions,
    DrawOptions,
    KeepOptions,
    LabelSetOption,
    ModelOption,
    PriorOption,
    RuntimeOptions,
    Shown,
    read_baseline_later,
    say_guesses,
    with_groups,
    with_smallest,
)
from mien.cluster.settings import ClusterSettings
from mien.errors import InputError, MienError, MissingExtraError
from mien.models.catalogue import DEFAULT_MODEL
from mien.models.prior import NATURAL, as_prior
from mien.output.kinds import VIDEO
from mien.sources.addresses import is_http
from mien.sources.images import IMAGE_SUFFIXES, MAX_PIXELS, Item, Kind, SourceSettings, expand, passed_over
from mien.sources.videos import VIDEO_SUFFIXES, VideoSettings, is_video
from mien.tracking.settings import AUTO, TrackSettings

IMAGES_AND_VIDEOS = Kind("an image or video", "images and videos", IMAGE_SUFFIXES + VIDEO_SUFFIXES)
ADDRESS = re.compile(r"auto|local|ray://\S+|[\w.-]+:\d+|\[[0-9a-fA-F:]+\]:\d+")  # of a Ray cluster
VIDEOS, TRACKING, CLUSTER = "Videos", "Tracking faces in videos", "On a cluster"


def _seconds(option: str, text: str) -> float:
    from mien.video.truth import parse_time

    return parse_time(text.strip().removesuffix("s"), option)


Frames = Annotated[
    VideoSettings,
    Shown(
        VIDEOS,
        reads={"start_s": partial(_seconds, "--start"), "end_s": partial(_seconds, "--end")},
        every="--every",
        fps="--fps",
        start_s="--start",
        end_s="--end",
        max_frames="--max-frames",
        stream="--video-stream",
        hwaccel="--hwaccel",
    ),
]
Workers = Annotated[
    ClusterSettings,
    Shown(
        CLUSTER,
        cpus="--worker-cpus",
        gpus="--worker-gpus",
        images="--task-images",
        segment_s="--segment",
        retry_errors="--retry-errors",
        wait_s="--wait",
    ),
]
Tracking = Annotated[
    TrackSettings,
    Shown(
        TRACKING,
        reads={"baseline": read_baseline_later},
        half_life_s="--half-life",
        detect_every_s="--detect-every",
        reid="--reid",
        baseline="--baseline",
        people="--people",
        relative="--relative/--no-relative",
    ),
]


class WithAddress(TyperCommand):
    """Lets `--ray` stand without an address, also before a source."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Give a `--ray` that no address follows an empty one."""
        for at in reversed([number for number, word in enumerate(args) if word == "--ray"]):
            if not ADDRESS.fullmatch(args[at + 1] if at + 1 < len(args) else ""):
                args = [*args[: at + 1], "", *args[at + 1 :]]
        return super().parse_args(ctx, args)


@with_groups
def analyze(
    sources: Annotated[
        list[str],
        typer.Argument(
            help="Images and videos, folders, globs, http(s) URLs, or - for an image on standard input. With --ray "
            "s3:// and gs://, too, and lists of paths (.txt, .parquet).",
            show_default=False,
        ),
    ],
    frames: Frames,
    tracking: Tracking,
    style: DrawOptions,
    keep: KeepOptions,
    attributes: AttributeOptions,
    detecting: DetectorOptions,
    runtime: RuntimeOptions,
    cluster: Workers,
    output: Annotated[
        list[str] | None,
        typer.Option(
            "--output",
            "-o",
            help="Where results go: a table (.jsonl, .csv, .parquet), an annotated video (.mp4, .mkv, .mov, .webm) or "
            "image (.jpg, .png, .webp), or a folder (results/) for everything. May be repeated.",
        ),
    ] = None,
    labels: LabelSetOption = None,
    detector: DetectorOption = DEFAULT_DETECTOR,
    model: ModelOption = DEFAULT_MODEL,
    prior: PriorOption = NATURAL,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines, as when piped without -o.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but warnings and errors.")] = False,
    interval: Annotated[
        str | None,
        typer.Option(help="One row per person and interval (1s), not per face and frame.", rich_help_panel=VIDEOS),
    ] = None,
    summary: Annotated[
        Path | None, typer.Option(help="Who showed what, for how long: .csv, .json, .md or .txt, of all sources.")
    ] = None,
    timeline: Annotated[
        Path | None,
        typer.Option(help="Figure of the whole video: .png, .svg, .pdf or .html.", rich_help_panel=VIDEOS),
    ] = None,
    moments: Annotated[
        Path | None, typer.Option(help="Sheet of the strongest moments: .png, .jpg or .webp.", rich_help_panel=VIDEOS)
    ] = None,
    truth: Annotated[
        Path | None,
        typer.Option(
            help="CSV of what was really shown, with the columns start_s, end_s, expression (and track_id), or file, "
            "expression: it is drawn in gray, and the results are compared with it.",
            rich_help_panel=VIDEOS,
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where an earlier run stopped.", rich_help_panel=VIDEOS)
    ] = False,
    jobs: Annotated[
        int, typer.Option(min=0, help="Videos at once; 0: as many as --workers.", rich_help_panel=VIDEOS)
    ] = 0,
    workers: Annotated[
        str | None,
        typer.Option(
            help="How many images or videos are worked on at once, how many processes share a single video, or workers "
            "of a cluster: a number, or auto for one per core. Left out, it is auto, but a single video has one.",
            rich_help_panel=MACHINE,
            metavar="N|auto",
        ),
    ] = None,
    max_pixels: Annotated[
        int,
        typer.Option(
            min=1, help="Largest image, width x height; a JPEG above it is read reduced.", rich_help_panel=MACHINE
        ),
    ] = MAX_PIXELS,
    allow_private: Annotated[
        bool,
        typer.Option("--allow-private", help="Fetch URLs of private addresses, too.", rich_help_panel=MACHINE),
    ] = False,
    ray: Annotated[
        str | None,
        typer.Option(
            "--ray",
            metavar="[ADDRESS]",
            help="Work on a Ray cluster (host:6379), or on this machine's cores where no address is given; -o is the "
            "folder of a Parquet data set, and the same line again does what is missing.",
            rich_help_panel=CLUSTER,
        ),
    ] = None,
) -> None:
    """Find the faces of images and videos and say which expression each one shows.

    Exit code 0: all done; 1: some source failed (the rest is done and written); 2: wrong use; 130: stopped with Ctrl-C
    (what was done is written). An image without a face is a result.
    """
    shown, sharing = out.is_terminal and not quiet and not as_json, _workers(workers)
    files = bool(output or summary or timeline or moments)
    request = Request(
        replace(frames, allow_private=allow_private), tracking, style, tuple(output or ()),
        summary=summary, timeline=timeline, moments=moments, truth=truth, resume=resume,
        jobs=jobs or sharing or 0, workers=sharing,
        interval_s=_seconds("--interval", interval) if interval else None,
        rows=not quiet and (as_json or not (shown or files)), shown=shown, quiet=quiet, root=root_of(sources),
        measured=tuple(attributes.names),
    )  # fmt: skip
    finder, kept = replace(detecting, threads=runtime.threads), with_smallest(keep, detecting)
    settings = AnalyzerSettings(detector, model, labels, finder, runtime, kept, as_prior(prior), attributes)
    limits = SourceSettings(max_pixels=max_pixels, allow_private=allow_private)
    if not quiet:
        say_guesses(attributes.names)
    if ray is not None:
        from mien.cli.analyze.cluster import analyze_on_cluster

        cluster = replace(cluster, address=ray or None, workers=sharing or None)
        analyze_on_cluster(request, sources, settings, cluster, limits, as_json=as_json)
        return
    analyzer = settings.open()
    items = without_results(expand(sources, kind=IMAGES_AND_VIDEOS), sources, request.outputs)
    if not quiet:
        for line in passed_over(sources, kind=IMAGES_AND_VIDEOS):
            errors.print(line, style="yellow", markup=False, highlight=False)
    videos = _videos_among(items)
    if not videos:
        _check_without_videos(request, items)
    naming = analyzer if tracking.people in (None, AUTO) else _naming(analyzer, tracking.people, videos, items)
    images = partial(naming.map_items, settings=limits, workers=sharing or None)
    if videos:
        from mien.cli.analyze import videos as with_videos

        failed = with_videos.analyze(request, items, videos, analyzer=analyzer, settings=settings, images=images)
    else:
        failed = analyze_images(images(items), len(items), request, analyzer.labels)
    if failed:
        errors.print(f"{failed} of {len(items)} sources failed", style="red")
        raise typer.Exit(FAILED)


def _workers(text: str | None) -> int | None:
    """Return the number of `--workers`, 0 for auto; None where it was left out."""
    if text is None or text.strip() == AUTO:
        return None if text is None else 0
    if not text.strip().isdecimal():
        raise InputError(f"--workers must be a whole number, or auto for one per core, got {text[:60]!r}")
    return int(text)


def _naming(analyzer: Analyzer, people: str | None, videos: Mapping[int, str], items: Sequence[Item]) -> Analyzer:
    """Return the analyzer for images, which names people; videos read the same folder for themselves."""
    if len(videos) == len(items):
        return analyzer
    named = analyzer.naming(people)
    for problem in named.gallery.problems if named.gallery else ():
        say_problem(problem)
    return named


def _check_without_videos(request: Request, items: Sequence[Item]) -> None:
    """Refuse what is for videos only; a source that is missing, a video perhaps, is named first.

    Raises:
        MienError: The first source that is missing.
        InputError: An option or output makes sense for videos only.
    """
    asked = request.video_options()
    annotated = next((path for path in request.outputs if Path(path).suffix.lower() in VIDEO.extensions), None)
    missing = next((item.origin for item in items if isinstance(item.origin, MienError)), None)
    if missing and (asked or annotated):
        raise missing
    if asked:
        raise InputError(f"no video is among the sources, and {asked} is for videos only; leave it out for images")
    if annotated:
        raise InputError(
            f"{annotated} is a video, but no video is among the sources; give a folder for annotated images"
        )


def _videos_among(items: Sequence[Item]) -> dict[int, str]:
    """Return the place of each video among the items, and what `Video` opens."""
    names = ((number, _video_name(item)) for number, item in enumerate(items))
    return {number: name for number, name in names if name is not None}


def _video_name(item: Item) -> str | None:
    if isinstance(item.origin, str) and is_http(item.origin):
        path = item.origin.partition("?")[0].partition("#")[0]
        return item.origin if path.lower().endswith(VIDEO_SUFFIXES) else None
    if isinstance(item.origin, Path) or (isinstance(item.origin, Exception) and "%" in item.name):
        try:
            return item.name if is_video(item.name) else None
        except MissingExtraError:  # without PyAV a GIF is its first image
            return None
    return None
