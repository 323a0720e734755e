//! Another primary, asked for by a task of 4.1: what the agents are asked, and what objects say then.

use pgo_proto::agent::{Lost, Role};
use serde_json::{Value, json};

use crate::{
    agent::FakeAgent,
    harness::{
        self, Certificates, NS, Reconciler, create_cluster, eventually, installation, phase,
    },
    kubernetes::Kubernetes,
};

/// A cluster of two instances.
pub async fn cluster(
    kubernetes: &Kubernetes,
    certificates: &Certificates,
) -> (FakeAgent, FakeAgent) {
    let mut first = FakeAgent::new("hippo", certificates);
    create_cluster(kubernetes, "hippo");
    first.bring_up(kubernetes).await;
    eventually("a cluster that serves", || {
        phase(kubernetes, "hippo") == "Ready"
    })
    .await;
    let replica = json!({
        "apiVersion": "crunchydata.com/v1", "kind": "Pgreplica",
        "metadata": {"name": "hippo-abcd"},
        "spec": {"clustername": "hippo"},
    });
    kubernetes.put("pgreplicas", NS, replica);
    let other = ("hippo-abcd", Role::Replica);
    let mut other = FakeAgent::of("hippo", other, certificates);
    other.bring_up(kubernetes).await;
    eventually("a replica that follows", || {
        let replica = kubernetes.get("pgreplicas", NS, "hippo-abcd").unwrap();
        replica["status"]["conditions"][0]["reason"] == "Streaming"
    })
    .await;
    (first, other)
}

fn ask(kubernetes: &Kubernetes, target: &str) {
    let task = json!({
        "apiVersion": "crunchydata.com/v1", "kind": "Pgtask",
        "metadata": {"name": "hippo-failover", "labels": {
            "pg-cluster": "hippo", "pgouser": "alice", "target": target,
            "workflowid": "25927091-b343-4017-be4b-71575f0b3eb5",
        }},
        "spec": {"tasktype": "failover", "parameters": {"hippo": "hippo"}},
    });
    kubernetes.put("pgtasks", NS, task);
}

fn condition(kubernetes: &Kubernetes) -> Value {
    let task = kubernetes.get("pgtasks", NS, "hippo-failover").unwrap();
    task["status"]["conditions"][0].clone()
}

