//! The certificates of PGO's own services: that they end, and that they were renewed, is told in the PgInstallation.

use k8s_openapi::ByteString;
use serde_json::{Value, json};

use crate::{
    harness::{Certificates, Reconciler, eventually, installation},
    kubernetes::{Fault, Kubernetes},
};

fn put(kubernetes: &Kubernetes, secret: &str, pem: String) {
    let object = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": {"name": secret}, "data": {"tls.crt": ByteString(pem.into_bytes())},
    });
    kubernetes.put("secrets", "pgo", object);
}

/// What was told of this Secret, with the cause.
fn told(kubernetes: &Kubernetes, secret: &str) -> Vec<(String, String)> {
    let pgo = kubernetes.get("pginstallations", "pgo", "pgo");
    let entries = pgo.unwrap_or_default()["status"]["outbox"]["entries"].clone();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let all = entries.as_array().into_iter().flatten();
    all.filter(|event| event["certificate"] == secret)
        .map(|event| {
            (
                text(&event["eventheader"]["EventType"]),
                text(&event["cause"]),
            )
        })
        .collect()
}

/// Status and message of the condition.
fn condition(kubernetes: &Kubernetes) -> (String, String) {
    let pgo = kubernetes.get("pginstallations", "pgo", "pgo");
    let conditions = pgo.unwrap_or_default()["status"]["conditions"].clone();
    let mut all = conditions.as_array().into_iter().flatten();
    let found = all.find(|condition| condition["type"] == "CertificateWarning");
    let text = |key: &str| found.and_then(|c| c[key].as_str()).unwrap_or_default();
    (text("status").to_owned(), text("message").to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_of_a_service_that_ends_soon_is_told_with_what_to_do_and_its_renewal_too() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    put(&kubernetes, "pgo-event-tls", certificates.ending_after(20));
    put(&kubernetes, "pgo.tls", certificates.ending_after(300));
    // Anybody's: it is none of PGO's own.
    put(&kubernetes, "ingress-tls", certificates.ending_after(1));
    let _reconciler = Reconciler::start_with(&kubernetes, &certificates, &[]);
    eventually("a warning", || {
        !told(&kubernetes, "pgo-event-tls").is_empty()
    })
    .await;
    let warned = told(&kubernetes, "pgo-event-tls");
    assert_eq!(warned.len(), 1, "{warned:?}");
    assert_eq!(warned[0].0, "CertificateWarning");
    assert!(
        warned[0].1.contains("run the installer again"),
        "{warned:?}"
    );
    let (status, message) = condition(&kubernetes);
    assert!(
        status == "True" && message == warned[0].1,
        "{status} {message}"
    );
    assert!(told(&kubernetes, "pgo.tls").is_empty());
    assert!(told(&kubernetes, "ingress-tls").is_empty());

    put(&kubernetes, "pgo-event-tls", certificates.ending_after(365));
    eventually("its renewal", || {
        told(&kubernetes, "pgo-event-tls").len() == 2
    })
    .await;
    assert_eq!(
        told(&kubernetes, "pgo-event-tls")[1].0,
        "CertificateRenewed"
    );
    eventually("the condition", || condition(&kubernetes).0 == "False").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_the_secrets_cannot_be_read_all_else_of_pgo_is_told_as_ever() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    kubernetes.fail(
        "GET /api/v1/namespaces/pgo/secrets/pgo-ca",
        Fault::Forbidden,
    );
    let _reconciler = Reconciler::start_with(&kubernetes, &certificates, &[]);
    let begun = || {
        let pgo = kubernetes.get("pginstallations", "pgo", "pgo");
        pgo.unwrap_or_default()["status"]["phase"] == "Starting"
    };
    eventually("the start of PGO", begun).await;
    assert_eq!(
        condition(&kubernetes).0,
        "",
        "nothing is known of certificates"
    );
}
