//! Loads of files of a claim as a user meets them: into a table, as a whole or not at all, refused, and with their pod killed.

use std::{fs, thread, time::Duration};

use serde_json::{Value, json};

use crate::harness::{
    Cluster, Ran, Watch,
    cluster::{READY, unique},
    events::{fields, types},
    kubectl,
    kubernetes::{apply, get, list, text},
    namespace, pgo,
    turns::together,
    until,
    until::seen,
};

/// How long a load of a small file may take on a busy machine of two cores, with its pod and its volume.
const LOADED: Duration = Duration::from_secs(180);

/// A claim with files; gone with this value.
struct Files(String);

impl Drop for Files {
    fn drop(&mut self) {
        kubectl(&["delete", "pvc", &self.0, "-n", &namespace(), "--wait=false"]);
    }
}

impl Files {
    /// Of the same storage as the cluster's data.
    fn with(cluster: &Cluster, files: &[(&str, &str)]) -> Self {
        let name = unique("files");
        let data = get("persistentvolumeclaim", &cluster.name, &namespace()).expect("its claim");
        let claim = json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name, "namespace": namespace()},
            "spec": {
                "accessModes": data["spec"]["accessModes"], "storageClassName": data["spec"]["storageClassName"],
                "resources": {"requests": {"storage": "16Mi"}},
            },
        });
        apply(&claim).ok();
        let made = Self(name);
        made.write(cluster, files);
        made
    }

    /// Writes them by a pod, as a user would.
    fn write(&self, cluster: &Cluster, files: &[(&str, &str)]) {
        let pod = cluster.pod();
        let containers = pod["spec"]["containers"].as_array().cloned();
        let containers = containers.unwrap_or_default();
        let database = containers.iter().find(|one| one["name"] == "database");
        let image = database.expect("its container")["image"].clone();
        let each = files.iter().enumerate();
        let script: Vec<String> = each
            .clone()
            .map(|(number, (file, _))| format!("printf %s \"$TEXT_{number}\" > /files/{file}"))
            .collect();
        let variables: Vec<Value> = each
            .map(|(number, (_, text))| json!({"name": format!("TEXT_{number}"), "value": text}))
            .collect();
        let writer = format!("{}-writer", self.0);
        let manifest = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": writer, "namespace": namespace()},
            "spec": {
                "restartPolicy": "Never", "automountServiceAccountToken": false, "terminationGracePeriodSeconds": 0,
                "securityContext": {"runAsNonRoot": true, "runAsUser": 26, "runAsGroup": 26, "fsGroup": 26,
                    "seccompProfile": {"type": "RuntimeDefault"}},
                "containers": [{
                    "name": "writer", "image": image, "imagePullPolicy": "IfNotPresent",
                    "command": ["/bin/sh", "-c", script.join(" && ")], "env": variables,
                    "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
                    "volumeMounts": [{"name": "files", "mountPath": "/files"}],
                }],
                "volumes": [{"name": "files", "persistentVolumeClaim": {"claimName": self.0}}],
            },
        });
        apply(&manifest).ok();
        until("the files", READY, || {
            let pod = get("pod", &writer, &namespace()).ok_or("no pod")?;
            let phase = text(&pod, "/status/phase");
            seen(phase == "Succeeded", || pod["status"].to_string())
        });
        kubectl(&["delete", "pod", &writer, "-n", &namespace()]).ok();
    }
}

/// A load file, with changes.
fn config(files: &Files, change: &[(&str, &str)]) -> String {
    let mut keys = vec![
        ("PGOImagePrefix", "crunchydata"),
        ("PGOImageTag", "centos7-4.1.0"),
        ("DbDatabase", "userdb"),
        ("DbUser", "testuser"),
        ("DbPort", "5432"),
        ("TableToLoad", "people"),
        ("FilePath", "people.csv"),
        ("FileType", "csv"),
        ("PVCName", files.0.as_str()),
    ];
    for (key, value) in change {
        keys.retain(|(known, _)| known != key);
        keys.push((key, value));
    }
    let lines = keys.iter().map(|(key, value)| format!("{key}: {value}\n"));
    lines.collect()
}

