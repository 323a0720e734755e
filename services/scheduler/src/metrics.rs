//! Counts of the scheduler.

use pgo_telemetry::{
    Telemetry,
    prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge},
};

use crate::schedule::Kind;

type ByKind = Family<Vec<(&'static str, &'static str)>, Counter>;

/// Counts of the scheduler; clones are handles of the same.
#[derive(Clone, Debug)]
pub struct Metrics {
    begun: ByKind,
    skipped: ByKind,
    missed: ByKind,
    schedules: Gauge,
    wrong: Gauge,
    leading: Gauge,
}

impl Metrics {
    /// Registers them.
    pub fn register(telemetry: &Telemetry) -> Self {
        telemetry.register(|registry| {
            let metrics = Self {
                begun: Family::default(),
                skipped: Family::default(),
                missed: Family::default(),
                schedules: Gauge::default(),
                wrong: Gauge::default(),
                leading: Gauge::default(),
            };
            registry.register(
                "pgo_scheduler_runs",
                "Runs that were due and have begun, by type",
                metrics.begun.clone(),
            );
            registry.register(
                "pgo_scheduler_missed",
                "Runs that were due while nobody was there to begin them, by type",
                metrics.missed.clone(),
            );
            registry.register(
                "pgo_scheduler_skipped",
                "Runs that were due and skipped, by type",
                metrics.skipped.clone(),
            );
            registry.register(
                "pgo_scheduler_schedules",
                "Schedules in the namespaces of this installation",
                metrics.schedules.clone(),
            );
            registry.register(
                "pgo_scheduler_wrong",
                "Schedules that cannot be kept",
                metrics.wrong.clone(),
            );
            registry.register(
                "pgo_leading",
                "1 while this process leads",
                metrics.leading.clone(),
            );
            metrics
        })
    }

    /// A run has begun.
    pub fn begun(&self, kind: Kind) {
        self.begun.get_or_create(&labels(kind)).inc();
    }

    /// A run was skipped.
    pub fn skipped(&self, kind: Kind) {
        self.skipped.get_or_create(&labels(kind)).inc();
    }

    /// Runs were missed.
    pub fn missed(&self, kind: Kind, runs: u64) {
        self.missed.get_or_create(&labels(kind)).inc_by(runs);
    }

    /// How many schedules there are, and how many are wrong.
    pub fn schedules(&self, (all, wrong): (usize, usize)) {
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.schedules.set(number(all));
        self.wrong.set(number(wrong));
    }

    /// Whether this process leads.
    pub fn leads(&self, leading: bool) {
        self.leading.set(i64::from(leading));
    }
}

fn labels(kind: Kind) -> Vec<(&'static str, &'static str)> {
    vec![("type", kind.as_str())]
}
