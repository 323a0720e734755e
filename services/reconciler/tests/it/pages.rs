//! Pages with the last events of clusters that are gone.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use nsq::{Consumer, ConsumerConfig};
use pgo_bus::Message;
use pgo_events::{Draft, Event, EventType};
use pgo_ids::{EventKey, Seq};
use serde_json::json;

use crate::{
    event_log::FakeEventLog,
    harness::{Certificates, Reconciler, eventually, installation},
    kubernetes::{Fault, Kubernetes},
    nsqd::Nsqd,
};

fn event(stream: &str, seq: u64) -> String {
    let draft = Draft {
        event_type: EventType::DeleteClusterCompleted,
        time: "2026-10-15T10:11:12.5Z".parse().unwrap(),
        namespace: "pgouser1".parse().unwrap(),
        cluster: Some("hippo".parse().unwrap()),
        operation: "25927091-b343-4017-be4b-71575f0b3eb5".parse().unwrap(),
        actor: "pgoadmin".to_owned(),
        step: None,
        cause: None,
        duration_ms: None,
        details: BTreeMap::new(),
    };
    let key = EventKey {
        stream: stream.parse().unwrap(),
        seq: Seq(seq),
    };
    serde_json::to_string(&Event::new(draft, key)).unwrap()
}

/// An event that this version cannot read.
fn of_a_later_version(stream: &str, seq: u64) -> String {
    event(stream, seq).replace("DeleteClusterCompleted", "OfALaterVersion")
}

/// A page named `<stream>-1` with these events.
fn put_page(kubernetes: &Kubernetes, stream: &str, events: &[String]) {
    put_page_from(kubernetes, stream, 1, events);
}

/// A page named `<stream>-<first>` with these events.
fn put_page_from(kubernetes: &Kubernetes, stream: &str, first: u64, events: &[String]) {
    let page = json!({
        "apiVersion": "crunchydata.com/v1", "kind": "PgEventPage",
        "metadata": {"name": format!("{stream}-{first}")}, "spec": {"stream": stream, "events": events},
    });
    kubernetes.put("pgeventpages", "pgo", page);
}

