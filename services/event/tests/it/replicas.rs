//! Two replicas, killed, cut off from each other and from the register at moments drawn from a seed: nothing that was
//! confirmed is lost, and what was shown at an offset stays what it was.

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
use pgo_event::{
    log::{Entry, Kin, Limits, Log, Offset},
    replication::{
        following::{Following, Other, mend},
        leading::Leading,
        register::{Register, RegisterError, Roster, Version},
    },
};
use pgo_ids::{EventKey, Seq, StreamId};
use pgo_proto::event::{CopyRequest, CopyResponse, FetchRequest, FetchResponse};
use proptest::prelude::*;
use tempfile::TempDir;
use tokio::time::timeout;
use tonic::Status;

/// Of a leader with the other replica, in these tests.
const PATIENCE: Duration = Duration::from_millis(15);

/// How long a step may take before whoever waits gives up.
const STEP: Duration = Duration::from_millis(150);

#[derive(Debug, Default)]
struct Memory {
    kept: Mutex<Option<(Roster, u64)>>,
    away: AtomicBool,
}

impl Memory {
    fn there(&self) -> Result<(), RegisterError> {
        match self.away.load(Ordering::Relaxed) {
            true => Err(RegisterError {
                what: "reach",
                reason: "it is away".to_owned(),
            }),
            false => Ok(()),
        }
    }

    fn roster(&self) -> Option<Roster> {
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
struct Way(Option<Arc<Leading>>, Arc<Log>);

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
}

struct Node {
    folder: TempDir,
    name: String,
    log: Option<Arc<Log>>,
    leading: Option<Arc<Leading>>,
    /// Its volume was lost, and it has not everything again.
    lost: Cell<bool>,
}

fn stream() -> StreamId {
    "a".parse().unwrap()
}

impl Node {
    fn new(name: &str) -> Self {
        let mut node = Self {
            folder: TempDir::new().unwrap(),
            name: name.to_owned(),
            log: None,
            leading: None,
            lost: Cell::new(false),
        };
        node.start();
        node
    }

    fn start(&mut self) {
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

    fn kill(&mut self) {
        self.leading = None;
        self.log = None;
    }

    fn following(&self) -> Option<Following> {
        Some(Following {
            log: self.log.clone()?,
            me: self.name.clone(),
            address: "nowhere:1".to_owned(),
        })
    }
}

struct World {
    register: Arc<Memory>,
    nodes: [Node; 2],
    apart: bool,
    /// The highest seq that was confirmed.
    confirmed: u64,
    published: u64,
    /// What readers saw, by epoch and offset.
    shown: BTreeMap<(String, Offset), u64>,
}

impl World {
    fn new() -> Self {
        Self {
            register: Arc::default(),
            nodes: [Node::new("event-0"), Node::new("event-1")],
            apart: false,
            confirmed: 0,
            published: 0,
            shown: BTreeMap::new(),
        }
    }

    async fn take_over(&mut self, at: usize, forced: bool) -> bool {
        let node = &mut self.nodes[at];
        let Some(log) = node.log.clone() else {
            return false;
        };
        let me = (node.name.clone(), "nowhere:1".to_owned());
        let register = self.register.clone();
        let taken = Leading::take_over(log, register, me, forced, PATIENCE).await;
        node.leading = taken.ok().map(Arc::new);
        node.leading.is_some()
    }

    /// One step of following; whether it is in sync afterwards.
    async fn follow(&self, at: usize) -> bool {
        let (node, other) = (&self.nodes[at], &self.nodes[1 - at]);
        let (Some(following), Some(log)) = (node.following(), other.log.clone()) else {
            return false;
        };
        let roster = self.register.roster().unwrap_or_default();
        if node.leading.is_some() || self.apart || roster.leader != other.name {
            return false;
        }
        let way = Way(other.leading.clone(), log);
        let asked = timeout(STEP, following.ask(&way, roster.term)).await;
        let Ok(Ok(answer)) = asked else { return false };
        let in_sync = following.apply(answer).await.expect("a step").in_sync;
        if in_sync {
            node.lost.set(false);
        }
        in_sync
    }

    /// The publisher's events reach a replica that thinks that it leads. It may be wrong.
    async fn publish(&mut self, at: usize, count: u64) {
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
            _ => self.nodes[at].leading = None,
        }
    }