fn load(cluster: &str, config: &str, flags: &[&str]) -> Ran {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("load.yaml");
    fs::write(&file, config).expect("it can be written");
    let file = format!("--load-config={}", file.display());
    let mut all = vec!["load", cluster, &file];
    all.extend(flags);
    pgo(&all)
}

const WAIT: [&str; 2] = ["--wait", "--timeout=5m"];

fn with_table(prefix: &str) -> Cluster {
    let cluster = Cluster::ready(prefix);
    cluster
        .psql(
            "CREATE TABLE people (id int PRIMARY KEY, name text); CREATE TABLE documents (d json);",
        )
        .ok();
    cluster
}

fn rows(cluster: &Cluster) -> String {
    cluster.ask("SELECT coalesce(string_agg(id || name, ',' ORDER BY id), '') FROM people;")
}

/// The pods of the loads of a cluster.
fn pods(cluster: &Cluster) -> Vec<Value> {
    let selector = format!("pg-cluster={},pgo-load=true", cluster.name);
    list("pods", &selector, &namespace())
}

#[test]
fn files_of_a_claim_are_loaded_and_told_with_their_table() {
    let _turn = together();
    let watch = Watch::begin();
    let cluster = with_table("load");
    let name = cluster.name.as_str();
    let files = Files::with(
        &cluster,
        &[
            ("people.csv", "1,Ann\n2,\"Bob, the second\"\n"),
            ("documents.json", "{\"a\": \"x\"}\n{\"a\": \"y\"}\n"),
        ],
    );
    let in_schema = [("TableToLoad", "testuser.people")];
    let loaded = load(name, &config(&files, &in_schema), &WAIT).ok();
    assert!(
        loaded
            .out
            .starts_with(&format!("created Job pgo-load-{name}-"))
            && loaded.out.contains(&format!("{name}  loaded")),
        "{loaded}"
    );
    assert_eq!(rows(&cluster), "1Ann,2Bob, the second");
    let json = [
        ("TableToLoad", "testuser.documents"),
        ("FilePath", "documents.json"),
        ("FileType", "json"),
    ];
    load(name, &config(&files, &json), &WAIT).ok();
    assert_eq!(
        cluster.ask("SELECT string_agg(d->>'a', ',' ORDER BY d->>'a') FROM documents;"),
        "x,y"
    );
    let events = watch.until_count(&cluster.uid(), "LoadCompleted", 2);
    assert_eq!(
        fields(&events, "LoadCompleted", "/loadconfig"),
        ["testuser.people", "testuser.documents"]
    );
    let causes = fields(&events, "LoadCompleted", "/cause");
    assert!(
        causes[0].starts_with("2 rows of file people.csv"),
        "{causes:?}"
    );
    until("its pods to go", LOADED, || {
        let left = pods(&cluster);
        seen(left.is_empty(), || format!("{left:?}"))
    });
    watch.check_to_its_end(&cluster.uid());
}

#[test]
fn policies_make_the_table_before() {
    let _turn = together();
    let watch = Watch::begin();
    let cluster = Cluster::ready("loadpol");
    let files = Files::with(&cluster, &[("people.csv", "1,Ann\n")]);
    let policy = unique("people");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("people.sql");
    fs::write(&file, "CREATE TABLE public.people (id int, name text);\n")
        .expect("it can be written");
    let file = format!("--in-file={}", file.display());
    pgo(&["create", "policy", &policy, &file]).ok();
    let in_postgres = [
        ("DbDatabase", "postgres"),
        ("DbUser", "postgres"),
        ("TableToLoad", "public.people"),
    ];
    let named = format!("--policies={policy}");
    let flags = [named.as_str(), WAIT[0], WAIT[1]];
    load(&cluster.name, &config(&files, &in_postgres), &flags).ok();
    let counted =
        cluster.psql_as_superuser("\\connect postgres\nSELECT count(*) FROM public.people;");
    assert!(counted.ok().out.contains('1'));
    // It is there now: the policy fails, and nothing is loaded.
    load(&cluster.name, &config(&files, &in_postgres), &flags)
        .failed(2, &["Error in loading...", "nothing was loaded"]);
    pgo(&["delete", "policy", &policy, "--no-prompt"]).ok();
    let events = watch.until(&cluster.uid(), "LoadCompleted");
    assert!(types(&events).contains(&"ApplyPolicy".to_owned()));
    watch.check_to_its_end(&cluster.uid());
}

