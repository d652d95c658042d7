"""What a service counts, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
LINES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """The metrics of one service, in a registry of their own. `waiting` gives the length of the queue."""

    def __init__(self, waiting: Callable[[], int]) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "seq2seq_requests", "Requests by endpoint and status.", ("endpoint", "status"), registry=self.registry
        )
        self.seconds = Histogram(
            "seq2seq_request_seconds",
            "Seconds from a request to its answer.",
            ("endpoint",),
            buckets=SECONDS,
            registry=self.registry,
        )
        self.batches = Histogram(
            "seq2seq_batch_lines", "Lines of each computed batch.", buckets=LINES, registry=self.registry
        )
        self.cancelled = Counter(
            "seq2seq_cancelled", "Requests whose client left before the answer.", registry=self.registry
        )
        queue = Gauge("seq2seq_waiting_lines", "Lines that wait to be computed.", registry=self.registry)
        queue.set_function(waiting)

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)
