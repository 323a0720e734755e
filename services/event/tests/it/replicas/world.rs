//! Two replicas over a register in memory, their publisher, and what they promised.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use jiff::Timestamp;
use pgo_bus::DeadLetter;
use pgo_event::{
    dead::{Letters, Shelf, copy},
    log::{Entry, Limits, Log, Offset},
    replication::{
        Turn,
        following::{Following, Other},
        leading::{Change, Leading, Reach},
        register::{Register, RegisterError, Roster, Version},
    },
};
use pgo_ids::{EventKey, Seq, StreamId};
use pgo_proto::event::{
    CopyLettersRequest, CopyLettersResponse, CopyRequest, CopyResponse, FetchRequest, FetchResponse,
};
use tempfile::TempDir;
use tokio::time::timeout;
use tonic::Status;

/// Of a leader with the other replica, in these tests.
pub const PATIENCE: Duration = Duration::from_millis(15);

/// How long a step may take before whoever waits gives up.
pub const STEP: Duration = Duration::from_millis(150);

/// How often somebody tries to lead once all is well again.
const TRIES: usize = 20;

#[derive(Debug, Default)]
pub struct Memory {
    pub kept: Mutex<Option<(Roster, u64)>>,
    pub away: AtomicBool,
}

impl Memory {
    pub fn there(&self) -> Result<(), RegisterError> {
        match self.away.load(Ordering::Relaxed) {
            true => Err(RegisterError {
                what: "reach",
                reason: "it is away".to_owned(),
            }),
            false => Ok(()),
        }
    }

    pub fn roster(&self) -> Option<Roster> {
        self.kept
            .lock()
            .unwrap()
            .as_ref()
            .map(|(roster, _)| roster.clone())
    }
}

#[tonic::async_trait]
impl Register for Memory {
    async fn read(&self) -> Result<Option<(Roster, Version)>, RegisterError> {
        self.there()?;
        let kept = self.kept.lock().unwrap().clone();
        Ok(kept.map(|(roster, version)| (roster, version.to_string())))
    }

    async fn write(
        &self,
        roster: &Roster,
        version: Option<&Version>,
    ) -> Result<Option<Version>, RegisterError> {
        self.there()?;
        let mut kept = self.kept.lock().unwrap();
        let known = kept.as_ref().map(|(_, version)| version.to_string());
        if known.as_ref() != version {
            return Ok(None);
        }
        let next = kept.as_ref().map_or(1, |(_, version)| version + 1);
        *kept = Some((roster.clone(), next));
        Ok(Some(next.to_string()))
    }
}

/// The way from one replica to the one that leads.
pub struct Way(pub Option<Arc<Leading>>, pub Arc<Log>, pub Arc<Shelf>);

#[tonic::async_trait]
impl Other for Way {
    async fn copy(&self, request: CopyRequest) -> Result<CopyResponse, Status> {
        match &self.0 {
            Some(leading) => leading.answer(request).await,
            None => Err(Status::failed_precondition("it does not lead")),
        }
    }

    async fn fetch(&self, request: FetchRequest) -> Result<FetchResponse, Status> {
        pgo_event::replication::following::fetch(&self.1, request)
            .map_err(|error| Status::internal(error.to_string()))
    }

    async fn copy_letters(
        &self,
        request: CopyLettersRequest,
    ) -> Result<CopyLettersResponse, Status> {
        let Some(leading) = &self.0 else {
            return Err(Status::failed_precondition("it does not lead"));
        };
        let change = leading.letters();
        let letters = self.2.letters().unwrap();
        copy::answer(&letters, request, change).map_err(|error| Status::internal(error.to_string()))
    }
}

/// The way to the other replica, whatever its address; none while it is away.
struct Ways(Option<(Arc<Log>, Arc<Shelf>)>);

impl Reach for Ways {
    fn at(&self, _: &str) -> Option<Box<dyn Other>> {
        let (log, shelf) = self.0.clone()?;
        Some(Box::new(Way(None, log, shelf)))
    }
}