/// The agents have changed places.
async fn change_places(kubernetes: &Kubernetes, first: &FakeAgent, other: &FakeAgent) {
    kubernetes.edit("leases", NS, "hippo", |lease| {
        let takeover = json!({
            "term": 2, "from": "hippo", "to": "hippo-abcd", "cause": "released",
            "former_timeline": 1, "timeline": 2,
            "lsn": "0/3000148", "at": jiff::Timestamp::now(),
        });
        let takeovers = json!([takeover]).to_string();
        lease["metadata"]["annotations"]["pgo.crunchydata.com/takeovers"] = json!(takeovers);
    });
    other.is_led_to(kubernetes).await;
    for (agent, role) in [(first, Role::Replica), (other, Role::Primary)] {
        agent.state.send_modify(|state| {
            state.role = role.into();
            state.streaming = role == Role::Replica;
            state.term = 2;
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_planned_change_survives_a_restart_and_everything_follows_it() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    let reconciler = Reconciler::start(&kubernetes, &certificates);
    let (first, other) = cluster(&kubernetes, &certificates).await;
    let service = |pod: &str| {
        let pod = kubernetes.get("pods", NS, pod).unwrap();
        let labels = &pod["metadata"]["labels"];
        assert_eq!(labels["name"], labels["service-name"]);
        labels["service-name"].clone()
    };
    assert_eq!(service("hippo"), "hippo");
    assert_eq!(service("hippo-abcd"), "hippo-replica");

    // The pod of an earlier version.
    let former = kubernetes.get("pods", NS, "hippo").unwrap();
    kubernetes.edit("pods", NS, "hippo", |pod| {
        let labels = pod["metadata"]["labels"].as_object_mut().unwrap();
        labels.retain(|key, _| !["name", "pg-cluster-id"].contains(&key.as_str()));
    });
    eventually("the pod to have all labels", || {
        let pod = kubernetes.get("pods", NS, "hippo").unwrap();
        assert_eq!(pod["metadata"]["uid"], former["metadata"]["uid"]);
        pod["metadata"]["labels"] == former["metadata"]["labels"]
    })
    .await;

    ask(&kubernetes, "hippo-abcd");
    eventually("the primary to be asked", || !first.asked().is_empty()).await;
    eventually("the task to say so", || {
        condition(&kubernetes)["reason"] == "Running"
    })
    .await;
    reconciler.stop().await;
    let asked = first.asked().len();
    // It is written down, so the next one goes on.
    let _reconciler = Reconciler::start(&kubernetes, &certificates);
    eventually("the primary to be asked again", || {
        first.asked().len() > asked
    })
    .await;
    assert!(first.asked().iter().all(|to| to == "hippo-abcd"));

    change_places(&kubernetes, &first, &other).await;
    eventually("the task to be done", || {
        condition(&kubernetes)["status"] == "True"
    })
    .await;
    eventually("the labels to follow", || {
        service("hippo") == "hippo-replica" && service("hippo-abcd") == "hippo"
    })
    .await;
    eventually("the Pgcluster and the Pgreplica to follow", || {
        let cluster = kubernetes.get("pgclusters", NS, "hippo").unwrap();
        let replica = kubernetes.get("pgreplicas", NS, "hippo-abcd").unwrap();
        cluster["metadata"]["labels"]["current-primary"] == "hippo-abcd"
            && cluster["status"]["currentPrimary"] == "hippo-abcd"
            && replica["status"]["conditions"][0]["reason"] == "Primary"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_target_fails_with_the_reason_and_nobody_is_asked() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    let _reconciler = Reconciler::start(&kubernetes, &certificates);
    let (first, _other) = cluster(&kubernetes, &certificates).await;
    ask(&kubernetes, "nosuch");
    eventually("the task to fail", || {
        condition(&kubernetes)["reason"] == "Failed"
    })
    .await;
    let why = condition(&kubernetes)["message"].clone();
    let why = why.as_str().unwrap();
    assert!(why.contains("no replica nosuch"), "{why}");
    assert!(why.contains("hippo-abcd"), "{why}");
    assert!(first.asked().is_empty());
}

/// What was told of commits that were lost or were not: the type, the former primary, the bytes, the place, and the cause.
fn told_of_lost(kubernetes: &Kubernetes) -> Vec<Value> {
    let entries = harness::cluster(kubernetes, "hippo")["status"]["outbox"]["entries"].clone();
    let all = entries.as_array().into_iter().flatten();
    let types = ["CommitsLost", "NoCommitsLost"].map(Value::from);
    all.filter(|event| types.contains(&event["eventheader"]["EventType"]))
        .map(|event| {
            json!([
                event["eventheader"]["EventType"],
                event["formerprimary"],
                event["lostbytes"],
                event["lsn"],
                event["cause"]
            ])
        })
        .collect()
}

/// Its agent tells three roles of it at once, since nobody heard it between them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_that_a_former_primary_had_more_each_time_is_told_once() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    let reconciler = Reconciler::start_with(&kubernetes, &certificates, &[]);
    let (_first, other) = cluster(&kubernetes, &certificates).await;
    let lost = |term, commits, synchronous, unknown| Lost {
        term,
        timeline: 3,
        fork_lsn: 0x300_0148,
        end_lsn: 0x300_01F8,
        commits,
        synchronous,
        unknown,
    };
    let all = vec![
        lost(2, Some(7), false, false),
        lost(4, Some(1), true, false),
        lost(6, None, false, true),
    ];
    other.state.send_modify(|state| state.lost = all);
    eventually("all to be told", || told_of_lost(&kubernetes).len() == 3).await;
    let places = |term| {
        format!(
            "; its WAL on timeline 3 ends at 0/30001F8, and the history of the primary in term {term} leaves it at 0/3000148"
        )
    };
    let had = format!("the former primary had 7 commits more{}", places(2));
    let never = format!(
        "what the former primary had more was not acknowledged, save commits that did not wait until replicas had them on disk: \
         those with synchronous_commit off, local or remote_write, and those whose wait was cancelled{}",
        places(4)
    );
    let may = "the former primary may have had more, which could not be found out; its agent's log says why";
    let expected = [
        json!(["CommitsLost", "hippo-abcd", 176, "0/3000148", had]),
        json!(["NoCommitsLost", "hippo-abcd", 176, "0/3000148", never]),
        json!(["CommitsLost", "hippo-abcd", null, null, may]),
    ];
    assert_eq!(told_of_lost(&kubernetes), expected);

    // Another process hears all of them again, and the next one.
    reconciler.stop().await;
    let _reconciler = Reconciler::start_with(&kubernetes, &certificates, &[]);
    let next = lost(7, Some(0), false, false);
    other.state.send_modify(|state| state.lost.push(next));
    eventually("the next one to be told", || {
        told_of_lost(&kubernetes).len() > 3
    })
    .await;
    assert_eq!(told_of_lost(&kubernetes).len(), 4);
}
