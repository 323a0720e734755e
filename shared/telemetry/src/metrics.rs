//! The metrics that every process has.

use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, text},
    metrics::{
        gauge::{ConstGauge, Gauge},
        info::Info,
    },
    registry::Registry,
};

/// Registers what is known of a process without asking it: build, start, memory, open files.
pub(crate) fn register_process(
    registry: &mut Registry,
    process: &'static str,
    version: &'static str,
) {
    let build = Info::new(vec![("process", process), ("version", version)]);
    registry.register("pgo_build", "Which process this is, and its version", build);

    let start: Gauge = Gauge::default();
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    start.set(i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
    registry.register(
        "process_start_time_seconds",
        "Start of the process, in seconds since 1970",
        start,
    );
    registry.register_collector(Box::new(ProcFiles));
}

/// All metrics of `registry` as OpenMetrics text.
pub(crate) fn encode(registry: &Registry) -> String {
    let mut text = String::new();
    // Writing into a String does not fail; should an encoder refuse a value, the rest is served still.
    if let Err(error) = text::encode(&mut text, registry) {
        tracing::warn!(%error, "a metric could not be encoded");
    }
    text
}

/// Values that are read from /proc when they are asked for.
#[derive(Debug)]
struct ProcFiles;

impl Collector for ProcFiles {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let values = [
            (
                "process_resident_memory_bytes",
                "Resident memory of the process",
                resident_bytes(),
            ),
            (
                "process_open_fds",
                "Open file descriptors of the process",
                open_files(),
            ),
        ];
        for (name, help, value) in values {
            let Some(value) = value else { continue };
            let gauge = ConstGauge::new(value);
            let metric = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
            gauge.encode(metric)?;
        }
        Ok(())
    }
}

/// Resident memory in bytes. From `VmRSS`, which is in kB whatever the size of a page (proc(5)).
fn resident_bytes() -> Option<i64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: i64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

fn open_files() -> Option<i64> {
    let count = std::fs::read_dir("/proc/self/fd").ok()?.count();
    i64::try_from(count).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_tells_build_start_and_memory() {
        let mut registry = Registry::default();
        register_process(&mut registry, "event", "4.1.0");
        let text = encode(&registry);
        assert!(text.contains(r#"pgo_build_info{process="event",version="4.1.0"} 1"#));
        assert!(text.contains("\nprocess_start_time_seconds "));
        let resident: i64 = text
            .lines()
            .find_map(|line| line.strip_prefix("process_resident_memory_bytes "))
            .and_then(|value| value.parse().ok())
            .expect("resident memory is told");
        assert!(resident > 100_000, "{resident} bytes");
        assert!(text.ends_with("# EOF\n"));
    }
}
