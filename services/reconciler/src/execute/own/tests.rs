//! A name that is taken: whose object it is, and what becomes of it.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Arc, Mutex},
};

use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Secret, Service};
use kube::client::Body;
use serde_json::Value;

use super::*;

/// An API server that holds objects by their path, and what was asked of it.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Value>,
    asked: Vec<(Method, String, Value)>,
}

impl Server {
    fn holding(kind: &str, object: Value) -> Self {
        let server = Self::default();
        server.state(|state| state.objects.insert(path(kind, &object), object));
        server
    }

    fn state<T>(&self, with: impl FnOnce(&mut State) -> T) -> T {
        with(&mut self.0.lock().expect("not poisoned"))
    }

    fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move { Ok::<_, Infallible>(server.answer(request).await) }
        });
        Client::new(service, "pgouser1")
    }

    async fn answer(&self, request: Request<Body>) -> Response<Full<bytes::Bytes>> {
        let (head, body) = request.into_parts();
        let body = body.collect_bytes().await.expect("a body");
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let path = head.uri.path().to_owned();
        let (code, answer) = self.state(|state| {
            state
                .asked
                .push((head.method.clone(), path.clone(), body.clone()));
            state.respond(&head.method, path, body)
        });
        let answer = serde_json::to_vec(&answer).expect("JSON");
        let mut response = Response::new(Full::from(answer));
        *response.status_mut() = code;
        response
    }

    fn methods(&self) -> Vec<Method> {
        self.state(|state| {
            state
                .asked
                .iter()
                .map(|(method, ..)| method.clone())
                .collect()
        })
    }

    fn object(&self, kind: &str, name: &str) -> Option<Value> {
        let path = format!("/api/v1/namespaces/pgouser1/{kind}/{name}");
        self.state(|state| state.objects.get(&path).cloned())
    }
}

impl State {
    fn respond(&mut self, method: &Method, path: String, body: Value) -> (StatusCode, Value) {
        if *method == Method::POST {
            let name = body["metadata"]["name"].as_str().expect("a name");
            let path = format!("{path}/{name}");
            if self.objects.contains_key(&path) {
                return refuse(StatusCode::CONFLICT, "AlreadyExists");
            }
            self.objects.insert(path, body.clone());
            return (StatusCode::CREATED, body);
        }
        let Some(found) = self.objects.get(&path).cloned() else {
            return refuse(StatusCode::NOT_FOUND, "NotFound");
        };
        match *method {
            Method::PATCH => {
                let version = &body["metadata"]["resourceVersion"];
                if !version.is_null() && *version != found["metadata"]["resourceVersion"] {
                    return refuse(StatusCode::CONFLICT, "Conflict");
                }
                let mut now = found;
                merge(&mut now, body);
                self.objects.insert(path, now.clone());
                (StatusCode::OK, now)
            }
            Method::DELETE => {
                if body["preconditions"]["uid"] != found["metadata"]["uid"] {
                    return refuse(StatusCode::CONFLICT, "Conflict");
                }
                self.objects.remove(&path);
                (StatusCode::OK, found)
            }
            _ => (StatusCode::OK, found),
        }
    }
}

/// RFC 7396.
fn merge(into: &mut Value, patch: Value) {
    match (into, patch) {
        (Value::Object(into), Value::Object(patch)) => {
            for (key, value) in patch {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, patch) => *into = patch,
    }
}

fn refuse(code: StatusCode, reason: &str) -> (StatusCode, Value) {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "metadata": {},
        "reason": reason, "message": reason, "code": code.as_u16(),
    });
    (code, status)
}

fn path(kind: &str, object: &Value) -> String {
    let name = object["metadata"]["name"].as_str().expect("a name");
    format!("/api/v1/namespaces/pgouser1/{kind}/{name}")
}

