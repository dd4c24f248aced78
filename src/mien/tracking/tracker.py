"""Faces of videos and live streams: found, tracked, numbered, and their expressions smoothed over time."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.analyzer import Analyzer
from mien.errors import InputError, listed
from mien.faces import Faces, Frame
from mien.tracking._stages import in_stages
from mien.tracking.baseline import Baselines
from mien.tracking.box_tracker import BoxTracker, Memory, Prepared
from mien.tracking.settings import TrackSettings
from mien.tracking.smooth import RunningExpression, smooth

STATE_VERSION = 2
BATCH_SIZE, AHEAD = 8, 4
BATCH_BYTES = 32 << 20  # frames of a batch together: bounds the memory of large videos
BYTES_PER_PIXEL = 3  # of RGB, which any frame may become


@dataclass(frozen=True)
class _Stand:
    """Where a video stands after a frame."""

    memory: Memory
    running: Mapping[int, RunningExpression]
    frame_index: int | None = None


@dataclass(frozen=True)
class _Tracked:
    """A batch on its way: frames, their faces with what the model sees of them, and the memory after each."""

    frames: Sequence[Frame]
    faces: Sequence[Faces]
    memories: Sequence[Memory]
    crops: NDArray[np.uint8]


class Tracker:
    """Tracks the faces of one video or stream. Frames come in order; one thread at a time.

    Results do not depend on how the frames are cut into batches. With `settings.baseline` everybody's resting face is
    taken out as it is known by then: nothing at first, more with time. `mien.analyze_video` knows all of the video.

    Attributes:
        analyzer: Detector and expression model.
        settings: How faces are tracked and expressions smoothed.
        labels: The label set of the answers.
    """

    def __init__(self, analyzer: Analyzer, settings: TrackSettings | None = None, *, smoothing: bool = True) -> None:
        """Start before the first frame.

        Args:
            analyzer: Detector, expression model and label set; may be shared by any number of trackers.
            settings: None takes the defaults.
            smoothing: Whether faces get `smoothed` and `steady`; else that is left to somebody who sees more.

        Raises:
            InputError: The settings ask for `people`, who are known after the last frame only.
        """
        self.analyzer = analyzer
        self.settings = settings or TrackSettings()
        if self.settings.people is not None:
            raise InputError("who is who is known after the last frame only: use mien.analyze_video(people=…)")
        self.labels = analyzer.labels
        self._boxes = BoxTracker(analyzer.detector, self.settings)
        self._memory = Memory()
        self._running: Mapping[int, RunningExpression] = {}
        self._stand = _Stand(self._memory, self._running)
        self._baselines, self._smoothing = None, smoothing
        if self.settings.baseline is not None:
            self._baselines = Baselines(self.settings, self.labels, analyzer.model.card, analyzer.prior)

    @property
    def hidden(self) -> list[int]:
        """Numbers of the tracks that were not seen in the last frame but go on where their faces come back."""
        memory = self._stand.memory
        return [track.track_id for track in memory.tracks if track.seen_s != memory.time_s]

    @property
    def cuts(self) -> int:
        """How many cuts were found so far."""
        return self._stand.memory.cuts

    @property
    def searches(self) -> int:
        """In how many frames so far the whole frame was searched."""
        return self._stand.memory.searches

    def track(self, frames: Sequence[Frame]) -> list[Faces]:
        """Return the faces of the next frames; all of them go through the expression model in one batch.

        Args:
            frames: Any number of frames, in order.

        Returns:
            One `Faces` per frame with `track_id`, `probs` (of this frame), `smoothed` (over the track) and `steady`, in
            the order of the track's numbers; empty where there is no face.
        """
        placed = self._place(self._prepare(frames, self._memory.time_s))
        stands, results = self._express(self._measure(placed))
        if stands:
            self._stand = stands[-1]
        return results

    def _prepare(self, frames: Sequence[Frame], last_s: float | None) -> list[Prepared]:
        """Do what needs no memory but the time of the frame before."""
        prepared = []
        for frame in frames:
            prepared.append(self._boxes.prepare(frame, last_s))
            last_s = frame.time_s
        return prepared

    def _place(self, prepared: Sequence[Prepared]) -> _Tracked:
        """Find out where the faces are and whose they are."""
        faces, memories = [], []
        for one in prepared:
            self._memory, found = self._boxes.step(self._memory, one)
            faces.append(found)
            memories.append(self._memory)
        frames = [one.frame for one in prepared]
        return _Tracked(frames, faces, memories, self.analyzer.crops(frames, faces))

    def _measure(self, tracked: _Tracked) -> _Tracked:
        """Measure the attributes that were asked for."""
        return replace(tracked, faces=self.analyzer.measure(tracked.frames, tracked.faces, tracked.crops))

    def _express(self, tracked: _Tracked) -> tuple[list[_Stand], list[Faces]]:
        """Say what they show, smoothed."""
        probs = self.analyzer.model.predict_proba(tracked.crops, head=self.labels.key)
        expressed = self.analyzer.with_expressions(tracked.faces, probs)
        stands, results = [], []
        for frame, faces, memory in zip(tracked.frames, expressed, tracked.memories, strict=True):
            if self._baselines is not None:
                self._baselines.add(faces)
                faces = self._baselines.taken_out(faces)
            if self._smoothing:
                faces, self._running = smooth(faces, self._running, self.settings)
            kept = self.analyzer.keep.found(faces)
            results.append(self.analyzer.kept(kept, frame))
            stands.append(_Stand(memory, self._running, frame.index))
        return stands, results

    def state(self) -> dict[str, Any]:
        """Return where the video stands, after the last frame that `track` or `track_video` gave, as plain JSON values.

        `restore` goes on from there with the same numbers and the same smoothing. `frame` is the number of that frame,
        None before the first.

        Raises:
            InputError: The tracker has a `baseline`, of which nothing is kept.
        """
        if self._baselines is not None:
            raise InputError("a tracker with a baseline keeps no state; mien.analyze_video(baseline=…) can be resumed")
        return {
            "version": STATE_VERSION,
            "labels": list(self.labels.names),
            "frame": self._stand.frame_index,
            "memory": self._stand.memory.to_json(),
            "running": [[track_id, one.to_json()] for track_id, one in self._stand.running.items()],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken.

        Args:
            state: What `state` returned, perhaps by way of a JSON file.

        Raises:
            InputError: It is something else, or comes from another label set or version.
        """
        try:
            if state["version"] != STATE_VERSION or state["labels"] != list(self.labels.names):
                raise InputError(
                    f"the state must be of version {STATE_VERSION} with the labels {listed(self.labels.names)}, got "
                    f"version {state['version']} with {listed(state['labels'])}; start the video from the beginning"
                )
            running = {int(track_id): RunningExpression.from_json(one) for track_id, one in state["running"]}
            self._go_to(_Stand(Memory.from_json(state["memory"]), running, state["frame"]))
        except InputError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                f"the state is damaged ({type(error).__name__}: {error}); start the video from the beginning"
            ) from error

    def _go_to(self, stand: _Stand) -> None:
        self._stand, self._memory, self._running = stand, stand.memory, stand.running


