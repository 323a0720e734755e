//! Benchmarks as a user meets them: asked for, shown, deleted, with a transaction of one's own, refused, and by kubectl.

use std::{fs, time::Duration};

use serde_json::{Value, json};

use crate::harness::{
    Cluster, Ran, Watch,
    cluster::unique,
    events::{fields, types},
    kubectl,
    kubernetes::{apply, list, text},
    namespace, pgo,
    turns::together,
    until,
    until::seen,
};

/// How long a small benchmark may take on a busy machine of two cores, with its pod.
const MEASURED: Duration = Duration::from_secs(180);

fn benchmark(cluster: &Cluster, flags: &[&str]) -> Ran {
    let mut all = vec!["benchmark", cluster.name.as_str()];
    all.extend(flags);
    pgo(&all)
}

fn show(cluster: &Cluster) -> Ran {
    pgo(&["show", "benchmark", &cluster.name])
}

/// The pods of the benchmarks of a cluster.
fn pods(cluster: &Cluster) -> Vec<Value> {
    let selector = format!("pg-cluster={},pgo-benchmark=true", cluster.name);
    list("pods", &selector, &namespace())
}

/// How many sessions of pgbench there are.
fn sessions(cluster: &Cluster) -> String {
    cluster.ask("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgo-job';")
}

/// Waits until the end of a benchmark is noted in its task; what is shown of it then.
fn until_shown(cluster: &Cluster, asked: &Ran) -> Ran {
    let id = asked.out.lines().nth(1).unwrap_or_default();
    let id = id.trim_start_matches("workflow id is ");
    until("its end in its task", MEASURED, || {
        let workflow = pgo(&["show", "workflow", id]);
        let is_noted =
            workflow.out.contains("job completed") && workflow.out.contains("completed\n");
        seen(is_noted, || workflow.to_string())
    });
    until("what came out", MEASURED, || {
        let shown = show(cluster);
        match shown.out.contains("tps = ") {
            true => Ok(shown),
            false => Err(shown.to_string()),
        }
    })
}

#[test]
fn a_benchmark_is_shown_until_it_is_deleted_and_told_once() {
    let _turn = together();
    let watch = Watch::begin();
    let cluster = Cluster::ready("bench");
    let name = cluster.name.as_str();
    let flags = [
        "--database=userdb",
        "--clients=2",
        "--transactions=20",
        "--wait",
        "--timeout=5m",
    ];
    let asked = benchmark(&cluster, &flags).ok();
    assert!(
        asked.out.starts_with(&format!(
            "Created benchmark task for {name}\nworkflow id is "
        )) && asked.out.contains(&format!("{name}  measured")),
        "{asked}"
    );
    let shown = until_shown(&cluster, &asked);
    for part in [
        format!("Results for benchmark-{name}-"),
        "\tnumber of clients: 2\n".to_owned(),
        "\tnumber of transactions actually processed: 40/40\n".to_owned(),
    ] {
        assert!(shown.out.contains(&part), "{part}: {shown}");
    }
    let count = cluster.psql_as_superuser("SELECT count(*) FROM pgbench_history;");
    assert!(count.ok().out.contains("40"));
    let events = watch.until(&cluster.uid(), "BenchmarkCompleted");
    let [cause] = fields(&events, "BenchmarkCompleted", "/cause")
        .try_into()
        .expect("one end");
    assert!(cause.contains("tps = "), "{cause}");
    until("its pod to go", MEASURED, || {
        let left = pods(&cluster);
        seen(left.is_empty(), || format!("{left:?}"))
    });
    // What it gave is there without its pod.
    show(&cluster).ok();
    let deleted = pgo(&["delete", "benchmark", name]).ok();
    assert!(
        deleted
            .out
            .starts_with(&format!("deleted benchmark benchmark-{name}-"))
    );
    show(&cluster).failed(2, &["no benchmark jobs found"]);
    watch.check_to_its_end(&cluster.uid());
    let told = types(&watch.of(&cluster.uid()));
    let ends = told.iter().filter(|one| *one == "BenchmarkCompleted");
    assert_eq!(ends.count(), 1, "{told:?}");
}

