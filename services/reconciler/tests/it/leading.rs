//! Who leads, and what a new leader makes of what it finds.

use serde_json::Value;

use crate::{
    agent::FakeAgent,
    harness::{
        Certificates, NS, Reconciler, cluster, create_cluster, eventually, installation, phase,
    },
    kubernetes::Kubernetes,
};

const STATUS: &str = "PUT /apis/crunchydata.com/v1/namespaces/pgouser1/pgclusters/hippo/status";

/// A cluster `hippo` that answers on its Service.
async fn ready(kubernetes: &Kubernetes, agent: &mut FakeAgent) {
    create_cluster(kubernetes, "hippo");
    agent.bring_up(kubernetes).await;
    eventually("hippo to be ready", || {
        phase(kubernetes, "hippo") == "Ready"
    })
    .await;
}

/// Waits until a cluster at rest was looked at again, so many times.
async fn looked_at(kubernetes: &Kubernetes, reconciler: &Reconciler, times: u32) {
    for _ in 0..times {
        let before = reconciler.metric("pgo_reconciles_total");
        kubernetes.edit("pgclusters", NS, "hippo", |cluster| {
            let looks = cluster["metadata"]["annotations"]["looks"].as_str();
            let looks = looks.map_or(0, str::len) + 1;
            cluster["metadata"]["annotations"]["looks"] = "x".repeat(looks).into();
        });
        eventually("another look", || {
            reconciler.metric("pgo_reconciles_total") > before
        })
        .await;
    }
}

/// The statuses that were written after the first `before`.
fn written(kubernetes: &Kubernetes, before: usize) -> Vec<Value> {
    let all = kubernetes.asked(STATUS).into_iter().skip(before);
    all.map(|asked| asked.body["status"].clone()).collect()
}

/// Whether nobody who watches the cluster saw it change.
fn always_ready(statuses: &[Value]) -> bool {
    statuses.iter().all(|status| {
        let instance = &status["instances"][0];
        status["phase"] == "Ready"
            && status["currentPrimary"] == "hippo"
            && instance["ready"] == true
            && instance["postgresVersion"] == "15.18"
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_leader_that_has_heard_nobody_yet_leaves_clusters_ready() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    let mut agent = FakeAgent::new("hippo", &certificates);
    let first = Reconciler::start(&kubernetes, &certificates);
    ready(&kubernetes, &mut agent).await;
    first.stop().await;

    let before = kubernetes.asked(STATUS).len();
    let second = Reconciler::start_with(
        &kubernetes,
        &certificates,
        &["--identity=second", "--disable-eventing=true"],
    );
    eventually("the agent to be heard again", || agent.watched() == 2).await;
    looked_at(&kubernetes, &second, 2).await;
    let lease = kubernetes.get("leases", "pgo", "pgo-reconciler").unwrap();
    assert_eq!(lease["spec"]["holderIdentity"], "second");
    let statuses = written(&kubernetes, before);
    assert!(always_ready(&statuses), "{statuses:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_breaks_leaves_the_cluster_ready_while_its_agent_is_called_again() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    let mut agent = FakeAgent::new("hippo", &certificates);
    let reconciler = Reconciler::start(&kubernetes, &certificates);
    ready(&kubernetes, &mut agent).await;
    let before = kubernetes.asked(STATUS).len();
    agent.fall_silent().await;
    looked_at(&kubernetes, &reconciler, 2).await;
    agent.speak(&kubernetes).await;
    eventually("the agent to be heard again", || agent.watched() == 2).await;
    looked_at(&kubernetes, &reconciler, 1).await;
    let statuses = written(&kubernetes, before);
    assert!(always_ready(&statuses), "{statuses:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_stays_silent_makes_its_cluster_not_ready() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    let mut agent = FakeAgent::new("hippo", &certificates);
    let _reconciler = Reconciler::start(&kubernetes, &certificates);
    ready(&kubernetes, &mut agent).await;
    agent.fall_silent().await;
    eventually("hippo not to be ready", || {
        phase(&kubernetes, "hippo") == "NotReady"
    })
    .await;
    assert!(cluster(&kubernetes, "hippo")["status"]["currentPrimary"].is_null());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_two_leads_and_the_other_takes_over_when_it_ends() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    let first = Reconciler::start(&kubernetes, &certificates);
    eventually("the first to lead", || {
        first.metric("pgo_leading").is_some()
    })
    .await;
    let second = Reconciler::start_with(
        &kubernetes,
        &certificates,
        &["--identity=second", "--disable-eventing=true"],
    );
    create_cluster(&kubernetes, "hippo");
    eventually("a status of hippo", || {
        phase(&kubernetes, "hippo") == "Creating"
    })
    .await;
    assert_eq!(second.metric("pgo_leading"), None);
    first.stop().await;
    create_cluster(&kubernetes, "rhino");
    eventually("a status of rhino", || {
        phase(&kubernetes, "rhino") == "Creating"
    })
    .await;
    assert_eq!(second.metric("pgo_leading"), Some(1.0));
}
