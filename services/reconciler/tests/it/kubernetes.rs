//! The calls of Kubernetes that the reconciler makes, answered from memory, and failed where a test wants it.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    io,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use futures::stream;
use http::{HeaderMap, Method, Request, Response, StatusCode, header::ACCEPT};
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;
use kube::{Client, client::Body};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::store::{Refused, Store, split};

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// A request, as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    /// `METHOD path`, and `WATCH path` for a watch.
    pub line: String,
    pub accept: String,
    pub body: Value,
}

/// How a request fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// 403, for as long as it is set.
    Forbidden,
    /// Nothing is done and no answer comes, for as long as it is set; of a watch, nothing more.
    Hangs,
    /// Once: another writes to the object a moment earlier.
    Overtaken,
    /// Once: the object is removed a moment earlier, and another takes its name.
    Replaced,
}

#[derive(Default)]
struct State {
    store: Store,
    asked: Vec<Asked>,
    /// What the line of a request contains, and how it fails then.
    faults: Vec<(String, Fault)>,
}

impl State {
    /// What a watch shows next, if it does.
    fn shown(
        &self,
        at: usize,
        list: &str,
        query: &BTreeMap<String, String>,
    ) -> Option<(usize, Value)> {
        let line = format!("WATCH {list}");
        let hangs = |(part, fault): &(String, Fault)| *fault == Fault::Hangs && line.contains(part);
        if self.faults.iter().any(hangs) {
            return None;
        }
        self.store.after(at, list, query)
    }
}

/// Clones are handles of the same.
#[derive(Clone)]
pub struct Kubernetes {
    state: Arc<Mutex<State>>,
    changed: watch::Sender<()>,
}

impl Kubernetes {
    pub fn new() -> Self {
        Self {
            state: Arc::default(),
            changed: watch::Sender::new(()),
        }
    }

    pub fn client(&self) -> Client {
        let kubernetes = self.clone();
        let service = tower::service_fn(move |request| {
            let kubernetes = kubernetes.clone();
            async move { Ok::<_, io::Error>(kubernetes.answer(request).await) }
        });
        Client::new(service, "default")
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let changed = change(&mut self.state.lock().unwrap());
        self.changed.send_replace(());
        changed
    }

    /// Stores an object, or another version of it.
    pub fn put(&self, kind: &str, namespace: &str, object: Value) {
        self.change(|state| state.store.put(kind, namespace, object));
    }

    /// Changes an object that is there.
    pub fn edit(&self, kind: &str, namespace: &str, name: &str, edit: impl FnOnce(&mut Value)) {
        let mut object = self.get(kind, namespace, name).unwrap();
        edit(&mut object);
        self.put(kind, namespace, object);
    }

    /// Asks for the deletion of an object as a user does.
    pub fn delete(&self, kind: &str, namespace: &str, name: &str) {
        let done = self.change(|state| state.store.delete(kind, namespace, name));
        assert!(done, "there is no {kind} {name}");
    }

    pub fn get(&self, kind: &str, namespace: &str, name: &str) -> Option<Value> {
        self.state.lock().unwrap().store.get(kind, namespace, name)
    }

    /// Names of the objects of a kind.
    pub fn names(&self, kind: &str, namespace: &str) -> Vec<String> {
        self.state.lock().unwrap().store.names(kind, namespace)
    }

    /// Ends every watch of a kind with 410, so that it begins with a list again.
    pub fn expire(&self, kind: &str, namespace: &str) {
        self.change(|state| state.store.expire(kind, namespace));
    }

    /// From now on, requests whose line (`METHOD path`) contains this fail.
    pub fn fail(&self, part: &str, fault: Fault) {
        self.change(|state| state.faults.push((part.to_owned(), fault)));
    }

    pub fn heal(&self) {
        self.change(|state| state.faults.clear());
    }

    /// The requests so far whose line contains this.
    pub fn asked(&self, part: &str) -> Vec<Asked> {
        let state = self.state.lock().unwrap();
        let asked = state.asked.iter();
        asked.filter(|a| a.line.contains(part)).cloned().collect()
    }

    async fn answer(&self, request: Request<Body>) -> Answer {
        let (parts, body) = request.into_parts();
        let query = query(parts.uri.query().unwrap_or_default());
        let watches = query.get("watch").map(String::as_str) == Some("true");
        let verb = if watches {
            "WATCH"
        } else {
            parts.method.as_str()
        };
        let path = parts.uri.path().to_owned();
        let line = format!("{verb} {path}");
        let body = body.collect().await.unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let accept = header(&parts.headers);
        self.state.lock().unwrap().asked.push(Asked {
            line: line.clone(),
            accept: accept.clone(),
            body: body.clone(),
        });
        if let Some(refused) = self.fault(&line, &path).await {
            return refused;
        }
        let reduce = accept.contains("as=PartialObjectMetadata");
        if watches {
            return self.watch(&path, query, reduce);
        }
        let done =
            self.change(|state| perform(&mut state.store, &parts.method, &path, &query, body));
        match done {
            Ok(value) if reduce => answer(StatusCode::OK, &reduced_list(value)),
            Ok(value) => answer(StatusCode::OK, &value),
            Err(refused) => refusal(&refused),
        }
    }

