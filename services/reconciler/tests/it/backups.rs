//! Backups by pgBackRest: the repository's objects, what its agent is asked, and what tasks say then.

use k8s_openapi::ByteString;
use pgo_proto::agent::{Archive, BeginRequest, begin_request::Work};
use serde_json::{Value, json};

use crate::{
    agent::FakeAgent,
    harness::{Certificates, NS, PGO_YAML, Reconciler, configure, eventually, installation, phase},
    kubernetes::Kubernetes,
    repository::FakeRepository,
};

const REPOSITORY: &str = "hippo-backrest-shared-repo";

/// A cluster with backups whose stanza is there.
pub async fn cluster(
    kubernetes: &Kubernetes,
    certificates: &Certificates,
) -> (FakeAgent, FakeRepository) {
    let object = json!({
        "apiVersion": "crunchydata.com/v1", "kind": "Pgcluster",
        "metadata": {"name": "hippo", "labels": {"pgouser": "pgoadmin", "pgo-backrest": "true"}}, "spec": {},
    });
    kubernetes.put("pgclusters", NS, object);
    let mut agent = FakeAgent::new("hippo", certificates);
    agent.state.send_modify(|state| {
        state.archive = Some(Archive {
            last_archived: "000000010000000000000001".to_owned(),
            ..Archive::default()
        });
    });
    agent.bring_up(kubernetes).await;
    eventually("a cluster that serves", || {
        phase(kubernetes, "hippo") == "Ready"
    })
    .await;
    let repository = FakeRepository::bring_up("hippo", kubernetes, certificates).await;
    eventually("the stanza is asked for", || {
        repository.state.borrow().running.is_some()
    })
    .await;
    repository.end(Ok(""));
    eventually("WAL is archived", || archiving(kubernetes) == "True").await;
    (agent, repository)
}

fn archiving(kubernetes: &Kubernetes) -> String {
    let cluster = kubernetes.get("pgclusters", NS, "hippo").unwrap();
    let conditions = cluster["status"]["conditions"].as_array().cloned();
    let mut conditions = conditions.unwrap_or_default().into_iter();
    let condition = conditions.find(|condition| condition["type"] == "Archiving");
    let condition = condition.unwrap_or_default();
    condition["status"].as_str().unwrap_or_default().to_owned()
}

/// The task that `pgo backup` makes.
pub fn ask(kubernetes: &Kubernetes, options: &str) {
    let task = json!({
        "apiVersion": "crunchydata.com/v1", "kind": "Pgtask",
        "metadata": {"name": "backrest-backup-hippo", "labels": {
            "pg-cluster": "hippo", "pgouser": "alice",
            "workflowid": "25927091-b343-4017-be4b-71575f0b3eb5",
        }},
        "spec": {"tasktype": "backrest", "parameters": {
            "job-name": "backrest-backup-hippo", "pg-cluster": "hippo", "backrest-command": "backup",
            "backrest-opts": options, "backrest-storage-type": "",
        }},
    });
    kubernetes.put("pgtasks", NS, task);
}

fn task(kubernetes: &Kubernetes) -> Value {
    let task = kubernetes.get("pgtasks", NS, "backrest-backup-hippo");
    task.unwrap()
}

