"""The shapes of requests and answers, for the description at /docs and for checking what clients send."""

from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from mien.errors import InputError
from mien.faces import ATTRIBUTES, PEOPLE, FaceFilter, known_attributes
from mien.tracking.settings import TrackSettings
from mien.video.baseline import read_baseline, with_baseline

ATTRIBUTES_ARE = f"What else is measured of faces: {', '.join(name for name in ATTRIBUTES if name != PEOPLE)}."
Number = Annotated[float, Field(allow_inf_nan=False)]


class ProblemDocument(BaseModel):
    """An error (RFC 9457)."""

    type: str = "about:blank"
    title: str = Field(examples=["Unprocessable Content"])
    status: int = Field(examples=[422])
    detail: str = Field(description="What must hold, what came, what to do.")


class FaceRecord(BaseModel):
    """A face of an image: the row of the command line, with one further number per expression, and the landmarks.

    Attributes that were asked for add their numbers, a `note` and, for `mesh`, its 468 points.
    """

    model_config = ConfigDict(extra="allow")

    source: str
    frame: int
    time_s: float
    face: int
    track_id: int | None
    x1: float
    y1: float
    x2: float
    y2: float
    score: float = Field(description="Score of the detector, 0-1.")
    expression: str | None
    confidence: float | None = Field(description="Probability of the expression, 0-1.")
    landmarks: list[tuple[float, float]] | None = Field(
        description="Left eye, right eye, nose, left and right mouth corner as the viewer sees them, pixels."
    )


class ImageAnswer(BaseModel):
    """What was found in one image, or why nothing was."""

    source: str
    width: int | None
    height: int | None
    faces: list[FaceRecord]
    error: ProblemDocument | None
    annotated: str | None = Field(description="data: URL of a JPEG with the faces drawn, where asked for.")
    reduced: int | None = Field(
        None, description="2, 4 or 8 where a JPEG above the limit was read at that fraction of its size; else null."
    )


class Analysis(BaseModel):
    """The answer to /v1/analyze; results come in the order of the images."""

    results: list[ImageAnswer]
    labels: list[str]
    ms: float = Field(description="Milliseconds that the server took.")


class EncodedImage(BaseModel):
    """An image in base64, with or without `data:…;base64,` before."""

    model_config = ConfigDict(extra="forbid")

    data: str = Field(min_length=1)
    name: str = Field(default="", max_length=500)


class AnalyzeBody(BaseModel):
    """Images in JSON."""

    model_config = ConfigDict(extra="forbid")

    images: list[EncodedImage | str] = Field(default_factory=list, description="Base64, or objects with a name.")
    urls: list[Annotated[str, Field(max_length=4000)]] = Field(
        default_factory=list, description="http(s) URLs that the server fetches, if it allows that."
    )


class Label(BaseModel):
    """An expression as a page shows it."""

    name: str
    emoji: str
    colour: str = Field(description="#rrggbb")


class FaceChoice(BaseModel):
    """Which of the faces that were found a client wants."""

    model_config = ConfigDict(extra="forbid")

    min_face: int = Field(default=0, ge=0, le=100_000, description="Drop faces smaller than this, pixels.")
    min_confidence: Number = Field(
        default=0.0, ge=0, le=1, description="Drop faces whose expression is less probable than this."
    )
    largest_only: bool = Field(default=False, description="Keep the largest face of an image or frame alone.")
    clip_boxes: bool = Field(default=False, description="Let boxes end where the image does.")

    def face_filter(self) -> FaceFilter:
        """Return the filter."""
        return FaceFilter(self.min_face, self.min_confidence, self.largest_only, self.clip_boxes)


class TrackingOptions(FaceChoice):
    """What clients may choose of which faces are kept, how they are tracked and what else is measured."""

    attributes: list[str] = Field(default_factory=list, max_length=len(ATTRIBUTES), description=ATTRIBUTES_ARE)
    half_life_s: Number | None = Field(default=None, ge=0, le=60)

    @field_validator("attributes")
    @classmethod
    def _check_attributes(cls, value: list[str]) -> list[str]:
        try:
            return list(known_attributes(value))
        except InputError as error:
            raise ValueError(str(error)) from error

    def track_settings(self) -> TrackSettings:
        """Return the settings, the usual ones where nothing else was asked for."""
        return TrackSettings() if self.half_life_s is None else TrackSettings(half_life_s=self.half_life_s)


