"""`Engine`: one expression model for all clients, an analyzer per detector and label set, and the workers."""

import functools
import threading
from collections.abc import Callable, Hashable, Sequence

from mien._version import __version__
from mien.analyzer import Analyzer
from mien.detect.detector import Detector
from mien.detect.registry import create_detector
from mien.errors import InputError, MienError, MissingWeightsError
from mien.faces import ATTRIBUTES, KEEP_ALL, FaceFilter
from mien.models.card import ModelCard
from mien.models.catalogue import load_model
from mien.models.prior import as_prior
from mien.models.runtime import RuntimeSettings
from mien.server.settings import ServerSettings
from mien.server.web.problems import Problem
from mien.server.work.batching import BatchedModel, Batcher
from mien.server.work.turns import TurnTaking
from mien.server.work.workers import FairWorkers

FETCHERS = 16  # addresses that images are fetched from at once
FETCHES_PER_CLIENT = 4


class Engine:
    """What every request shares.

    Attributes:
        settings: The server's settings.
        workers: The threads for everything that takes time.
        fetchers: The threads that wait for other hosts.
        model: The expression model; the faces of all requests meet in it.
        prior: The shares of the expressions that all answers are for.
    """

    def __init__(self, settings: ServerSettings, *, on_batch: Callable[[int], None] | None = None) -> None:
        """Open the model and the default detector, so that the first request is as fast as the next.

        Args:
            settings: The server's settings.
            on_batch: Told the number of faces of each run of the network.

        Raises:
            MienError: The model, detector or label set cannot be used.
        """
        self.settings = settings
        model = load_model(settings.model, runtime=RuntimeSettings(device=settings.device))
        self.workers = FairWorkers(settings.workers, waiting=settings.waiting)
        self.fetchers = FairWorkers(FETCHERS, waiting=settings.waiting, each=FETCHES_PER_CLIENT, name="mien-fetch")
        self._batcher = Batcher(
            model,
            wait_s=settings.batch_wait_ms / 1000,
            at_work=lambda: max(1, self.workers.running),
            on_batch=on_batch,
        )
        self.model = BatchedModel(model, self._batcher)
        self.prior = as_prior(settings.prior)
        self._detectors: dict[str, Detector] = {}
        self._opening = threading.Lock()
        self.analyzer()

    @property
    def card(self) -> ModelCard:
        """What the model says about itself."""
        return self.model.card

    @property
    def labels(self) -> str:
        """The label set of requests that name none."""
        return self.model.card.label_set(self.settings.labels or None).key

    @property
    def model_hash(self) -> str:
        """Hash of the model's file."""
        return self.model.sha256

    @property
    def device(self) -> str:
        """Where the model runs."""
        return self.model.device

    def told_of(self, detector: str | None) -> dict[str, str]:
        """Return what analyzes, for people: name → value.

        Args:
            detector: The detector that was asked for; None for the server's default.
        """
        card = self.card
        measured = "; ".join(f"{one.head} {one.accuracy:.1%} of {one.split} (N {one.n:,})" for one in card.measured)
        told = {
            "Model": f"{card.name} {card.version} (sha256 {self.model_hash[:16]})",
            "Learnt from": card.data,
            "Right in": measured,
            "Detector": detector or self.settings.detector,
            "Prior": str(self.prior),
            "mien": __version__,
        }
        return {name: value for name, value in told.items() if value}

    def analyzer(
        self,
        *,
        detector: str | None = None,
        labels: str | None = None,
        keep: FaceFilter = KEEP_ALL,
        attributes: Sequence[str] = (),
    ) -> Analyzer:
        """Return the analyzer of a detector and label set.

        Args:
            detector: One of the names the server allows; None takes its default.
            labels: A label set of the model; None takes the server's default.
            keep: Which of the faces found are kept.
            attributes: Names of `mien.faces.ATTRIBUTES` that are measured.

        Raises:
            Problem: 422, the server does not offer it, or lacks the weights that an attribute needs.
        """
        found = self._detector(detector or self.settings.detector)
        try:
            return Analyzer(
                detector=found, model=self.model, labels=labels or self.settings.labels or None, keep=keep,
                prior=self.prior, attributes=attributes,
            )  # fmt: skip
        except (InputError, MissingWeightsError) as error:
            raise Problem(422, str(error)) from error

    def patient_analyzer(
        self,
        client: Hashable,
        *,
        detector: str | None,
        labels: str | None,
        keep: FaceFilter = KEEP_ALL,
        attributes: Sequence[str] = (),
    ) -> Analyzer:
        """Return an analyzer for work in the background: its searches take turns with everybody's in the workers.

        Args:
            client: Whose turns they are.
            detector: As for `analyzer`.
            labels: As for `analyzer`.
            keep: As for `analyzer`.
            attributes: As for `analyzer`.
        """
        plain = self.analyzer(detector=detector, labels=labels)
        return Analyzer(
            detector=TurnTaking(plain.detector, self.workers, client),
            model=self.model,
            labels=plain.labels.key,
            keep=keep,
            prior=self.prior,
            attributes=attributes,
        )

    @functools.cached_property
    def ready_attributes(self) -> tuple[str, ...]:
        """The attributes whose weights are here, so that clients may ask for them."""
        ready = []
        for name in ATTRIBUTES:
            try:
                measures = self.analyzer(attributes=(name,)).measures
            except (MienError, Problem):
                continue
            if measures is not None and measures.names:
                ready.append(name)
        return tuple(ready)

    @functools.cached_property
    def ready_detectors(self) -> tuple[str, ...]:
        """The detectors that this server offers and that are installed."""
        ready = []
        for name in self.settings.detector_names:
            try:
                self._detector(name)
            except MienError:
                continue
            ready.append(name)
        return tuple(ready)

    def close(self) -> None:
        """End the threads, when what runs is done."""
        self.fetchers.close()
        self.workers.close()
        self._batcher.close()

    def _detector(self, name: str) -> Detector:
        if name not in self.settings.detector_names:
            raise Problem(
                422, f"detector must be one of {', '.join(self.settings.detector_names)}, got {name!r}; see /v1/models"
            )
        with self._opening:
            if name not in self._detectors:
                self._detectors[name] = create_detector(name)
            return self._detectors[name]
