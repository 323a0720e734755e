//! The event service: the real intake over a disk that holds what was synced.
//!
//! `take → judge → append → sync → confirm → finish`, each a step after which it may be killed.

use std::{collections::BTreeMap, collections::VecDeque, sync::Arc};

use bytes::Bytes;
use pgo_event::intake::{Arrived, Batch};
use pgo_events::{Event, Watermark};
use pgo_ids::{Seq, StreamId};

use crate::{
    broker::Message,
    chance::Chance,
    wrong::{Judge, Wrong, judge},
};

/// Reconcilers that listen to confirmations.
pub const LISTENERS: usize = 2;

/// What the log holds of an event.
#[derive(Clone, Debug)]
pub struct Record {
    /// The stream.
    pub stream: StreamId,
    /// Its place in it.
    pub seq: Seq,
    /// What was appended.
    pub event: Arc<Event>,
}

/// What it is about to do with a batch.
enum Doing {
    Nothing,
    /// The batch is judged and not on disk.
    Append(Batch, Vec<u64>),
    /// It is on disk.
    Confirm(Batch, Vec<u64>),
    /// It was told.
    Finish(Vec<u64>),
}

/// What follows from a step.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Records that are on disk since.
    pub appended: Vec<Record>,
    /// Messages to finish.
    pub finished: Vec<u64>,
}

/// The process and its disk.
pub struct EventService {
    /// Whether it runs.
    pub up: bool,
    /// Its connection to nsqd, while it has one.
    pub connection: Option<u64>,
    connections: u64,
    inbox: VecDeque<(u64, Message)>,
    /// What arrived, by the number that is its bytes.
    bodies: Vec<Arc<Event>>,
    intake: Box<dyn Judge>,
    doing: Doing,
    wrong: Option<Wrong>,
    /// The disk: what was synced, in order.
    pub disk: Vec<Record>,
    marks: BTreeMap<StreamId, Seq>,
    /// How many records readers are shown.
    pub head: usize,
    /// What is on its way to those who listen.
    pub listeners: [Option<VecDeque<(StreamId, Seq)>>; LISTENERS],
}

impl EventService {
    /// One with an empty log, not running.
    pub fn new(wrong: Option<Wrong>) -> Self {
        Self {
            up: false,
            connection: None,
            connections: 0,
            inbox: VecDeque::new(),
            bodies: Vec::new(),
            intake: judge(wrong),
            doing: Doing::Nothing,
            wrong,
            disk: Vec::new(),
            marks: BTreeMap::new(),
            head: 0,
            listeners: [const { None }; LISTENERS],
        }
    }

    /// A new process on the same disk.
    pub fn start(&mut self) {
        self.up = true;
        self.intake = judge(self.wrong);
        self.marks.clear();
        for record in &self.disk {
            let mark = self.marks.entry(record.stream.clone()).or_default();
            *mark = (*mark).max(record.seq);
        }
        self.head = self.disk.len();
    }

    /// kill -9. Of a batch that was being appended any beginning may be on disk.
    pub fn kill(&mut self, chance: &mut Chance) -> Vec<Record> {
        self.up = false;
        self.connection = None;
        self.inbox.clear();
        self.listeners = [const { None }; LISTENERS];
        let written = match std::mem::replace(&mut self.doing, Doing::Nothing) {
            Doing::Append(batch, _) => {
                let mut records = self.records(&batch);
                records.truncate(chance.place(records.len() + 1));
                records
            }
            _ => Vec::new(),
        };
        self.disk.extend(written.iter().cloned());
        written
    }

    /// Connects to nsqd.
    pub fn connect(&mut self) {
        self.connections += 1;
        self.connection = Some(self.connections);
    }

    /// What it has got is as good as lost: it will not be able to finish it.
    pub fn disconnect(&mut self) {
        self.connection = None;
    }

    /// A message arrives.
    pub fn arrive(&mut self, id: u64, message: Message) {
        self.inbox.push_back((id, message));
    }

