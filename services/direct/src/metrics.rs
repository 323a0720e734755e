//! Counts of the feeder.

use pgo_telemetry::{Telemetry, prometheus_client::metrics::counter::Counter};

/// Counts of the feeder.
#[derive(Debug)]
pub(crate) struct Metrics {
    published: Counter,
    lost: Counter,
}

impl Metrics {
    /// Registers them.
    pub(crate) fn register(telemetry: &Telemetry) -> Self {
        let (published, lost) = (Counter::default(), Counter::default());
        telemetry.register(|registry| {
            registry.register(
                "pgo_direct_published",
                "Events published, once for each topic that somebody reads",
                published.clone(),
            );
            registry.register(
                "pgo_direct_lost",
                "Events that nsqd did not take, likewise",
                lost.clone(),
            );
        });
        Self { published, lost }
    }

    /// nsqd has one.
    pub(crate) fn published(&self) {
        self.published.inc();
    }

    /// nsqd may not have it.
    pub(crate) fn lost(&self) {
        self.lost.inc();
    }
}
