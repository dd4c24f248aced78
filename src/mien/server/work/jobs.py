"""Jobs: videos that are analyzed in the background. Each job has a folder of its own, which goes when the job goes."""

import json
import logging
import secrets
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mien.errors import MienError
from mien.files import write_whole
from mien.memory import give_back
from mien.server.settings import ServerSettings
from mien.server.web.metrics import Metrics
from mien.server.web.problems import Problem, busy, problem_of
from mien.server.web.schemas import JobOptions
from mien.server.work.engine import Engine
from mien.server.work.store import CANCELLED, DONE, ENDED, FAILED, JobRow, JobStore
from mien.server.work.videos import JobStoppedError, analyze_upload, video_settings

LEASE_S = 30.0
RENEW_S = 1.0  # progress is written as often
LOOK_S = 1.0  # how often an idle worker looks for videos that another server took in
TIDY_S = 30.0
MOST_ATTEMPTS = 3  # a video that ends the process each time must not do so for ever
ORPHAN_S = 3600.0  # a folder without a job may be one whose video is still coming in
MOST_INCOMING = 16  # videos at once that clients are sending
INCOMING_PER_CLIENT = 4
UPLOAD = "upload"
FILES = {
    "csv": "result.csv",
    "jsonl": "result.jsonl",
    "parquet": "result.parquet",
    "mp4": "result.mp4",
    "summary": "summary.json",
}
ABOUT = "about.json"  # what analyzed the video
ROUTES = {kind: f"result.{kind}" for kind in ("csv", "jsonl", "parquet", "mp4")} | {"summary": "summary"}

logger = logging.getLogger(__name__)


class JobFiles:
    """Where the files of jobs are."""

    def __init__(self, data_dir: Path) -> None:
        """Choose the folder.

        Args:
            data_dir: The server's folder.
        """
        self.folder = data_dir / "jobs"

    def of(self, name: str) -> Path:
        """Return the folder of a job. `name` comes from this server's own ids, never from a client."""
        return self.folder / name

    def video(self, row: JobRow) -> Path:
        """Return the path of a job's video."""
        return self.of(row.id) / UPLOAD

    def results(self, row: JobRow) -> dict[str, str]:
        """Return the addresses of what there is of a job, relative to the server's root."""
        base = f"/v1/jobs/{row.id}"
        found = {kind: f"{base}/{ROUTES[kind]}" for kind, file in FILES.items() if self._is_there(row, file)}
        if self.video(row).is_file():
            found["video"] = f"{base}/video"
        return found

    def _is_there(self, row: JobRow, file: str) -> bool:
        return row.state == DONE and (self.of(row.id) / file).is_file()

    def remove(self, name: str) -> None:
        """Remove all files of a job."""
        shutil.rmtree(self.of(name), ignore_errors=True)

    def orphans(self, known: set[str]) -> list[str]:
        """Return folders that belong to no job and are not new."""
        if not self.folder.is_dir():
            return []
        old = time.time() - ORPHAN_S
        return [path.name for path in self.folder.iterdir() if path.name not in known and _last_change(path) < old]


