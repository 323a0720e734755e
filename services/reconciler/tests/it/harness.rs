//! A reconciler of its own for each test, and an authority for its peers.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use clap::Parser as _;
use jiff::{SignedDuration, Timestamp};
use pgo_reconciler::Settings;
use pgo_telemetry::{CancellationToken, Telemetry};
use pgo_tls::{Authority, LeafSpec};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::kubernetes::Kubernetes;

/// Longest wait for what should be there at once; only a failing test reaches it.
pub const SOON: Duration = Duration::from_secs(30);

/// Namespace of the clusters.
pub const NS: &str = "pgouser1";

pub const PGO_YAML: &str = "
PrimaryStorage: local
BackupStorage: local
ReplicaStorage: local
Storage:
  local: {AccessMode: ReadWriteOnce, Size: 1Gi, StorageType: dynamic, StorageClass: local, Fsgroup: 26}
ContainerResources:
  small: {RequestsMemory: 512Mi, RequestsCPU: 0.1, LimitsMemory: 512Mi, LimitsCPU: 0.1}
Cluster:
  CCPImagePrefix: example.org/pgo
  CCPImageTag: debian12-15
  User: testuser
  Port: 5432
Pgo:
  PGOImagePrefix: example.org/pgo
  PGOImageTag: v1
";

/// Kubernetes with what the installer makes.
pub fn installation() -> Kubernetes {
    let kubernetes = Kubernetes::new();
    configure(&kubernetes, PGO_YAML);
    for namespace in [NS, "gone"] {
        give(&kubernetes, namespace, "one");
    }
    kubernetes
}

/// Labels a namespace as one of an installation.
pub fn give(kubernetes: &Kubernetes, namespace: &str, installation: &str) {
    let labels = json!({"vendor": "crunchydata", "pgo-installation-name": installation});
    let object = json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels},
    });
    kubernetes.put("namespaces", "", object);
}

pub fn configure(kubernetes: &Kubernetes, pgo_yaml: &str) {
    let config = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "pgo-config"}, "data": {"pgo.yaml": pgo_yaml},
    });
    kubernetes.put("configmaps", "pgo", config);
}

pub fn create_cluster(kubernetes: &Kubernetes, name: &str) {
    create_cluster_in(kubernetes, NS, name);
}

pub fn create_cluster_in(kubernetes: &Kubernetes, namespace: &str, name: &str) {
    let cluster = json!({
        "apiVersion": "crunchydata.com/v1", "kind": "Pgcluster",
        "metadata": {"name": name, "labels": {"pgouser": "pgoadmin"}}, "spec": {},
    });
    kubernetes.put("pgclusters", namespace, cluster);
}

pub fn cluster(kubernetes: &Kubernetes, name: &str) -> Value {
    let found = kubernetes.get("pgclusters", NS, name);
    found.unwrap_or_else(|| panic!("there is no cluster {name}"))
}

/// How a cluster is, in one word.
pub fn phase(kubernetes: &Kubernetes, name: &str) -> String {
    let found = kubernetes.get("pgclusters", NS, name).unwrap_or_default();
    let phase = found["status"]["phase"].as_str();
    phase.unwrap_or_default().to_owned()
}

/// Uid of a cluster, and so the name of its stream.
pub fn uid(kubernetes: &Kubernetes, name: &str) -> String {
    let cluster = cluster(kubernetes, name);
    cluster["metadata"]["uid"].as_str().unwrap().to_owned()
}

/// An authority, and certificates of it.
pub struct Certificates {
    authority: Authority,
    pub folder: TempDir,
}

impl Certificates {
    pub fn new() -> Self {
        Self::of_days(400)
    }

    /// Of an authority that lives for so many days.
    pub fn of_days(days: i64) -> Self {
        pgo_tls::provider();
        let folder = tempfile::tempdir().unwrap();
        let life = SignedDuration::from_hours(24 * days);
        let generated = Authority::generate("test authority", Timestamp::now(), life).unwrap();
        let key = generated.key_pem();
        let ca = folder.path().join("ca");
        fs::create_dir(&ca).unwrap();
        fs::write(ca.join("tls.crt"), generated.certificate_pem()).unwrap();
        fs::write(ca.join("tls.key"), key.as_bytes()).unwrap();
        Self {
            authority: generated,
            folder,
        }
    }