    /// Lets a request fail, if it is to; waits for the end of what hangs.
    async fn fault(&self, line: &str, path: &str) -> Option<Answer> {
        let mut changed = self.changed.subscribe();
        loop {
            {
                let mut state = self.state.lock().unwrap();
                let at = state.faults.iter().position(|(p, _)| line.contains(p))?;
                let fault = state.faults[at].1;
                let path = path.strip_suffix("/status").unwrap_or(path);
                match fault {
                    Fault::Forbidden => return Some(refusal(&Refused::forbidden())),
                    Fault::Hangs => changed.mark_unchanged(),
                    Fault::Overtaken => state.store.overtake(path),
                    Fault::Replaced => state.store.replace(path),
                }
                if fault != Fault::Hangs {
                    state.faults.remove(at);
                    drop(state);
                    self.changed.send_replace(());
                    return None;
                }
            }
            changed.changed().await.unwrap();
        }
    }

    fn watch(&self, list: &str, query: BTreeMap<String, String>, reduce: bool) -> Answer {
        let begin: usize = query["resourceVersion"].parse().unwrap();
        let (state, list) = (self.state.clone(), list.to_owned());
        let lines = stream::unfold(
            (begin, self.changed.subscribe()),
            move |(at, mut changed)| {
                let (state, list, query) = (state.clone(), list.clone(), query.clone());
                async move {
                    loop {
                        changed.mark_unchanged();
                        let found = state.lock().unwrap().shown(at, &list, &query);
                        if let Some((at, mut line)) = found {
                            if reduce && line["type"] != "ERROR" {
                                line["object"] = reduced(&line["object"]);
                            }
                            return Some((format!("{line}\n"), (at, changed)));
                        }
                        changed.changed().await.ok()?;
                    }
                }
            },
        );
        let frames = futures::StreamExt::map(lines, |line| Ok(Frame::data(Bytes::from(line))));
        Response::new(BodyExt::boxed_unsync(StreamBody::new(frames)))
    }
}

fn perform(
    store: &mut Store,
    method: &Method,
    path: &str,
    query: &BTreeMap<String, String>,
    body: Value,
) -> Result<Value, Refused> {
    let (list, name) = split(path);
    let apply = query.contains_key("fieldManager") && *method == Method::PATCH;
    match (method, name) {
        (&Method::GET, None) => Ok(store.list(list, query)),
        (&Method::GET, Some(name)) => store.read(list, name),
        (&Method::POST, None) => store.create(list, body),
        (&Method::PUT, Some(name)) => match name.strip_suffix("/status") {
            Some(name) => store.replace_status(list, name, &body),
            None => store.replace_whole(list, name, body),
        },
        (&Method::PATCH, Some(name)) if apply => store.apply(list, name, body),
        (&Method::PATCH, Some(name)) => {
            let name = name.strip_suffix("/status").unwrap_or(name);
            store.merge(list, name, &body)
        }
        (&Method::DELETE, Some(name)) => store.delete_exactly(list, name, &body),
        (&Method::DELETE, None) => Ok(store.delete_all(list, query)),
        other => panic!("the reconciler has no business with {other:?} {path}"),
    }
}

fn header(headers: &HeaderMap) -> String {
    let accept = headers.get(ACCEPT);
    accept.map_or_else(String::new, |value| value.to_str().unwrap().to_owned())
}

fn query(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    let decoded = |text: &str| text.replace("%3D", "=").replace("%2C", ",");
    pairs
        .map(|(key, value)| (key.to_owned(), decoded(value)))
        .collect()
}

fn reduced(object: &Value) -> Value {
    json!({
        "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": object["metadata"],
    })
}

fn reduced_list(mut list: Value) -> Value {
    if let Some(items) = list["items"].as_array() {
        list["items"] = items.iter().map(reduced).collect();
        return list;
    }
    reduced(&list)
}

fn answer(code: StatusCode, value: &Value) -> Answer {
    let body = http_body_util::Full::new(Bytes::from(value.to_string()));
    let mut answer = Response::new(BodyExt::boxed_unsync(body));
    *answer.status_mut() = code;
    answer
}

fn refusal(refused: &Refused) -> Answer {
    answer(
        refused.code,
        &json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure",
            "code": refused.code.as_u16(), "reason": refused.reason, "message": refused.message,
        }),
    )
}
