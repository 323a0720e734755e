//! The stream of events, as if it never broke.
//!
//! ```text
//! connect ─► lines ─► news          the cursor moves with each line
//!    ▲         │
//!    └─ pause ─┘ broken or silent   the next connection continues after the cursor
//! ```
//!
//! Each connection ends what was there when it was asked for with a line that says so. That is the only proof that nothing up to a time
//! is missing, so whoever needs one for a time to come has the follower ask anew then.

use std::{collections::HashMap, sync::Arc, time::Duration};

use http_body_util::BodyExt;
use hyper::body::Incoming;
use jiff::{SignedDuration, Timestamp};
use pgo_api::{Endpoint, EventsQuery, StreamLine};
use serde_json::Value;
use tokio::{sync::mpsc, time::Instant};

use super::{Api, ClientError, clock};

/// Pause before the second attempt to reconnect; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Longest pause: a service that comes back is seen again this soon.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Shortest pause before asking anew: clocks that differ must not make us ask all the time.
const BEFORE_ASKING_ANEW: SignedDuration = SignedDuration::from_millis(250);
/// Longest line; an event is a few hundred bytes.
const LONGEST_LINE: usize = 1 << 20;
/// News waiting to be printed; more make the connection wait.
const QUEUE: usize = 256;

/// What the stream tells.
#[derive(Debug)]
pub enum News {
    /// An event, with the place behind it.
    Event { cursor: String, event: Value },
    /// Events are missing here, and which.
    Cut(String),
    /// All that the log had at a time has been told.
    CaughtUp { as_of: Timestamp },
    /// The connection broke, and why; it will be there again.
    Lost(String),
    /// The connection is there again.
    Back,
    /// It is over, and why.
    Ended(ClientError),
}

/// Follows the events in a task of its own, until the receiver is dropped or nothing can be had any more.
///
/// The first connection must succeed, or at least reach the apiserver; later ones are tried for ever. Where `until` is given, it asks
/// anew then, so that it catches up as of that time or later.
pub fn follow(api: Arc<Api>, query: EventsQuery, until: Option<Timestamp>) -> mpsc::Receiver<News> {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let follower = Follower {
        api,
        query,
        until,
        sender,
        shown: HashMap::new(),
    };
    tokio::spawn(follower.run());
    receiver
}

struct Follower {
    api: Arc<Api>,
    query: EventsQuery,
    /// A connection asked for before that time is not enough.
    until: Option<Timestamp>,
    sender: mpsc::Sender<News>,
    /// Highest seq told of each stream.
    shown: HashMap<String, u64>,
}

/// Why a connection is not read on.
enum Over {
    /// It broke; how many lines had come.
    Broken(ClientError, u64),
    /// It tells nothing about the time that matters.
    TooOld,
}

/// The receiver is gone: nobody listens any more.
struct Deaf;

impl Follower {
    async fn run(mut self) {
        // Whether it ends by failure or for want of a listener: there is nothing left to do.
        let _ = self.connect_for_ever().await;
    }