fn cluster(name: &str) -> Cluster {
    Cluster {
        name: name.parse().expect("a name"),
        namespace: "pgouser1".parse().expect("a namespace"),
        stream: "uid-1".parse().expect("a uid"),
        generation: 1,
        deleting: false,
        actor: String::new(),
        workflow: None,
        delete_requests: Vec::new(),
        replicas: Vec::new(),
        replica_count: 0,
        scale_down: Vec::new(),
        failover: Vec::new(),
        reloads: Vec::new(),
        restarts: Vec::new(),
        upgrades: Vec::new(),
        dumps: Vec::new(),
        removals: Vec::new(),
        backups: Vec::new(),
        restores: Vec::new(),
        drills: Vec::new(),
        jobs: Vec::new(),
        policies: Vec::new(),
        policies_at_creation: Vec::new(),
        tasks: BTreeMap::new(),
        cancelled: BTreeMap::new(),
        notes: pgo_core::Notes::default(),
        changed_by: pgo_core::ChangedBy::default(),
        image_said: String::new(),
        desired: Err("not needed here".to_owned()),
    }
}

fn of(cluster: &str, name: &str, owner: Option<&str>) -> Value {
    let owners = owner.map(|uid| {
        json!([{"apiVersion": "crunchydata.com/v1", "kind": "Pgcluster", "name": cluster, "uid": uid}])
    });
    json!({
        "apiVersion": "v1",
        "metadata": {"name": name, "namespace": "pgouser1", "uid": "uid of what is there", "resourceVersion": "7",
            "labels": {"vendor": "crunchydata", "pg-cluster": cluster},
            "ownerReferences": owners.unwrap_or(json!([]))},
    })
}

fn service(port: u16) -> Service {
    let mut service = of("hippo", "hippo", Some("uid-1"));
    service["kind"] = json!("Service");
    service["metadata"]["uid"] = Value::Null;
    service["metadata"]["resourceVersion"] = Value::Null;
    service["spec"] = json!({"ports": [{"port": port}]});
    serde_json::from_value(service).expect("a Service")
}

/// What has no owner when we make it.
fn kept<K: DeserializeOwned>(cluster: &str, name: &str) -> K {
    let mut object = of(cluster, name, None);
    object["metadata"]["uid"] = Value::Null;
    object["metadata"]["resourceVersion"] = Value::Null;
    serde_json::from_value(object).expect("an object")
}

#[tokio::test]
async fn a_name_that_is_free_is_taken_with_one_request() {
    let server = Server::default();
    let made = make(
        &server.client(),
        &cluster("hippo"),
        &service(5432),
        Present::Renewed,
    )
    .await;
    made.expect("made");
    assert_eq!(server.methods(), [Method::POST]);
}

#[tokio::test]
async fn what_is_ours_stays_or_is_renewed_where_it_is_still_the_same() {
    let mut ours = of("hippo", "hippo", Some("uid-1"));
    ours["metadata"]["managedFields"] = json!([
        {"manager": "pgo-reconciler", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {}},
        {"manager": "cloud", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {}},
    ]);
    let server = Server::holding("services", ours);
    let (client, hippo) = (server.client(), cluster("hippo"));
    make(&client, &hippo, &service(6000), Present::Stays)
        .await
        .expect("it is there");
    assert_eq!(server.methods(), [Method::POST, Method::GET]);

    make(&client, &hippo, &service(6000), Present::Renewed)
        .await
        .expect("renewed");
    let now = server.object("services", "hippo").expect("a Service");
    assert_eq!(now["spec"]["ports"][0]["port"], 6000);
    let operations: Vec<_> = now["metadata"]["managedFields"]
        .as_array()
        .expect("managers")
        .iter()
        .map(|manager| manager["operation"].clone())
        .collect();
    assert_eq!(operations, ["Apply", "Update"], "only ours is made over");
    let applied = server
        .state(|state| state.asked.last().cloned())
        .expect("asked");
    assert_eq!(applied.2["metadata"]["uid"], "uid of what is there");
    assert_eq!(applied.2["metadata"]["resourceVersion"], "7");
}

