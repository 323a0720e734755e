//! A replica that cannot answer itself asks the one that leads: two of them with logs of their own, over TLS.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use jiff::Timestamp;
use nsq::{Producer, ProducerConfig};
use pgo_bus::DeadLetter;
use pgo_event::{
    dead::{DeadLetterService, Letters, Room, Shelf},
    forward::{Leader, forward},
    log::{Entry, Limits, Log},
    metrics::Metrics,
    replication::{Turn, Way},
    service::Service,
    together::together,
};
use pgo_proto::event::{
    ConfirmationsRequest, DeadLetterIds, WatermarksRequest,
    dead_letters_client::DeadLettersClient,
    dead_letters_server::{DeadLettersServer, SERVICE_NAME as DEAD_LETTERS},
    event_log_client::EventLogClient,
    event_log_server::EventLogServer,
};
use pgo_telemetry::{CancellationToken, Telemetry};
use pgo_tls::grpc;
use tempfile::TempDir;
use tokio::{sync::broadcast, task::JoinHandle};
use tonic::{Code, transport::Channel};

use crate::{
    events::{event, stream},
    installation::{Installation, beginning, open, records, soon},
};

/// A replica, as it is served.
struct Node {
    folder: TempDir,
    log: Arc<Log>,
    way: Way,
    addr: SocketAddr,
    shutdown: CancellationToken,
    serving: JoinHandle<()>,
}

impl Node {
    async fn start(certificates: &Installation) -> Self {
        let folder = TempDir::new().unwrap();
        let limits = Limits {
            segment_bytes: u64::MAX,
            most_bytes: u64::MAX,
            longest: Duration::from_secs(86_400),
        };
        let log = Arc::new(Log::open(folder.path(), limits, Timestamp::now()).unwrap());
        let metrics = Metrics::register(&Telemetry::without_logs("event", "test"));
        let shutdown = CancellationToken::new();
        let nsqd = certificates.nsq_server_for("event");
        let dead = DeadLettersServer::new(DeadLetterService {
            shelf: Arc::new(Shelf::new(folder.path(), Turn::new(None).subscribe())),
            producer: Arc::new(Producer::connect(nsqd, ProducerConfig::default())),
            metrics: metrics.clone(),
        });
        let service = EventLogServer::new(Service {
            log: log.clone(),
            confirmations: broadcast::Sender::new(16),
            metrics,
            shutdown: shutdown.clone(),
        });
        let way = Way::new(None);
        let leader = Leader {
            log: log.clone(),
            way: way.subscribe(),
            shutdown: shutdown.clone(),
        };
        let none = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = grpc::listen(none, certificates.files("event"));
        let listener = listener.await.unwrap();
        let addr = listener.addr();
        let shown = forward(leader, together(DEAD_LETTERS, dead, service));
        let ending = shutdown.clone().cancelled_owned();
        let serving = tokio::spawn(async move {
            let server = grpc::server().serve_with_incoming_shutdown(shown, listener, ending);
            server.await.unwrap();
        });
        Self {
            folder,
            log,
            way,
            addr,
            shutdown,
            serving,
        }
    }

    fn channel(&self, certificates: &Installation, process: &str) -> Channel {
        let files = certificates.files(process);
        grpc::channel(&self.addr.to_string(), "event.pgo", files).unwrap()
    }

    fn append(&self, name: &str, seq: u64) {
        let event = event(name, seq);
        let entry = Entry {
            key: event.key(),
            event: Bytes::from(event.to_wire().unwrap()),
        };
        self.log.append(vec![entry], Timestamp::now()).unwrap();
    }

    fn keep_a_letter(&self) {
        let letter = DeadLetter {
            topic: "alltopic".to_owned(),
            channel: "history".to_owned(),
            message: "0123456789abcdef".to_owned(),
            attempts: 1,
            time: Timestamp::now(),
            reason: "it is no event".to_owned(),
            body: b"no".to_vec(),
            left_out: 0,
        };
        let letters = Letters::open(self.folder.path(), Room::default()).unwrap();
        letters.put(&letter).unwrap();
    }
}

fn all() -> DeadLetterIds {
    DeadLetterIds::default()
}

fn of_a() -> WatermarksRequest {
    WatermarksRequest {
        streams: vec![stream("a").to_string()],
    }
}