class Jobs:
    """The jobs of this server: its list, its files and the threads that work on them."""

    def __init__(self, settings: ServerSettings, engine: Engine, metrics: Metrics) -> None:
        """Open the list.

        Args:
            settings: Database, folder and limits.
            engine: Finds faces and expressions.
            metrics: Counts how jobs end.

        Raises:
            MienError: The database or the folder cannot be used.
        """
        self.settings = settings
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        self.store = JobStore(settings.database_url)
        self.files = JobFiles(settings.data_dir)
        self._engine = engine
        self._metrics = metrics
        self._owner = secrets.token_hex(8)
        self._stop = threading.Event()
        self._news = threading.Event()
        self._threads: list[threading.Thread] = []
        self._incoming: Counter[str] = Counter()

    def start(self) -> None:
        """Start the threads."""
        works = [self._work] * self.settings.job_workers + [self._tidy]
        self._threads = [threading.Thread(target=work, name="mien-jobs", daemon=True) for work in works]
        for thread in self._threads:
            thread.start()

    @contextmanager
    def incoming(self, client: str) -> Iterator[None]:
        """Hold a place for a video that comes in; for the event loop's thread only.

        Args:
            client: Who sends it.

        Raises:
            Problem: 503, too many come in at once; 429, too many of this client's.
        """
        if self._incoming.total() >= MOST_INCOMING:
            raise busy(f"{MOST_INCOMING} videos come in already; try again later", retry_after_s=30)
        if self._incoming[client] >= INCOMING_PER_CLIENT:
            most = INCOMING_PER_CLIENT
            raise busy(f"at most {most} videos come in of one client at once; wait", status=429, retry_after_s=30)
        self._incoming[client] += 1
        try:
            yield
        finally:
            self._incoming[client] -= 1
            self._incoming += Counter()  # drops the zeros

    def wake(self) -> None:
        """Tell the threads that there is a new job."""
        self._news.set()

    def stop(self) -> None:
        """Put back what is under way and end the threads."""
        self._stop.set()
        self._news.set()
        for thread in self._threads:
            thread.join()
        self.store.close()

    def to_dict(self, row: JobRow) -> dict[str, Any]:
        """Return a job as the API tells of it."""
        return {
            "id": row.id,
            "state": row.state,
            "source": row.source,
            "created": _utc(row.created),
            "started": _utc(row.started),
            "finished": _utc(row.finished),
            "expires": _utc(row.expires),
            "progress": {"frames": row.frames, "total": row.total, "fps": row.fps, "left_s": row.left_s},
            "options": row.options,
            "error": row.error,
            "results": self.files.results(row),
        }

    def check(self, options: JobOptions) -> None:
        """Refuse what the server does not offer, before a video waits for it.

        Raises:
            Problem: 422, there is no such detector or label set.
            InputError: The options contradict each other.
        """
        self._engine.analyzer(detector=options.detector, labels=options.labels, attributes=options.attributes)
        video_settings(options, name="", max_frames=self.settings.max_frames, max_pixels=self.settings.max_pixels)

    def remove(self, row: JobRow) -> None:
        """Remove a job and its files; whoever still works on it removes them himself when he notices."""
        self.store.remove(row.id)
        if row.state != CANCELLED or row.owner is None:
            self.files.remove(row.id)

    # The threads.

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                row = self.store.claim(self._owner, lease_s=LEASE_S)
                if row is not None:
                    self._do(row)
                    continue
            except Exception:
                logger.exception("the list of jobs failed")
            self._news.wait(LOOK_S)
            self._news.clear()

    def _do(self, row: JobRow) -> None:
        if row.attempts > MOST_ATTEMPTS:
            problem = Problem(
                500, f"the server ended {MOST_ATTEMPTS} times while it worked on this video; it is given up"
            )
            return self._finish(row, FAILED, problem.to_dict())
        watch = _Watch(self, row)
        try:
            broken = self._analyze(row, watch)
        except JobStoppedError:
            self._end_stopped(row, watch)
        except Exception as error:
            if watch.is_lost():  # whoever removed the job need not hear what its work then lacked
                self._end_stopped(row, watch)
            else:
                self._finish(row, FAILED, problem_of(_without_path(error, self.files.of(row.id))).to_dict())
        else:
            watch.close()
            self._finish(row, DONE, None if broken is None else Problem(422, broken).to_dict())
        finally:
            watch.close()

    def _analyze(self, row: JobRow, watch: "_Watch") -> str | None:
        """Do the work; return why the video broke off, if it did."""
        options = JobOptions(**row.options)
        broken = analyze_upload(
            self.files.video(row),
            name=row.source,
            analyzer=self._engine.patient_analyzer(
                row.id,
                detector=options.detector,
                labels=options.labels,
                keep=options.face_filter(),
                attributes=options.attributes,
            ),
            options=options,
            max_frames=self.settings.max_frames,
            max_pixels=self.settings.max_pixels,
            tell=watch.tell,
            stop=watch.stop,
        )
        told = json.dumps(self._engine.told_of(options.detector), ensure_ascii=False)
        write_whole(self.files.of(row.id) / ABOUT, told)
        if not options.keep_video:
            self.files.video(row).unlink(missing_ok=True)
        return broken

    def _end_stopped(self, row: JobRow, watch: "_Watch") -> None:
        if watch.why == TIME_OVER:
            limit = f"{self.settings.job_timeout_s:g} s"
            self._finish(row, FAILED, Problem(503, f"the video took longer than {limit}; send a shorter one").to_dict())
        elif watch.why == LOST:
            now = self.store.get(row.id)
            if now is None or now.state == CANCELLED:
                self.files.remove(row.id)
        else:
            self.store.put_back(row.id, self._owner)

    def _finish(self, row: JobRow, state: str, error: dict[str, Any] | None = None) -> None:
        if self.store.finish(row.id, self._owner, state, keep_s=self.settings.keep_s, error=error):
            self._metrics.jobs.labels(state).inc()
        elif (now := self.store.get(row.id)) is None or now.state == CANCELLED:
            self.files.remove(row.id)

    def _tidy(self) -> None:
        """Remove what has expired, and files that nothing belongs to."""
        while not self._stop.is_set():
            try:
                self.remove_expired()
            except Exception:
                logger.exception("removing expired jobs failed")
            give_back()
            self._stop.wait(TIDY_S)

    def remove_expired(self) -> None:
        """Remove jobs whose time is over, with their files, and folders of no job."""
        for name in self.store.expired():
            self.store.remove(name)
            self.files.remove(name)
        known = {row.id for row in self.store.all(limit=1_000_000)}
        for name in self.files.orphans(known):
            self.files.remove(name)


