//! A cluster made by kubectl whose users get the passwords of another cluster's.

use k8s_openapi::ByteString;
use serde_json::{Value, json};

use crate::{
    harness::{Certificates, NS, Reconciler, cluster, eventually, installation, phase},
    kubernetes::{Fault, Kubernetes},
};

const ROLES: [(&str, &str); 3] = [
    ("postgres", "one"),
    ("primaryuser", "two"),
    ("testuser", "three"),
];

/// A text as it is in a Secret.
fn encoded(text: &str) -> Value {
    json!(ByteString(text.as_bytes().to_vec()))
}

fn create_from_zebra(kubernetes: &Kubernetes) {
    let cluster = json!({
        "apiVersion": "crunchydata.com/v1", "kind": "Pgcluster",
        "metadata": {"name": "hippo"}, "spec": {"secretfrom": "zebra"},
    });
    kubernetes.put("pgclusters", NS, cluster);
}

/// A user Secret of zebra, without labels: anybody may have made it.
fn put_secret(kubernetes: &Kubernetes, (role, password): (&str, &str)) {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": format!("zebra-{role}-secret")},
        "data": {"username": encoded(role), "password": encoded(password)},
    });
    kubernetes.put("secrets", NS, secret);
}

fn ready(kubernetes: &Kubernetes) -> Value {
    let cluster = cluster(kubernetes, "hippo");
    let conditions = cluster["status"]["conditions"].as_array().cloned();
    let mut conditions = conditions.unwrap_or_default().into_iter();
    conditions
        .find(|condition| condition["type"] == "Ready")
        .unwrap_or_default()
}

/// What was made of hippo, with the number of each kind.
fn made(kubernetes: &Kubernetes) -> Vec<(&'static str, usize)> {
    let kinds = [
        "secrets",
        "services",
        "leases",
        "roles",
        "persistentvolumeclaims",
        "pods",
    ];
    let count = |kind| {
        let names = kubernetes.names(kind, NS);
        names
            .iter()
            .filter(|name| name.starts_with("hippo"))
            .count()
    };
    let counts = kinds.map(|kind| (kind, count(kind)));
    counts.into_iter().filter(|(_, count)| *count > 0).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passwords_are_copied_once_they_are_all_there_and_nothing_is_made_before() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    put_secret(&kubernetes, ROLES[0]);
    put_secret(&kubernetes, (ROLES[1].0, ""));
    let reconciler = Reconciler::start(&kubernetes, &certificates);
    create_from_zebra(&kubernetes);
    eventually("a failure", || phase(&kubernetes, "hippo") == "Failed").await;
    let told = ready(&kubernetes);
    assert_eq!(told["reason"], "SecretNotFound");
    let message = told["message"].as_str().unwrap();
    let expected = "spec.secretfrom: the passwords of cluster zebra cannot be copied: \
                    Secret zebra-primaryuser-secret, and 1 more, is not there or has no password";
    assert!(message.starts_with(expected), "{message}");
    reconciler.reconciles(2).await;
    assert_eq!(made(&kubernetes), []);

    for role in &ROLES[1..] {
        put_secret(&kubernetes, *role);
    }
    eventually("a pod", || kubernetes.get("pods", NS, "hippo").is_some()).await;
    for (role, password) in ROLES {
        let name = format!("hippo-{role}-secret");
        let secret = kubernetes.get("secrets", NS, &name).unwrap();
        assert_eq!(secret["data"]["password"], encoded(password));
        assert_eq!(secret["data"]["username"], encoded(role));
        assert_eq!(secret["metadata"]["labels"]["pg-cluster"], "hippo");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_read_for_now_is_no_failure() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    for role in ROLES {
        put_secret(&kubernetes, role);
    }
    kubernetes.fail(
        "GET /api/v1/namespaces/pgouser1/secrets/zebra",
        Fault::Forbidden,
    );
    let reconciler = Reconciler::start(&kubernetes, &certificates);
    create_from_zebra(&kubernetes);
    eventually("a status", || phase(&kubernetes, "hippo") == "Creating").await;
    reconciler.reconciles(2).await;
    assert_eq!(phase(&kubernetes, "hippo"), "Creating");
    assert_eq!(made(&kubernetes), []);
    kubernetes.heal();
    eventually("a pod", || kubernetes.get("pods", NS, "hippo").is_some()).await;
}
