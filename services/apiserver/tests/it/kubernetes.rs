//! The few calls of Kubernetes that the apiserver makes, answered from memory, and only those that it has a right to.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody, combinators::BoxBody};
use hyper::body::Frame;
use kube::{Client, client::Body};
use pgo_apiserver::RIGHTS;
use pgo_k8s::rights;
use serde_json::{Value, json};
use tokio::sync::watch;

/// The operator's namespace.
const OPERATOR: &str = "pgo";

/// Where objects of a kind in a namespace are: the path of their list.
type Place = String;

#[derive(Default)]
struct State {
    objects: BTreeMap<(Place, String), Value>,
    /// Every change, with the resourceVersion it has: its index and one.
    changes: Vec<(Place, &'static str, Value)>,
    /// Requests so far, as `METHOD path`, with the new object's name behind the path of a POST.
    requests: Vec<String>,
    /// The same, as rights are about them.
    uses: Vec<rights::Request>,
    /// Those among them that there is no right to.
    without_right: Vec<rights::Request>,
    /// Requests that are answered with a failure: how each begins.
    failing: Vec<(String, Failure)>,
    /// Watches bring nothing.
    stalled: bool,
}

/// How a request fails.
#[derive(Clone, Copy, Debug)]
pub enum Failure {
    /// As if nobody listened.
    Unreachable,
    /// 403.
    Forbidden,
    /// It is done, and the answer is lost.
    AnswerLost,
    /// Nothing is done and no answer comes until [`Kubernetes::heal`].
    Hangs,
    /// It is done after so long.
    Slow(Duration),
}

/// Clones are handles of the same.
#[derive(Clone)]
pub struct Kubernetes {
    state: Arc<Mutex<State>>,
    changed: watch::Sender<usize>,
}

/// The path of the list of a kind in a namespace; some kinds are in none.
pub fn place(kind: &str, namespace: &str) -> Place {
    let prefix = match kind {
        "pgclusters" | "pgtasks" | "pgreplicas" | "pgpolicies" | "pginstallations" => {
            "/apis/crunchydata.com/v1"
        }
        "jobs" => "/apis/batch/v1",
        "storageclasses" => "/apis/storage.k8s.io/v1",
        _ => "/api/v1",
    };
    match kind {
        "namespaces" | "nodes" | "storageclasses" => format!("{prefix}/{kind}"),
        _ => format!("{prefix}/namespaces/{namespace}/{kind}"),
    }
}

impl Kubernetes {
    pub fn new() -> Self {
        Self {
            state: Arc::default(),
            changed: watch::Sender::new(0),
        }
    }

    pub fn client(&self) -> Client {
        let kubernetes = self.clone();
        let service = tower::service_fn(move |request| {
            let kubernetes = kubernetes.clone();
            async move { kubernetes.answer(request).await }
        });
        Client::new(service, "default")
    }

    /// Stores an object, or another version of it.
    pub fn put(&self, kind: &str, namespace: &str, object: Value) {
        let place = place(kind, namespace);
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        let mut state = self.state.lock().unwrap();
        let change = if state.objects.contains_key(&(place.clone(), name)) {
            "MODIFIED"
        } else {
            "ADDED"
        };
        state.store(&place, change, object);
        self.changed.send_replace(state.changes.len());
    }

    pub fn remove(&self, kind: &str, namespace: &str, name: &str) -> Option<Value> {
        let mut state = self.state.lock().unwrap();
        let removed = state.remove(&place(kind, namespace), name);
        self.changed.send_replace(state.changes.len());
        removed
    }

    pub fn get(&self, kind: &str, namespace: &str, name: &str) -> Option<Value> {
        let key = (place(kind, namespace), name.to_owned());
        self.state.lock().unwrap().objects.get(&key).cloned()
    }

    pub fn has(&self, kind: &str, namespace: &str, name: &str) -> bool {
        self.get(kind, namespace, name).is_some()
    }

