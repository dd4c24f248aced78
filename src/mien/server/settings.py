"""The settings of the server: each field is an option of `mien serve`, a MIEN_… variable and a row in docs/server.md.

Type and default stand at the field, the meaning in the docstring: help and documentation are made from both.
"""

import ipaddress
import os
import types
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self, get_type_hints

from mien.analyzer import DEFAULT_DETECTOR
from mien.errors import InputError, shown
from mien.models.catalogue import DEFAULT_MODEL
from mien.models.prior import NATURAL

PREFIX = "MIEN_"
MEBI = 1 << 20
MEGA = 1_000_000
LEAST_TOKEN = 16  # characters; shorter ones can be guessed
LOCAL_NAMES = ("localhost",)
PANELS = {
    "Listening": ("host", "port", "source"),
    "Who may come in": (
        "token", "insecure", "allowed_hosts", "trusted_proxies", "url_allowed", "allow_private",
    ),
    "Models": ("model", "detector", "detectors", "labels", "prior", "device"),
    "Load": ("workers", "waiting", "batch_wait_ms", "streams", "streams_per_client", "rate", "grace_s"),
    "Limits": (
        "max_body_mb", "bodies_mb", "max_images", "max_pixels_mp", "max_stream_pixels_mp", "stream_idle_s",
        "stream_max_s", "body_timeout_s", "request_timeout_s",
    ),
    "Videos": (
        "data_dir", "database", "job_workers", "jobs_waiting", "jobs_kept", "job_timeout_s", "keep_s", "max_video_mb",
        "max_video_s", "max_frames",
    ),
}  # fmt: skip
AT_LEAST_ONE = (
    "workers", "waiting", "streams", "streams_per_client", "max_body_mb", "bodies_mb", "max_video_mb", "max_pixels_mp",
    "max_stream_pixels_mp", "max_images", "max_frames", "jobs_waiting", "jobs_kept", "body_timeout_s",
    "job_timeout_s", "stream_idle_s", "stream_max_s", "keep_s", "request_timeout_s",
)  # fmt: skip
SWITCHES = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
ZERO_OR_MORE = ("batch_wait_ms", "rate", "job_workers", "max_video_s", "grace_s")


