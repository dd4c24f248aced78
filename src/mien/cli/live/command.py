"""`mien live`: its options."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from mien.analyzer import DEFAULT_DETECTOR, AnalyzerSettings
from mien.cli.options import (
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
from mien.models.catalogue import DEFAULT_MODEL
from mien.models.prior import NATURAL, as_prior
from mien.sources.live import LiveSettings
from mien.tracking.settings import TrackSettings


@with_groups
def live(
    tracking: Annotated[
        TrackSettings,
        Shown(reads={"baseline": read_baseline_later}, half_life_s="--half-life", baseline="--baseline"),
    ],
    camera: Annotated[LiveSettings, Shown(fps="--fps", loop="--loop", stream="--video-stream")],
    style: DrawOptions,
    keep: KeepOptions,
    attributes: AttributeOptions,
    detecting: DetectorOptions,
    runtime: RuntimeOptions,
    source: Annotated[
        str, typer.Argument(help="Number of a camera, /dev/video0, an rtsp:// or http:// stream, or a video.")
    ] = "0",
    record: Annotated[
        Path | None, typer.Option(help="Annotated video: .mp4, .mkv, .mov, .webm.", show_default=False)
    ] = None,
    log: Annotated[
        Path | None, typer.Option(help="Table of all faces: .jsonl, .csv, .parquet.", show_default=False)
    ] = None,
    headless: Annotated[bool, typer.Option("--headless", help="Open no window; log and record only.")] = False,
    labels: LabelSetOption = None,
    detector: DetectorOption = DEFAULT_DETECTOR,
    model: ModelOption = DEFAULT_MODEL,
    prior: PriorOption = NATURAL,
    size: Annotated[
        str | None, typer.Option(help="Image size wanted of a camera, 640x480 say.", show_default=False)
    ] = None,
    seconds: Annotated[float | None, typer.Option(help="Stop after so many seconds.", show_default=False)] = None,
    mirror: Annotated[
        bool | None,
        typer.Option("--mirror/--no-mirror", help="Show a mirror image (default for cameras).", show_default=False),
    ] = None,
    allow_private: Annotated[
        bool, typer.Option("--allow-private", help="Let names and redirects lead to private addresses, too.")
    ] = False,
) -> None:
    """Show a camera, a stream or a video in real time, with everybody's expression.

    Keys in the window: q quit, space pause, s snapshot, r record, l label set, b bars, m mirror, h help. The newest
    frame is always the one analyzed. Ctrl-C ends it, too, and completes all files.

    Exit code 0: ended; 1: the camera or an output failed (what came before is written); 2: wrong use.
    """
    from mien.cli.live.show import LiveRequest, show

    request = LiveRequest(
        source=source, opening=replace(camera, allow_private=allow_private), size=size, record=record, log=log,
        headless=headless, seconds=seconds, mirror=mirror,
    )  # fmt: skip
    finder, kept = replace(detecting, threads=runtime.threads), with_smallest(keep, detecting)
    settings = AnalyzerSettings(detector, model, labels, finder, runtime, kept, as_prior(prior), attributes)
    say_guesses(attributes.names)
    show(request, settings, tracking, style)
