"""What happens in a server, as numbers for Prometheus. Holds no text of anyone."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

# Seconds; a quotation takes milliseconds, a long answer of a large model minutes.
_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Metrics:
    """Counters of one application, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "kogemma_requests",
            "HTTP requests by route, method and status.",
            ("route", "method", "status"),
            registry=self._registry,
        )
        self._seconds = self._histogram(
            "kogemma_request_seconds", "Seconds until a response ended.", ("route",)
        )
        self._first = self._histogram(
            "kogemma_first_piece_seconds", "Seconds from a question to the first of its answer."
        )
        self._tokens = Counter(
            "kogemma_tokens",
            "Tokens as the chat model tells them.",
            ("kind",),
            registry=self._registry,
        )

    def gauge(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Add a number that is asked for whenever the metrics are."""
        Gauge(f"kogemma_{name}", text, registry=self._registry).set_function(value)

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request that has been answered."""
        self._requests.labels(route, method, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def first_piece(self, seconds: float) -> None:
        """Note how long a question waited for the first of its answer."""
        self._first.observe(seconds)

    def tokens(self, prompt: int, completion: int) -> None:
        """Count what an answer took."""
        self._tokens.labels("prompt").inc(prompt)
        self._tokens.labels("completion").inc(completion)

    def text(self) -> bytes:
        """All of them in Prometheus' text format."""
        return generate_latest(self._registry)

    def _histogram(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Histogram:
        return Histogram(name, text, labels, buckets=_SECONDS, registry=self._registry)
