//! One reader of the log: from a place on, in order, each record once; then those that come.
//!
//! A reader asks for what is behind its own offset, at its own pace. Nobody waits for it, and nothing is queued for it: one
//! that is slow reads the files where others read memory.

mod newest;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use jiff::Timestamp;
use newest::{LOOK_WITHIN, newest};
use pgo_ids::{Seq, StreamId};
use pgo_proto::event::{CaughtUp, ReadRequest, ReadResponse, Record, read_request, read_response};
use pgo_telemetry::CancellationToken;
use prost_types::Timestamp as ProtoTimestamp;
use tokio::{
    sync::watch,
    task::spawn_blocking,
    time::{Instant, timeout, timeout_at},
};
use tonic::Status;

use crate::{
    filter::Filter,
    log::{self, Cursor, Kin, Log, Offset},
    metrics::Reading,
};

/// Records looked at in one go.
const CHUNK: usize = 1024;

/// How long a reader waits for damaged records before it is told that they are missing: the other replica answers at once,
/// or not at all.
const MEND_WITHIN: Duration = Duration::from_secs(5);

/// How long a reader whose cursor is ahead of a copy waits for the record: the replica that writes sends each on at once.
const ARRIVES_WITHIN: Duration = Duration::from_secs(5);

/// A reader, as far as it has come.
#[derive(Debug)]
pub struct Reader {
    log: Arc<Log>,
    head: watch::Receiver<Offset>,
    /// Whether another replica has more; whoever asks again gets it from there.
    stale: watch::Receiver<bool>,
    filter: Filter,
    follow: bool,
    /// The next record to look at.
    next: Offset,
    /// Of the log, when the reader began.
    generation: u64,
    epoch: String,
    /// Where the log ended when the reader asked; none once it was told that it is there.
    live_from: Option<Offset>,
    /// Behind the record of which it was told the cursor last.
    told: Offset,
    /// Damaged records up to here, for which the other replica was asked.
    asked_for: Offset,
    /// Until when the record of a cursor that is ahead of the log is waited for; none where that was not begun.
    arrives_until: Option<Instant>,
    ready: VecDeque<ReadResponse>,
    shutdown: CancellationToken,
    _reading: Reading,
}

/// Where a reader begins, and what it must be told first.
struct Begin {
    next: Offset,
    cut: Option<String>,
}

impl Begin {
    fn at(next: Offset) -> Self {
        Self { next, cut: None }
    }
}

impl Reader {
    /// Begins to read.
    ///
    /// # Errors
    /// `invalid_argument` for a cursor, time or topic that is none; `internal` where the log cannot be read.
    pub async fn begin(
        log: Arc<Log>,
        request: ReadRequest,
        reading: Reading,
        shutdown: CancellationToken,
    ) -> Result<Self, Status> {
        if log.is_stale() {
            return Err(behind());
        }
        let invalid = |error: &dyn std::fmt::Display| Status::invalid_argument(error.to_string());
        let filter = Filter::of(&request).map_err(|error| invalid(&error))?;
        let (head, stale) = (log.head(), log.stale());
        let now = *head.borrow();
        let (generation, epoch) = (log.generation(), log.cursor(0).epoch);
        let begin = match request.from {
            None => Begin::at(now),
            Some(read_request::From::Beginning(_)) => Begin::at(log.oldest()),
            Some(read_request::From::Cursor(text)) => {
                let cursor = text.parse().map_err(|error| invalid(&error))?;
                after(&log, &cursor, now)
            }
            Some(read_request::From::Since(time)) => {
                let time = from_proto(&time).ok_or_else(|| invalid(&"since: not a time"))?;
                let log = log.clone();
                blocking(move || since(&log, time)).await?
            }
            Some(read_request::From::Event(place)) => {
                let stream: StreamId = place.stream.parse().map_err(|error| invalid(&error))?;
                let log = log.clone();
                let (seq, from) = (Seq(place.seq), stream.clone());
                let found = blocking(move || {
                    // First: what comes meanwhile is found then.
                    let known = log.watermark(&from).0;
                    Ok((known, log.after(&from, seq)?))
                });
                let (known, found) = found.await?;
                after_event((&stream, seq), known, found, now)
            }
            Some(read_request::From::Last(count)) => last(&log, &filter, count, now).await?,
        };
        let mut reader = Self {
            log,
            head,
            stale,
            filter,
            follow: request.follow,
            next: begin.next,
            generation,
            epoch,
            live_from: Some(now),
            told: begin.next,
            asked_for: 0,
            arrives_until: None,
            ready: VecDeque::new(),
            shutdown,
            _reading: reading,
        };
        if let Some(cut) = begin.cut {
            reader.tell(read_response::What::Cut(cut));
        }
        Ok(reader)
    }