    /// Names of the objects of a kind.
    pub fn names(&self, kind: &str, namespace: &str) -> Vec<String> {
        let place = place(kind, namespace);
        let state = self.state.lock().unwrap();
        let of_kind = state.objects.keys().filter(|(at, _)| *at == place);
        of_kind.map(|(_, name)| name.clone()).collect()
    }

    /// From now on, requests that begin so (`POST /apis/…`) fail.
    pub fn fail(&self, begin: String, failure: Failure) {
        self.state.lock().unwrap().failing.push((begin, failure));
    }

    /// From now on, watches bring nothing.
    pub fn stall(&self) {
        self.state.lock().unwrap().stalled = true;
    }

    pub fn heal(&self) {
        let mut state = self.state.lock().unwrap();
        state.failing.clear();
        state.stalled = false;
        self.changed.send_replace(state.changes.len());
    }

    async fn healed(&self) {
        let mut changed = self.changed.subscribe();
        while !self.state.lock().unwrap().failing.is_empty() {
            changed.changed().await.unwrap();
        }
    }

    /// How many requests there were so far.
    pub fn requests(&self) -> usize {
        self.state.lock().unwrap().requests.len()
    }

    /// Whether there was a request that begins so.
    pub fn was_asked(&self, begin: &str) -> bool {
        self.count(begin) > 0
    }

    /// How many requests there were that begin so.
    pub fn count(&self, begin: &str) -> usize {
        let state = self.state.lock().unwrap();
        let begins = |asked: &&String| asked.starts_with(begin);
        state.requests.iter().filter(begins).count()
    }

    /// Requests that were refused because the apiserver has no right to them.
    pub fn without_right(&self) -> Vec<rights::Request> {
        self.state.lock().unwrap().without_right.clone()
    }

    /// Rights of the apiserver that were no use so far.
    pub fn unused_rights(&self) -> Vec<String> {
        RIGHTS.unused(OPERATOR, &self.state.lock().unwrap().uses)
    }

