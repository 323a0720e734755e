//! Counts of the reconciler.

use std::time::Duration;

use jiff::Timestamp;
use pgo_bus::Relay;
use pgo_core::{ClusterStatus, Kind, Outcome, Step};
use pgo_telemetry::{
    Telemetry,
    prometheus_client::{
        metrics::{
            counter::Counter,
            family::Family,
            gauge::Gauge,
            histogram::{Histogram, exponential_buckets},
        },
        registry::Registry,
    },
};

/// Counts of the reconciler; clones are handles of the same.
#[derive(Clone)]
pub struct Metrics {
    reconciles: Counter,
    errors: Family<Vec<(String, String)>, Counter>,
    durations: Histogram,
    steps: Family<Vec<(String, String)>, Counter>,
    drills: Family<Vec<(String, String)>, Counter>,
    drill_durations: Histogram,
    leading: Gauge,
    namespaces: Family<Vec<(String, String)>, Gauge>,
    foreign: Family<Vec<(String, String)>, Gauge>,
    pages: Gauge,
    unreadable_pages: Gauge,
    unconfirmed: Gauge,
    unconfirmed_seconds: Gauge,
}

/// How often it is looked what waits.
const LOOK: Duration = Duration::from_secs(1);

impl Metrics {
    /// Registers them.
    pub fn register(telemetry: &Telemetry) -> Self {
        telemetry.register(|registry| {
            let metrics = Self {
                reconciles: Counter::default(),
                errors: Family::default(),
                durations: Histogram::new(exponential_buckets(0.001, 4.0, 8)),
                steps: Family::default(),
                drills: Family::default(),
                drill_durations: Histogram::new(exponential_buckets(10.0, 3.0, 9)),
                leading: Gauge::default(),
                namespaces: Family::default(),
                foreign: Family::default(),
                pages: Gauge::default(),
                unreadable_pages: Gauge::default(),
                unconfirmed: Gauge::default(),
                unconfirmed_seconds: Gauge::default(),
            };
            metrics.register_events(registry);
            metrics.register_drills(registry);
            registry.register(
                "pgo_reconciles",
                "Reconciles that got to their end",
                metrics.reconciles.clone(),
            );
            registry.register(
                "pgo_reconcile_errors",
                "Reconciles that did not, by reason",
                metrics.errors.clone(),
            );
            registry.register(
                "pgo_reconcile_seconds",
                "Duration of a reconcile",
                metrics.durations.clone(),
            );
            registry.register(
                "pgo_steps",
                "Steps that were carried out, by kind",
                metrics.steps.clone(),
            );
            registry.register(
                "pgo_leading",
                "1 while this process leads",
                metrics.leading.clone(),
            );
            registry.register(
                "pgo_namespace_readable",
                "1 for a namespace whose clusters are looked after, 0 for one that cannot be read",
                metrics.namespaces.clone(),
            );
            registry.register(
                "pgo_namespace_foreign",
                "1 for a namespace that is left alone since its labels do not name this installation",
                metrics.foreign.clone(),
            );
            metrics
        })
    }

    fn register_events(&self, registry: &mut Registry) {
        registry.register(
            "pgo_events_unconfirmed",
            "Events in outboxes and pages that the event service has not confirmed yet",
            self.unconfirmed.clone(),
        );
        registry.register(
            "pgo_events_unconfirmed_oldest_seconds",
            "Time since the oldest of them happened; 0 where there is none",
            self.unconfirmed_seconds.clone(),
        );
        registry.register(
            "pgo_event_pages",
            "PgEventPages that are looked after: their events are not all stored yet",
            self.pages.clone(),
        );
        registry.register(
            "pgo_unreadable_event_pages",
            "PgEventPages that stay because this version cannot read all of their events",
            self.unreadable_pages.clone(),
        );
    }

