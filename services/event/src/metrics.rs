//! Counts of the event service.

use std::time::Duration;

use pgo_telemetry::{
    Telemetry,
    prometheus_client::{
        metrics::{
            counter::Counter,
            gauge::Gauge,
            histogram::{Histogram, exponential_buckets},
        },
        registry::Registry,
    },
};

use crate::{intake::Batch, log::Log};

/// Counts of the event service; clones are handles of the same.
#[derive(Clone, Debug)]
pub struct Metrics {
    appended: Counter,
    repeats: Counter,
    gaps: Counter,
    cuts: Counter,
    malformed: Counter,
    append_seconds: Histogram,
    append_failures: Counter,
    log_damaged: Gauge,
    leading: Gauge,
    in_sync: Gauge,
    readers: Gauge,
    readers_refused: Counter,
    nsq_clients_refused: Counter,
    mirrored: Counter,
    not_mirrored: Counter,
    dead_letters: Gauge,
    dead_letters_came: Counter,
    log_bytes: Gauge,
    log_oldest: Gauge,
    log_next: Gauge,
}

impl Metrics {
    /// Registers them.
    pub fn register(telemetry: &Telemetry) -> Self {
        telemetry.register(|registry| {
            let metrics = Self {
                appended: Counter::default(),
                repeats: Counter::default(),
                gaps: Counter::default(),
                cuts: Counter::default(),
                malformed: Counter::default(),
                // 100 µs to 1.6 s: a disk's times, good and bad.
                append_seconds: Histogram::new(exponential_buckets(0.0001, 2.0, 15)),
                append_failures: Counter::default(),
                log_damaged: Gauge::default(),
                leading: Gauge::default(),
                in_sync: Gauge::default(),
                readers: Gauge::default(),
                readers_refused: Counter::default(),
                nsq_clients_refused: Counter::default(),
                mirrored: Counter::default(),
                not_mirrored: Counter::default(),
                dead_letters: Gauge::default(),
                dead_letters_came: Counter::default(),
                log_bytes: Gauge::default(),
                log_oldest: Gauge::default(),
                log_next: Gauge::default(),
            };
            metrics.add_to(registry);
            metrics.add_replication_to(registry);
            metrics
        })
    }

    fn add_to(&self, registry: &mut Registry) {
        let m = self.clone();
        registry.register("pgo_event_appended", "Events appended", m.appended);
        registry.register("pgo_event_repeats", "Events that arrived again", m.repeats);
        registry.register(
            "pgo_event_gaps",
            "Events that arrived before one that precedes them",
            m.gaps,
        );
        registry.register(
            "pgo_event_cuts",
            "Gaps in streams that nobody can close",
            m.cuts,
        );
        registry.register(
            "pgo_event_malformed",
            "Messages that are no events",
            m.malformed,
        );
        registry.register(
            "pgo_event_append_seconds",
            "Time to get a batch onto the disk",
            m.append_seconds,
        );
        registry.register(
            "pgo_event_append_failures",
            "Writes that failed, also of copies; each is tried again, and this replica confirms nothing meanwhile",
            m.append_failures,
        );
        registry.register(
            "pgo_event_log_damaged",
            "Records of the log that are damaged and have not been got back",
            m.log_damaged,
        );
        self.add_more_to(registry);
        registry.register(
            "pgo_event_log_bytes",
            "Size of the log's files",
            m.log_bytes,
        );
        registry.register(
            "pgo_event_log_oldest",
            "Offset of the oldest record",
            m.log_oldest,
        );
        registry.register(
            "pgo_event_log_next",
            "Offset of the next record",
            m.log_next,
        );
    }

    fn add_replication_to(&self, registry: &mut Registry) {
        let m = self.clone();
        registry.register(
            "pgo_event_leading",
            "1 where this replica leads, and where there is no other",
            m.leading,
        );
        registry.register(
            "pgo_event_in_sync",
            "Replicas that have every event that was confirmed; told by the one that leads",
            m.in_sync,
        );
    }

    fn add_more_to(&self, registry: &mut Registry) {
        let m = self.clone();
        registry.register(
            "pgo_event_readers",
            "Readers of the log at the moment",
            m.readers,
        );
        registry.register(
            "pgo_event_readers_refused",
            "Readers over HTTP for whom there was no place",
            m.readers_refused,
        );
        registry.register(
            "pgo_event_nsq_clients_refused",
            "Clients of nsqd that may do nothing there",
            m.nsq_clients_refused,
        );
        registry.register(
            "pgo_event_mirrored",
            "Events told to Kubernetes",
            m.mirrored,
        );
        registry.register(
            "pgo_event_not_mirrored",
            "Events that Kubernetes refused, or failed on for minutes",
            m.not_mirrored,
        );
        registry.register(
            "pgo_event_dead_letters",
            "Messages nobody could handle that are kept",
            m.dead_letters,
        );
        registry.register(
            "pgo_event_dead_letters_came",
            "Messages nobody could handle that came",
            m.dead_letters_came,
        );
    }

    /// A dead letter came.
    pub fn dead_letter(&self) {
        self.dead_letters_came.inc();
    }

    /// So many dead letters are kept.
    pub fn dead_letters_are(&self, count: usize) {
        self.dead_letters
            .set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// An event was told to Kubernetes.
    pub fn mirrored(&self) {
        self.mirrored.inc();
    }

    /// Kubernetes refused an event, or failed on it for too long.
    pub fn not_mirrored(&self) {
        self.not_mirrored.inc();
    }

    /// A batch was judged.
    pub fn took(&self, batch: &Batch) {
        self.repeats.inc_by(batch.repeats);
        self.gaps.inc_by(batch.gaps);
        self.cuts.inc_by(batch.cuts.len() as u64);
    }

    /// A write failed.
    pub fn append_failed(&self) {
        self.append_failures.inc();
    }

    /// A batch is on the disk.
    pub fn appended_in(&self, count: usize, time: Duration) {
        self.appended.inc_by(count as u64);
        self.append_seconds.observe(time.as_secs_f64());
    }

    /// A message was no event.
    pub fn malformed(&self) {
        self.malformed.inc();
    }

    /// Whether this replica leads.
    pub fn leads(&self, leads: bool) {
        self.leading.set(i64::from(leads));
        self.in_sync.set(i64::from(leads));
    }

    /// How many replicas have everything.
    pub fn in_sync(&self, count: usize) {
        self.in_sync.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// There was no place for a reader.
    pub fn reader_refused(&self) {
        self.readers_refused.inc();
    }

    /// A client of nsqd may do nothing.
    pub fn nsq_client_refused(&self) {
        self.nsq_clients_refused.inc();
    }

    /// What the log is like now.
    pub fn log_is(&self, log: &Log) {
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        self.log_bytes.set(number(log.bytes()));
        self.log_oldest.set(number(log.oldest()));
        self.log_damaged.set(number(log.damaged()));
        self.log_next.set(number(*log.head().borrow()));
    }

    /// Counts a reader until the value is dropped.
    pub fn reader(&self) -> Reading {
        self.readers.inc();
        Reading(self.readers.clone())
    }
}

/// A reader that is counted.
#[derive(Debug)]
pub struct Reading(Gauge);

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.dec();
    }
}