pub struct Node {
    pub folder: TempDir,
    pub name: String,
    pub log: Option<Arc<Log>>,
    pub shelf: Arc<Shelf>,
    pub leading: Option<Arc<Leading>>,
    pub turn: Turn,
    /// Of which term it knows dead letters, up to which change, and which one is the newest that it heard of.
    pub letters: Cell<(u64, Change, Change)>,
    /// Its volume was lost, and it has not everything again.
    pub lost: Cell<bool>,
}

fn stream() -> StreamId {
    "a".parse().unwrap()
}

impl Node {
    pub fn new(name: &str) -> Self {
        let (folder, turn) = (TempDir::new().unwrap(), Turn::new(None));
        let mut node = Self {
            shelf: Arc::new(Shelf::new(folder.path(), turn.subscribe())),
            folder,
            turn,
            letters: Cell::default(),
            name: name.to_owned(),
            log: None,
            leading: None,
            lost: Cell::new(false),
        };
        node.start();
        node
    }

    pub fn start(&mut self) {
        if self.log.is_none() {
            let limits = Limits {
                segment_bytes: 900,
                most_bytes: u64::MAX,
                longest: Duration::from_secs(86_400),
            };
            let log = Log::open_replica(self.folder.path(), limits, Timestamp::now()).unwrap();
            log.set_follows(true);
            self.log = Some(Arc::new(log));
        }
    }

    pub fn kill(&mut self) {
        self.lead(None);
        self.letters.take();
        self.log = None;
    }

    pub fn lead(&mut self, leading: Option<Arc<Leading>>) {
        self.leading = leading.clone();
        self.turn.send_replace(leading);
    }

    pub fn numbers_of_letters(&self) -> BTreeSet<String> {
        let letters = self.shelf.letters().unwrap().all().unwrap();
        letters.into_iter().map(|letter| letter.message).collect()
    }

    pub fn following(&self) -> Option<Following> {
        Some(Following {
            log: self.log.clone()?,
            shelf: self.shelf.clone(),
            me: self.name.clone(),
            address: "nowhere:1".to_owned(),
        })
    }
}

pub struct World {
    pub register: Arc<Memory>,
    pub nodes: [Node; 2],
    pub apart: bool,
    /// The highest seq that was confirmed.
    pub confirmed: u64,
    pub published: u64,
    /// Dead letters that are kept for sure, and that are gone for sure; how many there were.
    pub kept: BTreeSet<String>,
    pub gone: BTreeSet<String>,
    pub letters: u64,
    /// What readers saw, by epoch and offset.
    pub shown: BTreeMap<(String, Offset), u64>,
}

impl World {
    pub fn new() -> Self {
        Self {
            register: Arc::default(),
            nodes: [Node::new("event-0"), Node::new("event-1")],
            apart: false,
            confirmed: 0,
            published: 0,
            kept: BTreeSet::new(),
            gone: BTreeSet::new(),
            letters: 0,
            shown: BTreeMap::new(),
        }
    }

    pub async fn take_over(&mut self, at: usize, forced: bool) -> bool {
        let node = &mut self.nodes[at];
        let Some(log) = node.log.clone() else {
            return false;
        };
        let me = (node.name.clone(), "nowhere:1".to_owned());
        let register = self.register.clone();
        let taken = Leading::take_over(log, register, me, forced, PATIENCE).await;
        let leading = taken.ok().map(Arc::new);
        node.lead(leading.clone());
        let Some(leading) = leading else { return false };
        let other = &self.nodes[1 - at];
        let log = other.log.clone().filter(|_| !self.apart);
        let ways = Ways(log.map(|log| (log, other.shelf.clone())));
        let gathering = timeout(STEP, leading.gather_within(PATIENCE, &ways));
        // The process asks all the time; here only one that is waited for.
        let roster = self.register.roster().unwrap_or_default();
        let asking = async {
            if roster.in_sync.contains(&other.name) {
                self.follow(1 - at).await;
            }
        };
        let (gathered, ()) = tokio::join!(gathering, asking);
        if !matches!(gathered, Ok(Ok(()))) {
            self.nodes[at].lead(None);
        }
        self.nodes[at].leading.is_some()
    }

