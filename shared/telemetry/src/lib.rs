//! Logs and metrics, the port that serves them, and how HTTP is served.
//!
//! ```text
//! Settings ─► init() ─► Telemetry ─┬─ register(..)   metrics of the process
//!                                  ├─ readiness()    what /readyz tells
//!                                  └─ serve(..)      the administration port
//! ```
//!
//! Every process of PGO starts with [`init`] and serves the administration port, plain HTTP:
//!
//! | request | answer |
//! |---|---|
//! | `GET /livez` | 200 `ok`, or 503 with a line for each vital condition that is overdue: the process hangs |
//! | `GET /readyz` | 200 `ok`, or 503 with a line for each condition that is not met |
//! | `GET /metrics` | OpenMetrics text |
//! | `PUT /log-level` | changes what is logged; only for peers on the loopback address |
//!
//! [`serve`] does that, and serves the REST interface too.

mod admin;
mod http;
mod logs;
mod metrics;
mod readiness;
mod shutdown;

use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::registry::Registry;

pub use admin::{ADMIN_ADDR, AdminServer, ServeError};
pub use http::{HEAD_DEADLINE, serve};
pub use logs::{FilterError, Format};
pub use prometheus_client;
pub use readiness::{Condition, NotReady, Readiness};
pub use shutdown::shutdown;
pub use tokio_util::sync::CancellationToken;

/// What a process says about itself and how it logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Name of the process, as in `apiserver`; a label of its metrics.
    pub process: &'static str,
    /// PGO's version; a field of each log record, as in 4.1, and a label of the metrics.
    pub version: &'static str,
    /// Form of the log records.
    pub format: Format,
    /// What is logged, in the syntax of tracing's filters: `info,pgo_agent=debug`.
    pub filter: String,
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// `LOG_FORMAT` has a value that means nothing.
    #[error("LOG_FORMAT is {0:?}; use \"json\" or \"text\"")]
    Format(String),
    /// The filter is not one.
    #[error("LOG_LEVEL cannot be used: {0}")]
    Filter(#[from] FilterError),
    /// The process has set up logging before.
    #[error("logging is set up already; call init once per process")]
    Again,
}

impl Settings {
    /// Reads `LOG_FORMAT`, `LOG_LEVEL` and `CRUNCHY_DEBUG` from the environment of the process.
    ///
    /// # Errors
    /// `LOG_FORMAT` is neither `json` nor `text`. A wrong filter is found by [`init`].
    pub fn from_env(process: &'static str, version: &'static str) -> Result<Self, InitError> {
        Self::from_lookup(process, version, |name| std::env::var(name).ok())
    }

    /// As [`Settings::from_env`], with the environment given: `lookup` returns the value of a variable.
    ///
    /// # Errors
    /// As [`Settings::from_env`].
    pub fn from_lookup(
        process: &'static str,
        version: &'static str,
        lookup: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, InitError> {
        let given = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let format = match given("LOG_FORMAT") {
            Some(text) => text.parse().map_err(|()| InitError::Format(text))?,
            None => Format::Json,
        };
        let debug = given("CRUNCHY_DEBUG").is_some_and(|value| value == "true");
        let filter = match given("LOG_LEVEL") {
            Some(filter) => filter,
            None if debug => logs::DEBUG.to_owned(),
            None => logs::DEFAULT.to_owned(),
        };
        Ok(Self {
            process,
            version,
            format,
            filter,
        })
    }
}

/// Logs, metrics and readiness of one process; clones are handles of the same.
#[derive(Clone)]
pub struct Telemetry {
    registry: Arc<Mutex<Registry>>,
    readiness: Readiness,
    filter: logs::FilterHandle,
}

/// Sets up the logging of this process, to its standard output, and its metrics.
///
/// # Errors
/// The filter cannot be parsed, or logging was set up before.
pub fn init(settings: &Settings) -> Result<Telemetry, InitError> {
    let filter = logs::install(settings)?;
    Ok(Telemetry::assemble(
        settings.process,
        settings.version,
        filter,
    ))
}

impl Telemetry {
    /// Metrics and readiness without logging: for tests, where many run in one process.
    pub fn without_logs(process: &'static str, version: &'static str) -> Self {
        Self::assemble(process, version, logs::FilterHandle::none())
    }

    fn assemble(process: &'static str, version: &'static str, filter: logs::FilterHandle) -> Self {
        let mut registry = Registry::default();
        metrics::register_process(&mut registry, process, version);
        Self {
            registry: Arc::new(Mutex::new(registry)),
            readiness: Readiness::default(),
            filter,
        }
    }

    /// Registers metrics: whatever `register` returns (the metrics, most often) is handed back.
    pub fn register<T>(&self, register: impl FnOnce(&mut Registry) -> T) -> T {
        register(&mut self.registry.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What `/readyz` tells.
    pub fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    /// All metrics as OpenMetrics text.
    pub fn metrics_text(&self) -> String {
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        metrics::encode(&registry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Result<Settings, InitError> {
        Settings::from_lookup("apiserver", "4.1.0", |name| {
            pairs
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn nothing_set_means_json_at_info() {
        let settings = settings(&[("LOG_FORMAT", "")]).expect("defaults");
        assert_eq!(settings.format, Format::Json);
        assert_eq!(settings.filter, "info");
    }

    #[test]
    fn crunchy_debug_means_debug_unless_a_level_is_given() {
        let debug = settings(&[("CRUNCHY_DEBUG", "true")]).expect("debug");
        assert!(debug.filter.starts_with("debug"));
        let given = settings(&[("CRUNCHY_DEBUG", "true"), ("LOG_LEVEL", "warn")]).expect("warn");
        assert_eq!(given.filter, "warn");
        let no = settings(&[("CRUNCHY_DEBUG", "false")]).expect("info");
        assert_eq!(no.filter, "info");
    }

    #[test]
    fn an_unknown_format_names_the_variable_and_the_choices() {
        let error = settings(&[("LOG_FORMAT", "xml")]).expect_err("xml is no format");
        assert_eq!(
            error.to_string(),
            "LOG_FORMAT is \"xml\"; use \"json\" or \"text\""
        );
    }
}
