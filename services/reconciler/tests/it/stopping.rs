//! PGO that is to stop, and PGO with fewer replicas than it is to have.

use serde_json::{Value, json};

use crate::{
    harness::{Certificates, Reconciler, eventually, installation},
    kubernetes::Kubernetes,
};

fn pgo(kubernetes: &Kubernetes) -> Value {
    let found = kubernetes.get("pginstallations", "pgo", "pgo");
    found.unwrap_or_default()
}

/// The events of the start and the stop, in order.
fn story(kubernetes: &Kubernetes) -> Vec<String> {
    let pgo = pgo(kubernetes);
    let entries = pgo["status"]["outbox"]["entries"].as_array().cloned();
    let types = entries
        .unwrap_or_default()
        .into_iter()
        .filter_map(|event| Some(event["eventheader"]["EventType"].as_str()?.to_owned()));
    types.filter(|name| name.starts_with("PGO")).collect()
}

/// A condition's status and message.
fn condition(kubernetes: &Kubernetes, name: &str) -> (String, String) {
    let pgo = pgo(kubernetes);
    let all = pgo["status"]["conditions"].as_array().cloned();
    let mut all = all.unwrap_or_default().into_iter();
    let found = all.find(|one| one["type"] == name).unwrap_or_default();
    let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
    (text("status"), text("message"))
}

/// A workload of PGO with so many of its replicas ready.
fn workload(kubernetes: &Kubernetes, kind: &str, name: &str, (ready, wanted): (i32, i32)) {
    let object = json!({
        "apiVersion": "apps/v1", "metadata": {"name": name},
        "spec": {"replicas": wanted, "selector": {}, "serviceName": name,
            "template": {"metadata": {}, "spec": {"containers": []}}},
        "status": {"readyReplicas": ready, "replicas": wanted},
    });
    kubernetes.put(kind, "pgo", object);
}

/// Everything of PGO ready.
fn whole() -> Kubernetes {
    let kubernetes = installation();
    for (name, replicas) in [("apiserver", 1), ("reconciler", 2), ("scheduler", 1)] {
        workload(&kubernetes, "deployments", name, (replicas, replicas));
    }
    for (name, replicas) in [("nsqd", 1), ("event", 2)] {
        workload(&kubernetes, "statefulsets", name, (replicas, replicas));
    }
    kubernetes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stop_is_completed_when_what_works_has_ended_and_not_before() {
    let (kubernetes, certificates) = (whole(), Certificates::new());
    let running = json!({"running": {"startedAt": "2026-11-22T10:00:00Z"}});
    for service in ["apiserver", "event"] {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": format!("{service}-0"), "labels": {"pgo-process": service}},
            "status": {"containerStatuses": [
                {"name": service, "ready": true, "image": "", "imageID": "", "restartCount": 0, "state": running}]},
        });
        kubernetes.put("pods", "pgo", pod);
    }
    let _reconciler = Reconciler::start_with(&kubernetes, &certificates, &[]);
    eventually("the start", || story(&kubernetes).len() == 2).await;
    kubernetes.edit("pginstallations", "pgo", "pgo", |pgo| {
        pgo["spec"]["state"] = json!("Stopped");
    });
    let still = |what: &str| condition(&kubernetes, "Ready").1 == format!("still at work: {what}");
    let wanted = |name: &str| format!("Deployment {name} (replicas: 1)");
    let all = [
        "pod apiserver-0 of apiserver".to_owned(),
        wanted("apiserver"),
        wanted("scheduler"),
    ];
    eventually("all that works", || still(&all.join("; "))).await;
    for name in ["apiserver", "scheduler"] {
        kubernetes.delete("deployments", "pgo", name);
    }
    eventually("the pod that is left", || still(&all[0])).await;
    assert_eq!(story(&kubernetes)[2..], ["PGOStop"]);
    kubernetes.delete("pods", "pgo", "apiserver-0");
    eventually("the end", || {
        story(&kubernetes).get(2..) == Some(&["PGOStop".to_owned(), "PGOStopCompleted".to_owned()])
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_two_replicas_serves_and_is_told_as_too_few() {
    let (kubernetes, certificates) = (whole(), Certificates::new());
    workload(&kubernetes, "statefulsets", "event", (1, 2));
    workload(&kubernetes, "deployments", "reconciler", (0, 2));
    let _reconciler = Reconciler::start(&kubernetes, &certificates);
    eventually("it is ready", || {
        condition(&kubernetes, "Ready").0 == "True"
    })
    .await;
    let lacking = "reconciler has 1 of 2 replicas ready; event has 1 of 2 replicas ready";
    let degraded = condition(&kubernetes, "Degraded");
    assert_eq!(degraded, ("True".to_owned(), lacking.to_owned()));
    workload(&kubernetes, "statefulsets", "event", (2, 2));
    workload(&kubernetes, "deployments", "reconciler", (2, 2));
    eventually("it has all", || {
        condition(&kubernetes, "Degraded").0 == "False"
    })
    .await;
    workload(&kubernetes, "statefulsets", "event", (0, 2));
    eventually("it is not ready", || {
        condition(&kubernetes, "Ready").0 == "False"
    })
    .await;
}
