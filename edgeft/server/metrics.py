"""What a server counts, in the text format of Prometheus (version 0.0.4)."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
#: upper bounds of a histogram's buckets, in seconds
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Histogram:
    """Seconds, counted in buckets."""

    def __init__(self) -> None:
        self._counts, self._total = [0] * (len(BOUNDS) + 1), 0.0

    def add(self, seconds: float) -> None:
        self._counts[bisect_left(BOUNDS, seconds)] += 1
        self._total += seconds

    def lines(self, name: str) -> Iterator[str]:
        below = 0
        for bound, count in zip((*map(str, BOUNDS), "+Inf"), self._counts):
            below += count
            yield f'{name}_bucket{{le="{bound}"}} {below}'
        yield f"{name}_sum {self._total!r}"
        yield f"{name}_count {below}"


class Metrics:
    """The counters of one server; only its event loop changes them. `labels` describe what is served."""

    def __init__(self, labels: Mapping[str, str], queue: int) -> None:
        self.requests: Counter[tuple[str, str, int]] = Counter()  # (path, method, status)
        self.errors: Counter[str] = Counter()  # by the class of the error
        self.answering, self.predicting = Histogram(), Histogram()
        self._labels, self._queue, self._started = dict(labels), queue, time.time()

    def text(self, in_progress: int) -> str:
        """All metrics; `in_progress` are the prediction requests that are being received or answered."""
        return "\n".join([*self._lines(in_progress), ""])

    def _lines(self, in_progress: int) -> Iterator[str]:
        yield from _head("edgeft_build_info", "gauge", "What is served.")
        yield f"edgeft_build_info{_labels(self._labels)} 1"
        yield from _head("edgeft_start_time_seconds", "gauge", "When the server started, in seconds since 1970.")
        yield f"edgeft_start_time_seconds {self._started!r}"
        yield from _head("edgeft_requests_total", "counter", "Requests answered, by path, method and status.")
        for (path, method, status), count in sorted(self.requests.items()):
            yield f"edgeft_requests_total{_labels({'path': path, 'method': method, 'status': str(status)})} {count}"

        yield from _head("edgeft_errors_total", "counter", "POST /predict that failed, by the class of the error.")
        for kind, count in sorted(self.errors.items()):
            yield f"edgeft_errors_total{_labels({'error': kind})} {count}"

        yield from _head("edgeft_in_progress", "gauge", "Prediction requests that are received, wait or are answered.")
        yield f"edgeft_in_progress {in_progress}"
        yield from _head("edgeft_queue_limit", "gauge", "Prediction requests that may wait.")
        yield f"edgeft_queue_limit {self._queue}"
        yield from _head("edgeft_request_seconds", "histogram", "From the headers of POST /predict to its answer.")
        yield from self.answering.lines("edgeft_request_seconds")
        yield from _head("edgeft_predict_seconds", "histogram", "Reading inputs, the runtime, and decoding.")
        yield from self.predicting.lines("edgeft_predict_seconds")


def _head(name: str, kind: str, text: str) -> tuple[str, str]:
    return f"# HELP {name} {text}", f"# TYPE {name} {kind}"


def _labels(labels: Mapping[str, str]) -> str:
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
