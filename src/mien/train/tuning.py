"""A search for better settings with Optuna (Akiba et al. 2019): pruned, resumable, with several workers."""

import csv
import io
import logging
import multiprocessing
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mien.datasets.dataset import CropDataset
from mien.errors import InputError, MissingExtraError, listed, require_extra
from mien.files import guarded_cells, write_whole
from mien.train.callbacks import EpochMetrics
from mien.train.hardware import Hardware
from mien.train.run import RunSettings, fit
from mien.train.settings import TrainSettings, settings_to_json, with_settings
from mien.train.targets import head_label_sets, training_crops

if TYPE_CHECKING:
    import optuna
    from matplotlib.figure import Figure

STUDY, TABLE, IMAGE, RECIPE = "study.db", "trials.csv", "tune.png", "best.json"
STUDY_NAME = "mien"
HEARTBEAT_S = 30  # a worker that is silent for twice as long is taken for dead, and its trial is run again
GRACE_S = 2 * HEARTBEAT_S
STOP_S = 30  # for a worker to end its step
STARTUP_TRIALS = 8  # drawn at random before the sampler models anything and anything is pruned

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, on a logarithmic scale if `log`."""

    low: float
    high: float
    log: bool = False

    def suggest(self, trial: "optuna.Trial", name: str) -> float:
        """Draw a value."""
        return trial.suggest_float(name, self.low, self.high, log=self.log)

    def holds(self, value: Any) -> bool:
        """Return whether a value is within."""
        return bool(self.low <= value <= self.high)

    def __str__(self) -> str:
        """Say it in words."""
        return f"{self.low:g} to {self.high:g}" + (", logarithmic" if self.log else "")


@dataclass(frozen=True)
class Choice:
    """One of some values."""

    values: tuple[str | int | float | bool, ...]

    def suggest(self, trial: "optuna.Trial", name: str) -> Any:
        """Draw a value."""
        return trial.suggest_categorical(name, self.values)

    def holds(self, value: Any) -> bool:
        """Return whether a value is one of them."""
        return value in self.values

    def __str__(self) -> str:
        """Say it in words."""
        return " or ".join(map(str, self.values))


Space = Mapping[str, Range | Choice]

SPACE: Space = {
    "lr": Range(0.005, 0.5, log=True),
    "weight_decay": Range(1e-5, 5e-3, log=True),
    "batch_size": Choice((64, 128, 256)),
    "label_smoothing": Range(0.0, 0.2),
    "ferplus_weight": Range(0.25, 3.0, log=True),
    "augment.rotate_deg": Range(0.0, 25.0),
    "augment.scale": Range(0.0, 0.3),
    "augment.shift": Range(0.0, 0.15),
    "augment.erase": Range(0.0, 0.7),
    "augment.mixup": Range(0.05, 1.0, log=True),
    "augment.mixup_share": Range(0.0, 1.0),
}


@dataclass(frozen=True)
class TrialRow:
    """One trial of a search.

    Attributes:
        number: From 0.
        state: `"complete"`, `"pruned"`, `"running"`, `"waiting"` or `"fail"`.
        score: The best validation score of its epochs, 0-1; None before the first.
        values: What was tried.
    """

    number: int
    state: str
    score: float | None
    values: dict[str, Any]


@dataclass(frozen=True)
class TuneResult:
    """What a search found.

    Attributes:
        trials: All trials, the best first.
        importance: Share of the score's variance that each setting explains (Hutter et al. 2014), the largest first;
            empty where too few trials were completed.
        recipe: JSON file with the best settings, for `mien train --recipe`.
    """

    trials: tuple[TrialRow, ...]
    importance: dict[str, float]
    recipe: Path


def chosen_space(names: tuple[str, ...]) -> Space:
    """Return a part of the space.

    Args:
        names: Settings to search; empty takes all.

    Raises:
        InputError: One is not in the space; the message lists those that are.
    """
    unknown = [name for name in names if name not in SPACE]
    if unknown:
        raise InputError(f"cannot search {listed(unknown)}; the space has {', '.join(SPACE)}")
    return {name: SPACE[name] for name in names or SPACE}


def tune(
    training: CropDataset,
    validation: CropDataset,
    *,
    out: Path,
    settings: TrainSettings | None = None,
    space: Space = SPACE,
    trials: int = 40,
    workers: int = 1,
    resume: bool = False,
    hardware: Hardware | None = None,
    report: Callable[[TrialRow, TrialRow], None] = lambda _row, _best: None,
) -> TuneResult:
    """Search for settings that do better on the validation split.

    Each trial is a run of `fit`; one whose score after some epoch is below the median of the earlier trials at that
    epoch is pruned. Trials are drawn by the tree-structured Parzen estimator (Bergstra et al. 2011). The folder gets
    `study.db` (SQLite), `trials.csv`, `tune.png` and `best.json`, and each trial's settings and figures. The same
    command with `resume`, here or in another process, goes on with the study; trials of dead workers are run again.

    Args:
        training: What the trials train on.
        validation: What scores them.
        out: Folder of the search.
        settings: Where the search starts from; what is outside the space stays as it is.
        space: What is searched.
        trials: How many trials the study shall have in the end.
        workers: Processes on this machine that run trials side by side.
        resume: Whether to go on with the study in `out`.
        hardware: Where and how each trial computes.
        report: Called after every trial of this process with it and the best so far.

    Returns:
        The trials, what mattered, and the best recipe.

    Raises:
        InputError: The folder holds a study and `resume` is not given, or there is none to resume, or no trial worked.
        MissingExtraError: Optuna is not installed.
    """
    require_extra("tune", "optuna")
    _open_folder(out, resume=resume)
    settings = settings or TrainSettings()
    searched = _fitting(space, training, settings)
    search = _Search(training, validation, out, settings, searched, trials, hardware or Hardware())
    with _quiet():
        _create_study(search)
        if workers > 1:
            _run_workers(search, workers)
        else:
            _work(search, search.settings.seed, report)
    return collect_result(out, search.settings)


def _fitting(space: Space, training: CropDataset, settings: TrainSettings) -> dict[str, Range | Choice]:
    """Leave out what makes no sense for these data: the weight of a second head, batches larger than the data."""
    heads, size = head_label_sets(training, settings), len(training_crops(training, settings))
    fitting = {name: values for name, values in space.items() if len(heads) > 1 or name != "ferplus_weight"}
    sizes = fitting.get("batch_size")
    if isinstance(sizes, Choice):
        fitting["batch_size"] = Choice(tuple(n for n in sizes.values if int(n) <= size) or (size,))
    return fitting


def _open_folder(out: Path, *, resume: bool) -> None:
    study = out / STUDY
    if resume and not study.is_file():
        raise InputError(f"nothing to resume: {out} holds no study; start without --resume")
    if not resume and study.exists():
        raise InputError(f"{out} holds a study already; go on with it (--resume) or choose another folder")
    out.mkdir(parents=True, exist_ok=True)


@dataclass(frozen=True)
class _Search:
    """What a worker needs to know."""

    training: CropDataset
    validation: CropDataset
    out: Path
    settings: TrainSettings
    space: dict[str, Range | Choice]
    trials: int
    hardware: Hardware


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence, within the block, Optuna's log and its notes that the heartbeat is experimental."""
    import optuna

    before = optuna.logging.get_verbosity()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        try:
            yield
        finally:
            optuna.logging.set_verbosity(before)