/// Waits for as long as it takes that whatever is relayed was looked at again: nothing else shows that something does not
/// happen.
async fn another_look() {
    tokio::time::sleep(Duration::from_millis(2500)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_is_relayed_once_however_often_it_is_listed() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    let log = FakeEventLog::start(&certificates).await;
    put_page(&kubernetes, "gone", &[event("gone", 1), event("gone", 2)]);
    let reconciler = Reconciler::start_with(&kubernetes, &certificates, &[&log.argument()]);
    log.heard().await;
    let pages = "/apis/crunchydata.com/v1/namespaces/pgo/pgeventpages";
    for lists in 1..=3 {
        eventually("a list and a watch", || {
            let asked = |verb: &str| kubernetes.asked(&format!("{verb} {pages}")).len();
            asked("GET") >= lists && asked("WATCH") >= lists
        })
        .await;
        assert_eq!(reconciler.metric("pgo_event_pages"), Some(1.0));
        if lists < 3 {
            kubernetes.expire("pgeventpages", "pgo");
        }
    }
    // Not all of it is stored yet.
    log.confirm("gone", 1);
    another_look().await;
    assert!(kubernetes.get("pgeventpages", "pgo", "gone-1").is_some());
    log.confirm("gone", 2);
    eventually("the end of the page", || {
        kubernetes.get("pgeventpages", "pgo", "gone-1").is_none()
            && reconciler.metric("pgo_event_pages") == Some(0.0)
    })
    .await;
    let removal = format!("DELETE {pages}/gone-1");
    assert_eq!(kubernetes.asked(&removal).len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_with_an_event_of_a_later_version_stays_until_somebody_removes_it() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    let log = FakeEventLog::start(&certificates).await;
    let events = [event("later", 1), of_a_later_version("later", 2)];
    put_page(&kubernetes, "later", &events);
    let reconciler = Reconciler::start_with(&kubernetes, &certificates, &[&log.argument()]);
    log.heard().await;
    log.confirm("later", 2);
    let unreadable = || reconciler.metric("pgo_unreadable_event_pages");
    eventually("a page that cannot be read", || unreadable() == Some(1.0)).await;
    another_look().await;
    assert!(kubernetes.get("pgeventpages", "pgo", "later-1").is_some());
    kubernetes.delete("pgeventpages", "pgo", "later-1");
    eventually("it to be given up", || unreadable() == Some(0.0)).await;
}

/// Seq of an event, and from where on the reconciler says that events may come.
type Come = (u64, u64);

/// What comes on `alltopic`, by stream.
#[derive(Clone, Default)]
struct Arrived(Arc<Mutex<BTreeMap<String, Vec<Come>>>>);

impl Arrived {
    fn on(nsqd: &Nsqd, certificates: &Certificates) -> Self {
        let arrived = Self::default();
        let (topic, channel) = ("alltopic".parse().unwrap(), "history".parse().unwrap());
        let server = nsqd.server(certificates, "event.pgo");
        let consumer = Consumer::subscribe(server, topic, channel, ConsumerConfig::default());
        tokio::spawn(arrived.clone().note(consumer));
        arrived
    }

    async fn note(self, mut consumer: Consumer) {
        while let Some(message) = consumer.next().await {
            let come = Message::decode(message.body()).unwrap();
            let line = (come.key.seq.0, come.unconfirmed_from.0);
            let mut streams = self.0.lock().unwrap();
            let of_stream = streams.entry(come.key.stream.to_string()).or_default();
            // What is not confirmed is published again and again.
            if !of_stream.contains(&line) {
                of_stream.push(line);
            }
            drop(streams);
            message.finish();
        }
    }

    fn of(&self, stream: &str) -> Vec<Come> {
        let streams = self.0.lock().unwrap();
        streams.get(stream).cloned().unwrap_or_default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_behind_an_event_of_a_later_version_waits_also_where_it_is_in_another_page() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    let log = FakeEventLog::start(&certificates).await;
    let nsqd = Nsqd::start(&certificates);
    let later = [event("later", 1), of_a_later_version("later", 2)];
    put_page_from(&kubernetes, "later", 1, &later);
    put_page_from(&kubernetes, "later", 3, &[event("later", 3)]);
    // Of this one nothing can be read.
    let wholly = [of_a_later_version("wholly", 1)];
    put_page_from(&kubernetes, "wholly", 1, &wholly);
    put_page_from(&kubernetes, "wholly", 2, &[event("wholly", 2)]);
    put_page_from(&kubernetes, "other", 3, &[event("other", 3)]);
    let arrived = Arrived::on(&nsqd, &certificates);
    let arguments = [&*nsqd.argument(), &*log.argument()];
    let reconciler = Reconciler::start_with(&kubernetes, &certificates, &arguments);
    eventually("what can be published", || {
        arrived.of("later") == [(1, 1)] && arrived.of("other") == [(3, 3)]
    })
    .await;
    assert_eq!(reconciler.metric("pgo_unreadable_event_pages"), Some(2.0));
    log.heard().await;
    log.confirm("later", 1);
    another_look().await;
    assert_eq!(
        (arrived.of("later"), arrived.of("wholly")),
        (vec![(1, 1)], vec![])
    );

    // Given up, they hold up nothing.
    kubernetes.delete("pgeventpages", "pgo", "later-1");
    kubernetes.delete("pgeventpages", "pgo", "wholly-1");
    eventually("what waited", || {
        arrived.of("later") == [(1, 1), (3, 3)] && arrived.of("wholly") == [(2, 2)]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_that_cannot_be_listed_are_asked_for_with_pauses() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    let list = "GET /apis/crunchydata.com/v1/namespaces/pgo/pgeventpages";
    kubernetes.fail(list, Fault::Forbidden);
    let begin = Instant::now();
    let _reconciler = Reconciler::start(&kubernetes, &certificates);
    eventually("three attempts", || kubernetes.asked(list).len() >= 3).await;
    let took = begin.elapsed();
    assert!(took > Duration::from_millis(500), "{took:?}");
}
