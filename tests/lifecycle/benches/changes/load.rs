//! How much processor time a container has used, by its control group.

use std::{fs, path::Path, time::Duration};

use serde_json::Value;

use crate::harness::containers::process;

/// What the container with PostgreSQL of this pod has used since it began.
pub fn used_by(pod: &Value) -> Duration {
    let process = process(pod, "database").expect("it runs");
    let groups = fs::read_to_string(format!("/proc/{process}/cgroup")).expect("it has groups");
    let root = Path::new("/sys/fs/cgroup");
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(kinds), Some(path)) = (parts.next(), parts.next()) else {
            continue;
        };
        let path = path.trim_start_matches('/');
        if kinds.split(',').any(|kind| kind == "cpuacct") {
            // Version 1 (the kernel's documentation, "CPU Accounting Controller"), in nanoseconds.
            let text = fs::read_to_string(root.join("cpuacct").join(path).join("cpuacct.usage"));
            return Duration::from_nanos(number(&text.expect("it is counted")));
        }
        let file = root.join(path).join("cpu.stat");
        if let Some(text) = fs::read_to_string(file).ok().filter(|_| kinds.is_empty()) {
            // Version 2 (the kernel's documentation, "Control Group v2"), in microseconds.
            let used = text
                .lines()
                .find_map(|line| line.strip_prefix("usage_usec "));
            return Duration::from_micros(number(used.expect("it is counted")));
        }
    }
    panic!("process {process} is in no group that counts processor time: {groups}");
}

fn number(text: &str) -> u64 {
    text.trim().parse().expect("a number")
}