#[tokio::test]
async fn what_is_anothers_is_refused_by_its_name_and_left_alone() {
    let foreign = |labels: Value, owners: Value| {
        json!({
            "apiVersion": "v1", "metadata": {"name": "hippo", "namespace": "pgouser1", "uid": "u", "labels": labels,
                "ownerReferences": owners},
        })
    };
    let by_label = json!({"vendor": "crunchydata", "pg-cluster": "hippo"});
    let deployment =
        json!([{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "u"}]);
    for (found, whose) in [
        (foreign(json!({}), json!([])), "was made by somebody else"),
        (
            foreign(by_label.clone(), json!([])),
            "was made by somebody else",
        ),
        (foreign(by_label, deployment), "belongs to Deployment web"),
        (
            of("rhino", "hippo", Some("uid-2")),
            "belongs to cluster rhino",
        ),
    ] {
        let server = Server::holding("services", found.clone());
        let client = server.client();
        for present in [Present::Stays, Present::Renewed] {
            let error = make(&client, &cluster("hippo"), &service(5432), present)
                .await
                .expect_err("it is not ours");
            assert!(error.is_refusal(), "{error}");
            let text = error.to_string();
            assert!(
                text.contains("Service hippo") && text.contains(whose),
                "{text}"
            );
        }
        assert_eq!(server.object("services", "hippo"), Some(found));
    }
}

#[tokio::test]
async fn a_password_of_another_cluster_is_not_taken_for_ones_own() {
    // Cluster a has a user b-postgres; its Secret has the name of the superuser's of cluster a-b.
    let server = Server::holding("secrets", of("a", "a-b-postgres-secret", None));
    let ours: Secret = kept("a-b", "a-b-postgres-secret");
    let error = make(&server.client(), &cluster("a-b"), &ours, Present::Stays)
        .await
        .expect_err("it is another's");
    assert!(
        error.to_string().contains("belongs to cluster a;"),
        "{error}"
    );
}

#[tokio::test]
async fn data_that_was_kept_is_taken_up_and_data_of_somebody_else_is_not() {
    let ours: PersistentVolumeClaim = kept("hippo", "hippo");
    let left = Server::holding("persistentvolumeclaims", of("hippo", "hippo", None));
    make(&left.client(), &cluster("hippo"), &ours, Present::Stays)
        .await
        .expect("it was kept");

    let mut unlabelled = of("hippo", "hippo", None);
    unlabelled["metadata"]["labels"] = json!({"app": "another"});
    let server = Server::holding("persistentvolumeclaims", unlabelled);
    let error = make(&server.client(), &cluster("hippo"), &ours, Present::Stays)
        .await
        .expect_err("nobody gave it to us");
    assert!(error.to_string().contains("pg-cluster=hippo"), "{error}");
}

#[tokio::test]
async fn what_a_former_cluster_left_is_waited_for() {
    let server = Server::holding("services", of("hippo", "hippo", Some("uid-0")));
    let error = make(
        &server.client(),
        &cluster("hippo"),
        &service(5432),
        Present::Renewed,
    )
    .await
    .expect_err("it goes by itself");
    assert!(
        matches!(error, Error::Leaving(_)) && !error.is_refusal(),
        "{error}"
    );

    let mut going = of("hippo", "hippo", Some("uid-1"));
    going["metadata"]["deletionTimestamp"] = json!("2026-10-15T10:11:12Z");
    let server = Server::holding("services", going);
    let error = make(
        &server.client(),
        &cluster("hippo"),
        &service(5432),
        Present::Stays,
    )
    .await
    .expect_err("it goes by itself");
    assert!(matches!(error, Error::Leaving(_)), "{error}");
}

#[tokio::test]
async fn only_what_was_seen_is_removed() {
    let server = Server::holding("secrets", of("hippo", "hippo-postgres-secret", None));
    let (client, hippo) = (server.client(), cluster("hippo"));
    let name = "hippo-postgres-secret";
    remove::<Secret>(&client, &hippo, (name, "uid of a former one"))
        .await
        .expect("the former one is gone");
    assert!(
        server.object("secrets", name).is_some(),
        "its successor stays"
    );
    remove::<Secret>(&client, &hippo, (name, "uid of what is there"))
        .await
        .expect("removed");
    assert_eq!(server.object("secrets", name), None);
    remove::<Secret>(&client, &hippo, (name, "uid of what is there"))
        .await
        .expect("removed already");
}
