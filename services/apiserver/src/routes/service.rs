//! Health, readiness and metrics: what probes and Prometheus ask.

use axum::response::{IntoResponse as _, Response};
use http::{StatusCode, header::CONTENT_TYPE};
use pgo_telemetry::Telemetry;

use crate::refusal::plain;

/// Media type of OpenMetrics text.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The process answers: 4.1.2's text, without an end of line.
pub(super) fn healthz() -> Response {
    "ok".into_response()
}

/// Whether the process can serve.
pub(super) fn readyz(telemetry: &Telemetry) -> Response {
    match telemetry.readiness().check() {
        Ok(()) => plain(StatusCode::OK, "ok"),
        Err(missing) => plain(StatusCode::SERVICE_UNAVAILABLE, &missing.to_string()),
    }
}

/// The metrics of the process.
pub(super) fn metrics(telemetry: &Telemetry) -> Response {
    ([(CONTENT_TYPE, OPENMETRICS)], telemetry.metrics_text()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_lacks_something_is_not_ready() {
        let telemetry = Telemetry::without_logs("apiserver", "test");
        let condition = telemetry.readiness().condition("caches");
        assert_eq!(readyz(&telemetry).status(), StatusCode::SERVICE_UNAVAILABLE);
        condition.met();
        assert_eq!(readyz(&telemetry).status(), StatusCode::OK);
    }
}
