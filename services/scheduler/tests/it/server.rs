//! An API server in memory: ConfigMaps of one namespace, with list, watch and a merge patch of annotations by version;
//! for who has a right to them.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Client, client::Body};
use pgo_k8s::rights::{self, Rights};
use pgo_scheduler::RIGHTS;
use serde_json::{Value, json};
use tokio::sync::broadcast;

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

#[derive(Clone)]
pub struct Server {
    state: Arc<Mutex<State>>,
    changes: broadcast::Sender<(u64, String)>,
}

#[derive(Default)]
struct State {
    version: u64,
    maps: BTreeMap<String, ConfigMap>,
    history: Vec<(u64, String)>,
    /// Values that the annotations had, in order.
    notes: Vec<(String, String)>,
    refuses: bool,
    refusals: usize,
    /// Watches bring nothing.
    stalls: bool,
    watches: usize,
    requests: Vec<rights::Request>,
}

impl Server {
    pub fn new() -> Self {
        Self {
            state: Arc::default(),
            changes: broadcast::Sender::new(1024),
        }
    }

    pub fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request| {
            let server = server.clone();
            async move { Ok::<_, Infallible>(server.answer(request).await) }
        });
        Client::new(service, "pgouser1")
    }

    /// Makes a schedule, or changes it; its annotations stay.
    pub fn apply(&self, name: &str, timetable: &str) {
        let schedule = json!({
            "version": "v1", "cluster": "hippo", "namespace": "pgouser1", "schedule": timetable,
            "type": "policy", "policy": {"name": "p", "database": "d"},
        });
        let mut state = self.state.lock().expect("the state");
        let annotations = state
            .maps
            .get(name)
            .and_then(|map| map.metadata.annotations.clone());
        let map = json!({
            "metadata": {
                "name": name, "namespace": "pgouser1", "labels": {"crunchy-scheduler": "true"},
                "creationTimestamp": jiff::Timestamp::now(), "annotations": annotations,
            },
            "data": {name: schedule.to_string()},
        });
        let map = serde_json::from_value(map).expect("a ConfigMap");
        self.store(&mut state, name, map);
    }

    pub fn refuse(&self, refuses: bool) {
        self.state.lock().expect("the state").refuses = refuses;
    }

    /// From now on, watches bring nothing.
    pub fn stall(&self) {
        self.state.lock().expect("the state").stalls = true;
    }

    /// How many watches were begun.
    pub fn watches(&self) -> usize {
        self.state.lock().expect("the state").watches
    }

    /// The version of what was stored last.
    pub fn version(&self) -> String {
        let state = self.state.lock().expect("the state");
        state.version.to_string()
    }

    /// How many patches were refused.
    pub fn refusals(&self) -> usize {
        self.state.lock().expect("the state").refusals
    }

    /// Rights to schedules that were no use so far. Those to the Lease are about no schedule; `pgo-k8s` has a test of
    /// them.
    pub fn unused_rights(&self) -> Vec<String> {
        let of_schedules = Rights {
            operator: &[],
            ..RIGHTS
        };
        of_schedules.unused("pgo", &self.state.lock().expect("the state").requests)
    }

    /// The values that an annotation had, one after the other.
    pub fn notes(&self, name: &str) -> Vec<String> {
        let state = self.state.lock().expect("the state");
        let notes = state.notes.iter().filter(|(key, _)| key == name);
        notes.map(|(_, value)| value.clone()).collect()
    }

    pub fn annotation(&self, map: &str, name: &str) -> Option<String> {
        let state = self.state.lock().expect("the state");
        let annotations = state.maps.get(map)?.metadata.annotations.as_ref()?;
        annotations.get(name).cloned()
    }

    fn store(&self, state: &mut State, name: &str, mut map: ConfigMap) -> ConfigMap {
        state.version += 1;
        map.metadata.resource_version = Some(state.version.to_string());
        let kind = match state.maps.insert(name.to_owned(), map.clone()) {
            Some(_) => "MODIFIED",
            None => "ADDED",
        };
        let line = format!("{}\n", json!({"type": kind, "object": map}));
        state.history.push((state.version, line.clone()));
        // Nobody watches yet.
        let _ = self.changes.send((state.version, line));
        map
    }

    async fn answer(&self, request: Request<Body>) -> Answer {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        let query = parts.uri.query().unwrap_or_default().to_owned();
        let asked = rights::Request::read(parts.method.as_str(), parts.uri.path(), &query);
        let asked = asked.expect("a request for a resource");
        assert!(RIGHTS.allows("pgo", &asked), "no right to {asked:?}");
        self.state.lock().expect("the state").requests.push(asked);
        assert_eq!(
            parts.uri.path().split('/').nth(4),
            Some("pgouser1"),
            "{}",
            parts.uri
        );
        let name = parts.uri.path().split('/').nth(6).map(str::to_owned);
        match (parts.method, name) {
            (Method::GET, None) if query.contains("watch=true") => self.watch(&query),
            (Method::GET, None) => self.list(&query),
            (Method::PATCH, Some(name)) => {
                let patch: Value = serde_json::from_slice(&body).expect("a patch");
                self.patch(&name, &patch)
            }
            other => panic!("{other:?}"),
        }
    }

    fn list(&self, query: &str) -> Answer {
        assert!(query.contains("labelSelector=crunchy-scheduler"), "{query}");
        let one = query.split('&').find_map(|pair| {
            let selector = pair.strip_prefix("fieldSelector=")?;
            selector.strip_prefix("metadata.name%3D")
        });
        let state = self.state.lock().expect("the state");
        let wanted = |name: &str| one.is_none_or(|one| one == name);
        let items: Vec<_> = state
            .maps
            .iter()
            .filter(|(name, _)| wanted(name))
            .map(|(_, map)| map)
            .collect();
        let list = json!({
            "kind": "ConfigMapList", "apiVersion": "v1",
            "metadata": {"resourceVersion": state.version.to_string()}, "items": items,
        });
        whole(StatusCode::OK, &list)
    }

    /// Everything after the version asked for, and then what comes.
    fn watch(&self, query: &str) -> Answer {
        let from: u64 = query
            .split('&')
            .find_map(|pair| pair.strip_prefix("resourceVersion="))
            .and_then(|version| version.parse().ok())
            .expect("a version");
        let mut state = self.state.lock().expect("the state");
        state.watches += 1;
        let changes = self.changes.subscribe();
        let stalls = state.stalls;
        let before: Vec<_> = state
            .history
            .iter()
            .filter(|(v, _)| *v > from)
            .cloned()
            .collect();
        drop(state);
        let after = stream::unfold(changes, |mut changes| async move {
            let change = changes.recv().await.ok()?;
            Some((change, changes))
        });
        let lines = stream::iter(before).chain(after);
        let lines = lines.filter(move |_| std::future::ready(!stalls));
        let frames = lines.map(|(_, line)| Ok(Frame::data(Bytes::from(line))));
        Response::new(BodyExt::boxed_unsync(StreamBody::new(frames)))
    }

    fn patch(&self, name: &str, patch: &Value) -> Answer {
        let mut state = self.state.lock().expect("the state");
        if state.refuses {
            state.refusals += 1;
            return failure(StatusCode::INTERNAL_SERVER_ERROR, "InternalError");
        }
        let Some(mut map) = state.maps.get(name).cloned() else {
            return failure(StatusCode::NOT_FOUND, "NotFound");
        };
        let metadata = &patch["metadata"];
        if metadata["resourceVersion"].as_str() != map.metadata.resource_version.as_deref() {
            return failure(StatusCode::CONFLICT, "Conflict");
        }
        let annotations = map.metadata.annotations.get_or_insert_default();
        for (key, value) in metadata["annotations"].as_object().expect("annotations") {
            match value.as_str() {
                Some(text) => {
                    annotations.insert(key.clone(), text.to_owned());
                    state.notes.push((key.clone(), text.to_owned()));
                }
                None => drop(annotations.remove(key)),
            }
        }
        let map = self.store(&mut state, name, map);
        whole(StatusCode::OK, &json!(map))
    }
}

fn whole(status: StatusCode, value: &Value) -> Answer {
    let body = http_body_util::Full::new(Bytes::from(value.to_string()));
    let response = Response::builder().status(status);
    response
        .body(BodyExt::boxed_unsync(body))
        .expect("a response")
}

fn failure(code: StatusCode, reason: &str) -> Answer {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": reason,
        "code": code.as_u16(),
    });
    whole(code, &status)
}
