"""The shapes of what people note of a video, and of the report they ask for."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from mien.video.corrections import LONGEST_NAME, MOST_CORRECTIONS
from mien.video.truth_table import MOST_SPANS

Seconds = Annotated[float, Field(allow_inf_nan=False, ge=0, le=10_000_000)]
TrackId = Annotated[int, Field(ge=0, le=1_000_000_000)]
Text = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)]
MOST_EVENTS = 2000
MOST_VIDEOS = 60


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class PersonNote(_Strict):
    """Who a track is, for all of its time or a part of it. Tracks with one name are one person."""

    track_id: TrackId
    person: Text
    start_s: Seconds | None = Field(default=None, description="From when on; null from the beginning.")
    end_s: Seconds | None = Field(default=None, description="Until when; null to the end.")


class TruthNote(_Strict):
    """What was really shown from one time to another: a row of the table of `mien analyze --truth`."""

    start_s: Seconds
    end_s: Seconds | None = Field(default=None, description="Null to the end.")
    expression: Text
    track_id: TrackId | None = Field(default=None, description="Null for every face.")


class EventNote(_Strict):
    """When something happened, a stimulus say."""

    time_s: Seconds
    name: Text


class NoteBody(_Strict):
    """What is noted anew; it takes the place of what was noted, which can be had back."""

    after: int = Field(ge=0, description="The `number` of what it changes; 0 where nothing was noted before.")
    value: list[PersonNote] | list[TruthNote] | list[EventNote] = Field(
        description="Of the kind that the address names.", max_length=max(MOST_CORRECTIONS, MOST_SPANS, MOST_EVENTS)
    )


class NoteAnswer(BaseModel):
    """What is noted of a video, beside its results, which stay as they are."""

    kind: Literal["people", "truth", "events"]
    number: int = Field(description="Number of the last change; 0 where nothing was noted.")
    made: str | None = Field(description="When that was, UTC, ISO 8601.")
    undoable: bool
    value: list[PersonNote] | list[TruthNote] | list[EventNote]


class ReportVideo(_Strict):
    """A video of a report."""

    job: str = Field(pattern="^[0-9a-f]{32}$")
    label: Annotated[str, Field(max_length=LONGEST_NAME)] | None = Field(default=None, description="What it is called.")
    group: Annotated[str, Field(max_length=LONGEST_NAME)] = Field(
        default="", description="Groups are compared by their means."
    )
    people: list[Text] | None = Field(
        default=None, max_length=200, description="Who of the video, by name or `#` and track number; null for all."
    )


class ReportBody(_Strict):
    """What a report shall show."""

    title: Annotated[str, Field(max_length=200)] = ""
    videos: list[ReportVideo] = Field(min_length=1, max_length=MOST_VIDEOS)
    event: Annotated[str, Field(max_length=LONGEST_NAME)] | None = Field(
        default=None, description="The event, noted of each video, that is time 0; null for the beginning of each."
    )
    before_s: Seconds = 2.0
    after_s: Seconds = 5.0
    expressions: list[Text] | None = Field(default=None, max_length=30, description="Null for all.")


class MeanCurve(BaseModel):
    """A group's mean, with a 95 % t interval over people; null where it is not known."""

    group: str
    n: int = Field(description="Of how many people.")
    mean: list[Any]
    low: list[Any]
    high: list[Any]


class PersonCurve(BaseModel):
    """What a person showed around the event."""

    video: str
    person: str
    group: str
    events: int
    probs: list[list[float | None]] = Field(description="Mean probability by bin of time and expression.")
    change: list[float | None] = Field(description="Mean after the event less that before, by expression.")


class AlignmentAnswer(BaseModel):
    """Videos and people side by side, aligned at an event."""

    event: str
    before_s: float
    after_s: float
    times_s: list[float] = Field(description="Middle of each bin, seconds after the event.")
    expressions: list[str]
    curves: list[PersonCurve]
    groups: list[MeanCurve]
    changes: list[MeanCurve]
    interval: str


class Score(BaseModel):
    """How often the answer is what was really shown: `TruthScore.to_dict` of the library."""

    model_config = ConfigDict(extra="allow")

    n: int = Field(description="Frames of faces with a known expression.")
    seconds: float
    accuracy: float | None
    accuracy_by_time: float | None
    macro_f1: float | None
    missed: int = Field(description="Frames with a known expression and no face.")
    per_class: dict[str, dict[str, Any]]
    expressions: list[str]
    confusion: list[list[int]] = Field(description="Frames; rows are the truth, columns the answer.")
