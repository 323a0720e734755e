//! An API server in memory with what two replicas have there: a Lease and a ConfigMap. Each write of a state that is not the
//! present one is a conflict, as in Kubernetes, and each request must be one that the rights allow.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{Method, StatusCode, Uri},
    response::{IntoResponse as _, Response},
};
use pgo_event::RIGHTS;
use pgo_k8s::rights;
use serde_json::{Value, json};

/// Objects by their paths, with the number of the last write.
#[derive(Default)]
struct Objects {
    kept: BTreeMap<String, Value>,
    writes: u64,
}

#[derive(Clone, Default)]
pub struct Kubernetes(Arc<Mutex<Objects>>);

impl Kubernetes {
    /// Serves until the test ends; the file says how it is reached.
    pub async fn start(kubeconfig: &Path) -> Self {
        let server = Self::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let router = Router::new().fallback(answer).with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": format!("http://{at}")}}],
            "users": [{"name": "test", "user": {}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        });
        fs::write(kubeconfig, config.to_string()).unwrap();
        server
    }

    /// How often something was written.
    pub fn writes(&self) -> u64 {
        self.0.lock().unwrap().writes
    }

    /// A field of ConfigMap `pgo-event-log`; empty where there is none.
    pub fn roster(&self, field: &str) -> String {
        let objects = self.0.lock().unwrap();
        let map = objects
            .kept
            .get("/api/v1/namespaces/pgo/configmaps/pgo-event-log");
        let text = map.and_then(|map| map["data"][field].as_str());
        text.unwrap_or_default().to_owned()
    }
}

async fn answer(
    State(server): State<Kubernetes>,
    method: Method,
    uri: Uri,
    body: Bytes,
) -> Response {
    let asked = rights::Request::read(method.as_str(), uri.path(), uri.query().unwrap_or_default());
    let asked = asked.unwrap();
    assert!(RIGHTS.allows("pgo", &asked), "no right to {asked:?}");
    let mut objects = server.0.lock().unwrap();
    let sent: Value = serde_json::from_slice(&body).unwrap_or_default();
    let path = match method {
        Method::POST => format!(
            "{}/{}",
            uri.path(),
            sent["metadata"]["name"].as_str().unwrap()
        ),
        _ => uri.path().to_owned(),
    };
    let version = |object: &Value| object["metadata"]["resourceVersion"].clone();
    let there = objects.kept.get(&path);
    match (method, there) {
        (Method::GET, Some(there)) => (StatusCode::OK, there.to_string()).into_response(),
        (Method::GET | Method::PUT, None) => failure(StatusCode::NOT_FOUND, "NotFound"),
        (Method::POST, Some(_)) => failure(StatusCode::CONFLICT, "AlreadyExists"),
        (Method::PUT, Some(there)) if version(there) != version(&sent) => {
            failure(StatusCode::CONFLICT, "Conflict")
        }
        _ => {
            objects.writes += 1;
            let mut written = sent;
            written["metadata"]["resourceVersion"] = json!(objects.writes.to_string());
            objects.kept.insert(path, written.clone());
            (StatusCode::OK, written.to_string()).into_response()
        }
    }
}

fn failure(code: StatusCode, reason: &str) -> Response {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": reason,
        "code": code.as_u16(),
    });
    (code, status.to_string()).into_response()
}
