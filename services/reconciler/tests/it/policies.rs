//! Policies from the object to the agent, and what is noted of them; their own making and end.

use serde_json::{Value, json};

use crate::{
    agent::FakeAgent,
    harness::{
        Certificates, NS, Reconciler, cluster, create_cluster, eventually, installation, phase,
    },
    kubernetes::{Fault, Kubernetes},
};

fn policy(kubernetes: &Kubernetes, name: &str, sql: &str) {
    let policy = json!({
        "apiVersion": "crunchydata.com/v1", "kind": "Pgpolicy",
        "metadata": {"name": name, "labels": {"pgouser": "ann"}}, "spec": {"sql": sql},
    });
    kubernetes.put("pgpolicies", NS, policy);
}

fn ask(kubernetes: &Kubernetes, task: &str, policy: &str) {
    ask_at(kubernetes, task, (policy, "", ""));
}

fn ask_at(kubernetes: &Kubernetes, task: &str, (policy, database, secret): (&str, &str, &str)) {
    let parameters =
        json!({"pg-cluster": "hippo", "policy": policy, "database": database, "secret": secret});
    let task = json!({
        "apiVersion": "crunchydata.com/v1", "kind": "Pgtask", "metadata": {"name": task},
        "spec": {"tasktype": "applypolicy", "parameters": parameters},
    });
    kubernetes.put("pgtasks", NS, task);
}

/// What a Pgtask says became of it.
fn said(kubernetes: &Kubernetes, task: &str) -> Option<(String, String)> {
    let task = kubernetes.get("pgtasks", NS, task)?;
    let condition = task["status"]["conditions"][0].clone();
    let word = |key: &str| condition[key].as_str().map(str::to_owned);
    Some((word("reason")?, word("message")?))
}

async fn ends(kubernetes: &Kubernetes, task: &str, reason: &str) -> String {
    let over = || said(kubernetes, task).filter(|(now, _)| now == reason);
    eventually("the end of a policy", || over().is_some()).await;
    over().unwrap().1
}

fn labels(kubernetes: &Kubernetes) -> Value {
    cluster(kubernetes, "hippo")["metadata"]["labels"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_is_read_run_by_the_primary_once_and_noted() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    let _reconciler = Reconciler::start(&kubernetes, &certificates);
    policy(&kubernetes, "first", "select 'first'");
    let mut agent = FakeAgent::new("hippo", &certificates);
    agent.state.send_modify(|state| {
        state.started = Some(prost_types::Timestamp {
            seconds: 1,
            nanos: 0,
        });
    });
    create_cluster(&kubernetes, "hippo");
    kubernetes.edit("pgclusters", NS, "hippo", |hippo| {
        hippo["spec"]["policies"] = json!("first");
    });
    agent.bring_up(&kubernetes).await;
    eventually("a cluster that serves", || {
        phase(&kubernetes, "hippo") == "Ready"
    })
    .await;
    eventually("the label of the first", || {
        labels(&kubernetes)["first"] == "pgpolicy"
    })
    .await;
    assert_eq!(agent.applied(), ["select 'first'"]);

    policy(&kubernetes, "gold", "select 'gold'");
    policy(&kubernetes, "wrong", "a fault");
    ask(&kubernetes, "one", "gold");
    ask(&kubernetes, "two", "wrong");
    ask(&kubernetes, "three", "missing");
    ends(&kubernetes, "one", "Completed").await;
    let why = ends(&kubernetes, "two", "Failed").await;
    assert_eq!(why, "line 1, column 1: a fault");
    let why = ends(&kubernetes, "three", "Failed").await;
    assert_eq!(why, "there is no policy missing in namespace pgouser1");
    eventually("the label of gold", || {
        labels(&kubernetes)["gold"] == "pgpolicy"
    })
    .await;
    assert_eq!(labels(&kubernetes)["wrong"], Value::Null);
    let mut applied = agent.applied();
    applied.sort();
    assert_eq!(applied, ["a fault", "select 'first'", "select 'gold'"]);
    runs_as_a_user(&kubernetes, &agent).await;
}

/// In a database and as a user of the cluster; a Secret that is not the cluster's is not looked into.
async fn runs_as_a_user(kubernetes: &Kubernetes, agent: &FakeAgent) {
    for (name, of) in [("hippo-ann-secret", "hippo"), ("other-secret", "rhino")] {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": name, "labels": {"pg-cluster": of}}, "data": {"username": "YW5u"},
        });
        kubernetes.put("secrets", NS, secret);
    }
    ask_at(kubernetes, "four", ("gold", "userdb", "hippo-ann-secret"));
    ends(kubernetes, "four", "Completed").await;
    let last = agent.applied().pop().unwrap();
    assert_eq!(last, "select 'gold' in userdb as ann");
    for (task, secret, why) in [
        ("five", "other-secret", "it is not of this cluster"),
        ("six", "no-secret", "it is not there"),
    ] {
        ask_at(kubernetes, task, ("gold", "userdb", secret));
        let told = ends(kubernetes, task, "Failed").await;
        assert!(told.contains(why), "{told}");
    }
    assert_eq!(agent.applied().len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_is_held_until_its_making_and_its_end_were_told() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    let _reconciler = Reconciler::start(&kubernetes, &certificates);
    policy(&kubernetes, "gold", "select 1");
    policy(&kubernetes, "pgouser", "select 1");
    let found = |name: &str| kubernetes.get("pgpolicies", NS, name);
    let held = |name: &str| {
        let finalizers = found(name)?["metadata"]["finalizers"].clone();
        (finalizers == json!(["pgo.crunchydata.com/policy"])).then_some(())
    };
    eventually("both are held", || {
        held("gold").and(held("pgouser")).is_some()
    })
    .await;
    let ready = |name: &str| found(name).unwrap()["status"]["conditions"][0].clone();
    assert_eq!(ready("gold")["status"], "True");
    assert_eq!(ready("pgouser")["status"], "False");
    let told = || {
        let pgo = kubernetes.get("pginstallations", "pgo", "pgo").unwrap();
        pgo["status"]["outbox"]["last"].as_u64().unwrap()
    };
    let before = told();
    kubernetes.fail(
        "PATCH /apis/crunchydata.com/v1/namespaces/pgouser1/pgpolicies",
        Fault::Forbidden,
    );
    kubernetes.edit("pgpolicies", NS, "gold", |gold| {
        gold["metadata"]["deletionTimestamp"] = json!("2026-11-22T14:25:00Z");
    });
    // It cannot be marked for a while, and yet it is told once.
    let asked = || {
        let patches =
            kubernetes.asked("PATCH /apis/crunchydata.com/v1/namespaces/pgouser1/pgpolicies/gold");
        patches.len()
    };
    let first = asked();
    eventually("it is tried again and again", || asked() >= first + 2).await;
    kubernetes.heal();
    eventually("it is gone", || found("gold").is_none()).await;
    assert_eq!(told(), before + 2);
}
