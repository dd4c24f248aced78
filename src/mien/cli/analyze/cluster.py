"""`mien analyze --ray`: the sources go to a cluster, the rows into a Parquet data set."""

from collections.abc import Sequence
from dataclasses import replace

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from mien.analyzer import AnalyzerSettings
from mien.cli.analyze.request import Request
from mien.cli.console import FAILED, for_people, say, say_problem, say_written
from mien.cluster.result import ClusterProgress, ClusterResult
from mien.cluster.settings import ClusterSettings
from mien.errors import InputError
from mien.output.kinds import KINDS, TABLE
from mien.sources.images import STDIN, SourceSettings


def analyze_on_cluster(
    request: Request,
    sources: Sequence[str],
    settings: AnalyzerSettings,
    cluster: ClusterSettings,
    reading: SourceSettings,
    *,
    as_json: bool = False,
) -> None:
    """Analyze sources on a cluster and say what became of them.

    Args:
        request: What is wanted.
        sources: As given on the command line.
        settings: How every worker makes its analyzer.
        cluster: Which cluster.
        reading: Limits on images.
        as_json: Whether rows were asked for on standard output.

    Raises:
        InputError: What is wanted has no place in a data set.
        Exit: Some inputs failed.
    """
    from mien.cluster.run import analyze

    out = _check(request, sources, as_json=as_json)
    if not request.quiet:
        where = cluster.address or "RAY_ADDRESS, or this machine"
        say(f"on Ray ({where}); its usage report is switched off for clusters that mien starts")
    console = for_people()
    with Progress(
        TextColumn("analyzing"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(), console=console, transient=True, disable=request.quiet or not console.is_terminal,
    ) as bar:  # fmt: skip
        task = bar.add_task("", total=None, note="starting")

        def show(at: ClusterProgress) -> None:
            note = at.note or f"{at.workers} workers"
            bar.update(task, completed=at.done, total=at.known, note=note if at.all_known else f"{note}, counting")

        result = analyze(
            sources, out, cluster=cluster, settings=settings, video=replace(request.frames, threads=None),
            track=request.track, reading=reading, progress=show,
        )  # fmt: skip
    if not request.quiet:
        _tell(result)
    if result.failed:
        say_problem(
            f"{result.failed} of {result.images + result.videos} gave an error instead of a result: see `error`"
        )
        raise typer.Exit(FAILED)


def _check(request: Request, sources: Sequence[str], *, as_json: bool) -> str:
    """Return the folder of the data set.

    Raises:
        InputError: There is none, or something else is asked for, too.
    """
    if len(request.outputs) != 1:
        raise InputError("--ray needs one -o, the folder of a Parquet data set: -o faces/ or -o s3://bucket/faces")
    out = request.outputs[0]
    others = [ending for kind in KINDS for ending in kind.extensions if ending != ".parquet" or kind is not TABLE]
    if out.lower().endswith(tuple(others)):
        raise InputError(f"--ray writes a Parquet data set, which is a folder, not {out}; give -o faces/")
    asked = {
        "--json": as_json, "--summary": request.summary, "--timeline": request.timeline, "--moments": request.moments,
        "--truth": request.truth, "--interval": request.interval_s, "--baseline": request.track.baseline,
        "--people": request.track.people,
    }  # fmt: skip
    wrong = ", ".join(name for name, value in asked.items() if value)
    if wrong:
        raise InputError(f"{wrong} cannot be had with --ray; leave it out, or leave --ray out")
    if STDIN in sources:
        raise InputError("standard input (-) cannot go to a cluster; give a path")
    return out


def _tell(result: ClusterResult) -> None:
    done = f"{result.images:,} images and {result.videos:,} videos in {result.seconds:.1f} s"
    count = len(result.by_worker)
    workers = f" by {count} worker{'s' if count > 1 else ''}" if count else ""
    before = f"; {result.before:,} were done before" if result.before else ""
    crashes = f"; {result.crashes} workers were lost, and their work was done again" if result.crashes else ""
    say(f"{done}{workers}{before}{crashes}", to=for_people())
    say_written(result.out)