    /// One step of following; whether it is in sync afterwards.
    pub async fn follow(&self, at: usize) -> bool {
        let (node, other) = (&self.nodes[at], &self.nodes[1 - at]);
        let (Some(following), Some(log)) = (node.following(), other.log.clone()) else {
            return false;
        };
        let roster = self.register.roster().unwrap_or_default();
        if node.leading.is_some() || self.apart || roster.leader != other.name {
            return false;
        }
        let way = Way(other.leading.clone(), log, other.shelf.clone());
        let (mut term, mut change, mut newest) = node.letters.get();
        if term != roster.term || change < newest {
            let asked = timeout(STEP, following.ask_letters(&way, roster.term)).await;
            let Ok(Ok(answer)) = asked else { return false };
            term = roster.term;
            change = following.apply_letters(answer).await.expect("letters");
        }
        let asked = timeout(STEP, following.ask(&way, roster.term, change)).await;
        let Ok(Ok(answer)) = asked else { return false };
        let step = following.apply(answer).await.expect("a step");
        newest = step.letters;
        node.letters.set((term, change, newest));
        if step.in_sync {
            node.lost.set(false);
        }
        step.in_sync
    }

    /// The publisher's events reach a replica that thinks that it leads. It may be wrong.
    pub async fn publish(&mut self, at: usize, count: u64) {
        self.published += count;
        let node = &self.nodes[at];
        let (Some(log), Some(leading)) = (node.log.clone(), node.leading.clone()) else {
            return;
        };
        // What was confirmed is not in the outbox any more.
        let from = log.watermark(&stream()).0.0.max(self.confirmed) + 1;
        let entries: Vec<_> = (from..=self.published)
            .map(|seq| Entry {
                key: EventKey {
                    stream: stream(),
                    seq: Seq(seq),
                },
                event: Bytes::from(format!("event {seq}")),
            })
            .collect();
        let Some(last) = entries.last().map(|entry| entry.key.seq.0) else {
            return;
        };
        let end = log
            .write(entries, leading.term(), Timestamp::now())
            .unwrap();
        leading.tell();
        let following = async {
            for _ in 0..4 {
                self.follow(1 - at).await;
            }
        };
        let safe = timeout(STEP, leading.safe(end));
        let (safe, ()) = tokio::join!(safe, following);
        match safe {
            Ok(Ok(())) => self.confirmed = self.confirmed.max(last),
            // As the process does it: it steps down, and what is written and does not count waits for who leads.
            _ => self.nodes[at].lead(None),
        }
    }

    /// A dead letter comes to a replica that thinks that it leads.
    pub async fn keep(&mut self, at: usize) {
        self.letters += 1;
        let letter = DeadLetter {
            topic: "alltopic".to_owned(),
            channel: "history".to_owned(),
            message: self.letters.to_string(),
            attempts: 1,
            time: Timestamp::now(),
            reason: "it is no event".to_owned(),
            body: vec![b'x'; 300],
            left_out: 0,
        };
        let name = letter.message.clone();
        if self.change(at, move |letters| letters.put(&letter)).await {
            self.kept.insert(name);
        }
    }

    /// A user deletes the oldest one, at a replica that thinks that it leads.
    pub async fn delete(&mut self, at: usize) {
        let Some(name) = self.kept.pop_first() else {
            return;
        };
        let named = name.clone();
        let delete = move |letters: &Letters| {
            let all = letters.all()?;
            let found = all.iter().find(|letter| letter.message == named);
            found.map_or(Ok(false), |letter| letters.remove(&letter.id()))
        };
        if self.change(at, delete).await {
            self.gone.insert(name);
        }
    }

