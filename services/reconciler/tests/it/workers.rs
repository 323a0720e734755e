//! Pods that do one operation: asked for by a Pgtask, and what they say of it.

use serde_json::{Value, json};

use crate::{
    agent::FakeAgent,
    harness::{Certificates, NS, create_cluster, eventually, phase},
    kubernetes::Kubernetes,
};

/// Asks for something by a Pgtask, as ann.
pub fn ask(kubernetes: &Kubernetes, name: &str, tasktype: &str, parameters: &Value) {
    let task = json!({
        "apiVersion": "crunchydata.com/v1", "kind": "Pgtask",
        "metadata": {"name": name, "labels": {"pgouser": "ann", "pg-cluster": "hippo"}},
        "spec": {"tasktype": tasktype, "parameters": parameters},
    });
    kubernetes.put("pgtasks", NS, task);
}

/// A Pgtask as it is now.
pub fn task(kubernetes: &Kubernetes, name: &str) -> Value {
    kubernetes.get("pgtasks", NS, name).expect("a task")
}

/// What a Pgtask says became of it.
pub async fn ends(kubernetes: &Kubernetes, name: &str, reason: &str) -> String {
    let said = || task(kubernetes, name)["status"]["conditions"][0].clone();
    eventually("the end of the operation", || said()["reason"] == reason).await;
    said()["message"].as_str().unwrap_or_default().to_owned()
}

/// The pod with this label that is there.
pub fn pod(kubernetes: &Kubernetes, label: &str) -> Option<Value> {
    let names = kubernetes.names("pods", NS);
    let pods = names
        .iter()
        .filter_map(|name| kubernetes.get("pods", NS, name));
    let mut pods = pods.filter(|pod| {
        let is_of = pod["metadata"]["labels"][label] == "true";
        is_of && pod["metadata"]["deletionTimestamp"].is_null()
    });
    pods.next()
}

/// It comes, and says this.
pub async fn says(kubernetes: &Kubernetes, label: &str, code: i32, message: &str) -> Value {
    eventually("the pod", || pod(kubernetes, label).is_some()).await;
    let it = pod(kubernetes, label).expect("a pod");
    let name = it["metadata"]["name"].as_str().expect("a name");
    let container = it["spec"]["containers"][0]["name"].clone();
    kubernetes.edit("pods", NS, name, |pod| {
        pod["status"] = json!({"phase": "Succeeded", "containerStatuses": [{
            "name": container, "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"terminated": {"exitCode": code, "message": message}},
        }]});
    });
    it
}

/// A cluster that serves, with its agent.
pub async fn served(kubernetes: &Kubernetes, certificates: &Certificates) -> FakeAgent {
    let mut agent = FakeAgent::new("hippo", certificates);
    create_cluster(kubernetes, "hippo");
    agent.bring_up(kubernetes).await;
    eventually("a cluster that serves", || {
        phase(kubernetes, "hippo") == "Ready"
    })
    .await;
    agent
}
