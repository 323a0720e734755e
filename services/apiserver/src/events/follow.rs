//! The log of the event service, followed as if its connection never broke.
//!
//! ```text
//! connecting ─► open ─► records ─► lines        the place moves with each record
//!     ▲           │
//!     └── pause ──┘ broken: the next connection continues after the place
//! ```
//!
//! The stream is pulled: a client that does not read stops the reading of the log, and nothing piles up here.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use futures::{Stream, future::BoxFuture};
use jiff::Timestamp;
use pgo_api::{KEEP_ALIVE, StreamLine};
use pgo_proto::event::{
    ReadResponse, Record, event_log_client::EventLogClient, read_request::From, read_response::What,
};
use pgo_telemetry::prometheus_client::metrics::gauge::Gauge;
use serde_json::Value;
use tokio::time::Instant;
use tonic::{Code, Status, Streaming, transport::Channel};

use crate::refusal::Refusal;

use super::{
    selected::Selected,
    wanted::{View, Viewer, Wanted},
};

/// Pause before the second attempt to reconnect; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// Longest pause: a service that comes back is seen again this soon.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How long the event service may take to find the place.
const OPEN_DEADLINE: Duration = Duration::from_secs(10);

/// Why there is no stream.
pub(super) enum CannotOpen {
    /// It will not help to try again.
    Refused(String),
    /// It may.
    Unavailable(String),
}

/// Opens the stream: when this returns, nothing that comes is missed.
///
/// # Errors
/// The event service cannot be reached, or cannot read from the place asked for.
pub(super) async fn open(
    events: EventLogClient<Channel>,
    wanted: Wanted,
    viewer: Viewer,
) -> Result<impl Stream<Item = Result<Bytes, Infallible>> + Send + 'static, CannotOpen> {
    let from = wanted.from.clone();
    let asked = Timestamp::now();
    let opening = Opening::new(&events, &wanted, from.clone(), Duration::ZERO);
    let streaming = opening.0.await.map_err(|status| match is_final(&status) {
        true => CannotOpen::Refused(status.message().to_owned()),
        false => CannotOpen::Unavailable(format!(
            "the event service cannot be reached: {}",
            status.message()
        )),
    })?;
    let follower = Follower {
        counted: Counted::new(&viewer.app.metrics.streams),
        // Until the first place is known, a second connection begins when this one was asked for.
        place: from.unwrap_or_else(|| From::Since(std::time::SystemTime::from(asked).into())),
        upstream: Upstream::Open(Box::new(streaming)),
        pause: FIRST_PAUSE,
        quiet_until: Instant::now() + KEEP_ALIVE,
        caught_up: false,
        selected: (!wanted.selector.is_empty())
            .then(|| Selected::new(viewer.app.clone(), &wanted.selector)),
        events,
        wanted,
        viewer,
    };
    Ok(futures::stream::unfold(Some(follower), |follower| async {
        let (line, follower) = follower?.next_line().await?;
        Some((Ok(Bytes::from(line.to_line())), follower))
    }))
}

/// Whether the event service would refuse the same request again.
fn is_final(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::InvalidArgument | Code::OutOfRange | Code::FailedPrecondition
    )
}

