//! Restore drills: the pod that tries a backup, whoever leads meanwhile, and what its last words become.

use serde_json::{Value, json};

use crate::{
    backups::{ask, cluster},
    harness::{Certificates, NS, PGO_YAML, Reconciler, configure, eventually, installation},
    kubernetes::Kubernetes,
    repository::FakeRepository,
};

const POD: &str = "hippo-restore-drill";
const LABEL: &str = "20261015-101112F";

fn status(kubernetes: &Kubernetes) -> Value {
    let cluster = kubernetes.get("pgclusters", NS, "hippo").unwrap();
    cluster["status"].clone()
}

fn pod(kubernetes: &Kubernetes) -> Option<Value> {
    kubernetes.get("pods", NS, POD)
}

/// Makes a backup of this label.
async fn back_up(kubernetes: &Kubernetes, repository: &FakeRepository, label: &str) {
    ask(kubernetes, "--type=full");
    let asked = || repository.state.borrow().running.is_some();
    eventually("a backup is made", asked).await;
    repository.end(Ok(label));
}

/// The container of the drill has ended with these words.
fn end(kubernetes: &Kubernetes, code: i32, words: &str) {
    let state = json!({"terminated": {"exitCode": code, "message": words, "reason": "Completed"}});
    let container = json!({
        "name": "drill", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state,
    });
    kubernetes.edit("pods", NS, POD, |pod| {
        pod["status"] = json!({"phase": "Succeeded", "containerStatuses": [container]});
    });
}

fn report(error: Option<&str>) -> String {
    let mut report = json!({
        "backup": LABEL, "stage": "read", "size": 4096, "timeline": 1, "lsn": "0/5000148",
        "lastCommit": "2026-10-15T10:00:00Z", "checksums": true, "structure": true,
    });
    if let Some(error) = error {
        report["error"] = json!(error);
    }
    report.to_string()
}

