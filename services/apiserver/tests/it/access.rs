//! Users, passwords, roles: who gets in, and how soon a change counts.

use std::{
    io,
    sync::{Arc, Mutex},
};

use http::StatusCode;
use serde_json::{Value, json};
use tracing::subscriber::DefaultGuard;

use crate::harness::{
    Answer, PGO_YAML, cluster_request, configure, eventually, installation, namespace, role,
    start_plain, user,
};

fn assert_unauthorized(answer: &Answer, text: &str) {
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{answer:?}");
    assert_eq!(answer.text, format!("{text}\n"));
    assert_eq!(answer.headers["content-type"], "text/plain; charset=utf-8");
    assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    assert_eq!(
        answer.headers["www-authenticate"],
        "Basic realm=\"Restricted\""
    );
}

#[tokio::test]
async fn each_step_that_fails_has_4_1s_text() {
    let apiserver = start_plain(&installation()).await;
    let client = apiserver.plain();
    let nobody = client.with_authorization(None);
    assert_unauthorized(&nobody.get("/version").await, "Not authorized");
    let garbled = client.with_authorization(Some("Basic !".to_owned()));
    assert_unauthorized(&garbled.get("/version").await, "Not authorized");
    for (name, password) in [
        ("pgoadmin", "wrong"),
        ("pgoadmin", ""),
        ("nobody", "x"),
        ("", ""),
    ] {
        let stranger = client.as_user(name, password);
        assert_unauthorized(
            &stranger.get("/version").await,
            "Not authenticated in apiserver",
        );
    }
    let vic = client.as_user("vic", "v1c");
    vic.get("/version").await.done();
    let body = json!({"Clusters": ["hippo"], "ClientVersion": "4.1.0", "Namespace": "pgouser1"});
    assert_unauthorized(
        &vic.post("/usershow", body).await,
        "Not authorized for this apiserver action",
    );
}

#[tokio::test]
async fn a_role_that_is_missing_does_not_hide_the_next_and_blanks_do_not_count() {
    // vic has the roles "nosuch, viewer".
    let apiserver = start_plain(&installation()).await;
    let vic = apiserver.plain().as_user("vic", "v1c");
    vic.post("/showclusters", cluster_request("hippo"))
        .await
        .done();
}

#[tokio::test]
async fn what_is_read_for_probes_needs_no_user() {
    let apiserver = start_plain(&installation()).await;
    let nobody = apiserver.plain().with_authorization(None);
    let health = nobody.get("/health").await.done();
    assert_eq!(
        health,
        json!({"Version": "healthy", "Code": "ok", "Msg": "healthy"})
    );
    assert_eq!(nobody.get("/healthz").await.text, "ok");
    assert_eq!(nobody.get("/readyz").await.text, "ok\n");
    let metrics = nobody.get("/metrics").await.text;
    let counted = "pgo_apiserver_requests_total{route=\"/healthz\",code=\"200\"} 1";
    assert!(metrics.contains(counted), "{metrics}");
    assert!(
        metrics.contains("pgo_apiserver_request_duration_seconds_bucket"),
        "{metrics}"
    );
}

#[tokio::test]
async fn changes_of_users_roles_and_namespaces_count_without_a_restart() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    let alice = client.as_user("alice", "first");
    assert_eq!(alice.get("/version").await.status, StatusCode::UNAUTHORIZED);

    user(&kubernetes, "alice", "first", "viewer", "later");
    eventually("the new user gets in", async || {
        alice
            .get("/version")
            .await
            .status
            .is_success()
            .then_some(())
    })
    .await;
    user(&kubernetes, "alice", "second", "viewer", "later");
    eventually("the old password is refused", async || {
        (alice.get("/version").await.status == StatusCode::UNAUTHORIZED).then_some(())
    })
    .await;
    let alice = client.as_user("alice", "second");
    role(&kubernetes, "viewer", "Version");
    eventually("the permission is gone", async || {
        let answer = alice.post("/showclusters", cluster_request("hippo")).await;
        (answer.status == StatusCode::UNAUTHORIZED).then_some(())
    })
    .await;
    role(&kubernetes, "viewer", "Version,ShowCluster");
    kubernetes.put("namespaces", "", namespace("later", "one"));
    eventually("the new namespace can be used", async || {
        let mut request = cluster_request("hippo");
        request["Namespace"] = json!("later");
        let answer = alice.post("/showclusters", request).await;
        (answer.status.is_success() && answer.json()["Code"] == "ok").then_some(())
    })
    .await;
    kubernetes
        .remove("secrets", "pgo", "pgouser-alice")
        .unwrap();
    eventually("the user is gone", async || {
        (alice.get("/version").await.status == StatusCode::UNAUTHORIZED).then_some(())
    })
    .await;
}

#[tokio::test]
async fn authentication_costs_no_call_of_kubernetes() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let before = kubernetes.requests();
    for _ in 0..20 {
        apiserver.plain().get("/version").await.done();
    }
    assert_eq!(kubernetes.requests(), before);
}

/// What is logged, one JSON object a line.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// What this thread, on which the server runs too, logs from now on and as long as the guard is there.
    fn begin() -> (Self, DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .with_writer(move || writer.clone())
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    /// User, permission, method and refusal in the records of the audit.
    fn audit(&self) -> Vec<[String; 4]> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let records = text
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        let audit = records.filter(|record| record["target"] == "audit");
        audit
            .map(|record| {
                let remote = record["fields"]["remote"].as_str().unwrap();
                assert!(remote.starts_with("127.0.0.1:"), "{record}");
                ["user", "permission", "method", "refused"]
                    .map(|field| record["fields"][field].as_str().unwrap().to_owned())
            })
            .collect()
    }
}

#[tokio::test]
async fn with_audit_on_each_request_is_recorded_and_else_none() {
    let kubernetes = installation();
    let (log, _guard) = Log::begin();
    let apiserver = start_plain(&kubernetes).await;
    apiserver.plain().get("/version").await.done();
    assert_eq!(log.audit(), [[""; 4]; 0]);

    configure(
        &kubernetes,
        &PGO_YAML.replace("Pgo:", "Pgo:\n  Audit: true"),
    );
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    client.get("/version").await.done();
    let stranger = client.as_user("vic", "wr0ng");
    stranger.post("/clusters", json!({})).await;
    let vic = client.as_user("vic", "v1c");
    vic.post("/clusters", json!({})).await;
    assert_eq!(
        log.audit(),
        [
            ["pgoadmin", "Version", "GET", ""],
            [
                "vic",
                "CreateCluster",
                "POST",
                "Not authenticated in apiserver"
            ],
            [
                "vic",
                "CreateCluster",
                "POST",
                "Not authorized for this apiserver action"
            ],
        ]
    );
    let all = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(!all.contains("wr0ng") && !all.contains("v1c\""), "{all}");
}

#[tokio::test]
async fn without_basic_auth_the_password_does_not_count_and_the_permission_does() {
    let kubernetes = installation();
    configure(&kubernetes, &format!("BasicAuth: false\n{PGO_YAML}"));
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    let vic = client.as_user("vic", "whatever");
    vic.get("/version").await.done();
    let request = json!({"ClientVersion": "4.1.0", "Namespace": "pgouser1"});
    let refused = vic.post("/clustersdelete", request).await;
    assert_unauthorized(&refused, "Not authorized for this apiserver action");
    let nobody = client.with_authorization(None);
    assert_unauthorized(&nobody.get("/version").await, "Not authorized");
}