    /// Up to where it has a stream.
    pub fn mark(&self, stream: &StreamId) -> Seq {
        self.marks.get(stream).copied().unwrap_or_default()
    }

    /// Messages that it has and has not looked at.
    pub fn held(&self) -> usize {
        self.inbox.len()
    }

    /// Whether there is nothing to do.
    pub fn is_idle(&self) -> bool {
        self.inbox.is_empty() && matches!(self.doing, Doing::Nothing)
    }

    /// One step; `most` messages make a batch.
    ///
    /// # Errors
    /// What was broken.
    pub fn step(&mut self, most: usize) -> Result<Outcome, String> {
        let mut outcome = Outcome::default();
        self.doing = match std::mem::replace(&mut self.doing, Doing::Nothing) {
            Doing::Nothing => self.take(most)?,
            Doing::Append(batch, ids) => {
                outcome.appended = self.records(&batch);
                self.append(&outcome.appended);
                Doing::Confirm(batch, ids)
            }
            Doing::Confirm(batch, ids) => {
                self.confirm(&batch);
                Doing::Finish(ids)
            }
            Doing::Finish(ids) => {
                outcome.finished = ids;
                Doing::Nothing
            }
        };
        Ok(outcome)
    }

    fn take(&mut self, most: usize) -> Result<Doing, String> {
        let count = self.inbox.len().min(most);
        if count == 0 {
            return Ok(Doing::Nothing);
        }
        let mut ids = Vec::with_capacity(count);
        let mut arrived = Vec::with_capacity(count);
        for (id, message) in self.inbox.drain(..count) {
            ids.push(id);
            let (event, unconfirmed_from) = match &message.body {
                Some(body) => {
                    let decoded = pgo_bus::Message::decode(body);
                    let decoded = decoded.map_err(|error| format!("a body: {error}"))?;
                    let event = Event::from_wire(&decoded.event);
                    let event = event.map_err(|error| format!("a body: {error}"))?;
                    (Arc::new(event), decoded.unconfirmed_from)
                }
                None => (message.event, message.unconfirmed_from),
            };
            arrived.push(Arrived {
                key: event.key(),
                unconfirmed_from,
                event: Bytes::copy_from_slice(&self.bodies.len().to_le_bytes()),
            });
            self.bodies.push(event);
        }
        let marks = &self.marks;
        let mark = |stream: &StreamId| Watermark(marks.get(stream).copied().unwrap_or_default());
        let batch = self.intake.judge(arrived, &mark);
        if let Some((stream, after, next)) = batch.cuts.first() {
            return Err(format!(
                "events of {stream} between {after} and {next} are given up"
            ));
        }
        match self.wrong {
            Some(Wrong::ConfirmedBeforeDisk) => self.confirm(&batch),
            Some(Wrong::ShownBeforeDisk) => self.head = self.disk.len() + batch.append.len(),
            _ => {}
        }
        Ok(Doing::Append(batch, ids))
    }

    /// The records that a batch makes.
    pub fn records(&self, batch: &Batch) -> Vec<Record> {
        let records = batch.append.iter().filter_map(|entry| {
            let number = usize::from_le_bytes(entry.event.as_ref().try_into().ok()?);
            Some(Record {
                stream: entry.key.stream.clone(),
                seq: entry.key.seq,
                event: self.bodies.get(number)?.clone(),
            })
        });
        records.collect()
    }

    fn append(&mut self, records: &[Record]) {
        self.disk.extend(records.iter().cloned());
        for record in records {
            let mark = self.marks.entry(record.stream.clone()).or_default();
            *mark = (*mark).max(record.seq);
        }
        self.head = self.disk.len();
    }

    fn confirm(&mut self, batch: &Batch) {
        for listener in self.listeners.iter_mut().flatten() {
            listener.extend(batch.confirm.iter().map(|(s, q)| (s.clone(), *q)));
        }
    }
}