    async fn answer(
        &self,
        request: Request<Body>,
    ) -> Result<Response<BoxBody<Bytes, Infallible>>, io::Error> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let path = parts.uri.path().to_owned();
        let query = parts.uri.query().unwrap_or_default();
        let usage = rights::Request::read(parts.method.as_str(), &path, query).unwrap();
        let mut asked = format!("{} {path}", parts.method);
        if parts.method == Method::POST {
            asked.extend(["/", body["metadata"]["name"].as_str().unwrap()]);
        }
        let failure = {
            let mut state = self.state.lock().unwrap();
            state.requests.push(asked.clone());
            state.uses.push(usage.clone());
            if !RIGHTS.allows(OPERATOR, &usage) {
                let text = format!("src/rights.rs has no right to {asked}");
                state.without_right.push(usage);
                return Ok(failed(StatusCode::FORBIDDEN, "Forbidden", text));
            }
            let failing = state
                .failing
                .iter()
                .find(|(begin, _)| asked.starts_with(begin));
            failing.map(|(_, failure)| *failure)
        };
        let lost = || io::Error::new(io::ErrorKind::ConnectionReset, "no Kubernetes today");
        match failure {
            Some(Failure::Unreachable) => return Err(lost()),
            Some(Failure::Forbidden) => {
                return Ok(failed(
                    StatusCode::FORBIDDEN,
                    "Forbidden",
                    "not for you".to_owned(),
                ));
            }
            Some(Failure::Hangs) => self.healed().await,
            Some(Failure::Slow(time)) => tokio::time::sleep(time).await,
            Some(Failure::AnswerLost) | None => {}
        }
        let query: BTreeMap<String, String> = query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(key, value)| (key.to_owned(), decoded(value)))
            .collect();
        let answer = self.perform(&parts.method, &path, &query, body);
        match failure {
            Some(Failure::AnswerLost) => Err(lost()),
            _ => Ok(answer),
        }
    }

    fn perform(
        &self,
        method: &Method,
        path: &str,
        query: &BTreeMap<String, String>,
        body: Value,
    ) -> Response<BoxBody<Bytes, Infallible>> {
        let (list, name) = split(path);
        if query.get("watch").map(String::as_str) == Some("true") {
            return self.watch(list, query);
        }
        let mut state = self.state.lock().unwrap();
        let answer = match (method, name) {
            (&Method::GET, None) => done(state.list(list, query)),
            (&Method::GET, Some(name)) => {
                match state.objects.get(&(list.to_owned(), name.to_owned())) {
                    Some(object) => done(object.clone()),
                    None => not_found(list, name),
                }
            }
            (&Method::POST, None) => state.create(list, body),
            (&Method::PATCH, Some(name)) => state.patch(list, name, &body),
            (&Method::DELETE, Some(name)) => state.delete(list, name, &body),
            other => panic!("the apiserver has no business with {other:?} {path}"),
        };
        self.changed.send_replace(state.changes.len());
        answer
    }

    fn watch(
        &self,
        list: &str,
        query: &BTreeMap<String, String>,
    ) -> Response<BoxBody<Bytes, Infallible>> {
        let begin: usize = query["resourceVersion"].parse().unwrap();
        let (state, list, query) = (self.state.clone(), list.to_owned(), query.clone());
        let lines = stream::unfold(
            (begin, self.changed.subscribe()),
            move |(mut at, mut changed)| {
                let (state, list, query) = (state.clone(), list.clone(), query.clone());
                async move {
                    loop {
                        {
                            let state = state.lock().unwrap();
                            while !state.stalled && at < state.changes.len() {
                                let (place, change, object) = &state.changes[at];
                                at += 1;
                                if *place == list && selected(object, &query) {
                                    let line = json!({"type": change, "object": object});
                                    return Some((format!("{line}\n"), (at, changed)));
                                }
                            }
                            changed.mark_unchanged();
                        }
                        changed.changed().await.ok()?;
                    }
                }
            },
        );
        let frames = lines.map(|line| Ok(Frame::data(Bytes::from(line))));
        // A watch takes turns; one thread asks at a time.
        Response::new(BodyExt::boxed(StreamBody::new(SyncStream(Mutex::new(
            Box::pin(frames),
        )))))
    }
}

/// A stream that may be shared between threads, as the body of an answer must be.
struct SyncStream<S>(Mutex<S>);

impl<S: futures::Stream + Unpin> futures::Stream for SyncStream<S> {
    type Item = S::Item;

    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<S::Item>> {
        self.0.lock().unwrap().poll_next_unpin(context)
    }
}

