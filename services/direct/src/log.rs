//! The log of the event service from now on, as if its connection never broke, nor this process.

use std::time::Duration;

use bytes::Bytes;
use pgo_proto::event::{
    ReadRequest, ReadResponse, Record, event_log_client::EventLogClient, read_request::From,
    read_response::What,
};
use pgo_telemetry::Condition;
use tokio::time::{sleep, timeout};
use tonic::{Code, Status, Streaming, transport::Channel};

use crate::place::Place;

/// Pause before the second attempt to reconnect; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// Longest pause: a service that comes back is seen again this soon.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How long the event service may take to find the place.
const OPEN_DEADLINE: Duration = Duration::from_secs(10);

/// The log, read on and on.
pub(crate) struct Log {
    events: EventLogClient<Channel>,
    /// Whether there is a stream.
    following: Condition,
    stream: Option<Streaming<ReadResponse>>,
    /// After which record the next connection begins; at the end of the log where there is none yet.
    place: Option<String>,
    /// Where the place outlives the process.
    kept: Place,
    pause: Duration,
}

impl Log {
    /// What comes behind the place that was kept; from the first [`Self::next`] on where none was.
    pub(crate) fn new(channel: Channel, following: Condition, kept: Place) -> Self {
        following.not_met("connecting");
        Self {
            events: EventLogClient::new(channel),
            following,
            stream: None,
            place: kept.read(),
            kept,
            pause: Duration::ZERO,
        }
    }

    /// The next event, as it was published. Those before it are done: who reads on after this process begins with it.
    pub(crate) async fn next(&mut self) -> Bytes {
        self.keep();
        loop {
            match self.step().await {
                Ok(Some(event)) => return event,
                Ok(None) => {}
                Err(status) => self.broken(&status),
            }
        }
    }

    async fn step(&mut self) -> Result<Option<Bytes>, Status> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            None => {
                sleep(self.pause).await;
                let stream = self.open().await?;
                self.stream.insert(stream)
            }
        };
        let answer = stream.message().await?;
        let answer = answer.ok_or_else(|| Status::unavailable("the stream ended"))?;
        self.pause = Duration::ZERO;
        self.following.met();
        Ok(match answer.what {
            Some(What::Record(Record { cursor, event, .. })) => {
                self.place = Some(cursor);
                Some(Bytes::from(event))
            }
            Some(What::CaughtUp(caught_up)) => {
                self.place = Some(caught_up.cursor);
                self.keep();
                None
            }
            Some(What::Cut(why)) => {
                tracing::warn!(
                    why,
                    "events are missing in the log, so they are missing here"
                );
                None
            }
            None => None,
        })
    }

    /// Keeps the place, which nothing was read behind that is not done.
    fn keep(&self) {
        if let Some(place) = &self.place {
            self.kept.write(place);
        }
    }

    async fn open(&mut self) -> Result<Streaming<ReadResponse>, Status> {
        let request = ReadRequest {
            from: self.place.clone().map(From::Cursor),
            follow: true,
            ..ReadRequest::default()
        };
        let opening = timeout(OPEN_DEADLINE, self.events.read(request)).await;
        let late = |_| Status::unavailable("it did not answer in time");
        Ok(opening.map_err(late)??.into_inner())
    }

    fn broken(&mut self, status: &Status) {
        self.stream = None;
        if matches!(status.code(), Code::InvalidArgument | Code::OutOfRange) {
            // Another log than the place is of: there is nothing to continue.
            self.place = None;
        }
        self.pause = (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        self.following.not_met(status.message());
        tracing::warn!(
            error = status.message(),
            "the event service cannot be read; it is tried again"
        );
    }
}
