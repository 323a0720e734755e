//! What is counted and measured of requests.

use std::time::Duration;

use pgo_telemetry::{
    Telemetry,
    prometheus_client::{
        encoding::EncodeLabelSet,
        metrics::{
            counter::Counter,
            family::Family,
            gauge::Gauge,
            histogram::{Histogram, exponential_buckets},
        },
    },
};

/// The metrics of the REST interface. Clones are handles of the same.
#[derive(Clone)]
pub(crate) struct Metrics {
    requests: Family<Answered, Counter>,
    durations: Family<Routed, Histogram>,
    /// Clients that follow the events now.
    pub streams: Gauge,
}

/// The path is the route's, not the request's: what clients can invent must not make metrics.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    route: &'static str,
    code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Routed {
    route: &'static str,
}

impl Metrics {
    pub(crate) fn register(telemetry: &Telemetry) -> Self {
        // 1 ms to 65 s: the longest request is cut off at 60 s.
        let histogram: fn() -> Histogram = || Histogram::new(exponential_buckets(0.001, 2.0, 17));
        let metrics = Self {
            requests: Family::default(),
            durations: Family::new_with_constructor(histogram),
            streams: Gauge::default(),
        };
        telemetry.register(|registry| {
            registry.register(
                "pgo_apiserver_requests",
                "Requests answered, by route and HTTP status",
                metrics.requests.clone(),
            );
            registry.register(
                "pgo_apiserver_request_duration_seconds",
                "Time from the head of a request to its answer, by route",
                metrics.durations.clone(),
            );
            registry.register(
                "pgo_apiserver_event_streams",
                "Clients that follow the events",
                metrics.streams.clone(),
            );
        });
        metrics
    }

    /// Counts an answer. `route` is empty where there was none for the path.
    pub(crate) fn answered(&self, route: &'static str, code: u16, took: Duration) {
        self.requests.get_or_create(&Answered { route, code }).inc();
        self.durations
            .get_or_create(&Routed { route })
            .observe(took.as_secs_f64());
    }
}
