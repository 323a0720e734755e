//! An event service that has on disk what the test says.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::{Arc, Mutex},
};

use futures::{Stream, StreamExt as _};
use pgo_proto::event::{
    ConfirmationsRequest, ReadRequest, ReadResponse, Watermark, WatermarksRequest,
    WatermarksResponse,
    event_log_server::{EventLog, EventLogServer},
};
use pgo_tls::{TlsFiles, grpc};
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;
use tonic::{Request, Response, Status};

use crate::harness::{Certificates, eventually};

/// Clones are handles of the same.
#[derive(Clone)]
pub struct FakeEventLog {
    watermarks: Arc<Mutex<BTreeMap<String, u64>>>,
    told: broadcast::Sender<Watermark>,
    pub addr: SocketAddr,
}

impl FakeEventLog {
    pub async fn start(certificates: &Certificates) -> Self {
        let files = Arc::new(TlsFiles::open(certificates.of("event.pgo")).unwrap());
        let any = (Ipv4Addr::LOCALHOST, 0).into();
        let listener = grpc::listen(any, files).await.unwrap();
        let log = Self {
            watermarks: Arc::default(),
            told: broadcast::Sender::new(4096),
            addr: listener.addr(),
        };
        let serving =
            grpc::server().serve_with_incoming(EventLogServer::new(log.clone()), listener);
        tokio::spawn(serving);
        log
    }

    /// How the reconciler finds it.
    pub fn argument(&self) -> String {
        format!("--event-service={}", self.addr)
    }

    /// Waits until somebody listens.
    pub async fn heard(&self) {
        eventually("a listener", || self.told.receiver_count() > 0).await;
    }

    /// Everything of a stream up to `seq` is on disk.
    pub fn confirm(&self, stream: &str, seq: u64) {
        let watermark = Watermark {
            stream: stream.to_owned(),
            seq,
        };
        self.watermarks
            .lock()
            .unwrap()
            .insert(stream.to_owned(), seq);
        // Who does not listen yet asks.
        let _ = self.told.send(watermark);
    }
}

type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl EventLog for FakeEventLog {
    type ReadStream = Streamed<ReadResponse>;
    type ConfirmationsStream = Streamed<Watermark>;

    async fn read(&self, _: Request<ReadRequest>) -> Result<Response<Self::ReadStream>, Status> {
        Err(Status::unimplemented("not asked for by the reconciler"))
    }

    async fn watermarks(
        &self,
        request: Request<WatermarksRequest>,
    ) -> Result<Response<WatermarksResponse>, Status> {
        let known = self.watermarks.lock().unwrap();
        let asked = request.into_inner().streams.into_iter();
        let watermarks = asked.map(|stream| Watermark {
            seq: known.get(&stream).copied().unwrap_or(0),
            stream,
        });
        Ok(Response::new(WatermarksResponse {
            watermarks: watermarks.collect(),
        }))
    }

    async fn confirmations(
        &self,
        request: Request<ConfirmationsRequest>,
    ) -> Result<Response<Self::ConfirmationsStream>, Status> {
        grpc::require_identity(&request, &["reconciler.pgo"])?;
        let told = BroadcastStream::new(self.told.subscribe());
        let told = told.map(|watermark| watermark.map_err(|e| Status::data_loss(e.to_string())));
        Ok(Response::new(Box::pin(told)))
    }
}