    /// The folder of a process.
    pub fn of(&self, identity: &str) -> std::path::PathBuf {
        let folder = self.folder.path().join(identity);
        if !folder.exists() {
            fs::create_dir(&folder).unwrap();
            self.issue(identity, &folder);
        }
        folder
    }

    /// A certificate that ends after so many days, as PEM.
    pub fn ending_after(&self, days: i64) -> String {
        let spec = LeafSpec::of_identity("any.pgo", SignedDuration::from_hours(24 * days));
        let leaf = self.authority.issue(&spec, Timestamp::now()).unwrap();
        leaf.certificate_pem
    }

    fn issue(&self, identity: &str, folder: &Path) {
        let spec = LeafSpec::of_identity(identity, SignedDuration::from_hours(1));
        let leaf = self.authority.issue(&spec, Timestamp::now()).unwrap();
        fs::write(folder.join("tls.crt"), &leaf.certificate_pem).unwrap();
        fs::write(folder.join("tls.key"), leaf.key_pem.as_bytes()).unwrap();
        fs::write(folder.join("ca.crt"), self.authority.certificate_pem()).unwrap();
    }
}

/// A reconciler that runs.
pub struct Reconciler {
    telemetry: Telemetry,
    shutdown: CancellationToken,
    served: JoinHandle<anyhow::Result<()>>,
}

impl Reconciler {
    /// One that publishes nothing: events count as stored when they are written.
    pub fn start(kubernetes: &Kubernetes, certificates: &Certificates) -> Self {
        Self::start_with(kubernetes, certificates, &["--disable-eventing=true"])
    }

    /// With further arguments as on the command line. No broker listens anywhere.
    pub fn start_with(
        kubernetes: &Kubernetes,
        certificates: &Certificates,
        arguments: &[&str],
    ) -> Self {
        let tls = format!("--tls-dir={}", certificates.of("reconciler.pgo").display());
        let ca = format!(
            "--ca-dir={}",
            certificates.folder.path().join("ca").display()
        );
        let mut all = vec![
            "reconciler",
            "--operator-namespace=pgo",
            "--installation-name=one",
            &tls,
            &ca,
        ];
        for (name, default) in [
            ("--identity", "--identity=first"),
            ("--namespaces", "--namespaces=pgouser1"),
            ("--event-service", "--event-service=127.0.0.1:1"),
            ("--event-addr", "--event-addr=127.0.0.1:1"),
        ] {
            if !arguments.iter().any(|given| given.starts_with(name)) {
                all.push(default);
            }
        }
        let settings = Settings::parse_from(all.iter().chain(arguments));
        let telemetry = Telemetry::without_logs("reconciler", "test");
        let shutdown = CancellationToken::new();
        let (client, own, token) = (kubernetes.client(), telemetry.clone(), shutdown.clone());
        let served =
            tokio::spawn(
                async move { pgo_reconciler::serve(&settings, &own, client, token).await },
            );
        Self {
            telemetry,
            shutdown,
            served,
        }
    }

    /// Asks it to end, and tells how long that took.
    pub async fn stop(mut self) -> Duration {
        let begin = Instant::now();
        self.shutdown.cancel();
        let served = tokio::time::timeout(SOON, &mut self.served).await;
        served.expect("it ends in time").unwrap().unwrap();
        begin.elapsed()
    }

    /// The value of a metric; its labels belong to the name.
    pub fn metric(&self, name: &str) -> Option<f64> {
        let text = self.telemetry.metrics_text();
        let mut lines = text.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
    }

    /// Waits until so many more reconciles got to their end.
    pub async fn reconciles(&self, count: u32) {
        let now = || self.metric("pgo_reconciles_total").unwrap_or(0.0);
        let until = now() + f64::from(count);
        eventually("more reconciles", || now() >= until).await;
    }
}

impl Drop for Reconciler {
    fn drop(&mut self) {
        self.shutdown.cancel();
        self.served.abort();
    }
}

/// Waits until the condition holds.
pub async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < SOON, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
