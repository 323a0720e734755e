//! Backups in S3 as a user meets them, alone and beside the volume, with a server outside of Kubernetes that goes and comes.

use std::{net::SocketAddr, path::Path};

use pgo_s3::{Mood, S3};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{
    Cluster, Watch,
    cluster::{BACKED_UP, unique},
    events::types,
    kubectl,
    kubernetes::{apply, condition, get, list, text},
    namespace, operator, pgo,
    programs::{program, run},
    turns::alone,
    until,
    until::seen,
};

/// The Secret that keys of clusters are copied from.
const KEY: &str = "pgo-backrest-repo-config";

/// An S3 server that pods reach by the name of a Service, and that PGO is told of; all that goes with this.
struct Storage {
    server: S3,
    service: String,
    /// What `pgo.yaml` was.
    before: String,
    #[allow(dead_code, reason = "the folder is there as long as this is")]
    folder: TempDir,
}

impl Drop for Storage {
    fn drop(&mut self) {
        configure(&self.before);
        let service = format!("service/{}", self.service);
        kubectl(&["delete", &service, "-n", &namespace()]);
        kubectl(&["delete", "secret", KEY, "-n", &operator()]);
    }
}

/// The address of this machine that pods reach: that of the API server.
fn here() -> std::net::IpAddr {
    let path = "jsonpath={.clusters[0].cluster.server}";
    let server = kubectl(&["config", "view", "--minify", "-o", path])
        .ok()
        .out;
    let address = server.trim_start_matches("https://").parse::<SocketAddr>();
    address.expect("the API server has an address").ip()
}

/// A certificate for this name, with its authority, in a folder.
fn certificate(folder: &Path, name: &str) {
    let script = format!(
        "set -e; cd '{}'; \
         openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 2 -subj /CN=storage; \
         openssl req -newkey rsa:2048 -nodes -keyout tls.key -out tls.csr -subj '/CN={name}'; \
         printf 'subjectAltName=DNS:%s' '{name}' >extensions; \
         openssl x509 -req -in tls.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out tls.crt -days 2 -extfile extensions",
        folder.display()
    );
    run(program("sh", &["-c", &script]), "").ok();
}

fn configure(text: &str) {
    let patch = json!({"data": {"pgo.yaml": text}}).to_string();
    let operator = operator();
    let configuration = ["patch", "configmap", "pgo-config", "-n", &operator];
    kubectl(&[&configuration[..], &["--type=merge", "-p", &patch]].concat()).ok();
}

/// A Service that leads to a server outside.
fn lead(service: &str, server: SocketAddr) {
    let ports = json!([{"name": "s3", "port": server.port(), "protocol": "TCP"}]);
    apply(&json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": service, "namespace": namespace()},
        "spec": {"ports": ports},
    }))
    .ok();
    apply(&json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "name": service, "namespace": namespace(), "labels": {"kubernetes.io/service-name": service},
            "ownerReferences": [{
                "apiVersion": "v1", "kind": "Service", "name": service,
                "uid": text(&get("service", service, &namespace()).expect("a Service"), "/metadata/uid"),
            }],
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [server.ip()]}],
        "ports": ports,
    }))
    .ok();
}

impl Storage {
    fn start() -> Self {
        let service = unique("storage");
        let host = format!("{service}.{}.svc", namespace());
        let folder = tempfile::tempdir().expect("a folder");
        certificate(folder.path(), &host);
        let address = SocketAddr::new(here(), 0);
        let server = S3::start(address, folder.path());
        lead(&service, SocketAddr::new(address.ip(), server.port()));
        let authority = std::fs::read_to_string(folder.path().join("ca.crt"));
        apply(&json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": KEY, "namespace": operator()},
            "stringData": {
                "aws-s3-key": pgo_s3::KEY, "aws-s3-key-secret": pgo_s3::KEY_SECRET,
                "aws-s3-ca.crt": authority.expect("an authority"),
            },
        }))
        .ok();
        let file = get("configmap", "pgo-config", &operator()).expect("its configuration");
        let before = text(&file, "/data/pgo.yaml");
        let further = format!(
            "Cluster:\n  BackrestS3Bucket: {}\n  BackrestS3Endpoint: {host}:{}\n  BackrestS3Region: here\n  \
             BackrestS3URIStyle: path\n",
            pgo_s3::BUCKET,
            server.port()
        );
        configure(&before.replace("Cluster:\n", &further));
        Self {
            server,
            service,
            before,
            folder,
        }
    }
}

/// A cluster with its backups there, made as soon as the services know of the bucket.
fn cluster(prefix: &str, places: &str) -> Cluster {
    let cluster = Cluster::named(prefix);
    let places = format!("--pgbackrest-storage-type={places}");
    until("a cluster with backups in s3", BACKED_UP, || {
        let created = cluster.create(&["--pgbackrest=true", &places, "--wait"]);
        let is_known = !created.err.contains("Storage type 's3' not allowed");
        seen(is_known, || created.to_string())?;
        created.ok();
        Ok(())
    });
    cluster.until_repository();
    cluster
}