LOST, TIME_OVER, STOPPING = "lost", "time over", "stopping"


class _Watch:
    """Keeps a job's lease while it is worked on, and tells the work to stop: cancelled, out of time, or shutdown.

    In a thread of its own, so that a frame that takes long does not cost the lease.
    """

    def __init__(self, jobs: Jobs, row: JobRow) -> None:
        self.stop = threading.Event()
        self.why = ""
        self._jobs = jobs
        self._row = row
        self._progress: dict[str, float | None] = {}
        self._closed = threading.Event()
        self._until = time.monotonic() + jobs.settings.job_timeout_s
        self._thread = threading.Thread(target=self._work, name="mien-lease", daemon=True)
        self._thread.start()

    def tell(self, frames: int, total: int | None, fps: float | None, left_s: float | None) -> None:
        """Take down how far the work is."""
        self._progress = {"frames": frames, "total": total, "fps": fps, "left_s": left_s}

    def close(self) -> None:
        """Write how far the work is a last time and end the thread."""
        if not self._closed.is_set():
            self._closed.set()
            self._thread.join()
            self._reason()

    def is_lost(self) -> bool:
        """Return whether the job was cancelled, removed or taken over; notes it as the reason why the work ends."""
        if self._reason() == LOST:
            self.why = LOST
        return self.why == LOST

    def _work(self) -> None:
        while not self._closed.wait(RENEW_S):
            why = self._reason()
            if why and not self.stop.is_set():
                self.why = why
                self.stop.set()

    def _reason(self) -> str:
        if self._jobs._stop.is_set():
            return STOPPING
        if time.monotonic() > self._until:
            return TIME_OVER
        try:
            mine = self._jobs.store.renew(self._row.id, self._jobs._owner, lease_s=LEASE_S, **self._progress)
        except MienError:
            logger.warning("the lease of a job could not be renewed; trying again")
            return ""
        return "" if mine else LOST


def _last_change(folder: Path) -> float:
    """Return when a folder or a file in it was last written; a video that comes in slowly is new all the while."""
    return max((path.stat().st_mtime for path in (folder, *folder.glob("*"))), default=0.0)


def _without_path(error: Exception, folder: Path) -> Exception:
    """Return an error whose message does not tell where the server keeps its files."""
    if not isinstance(error, MienError):
        return error
    text = str(error).replace(f"{folder}/", "").replace(UPLOAD, "the video", 1)
    plain = type(error)(text)
    plain.__cause__ = error.__cause__
    return plain


def _utc(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def is_ended(row: JobRow) -> bool:
    """Return whether nothing more happens with a job."""
    return row.state in ENDED