fn condition(kubernetes: &Kubernetes) -> Value {
    let conditions = status(kubernetes)["conditions"].as_array().cloned();
    let mut conditions = conditions.unwrap_or_default().into_iter();
    let found = conditions.find(|condition| condition["type"] == "BackupsProven");
    found.unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_is_tried_once_in_a_pod_of_its_own_whoever_leads() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    let reconciler = Reconciler::start(&kubernetes, &certificates);
    let (_agent, repository) = cluster(&kubernetes, &certificates).await;
    back_up(&kubernetes, &repository, LABEL).await;
    eventually("a pod tries it", || pod(&kubernetes).is_some()).await;
    let made = pod(&kubernetes).unwrap();
    let variables = made["spec"]["containers"][0]["env"].to_string();
    assert!(variables.contains(LABEL), "{variables}");
    eventually("that is recorded", || {
        status(&kubernetes)["drills"]["run"]["backup"] == LABEL
    })
    .await;
    // Another one goes on with it, and neither makes another pod nor counts it among the instances.
    reconciler.stop().await;
    let reconciler = Reconciler::start(&kubernetes, &certificates);
    end(&kubernetes, 0, &report(None));
    eventually("it is proven", || {
        status(&kubernetes)["lastProvenRestore"]["backup"] == LABEL
    })
    .await;
    eventually("the pod is gone", || pod(&kubernetes).is_none()).await;
    let status = status(&kubernetes);
    assert_eq!(status["lastProvenRestore"]["lsn"], "0/5000148");
    assert_eq!(status["drills"]["verdicts"][LABEL]["proven"], true);
    assert_eq!(status["instances"].as_array().unwrap().len(), 1);
    assert_eq!(condition(&kubernetes)["status"], "True");
    let metric = "pgo_restore_drills_total{outcome=\"proven\"}";
    eventually("it is counted", || reconciler.metric(metric) == Some(1.0)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_trial_is_a_condition_and_one_that_broke_off_is_made_anew() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    let reconciler = Reconciler::start(&kubernetes, &certificates);
    let (_agent, repository) = cluster(&kubernetes, &certificates).await;
    back_up(&kubernetes, &repository, LABEL).await;
    eventually("a pod tries it", || pod(&kubernetes).is_some()).await;
    let first = pod(&kubernetes).unwrap()["metadata"]["uid"].clone();
    end(&kubernetes, 137, "");
    eventually("another pod tries it", || {
        pod(&kubernetes).is_some_and(|pod| pod["metadata"]["uid"] != first)
    })
    .await;
    end(&kubernetes, 0, &report(Some("table t is damaged")));
    eventually("it is told", || condition(&kubernetes)["status"] == "False").await;
    let message = condition(&kubernetes)["message"].to_string();
    assert!(
        message.contains(LABEL) && message.contains("table t is damaged"),
        "{message}"
    );
    let status = status(&kubernetes);
    assert_eq!(status["drills"]["verdicts"][LABEL]["proven"], false);
    assert!(status["lastProvenRestore"].is_null());
    assert_eq!(status["phase"], "Ready");
    let metric = "pgo_restore_drills_total{outcome=\"failed\"}";
    eventually("it is counted", || reconciler.metric(metric) == Some(1.0)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_whose_repository_was_away_is_made_anew_and_proves_the_backup() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    let _reconciler = Reconciler::start(&kubernetes, &certificates);
    let (_agent, repository) = cluster(&kubernetes, &certificates).await;
    back_up(&kubernetes, &repository, LABEL).await;
    eventually("a pod tries it", || pod(&kubernetes).is_some()).await;
    let first = pod(&kubernetes).unwrap()["metadata"]["uid"].clone();
    let away =
        report(Some("refused")).replace("\"error\"", "\"untried\":\"unreachable\",\"error\"");
    end(&kubernetes, 0, &away);
    eventually("another pod tries it", || {
        pod(&kubernetes).is_some_and(|pod| pod["metadata"]["uid"] != first)
    })
    .await;
    assert!(condition(&kubernetes).is_null());
    assert!(status(&kubernetes)["drills"]["verdicts"].is_null());
    end(&kubernetes, 0, &report(None));
    eventually("it is proven", || {
        status(&kubernetes)["lastProvenRestore"]["backup"] == LABEL
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trial_goes_with_its_cluster() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    let _reconciler = Reconciler::start(&kubernetes, &certificates);
    let (_agent, repository) = cluster(&kubernetes, &certificates).await;
    back_up(&kubernetes, &repository, LABEL).await;
    eventually("a pod tries it", || pod(&kubernetes).is_some()).await;
    kubernetes.delete("pgclusters", NS, "hippo");
    eventually("that goes with the cluster", || pod(&kubernetes).is_none()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_policy_counts_at_once() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    let _reconciler = Reconciler::start(&kubernetes, &certificates);
    let (_agent, repository) = cluster(&kubernetes, &certificates).await;
    back_up(&kubernetes, &repository, LABEL).await;
    eventually("a pod tries it", || pod(&kubernetes).is_some()).await;
    end(&kubernetes, 0, &report(None));
    eventually("the pod is gone", || pod(&kubernetes).is_none()).await;
    repository.state.send_modify(|state| {
        state.backups.push(pgo_proto::agent::BackupSet {
            label: "20261016-101112F".to_owned(),
            ..pgo_proto::agent::BackupSet::default()
        });
    });
    kubernetes.edit("pgclusters", NS, "hippo", |cluster| {
        cluster["spec"]["restoreDrills"] = json!("each");
    });
    eventually("the next one is tried", || pod(&kubernetes).is_some()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_asks_for_a_trial_and_says_how_it_ended() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    configure(
        &kubernetes,
        &PGO_YAML.replace("\nCluster:\n", "\nCluster:\n  RestoreDrills: never\n"),
    );
    let _reconciler = Reconciler::start(&kubernetes, &certificates);
    let (_agent, repository) = cluster(&kubernetes, &certificates).await;
    back_up(&kubernetes, &repository, LABEL).await;
    let id = "25927091-b343-4017-be4b-71575f0b3eb7";
    let task = json!({
        "apiVersion": "crunchydata.com/v1", "kind": "Pgtask",
        "metadata": {"name": "prove", "labels": {"pg-cluster": "hippo", "workflowid": id}},
        "spec": {"tasktype": "drill", "parameters": {"pg-cluster": "hippo", "backup": LABEL}},
    });
    kubernetes.put("pgtasks", NS, task);
    eventually("a pod tries it", || pod(&kubernetes).is_some()).await;
    let labels = pod(&kubernetes).unwrap()["metadata"]["labels"].clone();
    assert_eq!(labels["pgo.crunchydata.com/restore-drill"], id);
    end(&kubernetes, 0, &report(None));
    eventually("the task says so", || {
        let task = kubernetes.get("pgtasks", NS, "prove").unwrap();
        task["status"]["conditions"][0]["status"] == "True"
    })
    .await;
    assert_eq!(status(&kubernetes)["lastProvenRestore"]["backup"], LABEL);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_a_place_begins_as_soon_as_there_is_one() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    let one = PGO_YAML.replace("\nPgo:\n", "\nPgo:\n  RestoreDrillsAtOnce: 1\n");
    configure(&kubernetes, &one);
    // Another cluster is at it, whose pod does not begin.
    let run = json!({
        "operation": "25927091-b343-4017-be4b-71575f0b3eb6", "backup": LABEL, "since": jiff::Timestamp::now(),
    });
    let other = json!({
        "apiVersion": "crunchydata.com/v1", "kind": "Pgcluster",
        "metadata": {"name": "rhino", "labels": {"pgouser": "pgoadmin", "pgo-backrest": "true"}}, "spec": {},
        "status": {"drills": {"run": run}},
    });
    kubernetes.put("pgclusters", NS, other);
    let reconciler = Reconciler::start(&kubernetes, &certificates);
    let pod_of_other = || kubernetes.get("pods", NS, "rhino-restore-drill");
    eventually("the other one tries", || pod_of_other().is_some()).await;
    let (_agent, repository) = cluster(&kubernetes, &certificates).await;
    back_up(&kubernetes, &repository, LABEL).await;
    eventually("the backup is over", || {
        let task = kubernetes.get("pgtasks", NS, "backrest-backup-hippo");
        task.is_some_and(|task| task["spec"]["status"] == "job completed")
    })
    .await;
    reconciler.reconciles(10).await;
    assert!(pod(&kubernetes).is_none());
    kubernetes.delete("pgclusters", NS, "rhino");
    eventually("it is its turn", || pod(&kubernetes).is_some()).await;
}
