//! Clusters with backups and the data of pgbench.

use std::{process::Command, time::Duration};

use serde_json::{Value, json};

use crate::harness::{
    Cluster, kubernetes::apply, pgo, programs::program, sql::Database, until, until::seen,
};

/// Where Debian keeps PostgreSQL's programs.
const PROGRAMS: &str = "/usr/lib/postgresql/15/bin";

/// What has pgbench make 2 GB.
pub const MAKE: [&str; 4] = ["--initialize", "--quiet", "--scale", "135"];

/// How long the repository may take until it can be used.
const REPOSITORY: Duration = Duration::from_secs(180);

/// How long a replica may take until it streams.
const STREAMS: Duration = Duration::from_secs(300);

/// One of PostgreSQL's programs.
pub fn postgres(name: &str) -> String {
    format!("{PROGRAMS}/{name}")
}

/// A cluster whose volumes have room for 2 GB and what is written besides, with a repository and without drills.
pub fn with_backups(prefix: &str, spec: &Value) -> Cluster {
    let cluster = Cluster::named(prefix);
    let storage =
        json!({"storagetype": "dynamic", "storageclass": "local", "size": "6Gi", "fsgroup": "26"});
    let mut whole = json!({
        "PrimaryStorage": storage, "ReplicaStorage": storage, "BackrestStorage": storage, "restoreDrills": "never",
    });
    let fields = whole.as_object_mut().expect("an object");
    fields.extend(spec.as_object().expect("an object").clone());
    let mut manifest = cluster.manifest(whole);
    manifest["metadata"]["labels"]["pgo-backrest"] = json!("true");
    apply(&manifest).ok();
    cluster.until_ready();
    until("a repository with its stanza", REPOSITORY, || {
        let shown = pgo(&["show", "backup", &cluster.name]);
        seen(shown.out.contains("stanza: db"), || shown.to_string())
    });
    cluster
}

/// pgbench on this database.
pub fn pgbench(database: &Database, arguments: &[&str]) -> Command {
    let mut command = program(&postgres("pgbench"), arguments);
    command
        .env("PGHOST", &database.address)
        .env("PGDATABASE", Database::NAME)
        .env("PGUSER", &database.user)
        .env("PGPASSWORD", &database.password);
    command
}

/// Waits until its replica streams.
pub fn until_it_streams(cluster: &Cluster) {
    until("a replica that streams", STREAMS, || {
        let object = cluster.object().ok_or("it is not there")?;
        let instances = object["status"]["instances"].as_array().cloned();
        let streams = instances
            .unwrap_or_default()
            .iter()
            .any(|one| one["streaming"] == true && one["ready"] == true);
        seen(streams, || object["status"].to_string())
    });
}