def _storage(out: Path) -> "optuna.storages.RDBStorage":
    from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback

    return RDBStorage(
        f"sqlite:///{(out / STUDY).absolute()}",
        engine_kwargs={"connect_args": {"timeout": 60}},
        heartbeat_interval=HEARTBEAT_S,
        grace_period=GRACE_S,
        heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(max_retry=2),
    )


def _create_study(search: _Search) -> None:
    import optuna

    study = optuna.create_study(
        storage=_storage(search.out), study_name=STUDY_NAME, direction="maximize", load_if_exists=True
    )
    if not study.trials:
        here = {name: _current(search.settings, name) for name in search.space}
        known = {name: value for name, value in here.items() if search.space[name].holds(value)}
        study.enqueue_trial(known)  # the settings to beat come first


def _current(settings: TrainSettings, name: str) -> Any:
    return getattr(settings.augment, name.removeprefix("augment.")) if "." in name else getattr(settings, name)


def _run_workers(search: _Search, workers: int) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=_work_apart, args=(search, search.settings.seed + number)) for number in range(workers)
    ]
    for process in processes:
        process.start()
    try:
        for process in processes:
            process.join()
    finally:
        for process in processes:
            process.terminate()
            process.join(STOP_S)
    if all(process.exitcode for process in processes):
        raise InputError("every worker failed; run with one worker (--workers 1) to see why")