    /// What readers see now is what they saw before at each place.
    fn look(&mut self) {
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
    async fn heal(&mut self) -> usize {
        self.apart = false;
        self.register.away.store(false, Ordering::Relaxed);
        for node in &mut self.nodes {
            node.leading = None;
            node.start();
        }
        let leader = match self.take_over(0, false).await {
            true => 0,
            false => 1,
        };
        assert!(
            leader == 0 || self.take_over(1, false).await,
            "somebody can lead: {:?}",
            self.register.roster()
        );
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

    fn check(&self) {
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
        assert_eq!(self.confirmed, self.published);
    }
}

#[derive(Clone, Debug)]
enum Act {
    Publish(usize, u64),
    Follow(usize),
    TakeOver(usize),
    Kill(usize),
    Start(usize),
    Apart(bool),
    Away(bool),
    /// Its volume is lost, while the other one has everything.
    Lose(usize),
}

fn act() -> impl Strategy<Value = Act> {
    let node = 0usize..2;
    prop_oneof![
        8 => (node.clone(), 1u64..5).prop_map(|(at, count)| Act::Publish(at, count)),
        6 => node.clone().prop_map(Act::Follow),
        4 => node.clone().prop_map(Act::TakeOver),
        2 => node.clone().prop_map(Act::Kill),
        4 => node.clone().prop_map(Act::Start),
        2 => any::<bool>().prop_map(Act::Apart),
        1 => any::<bool>().prop_map(Act::Away),
        1 => node.prop_map(Act::Lose),
    ]
}

async fn run(acts: &[Act]) {
    let mut world = World::new();
    for act in acts {
        match *act {
            Act::Publish(at, count) => world.publish(at, count).await,
            Act::Follow(at) => {
                world.follow(at).await;
            }
            Act::TakeOver(at) => {
                world.take_over(at, false).await;
            }
            Act::Kill(at) => world.nodes[at].kill(),
            Act::Start(at) => world.nodes[at].start(),
            Act::Apart(apart) => world.apart = apart,
            Act::Away(away) => world.register.away.store(away, Ordering::Relaxed),
            Act::Lose(at) => {
                let other = world.nodes[1 - at].name.clone();
                let roster = world.register.roster().unwrap_or_default();
                if roster.in_sync.contains(&other) && !world.nodes[1 - at].lost.get() {
                    let name = world.nodes[at].name.clone();
                    world.nodes[at].kill();
                    world.nodes[at] = Node::new(&name);
                    world.nodes[at].lost.set(true);
                }
            }
        }
        world.look();
    }
    world.heal().await;
    world.look();
    world.check();
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]
    #[test]
    fn nothing_confirmed_is_lost_whatever_is_killed_and_cut_off(acts in prop::collection::vec(act(), 5..60)) {
        runtime().block_on(run(&acts));
    }
}

#[tokio::test]
async fn a_record_counts_when_both_have_it_or_one_is_noted_to_be_alone() {
    let mut world = World::new();
    assert!(world.take_over(0, false).await);
    world.publish(0, 3).await;
    assert_eq!(world.confirmed, 3, "alone from the beginning");
    while !world.follow(1).await {}
    let both = ["event-0", "event-1"].map(str::to_owned);
    assert_eq!(
        world.register.roster().unwrap().in_sync,
        BTreeSet::from(both)
    );
    world.publish(0, 2).await;
    assert_eq!(world.confirmed, 5);
    assert_eq!(
        world.nodes[1].log.as_ref().unwrap().end(),
        6,
        "the other one has it on disk"
    );

    // Without the other one, and without a way to note that, nothing counts.
    world.apart = true;
    world.register.away.store(true, Ordering::Relaxed);
    let leading = world.nodes[0].leading.clone();
    world.publish(0, 1).await;
    assert_eq!(world.confirmed, 5);
    assert_eq!(*world.nodes[0].log.as_ref().unwrap().head().borrow(), 6);
    world.register.away.store(false, Ordering::Relaxed);
    world.nodes[0].leading = leading;
    world.publish(0, 1).await;
    assert_eq!(world.confirmed, 7, "it is noted that it is alone");
    assert!(
        !world.take_over(1, false).await,
        "the one that is behind does not take over"
    );
}

#[tokio::test]
async fn a_replica_whose_volume_was_lost_does_not_lead_before_it_has_everything_again() {
    let mut world = World::new();
    assert!(world.take_over(0, false).await);
    while !world.follow(1).await {}
    world.publish(0, 3).await;
    world.nodes[1] = Node::new("event-1");
    assert!(!world.take_over(1, false).await, "its log is another");
    assert!(!world.follow(1).await, "it begins anew");
    assert!(!world.take_over(1, false).await, "its log is empty");
    while !world.follow(1).await {}
    assert!(world.take_over(1, false).await);
}

#[tokio::test]
async fn where_nobody_has_led_yet_nothing_makes_an_empty_replica_begin_that_is_not_the_first() {
    let mut world = World::new();
    assert!(!world.take_over(1, false).await);
    assert!(!world.take_over(1, true).await, "even after a long time");
    assert_eq!(world.register.roster(), None);
    assert!(world.take_over(0, false).await);
}

#[tokio::test]
async fn a_leader_that_is_to_end_waits_for_the_one_that_copies() {
    let mut world = World::new();
    assert!(world.take_over(0, false).await);
    world.apart = true;
    world.publish(0, 3).await;
    world.apart = false;
    let leading = world.nodes[0].leading.clone().unwrap();
    let handed_over = || timeout(Duration::from_millis(50), leading.hand_over(10 * STEP));
    assert!(handed_over().await.is_ok(), "nobody follows");
    // It begins anew, and then gets what is there.
    assert!(!world.follow(1).await && !world.follow(1).await);
    assert!(
        handed_over().await.is_err(),
        "it has not said that it has everything"
    );
    while !world.follow(1).await {}
    assert!(handed_over().await.is_ok());
    assert!(world.take_over(1, false).await);
}

#[tokio::test]
async fn who_was_frozen_while_another_took_over_confirms_nothing() {
    let mut world = World::new();
    assert!(world.take_over(0, false).await);
    while !world.follow(1).await {}
    world.publish(0, 2).await;
    assert!(world.take_over(1, false).await);
    world.publish(1, 1).await;
    assert_eq!(world.confirmed, 3);
    world.publish(0, 1).await;
    assert_eq!(world.confirmed, 3, "not by the former one");
    world.heal().await;
    world.look();
    world.check();
}

#[tokio::test]
async fn going_on_without_the_one_that_had_more_begins_an_epoch_and_its_tail_is_kept_aside() {
    let mut world = World::new();
    assert!(world.take_over(0, false).await);
    while !world.follow(1).await {}
    world.publish(0, 3).await;
    world.apart = true;
    world.publish(0, 2).await;
    assert_eq!(world.confirmed, 5);
    let cursor = world.nodes[0].log.as_ref().unwrap().cursor(5);
    world.nodes[0].kill();
    assert!(!world.take_over(1, false).await);
    assert!(world.take_over(1, true).await);
    let log = world.nodes[1].log.clone().unwrap();
    assert_eq!(log.kin(&cursor), Kin::Ancestor(4), "readers are told");

    // The one that was gone comes back and takes the new log over.
    world.apart = false;
    world.nodes[0].start();
    while !world.follow(0).await {}
    let old = world.nodes[0].log.clone().unwrap();
    assert_eq!((old.end(), old.lineage()), (log.end(), log.lineage()));
    let aside = std::fs::read_dir(world.nodes[0].folder.path().join("aside")).unwrap();
    assert!(aside.count() > 0);
}

#[tokio::test]
async fn damaged_records_come_back_from_the_other_replica() {
    let mut world = World::new();
    assert!(world.take_over(0, false).await);
    while !world.follow(1).await {}
    world.publish(0, 4).await;
    world.publish(0, 4).await;
    world.follow(1).await;
    world.nodes[0].kill();
    for file in std::fs::read_dir(world.nodes[0].folder.path()).unwrap() {
        let path = file.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        let text = b"event 3";
        if let Some(at) = bytes.windows(text.len()).position(|part| part == text) {
            bytes[at] ^= 1;
            std::fs::write(&path, bytes).unwrap();
        }
    }
    world.nodes[0].start();
    let log = world.nodes[0].log.clone().unwrap();
    log.look_for_damage().unwrap();
    assert_eq!(log.damaged(), 1);
    let way = Way(None, world.nodes[1].log.clone().unwrap());
    assert_eq!(mend(&log, &way).await.unwrap(), 1);
    assert_eq!(log.damaged(), 0);
    world.heal().await;
    world.check();
}
