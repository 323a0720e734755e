//! A Pgtask whose annotation says that what it asks for is to go on no longer.

use pgo_proto::agent::{BackupSet, Work};
use serde_json::json;

use crate::{
    backups::{ask, cluster},
    harness::{Certificates, NS, Reconciler, eventually, installation},
    kubernetes::Kubernetes,
};

const TASK: &str = "backrest-backup-hippo";
const ID: &str = "25927091-b343-4017-be4b-71575f0b3eb5";
const OTHER: &str = "9c0f4c0e-6d29-4a86-9f9c-2b5f0c4d7a11";

/// As `kubectl annotate` does.
fn annotate(kubernetes: &Kubernetes, who: &str) {
    kubernetes.edit("pgtasks", NS, TASK, |task| {
        task["metadata"]["annotations"] = json!({"pgo.crunchydata.com/cancel": who});
    });
}

async fn fails(kubernetes: &Kubernetes, why: &str) {
    eventually("the task says who cancelled it", || {
        let task = kubernetes.get("pgtasks", NS, TASK).unwrap();
        let condition = &task["status"]["conditions"][0];
        condition["reason"] == "Failed" && condition["message"] == why
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_runs_is_stopped_by_its_repository_and_the_task_says_who_wanted_that() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    let _reconciler = Reconciler::start(&kubernetes, &certificates);
    let (_agent, repository) = cluster(&kubernetes, &certificates).await;
    ask(&kubernetes, "");
    eventually("it runs", || {
        let task = kubernetes.get("pgtasks", NS, TASK).unwrap();
        task["status"]["conditions"][0]["reason"] == "Running"
    })
    .await;
    assert_eq!(repository.cancelled(), [""; 0]);
    annotate(&kubernetes, "bob");
    eventually("the repository is asked to stop it", || {
        repository.cancelled().iter().any(|id| id == ID)
    })
    .await;
    // What has not ended has not failed.
    let task = kubernetes.get("pgtasks", NS, TASK).unwrap();
    assert_eq!(task["status"]["conditions"][0]["reason"], "Running");
    repository.end(Err("cancelled"));
    fails(&kubernetes, "cancelled by bob").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_waits_for_its_repository_fails_at_once() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    let _reconciler = Reconciler::start(&kubernetes, &certificates);
    let (_agent, repository) = cluster(&kubernetes, &certificates).await;
    // It is at work for somebody else, and that is known when its newest backup is.
    repository.state.send_modify(|state| {
        state.running = Some(Work {
            operation: OTHER.to_owned(),
            what: "backup".to_owned(),
            ..Work::default()
        });
        state.backups.push(BackupSet {
            label: "20261126-200000F".to_owned(),
            ..BackupSet::default()
        });
    });
    eventually("the cluster knows its newest backup", || {
        let cluster = kubernetes.get("pgclusters", NS, "hippo").unwrap();
        cluster["status"]["lastBackup"]["label"] == "20261126-200000F"
    })
    .await;
    ask(&kubernetes, "");
    eventually("it waits", || {
        let cluster = kubernetes.get("pgclusters", NS, "hippo").unwrap();
        cluster["status"]["backup"]["operation"] == ID
    })
    .await;
    annotate(&kubernetes, "");
    fails(&kubernetes, "cancelled by somebody before it began").await;
    assert_eq!(repository.asked().len(), 1, "the stanza alone");
    assert_eq!(repository.cancelled(), [""; 0], "what it does is another's");
}