fn backups(repository: &FakeRepository) -> Vec<BeginRequest> {
    let asked = repository.asked().into_iter();
    asked
        .filter(|request| matches!(request.work, Some(Work::Backup(_))))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_with_backups_has_a_repository_that_makes_those_that_are_asked_for() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    let _reconciler = Reconciler::start(&kubernetes, &certificates);
    let (agent, repository) = cluster(&kubernetes, &certificates).await;
    for (kind, name) in [
        ("services", REPOSITORY),
        ("deployments", REPOSITORY),
        ("persistentvolumeclaims", "hippo-pgbr-repo"),
    ] {
        let object = kubernetes.get(kind, NS, name);
        assert!(object.is_some(), "{kind} {name}");
    }
    let pod = kubernetes.get("pods", NS, "hippo").unwrap();
    let variables = pod["spec"]["containers"][0]["env"].to_string();
    assert!(variables.contains("PGO_BACKREST_HOST"), "{variables}");

    ask(&kubernetes, "--type=full");
    eventually("it is asked for", || !backups(&repository).is_empty()).await;
    let asked = backups(&repository).remove(0);
    let primary = asked.primary.unwrap();
    assert_eq!(
        (
            primary.instance.as_str(),
            primary.path.as_str(),
            primary.port
        ),
        ("hippo", "/pgdata/hippo", 5432)
    );
    assert_eq!(primary.address, agent.ip.to_string());
    assert_eq!(asked.replica, None);
    let Some(Work::Backup(backup)) = asked.work else {
        panic!("{:?}", asked.work);
    };
    assert_eq!(backup.options, ["--type=full"]);
    assert_eq!(backup.stall_seconds, 3600, "unless pgo.yaml says otherwise");
    eventually("the task says that it runs", || {
        task(&kubernetes)["status"]["conditions"][0]["reason"] == "Running"
    })
    .await;

    repository.end(Ok("20261126-200000F"));
    eventually("the task says that it is done", || {
        let task = task(&kubernetes);
        task["spec"]["status"] == "job completed"
            && task["status"]["conditions"][0]["status"] == "True"
    })
    .await;
    eventually("the cluster names its newest backup", || {
        let cluster = kubernetes.get("pgclusters", NS, "hippo").unwrap();
        cluster["status"]["lastBackup"]["label"] == "20261126-200000F"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_outlives_the_reconciler_and_its_failure_is_in_the_task() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    let reconciler = Reconciler::start(&kubernetes, &certificates);
    let (_agent, repository) = cluster(&kubernetes, &certificates).await;
    ask(&kubernetes, "");
    eventually("it is asked for", || !backups(&repository).is_empty()).await;
    reconciler.stop().await;
    repository.end(Err("no space left on device"));
    let _reconciler = Reconciler::start(&kubernetes, &certificates);
    eventually("the task says why it failed", || {
        let task = task(&kubernetes);
        let condition = &task["status"]["conditions"][0];
        task["spec"]["status"] == "job error"
            && condition["reason"] == "Failed"
            && condition["message"] == "no space left on device"
    })
    .await;
    let operations = backups(&repository).into_iter().map(|one| one.operation);
    let all: std::collections::BTreeSet<String> = operations.collect();
    assert_eq!(all.len(), 1, "one and the same");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_whose_backups_are_in_s3_gets_a_copy_of_the_key_once_there_is_one() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    let bucket = "Cluster:\n  BackrestS3Bucket: backups\n  BackrestS3Endpoint: s3.example.org\n  BackrestS3Region: here\n";
    configure(&kubernetes, &PGO_YAML.replace("Cluster:\n", bucket));
    let object = json!({
        "apiVersion": "crunchydata.com/v1", "kind": "Pgcluster",
        "metadata": {"name": "hippo", "labels": {"pgouser": "pgoadmin", "pgo-backrest": "true"}},
        "spec": {"userlabels": {"backrest-storage-type": "s3"}},
    });
    kubernetes.put("pgclusters", NS, object);
    let _reconciler = Reconciler::start(&kubernetes, &certificates);
    let status = || kubernetes.get("pgclusters", NS, "hippo").unwrap()["status"].to_string();
    eventually("it is told that there is no key", || {
        status().contains("pgo-backrest-repo-config of namespace pgo")
    })
    .await;
    let written = "aws-s3-key: AKIA\naws-s3-key-secret: hush\n";
    let credentials = ByteString(written.as_bytes().to_vec());
    let key = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "pgo-backrest-repo-config"},
        "data": {"aws-s3-credentials.yaml": credentials},
    });
    kubernetes.put("secrets", "pgo", key);
    let copy = || kubernetes.get("secrets", NS, "hippo-backrest-repo-config");
    eventually("it is copied", || copy().is_some()).await;
    let copy = copy().unwrap();
    assert_eq!(
        copy["data"],
        json!({"aws-s3-key": ByteString(b"AKIA".to_vec()), "aws-s3-key-secret": ByteString(b"hush".to_vec())})
    );
    assert_eq!(copy["metadata"]["labels"]["pgo-backrest-repo"], "true");
    eventually("the repository", || {
        kubernetes.get("deployments", NS, REPOSITORY).is_some()
    })
    .await;
    assert!(!status().contains("hush"), "{}", status());
}
