"""Counters in TensorFlow Serving's names, as its Prometheus page shows them. Pure bookkeeping."""

from collections import Counter
from dataclasses import dataclass, field

_LATENCY_LIMITS = tuple(10 * 1.8**power for power in range(32))  # microseconds; the last bucket has no limit


@dataclass
class _Histogram:
    buckets: list[int] = field(default_factory=lambda: [0] * (len(_LATENCY_LIMITS) + 1))
    total: float = 0.0

    def add(self, value: float) -> None:
        """Counts one value."""
        self.buckets[sum(value >= limit for limit in _LATENCY_LIMITS)] += 1
        self.total += value


@dataclass
class Metrics:
    """What this server counts."""

    requests: Counter[tuple[str, str]] = field(default_factory=Counter)
    loads: Counter[tuple[str, str]] = field(default_factory=Counter)
    latencies: dict[tuple[str, str], _Histogram] = field(default_factory=dict)

    def request_ended(self, model: str, action: str, status: str, seconds: float) -> None:
        """Counts a predict, classify or regress request; ``status`` is the name of its status code."""
        self.requests[model, status] += 1
        if status == "OK":
            self.latencies.setdefault((model, action), _Histogram()).add(seconds * 1e6)

    def load_ended(self, path: str, *, ok: bool) -> None:
        """Counts an attempt to load the model version in this folder."""
        self.loads[path, "success" if ok else "fail"] += 1

    def page(self) -> str:
        """The page, in Prometheus' text format."""
        lines = ["# TYPE :tensorflow:cc:saved_model:load_attempt_count counter"]
        for (path, status), count in sorted(self.loads.items()):
            labels = f'model_path="{_escaped(path)}",status="{status}"'
            lines.append(f":tensorflow:cc:saved_model:load_attempt_count{{{labels}}} {count}")
        lines.append("# TYPE :tensorflow:serving:request_count counter")
        for (model, status), count in sorted(self.requests.items()):
            lines.append(
                f':tensorflow:serving:request_count{{model_name="{_escaped(model)}",status="{status}"}} {count}'
            )
        lines.append("# TYPE :tensorflow:serving:request_latency histogram")
        for (model, action), histogram in sorted(self.latencies.items()):
            lines += _histogram_lines(
                ":tensorflow:serving:request_latency",
                f'model_name="{_escaped(model)}",API="{action.title()}",entrypoint="REST"',
                histogram,
            )
        return "\n".join(lines) + "\n"


def _histogram_lines(name: str, labels: str, histogram: _Histogram) -> list[str]:
    lines, seen = [], 0
    for limit, count in zip((*_LATENCY_LIMITS, None), histogram.buckets, strict=True):
        seen += count
        bound = "+Inf" if limit is None else f"{limit:g}"
        lines.append(f'{name}_bucket{{{labels},le="{bound}"}} {seen}')
    return [*lines, f"{name}_sum{{{labels}}} {histogram.total:g}", f"{name}_count{{{labels}}} {seen}"]


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