    /// The next answer; none at the end of what was asked for.
    ///
    /// # Errors
    /// `unavailable` when the service ends, `internal` where the log cannot be read.
    pub async fn next(&mut self) -> Result<Option<ReadResponse>, Status> {
        loop {
            if let Some(ready) = self.ready.pop_front() {
                return Ok(Some(ready));
            }
            if self.shutdown.is_cancelled() {
                return Err(ending());
            }
            if self.log.generation() != self.generation {
                return Err(replaced());
            }
            if *self.stale.borrow() {
                return Err(behind());
            }
            let head = *self.head.borrow_and_update();
            self.skip_what_is_gone(head);
            if self.next > head {
                self.await_arrival(head).await?;
            } else if self.live_from.is_some_and(|live| self.next >= live) {
                self.live_from = None;
                self.tell_where_it_is();
            } else if self.next < head {
                self.read_on().await?;
            } else if self.follow && self.next - self.told >= CHUNK as u64 {
                self.tell_where_it_is();
            } else if self.follow {
                self.wait().await?;
            } else if self.ready.is_empty() {
                return Ok(None);
            }
        }
    }

    /// Whether there is more at once, which a reader may wait for before it does what costs time.
    pub fn has_more(&self) -> bool {
        !self.ready.is_empty() || self.next < *self.head.borrow()
    }

    /// Also who is sent nothing for long goes on from here when its connection breaks: from where it was told a record last, it
    /// would look through all that it does not want once more, or be told that some of that is gone.
    fn tell_where_it_is(&mut self) {
        self.told = self.next;
        let cursor = self.cursor(self.next - 1);
        self.tell(read_response::What::CaughtUp(CaughtUp { cursor }));
    }

    /// The oldest segments may go while somebody reads.
    fn skip_what_is_gone(&mut self, head: Offset) {
        let oldest = self.log.oldest();
        if self.next < oldest && self.next < head {
            self.tell(read_response::What::Cut(gone(self.next, oldest)));
            self.next = oldest;
        }
    }

    async fn read_on(&mut self) -> Result<(), Status> {
        let from = self.next;
        let records = match self.log.recent(from, CHUNK) {
            Some(records) => records,
            None => {
                let log = self.log.clone();
                blocking(move || log.read(from, CHUNK)).await?
            }
        };
        // Nothing up to the head can be read any more.
        let end = records.is_empty().then(|| *self.head.borrow());
        for record in records {
            if self.next < record.offset && self.may_be_mended(record.offset).await {
                return Ok(());
            }
            self.show(&record);
        }
        if let Some(end) = end
            && !self.may_be_mended(end).await
        {
            self.skip_damaged(end);
        }
        Ok(())
    }

    /// Lets the other replica be asked for what is damaged before `end`; true if it is worth to read once more.
    async fn may_be_mended(&mut self, end: Offset) -> bool {
        if end <= self.asked_for {
            return false;
        }
        self.asked_for = end;
        let asking = self.log.ask_to_mend();
        tokio::select! {
            () = self.shutdown.cancelled() => false,
            asked = timeout(MEND_WITHIN, asking) => asked.unwrap_or(false),
        }
    }

    fn show(&mut self, record: &log::Record) {
        self.skip_damaged(record.offset);
        self.next = record.offset + 1;
        if record.cut() > 0 && self.filter.reads_stream_of(record) {
            self.tell(read_response::What::Cut(never_came(record)));
        }
        if !self.filter.wants(record) {
            return;
        }
        self.told = self.next;
        self.tell(read_response::What::Record(Record {
            cursor: self.cursor(record.offset),
            event: record.event.to_vec(),
            appended: Some(to_proto(record.appended)),
        }));
    }

    fn skip_damaged(&mut self, to: Offset) {
        if self.next < to {
            self.tell(read_response::What::Cut(damaged(self.next, to)));
            self.next = to;
        }
    }

    fn cursor(&self, offset: Offset) -> String {
        format!("{}:{offset}", self.epoch)
    }

    /// Waits for the record of a cursor that is ahead of the log; where it does not come in time, the log never had it.
    async fn await_arrival(&mut self, head: Offset) -> Result<(), Status> {
        let until = Instant::now() + ARRIVES_WITHIN;
        let until = *self.arrives_until.get_or_insert(until);
        if Instant::now() < until
            && let Ok(woken) = timeout_at(until, self.wait()).await
        {
            return woken;
        }
        self.tell(read_response::What::Cut(ENDS_BEFORE.to_owned()));
        // What came while it waited is shown, too.
        self.next = self.live_from.unwrap_or(head);
        self.told = self.next;
        Ok(())
    }