fn back_up(cluster: &Cluster) {
    let full = ["backup", &cluster.name, "--backup-opts=--type=full"];
    pgo(&[&full[..], &["--wait", "--timeout=3m"]].concat()).ok();
}

/// The numbers of pgBackRest's repositories of all backups.
fn places(cluster: &Cluster) -> Vec<Value> {
    let shown = pgo(&["show", "backup", &cluster.name, "-o", "json"]).ok();
    let sets = shown.json()["Items"][0]["Stanzas"][0]["backup"].clone();
    let sets = sets.as_array().cloned().unwrap_or_default();
    sets.iter()
        .map(|set| set["database"]["repo-key"].clone())
        .collect()
}

fn until_archiving_is(cluster: &Cluster, status: &str, words: &str) {
    until(&format!("Archiving {status}"), BACKED_UP, || {
        let object = cluster.object().ok_or("it is not there")?;
        let archiving = condition(&object, "Archiving").unwrap_or_default();
        let is_so = archiving["status"] == status && archiving.to_string().contains(words);
        seen(is_so, || archiving.to_string())
    });
}

/// It is told when it has gone on for a while.
fn until_told(watch: &Watch, cluster: &Cluster, event_type: &str) {
    until(event_type, BACKED_UP, || {
        let told = types(&watch.of(&cluster.uid()));
        seen(told.iter().any(|one| one == event_type), || {
            format!("{told:?}")
        })
    });
}

/// Nothing that users may look at has the key.
fn assert_secret(cluster: &Cluster) {
    let selector = format!("pg-cluster={}", cluster.name);
    for kinds in [
        "pods",
        "deployments",
        "pgclusters",
        "pgtasks",
        "configmaps",
        "events",
    ] {
        let all = json!(list(kinds, &selector, &namespace())).to_string();
        assert!(!all.contains(pgo_s3::KEY_SECRET), "it is in {kinds}");
    }
}

#[test]
fn backups_in_s3_are_made_kept_and_restored_while_it_goes_and_comes() {
    let _turn = alone();
    let watch = Watch::begin();
    let mut storage = Storage::start();
    let alone = cluster("s3", "s3");
    let name = alone.name.as_str();
    alone
        .psql("CREATE TABLE kept (n int); INSERT INTO kept VALUES (1);")
        .ok();
    back_up(&alone);
    let shown = pgo(&["show", "backup", name]).ok();
    assert!(shown.out.contains("Storage Type: s3"), "{shown}");
    assert!(!shown.out.contains("Storage Type: local"), "{shown}");
    pgo(&["backup", name, "--pgbackrest-storage-type=local"])
        .failed(2, &["Storage type 'local' not allowed"]);
    assert_secret(&alone);

    storage.server.set(Mood::Gone);
    alone.psql("INSERT INTO kept VALUES (2);").ok();
    alone.psql_as_superuser("SELECT pg_switch_wal();").ok();
    until_archiving_is(&alone, "False", "unable to connect");
    until_told(&watch, &alone, "ArchivingFailed");
    storage.server.set(Mood::Serve);
    until_archiving_is(&alone, "True", "");
    until_told(&watch, &alone, "ArchivingRecovered");
    storage.server.set(Mood::Refuse);
    let full = ["backup", name, "--backup-opts=--type=full"];
    pgo(&[&full[..], &["--wait", "--timeout=3m"]].concat()).failed(2, &["403 (Forbidden)"]);
    alone.psql_as_superuser("SELECT pg_switch_wal();").ok();
    until_archiving_is(&alone, "False", "403");
    // Slow is not away: what it takes takes longer, and is whole.
    storage.server.set(Mood::Slow);
    until_archiving_is(&alone, "True", "");
    let changed = ["backup", name, "--backup-opts=--type=incr"];
    pgo(&[&changed[..], &["--wait", "--timeout=5m"]].concat()).ok();
    storage.server.set(Mood::Serve);

    let restored = ["restore", name, "--no-prompt", "--wait", "--timeout=5m"];
    pgo(&restored).ok();
    let rows = alone.ask("SELECT string_agg(n::text, ',' ORDER BY n) FROM kept;");
    assert_eq!(rows, "1,2");
    watch.check_to_its_end(&alone.uid());
    drop(alone);

    let both = cluster("both", "local,s3");
    back_up(&both);
    assert_eq!(places(&both), [1, 2]);
    let local = ["backup", &both.name, "--pgbackrest-storage-type=local"];
    pgo(&[&local[..], &["--wait", "--timeout=3m"]].concat()).ok();
    assert_eq!(places(&both).len(), 3);
    let keep = json!({"spec": {"backrestRetention": {"full": 1}}}).to_string();
    let patch = ["patch", "pgcluster", &both.name, "-n", &namespace()];
    kubectl(&[&patch[..], &["--type=merge", "-p", &keep]].concat()).ok();
    back_up(&both);
    assert_eq!(places(&both), [1, 2]);
    let events = types(&watch.of(&both.uid()));
    assert!(
        !events.contains(&"CreateBackupFailure".to_owned()),
        "{events:?}"
    );
    watch.check_to_its_end(&both.uid());
}
