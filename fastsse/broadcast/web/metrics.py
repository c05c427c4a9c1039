"""The hub's numbers in Prometheus text, for operators to scrape; written by prometheus-client.

The numbers are read at a scrape, so a scrape costs time and the hot path does not. Nothing here is linear in topics,
because clients choose topics. Subscribers are counted by the classes of topics that `Settings.metric_classes` names, so
that no client can make a time series.

The module knows the numbers of hub and process; it must not know requests.
"""

from __future__ import annotations

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
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector, CollectorRegistry

from fastsse.broadcast.hub.stats import Histogram

if TYPE_CHECKING:
    from fastsse.broadcast.hub.hub import Hub

__all__ = ["CONTENT_TYPE", "Metrics", "process_text"]

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

_process = CollectorRegistry(auto_describe=False)
ProcessCollector(registry=_process)


class Metrics(Collector):
    """The numbers of one hub.

    Call `text`, or register this with a registry of your own, as one collector among others.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def text(self) -> bytes:
        """Write the numbers in the Prometheus text format 0.0.4."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Yield each number as it is now."""
        yield from self._now()
        yield from self._since_start()
        stats = self._hub.stats
        yield _histogram(
            "fastsse_delivery_seconds",
            "From an event's report to its send, for readers that keep up.",
            stats.latency,
        )
        yield _histogram(
            "fastsse_append_seconds",
            "From an event to its place in the store.",
            stats.append_latency,
        )
        yield _histogram(
            "fastsse_lag_events",
            "Events that a blocked reader was behind when it could be sent to again.",
            stats.lag,
        )

    def _now(self) -> Iterator[Metric]:
        hub = self._hub
        yield _gauge("fastsse_streams", "Open streams.", hub.open_streams)
        yield _gauge("fastsse_streams_limit", "Streams that may be open.", hub.settings.max_streams)
        yield _gauge("fastsse_streams_blocked", "Streams with a pending send.", hub.blocked)
        yield _gauge("fastsse_pending_bytes", "Bytes handed to sends that pend.", hub.pending_bytes)
        yield _gauge("fastsse_topics", "Topics that are followed.", hub.audiences.topics)
        yield _gauge(
            "fastsse_followed_bytes", "Bytes that followed names take.", hub.audiences.size
        )
        yield _gauge("fastsse_bodies", "Bodies that are being read.", hub.stats.bodies)
        yield _gauge("fastsse_body_bytes", "Bytes of them that are held.", hub.stats.body_bytes)
        yield _gauge("fastsse_draining", "1 while streams are being ended.", int(hub.draining))
        yield _gauge(
            "fastsse_store_stalled_seconds",
            "For how long the store's engine cannot be reached; 0 while it can.",
            hub.stalled or 0.0,
        )
        yield from self._store()
        yield _gauge("fastsse_runs", "Runs that go on.", hub.open_runs)
        yield _gauge("fastsse_ended_topics", "Topics known to have ended.", hub.ended_topics)
        yield _gauge("fastsse_history_topics", "Topics with a history.", hub.history.topics)
        yield _gauge("fastsse_history_bytes", "Bytes kept for replay.", hub.history.size)
        yield _gauge("fastsse_head", "Position of the newest event.", hub.head)
        family = GaugeMetricFamily(
            "fastsse_subscribers", "Streams by class of topic.", labels=["topic_class"]
        )
        for name, count in hub.audiences.by_class.items():
            family.add_metric([name], count)
        yield family

    def _store(self) -> Iterator[Metric]:
        state = self._hub.store_state
        yield _gauge("fastsse_store_queue", "Appends that wait for the store.", state.queued)
        if state.entries is not None:
            yield _gauge("fastsse_store_entries", "Events that the store holds.", state.entries)
        if state.size is not None:
            yield _gauge("fastsse_store_bytes", "Bytes that they take there.", state.size)
        yield _counter(
            "fastsse_store_unreadable", "Entries that could not be read.", state.unreadable
        )

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
        history = self._hub.history
        yield _counter(
            "fastsse_history_trimmed", "Events let go for history_total.", history.trimmed
        )
        yield _counter("fastsse_history_forgotten", "Topics forgotten.", history.forgotten)
        yield _labelled("fastsse_openings", "Streams begun.", "kind", stats.openings)
        yield _labelled("fastsse_runs_ended", "Runs ended, or refused.", "reason", stats.runs)
        yield _labelled("fastsse_ended", "Streams ended.", "reason", stats.ended)
        yield _labelled("fastsse_refused", "Streams not let in.", "reason", stats.refused)
        yield _labelled("fastsse_problems", "Requests refused.", "status", stats.problems)
        yield _labelled("fastsse_denied", "Requests not allowed.", "reason", stats.denied)
        yield _labelled(
            "fastsse_quotas_forgotten", "Names forgotten too soon.", "quota", stats.quotas_forgotten
        )
        yield _labelled(
            "fastsse_events_refused", "Events not published.", "field", stats.events_refused
        )
        yield _labelled(
            "fastsse_bodies_refused", "Bodies not read.", "reason", stats.bodies_refused
        )
        yield _labelled(
            "fastsse_append_errors", "Appends failed by the store.", "reason", stats.append_errors
        )
        yield _labelled("fastsse_gaps", "Gap events.", "reason", stats.gaps)


def process_text() -> bytes:
    """Write the process's own numbers (memory, files, processor time), on Linux alone.

    The number of open files shows connections that are no streams. Counting takes a millisecond for each thousand
    files, most of that in the kernel, so call this from a thread.
    """
    return generate_latest(_process)


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
