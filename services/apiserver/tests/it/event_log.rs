//! An event service with its log in memory, which can be killed and comes back on the same port.

use std::{
    net::SocketAddr,
    path::Path,
    pin::Pin,
    sync::{Arc, Mutex},
};

use futures::Stream;
use pgo_proto::event::{
    CaughtUp, ConfirmationsRequest, ReadRequest, ReadResponse, Record, Watermark,
    WatermarksRequest, WatermarksResponse,
    event_log_server::{EventLog, EventLogServer},
    read_request::From,
    read_response::What,
};
use pgo_tls::{Authority, TlsFiles, grpc};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{runtime::Runtime, sync::watch};
use tonic::{Request, Response, Status};

use crate::harness::identity;

/// The log: what was appended, for as long as the test goes on.
#[derive(Clone)]
pub struct Log {
    events: Arc<Mutex<Vec<(String, Value)>>>,
    length: watch::Sender<usize>,
}

/// The service: a runtime of its own, so that a kill leaves nothing of it.
pub struct EventService {
    pub log: Log,
    pub addr: SocketAddr,
    folder: TempDir,
    runtime: Option<Runtime>,
}

impl Log {
    pub fn append(&self, namespace: &str, number: usize) {
        self.append_of(namespace, "", number);
    }

    /// An event of a cluster, whose uid is its name behind `uid-`.
    pub fn append_of(&self, namespace: &str, cluster: &str, number: usize) {
        let event = json!({
            "eventheader": {"EventType": "CreateCluster", "namespace": namespace, "topic": ["clustertopic"]},
            "clustername": cluster, "stream": format!("uid-{cluster}"), "seq": number,
        });
        let mut events = self.events.lock().unwrap();
        events.push((namespace.to_owned(), event));
        self.length.send_replace(events.len());
    }
}

impl EventService {
    pub fn start(authority: &Authority) -> Self {
        pgo_tls::provider();
        let folder = tempfile::tempdir().unwrap();
        identity(authority, "event.pgo", folder.path());
        let log = Log {
            events: Arc::default(),
            length: watch::Sender::new(0),
        };
        let (runtime, addr) = serve(
            folder.path(),
            SocketAddr::from(([127, 0, 0, 1], 0)),
            log.clone(),
        );
        Self {
            log,
            addr,
            folder,
            runtime: Some(runtime),
        }
    }

    /// Ends it with all its connections, as a kill does.
    pub fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    pub fn restart(&mut self) {
        self.kill();
        // The port is free when the old runtime has let go of it.
        let begin = std::time::Instant::now();
        while std::net::TcpListener::bind(self.addr).is_err() {
            assert!(
                begin.elapsed() < crate::harness::SOON,
                "the port stays taken"
            );
            std::thread::yield_now();
        }
        let (runtime, addr) = serve(self.folder.path(), self.addr, self.log.clone());
        assert_eq!(addr, self.addr);
        self.runtime = Some(runtime);
    }
}

impl Drop for EventService {
    fn drop(&mut self) {
        self.kill();
    }
}

fn serve(folder: &Path, addr: SocketAddr, log: Log) -> (Runtime, SocketAddr) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let files = Arc::new(TlsFiles::open(folder).unwrap());
    let (sender, bound) = std::sync::mpsc::channel();
    runtime.spawn(async move {
        let listener = grpc::listen(addr, files).await.unwrap();
        sender.send(listener.addr()).unwrap();
        tonic::transport::Server::builder()
            .serve_with_incoming(EventLogServer::new(log), listener)
            .await
            .unwrap();
    });
    (runtime, bound.recv_timeout(crate::harness::SOON).unwrap())
}

/// What was asked for.
struct Reader {
    log: Log,
    at: usize,
    caught_up_at: Option<usize>,
    asked: ReadRequest,
    length: watch::Receiver<usize>,
}

/// Whether an event is among those asked for.
fn selects(asked: &ReadRequest, namespace: &str, event: &Value) -> bool {
    let among = |all: &[String], one: &str| all.is_empty() || all.iter().any(|n| n == one);
    let stream = event["stream"].as_str().unwrap();
    among(&asked.namespaces, namespace) && among(&asked.streams, stream)
}

/// Where the last so many begin.
fn newest(events: &[(String, Value)], asked: &ReadRequest, count: u64) -> usize {
    let fitting = events
        .iter()
        .enumerate()
        .filter(|(_, (namespace, event))| selects(asked, namespace, event))
        .map(|(at, _)| at);
    let count = usize::try_from(count).unwrap();
    let newest: Vec<usize> = fitting.rev().take(count).collect();
    newest.last().copied().unwrap_or(events.len())
}

impl Reader {
    async fn next(mut self) -> Option<(Result<ReadResponse, Status>, Self)> {
        loop {
            if self.caught_up_at.is_some_and(|at| self.at >= at) {
                self.caught_up_at = None;
                let cursor = self.at.to_string();
                return Some((answer(What::CaughtUp(CaughtUp { cursor })), self));
            }
            let record = self.log.events.lock().unwrap().get(self.at).cloned();
            let Some((namespace, event)) = record else {
                self.length.changed().await.ok()?;
                continue;
            };
            self.at += 1;
            if selects(&self.asked, &namespace, &event) {
                let record = Record {
                    cursor: self.at.to_string(),
                    event: event.to_string().into_bytes(),
                    appended: None,
                };
                return Some((answer(What::Record(record)), self));
            }
        }
    }
}

fn answer(what: What) -> Result<ReadResponse, Status> {
    Ok(ReadResponse { what: Some(what) })
}

type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl EventLog for Log {
    type ReadStream = Streamed<ReadResponse>;
    type ConfirmationsStream = Streamed<Watermark>;

    async fn read(
        &self,
        request: Request<ReadRequest>,
    ) -> Result<Response<Self::ReadStream>, Status> {
        grpc::require_identity(&request, &["apiserver.pgo"])?;
        let asked = request.into_inner();
        assert!(asked.follow);
        let length = self.events.lock().unwrap().len();
        let at = match &asked.from {
            None => length,
            Some(From::Cursor(cursor)) => cursor.parse().map_err(|_| {
                Status::invalid_argument(format!("{cursor:?} is no cursor of this log"))
            })?,
            Some(From::Last(last)) => newest(&self.events.lock().unwrap(), &asked, *last),
            Some(From::Since(_) | From::Beginning(_) | From::Event(_)) => 0,
        };
        let reader = Reader {
            log: self.clone(),
            at,
            caught_up_at: Some(length),
            asked,
            length: self.length.subscribe(),
        };
        Ok(Response::new(Box::pin(futures::stream::unfold(
            reader,
            Reader::next,
        ))))
    }

    async fn watermarks(
        &self,
        _: Request<WatermarksRequest>,
    ) -> Result<Response<WatermarksResponse>, Status> {
        Err(Status::unimplemented("not asked for by the apiserver"))
    }

    async fn confirmations(
        &self,
        _: Request<ConfirmationsRequest>,
    ) -> Result<Response<Self::ConfirmationsStream>, Status> {
        Err(Status::unimplemented("not asked for by the apiserver"))
    }
}
