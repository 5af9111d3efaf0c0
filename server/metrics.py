"""What Prometheus reads: counts and times of the service. No value of a single image, and nothing of a score."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from model.labels import LABELS

SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
BATCH_SIZES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """All metrics, in a registry of their own so that two services in one process do not meet."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        self.requests = Counter("trades_bob_requests", "Requests answered", ["route", "status"], registry=registry)
        self.rejections = Counter("trades_bob_rejections", "Requests refused", ["reason"], registry=registry)
        self.labels = Counter("trades_bob_labels", "Labels served", ["label"], registry=registry)
        self.disconnects = Counter(
            "trades_bob_disconnects", "Requests whose client left before the answer", registry=registry
        )
        self.decode = Histogram(
            "trades_bob_decode_seconds", "Waiting for and decoding", buckets=SECONDS, registry=registry
        )
        self.queue = Histogram("trades_bob_queue_seconds", "Waiting for the worker", buckets=SECONDS, registry=registry)
        self.inference = Histogram(
            "trades_bob_inference_seconds", "A batch in the worker", buckets=SECONDS, registry=registry
        )
        self.batch_size = Histogram(
            "trades_bob_batch_size", "Images in a batch", buckets=BATCH_SIZES, registry=registry
        )
        self.request = Histogram("trades_bob_request_seconds", "A whole request", buckets=SECONDS, registry=registry)
        self.in_house = Gauge("trades_bob_images_in_house", "Images decoded, waiting or computed", registry=registry)
        self.ready = Gauge("trades_bob_ready", "1 when work can be done", registry=registry)
        self.restarts = Gauge(
            "trades_bob_worker_restarts", "Restarts of the worker of the present model", registry=registry
        )
        self._label = {label: self.labels.labels(label) for label in LABELS}
        self._request: dict[tuple[str, int], Counter] = {}

    def count_request(self, route: str, status: int, seconds: float) -> None:
        """Count an answer."""
        counter = self._request.get((route, status))
        if counter is None:
            counter = self._request[route, status] = self.requests.labels(route, str(status))
        counter.inc()
        self.request.observe(seconds)

    def count_labels(self, labels: list[str]) -> None:
        """Count the labels of an answer."""
        for label in labels:
            self._label[label].inc()

    def count_batch(self, size: int, seconds: float) -> None:
        """Count a batch of the worker."""
        self.batch_size.observe(size)
        self.inference.observe(seconds)

    def text(self) -> bytes:
        """The exposition format."""
        return generate_latest(self.registry)
