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
use tokio::sync::{
    broadcast::{
        self,
        error::{RecvError, TryRecvError},
    },
    watch,
};
use tonic::{Request, Response, Status};

use crate::{
    consume::Confirmation,
    identity::{Deed, require},
    log::Log,
    metrics::Metrics,
    reader::Reader,
};

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
        let identity = require(&request, Deed::Read)?;
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
        require(&request, Deed::Read)?;
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
        require(&request, Deed::Read)?;
        let listener = Listener {
            log: self.log.clone(),
            confirmations: self.confirmations.subscribe(),
            stale: self.log.stale(),
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
    /// Whether another replica has more; whoever asks again hears it from there.
    stale: watch::Receiver<bool>,
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
                _ = self.stale.wait_for(|stale| *stale) => return Err(behind()),
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

fn behind() -> Status {
    Status::unavailable("this replica of the event service has not everything; ask again")
}

fn ending() -> Status {
    Status::unavailable("the event service ends")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use jiff::Timestamp;
    use pgo_ids::EventKey;
    use tempfile::TempDir;

    use super::*;
    use crate::log::{Entry, Limits};

    fn log(folder: &TempDir) -> Arc<Log> {
        let limits = Limits {
            segment_bytes: u64::MAX,
            most_bytes: u64::MAX,
            longest: Duration::from_secs(86_400),
        };
        Arc::new(Log::open(folder.path(), limits, Timestamp::now()).expect("the log opens"))
    }

    fn append(log: &Log, name: &str, seq: u64) -> Confirmation {
        let stream: StreamId = name.parse().expect("a stream");
        let key = EventKey {
            stream: stream.clone(),
            seq: Seq(seq),
        };
        let event = Bytes::from_static(b"{}");
        log.append(vec![Entry { key, event }], Timestamp::now())
            .expect("an append");
        (stream, Seq(seq))
    }

    fn listener(log: &Arc<Log>, confirmations: &broadcast::Sender<Confirmation>) -> Listener {
        Listener {
            log: log.clone(),
            confirmations: confirmations.subscribe(),
            stale: log.stale(),
            ready: VecDeque::new(),
            shutdown: CancellationToken::new(),
        }
    }

    async fn heard(listener: &mut Listener, count: usize) -> BTreeMap<String, u64> {
        let mut found = BTreeMap::new();
        for _ in 0..count {
            let watermark = listener.next().await.expect("a watermark");
            found.insert(watermark.stream, watermark.seq);
        }
        found
    }

    #[tokio::test]
    async fn a_listener_that_is_far_behind_gets_all_watermarks() {
        let folder = TempDir::new().expect("a folder");
        let log = log(&folder);
        let confirmations = broadcast::Sender::new(2);
        let mut listener = listener(&log, &confirmations);
        for name in ["a", "b", "c", "d"] {
            let confirmation = append(&log, name, 1);
            confirmations.send(confirmation).expect("it listens");
        }
        let all = ["a", "b", "c", "d"].map(|name| (name.to_owned(), 1));
        assert_eq!(heard(&mut listener, 4).await, BTreeMap::from(all));
        let confirmation = append(&log, "a", 2);
        confirmations.send(confirmation).expect("it listens");
        // What it was behind with comes again, too.
        let mut newest = 0;
        while newest < 2 {
            newest = heard(&mut listener, 1).await.remove("a").unwrap_or(newest);
        }
    }

    #[tokio::test]
    async fn of_a_stream_only_the_highest_is_told() {
        let folder = TempDir::new().expect("a folder");
        let log = log(&folder);
        let confirmations = broadcast::Sender::new(16);
        let mut listener = listener(&log, &confirmations);
        for seq in 1..=5 {
            let confirmation = append(&log, "a", seq);
            confirmations.send(confirmation).expect("it listens");
        }
        let one = BTreeMap::from([("a".to_owned(), 5)]);
        assert_eq!(heard(&mut listener, 1).await, one);
        assert!(listener.ready.is_empty());
    }
}
