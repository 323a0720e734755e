//! Dumps from the Pgtask to the pod that makes them, and what is noted of them.

use serde_json::{Value, json};

use crate::{
    harness::{Certificates, NS, Reconciler, cluster, eventually, installation},
    workers::{ask, ends, pod, says, served, task},
};

const CLAIM: &str = "backup-hippo-pgdump-pvc";
const ID: &str = "25927091-b343-4017-be4b-71575f0b3eb5";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dump_is_made_once_and_its_end_is_noted_whoever_leads() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    let first = Reconciler::start(&kubernetes, &certificates);
    let _agent = served(&kubernetes, &certificates).await;
    ask(
        &kubernetes,
        "dump",
        "pgdump",
        &json!({"pg-cluster": "hippo", "pgdump-opts": "--clean"}),
    );
    eventually("the pod", || pod(&kubernetes, "pgdump").is_some()).await;
    let made = pod(&kubernetes, "pgdump").expect("a pod");
    let claim = kubernetes
        .get("persistentvolumeclaims", NS, CLAIM)
        .expect("a claim");
    assert_eq!(claim["metadata"]["labels"]["pgdump"], "true");
    assert_eq!(
        claim["metadata"]["ownerReferences"],
        Value::Null,
        "it stays"
    );
    eventually("4.1's word for it", || {
        task(&kubernetes, "dump")["spec"]["status"] == "job submitted"
    })
    .await;

    // It is done while nobody reconciles.
    first.stop().await;
    let said = json!({"name": "a", "path": "/pgdata/hippo-backups/a", "bytes": 4096});
    says(&kubernetes, "pgdump", 0, &said.to_string()).await;
    let _second = Reconciler::start(&kubernetes, &certificates);
    ends(&kubernetes, "dump", "Completed").await;
    assert_eq!(task(&kubernetes, "dump")["spec"]["status"], "job completed");
    let status = cluster(&kubernetes, "hippo")["status"].clone();
    assert_eq!(
        status["dumps"][0]["path"], "/pgdata/hippo-backups/a",
        "{status}"
    );
    eventually("its pod goes", || pod(&kubernetes, "pgdump").is_none()).await;
    let order = made["spec"]["containers"][0]["env"][0].clone();
    assert_eq!(order["name"], "PGO_DUMP", "{order}");
    let variables = made["spec"]["containers"][0]["env"]
        .as_array()
        .expect("some");
    let stall = variables
        .iter()
        .find(|one| one["name"] == "PGO_STALL_SECONDS");
    let unless = "unless pgo.yaml says otherwise";
    assert_eq!(stall.expect("a limit")["value"], "3600", "{unless}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_pod_says_is_told_and_a_restore_reads_the_same_claim() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    let _reconciler = Reconciler::start(&kubernetes, &certificates);
    let _agent = served(&kubernetes, &certificates).await;
    let wrong = json!({"pg-cluster": "hippo", "pgdump-opts": "--host=evil"});
    ask(&kubernetes, "wrong", "pgdump", &wrong);
    let why = ends(&kubernetes, "wrong", "Failed").await;
    assert_eq!(why, "Flag --host is not supported for use with PGO");
    assert_eq!(pod(&kubernetes, "pgdump"), None, "nothing was made");
    let none = json!({"pgrestore-from-cluster": "hippo", "pgrestore-from-pvc": "nosuch"});
    ask(&kubernetes, "none", "pgrestore", &none);
    let why = ends(&kubernetes, "none", "Failed").await;
    assert!(why.contains("there is no claim nosuch"), "{why}");

    ask(
        &kubernetes,
        "dump",
        "pgdump",
        &json!({"pg-cluster": "hippo", "workflowid": ID}),
    );
    let no = "pg_dump: error: connection refused";
    says(&kubernetes, "pgdump", 1, no).await;
    assert_eq!(ends(&kubernetes, "dump", "Failed").await, no);

    ask(
        &kubernetes,
        "restore",
        "pgrestore",
        &json!({"pgrestore-from-cluster": "hippo"}),
    );
    let said = json!({"name": "a", "path": "/pgdata/hippo-backups/a", "bytes": 4096});
    let made = says(&kubernetes, "pgrestore", 0, &said.to_string()).await;
    ends(&kubernetes, "restore", "Completed").await;
    let volumes = made["spec"]["volumes"].as_array().expect("volumes");
    let claims: Vec<&Value> = volumes
        .iter()
        .map(|one| &one["persistentVolumeClaim"]["claimName"])
        .collect();
    assert!(claims.contains(&&json!(CLAIM)), "{claims:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_is_made_and_restored_to_a_claim_for_a_cluster_to_come() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    let _reconciler = Reconciler::start(&kubernetes, &certificates);
    let _agent = served(&kubernetes, &certificates).await;
    ask(
        &kubernetes,
        "copy",
        "pgbasebackup",
        &json!({"pg-cluster": "hippo"}),
    );
    let said = json!({
        "name": "a", "path": "/pgdata/hippo-backups/a", "bytes": 4096,
        "wal": {"start": "000000010000000000000002", "stop": "000000010000000000000003"},
    });
    let made = says(&kubernetes, "pgbackup", 0, &said.to_string()).await;
    ends(&kubernetes, "copy", "Completed").await;
    let noted = task(&kubernetes, "copy")["spec"].clone();
    assert_eq!(noted["status"], "job completed");
    assert!(noted["parameters"]["task completed"].is_string(), "{noted}");
    let order = made["spec"]["containers"][0]["env"][0]["value"].clone();
    let order: Value = serde_json::from_str(order.as_str().unwrap_or_default()).expect("JSON");
    assert_eq!(order["source"]["instance"], "hippo", "{order}");
    let claims = |name: &str| kubernetes.get("persistentvolumeclaims", NS, name);
    let claim = claims("hippo-backup").expect("a claim");
    assert_eq!(claim["metadata"]["labels"]["pgbackup"], "true");
    let status = cluster(&kubernetes, "hippo")["status"].clone();
    assert_eq!(status["dumps"][0]["base"], true, "{status}");

    // A claim of the name that is somebody else's is not touched.
    let foreign = json!({"metadata": {"name": "hippo-efgh", "namespace": NS}, "spec": {}});
    kubernetes.put("persistentvolumeclaims", NS, foreign.clone());
    let restore = |to: &str| json!({"pgbasebackup-restore-from-cluster": "hippo", "pgbasebackup-restore-to-pvc": to});
    ask(
        &kubernetes,
        "restore",
        "pgbasebackuprestore",
        &restore("hippo-abcd"),
    );
    says(
        &kubernetes,
        "pgo-pgbasebackup-restore",
        0,
        &said.to_string(),
    )
    .await;
    ends(&kubernetes, "restore", "Completed").await;
    let claim = claims("hippo-abcd").expect("a claim");
    let labels = &claim["metadata"]["labels"];
    assert_eq!(labels["pg-cluster"], "hippo-abcd", "{labels}");
    assert_eq!(claim["metadata"]["ownerReferences"], Value::Null);
    ask(
        &kubernetes,
        "other",
        "pgbasebackuprestore",
        &restore("hippo-efgh"),
    );
    let why = ends(&kubernetes, "other", "Failed").await;
    assert!(why.contains("hippo-efgh"), "{why}");
    let stays = claims("hippo-efgh").expect("it stays");
    assert_eq!(stays["metadata"]["labels"], foreign["metadata"]["labels"]);
}