def _work_apart(search: _Search, seed: int) -> None:
    with _quiet(), suppress(KeyboardInterrupt):
        _work(search, seed, lambda _row, _best: None)


def _work(search: _Search, seed: int, report: Callable[[TrialRow, TrialRow], None]) -> None:
    import optuna
    from optuna.study import MaxTrialsCallback
    from optuna.trial import TrialState

    counted = (TrialState.COMPLETE, TrialState.PRUNED)
    study = optuna.load_study(
        storage=_storage(search.out),
        study_name=STUDY_NAME,
        sampler=optuna.samplers.TPESampler(
            seed=seed, n_startup_trials=STARTUP_TRIALS, multivariate=True, constant_liar=True
        ),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=STARTUP_TRIALS, n_warmup_steps=search.settings.epochs // 4),
    )
    if len(study.get_trials(deepcopy=False, states=counted)) >= search.trials:
        return

    def tell(study: "optuna.Study", _trial: "optuna.trial.FrozenTrial") -> None:
        rows = _rows(study)
        report(next(row for row in rows if row.number == _trial.number), rows[0])

    study.optimize(lambda trial: _run_trial(search, trial), callbacks=[MaxTrialsCallback(search.trials, counted), tell])


def _run_trial(search: _Search, trial: "optuna.Trial") -> float:
    import optuna

    folder = search.out / f"trial-{trial.number:04d}"
    settings = with_settings(search.settings, {name: kind.suggest(trial, name) for name, kind in search.space.items()})
    best = 0.0

    def watch(metrics: EpochMetrics) -> None:
        nonlocal best
        best = max(best, metrics.score)
        trial.report(best, metrics.epoch)
        if trial.should_prune():
            raise optuna.TrialPruned

    try:
        fit(
            search.training, search.validation, out=folder, settings=settings, hardware=search.hardware,
            run=RunSettings(overwrite=True, curves=False, tensorboard=False), report=watch,
        )  # fmt: skip
    finally:
        for checkpoint in folder.glob("*.ckpt"):
            checkpoint.unlink(missing_ok=True)  # a search needs figures; `mien train --recipe` makes the weights
    return best


def _rows(study: "optuna.Study") -> list[TrialRow]:
    rows = []
    for trial in study.get_trials(deepcopy=False):
        reported = list(trial.intermediate_values.values())
        score = trial.value if trial.value is not None else (max(reported) if reported else None)
        rows.append(TrialRow(trial.number, trial.state.name.lower(), score, dict(trial.params)))
    return sorted(rows, key=lambda row: (row.state == "complete", row.score or 0.0), reverse=True)