@dataclass(frozen=True)
class ServerSettings:
    """How the server listens, what it loads and what it refuses.

    Attributes:
        host: Address to listen on. Any other than a loopback address needs a token, or the switch `insecure`.
        port: TCP port; 0 takes a free one.
        source: A camera (0), video or stream (rtsp://…) that the server itself shows at /video_feed.
        token: Secret that clients must send, at least 16 characters; a variable is safer than an option. The page's own
            files, /health and /ready need none.
        insecure: Listen on other addresses without a token.
        allowed_hosts: Names by which browsers reach the server, beside IP addresses and localhost; comma-separated.
            Web sockets may come from these names, or from the same host.
        trusted_proxies: Addresses of reverse proxies whose X-Forwarded-For and -Proto are believed; comma-separated.
        url_allowed: Fetch images from URLs that clients name.
        allow_private: Fetch from private addresses, too.
        model: Expression model: a name from the catalogue or the path of an ONNX file.
        detector: Face detector of requests that name none.
        detectors: Detectors that requests may name; comma-separated.
        labels: Label set of requests that name none; the model's first by default.
        prior: Shares of the expressions where the faces come from: natural, even, or a .csv or .json file of
            name,share; all answers are for these.
        device: Where the expression model runs: auto, cpu, cuda, …
        workers: Images worked on at once; 0: one more than there are cores.
        waiting: Pieces of work that may wait for a worker, of all clients together.
        batch_wait_ms: Longest wait of a face for others in its batch, milliseconds; 0 suits CPUs (a batch is then what
            came during the last one), 2 to 5 suit a GPU.
        max_body_mb: Largest request to /v1/analyze, MiB.
        bodies_mb: Most MiB that requests to /v1/analyze and their answers have in memory at once; one client may have
            half of them.
        max_video_mb: Largest video, MiB.
        max_video_s: Longest video, seconds; 0 for any.
        max_frames: Most frames a job analyzes.
        max_images: Most images of one request.
        max_pixels_mp: Largest image, and frame of a video, millions of pixels.
        max_stream_pixels_mp: Largest image of a live stream, millions of pixels.
        rate: Requests per second of one client, twice as many at once; 0 for any.
        streams: Live streams at once; viewers of the server's own camera count, too.
        streams_per_client: Live streams at once of one client.
        stream_idle_s: Seconds without a message after which a stream is ended.
        stream_max_s: Seconds after which a stream is ended in any case.
        body_timeout_s: Seconds a client may take for its request headers, stall in a body (of which 16 KiB per second
            must come), or take to read 64 KiB of an answer.
        request_timeout_s: Seconds one request may wait and run; after that it is answered with 503.
        data_dir: Folder of the videos and their results, and of the SQLite file.
        database: SQLAlchemy URL of the job list; a SQLite file in the data folder by default.
        job_workers: Videos worked on at once by each process; 0: it only accepts them, for others to work on.
        jobs_waiting: Videos that may wait.
        jobs_kept: Videos kept in all, done ones included.
        job_timeout_s: Seconds one video may take.
        keep_s: Seconds after which a done job and its files are removed.
        grace_s: Seconds that running requests get to finish when the server is stopped.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token: str = ""
    insecure: bool = False
    allowed_hosts: str = ""
    trusted_proxies: str = ""
    model: str = DEFAULT_MODEL
    detector: str = DEFAULT_DETECTOR
    labels: str = ""
    prior: str = NATURAL
    detectors: str = "mtcnn,haar,haar-alt2,none"
    device: str = "auto"
    workers: int = 0
    waiting: int = 256
    batch_wait_ms: float = 0.0
    source: str = ""
    url_allowed: bool = False
    allow_private: bool = False
    max_body_mb: int = 64
    bodies_mb: int = 512
    max_video_mb: int = 1024
    max_video_s: float = 4 * 3600.0
    max_frames: int = 500_000
    max_images: int = 64
    max_pixels_mp: float = 40.0
    max_stream_pixels_mp: float = 9.0
    rate: float = 100.0
    streams: int = 64
    streams_per_client: int = 40
    stream_idle_s: float = 120.0
    stream_max_s: float = 8 * 3600.0
    body_timeout_s: float = 10.0
    request_timeout_s: float = 120.0
    data_dir: Path = Path("mien-data")
    database: str = ""
    job_workers: int = 1
    jobs_waiting: int = 20
    jobs_kept: int = 200
    job_timeout_s: float = 6 * 3600.0
    keep_s: float = 24 * 3600.0
    grace_s: float = 20.0

    def __post_init__(self) -> None:
        """Check ranges, and that strangers find no open door."""
        if not 0 <= self.port <= 65535:
            raise InputError(f"port must be 0 to 65535, got {self.port}")
        if self.workers == 0:
            object.__setattr__(self, "workers", (os.cpu_count() or 1) + 1)
        for name in AT_LEAST_ONE:
            if not getattr(self, name) > 0:
                raise InputError(f"{name} must be more than 0, got {getattr(self, name)}")
        for name in ZERO_OR_MORE:
            if not getattr(self, name) >= 0:
                raise InputError(f"{name} must be 0 or more, got {getattr(self, name)}")
        if self.detector not in self.detector_names:
            raise InputError(
                f"detector {shown(self.detector)} must be one of detectors, got {shown(self.detectors)}; add it"
            )
        self._check_door()

    def _check_door(self) -> None:
        if self.token and (len(self.token) < LEAST_TOKEN or not self.token.isascii() or not self.token.isprintable()):
            raise InputError(
                f"token must have at least {LEAST_TOKEN} printable ASCII characters, "
                f"got {len(self.token)}; make one: python -c 'import secrets; print(secrets.token_urlsafe())'"
            )
        if not (is_loopback(self.host) or self.token or self.insecure):
            raise InputError(
                f"anybody who reaches {self.host} could use the server; set a secret with --token or MIEN_TOKEN, "
                "listen on 127.0.0.1, or say --insecure where the network itself keeps strangers out"
            )

    @property
    def detector_names(self) -> tuple[str, ...]:
        """The detectors that requests may name."""
        return _split(self.detectors)

    @property
    def host_names(self) -> tuple[str, ...]:
        """Names of the server that browsers may use, lower case."""
        return tuple(name.lower() for name in (*LOCAL_NAMES, *_split(self.allowed_hosts)))

    @property
    def proxies(self) -> tuple[str, ...]:
        """Addresses of the proxies that are believed."""
        return _split(self.trusted_proxies)

    @property
    def database_url(self) -> str:
        """SQLAlchemy URL of the job list."""
        return self.database or f"sqlite:///{self.data_dir.resolve() / 'jobs.sqlite'}"

    @property
    def max_pixels(self) -> int:
        """Largest image, pixels."""
        return int(self.max_pixels_mp * MEGA)

    @property
    def max_stream_pixels(self) -> int:
        """Largest image of a stream, pixels."""
        return int(self.max_stream_pixels_mp * MEGA)

    def to_environment(self) -> dict[str, str]:
        """Return the variables from which `from_environment` reads the same settings."""
        return {PREFIX + field.name.upper(): _text(getattr(self, field.name)) for field in fields(self)}

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None, **given: Any) -> Self:
        """Read the MIEN_… variables.

        Args:
            environment: Names and values; None takes those of the process.
            given: Fields that are set already and win; None stands for «not given».

        Raises:
            InputError: A value is not what it must be; the message names the variable.
        """
        known = os.environ if environment is None else environment
        kinds = get_type_hints(cls)
        values = {
            field.name: _value(PREFIX + field.name.upper(), known[PREFIX + field.name.upper()], kinds[field.name])
            for field in fields(cls)
            if known.get(PREFIX + field.name.upper(), "") != ""
        }
        return cls(**values | {name: value for name, value in given.items() if value is not None})


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches an address to listen on.

    Args:
        host: An IP address or a name.
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _text(value: object) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)


def _value(name: str, text: str, kind: type | types.UnionType) -> Any:
    try:
        return SWITCHES[text.strip().lower()] if kind is bool else kind(text)  # type: ignore[operator]
    except (ValueError, KeyError) as error:
        wanted = "1 or 0" if kind is bool else "a number"
        raise InputError(f"{name} must be {wanted}, got {shown(text)}; correct or unset it") from error
