//! What the server answers to each request.

use std::{convert::Infallible, future::ready};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;
use kube::client::Body;
use pgo_k8s::rights;
use pgo_scheduler::RIGHTS;
use serde_json::{Value, json};

use super::{Fate, NS, Place, Server, State, merge};

pub type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

impl Server {
    pub(super) async fn answer(&self, request: Request<Body>) -> Answer {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        let query = parts.uri.query().unwrap_or_default().to_owned();
        let path: Vec<&str> = parts.uri.path().split('/').collect();
        let asked = rights::Request::read(parts.method.as_str(), parts.uri.path(), &query);
        let asked = asked.expect("a request for a resource");
        assert!(RIGHTS.allows("pgo", &asked), "no right to {asked:?}");
        let at = path.iter().position(|part| *part == "namespaces");
        let at = at.expect("a namespace");
        let resource = path[at + 2].to_owned();
        if path[at + 1] == "pgo" {
            // There is no pgo.yaml.
            return failure(StatusCode::NOT_FOUND, "NotFound");
        }
        assert_eq!(path[at + 1], NS, "{}", parts.uri);
        let name = path.get(at + 3).map(|name| (*name).to_owned());
        let verb = parts.method.as_str().to_owned();
        self.state().requests.push(asked);
        if query.contains("watch=true") {
            return self.watch(&resource, &query);
        }
        let fate = self.begin((&verb, &resource)).await;
        let answer = match fate {
            Fate::Failed => Some(failure(StatusCode::INTERNAL_SERVER_ERROR, "InternalError")),
            Fate::Lost => None,
            Fate::Answered | Fate::Unanswered => {
                let place = (resource, name.unwrap_or_default());
                let body: Value = serde_json::from_slice(&body).unwrap_or_default();
                let done = self.carry_out(&verb, place, &query, &body);
                (fate == Fate::Answered).then_some(done)
            }
        };
        self.state().under_way -= 1;
        match answer {
            Some(answer) => answer,
            None => std::future::pending().await,
        }
    }

    async fn begin(&self, asked: (&str, &str)) -> Fate {
        let (fate, delay) = {
            let mut state = self.state();
            state.under_way += 1;
            state.most_under_way = state.most_under_way.max(state.under_way);
            let fate = state.fates.as_mut().map(|fates| fates(asked));
            (fate.unwrap_or(Fate::Answered), state.delay)
        };
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        fate
    }

    fn carry_out(&self, verb: &str, mut place: Place, query: &str, body: &Value) -> Answer {
        match (verb, place.1.as_str()) {
            ("GET", "") => self.list(&place.0, query),
            ("GET", _) => match self.state().objects.get(&place) {
                Some(object) => whole(StatusCode::OK, object),
                None => failure(StatusCode::NOT_FOUND, "NotFound"),
            },
            ("POST", "") => {
                let name = body["metadata"]["name"].as_str().expect("a name");
                name.clone_into(&mut place.1);
                self.create(&place, body)
            }
            ("DELETE", _) => self.delete(&place, body),
            ("PATCH", _) => self.patch(&place, body),
            other => panic!("{other:?}"),
        }
    }

    fn list(&self, resource: &str, query: &str) -> Answer {
        let is_of_schedules = query.contains("labelSelector=crunchy-scheduler");
        assert_eq!(is_of_schedules, resource == "configmaps", "{query}");
        let one = query.split('&').find_map(|pair| {
            let selector = pair.strip_prefix("fieldSelector=")?;
            selector.strip_prefix("metadata.name%3D")
        });
        let state = self.state();
        let objects = state
            .objects
            .iter()
            .filter(|((of, name), _)| of == resource && one.is_none_or(|one| one == name));
        let items: Vec<&Value> = objects.map(|(_, object)| object).collect();
        let list = json!({
            "kind": "List", "apiVersion": "v1",
            "metadata": {"resourceVersion": state.version.to_string()}, "items": items,
        });
        whole(StatusCode::OK, &list)
    }