def collect_result(out: Path, settings: TrainSettings) -> TuneResult:
    """Write and return what a study in a folder has found so far.

    Args:
        out: Folder of the search.
        settings: What the search started from.

    Raises:
        InputError: No trial was completed.
    """
    import optuna

    with _quiet():
        study = optuna.load_study(storage=_storage(out), study_name=STUDY_NAME)
        rows, importance = _rows(study), _importance(study)
    if not rows or rows[0].state != "complete":
        raise InputError(f"no trial in {out} was completed; give the search more trials (--trials)")
    recipe = out / RECIPE
    write_whole(recipe, settings_to_json(with_settings(settings, rows[0].values)))
    write_whole(out / TABLE, _table(rows))
    try:
        from mien.output.plots import save_figure

        save_figure(tune_figure(rows, importance), out / IMAGE)
    except MissingExtraError as error:
        logger.warning("no %s: %s", IMAGE, error)
    return TuneResult(tuple(rows), importance, recipe)


def _importance(study: "optuna.Study") -> dict[str, float]:
    import optuna

    completed = [t.value for t in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))]
    if len(completed) < 4 or len(set(completed)) < 2:
        return {}
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))


def _table(rows: list[TrialRow]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row.values))
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(guarded_cells(["trial", "state", "score", *names]))
    for row in rows:
        values = [row.values.get(name) for name in names]
        table.writerow(guarded_cells([row.number, row.state, row.score, *values]))
    return text.getvalue()


def tune_figure(rows: list[TrialRow], importance: Mapping[str, float]) -> "Figure":
    """Draw what mattered: the importance of each setting, and the score of every trial against its value.

    Args:
        rows: The trials.
        importance: Share of the score's variance by setting; empty leaves that panel to a note.
    """
    figures = require_extra("plots", "matplotlib.figure")
    names = list(importance) or list(rows[0].values)
    columns = 4
    lines = -(-(len(names) + 1) // columns)
    figure: Figure = figures.Figure(figsize=(3.4 * columns, 2.9 * lines), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    _draw_importance(axes[0], importance)
    for place, name in zip(axes[1:], names, strict=False):
        _draw_setting(place, name, rows)
    for place in axes[len(names) + 1 :]:
        place.axis("off")
    axes[1].legend(fontsize="small")
    return figure


def _draw_importance(axes: Any, importance: Mapping[str, float]) -> None:
    axes.set_title("what mattered", loc="left", fontweight="bold")
    if not importance:
        axes.text(0.5, 0.5, "too few completed trials", ha="center", va="center", transform=axes.transAxes)
        axes.axis("off")
        return
    names = list(importance)[::-1]
    axes.barh([name.removeprefix("augment.") for name in names], [importance[name] for name in names], color="#3470ba")
    axes.set_xlabel("share of the variance")
    axes.xaxis.set_major_formatter("{x:.0%}")
    axes.spines[["top", "right"]].set_visible(False)


def _draw_setting(axes: Any, name: str, rows: list[TrialRow]) -> None:
    kind = SPACE.get(name)
    shown = sorted({row.values[name] for row in rows if name in row.values})
    place = {value: number if isinstance(kind, Choice) else value for number, value in enumerate(shown)}
    for state, colour, mark, text in (("pruned", "#b0b4ba", "x", "pruned"), ("complete", "#d53e29", "o", "completed")):
        some = [row for row in rows if row.state == state and row.score is not None and name in row.values]
        values, scores = [place[row.values[name]] for row in some], [row.score for row in some]
        axes.scatter(values, scores, s=22, c=colour, marker=mark, label=text)
    if isinstance(kind, Choice):
        axes.set_xticks(range(len(shown)), [str(value) for value in shown])
        axes.set_xlim(-0.5, len(shown) - 0.5)
    elif isinstance(kind, Range) and kind.log and min(shown) > 0:
        axes.set_xscale("log")
    axes.set_title(name, loc="left")
    axes.set_ylabel("validation score")
    axes.yaxis.set_major_formatter("{x:.1%}")
    axes.grid(axis="y", alpha=0.4)
    axes.spines[["top", "right"]].set_visible(False)