    async fn connect_for_ever(&mut self) -> Result<(), Deaf> {
        let mut pause = FIRST_PAUSE;
        let mut connected_once = false;
        let mut away = false;
        loop {
            let (asked, waited) = (Timestamp::now(), Instant::now());
            let why = match self
                .api
                .open(Endpoint::Events, &self.query.to_query())
                .await
            {
                Ok(answer) => {
                    if std::mem::take(&mut away) {
                        self.tell(News::Back).await?;
                    }
                    connected_once = true;
                    let as_of = clock::as_of(asked, answer.headers());
                    let began = clock::sent(asked, waited.elapsed(), answer.headers());
                    let over = self.read(answer.into_body(), as_of).await?;
                    self.remember_start(began);
                    match over {
                        Over::TooOld => continue,
                        Over::Broken(why, 0) => why,
                        Over::Broken(why, _) => {
                            pause = FIRST_PAUSE;
                            why
                        }
                    }
                }
                Err(error) => error,
            };
            let worth_another = match connected_once {
                true => why.may_pass(),
                false => matches!(why, ClientError::Status { .. }) && why.may_pass(),
            };
            if !worth_another {
                return self.tell(News::Ended(why)).await;
            }
            if !std::mem::replace(&mut away, true) {
                self.tell(News::Lost(why.to_string())).await?;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Without a cursor the next connection would begin later than this one did, at this time by the apiserver's clock.
    fn remember_start(&mut self, began: Timestamp) {
        let nowhere = self.query.cursor.is_none() && self.query.last.is_none();
        if nowhere && self.query.since.is_none() {
            self.query.since = Some(began.to_string());
        }
    }

    /// Reads until the connection breaks, or is too old. What was there `as_of` that time comes before it has caught up.
    async fn read(&mut self, body: Incoming, as_of: Timestamp) -> Result<Over, Deaf> {
        let mut lines = Lines {
            body,
            buffer: Vec::new(),
            searched: 0,
        };
        let silence = self.api.settings().limits.silence;
        let too_old = too_old(self.until, as_of);
        tokio::pin!(too_old);
        let mut count = 0;
        loop {
            let line = tokio::select! {
                () = &mut too_old => return Ok(Over::TooOld),
                line = tokio::time::timeout(silence, lines.next()) => line,
            };
            let broken = match line {
                Err(_) => self.broken(&format!("nothing came for {silence:?}")),
                Ok(Err(why)) => self.broken(&why),
                Ok(Ok(None)) => self.broken("it was closed"),
                Ok(Ok(Some(line))) => match StreamLine::parse(&line) {
                    Ok(StreamLine::Refused { why }) => ClientError::refused(&why),
                    Err(error) => self.not_a_stream(&error.to_string()),
                    Ok(line) => {
                        count += 1;
                        self.take(line, as_of).await?;
                        continue;
                    }
                },
            };
            return Ok(Over::Broken(broken, count));
        }
    }

    async fn take(&mut self, line: StreamLine, as_of: Timestamp) -> Result<(), Deaf> {
        match line {
            StreamLine::KeepAlive | StreamLine::Refused { .. } => Ok(()),
            StreamLine::Cut { text } => self.tell(News::Cut(text)).await,
            StreamLine::CaughtUp { cursor } => {
                self.query.cursor = Some(cursor);
                self.tell(News::CaughtUp { as_of }).await
            }
            StreamLine::Event { cursor, event } => {
                self.query.cursor = Some(cursor.clone());
                match self.is_repeated(&event) {
                    true => Ok(()),
                    false => self.tell(News::Event { cursor, event }).await,
                }
            }
        }
    }

    /// Whether it was told before. In the log each stream only rises; but where this connection or one behind the apiserver
    /// broke, and the log lost its place, it begins earlier than the cursor rather than later.
    fn is_repeated(&mut self, event: &Value) -> bool {
        let (Some(stream), Some(seq)) = (event["stream"].as_str(), event["seq"].as_u64()) else {
            return false;
        };
        let highest = self.shown.entry(stream.to_owned()).or_default();
        let repeated = seq <= *highest;
        *highest = seq.max(*highest);
        repeated
    }

    async fn tell(&self, news: News) -> Result<(), Deaf> {
        self.sender.send(news).await.map_err(|_| Deaf)
    }

    fn broken(&self, why: &str) -> ClientError {
        ClientError::Unreachable {
            url: self.api.settings().url.clone(),
            cause: format!("the event stream broke: {why}"),
        }
    }

    fn not_a_stream(&self, why: &str) -> ClientError {
        ClientError::Answer {
            request: "GET /events".to_owned(),
            url: self.api.settings().url.clone(),
            why: why.to_owned(),
        }
    }
}

/// Waits until a connection that was answered `as_of` a time says nothing about the one that matters; for ever where it does.
async fn too_old(until: Option<Timestamp>, as_of: Timestamp) {
    let missing = until.map(|until| until.duration_since(as_of));
    let Some(missing) = missing.filter(SignedDuration::is_positive) else {
        return std::future::pending().await;
    };
    let anew = Timestamp::now().checked_add(missing.max(BEFORE_ASKING_ANEW));
    match anew {
        Ok(anew) => clock::reached(anew).await,
        // Beyond the end of all times.
        Err(_) => std::future::pending().await,
    }
}

/// Cuts a body into lines.
struct Lines {
    body: Incoming,
    buffer: Vec<u8>,
    searched: usize,
}

impl Lines {
    /// The next whole line; `None` at the end. Part of a line at the end is dropped: it comes again.
    async fn next(&mut self) -> Result<Option<String>, String> {
        loop {
            let end = self.buffer[self.searched..]
                .iter()
                .position(|b| *b == b'\n');
            if let Some(end) = end {
                let line: Vec<u8> = self.buffer.drain(..=self.searched + end).collect();
                self.searched = 0;
                return Ok(Some(String::from_utf8_lossy(&line).into_owned()));
            }
            self.searched = self.buffer.len();
            if self.searched > LONGEST_LINE {
                return Err(format!("a line is longer than {LONGEST_LINE} bytes"));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(error)) => return Err(error.to_string()),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
            }
        }
    }
}