/// A merge patch (RFC 7386).
fn merge(into: &mut Value, patch: &Value) {
    match (into, patch) {
        (Value::Object(into), Value::Object(patch)) => {
            for (key, value) in patch {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, patch) if patch.is_object() => {
            *into = json!({});
            merge(into, patch);
        }
        (into, patch) => *into = patch.clone(),
    }
}

impl State {
    fn patch(
        &mut self,
        list: &str,
        name: &str,
        patch: &Value,
    ) -> Response<BoxBody<Bytes, Infallible>> {
        let Some(found) = self.objects.get(&(list.to_owned(), name.to_owned())) else {
            return not_found(list, name);
        };
        let mut object = found.clone();
        merge(&mut object, patch);
        done(self.store(list, "MODIFIED", object))
    }

    fn store(&mut self, place: &str, change: &'static str, mut object: Value) -> Value {
        let version = self.changes.len() + 1;
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        self.objects
            .insert((place.to_owned(), name), object.clone());
        self.changes
            .push((place.to_owned(), change, object.clone()));
        object
    }

    fn remove(&mut self, place: &str, name: &str) -> Option<Value> {
        let removed = self.objects.remove(&(place.to_owned(), name.to_owned()))?;
        self.changes
            .push((place.to_owned(), "DELETED", removed.clone()));
        Some(removed)
    }

    fn list(&self, place: &str, query: &BTreeMap<String, String>) -> Value {
        let items: Vec<&Value> = self
            .objects
            .iter()
            .filter(|((at, _), object)| at == place && selected(object, query))
            .map(|(_, object)| object)
            .collect();
        let version = self.changes.len().to_string();
        json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": version}, "items": items})
    }

    fn create(&mut self, place: &str, mut object: Value) -> Response<BoxBody<Bytes, Infallible>> {
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        if self.objects.contains_key(&(place.to_owned(), name.clone())) {
            let text = format!("{} \"{name}\" already exists", resource(place));
            return failed(StatusCode::CONFLICT, "AlreadyExists", text);
        }
        let metadata = &mut object["metadata"];
        metadata["uid"] = json!(format!("uid-{}", self.changes.len()));
        metadata["creationTimestamp"] = json!("2026-11-22T14:23:53Z");
        metadata["generation"] = json!(1);
        metadata["managedFields"] = json!([{"manager": "test"}]);
        let object = self.store(place, "ADDED", object);
        let mut answer = done(object);
        *answer.status_mut() = StatusCode::CREATED;
        answer
    }

    fn delete(
        &mut self,
        place: &str,
        name: &str,
        options: &Value,
    ) -> Response<BoxBody<Bytes, Infallible>> {
        let Some(object) = self.objects.get(&(place.to_owned(), name.to_owned())) else {
            return not_found(place, name);
        };
        let wanted = &options["preconditions"]["uid"];
        if !wanted.is_null() && *wanted != object["metadata"]["uid"] {
            return failed(
                StatusCode::CONFLICT,
                "Conflict",
                "the uid is another".to_owned(),
            );
        }
        done(self.remove(place, name).unwrap())
    }
}

/// List and name that a path is about.
fn split(path: &str) -> (&str, Option<&str>) {
    let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let prefix = if segments[0] == "api" { 2 } else { 3 };
    let namespaced = segments.get(prefix) == Some(&"namespaces") && segments.len() > prefix + 2;
    let of_list = prefix + if namespaced { 3 } else { 1 };
    match segments.get(of_list) {
        Some(name) => (&path[..path.len() - name.len() - 1], Some(name)),
        None => (path, None),
    }
}

/// Name of a resource as Kubernetes writes it in texts.
fn resource(place: &str) -> String {
    let kind = place.rsplit('/').next().unwrap();
    match place.starts_with("/apis/crunchydata.com") {
        true => format!("{kind}.crunchydata.com"),
        false => kind.to_owned(),
    }
}

fn selected(object: &Value, query: &BTreeMap<String, String>) -> bool {
    let metadata = &object["metadata"];
    let by_field = query.get("fieldSelector").is_none_or(|selector| {
        let name = selector.strip_prefix("metadata.name=").unwrap();
        metadata["name"] == name
    });
    let selector = query.get("labelSelector").map_or("", String::as_str);
    by_field
        && selector
            .split(',')
            .filter(|part| !part.is_empty())
            .all(|part| {
                let labels = &metadata["labels"];
                match part.split_once('=') {
                    Some((key, value)) => labels[key] == value,
                    None => !labels[part].is_null(),
                }
            })
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let digits = [rest.next().unwrap(), rest.next().unwrap()];
                let digits = std::str::from_utf8(&digits).unwrap();
                bytes.push(u8::from_str_radix(digits, 16).unwrap());
            }
            b'+' => bytes.push(b' '),
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).unwrap()
}

fn done(object: Value) -> Response<BoxBody<Bytes, Infallible>> {
    let body = http_body_util::Full::new(Bytes::from(object.to_string()));
    Response::new(BodyExt::boxed(body))
}

fn not_found(place: &str, name: &str) -> Response<BoxBody<Bytes, Infallible>> {
    let text = format!("{} \"{name}\" not found", resource(place));
    failed(StatusCode::NOT_FOUND, "NotFound", text)
}

fn failed(code: StatusCode, reason: &str, message: String) -> Response<BoxBody<Bytes, Infallible>> {
    let mut answer = done(json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure",
        "code": code.as_u16(), "reason": reason, "message": message,
    }));
    *answer.status_mut() = code;
    answer
}
