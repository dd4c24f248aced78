"""Counters and durations for Prometheus. No metric says anything of a client or an image."""

import time
from collections.abc import Callable

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BATCHES = (1, 2, 4, 8, 16, 32, 64)
KNOWN_METHODS = ("GET", "HEAD", "POST", "DELETE", "PUT", "PATCH", "OPTIONS")


class Metrics:
    """The metrics of one application."""

    def __init__(self) -> None:
        """Start from zero."""
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "mien_requests", "Requests by route and status", ["method", "route", "status"], registry=self._registry
        )
        self.seconds = Histogram(
            "mien_request_seconds", "Time to the first byte of an answer", ["route"], registry=self._registry
        )
        self.frames = Counter("mien_stream_frames", "Frames of live streams", ["outcome"], registry=self._registry)
        self.faces = Counter("mien_faces", "Faces whose expression was asked for", registry=self._registry)
        self.batch = Histogram(
            "mien_batch_faces", "Faces per run of the network", buckets=BATCHES, registry=self._registry
        )
        self.jobs = Counter("mien_jobs", "Jobs by how they ended", ["state"], registry=self._registry)

    def batch_ran(self, faces: int) -> None:
        """Take down a run of the network."""
        self.batch.observe(faces)
        self.faces.inc(faces)

    def watch(self, name: str, about: str, value: Callable[[], float]) -> None:
        """Add a gauge that is read when somebody looks.

        Args:
            name: Its name, after `mien_`.
            about: One line for people.
            value: Called for the value.
        """
        Gauge(f"mien_{name}", about, registry=self._registry).set_function(value)

    def response(self) -> Response:
        """Return the answer of /metrics."""
        return Response(generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


class Measure:
    """Counts requests by route, never by address: an address holds job ids and whatever else a client sends."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        """Wrap an application.

        Args:
            app: The application.
            metrics: Where to count.
        """
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        start = time.perf_counter()

        async def send_and_count(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path", "other")
                method = scope["method"] if scope["method"] in KNOWN_METHODS else "other"
                self._metrics.requests.labels(method, route, str(message["status"])).inc()
                self._metrics.seconds.labels(route).observe(time.perf_counter() - start)
            await send(message)

        await self._app(scope, receive, send_and_count)
