//! Dumps by pg_dump and pg_dumpall as a user meets them: made, shown, restored, refused, and with their pod killed midway.

use std::{thread, time::Duration};

use serde_json::Value;

use crate::harness::{
    Cluster, Ran, Watch,
    events::{fields, types},
    kubectl,
    kubernetes::{condition, get, list, text},
    namespace, pgo,
    turns::together,
    until,
    until::seen,
};

/// How long a dump of a small database may take on a busy machine of two cores, with its pod and its volume.
const DUMPED: Duration = Duration::from_secs(180);

/// How long a Pgtask may take to say what became of it, once that is known.
const NOTED: Duration = Duration::from_secs(30);

/// How long a pod for one may take until it works.
const STARTED: Duration = Duration::from_secs(120);

/// `pgo` with these words and flags, once the former Pgtask of this name says that it is over; with `--wait` not for longer than a
/// command may take.
fn ask(words: &[&str], flags: &[&str], task: &str) -> Ran {
    until(&format!("the end of Pgtask {task}"), NOTED, || {
        let Some(former) = get("pgtask", task, &namespace()) else {
            return Ok(());
        };
        let complete = condition(&former, "Complete").unwrap_or_default();
        seen(
            complete["status"] == "True" || complete["reason"] == "Failed",
            || former["status"].to_string(),
        )
    });
    let limit: &[&str] = match flags.contains(&"--wait") {
        true => &["--timeout=180s"],
        false => &[],
    };
    pgo(&[words, &["--backup-type=pgdump"], flags, limit].concat())
}

fn dump(cluster: &Cluster, flags: &[&str]) -> Ran {
    let name = cluster.name.as_str();
    ask(&["backup", name], flags, &format!("backup-{name}-pgdump"))
}

fn restore(cluster: &Cluster, flags: &[&str]) -> Ran {
    let name = cluster.name.as_str();
    let words = ["restore", name, "--no-prompt"];
    ask(&words, flags, &format!("restore-{name}-pgdump"))
}

/// Holds the rows until there is a table `go_on`, for 180 s at most.
const HOLD: &str = "BEGIN; LOCK TABLE kept IN ACCESS EXCLUSIVE MODE;
DO $$ BEGIN
    FOR i IN 1..1800 LOOP
        EXIT WHEN EXISTS (SELECT FROM pg_class WHERE relname = 'go_on');
        PERFORM pg_sleep(0.1);
    END LOOP;
END $$;
COMMIT;";

/// Whether somebody has, or waits for, a lock of all rows, be it to dump them.
fn locks(cluster: &Cluster, how: &str) -> Result<(), String> {
    let found = cluster.ask(&format!(
        "SELECT string_agg(concat_ws(' ', mode, granted), ',') FROM pg_locks WHERE relation = 'kept'::regclass AND {how};"
    ));
    seen(!found.is_empty(), || {
        format!(
            "nobody; dump: {}; pods: {}",
            status(cluster)["dump"],
            states(&pods(cluster))
        )
    })
}

fn with_rows(prefix: &str) -> Cluster {
    let cluster = Cluster::named(prefix);
    cluster.create(&["--wait"]).ok();
    cluster
        .psql("CREATE TABLE kept (n int); INSERT INTO kept SELECT generate_series(1, 3);")
        .ok();
    cluster
}

fn rows(cluster: &Cluster) -> String {
    cluster.ask("SELECT string_agg(n::text, ',' ORDER BY n) FROM kept;")
}

fn status(cluster: &Cluster) -> Value {
    cluster.object().expect("it is there")["status"].clone()
}

/// The pods that make dumps of a cluster.
fn pods(cluster: &Cluster) -> Vec<Value> {
    let selector = format!("pg-cluster={},pgdump=true", cluster.name);
    list("pods", &selector, &namespace())
}

/// Names and states of pods.
fn states(pods: &[Value]) -> String {
    let pods = pods.iter();
    let all: Vec<String> = pods
        .map(|pod| format!("{} {}", text(pod, "/metadata/name"), pod["status"]))
        .collect();
    all.join("; ")
}

#[test]
fn rows_that_were_dumped_are_back_after_a_restore() {
    let _turn = together();
    let watch = Watch::begin();
    let cluster = with_rows("dump");
    let name = cluster.name.as_str();
    let claim = format!("backup-{name}-pgdump-pvc");
    let dumped = dump(&cluster, &["--wait"]).ok();
    assert!(
        dumped
            .out
            .contains(&format!("created Pgtask backup-{name}-pgdump"))
            && dumped.out.contains(&format!("{name}  backed up")),
        "{dumped}"
    );
    let events = watch.until(&cluster.uid(), "CreateDumpCompleted");
    let [path] = fields(&events, "CreateDumpCompleted", "/path")
        .try_into()
        .expect("one end");
    let at = path.rsplit('/').next().unwrap_or_default().to_owned();
    let wanted = [
        format!("\tPVC Name:\t{claim}\n"),
        "\tBackup Status:\tjob completed\n".to_owned(),
        format!("\tBackup Path:\t{path}\n"),
    ];
    until("what is shown of it", NOTED, || {
        let shown = pgo(&["show", "backup", name, "--backup-type=pgdump"]);
        let all = wanted.iter().all(|part| shown.out.contains(part));
        seen(all, || shown.to_string())
    });
    let claim_there = get("persistentvolumeclaim", &claim, &namespace()).expect("a claim");
    assert_eq!(claim_there["metadata"]["ownerReferences"], Value::Null);
    until("its pod to go", DUMPED, || {
        let left = pods(&cluster);
        seen(left.is_empty(), || states(&left))
    });

    cluster.psql("DROP TABLE kept;").ok();
    let restored = restore(&cluster, &["--wait"]).ok();
    assert!(!restored.out.contains("Warning"), "{restored}");
    assert!(
        restored.out.contains(&format!(
            "restore performed on {name} to {claim} opts= pitr-target="
        )),
        "{restored}"
    );
    assert_eq!(rows(&cluster), "1,2,3");

    // Into what is there already: as a whole or not at all.
    cluster.psql("INSERT INTO kept VALUES (4);").ok();
    let named = format!("--pitr-target={at}");
    restore(&cluster, &[&named, "--wait"]).failed(2, &["already exists"]);
    assert_eq!(rows(&cluster), "1,2,3,4");
    let clean = [&named, "--backup-opts=--clean --if-exists", "--wait"];
    restore(&cluster, &clean).ok();
    assert_eq!(rows(&cluster), "1,2,3");
    watch.check_to_its_end(&cluster.uid());
}

