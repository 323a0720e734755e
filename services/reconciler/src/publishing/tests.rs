//! What a reconciler that has just begun publishes of a stream whose older events are in pages.

use std::{
    io,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use kube::{Client, client::Body};
use pgo_bus::{Message, PublishFailed, Publisher};
use pgo_events::{Draft, Event, EventType, Topic};
use pgo_ids::EventKey;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::*;

fn stream() -> StreamId {
    "uid-1".parse().expect("a stream")
}

fn event(seq: u64) -> Event {
    let draft = Draft {
        event_type: EventType::CreateClusterFailure,
        time: "2026-10-15T10:11:12.5Z".parse().expect("a time"),
        namespace: "pgouser1".parse().expect("a namespace"),
        cluster: None,
        operation: "25927091-b343-4017-be4b-71575f0b3eb5"
            .parse()
            .expect("an id"),
        actor: String::new(),
        step: None,
        cause: None,
        duration_ms: None,
        details: std::collections::BTreeMap::new(),
    };
    let key = EventKey {
        stream: stream(),
        seq: Seq(seq),
    };
    Event::new(draft, key)
}

/// A broker that remembers what came on `alltopic`: seq, and from where on the publisher says that events may come.
#[derive(Clone)]
struct Broker {
    seen: Arc<Mutex<Vec<(u64, u64)>>>,
    losses: watch::Sender<u64>,
}

impl Publisher for Broker {
    fn publish(&self, topic: Topic, body: Bytes) -> BoxFuture<'static, Result<(), PublishFailed>> {
        if topic == Topic::All {
            let message = Message::decode(&body).expect("a message");
            let line = (message.key.seq.0, message.unconfirmed_from.0);
            self.seen.lock().expect("no panic").push(line);
        }
        std::future::ready(Ok(())).boxed()
    }

    fn losses(&self) -> watch::Receiver<u64> {
        self.losses.subscribe()
    }
}

/// An event as it is in a page.
fn text(seq: u64) -> String {
    serde_json::to_string(&event(seq)).expect("JSON")
}

/// One that this version cannot read.
fn of_a_later_version(seq: u64) -> String {
    text(seq).replace("CreateClusterFailure", "OfALaterVersion")
}

fn texts(seqs: impl IntoIterator<Item = u64>) -> Vec<String> {
    seqs.into_iter().map(text).collect()
}

/// Pages with these events each; none: nobody may list them.
fn pages(pages: Option<Vec<Vec<String>>>) -> Api<PgEventPage> {
    let items = pages.map(|pages| {
        let page = |(place, texts): (usize, Vec<String>)| {
            let name = format!("page-{place}");
            json!({"metadata": {"name": name}, "spec": {"stream": "uid-1", "events": texts}})
        };
        let pages = pages.into_iter().enumerate();
        pages.map(page).collect::<Vec<Value>>()
    });
    let (code, body) = match items {
        Some(items) => (StatusCode::OK, json!({"metadata": {}, "items": items})),
        None => {
            let refused = json!({"kind": "Status", "status": "Failure", "code": 403, "reason": "Forbidden", "message": "no"});
            (StatusCode::FORBIDDEN, refused)
        }
    };
    let service = tower::service_fn(move |request: Request<Body>| {
        let (body, made) = (body.to_string(), request.method() == http::Method::POST);
        async move {
            let body = match made {
                true => request
                    .into_body()
                    .collect()
                    .await
                    .map_err(io::Error::other)?
                    .to_bytes(),
                false => Bytes::from(body),
            };
            let mut answer = Response::new(Full::new(body));
            *answer.status_mut() = code;
            Ok::<_, io::Error>(answer)
        }
    });
    Api::namespaced(Client::new(service, "pgo"), "pgo")
}

fn outbox() -> Outbox {
    Outbox {
        last: Seq(41),
        entries: vec![event(40), event(41)],
        paged: Seq(39),
        ..Outbox::default()
    }
}

/// What is published where these pages are there and a reconciler with a relay that knows nothing brings up this outbox.
async fn published_of(mut outbox: Outbox, of_pages: Option<Vec<Vec<String>>>) -> Vec<(u64, u64)> {
    let broker = Broker {
        seen: Arc::default(),
        losses: watch::Sender::new(0),
    };
    let relay = Relay::start(broker.clone());
    let publishing = Publishing::new(relay.clone(), Confirmations::default(), pages(of_pages));
    let written = outbox.last;
    publishing.make_room(&stream(), &mut outbox, written).await;
    publishing.offer(&stream(), &outbox, || {}).await;
    let offered = *relay.unconfirmed().borrow();
    let all = async {
        while broker.seen.lock().expect("no panic").len() < offered {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(10), all)
        .await
        .expect("all of it in time");
    broker.seen.lock().expect("no panic").clone()
}

/// What is published of `outbox()` where these pages are there.
async fn published(of_pages: Option<Vec<Vec<String>>>) -> Vec<(u64, u64)> {
    published_of(outbox(), of_pages).await
}

#[tokio::test]
async fn nothing_is_published_as_the_oldest_while_an_older_one_is_in_a_page() {
    // As Kubernetes lists them: by name.
    let listed = vec![texts([10, 39]), texts([9])];
    let seen = published(Some(listed)).await;
    assert_eq!(seen, [9, 10, 39, 40, 41].map(|seq| (seq, 9)));
}

#[tokio::test]
async fn events_wait_while_the_pages_before_them_cannot_be_read() {
    assert_eq!(published(None).await, []);
}

#[tokio::test]
async fn events_wait_while_one_in_a_page_before_them_is_of_a_later_version() {
    let listed = vec![vec![text(37), of_a_later_version(38)], texts([39])];
    assert_eq!(published(Some(listed)).await, []);
}

#[tokio::test]
async fn pages_that_are_gone_hold_up_nothing() {
    assert_eq!(published(Some(Vec::new())).await, [(40, 40), (41, 40)]);
}

#[tokio::test]
async fn what_has_no_room_is_not_published_as_the_oldest_where_older_ones_are_in_pages() {
    let outbox = Outbox {
        last: Seq(80),
        entries: (40..=80).map(event).collect(),
        paged: Seq(39),
        ..Outbox::default()
    };
    let listed = vec![texts([38, 39]), texts(40..=80)];
    let seen = published_of(outbox, Some(listed)).await;
    let first = seen.first().expect("something is published");
    assert_eq!(*first, (38, 38), "{seen:?}");
    assert_eq!(seen.len(), 43);
}