class StreamSettings(TrackingOptions):
    """The text message with which a client of /v1/stream begins, and which it may send again at any time."""

    labels: str | None = None
    detector: str | None = None
    token: str | None = None


class JobOptions(TrackingOptions):
    """How a video is analyzed."""

    labels: str | None = None
    detector: str | None = None
    every: int = Field(default=1, ge=1, le=10_000, description="Analyze every n-th frame.")
    fps: Number | None = Field(default=None, gt=0, le=1000, description="Frames per second to analyze; None: all.")
    start_s: Number = Field(default=0.0, ge=0)
    end_s: Number | None = Field(default=None, gt=0)
    stream: int | None = Field(
        default=None, ge=0, le=1000, description="Number of the video stream, from 0; None: the best."
    )
    annotate: bool = Field(default=True, description="Whether to make the annotated video.")
    blur: bool = Field(default=False, description="Make faces in the annotated video unrecognisable.")
    bars: bool = Field(default=False, description="Draw all probabilities in the annotated video.")
    baseline: str | None = Field(
        default=None, max_length=40, description="Take out resting faces: `auto`, or when people rest, `0:02-0:06`."
    )
    people: Literal["auto"] | None = Field(
        default=None, description="Put the tracks of one person together, over cuts as well; docs/people.md."
    )
    keep_video: bool = Field(default=True, description="Keep the video for the player until the job expires.")

    @field_validator("baseline")
    @classmethod
    def _check_baseline(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                read_baseline(value)
            except InputError as error:
                raise ValueError(str(error)) from error
        return value

    def track_settings(self) -> TrackSettings:
        """Return the settings, with the baseline and the people that were asked for."""
        return replace(with_baseline(super().track_settings(), self.baseline), people=self.people)


State = Literal["queued", "running", "done", "failed", "cancelled"]


class JobProgress(BaseModel):
    """How far a job is."""

    frames: int
    total: int | None
    fps: float | None
    left_s: float | None


class Job(BaseModel):
    """A video and what became of it. Times are UTC, ISO 8601."""

    id: str
    state: State
    source: str
    created: str
    started: str | None
    finished: str | None
    expires: str | None
    progress: JobProgress
    options: dict[str, Any]
    error: ProblemDocument | None
    results: dict[str, str] = Field(description="Addresses by kind: csv, jsonl, parquet, mp4, summary, video.")


class JobList(BaseModel):
    """All jobs, the newest first."""

    jobs: list[Job]


class DetectorInfo(BaseModel):
    """A face detector."""

    name: str
    default: bool


class LabelSetInfo(BaseModel):
    """A label set."""

    key: str
    default: bool
    labels: list[Label]


class AttributeInfo(BaseModel):
    """What else can be measured of faces here."""

    name: str
    columns: list[str]


class ModelInfo(BaseModel):
    """The expression model."""

    name: str
    version: str
    sha256: str
    licence: str
    data: str
    device: str


class Limits(BaseModel):
    """What the server refuses, and what it offers."""

    max_body_bytes: int
    max_video_bytes: int
    max_video_s: float
    max_images: int
    max_pixels: int
    max_stream_pixels: int
    streams: int
    keep_s: float
    url_allowed: bool
    server_camera: bool
    jobs: bool
    token: bool


class Models(BaseModel):
    """What the server offers."""

    version: str
    models: list[ModelInfo]
    detectors: list[DetectorInfo]
    prior: str = Field(description="Shares of the expressions that all answers are for.")
    label_sets: list[LabelSetInfo]
    attributes: list[AttributeInfo]
    people: bool = Field(description="Whether videos can be asked who is who: the network was pulled.")
    limits: Limits


class SignedAddress(BaseModel):
    """An address that needs no token for a while."""

    address: str
    seconds: int


class Health(BaseModel):
    """That the process answers."""

    status: Literal["ok"]
    version: str


class Readiness(BaseModel):
    """Whether the server takes work now."""

    status: Literal["ready"]
    waiting: int
    streams: int
