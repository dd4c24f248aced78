"""`mien serve`."""

import logging
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from mien.cli.console import errors, out
from mien.errors import require_extra

FAILED = 1
LISTEN, SAFETY, MODEL, LOAD, LIMITS, VIDEOS = "Listening", "Who may come in", "Models", "Load", "Limits", "Videos"


def _option(help: str, panel: str, name: str, *flags: str) -> Any:
    return typer.Option(*flags, help=help, rich_help_panel=panel, envvar=f"MIEN_{name}", show_envvar=True)


def serve(
    host: Annotated[str | None, _option("Address to listen on. \\[127.0.0.1]", LISTEN, "HOST")] = None,
    port: Annotated[int | None, _option("TCP port; 0: a free one. \\[8000]", LISTEN, "PORT")] = None,
    processes: Annotated[int, _option("Worker processes that share the port.", LISTEN, "PROCESSES")] = 1,
    source: Annotated[
        str | None,
        _option("A camera (0), video or stream (rtsp://…) that the server shows at /video_feed.", LISTEN, "SOURCE"),
    ] = None,
    token: Annotated[
        str | None,
        _option("Secret that clients must send; at least 16 characters. Better as variable.", SAFETY, "TOKEN"),
    ] = None,
    insecure: Annotated[
        bool | None, _option("Listen on other addresses without a token.", SAFETY, "INSECURE", "--insecure")
    ] = None,
    allowed_hosts: Annotated[
        str | None, _option("Names of this server in browsers, comma-separated.", SAFETY, "ALLOWED_HOSTS")
    ] = None,
    trusted_proxies: Annotated[
        str | None,
        _option("Addresses of reverse proxies whose X-Forwarded-For is believed.", SAFETY, "TRUSTED_PROXIES"),
    ] = None,
    url_allowed: Annotated[
        bool | None, _option("Fetch images from URLs that clients name.", SAFETY, "URL_ALLOWED", "--url-allowed")
    ] = None,
    allow_private: Annotated[
        bool | None, _option("Fetch from private addresses, too.", SAFETY, "ALLOW_PRIVATE", "--allow-private")
    ] = None,
    model: Annotated[str | None, _option("Expression model. \\[mien-b]", MODEL, "MODEL")] = None,
    detector: Annotated[str | None, _option("Face detector by default. \\[mtcnn]", MODEL, "DETECTOR")] = None,
    detectors: Annotated[
        str | None, _option("Detectors that clients may name. \\[mtcnn,haar,haar-alt2,none]", MODEL, "DETECTORS")
    ] = None,
    labels: Annotated[str | None, _option("Label set by default. \\[the model's first]", MODEL, "LABELS")] = None,
    device: Annotated[str | None, _option("auto, cpu, cuda, … \\[auto]", MODEL, "DEVICE")] = None,
    workers: Annotated[int | None, _option("Images worked on at once. \\[cores + 1]", LOAD, "WORKERS")] = None,
    waiting: Annotated[int | None, _option("Pieces of work that may wait. \\[256]", LOAD, "WAITING")] = None,
    batch_wait_ms: Annotated[
        float | None,
        _option("Longest wait of a face for others in its batch; 2 to 5 suit a GPU. \\[0]", LOAD, "BATCH_WAIT_MS"),
    ] = None,
    streams: Annotated[int | None, _option("Live streams at once. \\[64]", LOAD, "STREAMS")] = None,
    streams_per_client: Annotated[
        int | None, _option("Live streams of one client. \\[40]", LOAD, "STREAMS_PER_CLIENT")
    ] = None,
    rate: Annotated[float | None, _option("Requests/s of one client; 0: any. \\[100]", LOAD, "RATE")] = None,
    grace_s: Annotated[
        float | None, _option("Seconds for running requests when stopped. \\[20]", LOAD, "GRACE_S")
    ] = None,
    max_body_mb: Annotated[int | None, _option("Largest request, MiB. \\[64]", LIMITS, "MAX_BODY_MB")] = None,
    bodies_mb: Annotated[
        int | None, _option("All requests with images at once, MiB. \\[512]", LIMITS, "BODIES_MB")
    ] = None,
    max_images: Annotated[int | None, _option("Images per request. \\[64]", LIMITS, "MAX_IMAGES")] = None,
    max_pixels_mp: Annotated[
        float | None, _option("Largest image, megapixels. \\[40]", LIMITS, "MAX_PIXELS_MP")
    ] = None,
    max_stream_pixels_mp: Annotated[
        float | None, _option("Largest image of a stream, megapixels. \\[9]", LIMITS, "MAX_STREAM_PIXELS_MP")
    ] = None,
    stream_idle_s: Annotated[
        float | None, _option("Silence after which a stream ends. \\[120]", LIMITS, "STREAM_IDLE_S")
    ] = None,
    stream_max_s: Annotated[float | None, _option("Longest stream. \\[28800]", LIMITS, "STREAM_MAX_S")] = None,
    body_timeout_s: Annotated[
        float | None, _option("Seconds for each 64 KiB of a request. \\[10]", LIMITS, "BODY_TIMEOUT_S")
    ] = None,
    request_timeout_s: Annotated[
        float | None, _option("Seconds one request may take. \\[120]", LIMITS, "REQUEST_TIMEOUT_S")
    ] = None,
    data_dir: Annotated[Path | None, _option("Folder of the videos' files. \\[mien-data]", VIDEOS, "DATA_DIR")] = None,
    database: Annotated[
        str | None, _option("SQLAlchemy URL of the job list. \\[a file in data-dir]", VIDEOS, "DATABASE")
    ] = None,
    job_workers: Annotated[
        int | None, _option("Videos at once, per process; 0: none here. \\[1]", VIDEOS, "JOB_WORKERS")
    ] = None,
    jobs_waiting: Annotated[int | None, _option("Videos that may wait. \\[20]", VIDEOS, "JOBS_WAITING")] = None,
    jobs_kept: Annotated[int | None, _option("Videos kept in all. \\[200]", VIDEOS, "JOBS_KEPT")] = None,
    job_timeout_s: Annotated[
        float | None, _option("Seconds one video may take. \\[21600]", VIDEOS, "JOB_TIMEOUT_S")
    ] = None,
    keep_s: Annotated[float | None, _option("Seconds results are kept. \\[86400]", VIDEOS, "KEEP_S")] = None,
    max_video_mb: Annotated[int | None, _option("Largest video, MiB. \\[1024]", VIDEOS, "MAX_VIDEO_MB")] = None,
    max_video_s: Annotated[
        float | None, _option("Longest video, seconds; 0: any. \\[14400]", VIDEOS, "MAX_VIDEO_S")
    ] = None,
    max_frames: Annotated[int | None, _option("Most frames of a video. \\[500000]", VIDEOS, "MAX_FRAMES")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more.")] = False,
) -> None:
    """Serve the web page, the API and the jobs for videos; Ctrl-C stops it politely.

    The page is at /, the description of the API at /docs, and what a person should know at docs/server.md. Without
    further options only this machine reaches the server. Every option has an environment variable of the same name.

    Telling emotions from faces concerns people: ask them first. The EU AI Act (Article 5(1)(f)) forbids it at
    workplaces and in schools, except for medical or safety reasons.
    """
    given = {name: value for name, value in locals().items() if name not in ("processes", "verbose")}
    require_extra("server", "fastapi")
    require_extra("server", "sqlalchemy")
    from mien.server.run import serve as run
    from mien.server.settings import ServerSettings

    settings = ServerSettings.from_environment(**given)
    out.print(f"mien serves at [bold]{_address(settings.host, settings.port)}[/] (API: /docs)", highlight=False)
    if settings.insecure and not settings.token:
        errors.print("[yellow]no token: whoever reaches this address may use it[/]", highlight=False)
    if not run(settings, processes=processes, log_level=logging.INFO if verbose else logging.WARNING):
        errors.print(escape("the server could not start; is the port taken? see the messages above"), highlight=False)
        raise typer.Exit(FAILED)


def _address(host: str, port: int) -> str:
    shown = f"[{host}]" if ":" in host else host
    return escape(f"http://{shown}:{port}/")
