//! Upgrades of several clusters: how many go on at once.

use pgo_objects::probe_name;
use serde_json::{Value, json};

use crate::{
    agent::FakeAgent,
    harness::{
        Certificates, NS, PGO_YAML, Reconciler, cluster, configure, create_cluster, eventually,
        installation, phase,
    },
    kubernetes::Kubernetes,
};

/// How many may be upgraded at once: another number than without a configuration.
const MOST: usize = 3;

const CLUSTERS: [&str; 5] = ["one", "two", "three", "four", "five"];

fn ask(kubernetes: &Kubernetes, name: &str) {
    let task = json!({
        "apiVersion": "crunchydata.com/v1", "kind": "Pgtask",
        "metadata": {"name": format!("{name}-upgrade"), "labels": {"pgouser": "ann", "pg-cluster": name}},
        "spec": {"tasktype": "minorupgradecluster", "parameters": {"pg-cluster": name, "CCPImageTag": "debian12-15.99"}},
    });
    kubernetes.put("pgtasks", NS, task);
}

/// What its upgrade does; nothing before it began.
fn stage(kubernetes: &Kubernetes, name: &str) -> Value {
    cluster(kubernetes, name)["status"]["upgrade"]["stage"]["name"].clone()
}

/// Those whose image is being asked for its version now, which nothing here goes beyond.
fn under_way(kubernetes: &Kubernetes) -> Vec<&'static str> {
    let names = CLUSTERS.into_iter();
    let probing: Vec<_> = names
        .filter(|name| stage(kubernetes, name) == "probing")
        .collect();
    assert!(probing.len() <= MOST, "{probing:?} at once");
    probing
}

/// The image of this one cannot be used, which its probe tells.
async fn fail(kubernetes: &Kubernetes, name: &str) {
    let pod = probe_name(&name.parse().unwrap());
    eventually("the pod that asks the image", || {
        kubernetes.get("pods", NS, &pod).is_some()
    })
    .await;
    kubernetes.edit("pods", NS, &pod, |pod| {
        pod["status"] = json!({"phase": "Failed", "containerStatuses": [{
            "name": "probe", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"terminated": {"exitCode": 1, "message": "no PostgreSQL is here"}},
        }]});
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_clusters_are_upgraded_at_once_than_may_be_and_all_have_their_turn() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    let bound = format!("Pgo:\n  UpgradesAtOnce: \"{MOST}\"\n");
    configure(&kubernetes, &PGO_YAML.replace("Pgo:\n", &bound));
    let _reconciler = Reconciler::start(&kubernetes, &certificates);
    let mut agents = Vec::new();
    for name in CLUSTERS {
        create_cluster(&kubernetes, name);
        let mut agent = FakeAgent::new(name, &certificates);
        agent.bring_up(&kubernetes).await;
        agents.push(agent);
    }
    for name in CLUSTERS {
        eventually("a cluster that serves", || {
            phase(&kubernetes, name) == "Ready"
        })
        .await;
    }
    for name in CLUSTERS {
        ask(&kubernetes, name);
    }
    let mut ended = 0;
    while ended < CLUSTERS.len() {
        let most = MOST.min(CLUSTERS.len() - ended);
        eventually("as many as may be", || under_way(&kubernetes).len() == most).await;
        let first = under_way(&kubernetes)[0];
        fail(&kubernetes, first).await;
        eventually("its end", || {
            under_way(&kubernetes);
            stage(&kubernetes, first) == "failed"
        })
        .await;
        ended += 1;
    }
}