    pub async fn change(
        &mut self,
        at: usize,
        change: impl FnOnce(&Letters) -> Result<bool, pgo_event::dead::Error> + Send + 'static,
    ) -> bool {
        let node = &self.nodes[at];
        if node.log.is_none() || node.leading.is_none() {
            return false;
        }
        let following = async {
            for _ in 0..4 {
                self.follow(1 - at).await;
            }
        };
        let changing = timeout(STEP, node.shelf.change(change));
        let (changed, ()) = tokio::join!(changing, following);
        let done = matches!(changed, Ok(Ok(_)));
        if !done {
            self.nodes[at].lead(None);
        }
        done
    }

    /// What readers see now is what they saw before at each place.
    pub fn look(&mut self) {
        for node in &self.nodes {
            let Some(log) = &node.log else { continue };
            let epoch = log.lineage().epoch().to_owned();
            let mut next = log.oldest();
            while next < *log.head().borrow() {
                for record in log.read(next, 100).unwrap() {
                    assert_eq!(record.event, format!("event {}", record.key.seq));
                    let seen = self.shown.entry((epoch.clone(), record.offset));
                    let seen = *seen.or_insert(record.key.seq.0);
                    assert_eq!(
                        seen, record.key.seq.0,
                        "offset {} of {}",
                        record.offset, node.name
                    );
                    next = record.offset + 1;
                }
            }
        }
    }

    /// All is well again; who can lead does, and the other follows until it has everything.
    pub async fn heal(&mut self) -> usize {
        self.apart = false;
        self.register.away.store(false, Ordering::Relaxed);
        for node in &mut self.nodes {
            node.lead(None);
            node.start();
        }
        // On a busy machine a step may come too late; the process tries again, too.
        let mut leader = None;
        for at in [0, 1].into_iter().cycle().take(TRIES) {
            if self.take_over(at, false).await {
                leader = Some(at);
                break;
            }
        }
        let leader =
            leader.unwrap_or_else(|| panic!("nobody can lead: {:?}", self.register.roster()));
        for _ in 0..50 {
            if self.follow(1 - leader).await {
                // One more, to hear what counts.
                self.publish(leader, 1).await;
                self.follow(1 - leader).await;
                return leader;
            }
        }
        panic!(
            "the other replica does not catch up: {:?}",
            self.register.roster()
        );
    }

    pub fn check(&self) {
        let logs: Vec<Vec<(Offset, u64)>> = self
            .nodes
            .iter()
            .map(|node| {
                let log = node.log.as_ref().expect("it runs");
                let mut found: Vec<(Offset, u64)> = Vec::new();
                loop {
                    let next = found.last().map_or(log.oldest(), |(offset, _)| offset + 1);
                    let records = log.read(next, 100).unwrap();
                    if records.is_empty() {
                        break found;
                    }
                    found.extend(
                        records
                            .iter()
                            .map(|record| (record.offset, record.key.seq.0)),
                    );
                }
            })
            .collect();
        for log in &logs {
            let seqs: Vec<u64> = log.iter().map(|(_, seq)| *seq).collect();
            let expected: Vec<u64> = (1..=self.published).collect();
            assert_eq!(
                seqs, expected,
                "each event once and in order; {} were confirmed",
                self.confirmed
            );
        }
        assert_eq!(logs[0], logs[1]);
        let letters = self.nodes.each_ref().map(Node::numbers_of_letters);
        assert_eq!(letters[0], letters[1]);
        let lost: Vec<_> = self.kept.difference(&letters[0]).collect();
        assert!(lost.is_empty(), "kept, and not there: {lost:?}");
        let back: Vec<_> = self.gone.intersection(&letters[0]).collect();
        assert!(back.is_empty(), "deleted, and there: {back:?}");
        assert_eq!(self.confirmed, self.published);
    }
}