/// One that leads and has an event and a dead letter; one that follows, and has nothing yet.
async fn two(certificates: &Installation) -> (Node, Node) {
    let leads = Node::start(certificates).await;
    let follows = Node::start(certificates).await;
    leads.append("a", 1);
    leads.keep_a_letter();
    follows.log.set_follows(true);
    let way = leads.channel(certificates, "event");
    follows.way.send_replace(Some(way));
    (leads, follows)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_has_not_everything_shows_what_the_one_that_leads_has() {
    let certificates = Installation::prepare(&[]);
    let (leads, follows) = two(&certificates).await;
    let channel = follows.channel(&certificates, "apiserver");
    let mut client = EventLogClient::new(channel);
    let mut reading = open(&mut client, beginning()).await;
    assert_eq!(records(&mut reading, 1).await.len(), 1);
    leads.append("a", 2);
    assert_eq!(records(&mut reading, 1).await.len(), 1);
    let marks = soon("watermarks", client.watermarks(of_a())).await.unwrap();
    assert_eq!(marks.into_inner().watermarks[0].seq, 2);

    // The same connection is served from the own log once everything is there.
    follows.log.set_stale(false);
    let marks = soon("watermarks", client.watermarks(of_a())).await.unwrap();
    assert_eq!(marks.into_inner().watermarks[0].seq, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_falls_behind_sends_who_listens_to_the_one_that_leads() {
    let certificates = Installation::prepare(&[]);
    let (_leads, follows) = two(&certificates).await;
    follows.log.set_stale(false);
    let channel = follows.channel(&certificates, "reconciler");
    let mut client = EventLogClient::new(channel);
    let mut reading = open(&mut client, beginning()).await;
    let live = soon("the end of what is there", reading.message()).await;
    assert!(live.unwrap().is_some());
    let opening = client.confirmations(ConfirmationsRequest {});
    let mut confirmations = soon("a stream", opening).await.unwrap().into_inner();
    follows.log.set_stale(true);
    let ended = soon("the reader's end", reading.message()).await;
    assert_eq!(ended.unwrap_err().code(), Code::Unavailable);
    let ended = soon("the listener's end", confirmations.message()).await;
    assert_eq!(ended.unwrap_err().code(), Code::Unavailable);
    let mut reading = open(&mut client, beginning()).await;
    assert_eq!(records(&mut reading, 1).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_are_those_of_the_one_that_leads() {
    let certificates = Installation::prepare(&[]);
    let (_leads, follows) = two(&certificates).await;
    follows.log.set_stale(false);
    let channel = follows.channel(&certificates, "apiserver");
    let mut client = DeadLettersClient::new(channel);
    let letters = soon("a list", client.list(all())).await.unwrap();
    assert_eq!(letters.into_inner().letters.len(), 1);
    // Who may not ask the one may not ask the other through it.
    let channel = follows.channel(&certificates, "reconciler");
    let refused = soon("a list", DeadLettersClient::new(channel).list(all())).await;
    assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_none_leads_callers_are_told_to_ask_again() {
    let certificates = Installation::prepare(&[]);
    let (leads, follows) = two(&certificates).await;
    let channel = follows.channel(&certificates, "apiserver");
    let mut client = EventLogClient::new(channel);
    // The other one does not lead any more, and would ask this one.
    leads.log.set_follows(true);
    let back = follows.channel(&certificates, "event");
    leads.way.send_replace(Some(back));
    let refused = soon("an answer", client.watermarks(of_a())).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(refused.message().contains("does not lead"), "{refused}");
    // It is gone.
    leads.shutdown.cancel();
    soon("its end", leads.serving).await.unwrap();
    let refused = soon("an answer", client.watermarks(of_a())).await;
    assert_eq!(refused.unwrap_err().code(), Code::Unavailable);
    // Nobody knows of it.
    follows.way.send_replace(None);
    let refused = soon("an answer", client.watermarks(of_a())).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(refused.message().contains("none is known"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_ends_does_not_wait_for_what_it_passes_on() {
    let certificates = Installation::prepare(&[]);
    let (_leads, follows) = two(&certificates).await;
    let channel = follows.channel(&certificates, "reconciler");
    let mut client = EventLogClient::new(channel);
    let opening = client.confirmations(ConfirmationsRequest {});
    let mut confirmations = soon("a stream", opening).await.unwrap().into_inner();
    follows.shutdown.cancel();
    soon("its end", follows.serving).await.unwrap();
    let heard = soon("the stream's end", confirmations.message()).await;
    assert!(!matches!(heard, Ok(Some(_))), "{heard:?}");
}
