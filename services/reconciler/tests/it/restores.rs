//! Restores by pgBackRest: what the repository's agent is asked, the new instance beside the cluster, and the Lease that is made
//! anew for it.

use pgo_proto::agent::{Archive, Restore, Role, begin_request::Work};
use serde_json::{Value, json};

use crate::{
    agent::FakeAgent,
    harness::{Certificates, NS, Reconciler, eventually, installation, phase},
    kubernetes::Kubernetes,
    repository::FakeRepository,
};

const ID: &str = "25927091-b343-4017-be4b-71575f0b3eb5";
const NEW: &str = "hippo-abcd";

/// On the claim of an instance that a cluster was restored to.
const SINCE: &str = "pgo.crunchydata.com/first-since";

/// A cluster with backups whose stanza is there.
async fn cluster(
    kubernetes: &Kubernetes,
    certificates: &Certificates,
) -> (FakeAgent, FakeRepository) {
    let object = json!({
        "apiVersion": "crunchydata.com/v1", "kind": "Pgcluster",
        "metadata": {"name": "hippo", "labels": {"pgo-backrest": "true"}}, "spec": {},
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
    let serves = || phase(kubernetes, "hippo") == "Ready";
    eventually("a cluster that serves", serves).await;
    let repository = FakeRepository::bring_up("hippo", kubernetes, certificates).await;
    let asked = || repository.state.borrow().running.is_some();
    eventually("the stanza is asked for", asked).await;
    repository.end(Ok(""));
    (agent, repository)
}

/// The tasks that `pgo restore` makes.
fn ask(kubernetes: &Kubernetes) {
    let labels = json!({"pg-cluster": "hippo", "pgouser": "alice", "workflowid": ID});
    let task = |name: &str, spec: Value| {
        let task = json!({
            "apiVersion": "crunchydata.com/v1", "kind": "Pgtask", "metadata": {"name": name, "labels": labels}, "spec": spec,
        });
        kubernetes.put("pgtasks", NS, task);
    };
    let parameters = json!({
        "backrest-restore-from-cluster": "hippo", "backrest-restore-to-pvc": NEW, "backrest-restore-opts": "",
        "backrest-pitr-target": "2026-10-15 10:00:00+00", "NodeLabelKey": "zone", "NodeLabelValue": "a",
    });
    let asks = json!({"tasktype": "restore", "parameters": parameters});
    task("backrest-restore-hippo-to-hippo-abcd", asks);
    let follows =
        json!({"tasktype": "workflow", "parameters": {"workflowid": ID, "pg-cluster": "hippo"}});
    task("hippo-pgbackrestrestore", follows);
}

fn task(kubernetes: &Kubernetes, name: &str) -> Value {
    kubernetes.get("pgtasks", NS, name).unwrap()
}

/// What the repository is asked to look at.
fn checks(repository: &FakeRepository) -> Vec<Vec<String>> {
    let asked = repository.asked().into_iter();
    let checks = asked.filter_map(|request| match request.work {
        Some(Work::CheckRestore(check)) => {
            assert_eq!(request.operation, ID);
            assert_eq!(request.primary.expect("it serves").path, "/pgdata/hippo");
            Some(check.options)
        }
        _ => None,
    });
    checks.collect()
}

/// The new instance, once it is there: it copies.
async fn new_instance(kubernetes: &Kubernetes, certificates: &Certificates) -> FakeAgent {
    let mut agent = FakeAgent::of("hippo", (NEW, Role::Replica), certificates);
    agent.state.send_modify(|state| {
        state.term = 0;
        state.streaming = false;
        state.restore = Some(Restore {
            operation: ID.to_owned(),
            percent: 40,
            ..Restore::default()
        });
    });
    agent.bring_up(kubernetes).await;
    agent
}

fn annotation(kubernetes: &Kubernetes, name: &str) -> Value {
    let lease = kubernetes.get("leases", NS, "hippo").unwrap_or_default();
    lease["metadata"]["annotations"][format!("pgo.crunchydata.com/{name}")].clone()
}

/// The pod of the new instance is in no Service, and says what it is for.
fn is_apart(pod: &Value) {
    let labels = &pod["metadata"]["labels"];
    assert_eq!(labels["service-name"], "hippo-restore");
    assert_eq!(labels["pgo-backrest-restore"], "true");
    let variables = pod["spec"]["containers"][0]["env"].to_string();
    assert!(
        variables.contains("PGO_RESTORE") && variables.contains(ID),
        "{variables}"
    );
    assert!(
        pod["spec"]["affinity"].to_string().contains("zone"),
        "{pod}"
    );
}

/// The tasks say that it is done, and the status and the Service that the new instance is the first one.
async fn is_told(kubernetes: &Kubernetes) {
    eventually("the tasks are done", || {
        task(kubernetes, "backrest-restore-hippo-to-hippo-abcd")["spec"]["status"]
            == "job completed"
            && task(kubernetes, "hippo-pgbackrestrestore")["spec"]["status"] == "completed"
    })
    .await;
    let follows = task(kubernetes, "hippo-pgbackrestrestore");
    assert!(
        follows["spec"]["parameters"]["restored Primary created"].is_string(),
        "{follows}"
    );
    eventually("it is the first instance", || {
        let cluster = kubernetes.get("pgclusters", NS, "hippo").unwrap();
        let status = &cluster["status"];
        status["restored"]["instance"] == NEW
            && status["currentPrimary"] == NEW
            && status["retired"] == json!(["hippo"])
            && status["phase"] == "Ready"
    })
    .await;
    eventually("it is in the Service", || {
        let pod = kubernetes.get("pods", NS, NEW).unwrap();
        let labels = &pod["metadata"]["labels"];
        labels["service-name"] == "hippo" && labels["pgo-backrest-restore"].is_null()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_instance_takes_the_place_of_the_first_one() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    let reconciler = Reconciler::start(&kubernetes, &certificates);
    let (former, repository) = cluster(&kubernetes, &certificates).await;
    ask(&kubernetes);
    eventually("the check is asked for", || !checks(&repository).is_empty()).await;
    let options = ["--type=time", "--target=2026-10-15 10:00:00+00"];
    assert_eq!(checks(&repository)[0], options);
    assert!(kubernetes.get("persistentvolumeclaims", NS, NEW).is_none());
    repository.end(Ok("20261015-093000F"));
    let new = new_instance(&kubernetes, &certificates).await;
    is_apart(&kubernetes.get("pods", NS, NEW).unwrap());

    // Whoever goes on with it, nothing is taken from the cluster before.
    reconciler.stop().await;
    let _reconciler = Reconciler::start(&kubernetes, &certificates);
    let named = |name: &str| kubernetes.get("pods", NS, name).is_some();
    let before = kubernetes.get("leases", NS, "hippo").unwrap();
    new.state.send_modify(|state| {
        let restore = state.restore.as_mut().unwrap();
        (restore.percent, restore.reached) = (100, true);
        restore.lsn = "0/5000148".to_owned();
    });
    eventually("the former primary is gone", || !named("hippo")).await;
    drop(former);
    eventually("the Lease is made anew", || {
        annotation(&kubernetes, "restore") == ID
    })
    .await;
    let lease = kubernetes.get("leases", NS, "hippo").unwrap();
    assert_ne!(lease["metadata"]["uid"], before["metadata"]["uid"]);
    assert_eq!(lease["spec"]["holderIdentity"], NEW);
    assert_eq!(annotation(&kubernetes, "take-up"), NEW);
    let term: u64 = annotation(&kubernetes, "term")
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!(term > 1, "{term}");

    new.is_led_to(&kubernetes).await;
    new.state.send_modify(|state| {
        state.role = Role::Primary.into();
        (state.term, state.timeline, state.restore) = (term, 2, None);
    });
    is_told(&kubernetes).await;
    assert!(
        kubernetes
            .get("persistentvolumeclaims", NS, "hippo")
            .is_some()
    );
    assert!(!named("hippo"));
    // A later cluster of the name is to find it.
    eventually("its claim says so", || {
        let claim = kubernetes.get("persistentvolumeclaims", NS, NEW).unwrap();
        claim["metadata"]["annotations"][SINCE].is_string()
    })
    .await;
}

/// A claim that a former cluster has left.
fn left(kubernetes: &Kubernetes, name: &str, since: Option<&str>) {
    let labels = json!({"vendor": "crunchydata", "pg-cluster": "hippo", "deployment-name": name});
    let mut claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name, "labels": labels}, "spec": {},
    });
    if let Some(since) = since {
        claim["metadata"]["annotations"] = json!({SINCE: since});
    }
    kubernetes.put("persistentvolumeclaims", NS, claim);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_cluster_takes_the_claim_that_the_former_one_was_restored_to() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    left(&kubernetes, "hippo", None);
    left(&kubernetes, "hippo-aaaa", Some("2026-10-14T10:00:00Z"));
    left(&kubernetes, NEW, Some("2026-10-15T10:00:00Z"));
    let _reconciler = Reconciler::start(&kubernetes, &certificates);
    let object = json!({
        "apiVersion": "crunchydata.com/v1", "kind": "Pgcluster", "metadata": {"name": "hippo"}, "spec": {},
    });
    kubernetes.put("pgclusters", NS, object);
    let mut agent = FakeAgent::of("hippo", (NEW, Role::Primary), &certificates);
    agent.bring_up(&kubernetes).await;
    agent.is_led_to(&kubernetes).await;
    let serves = || phase(&kubernetes, "hippo") == "Ready";
    eventually("it serves from the newest data", serves).await;
    let cluster = kubernetes.get("pgclusters", NS, "hippo").unwrap();
    assert_eq!(cluster["status"]["adopted"], NEW);
    for other in ["hippo", "hippo-aaaa"] {
        assert!(kubernetes.get("pods", NS, other).is_none(), "{other}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_that_cannot_be_leaves_the_cluster_as_it_is() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    let _reconciler = Reconciler::start(&kubernetes, &certificates);
    let (_former, repository) = cluster(&kubernetes, &certificates).await;
    let uid = kubernetes.get("pods", NS, "hippo").unwrap()["metadata"]["uid"].clone();
    ask(&kubernetes);
    eventually("the check is asked for", || !checks(&repository).is_empty()).await;
    repository.end(Ok("20261015-093000F"));
    let new = new_instance(&kubernetes, &certificates).await;
    new.state.send_modify(|state| {
        let restore = state.restore.as_mut().unwrap();
        restore.hopeless = true;
        restore.error = "the target is not in the archive".to_owned();
    });
    eventually("the task says why", || {
        let task = task(&kubernetes, "backrest-restore-hippo-to-hippo-abcd");
        let message = task["status"]["conditions"][0]["message"].clone();
        message
            .as_str()
            .unwrap_or_default()
            .contains("is not in the archive; nothing was changed")
    })
    .await;
    eventually("what was made for it is gone", || {
        let there = |kind| kubernetes.get(kind, NS, NEW).is_some();
        !there("pods") && !there("persistentvolumeclaims")
    })
    .await;
    let pod = kubernetes.get("pods", NS, "hippo").unwrap();
    assert_eq!(pod["metadata"]["uid"], uid);
    assert_eq!(phase(&kubernetes, "hippo"), "Ready");
}
