//! Benchmarks and loads from the Pgtask to the pod that does them, and what is noted of them.

use serde_json::{Value, json};

use crate::{
    harness::{Certificates, NS, Reconciler, eventually, installation},
    workers::{ask, ends, pod, says, served, task},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_benchmark_is_made_once_and_its_figures_stay_in_its_task() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    let first = Reconciler::start(&kubernetes, &certificates);
    let _agent = served(&kubernetes, &certificates).await;
    ask(
        &kubernetes,
        "bench",
        "benchmark",
        &json!({"clusterName": "hippo", "clients": "2"}),
    );
    eventually("the pod", || pod(&kubernetes, "pgo-benchmark").is_some()).await;
    eventually("4.1's word for it", || {
        task(&kubernetes, "bench")["spec"]["status"] == "job submitted [bench]"
    })
    .await;

    // It is done while nobody reconciles.
    first.stop().await;
    let printed = "transaction type: <builtin: TPC-B (sort of)>\ntps = 85.1\n";
    let said = json!({"summary": "tps = 85.1", "output": printed}).to_string();
    let made = says(&kubernetes, "pgo-benchmark", 0, &said).await;
    let _second = Reconciler::start(&kubernetes, &certificates);
    assert_eq!(ends(&kubernetes, "bench", "Completed").await, printed);
    let done = task(&kubernetes, "bench");
    assert_eq!(done["spec"]["status"], "job completed [bench]");
    let at = done["spec"]["parameters"]["job completed"].as_str();
    assert_eq!(
        at.map(str::len),
        Some("2026-11-22.13.20.00".len()),
        "{done}"
    );
    eventually("its pod goes", || {
        pod(&kubernetes, "pgo-benchmark").is_none()
    })
    .await;
    let order = made["spec"]["containers"][0]["env"][0].clone();
    assert_eq!(order["name"], "PGO_JOB", "{order}");
    let order: Value = serde_json::from_str(order["value"].as_str().expect("text")).expect("JSON");
    assert_eq!(
        (&order["database"], &order["clients"]),
        (&json!("postgres"), &json!(2))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_reads_its_claim_and_what_its_pod_says_is_told() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    let _reconciler = Reconciler::start(&kubernetes, &certificates);
    let _agent = served(&kubernetes, &certificates).await;
    let wrong = json!({"pg-cluster": "hippo", "DbDatabase": "userdb"});
    ask(&kubernetes, "wrong", "load", &wrong);
    assert_eq!(
        ends(&kubernetes, "wrong", "Failed").await,
        "DbUser is not supplied"
    );
    assert_eq!(pod(&kubernetes, "pgo-load"), None, "nothing was made");

    let mut all = json!({
        "pg-cluster": "hippo", "DbDatabase": "userdb", "DbUser": "testuser", "DbPort": "5432",
        "TableToLoad": "people", "FilePath": "people.csv", "PVCName": "files",
    });
    ask(&kubernetes, "load", "load", &all);
    let said = json!({"summary": "3 rows of file people.csv on claim files are in people"});
    let made = says(&kubernetes, "pgo-load", 0, &said.to_string()).await;
    ends(&kubernetes, "load", "Completed").await;
    let volumes = made["spec"]["volumes"].as_array().expect("volumes");
    let mut claims = volumes
        .iter()
        .map(|one| &one["persistentVolumeClaim"]["claimName"]);
    assert!(claims.any(|name| *name == "files"), "{volumes:?}");

    all["TableToLoad"] = json!("nosuch");
    ask(&kubernetes, "fails", "load", &all);
    let no = "relation \"nosuch\" does not exist (SQLSTATE 42P01)";
    says(&kubernetes, "pgo-load", 1, no).await;
    assert_eq!(ends(&kubernetes, "fails", "Failed").await, no);
    assert_eq!(
        task(&kubernetes, "fails")["spec"]["status"],
        "job error [fails]"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_benchmark_whose_task_is_deleted_ends() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    let _reconciler = Reconciler::start(&kubernetes, &certificates);
    let _agent = served(&kubernetes, &certificates).await;
    ask(
        &kubernetes,
        "bench",
        "benchmark",
        &json!({"clusterName": "hippo"}),
    );
    eventually("the pod", || pod(&kubernetes, "pgo-benchmark").is_some()).await;
    kubernetes.delete("pgtasks", NS, "bench");
    eventually("its pod goes", || {
        pod(&kubernetes, "pgo-benchmark").is_none()
    })
    .await;
}