#[test]
fn all_databases_are_dumped_with_their_roles_to_a_claim_of_its_own() {
    let _turn = together();
    let watch = Watch::begin();
    let cluster = with_rows("dumpall");
    cluster.psql_as_superuser("CREATE ROLE reader;").ok();
    let claim = format!("{}-others", cluster.name);
    let named = format!("--pvc-name={claim}");
    dump(&cluster, &["--backup-opts=--dump-all", &named, "--wait"]).ok();
    cluster.psql("DROP TABLE kept;").ok();
    cluster.psql_as_superuser("DROP ROLE reader;").ok();
    let from = format!("--backup-pvc={claim}");
    restore(&cluster, &[&from, "--wait"]).ok();
    assert_eq!(rows(&cluster), "1,2,3");
    let role = "SELECT rolname FROM pg_roles WHERE rolname = 'reader';";
    assert_eq!(cluster.ask(role), "reader");
    watch.check_to_its_end(&cluster.uid());
}

#[test]
fn what_cannot_be_dumped_or_restored_changes_nothing() {
    let _turn = together();
    let watch = Watch::begin();
    let cluster = with_rows("nodump");
    let name = cluster.name.as_str();
    for (flags, words) in [
        (
            vec!["--backup-opts=--host=evil"],
            "Flag --host is not supported for use with PGO",
        ),
        (
            vec!["--backup-opts=-h evil"],
            "Shorthand flag -h is not supported",
        ),
        (vec!["--backup-opts=--type=full"], "unknown flag: --type"),
        (
            vec!["--storage-config=nosuch"],
            "nosuch Storage config was not found",
        ),
    ] {
        dump(&cluster, &flags).failed(2, &[words]);
    }
    restore(&cluster, &["--backup-pvc=nosuch"])
        .failed(2, &["persistentvolumeclaims \"nosuch\" not found"]);
    // Known by the reconciler, and by the program.
    let data = format!("--pvc-name={name}");
    dump(&cluster, &[&data, "--wait"]).failed(2, &["holds the data of an instance"]);
    dump(&cluster, &["--backup-opts=--table=nosuch", "--wait"])
        .failed(2, &["no matching tables were found"]);
    let events = watch.until_count(&cluster.uid(), "CreateDumpFailure", 2);
    assert!(!types(&events).contains(&"CreateDumpCompleted".to_owned()));
    restore(&cluster, &["--wait"]).failed(2, &["there is no dump"]);
    assert_eq!(rows(&cluster), "1,2,3");
    assert_eq!(status(&cluster)["dumps"], Value::Null);
    watch.check_to_its_end(&cluster.uid());
}

#[test]
fn a_dump_whose_pod_is_killed_midway_is_made_by_another_one() {
    let _turn = together();
    let watch = Watch::begin();
    let cluster = with_rows("dumpkill");
    thread::scope(|scope| {
        let holds = scope.spawn(|| cluster.psql(HOLD));
        until("the lock", STARTED, || locks(&cluster, "granted"));
        dump(&cluster, &[]).ok();
        // In the middle: it waits for the lock.
        until("a pod at work", STARTED, || locks(&cluster, "NOT granted"));
        let killed = pods(&cluster);
        assert_eq!(killed.len(), 1, "{killed:?}");
        let pod = text(&killed[0], "/metadata/name");
        let now = ["delete", "pod", &pod, "--grace-period=0", "--force"];
        kubectl(&[&now[..], &["-n", &namespace()]].concat()).ok();
        until("another pod", STARTED, || {
            let now = pods(&cluster);
            let mut others = now
                .iter()
                .filter(|one| text(one, "/metadata/uid") != text(&killed[0], "/metadata/uid"));
            seen(
                others.any(|one| one["status"]["phase"] == "Running"),
                || states(&now),
            )
        });
        cluster.psql("CREATE TABLE go_on ();").ok();
        holds.join().expect("it ended").ok();
    });
    until("the dump", DUMPED, || {
        let status = status(&cluster);
        seen(status["dumps"].is_array(), || {
            format!("{}; pods: {}", status["dump"], states(&pods(&cluster)))
        })
    });
    let events = watch.until(&cluster.uid(), "CreateDumpCompleted");
    assert!(!types(&events).contains(&"CreateDumpFailure".to_owned()));
    let made = status(&cluster)["dumps"].clone();
    assert_eq!(made.as_array().map(Vec::len), Some(1), "{made}");
    // Both may be in it.
    cluster.psql("DROP TABLE kept, go_on;").ok();
    restore(&cluster, &["--wait"]).ok();
    assert_eq!(rows(&cluster), "1,2,3");
    watch.check_to_its_end(&cluster.uid());
}
