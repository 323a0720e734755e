//! The gRPC service.

use std::{
    collections::{BTreeMap, VecDeque},
    pin::Pin,
    sync::Arc,
};

use futures::{Stream, stream};
use pgo_ids::{Seq, StreamId};
use pgo_proto::event::{
    ConfirmationsRequest, ReadRequest, ReadResponse, Watermark, WatermarksRequest,
    WatermarksResponse, event_log_server::EventLog,
};
use pgo_telemetry::CancellationToken;
use pgo_tls::grpc::require_identity;
use tokio::sync::broadcast::{self, error::RecvError, error::TryRecvError};
use tonic::{Request, Response, Status};

use crate::{consume::Confirmation, log::Log, metrics::Metrics, reader::Reader};

/// Who may read.
const READERS: &[&str] = &["apiserver.pgo", "reconciler.pgo", "event.pgo"];

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The log, for other processes.
#[derive(Debug)]
pub struct Service {
    /// What is shown.
    pub log: Arc<Log>,
    /// Watermarks as they rise.
    pub confirmations: broadcast::Sender<Confirmation>,
    /// Counts readers.
    pub metrics: Metrics,
    /// Ends readers.
    pub shutdown: CancellationToken,
}

#[tonic::async_trait]
impl EventLog for Service {
    type ReadStream = Answers<ReadResponse>;
    type ConfirmationsStream = Answers<Watermark>;

    async fn read(
        &self,
        request: Request<ReadRequest>,
    ) -> Result<Response<Self::ReadStream>, Status> {
        let identity = require_identity(&request, READERS)?;
        tracing::debug!(identity, request = ?request.get_ref(), "a reader begins");
        let reading = self.metrics.reader();
        let reader = Reader::begin(
            self.log.clone(),
            request.into_inner(),
            reading,
            self.shutdown.clone(),
        );
        let records = stream::try_unfold(reader.await?, |mut reader| async move {
            Ok(reader.next().await?.map(|answer| (answer, reader)))
        });
        Ok(Response::new(Box::pin(records)))
    }

    async fn watermarks(
        &self,
        request: Request<WatermarksRequest>,
    ) -> Result<Response<WatermarksResponse>, Status> {
        require_identity(&request, READERS)?;
        let mut watermarks = Vec::new();
        for name in request.into_inner().streams {
            let stream: StreamId = name
                .parse()
                .map_err(|error| Status::invalid_argument(format!("{error}")))?;
            let seq = self.log.watermark(&stream).0.0;
            watermarks.push(Watermark { stream: name, seq });
        }
        Ok(Response::new(WatermarksResponse { watermarks }))
    }

    async fn confirmations(
        &self,
        request: Request<ConfirmationsRequest>,
    ) -> Result<Response<Self::ConfirmationsStream>, Status> {
        require_identity(&request, READERS)?;
        let listener = Listener {
            log: self.log.clone(),
            confirmations: self.confirmations.subscribe(),
            ready: VecDeque::new(),
            shutdown: self.shutdown.clone(),
        };
        let watermarks = stream::try_unfold(listener, |mut listener| async move {
            Ok(Some((listener.next().await?, listener)))
        });
        Ok(Response::new(Box::pin(watermarks)))
    }
}

/// Who hears confirmations.
struct Listener {
    log: Arc<Log>,
    confirmations: broadcast::Receiver<Confirmation>,
    ready: VecDeque<Watermark>,
    shutdown: CancellationToken,
}

impl Listener {
    async fn next(&mut self) -> Result<Watermark, Status> {
        loop {
            if let Some(ready) = self.ready.pop_front() {
                return Ok(ready);
            }
            let heard = tokio::select! {
                heard = self.confirmations.recv() => heard,
                () = self.shutdown.cancelled() => return Err(ending()),
            };
            match heard {
                Ok(confirmation) => self.gather(confirmation),
                Err(RecvError::Lagged(_)) => self.tell(self.log.watermarks()),
                Err(RecvError::Closed) => return Err(ending()),
            }
        }
    }

    /// Takes what else is there; of a stream only the highest.
    fn gather(&mut self, first: Confirmation) {
        let mut highest = BTreeMap::from([first]);
        loop {
            match self.confirmations.try_recv() {
                Ok((stream, seq)) => {
                    let known = highest.entry(stream).or_default();
                    *known = (*known).max(seq);
                }
                Err(TryRecvError::Lagged(_)) => return self.tell(self.log.watermarks()),
                Err(_) => break,
            }
        }
        self.tell(highest);
    }

    fn tell(&mut self, watermarks: impl IntoIterator<Item = (StreamId, Seq)>) {
        let watermarks = watermarks.into_iter().map(|(stream, seq)| Watermark {
            stream: stream.into(),
            seq: seq.0,
        });
        self.ready.extend(watermarks);
    }
}

fn ending() -> Status {
    Status::unavailable("the event service ends")
}