#[test]
fn the_sql_of_a_policy_is_the_transaction_and_kubectl_asks_too() {
    let _turn = together();
    let watch = Watch::begin();
    let cluster = Cluster::ready("benchsql");
    let policy = unique("tx");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("tx.sql");
    fs::write(&file, "INSERT INTO noted VALUES (1);\n").expect("it can be written");
    let file = format!("--in-file={}", file.display());
    pgo(&["create", "policy", &policy, &file]).ok();
    cluster.psql("CREATE TABLE noted (n int);").ok();
    let named = format!("--policy={policy}");
    let flags = [
        "--database=userdb",
        "--transactions=7",
        &named,
        "--wait",
        "--timeout=5m",
    ];
    // Its schema is that of the user; the transaction finds it by this.
    cluster
        .psql_as_superuser(
            "ALTER ROLE postgres IN DATABASE userdb SET search_path = testuser, public;",
        )
        .ok();
    benchmark(&cluster, &flags).ok();
    assert_eq!(cluster.ask("SELECT count(*) FROM noted;"), "7");
    pgo(&["delete", "policy", &policy, "--no-prompt"]).ok();

    let task = unique("benchtask");
    let manifest = json!({
        "apiVersion": "crunchydata.com/v1", "kind": "Pgtask",
        "metadata": {"name": task, "namespace": namespace()},
        "spec": {"tasktype": "benchmark", "parameters": {"clusterName": cluster.name, "database": "userdb"}},
    });
    apply(&manifest).ok();
    let of = format!("pgtask/{task}");
    let waits = [
        "wait",
        &of,
        "-n",
        &namespace(),
        "--for=condition=Complete",
        "--timeout=180s",
    ];
    kubectl(&waits).ok();
    assert!(
        show(&cluster)
            .ok()
            .out
            .contains(&format!("Results for {task}:\n\t"))
    );
    watch.until_count(&cluster.uid(), "BenchmarkCompleted", 2);
    watch.check_to_its_end(&cluster.uid());
    // One that a user has made has no owner.
    pgo(&["delete", "benchmark", &cluster.name]).ok();
}

#[test]
fn what_cannot_be_measured_is_told_with_the_reason() {
    let _turn = together();
    let watch = Watch::begin();
    let cluster = Cluster::ready("nobench");
    for (flags, words) in [
        (["--policy=nosuch"], "Policy not found: nosuch"),
        (
            ["--benchmark-opts=--host=evil"],
            "Flag --host is not supported for use with PGO",
        ),
        (["--init-opts=--frobnicate"], "unknown flag: --frobnicate"),
    ] {
        benchmark(&cluster, &flags).failed(2, &[words]);
    }
    let nobody = pgo(&["benchmark", "nosuch-cluster"]).failed(2, &["nosuch-cluster"]);
    assert_eq!(nobody.out, "No clusters found.\n");
    assert!(pods(&cluster).is_empty());
    let flags = ["--database=nosuch", "--wait", "--timeout=5m"];
    benchmark(&cluster, &flags).failed(2, &["database \"nosuch\" does not exist"]);
    let events = watch.until(&cluster.uid(), "BenchmarkFailure");
    let causes = fields(&events, "BenchmarkFailure", "/cause");
    assert!(
        causes
            .concat()
            .contains("database \"nosuch\" does not exist"),
        "{causes:?}"
    );
    assert!(!types(&events).contains(&"BenchmarkCompleted".to_owned()));
    until("why in what is shown", MEASURED, || {
        let shown = show(&cluster);
        seen(shown.out.contains("\tfailed: "), || shown.to_string())
    });
    watch.check_to_its_end(&cluster.uid());
}

#[test]
fn one_that_is_deleted_while_it_runs_ends() {
    let _turn = together();
    let watch = Watch::begin();
    let cluster = Cluster::ready("benchdel");
    benchmark(
        &cluster,
        &["--database=userdb", "--benchmark-opts=--time=900"],
    )
    .ok();
    until("pgbench at work", MEASURED, || {
        let count = sessions(&cluster);
        seen(count != "0", || count.clone())
    });
    let pod = pods(&cluster).first().cloned().expect("a pod");
    assert!(text(&pod, "/metadata/name").starts_with(&format!("benchmark-{}-", cluster.name)));
    pgo(&["delete", "benchmark", &cluster.name]).ok();
    let events = watch.until(&cluster.uid(), "BenchmarkFailure");
    let causes = fields(&events, "BenchmarkFailure", "/cause");
    assert!(
        causes.concat().contains("was deleted before it was done"),
        "{causes:?}"
    );
    until("its pod and its sessions to go", MEASURED, || {
        let (left, count) = (pods(&cluster), sessions(&cluster));
        seen(left.is_empty() && count == "0", || {
            format!("{count} sessions, {left:?}")
        })
    });
    watch.check_to_its_end(&cluster.uid());
}

#[test]
fn the_schema_refuses_what_nobody_would_carry_out() {
    let _turn = together();
    let name = unique("request");
    for (spec, word) in [
        (json!({"tasktype": "benchmark"}), "parameters.clusterName"),
        (json!({"tasktype": "load"}), "parameters.pg-cluster"),
        (
            json!({"tasktype": "load", "parameters": {"pg-cluster": "x", "FileType": "xml"}}),
            "FileType in parameters is csv or json",
        ),
    ] {
        let manifest = json!({
            "apiVersion": "crunchydata.com/v1", "kind": "Pgtask",
            "metadata": {"name": name, "namespace": namespace()}, "spec": spec,
        });
        let ran = apply(&manifest);
        assert!(
            !ran.status.success() && ran.err.contains(word),
            "{manifest}: {word:?} is not said: {ran}"
        );
    }
}