#[test]
fn a_file_that_does_not_fit_leaves_the_table_as_it_was() {
    let _turn = together();
    let watch = Watch::begin();
    let cluster = with_table("noload");
    let name = cluster.name.as_str();
    let files = Files::with(&cluster, &[("people.csv", "1,Ann\nsecret,Bob\n")]);
    let in_schema = [("TableToLoad", "testuser.people")];
    load(name, &config(&files, &in_schema), &WAIT).failed(2, &["line 2, column id"]);
    assert_eq!(rows(&cluster), "");
    let events = watch.until(&cluster.uid(), "LoadFailure");
    let causes = fields(&events, "LoadFailure", "/cause");
    assert!(!causes.concat().contains("secret"), "{causes:?}");
    let missing = [
        ("FilePath", "nosuch.csv"),
        ("TableToLoad", "testuser.people"),
    ];
    load(name, &config(&files, &missing), &WAIT)
        .failed(2, &["file nosuch.csv of the claim cannot be read"]);
    let nobody = [("DbUser", "nosuch"), ("TableToLoad", "testuser.people")];
    load(name, &config(&files, &nobody), &WAIT).failed(2, &["role \"nosuch\" does not exist"]);
    watch.check_to_its_end(&cluster.uid());

    // Nothing is begun of what is refused.
    for (cluster, change, words) in [
        (
            "nosuch-cluster",
            ("FileType", "csv"),
            "nosuch-cluster was not found, verify cluster name",
        ),
        (
            name,
            ("PVCName", "nosuch"),
            "persistentvolumeclaims \"nosuch\" not found",
        ),
        (name, ("FileType", "xml"), "there are csv and json"),
        (name, ("TableToLoad", ""), "TableToLoad is not supplied"),
        (
            name,
            ("TableToLoad", "people; DROP TABLE people"),
            "is the name of no table",
        ),
    ] {
        load(cluster, &config(&files, &[change]), &[]).failed(2, &["Error in loading...", words]);
    }
    load(name, &config(&files, &[]), &["--policies=nosuch"])
        .failed(2, &["policy nosuch is not found, cancelling request"]);
    let own = [("PVCName", name), ("TableToLoad", "testuser.people")];
    load(name, &config(&files, &own), &WAIT).failed(2, &["is part of cluster"]);
    let port = [("DbPort", "5433"), ("TableToLoad", "testuser.people")];
    load(name, &config(&files, &port), &WAIT).failed(2, &["is not that of cluster"]);
    watch.check_to_its_end(&cluster.uid());
}

#[test]
fn a_load_whose_pod_is_killed_is_not_done_again() {
    let _turn = together();
    let watch = Watch::begin();
    let cluster = with_table("loadkill");
    let files = Files::with(&cluster, &[("people.csv", "1,Ann\n")]);
    thread::scope(|scope| {
        // The load waits for this, in the middle.
        let holds = scope.spawn(|| {
            cluster.psql(
                "BEGIN; LOCK TABLE people IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(60); COMMIT;",
            )
        });
        until("the lock", LOADED, || {
            let held = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND relation = 'people'::regclass AND granted;";
            let count = cluster.ask(held);
            seen(count == "1", || count.clone())
        });
        let in_schema = [("TableToLoad", "testuser.people")];
        load(&cluster.name, &config(&files, &in_schema), &[]).ok();
        until("a load at work", LOADED, || {
            let waits = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgo-job';";
            let count = cluster.ask(waits);
            seen(count != "0", || count.clone())
        });
        let killed = pods(&cluster).first().cloned().expect("a pod");
        let pod = text(&killed, "/metadata/name");
        let space = namespace();
        let now = [
            "delete",
            "pod",
            &pod,
            "-n",
            &space,
            "--grace-period=0",
            "--force",
        ];
        kubectl(&now).ok();
        holds.join().expect("the lock was held").ok();
    });
    let events = watch.until(&cluster.uid(), "LoadFailure");
    let causes = fields(&events, "LoadFailure", "/cause");
    assert!(
        causes
            .concat()
            .contains("whether the rows are in the table is not known"),
        "{causes:?}"
    );
    assert_eq!(rows(&cluster), "");
    assert!(pods(&cluster).is_empty(), "none comes again");
    watch.check_to_its_end(&cluster.uid());
}