def track_video(
    frames: Iterable[Frame], tracker: Tracker, *, batch_size: int = BATCH_SIZE, ahead: int = AHEAD
) -> Iterator[tuple[Frame, Faces]]:
    """Yield every frame of a video with its faces; reading, searching, tracking, expressions and the consumer overlap.

    Each of them runs in its own thread, and so does measuring attributes where they are asked for. After every frame
    `tracker.state()` is that after this frame, whatever is under way. Stopping early (closing the iterator) stops the
    threads as soon as the frame being read is there, and leaves the tracker after the last frame it gave.

    Args:
        frames: The video, read in another thread as it is needed.
        tracker: Starts where it stands.
        batch_size: Frames whose faces go through the expression model together; large frames fewer, so that a batch
            stays below 32 MiB.
        ahead: Batches that may be under way at once; bounds the memory.

    Raises:
        Exception: What reading raised, after all frames before it.
        InputError: `batch_size` or `ahead` is less than 1.
    """
    for name, value in (("batch_size", batch_size), ("ahead", ahead)):
        if value < 1:
            raise InputError(f"{name} must be at least 1, got {value}")
    return _track_video(_batches(frames, batch_size), tracker, ahead)


def _track_video(batches: Iterable["_Batch"], tracker: Tracker, ahead: int) -> Iterator[tuple[Frame, Faces]]:
    measuring = [partial(_measure, tracker)] if tracker.analyzer.measures else []
    steps: list[Callable[[Any], Any]] = [
        _Search(tracker), partial(_place, tracker), *measuring, partial(_express, tracker),
    ]  # fmt: skip
    lines = in_stages(batches, steps, ahead=ahead)
    try:
        for batch, stands, results in lines:
            for frame, stand, faces in zip(batch.frames, stands, results, strict=True):
                tracker._stand = stand
                yield frame, faces
            if batch.error is not None:
                raise batch.error
    finally:
        lines.close()
        tracker._go_to(tracker._stand)


@dataclass(frozen=True)
class _Batch:
    """Frames that go together, and what reading raised after them."""

    frames: Sequence[Frame]
    error: BaseException | None = None


def _batches(frames: Iterable[Frame], size: int) -> Iterator[_Batch]:
    """Yield the frames in batches; an error of the source rides behind the frames read before it."""
    batch: list[Frame] = []
    held = 0
    try:
        for frame in frames:
            batch.append(frame)
            pixels = frame.pixels.shape[0] * frame.pixels.shape[1]
            held += BYTES_PER_PIXEL * pixels
            if len(batch) >= size or held + BYTES_PER_PIXEL * pixels > BATCH_BYTES:
                yield _Batch(batch)
                batch, held = [], 0
    except Exception as error:
        yield _Batch(batch, error)
        return
    if batch:
        yield _Batch(batch)


class _Search:
    """The step that runs ahead: it knows the time of the frame before, and nothing else."""

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self._last_s = tracker._memory.time_s

    def __call__(self, batch: _Batch) -> tuple[_Batch, list[Prepared]]:
        prepared = self._tracker._prepare(batch.frames, self._last_s)
        if batch.frames:
            self._last_s = batch.frames[-1].time_s
        return batch, prepared


def _place(tracker: Tracker, item: tuple[_Batch, list[Prepared]]) -> tuple[_Batch, _Tracked]:
    batch, prepared = item
    return batch, tracker._place(prepared)


def _measure(tracker: Tracker, item: tuple[_Batch, _Tracked]) -> tuple[_Batch, _Tracked]:
    batch, tracked = item
    return batch, tracker._measure(tracked)


def _express(tracker: Tracker, item: tuple[_Batch, _Tracked]) -> tuple[_Batch, list[_Stand], list[Faces]]:
    batch, tracked = item
    return batch, *tracker._express(tracked)
