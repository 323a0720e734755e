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
use tokio::{sync::OwnedSemaphorePermit, time::Instant};
use tonic::{Code, Status, Streaming, transport::Channel};

use crate::refusal::Refusal;

use super::{
    selected::{Cluster, Selected, Verdict},
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
    mut wanted: Wanted,
    viewer: Viewer,
    place: OwnedSemaphorePermit,
) -> Result<impl Stream<Item = Result<Bytes, Infallible>> + Send + 'static, CannotOpen> {
    let selected = select(&mut wanted, &viewer).await?;
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
        counted: Counted::new(&viewer.app.metrics.streams, place),
        narrowed: wanted.narrows(from.as_ref()),
        // Until the first place is known, a second connection begins when this one was asked for.
        place: from.unwrap_or_else(|| From::Since(std::time::SystemTime::from(asked).into())),
        upstream: Upstream::Open(Box::new(streaming)),
        pause: FIRST_PAUSE,
        quiet_until: Instant::now() + KEEP_ALIVE,
        caught_up: false,
        received: None,
        selected,
        events,
        wanted,
        viewer,
    };
    Ok(futures::stream::unfold(Some(follower), |follower| async {
        let (line, follower) = follower?.next_line().await?;
        Some((Ok(Bytes::from(line.to_line())), follower))
    }))
}

/// The clusters with the labels asked for, where some were. The last events are those of the clusters that have them now.
async fn select(wanted: &mut Wanted, viewer: &Viewer) -> Result<Option<Selected>, CannotOpen> {
    if wanted.selector.is_empty() {
        return Ok(None);
    }
    let namespaces = viewer.app.access.targets(&wanted.namespaces);
    let begun = Selected::begin(viewer.app.clone(), &wanted.selector, &namespaces).await;
    let (selected, missing) = begun.map_err(|Refusal(why)| CannotOpen::Refused(why))?;
    if matches!(wanted.from, Some(From::Last(_))) {
        if let Some(why) = missing {
            let why = format!("the clusters with these labels cannot be looked up: {why}");
            return Err(CannotOpen::Unavailable(why));
        }
        wanted.last_of = selected.streams();
        if wanted.last_of.is_empty() {
            wanted.from = None;
        }
    }
    Ok(Some(selected))
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

/// Counts a stream as long as it lives, and keeps its place.
struct Counted(
    Gauge,
    #[allow(dead_code, reason = "others have none meanwhile")] OwnedSemaphorePermit,
);

impl Counted {
    fn new(gauge: &Gauge, place: OwnedSemaphorePermit) -> Self {
        gauge.inc();
        Self(gauge.clone(), place)
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
    /// What is read now are the last events of the clusters that were selected when the stream began. What comes behind them
    /// may be of others.
    narrowed: bool,
    /// What came, and is not judged yet.
    received: Option<StreamLine>,
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
                () = keep_alive => self.permitted(self.still_here()),
            };
            match line {
                None => {}
                Some(line @ StreamLine::Refused { .. }) => return Some((line, None)),
                Some(line) => {
                    self.quiet_until = Instant::now() + KEEP_ALIVE;
                    return Some((line, Some(self)));
                }
            }
        }
    }

    /// What a client hears that was sent nothing for long: from where to go on, if what passed meanwhile was not for it. With an
    /// old cursor it would look through all of that once more, or be told that some of it is gone.
    fn still_here(&self) -> StreamLine {
        match &self.place {
            From::Cursor(cursor) if self.caught_up && self.received.is_none() => {
                StreamLine::CaughtUp {
                    cursor: cursor.clone(),
                }
            }
            _ => StreamLine::KeepAlive,
        }
    }

    /// Does the next thing; a line for the client, if it brings one. Nothing is lost when this is dropped halfway.
    async fn advance(&mut self) -> Option<StreamLine> {
        if self.received.is_none() {
            self.received = self.receive().await;
        }
        let received = match self.selected {
            None => self.received.take(),
            // It stays until it is judged.
            Some(_) => self.received.clone(),
        };
        let Some(line) = self.permitted(received?) else {
            self.received = None;
            return None;
        };
        let verdict = self.judge(&line).await;
        self.received = None;
        match verdict {
            Ok(Verdict::Shown) => Some(line),
            Ok(Verdict::Hidden) => None,
            Ok(Verdict::Unknown(text)) => Some(StreamLine::Cut { text }),
            Err(Refusal(why)) => Some(StreamLine::Refused { why }),
        }
    }

    /// The line, if the user may see it; that the stream is over, if nothing may be seen any more.
    fn permitted(&self, line: StreamLine) -> Option<StreamLine> {
        let namespace = match &line {
            StreamLine::Event { event, .. } => event["eventheader"]["namespace"].as_str(),
            StreamLine::Refused { .. } => return Some(line),
            _ => None,
        };
        match self.viewer.may_see(namespace) {
            View::Hidden => None,
            View::Shown => Some(line),
            View::Over => Some(StreamLine::Refused {
                why: "the user may not read events any more".to_owned(),
            }),
        }
    }

    /// Whether an event is of a cluster with the labels asked for; other lines are for everybody.
    async fn judge(&mut self, line: &StreamLine) -> Result<Verdict, Refusal> {
        let (Some(selected), StreamLine::Event { event, .. }) = (&mut self.selected, line) else {
            return Ok(Verdict::Shown);
        };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let cluster = Cluster {
            namespace: text(&event["eventheader"]["namespace"]),
            name: text(&event["clustername"]),
            stream: text(&event["stream"]),
        };
        match cluster.name.is_empty() {
            true => Ok(Verdict::Hidden),
            false => selected.judge(&cluster).await,
        }
    }

    /// Does the next thing with the event service; a line, if it brings one. Nothing is lost when this is dropped halfway.
    async fn receive(&mut self) -> Option<StreamLine> {
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
        if std::mem::take(&mut self.narrowed) {
            self.reopen(Duration::ZERO);
            return None;
        }
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
        self.reopen(self.pause);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        None
    }

    /// Reads on from the place, with another connection.
    fn reopen(&mut self, pause: Duration) {
        self.narrowed = self.wanted.narrows(Some(&self.place));
        let place = Some(self.place.clone());
        self.upstream = Upstream::Opening(Opening::new(&self.events, &self.wanted, place, pause));
    }
}