    async fn wait(&mut self) -> Result<(), Status> {
        tokio::select! {
            changed = self.head.changed() => changed.map_err(|_| ending()),
            stale = self.stale.changed() => stale.map_err(|_| ending()),
            () = self.shutdown.cancelled() => Err(ending()),
        }
    }

    fn tell(&mut self, what: read_response::What) {
        self.ready.push_back(ReadResponse { what: Some(what) });
    }
}

/// Told of a cursor whose record the log does not have yet.
const ENDS_BEFORE: &str =
    "the log ends before the cursor: it was put back to an earlier state; what comes follows";

fn ending() -> Status {
    Status::unavailable("the event service ends; read on from the last cursor")
}

fn behind() -> Status {
    Status::unavailable(
        "this replica of the event service has not everything; ask again, from the last cursor on",
    )
}

fn replaced() -> Status {
    Status::unavailable(
        "the log was replaced by that of the other replica; read on from the last cursor",
    )
}

fn damaged(from: Offset, to: Offset) -> String {
    let count = to - from;
    format!(
        "{count} records are damaged in the log and cannot be read now; the next one there is follows"
    )
}

fn never_came(record: &log::Record) -> String {
    let (stream, seq) = (&record.key.stream, record.key.seq);
    match record.after.0 {
        0 => format!("the events of stream {stream} before {seq} are not in the log"),
        after => {
            let (first, last) = (after + 1, seq.0 - 1);
            format!("events {first} to {last} of stream {stream} never came to the log")
        }
    }
}

fn gone(from: Offset, oldest: Offset) -> String {
    let count = oldest - from;
    format!("{count} records are not kept any more; the oldest one there is follows")
}

/// Behind a cursor; one of another log, or of a record that is gone, leads to the oldest there is.
fn after(log: &Log, cursor: &Cursor, head: Offset) -> Begin {
    let cut = |next: Offset, why: &str| Begin {
        next,
        cut: Some(why.to_owned()),
    };
    match log.kin(cursor) {
        Kin::Stranger => cut(
            log.oldest(),
            "the cursor is of another log, which is gone; this one follows from its beginning",
        ),
        Kin::Ancestor(next) => cut(
            cursor.offset.saturating_add(1).min(next),
            "the log went on from a copy that may not have had everything, or from an end that was damaged: events may be missing; \
             what it has follows",
        ),
        // The one that writes may have it; then it will be here in a moment.
        Kin::Same if cursor.offset < head || log.follows() => {
            Begin::at(cursor.offset.saturating_add(1))
        }
        Kin::Same => cut(head, ENDS_BEFORE),
    }
}

/// At the first record of a time or later.
fn since(log: &Log, time: Timestamp) -> Result<Begin, log::Error> {
    let next = log.since(time)?;
    // Then: what is dropped meanwhile is told.
    let kept_since = log.kept_since()?.filter(|kept| time < *kept);
    let cut = kept_since.map(|kept| {
        format!(
            "records from before {kept:.0} are not kept any more; the oldest one there is follows"
        )
    });
    Ok(Begin { next, cut })
}

/// At an event that was found, the first of its stream after `seq`; up to `known` they were in the log.
fn after_event(
    (stream, seq): (&StreamId, Seq),
    known: Seq,
    found: Option<(Offset, Seq)>,
    head: Offset,
) -> Begin {
    let (begin, next) = found.unwrap_or((head, known.next()));
    let gone = || {
        let (first, last) = (seq.next(), next.0 - 1);
        format!("events {first} to {last} of stream {stream} are not in the log any more")
    };
    Begin {
        next: begin,
        cut: (next > seq.next()).then(gone),
    }
}

/// At the newest records that the filter wants, as far as they are found in time.
async fn last(log: &Arc<Log>, filter: &Filter, count: u64, head: Offset) -> Result<Begin, Status> {
    let (log, filter) = (log.clone(), filter.clone());
    let until = std::time::Instant::now() + LOOK_WITHIN;
    let found = blocking(move || newest(&log, &filter, count, (head, until))).await?;
    Ok(Begin {
        next: found.begin,
        cut: found.unlooked(count),
    })
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, log::Error> + Send + 'static,
) -> Result<T, Status> {
    let done = spawn_blocking(work).await;
    let done = done.map_err(|error| Status::internal(error.to_string()))?;
    done.map_err(|error| {
        tracing::error!(%error, "the log cannot be read");
        Status::internal("the log cannot be read; the log of the event service says why")
    })
}

fn to_proto(time: Timestamp) -> ProtoTimestamp {
    ProtoTimestamp {
        seconds: time.as_second(),
        nanos: time.subsec_nanosecond(),
    }
}

fn from_proto(time: &ProtoTimestamp) -> Option<Timestamp> {
    Timestamp::new(time.seconds, time.nanos).ok()
}
