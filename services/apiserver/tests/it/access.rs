//! Users, passwords, roles: who gets in, and how soon a change counts.

use http::StatusCode;
use serde_json::json;

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
