//! A cluster of one test.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};

use super::{
    Ran,
    kubernetes::{condition, get, list, text},
    namespace, pgo,
    programs::{program, run},
    until,
    until::seen,
};

/// How long a cluster may take to be ready on a busy machine of two cores.
pub const READY: Duration = Duration::from_secs(90);

/// How long a backup of a small database may take there, with what goes before it.
pub const BACKED_UP: Duration = Duration::from_secs(180);

/// How long a cluster may take to be gone.
pub const GONE: Duration = Duration::from_secs(90);

/// A name nobody else has, so that tests of an earlier run do no harm.
pub fn unique(prefix: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a time after 1970");
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{prefix}-{:x}{count}", now.as_millis() % 0x100_0000)
}

/// A cluster's name; what the cluster left is removed with this value, also when the test failed.
pub struct Cluster {
    /// Its name.
    pub name: String,
}

impl Cluster {
    /// A name for a cluster; nothing is made yet.
    pub fn named(prefix: &str) -> Self {
        Self {
            name: unique(prefix),
        }
    }

    /// A cluster made by `pgo create cluster`, ready.
    pub fn ready(prefix: &str) -> Self {
        let cluster = Self::named(prefix);
        cluster.create(&["--wait"]).ok();
        cluster
    }

    /// `pgo create cluster` with its name and these flags; without backups where these do not say what is to be of them: a
    /// repository for each cluster would take the time and memory of a second one.
    pub fn create(&self, flags: &[&str]) -> Ran {
        let mut arguments = vec!["create", "cluster", &self.name];
        arguments.extend(flags);
        if !flags.iter().any(|flag| flag.starts_with("--pgbackrest=")) {
            arguments.push("--pgbackrest=false");
        }
        pgo(&arguments)
    }

    /// A cluster made by `pgo create cluster` with these flags besides, ready, and so is its repository.
    pub fn with_repository(prefix: &str, flags: &[&str]) -> Self {
        let cluster = Self::named(prefix);
        cluster
            .create(&[&["--pgbackrest=true", "--wait"], flags].concat())
            .ok();
        cluster.until_repository();
        cluster
    }

    /// Waits until its repository answers and has its stanza.
    pub fn until_repository(&self) {
        until("a repository with its stanza", BACKED_UP, || {
            let shown = pgo(&["show", "backup", &self.name]);
            seen(shown.out.contains("stanza: db"), || shown.to_string())
        });
    }

    /// The smallest Pgcluster of that name without backups, with this spec.
    pub fn manifest(&self, spec: Value) -> Value {
        let labels = json!({"pgo-backrest": "false"});
        json!({
            "apiVersion": "crunchydata.com/v1", "kind": "Pgcluster",
            "metadata": {"name": self.name, "namespace": namespace(), "labels": labels},
            "spec": spec,
        })
    }

    /// The object, or nothing.
    pub fn object(&self) -> Option<Value> {
        get("pgcluster", &self.name, &namespace())
    }

    /// The object's condition Ready, waited for to be so and for this reason.
    pub fn until_ready_is(&self, status: &str, reason: &str, limit: Duration) -> Value {
        until(
            &format!("cluster {} with Ready={status} {reason}", self.name),
            limit,
            || {
                let object = self.object().ok_or("it is not there")?;
                let ready = condition(&object, "Ready").unwrap_or_default();
                if ready["status"] == status && (reason.is_empty() || ready["reason"] == reason) {
                    Ok(ready)
                } else {
                    Err(format!("{ready}"))
                }
            },
        )
    }

    /// Waits until it is ready.
    pub fn until_ready(&self) {
        self.until_ready_is("True", "", READY);
    }

    /// Waits until its object is gone.
    pub fn until_gone(&self) {
        until(
            &format!("cluster {} gone", self.name),
            GONE,
            || match self.object() {
                None => Ok(()),
                Some(object) => Err(object["status"].to_string()),
            },
        );
    }

    /// The uid of the object: the stream of its events.
    pub fn uid(&self) -> String {
        text(
            &self.object().expect("the cluster is there"),
            "/metadata/uid",
        )
    }

    /// Every object that carries its name, but Pgcluster and Pgtask.
    pub fn belongings(&self) -> Vec<Value> {
        list(
            "pods,persistentvolumeclaims,secrets,services,endpointslices,leases,serviceaccounts,roles,rolebindings",
            &format!("pg-cluster={}", self.name),
            &namespace(),
        )
    }

    /// Its pod.
    pub fn pod(&self) -> Value {
        get("pod", &self.name, &namespace()).expect("the cluster has a pod")
    }
}

/// Lines of each agent's log that are shown of a cluster whose test failed.
const LINES: usize = 8;

/// Shows what a cluster whose test failed was doing, before it goes.
fn show_failed(name: &str) {
    let namespace = namespace();
    let selector = format!("pg-cluster={name}");
    let shown = |verb: &str, of: &[&str]| {
        let mut arguments = vec![verb, "-n", &namespace];
        arguments.extend(of);
        run(program("kubectl", &arguments), "").out
    };
    let all = ["pods,leases", "-l", &selector, "-o", "wide"];
    println!("{}", shown("get", &all));
    for pod in shown("get", &["pods", "-l", &selector, "-o", "name"]).lines() {
        let log = shown("logs", &[pod, "-c", "database", "--tail=2000"]);
        // PostgreSQL's own lines are many, and say less of why it is not told to serve.
        let of_agent = |line: &&str| !line.contains("\"target\":\"postgres\"");
        let own: Vec<&str> = log.lines().filter(of_agent).collect();
        println!("--- {pod}: what its agent said last");
        for line in &own[own.len().saturating_sub(LINES)..] {
            println!("{}", line.chars().take(400).collect::<String>());
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if thread::panicking() {
            let name = self.name.clone();
            let _ = thread::spawn(move || show_failed(&name)).join();
        }
        // Not waited for: names are unique. Nothing here may panic, a failed test is on its way.
        let quietly = |arguments: &[&str]| {
            let _ = thread::spawn({
                let arguments: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
                move || {
                    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
                    run(program("kubectl", &arguments), "")
                }
            })
            .join();
        };
        let namespace = std::env::var("PGO_NAMESPACE").unwrap_or_default();
        let common = [
            "-n",
            namespace.as_str(),
            "--ignore-not-found",
            "--wait=false",
        ];
        let selector = format!("pg-cluster={}", self.name);
        let with = |words: &[&str]| -> Vec<String> {
            let all = words.iter().chain(&common);
            all.map(|word| (*word).to_owned()).collect()
        };
        for words in [
            with(&["delete", "pgcluster", &self.name]),
            with(&["delete", "pgtask", "-l", &selector]),
            with(&["delete", "persistentvolumeclaim,secret", "-l", &selector]),
        ] {
            quietly(&words.iter().map(String::as_str).collect::<Vec<_>>());
        }
    }
}