    fn register_drills(&self, registry: &mut Registry) {
        // Both are there from the beginning: an alert on the first failure needs the 0 before it.
        for outcome in ["proven", "failed", "untried"] {
            drop(self.drills.get_or_create(&of_outcome(outcome)));
        }
        registry.register(
            "pgo_restore_drills",
            "Restores of backups for trial that have ended, by outcome",
            self.drills.clone(),
        );
        registry.register(
            "pgo_restore_drill_seconds",
            "Duration of a restore of a backup for trial",
            self.drill_durations.clone(),
        );
    }

    /// Counts the drills that have ended with `next` and went on `before`.
    pub fn drilled(&self, before: &ClusterStatus, next: &ClusterStatus) {
        let drills = next.journal.all(Kind::VerifyRestore);
        let ended = drills.filter_map(|operation| {
            let mut known = before.journal.operations.iter();
            let went_on = !known.any(|one| one.id == operation.id && !one.is_running());
            let outcome = operation.outcome.filter(|_| went_on)?;
            let backup = operation.backup.as_ref();
            let verdict = backup.and_then(|backup| next.drills.verdicts.get(backup));
            let is_judged = verdict.is_some_and(|verdict| Some(verdict.at) == operation.finished);
            Some((
                (outcome, is_judged),
                operation.finished?.duration_since(operation.started),
            ))
        });
        for (outcome, took) in ended {
            let outcome = match outcome {
                (Outcome::Completed, _) => "proven",
                (Outcome::Failed, true) => "failed",
                (Outcome::Failed, false) => "untried",
            };
            self.drills.get_or_create(&of_outcome(outcome)).inc();
            self.drill_durations.observe(took.as_secs_f64());
        }
    }

    /// Tells what waits in a relay, for ever.
    pub async fn follow(self, relay: Relay) {
        loop {
            let waiting = relay.waiting();
            let events = i64::try_from(waiting.events).unwrap_or(i64::MAX);
            self.unconfirmed.set(events);
            let age = waiting
                .since
                .map(|since| Timestamp::now().duration_since(since));
            self.unconfirmed_seconds
                .set(age.map_or(0, |age| age.as_secs().max(0)));
            tokio::time::sleep(LOOK).await;
        }
    }

    /// A reconcile got to its end.
    pub fn reconciled(&self, took: Duration) {
        self.reconciles.inc();
        self.durations.observe(took.as_secs_f64());
    }

    /// A reconcile did not.
    pub fn failed(&self, reason: &str) {
        let label = vec![("reason".to_owned(), reason.to_owned())];
        self.errors.get_or_create(&label).inc();
    }

    /// A step was carried out.
    pub fn step(&self, step: &Step) {
        // The name of the variant alone: what it holds would make a series of each cluster.
        let text = format!("{step:?}");
        let kind = text.split(['(', ' ', '{']).next().unwrap_or_default();
        let label = vec![("step".to_owned(), kind.to_owned())];
        self.steps.get_or_create(&label).inc();
    }

    /// This process leads.
    pub fn leads(&self) {
        self.leading.set(1);
    }

    /// Whether a namespace can be read.
    pub fn reads(&self, namespace: &str, readable: bool) {
        let label = vec![("namespace".to_owned(), namespace.to_owned())];
        self.namespaces
            .get_or_create(&label)
            .set(i64::from(readable));
    }

    /// Whether a namespace is another installation's, or nobody's.
    pub fn leaves_alone(&self, namespace: &str, foreign: bool) {
        let label = vec![("namespace".to_owned(), namespace.to_owned())];
        self.foreign.get_or_create(&label).set(i64::from(foreign));
    }

    /// Counts a page that is looked after, until what is given back is dropped.
    pub fn page(&self) -> Counted {
        Counted::new(&self.pages)
    }

    /// Counts a page that cannot be read, until what is given back is dropped.
    pub fn unreadable_page(&self) -> Counted {
        Counted::new(&self.unreadable_pages)
    }
}

fn of_outcome(outcome: &str) -> Vec<(String, String)> {
    vec![("outcome".to_owned(), outcome.to_owned())]
}

/// One of those that a gauge counts.
pub struct Counted(Gauge);

impl Counted {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}
