"""What operators scrape: the hub's numbers in Prometheus text, by prometheus-client.

The numbers are read when they are asked for, so a scrape costs and the hot path does not. Topics are counted by
class, the part of the name before the first ``/``, ``.`` or ``:``, and at most `MAX_CLASSES` classes are told apart.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

from fastsse.broadcast.stats import Histogram

if TYPE_CHECKING:
    from fastsse.broadcast.hub import Hub

__all__ = ["CONTENT_TYPE", "MAX_CLASSES", "Metrics"]

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
MAX_CLASSES = 100
_OTHER = "…"  # the class of all classes beyond

_CLASS = re.compile(r"[^/.:]*")


class Metrics(Collector):
    """One hub's numbers.

    `text` writes them; or register it with a registry of your own, where it is one collector among others.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def text(self) -> bytes:
        """Prometheus text format 0.0.4."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        yield from self._now()
        yield from self._since_start()
        stats = self._hub.stats
        yield _histogram(
            "fastsse_delivery_seconds",
            "From an event's report to its send, for readers that keep up.",
            stats.latency,
        )
        yield _histogram(
            "fastsse_lag_events",
            "Events that a blocked reader was behind when it could be sent to again.",
            stats.lag,
        )

    def _now(self) -> Iterator[Metric]:
        hub = self._hub
        yield _gauge("fastsse_streams", "Open streams.", hub.streams)
        yield _gauge("fastsse_streams_limit", "Streams that may be open.", hub.settings.max_streams)
        yield _gauge("fastsse_streams_blocked", "Streams with a pending send.", hub.blocked)
        yield _gauge("fastsse_topics", "Topics that are followed.", hub.audiences.topics)
        yield _gauge("fastsse_draining", "1 while streams are being ended.", int(hub.draining))
        yield _gauge("fastsse_history_topics", "Topics with a history.", hub.history.topics)
        yield _gauge("fastsse_history_bytes", "Bytes kept for replay.", hub.history.size)
        yield _gauge("fastsse_head", "Position of the newest event.", hub.history.head)
        family = GaugeMetricFamily(
            "fastsse_subscribers", "Streams by class of topic.", labels=["topic_class"]
        )
        for name, count in _by_class(hub.audiences.followers()).items():
            family.add_metric([name], count)
        yield family

    def _since_start(self) -> Iterator[Metric]:
        stats = self._hub.stats
        yield _counter("fastsse_published", "Events published.", stats.published)
        yield _counter("fastsse_delivered", "Events sent, each reader counted.", stats.delivered)
        yield _counter("fastsse_sends", "Sends that carried events.", stats.sends)
        yield _counter("fastsse_sent_bytes", "Bytes of those sends.", stats.sent_bytes)
        yield _counter("fastsse_heartbeats", "Heartbeats sent.", stats.heartbeats)
        yield _counter(
            "fastsse_skipped", "Times that a slow reader was moved ahead.", stats.skipped
        )
        yield _labelled("fastsse_openings", "Streams begun.", "kind", stats.openings)
        yield _labelled("fastsse_ended", "Streams ended.", "reason", stats.ended)
        yield _labelled("fastsse_refused", "Streams not let in.", "reason", stats.refused)
        yield _labelled("fastsse_gaps", "Gap events.", "reason", stats.gaps)


def _by_class(followers: Iterator[tuple[str, int]]) -> Counter[str]:
    classes: Counter[str] = Counter()
    for topic, count in followers:
        match = _CLASS.match(topic)
        name = match[0] if match else ""
        classes[name if name in classes or len(classes) < MAX_CLASSES else _OTHER] += count
    return classes


def _gauge(name: str, help: str, value: float) -> Metric:
    return GaugeMetricFamily(name, help, value=value)


def _counter(name: str, help: str, value: float) -> Metric:
    return CounterMetricFamily(name, help, value=value)


def _labelled(name: str, help: str, label: str, counts: Counter[str]) -> Metric:
    family = CounterMetricFamily(name, help, labels=[label])
    for value, count in sorted(counts.items()):
        family.add_metric([value], count)
    return family


def _histogram(name: str, help: str, histogram: Histogram) -> Metric:
    buckets: list[tuple[str, float]] = []
    seen = 0
    for bound, count in zip((*histogram.bounds, "+Inf"), histogram.counts, strict=True):
        seen += count
        buckets.append((str(bound), seen))
    return HistogramMetricFamily(name, help, buckets=buckets, sum_value=histogram.total)