/// A connection on its way.
struct Opening(BoxFuture<'static, Result<Streaming<ReadResponse>, Status>>);

impl Opening {
    fn new(
        events: &EventLogClient<Channel>,
        wanted: &Wanted,
        from: Option<From>,
        pause: Duration,
    ) -> Self {
        let (mut events, request) = (events.clone(), wanted.request(from));
        Self(Box::pin(async move {
            tokio::time::sleep(pause).await;
            let opening = tokio::time::timeout(OPEN_DEADLINE, events.read(request)).await;
            let late = |_| Status::unavailable("it did not answer in time");
            Ok(opening.map_err(late)??.into_inner())
        }))
    }
}

enum Upstream {
    Opening(Opening),
    Open(Box<Streaming<ReadResponse>>),
}

/// Counts a stream as long as it lives.
struct Counted(Gauge);

impl Counted {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

struct Follower {
    events: EventLogClient<Channel>,
    wanted: Wanted,
    viewer: Viewer,
    /// Clusters with the labels asked for; none: all.
    selected: Option<Selected>,
    /// Where the next connection begins.
    place: From,
    upstream: Upstream,
    pause: Duration,
    /// When the client must hear something.
    quiet_until: Instant,
    /// The client was told so; later connections catch up, too, and that is none of its business.
    caught_up: bool,
    #[allow(dead_code, reason = "it counts until it is dropped")]
    counted: Counted,
}

impl Follower {
    /// The next line, and who makes the one after it; none: the stream is over.
    async fn next_line(mut self) -> Option<(StreamLine, Option<Self>)> {
        let shutdown = self.viewer.app.shutdown.clone();
        loop {
            let keep_alive = tokio::time::sleep_until(self.quiet_until);
            let line = tokio::select! {
                biased;
                () = shutdown.cancelled() => return None,
                line = self.advance() => line,
                () = keep_alive => Some(StreamLine::KeepAlive),
            };
            let Some(line) = line else { continue };
            let namespace = match &line {
                StreamLine::Event { event, .. } => event["eventheader"]["namespace"].as_str(),
                StreamLine::Refused { .. } => return Some((line, None)),
                _ => None,
            };
            match self.viewer.may_see(namespace) {
                View::Hidden => {}
                View::Shown => match self.is_selected(&line).await {
                    Ok(false) => {}
                    Ok(true) => {
                        self.quiet_until = Instant::now() + KEEP_ALIVE;
                        return Some((line, Some(self)));
                    }
                    Err(Refusal(why)) => return Some((StreamLine::Refused { why }, None)),
                },
                View::Over => {
                    let why = "the user may not read events any more".to_owned();
                    return Some((StreamLine::Refused { why }, None));
                }
            }
        }
    }

    /// Whether an event is of a cluster with the labels asked for; other lines are for everybody.
    async fn is_selected(&mut self, line: &StreamLine) -> Result<bool, Refusal> {
        let (Some(selected), StreamLine::Event { event, .. }) = (&mut self.selected, line) else {
            return Ok(true);
        };
        let namespace = event["eventheader"]["namespace"].as_str();
        match (namespace, event["clustername"].as_str()) {
            (Some(namespace), Some(cluster)) if !cluster.is_empty() => {
                selected.has(namespace, cluster).await
            }
            _ => Ok(false),
        }
    }

    /// Does the next thing with the event service; a line, if it brings one. Nothing is lost when this is dropped halfway.
    async fn advance(&mut self) -> Option<StreamLine> {
        let received = match &mut self.upstream {
            Upstream::Opening(opening) => match (&mut opening.0).await {
                Ok(streaming) => {
                    tracing::debug!("the event service is there again");
                    self.upstream = Upstream::Open(Box::new(streaming));
                    return None;
                }
                Err(status) => Err(status),
            },
            Upstream::Open(streaming) => match streaming.message().await {
                Ok(Some(response)) => Ok(response),
                Ok(None) => Err(Status::unavailable("it ended the stream")),
                Err(status) => Err(status),
            },
        };
        match received {
            Ok(response) => {
                self.pause = FIRST_PAUSE;
                match response.what {
                    Some(What::Record(record)) => Some(self.take(record)),
                    Some(What::Cut(text)) => Some(StreamLine::Cut { text }),
                    Some(What::CaughtUp(there)) => self.catch_up(there.cursor),
                    // From a newer version; there is nothing to say of it.
                    None => None,
                }
            }
            Err(status) => self.broken(&status),
        }
    }

    fn take(&mut self, record: Record) -> StreamLine {
        self.place = From::Cursor(record.cursor.clone());
        match serde_json::from_slice::<Value>(&record.event) {
            Ok(event) => StreamLine::Event {
                cursor: record.cursor,
                event,
            },
            Err(error) => {
                tracing::error!(%error, cursor = record.cursor, "a record of the event log is not JSON");
                StreamLine::Cut {
                    text: format!("the record at {} is damaged", record.cursor),
                }
            }
        }
    }

    fn catch_up(&mut self, cursor: String) -> Option<StreamLine> {
        self.place = From::Cursor(cursor.clone());
        let first = !std::mem::replace(&mut self.caught_up, true);
        first.then_some(StreamLine::CaughtUp { cursor })
    }

    /// The connection is gone, or did not come about.
    fn broken(&mut self, status: &Status) -> Option<StreamLine> {
        if is_final(status) {
            return Some(StreamLine::Refused {
                why: status.message().to_owned(),
            });
        }
        tracing::debug!(%status, "the event service is away");
        let place = Some(self.place.clone());
        self.upstream =
            Upstream::Opening(Opening::new(&self.events, &self.wanted, place, self.pause));
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        None
    }
}
