"""What is counted for Prometheus: requests by route, never by person, and calls of models."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

BUCKETS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0)


class Metrics:
    """One service's counts. Any thread may call."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "rapport_requests", "Requests answered.", ("method", "route", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "rapport_request_seconds", "Time to the end of an answer.", ("route",), registry=self._registry,
            buckets=BUCKETS,
        )  # fmt: skip
        self._busy = Gauge("rapport_busy", "Requests that are computed or wait.", registry=self._registry)
        self._calls = Counter(
            "rapport_model_calls", "Calls of the model.", ("method", "outcome"), registry=self._registry
        )
        self._tokens = Counter("rapport_model_tokens", "Tokens of models.", ("kind",), registry=self._registry)

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def call(self, method: str, outcome: str, prompt: int, completion: int) -> None:
        self._calls.labels(method, outcome).inc()
        self._tokens.labels("prompt").inc(prompt)
        self._tokens.labels("completion").inc(completion)

    def text(self, busy: int) -> tuple[bytes, str]:
        """What Prometheus reads, and its media type."""
        self._busy.set(busy)
        return generate_latest(self._registry), CONTENT_TYPE_PLAIN_0_0_4