    /// Everything after the version asked for, and then what comes.
    fn watch(&self, resource: &str, query: &str) -> Answer {
        let from: u64 = query
            .split('&')
            .find_map(|pair| pair.strip_prefix("resourceVersion="))
            .and_then(|version| version.parse().ok())
            .expect("a version");
        let mut state = self.state();
        state.watches += 1;
        let changes = self.changes.subscribe();
        let stalls = state.stalls;
        let history = state.history.iter();
        let before: Vec<_> = history.filter(|one| one.version > from).cloned().collect();
        drop(state);
        let after = stream::unfold(changes, |mut changes| async move {
            let change = changes.recv().await.ok()?;
            Some((change, changes))
        });
        let resource = resource.to_owned();
        let lines = stream::iter(before).chain(after);
        let lines = lines.filter(move |one| ready(!stalls && one.resource == resource));
        let frames = lines.map(|one| Ok(Frame::data(Bytes::from(one.line))));
        Response::new(BodyExt::boxed_unsync(StreamBody::new(frames)))
    }

    fn create(&self, place: &Place, body: &Value) -> Answer {
        let mut state = self.state();
        if state.objects.contains_key(place) {
            return failure(StatusCode::CONFLICT, "AlreadyExists");
        }
        assert_eq!(place.0, "pgtasks");
        let id = body["metadata"]["labels"]["workflowid"].as_str();
        state.made.push(id.expect("an id").to_owned());
        let cluster = &body["metadata"]["labels"]["pg-cluster"];
        let overlaps = state.objects.iter().filter(|((of, _), other)| {
            let is_of = other["metadata"]["labels"]["pg-cluster"] == *cluster;
            of == "pgtasks" && is_of && other["status"].is_null()
        });
        let overlaps: Vec<String> = overlaps
            .map(|((_, other), _)| format!("{} was made while {other} was there", place.1))
            .collect();
        state.overlaps.extend(overlaps);
        let stored = self.store(&mut state, place, body.clone());
        whole(StatusCode::CREATED, &stored)
    }

    fn delete(&self, place: &Place, body: &Value) -> Answer {
        let mut state = self.state();
        let Some(object) = state.objects.get(place) else {
            return failure(StatusCode::NOT_FOUND, "NotFound");
        };
        let uid = &body["preconditions"]["uid"];
        assert!(uid.is_string(), "{body}");
        if *uid != object["metadata"]["uid"] {
            return failure(StatusCode::CONFLICT, "Conflict");
        }
        self.discard(&mut state, place);
        whole(
            StatusCode::OK,
            &json!({"kind": "Status", "status": "Success"}),
        )
    }

    fn patch(&self, place: &Place, patch: &Value) -> Answer {
        let mut state = self.state();
        if state.refuses {
            state.refusals += 1;
            return failure(StatusCode::INTERNAL_SERVER_ERROR, "InternalError");
        }
        let Some(mut object) = state.objects.get(place).cloned() else {
            return failure(StatusCode::NOT_FOUND, "NotFound");
        };
        let differs = |key: &str| {
            let wanted = &patch["metadata"][key];
            !wanted.is_null() && *wanted != object["metadata"][key]
        };
        if differs("resourceVersion") || differs("uid") {
            return failure(StatusCode::CONFLICT, "Conflict");
        }
        match place.0.as_str() {
            "configmaps" => assert!(patch["metadata"]["resourceVersion"].is_string(), "{patch}"),
            _ => assert!(patch["metadata"]["uid"].is_string(), "{patch}"),
        }
        note(&mut state, place, &patch["metadata"]["annotations"]);
        merge(&mut object, patch);
        let stored = self.store(&mut state, place, object);
        whole(StatusCode::OK, &stored)
    }
}

/// Keeps what annotations say.
fn note(state: &mut State, (resource, name): &Place, annotations: &Value) {
    for (key, value) in annotations.as_object().expect("annotations") {
        let Some(text) = value.as_str() else { continue };
        if resource == "configmaps" {
            let noted = (name.clone(), key.clone(), text.to_owned());
            state.notes.push(noted);
        } else if let Some(id) = key.strip_prefix("run.pgo.crunchydata.com/") {
            let said = serde_json::from_str(text).expect("a note");
            state.told.push((id.to_owned(), said));
        }
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
