//! How much memory the services use when they have nothing to do.

use std::{path::PathBuf, thread, time::Duration};

use anyhow::Context as _;
use serde_json::Value;

use crate::{
    figures::Figure,
    programs::{operator, run},
};

/// Time for what was going on to end.
const IDLE: Duration = Duration::from_secs(10);

/// The aim, in MiB.
const AIM: f64 = 60.0;

/// Measures the resident memory of every process of PGO, from this machine's own view of them.
pub fn measure() -> anyhow::Result<Vec<Figure>> {
    thread::sleep(IDLE);
    let operator = operator();
    let pods = run(
        "kubectl",
        &[
            "get",
            "pods",
            "--namespace",
            &operator,
            "--selector",
            "pgo-process",
            "--output",
            "json",
        ],
    )?;
    let pods: Value = serde_json::from_str(&pods)?;
    let mut figures = Vec::new();
    let (mut services, mut all) = (0.0, 0.0);
    for pod in pods["items"].as_array().into_iter().flatten() {
        let name = pod["metadata"]["labels"]["pgo-process"]
            .as_str()
            .unwrap_or_default();
        let resident = resident(process(pod)?)?;
        all += resident;
        if name != "nsqd" {
            services += resident;
        }
        figures.push(Figure {
            what: format!("resident memory of {name}, idle"),
            aim: "",
            measured: format!("{resident:.1} MiB"),
            met: None,
        });
    }
    figures.push(Figure {
        what: "resident memory of all services together, nsqd among them".to_owned(),
        aim: "under 60 MiB",
        measured: format!("{all:.1} MiB ({services:.1} MiB without nsqd)"),
        met: Some(all < AIM),
    });
    Ok(figures)
}

/// Process 1 of a pod's container, as a process of this machine.
fn process(pod: &Value) -> anyhow::Result<u32> {
    let folder = std::env::var("PGO_LOCAL_DIR").unwrap_or_else(|_| "/var/lib/pgo-local".to_owned());
    let node = pod["spec"]["nodeName"].as_str().unwrap_or_default();
    let socket = PathBuf::from(folder).join(node).join("containerd.sock");
    let id = pod["status"]["containerStatuses"][0]["containerID"]
        .as_str()
        .unwrap_or_default();
    let id = id.trim_start_matches("containerd://");
    let tasks = run(
        "ctr",
        &[
            "--address",
            &socket.to_string_lossy(),
            "--namespace",
            "k8s.io",
            "tasks",
            "list",
        ],
    )?;
    tasks
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .find(|columns| columns.first() == Some(&id))
        .and_then(|columns| columns.get(1)?.parse().ok())
        .with_context(|| format!("container {id} does not run"))
}

/// Resident memory of a process, in MiB.
fn resident(process: u32) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let kib: f64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok())
        .with_context(|| format!("process {process} tells no VmRSS"))?;
    Ok(kib / 1024.0)
}
