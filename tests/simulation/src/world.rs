//! Everything together, and what happens next.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use crate::{
    agents, broker::Broker, chance::Chance, climate::Climate, event_service::EventService,
    ledger::Ledger, reader::Reader, reconciler::Reconciler, store::Store, wrong::Wrong,
};

/// Rounds in which the cluster that a wide schedule begins with becomes ready.
const READY_WITHIN: usize = 30;

/// So many messages the event service has at a time, as `shared/bus/src/history.rs` asks for: fewer, since it is slower here,
/// and one that it cannot store in time is handed out again.
const IN_FLIGHT: usize = 64;

/// What a schedule has done, to see that the schedules do what they are for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Writes of a status.
    pub writes: usize,
    /// Writes that were refused.
    pub conflicts: usize,
    /// Processes killed.
    pub kills: usize,
    /// Pages made.
    pub pages: usize,
    /// Outboxes that had no room.
    pub overflows: usize,
    /// Writes of a status that says that too much is unconfirmed.
    pub backlogs: usize,
    /// Events told.
    pub events: usize,
    /// Operations accepted.
    pub operations: usize,
    /// Operations that failed, those among them that were refused.
    pub failed: usize,
    /// Replicas that follow.
    pub added: usize,
    /// Replicas that have gone.
    pub removed: usize,
    /// Changes of the primary, whoever wanted them.
    pub changes: usize,
    /// Configurations that were read.
    pub reloads: usize,
    /// Restarts of PostgreSQL.
    pub restarts: usize,
    /// Upgrades.
    pub upgrades: usize,
    /// Changed settings, and tests.
    pub noted: usize,
}

impl std::ops::AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.writes += other.writes;
        self.conflicts += other.conflicts;
        self.kills += other.kills;
        self.pages += other.pages;
        self.overflows += other.overflows;
        self.backlogs += other.backlogs;
        self.events += other.events;
        self.operations += other.operations;
        self.failed += other.failed;
        self.added += other.added;
        self.removed += other.removed;
        self.changes += other.changes;
        self.reloads += other.reloads;
        self.restarts += other.restarts;
        self.upgrades += other.upgrades;
        self.noted += other.noted;
    }
}

/// A process that is away, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Process {
    /// A reconciler.
    Reconciler(usize),
    /// The event service.
    Event,
    /// nsqd.
    Nsqd,
    /// The apiserver.
    Apiserver,
}

/// The world.
pub struct World {
    pub(crate) chance: Chance,
    pub(crate) climate: Climate,
    pub(crate) wrong: Option<Wrong>,
    pub(crate) now: Timestamp,
    pub(crate) instant: Instant,
    pub(crate) store: Store,
    pub(crate) reconcilers: [Reconciler; 2],
    pub(crate) broker: Broker,
    pub(crate) event: EventService,
    pub(crate) readers: Vec<Reader>,
    pub(crate) ledger: Ledger,
    pub(crate) made: u64,
    pub(crate) count: Count,
    pub(crate) away: Vec<(Process, Timestamp)>,
    trace: Option<Vec<String>>,
}

impl World {
    /// A world whose chance is the seed.
    #[must_use]
    pub fn new(seed: u64, wrong: Option<Wrong>, traced: bool) -> Self {
        let mut chance = Chance::new(seed);
        let climate = Climate::draw(&mut chance);
        Self::with(chance, climate, wrong, traced)
    }

    /// A world of this climate.
    #[must_use]
    pub fn with(chance: Chance, climate: Climate, wrong: Option<Wrong>, traced: bool) -> Self {
        let mut world = Self {
            chance,
            climate,
            wrong,
            // Some day: nothing depends on which.
            now: Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * 365 * 56),
            instant: Instant::now(),
            store: Store::default(),
            reconcilers: Default::default(),
            broker: Broker::default(),
            event: EventService::new(wrong),
            readers: vec![Reader::new(0)],
            ledger: Ledger::default(),
            made: 0,
            count: Count::default(),
            away: Vec::new(),
            trace: traced.then(Vec::new),
        };
        for process in [
            Process::Reconciler(0),
            Process::Reconciler(1),
            Process::Event,
            Process::Nsqd,
        ] {
            world.start(process);
        }
        world
    }

    /// Notes what happens, where somebody wants to know.
    pub(crate) fn say(&mut self, what: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{} {}", self.now, what()));
        }
    }

    /// What was noted.
    #[must_use]
    pub fn trace(&self) -> &[String] {
        self.trace.as_deref().unwrap_or_default()
    }

    /// Lets things happen, first with faults, then without.
    ///
    /// # Errors
    /// What was broken.
    pub fn run(&mut self) -> Result<Count, String> {
        if self.climate.flood {
            self.kill_until(Process::Event, Timestamp::MAX)?;
        }
        if self.climate.wide {
            self.begin_with_a_cluster()?;
        }
        if self.climate.late_requests > 0 {
            self.ask_for_deletion(0);
        }
        for _ in 0..self.climate.steps {
            self.step()?;
            if self.has_enough() {
                break;
            }
        }
        self.settle()?;
        (self.count.events, self.count.operations) = self.ledger.counts();
        self.ledger.add_up(&mut self.count);
        Ok(self.count)
    }

    /// Most of what a cluster can be asked for is refused before it was ready.
    fn begin_with_a_cluster(&mut self) -> Result<(), String> {
        let climate = self.climate.clone();
        self.climate.calm();
        let replicas = self.chance.between(0, 2);
        self.create(true, (true, u32::try_from(replicas).unwrap_or(0)))?;
        for _ in 0..READY_WITHIN {
            self.pass(Duration::from_secs(2))?;
            self.round(0)?;
            let object = self.store.clusters[0].object();
            let is_whole = object.is_some_and(|object| {
                let status = &object.status;
                let mut operations = status.journal.operations.iter();
                status.is_ready() && operations.all(|one| !one.is_running())
            });
            if is_whole {
                break;
            }
        }
        self.climate = climate;
        Ok(())
    }

    fn has_enough(&self) -> bool {
        let wanted = self.climate.operations;
        wanted > 0 && self.ledger.counts().1 >= wanted
    }

    /// Whether a process runs.
    pub(crate) fn is_there(&self, process: Process) -> bool {
        self.away.iter().all(|(away, _)| *away != process)
    }

    fn step(&mut self) -> Result<(), String> {
        if self.chance.happens(self.climate.faults) {
            self.fault()?;
        }
        if self.chance.happens(self.climate.time_jumps) {
            let seconds = self.chance.between(10, 400);
            self.pass(Duration::from_secs(seconds as u64))?;
        }
        if self.climate.flood && self.chance.happens(300) {
            self.act()?;
            // Long enough that what was asked for is taken up.
            for process in 0..self.reconcilers.len() {
                self.reconciles(process, 16)?;
            }
        }
        if self.chance.happens(self.climate.late_requests) {
            self.ask_at_the_end();
        }
        let process = self.chance.place(2);
        // What a wide schedule is about takes many reconciles, and is told in many events.
        let (most, relays) = if self.climate.wide { (15, 8) } else { (5, 1) };
        match self.chance.below(100) {
            0..5 if self.chance.happens(self.climate.haste) => self.act()?,
            0..5 => {}
            5..14 => self.grounds_go_on(),
            14..50 => self.reconciles(process, most)?,
            50..62 => {
                for _ in 0..relays {
                    self.relay(process)?;
                }
            }
            62..72 => self.deliver(),
            72..86 => self.store_events()?,
            86..92 => self.hear(process),
            92..96 => self.read()?,
            _ => {
                let millis = self.chance.between(50, 2500);
                self.pass(Duration::from_millis(millis as u64))?;
            }
        }
        Ok(())
    }

    /// Steps of a reconciler that leads.
    fn reconciles(&mut self, process: usize, most: usize) -> Result<(), String> {
        let leader = &self.reconcilers[process];
        if leader.up && leader.leads {
            for _ in 0..self.chance.between(1, most) {
                self.reconcile(process)?;
            }
            if self.chance.happens(300) {
                self.relay_page(process)?;
            }
        }
        Ok(())
    }

    pub(crate) fn grounds_go_on(&mut self) {
        let now = self.now;
        for slot in self.store.present() {
            let kept = &self.store.clusters[slot];
            let rests = agents::is_at_rest(&kept.ground().observed, &kept.name);
            if !rests && self.chance.happens(600) {
                let name = kept.name.clone();
                self.store
                    .shape(slot, |around| agents::progress(around.shaped(), &name, now));
            }
        }
    }

    pub(crate) fn relay(&mut self, process: usize) -> Result<(), String> {
        let reconciler = &mut self.reconcilers[process];
        if !(reconciler.up && reconciler.leads) {
            return Ok(());
        }
        let publishing = &mut reconciler.publishing;
        publishing.connect(&self.broker);
        let (climate, chance) = (&self.climate, &mut self.chance);
        publishing.step(&mut self.broker, climate, chance, self.wrong, self.instant)
    }

    pub(crate) fn deliver(&mut self) {
        if self.event.up && self.event.connection.is_none() && self.broker.up {
            self.event.connect();
        }
        let Some(connection) = self.event.connection else {
            return;
        };
        for _ in 0..self.chance.between(1, 8) {
            if self.event.held() >= IN_FLIGHT {
                break;
            }
            let (climate, chance) = (&self.climate, &mut self.chance);
            let handed = self.broker.hand_out(connection, self.now, climate, chance);
            let Some((id, message)) = handed else { return };
            self.event.arrive(id, message);
        }
    }

    pub(crate) fn store_events(&mut self) -> Result<(), String> {
        if !self.event.up {
            return Ok(());
        }
        for _ in 0..self.chance.between(1, 4) {
            let most = self.chance.between(1, 12);
            let outcome = self.event.step(most)?;
            for record in &outcome.appended {
                self.ledger.appended(record, &self.store)?;
            }
            if let Some(connection) = self.event.connection {
                for id in outcome.finished {
                    self.broker.finish(id, connection);
                }
            }
        }
        Ok(())
    }

    pub(crate) fn hear(&mut self, process: usize) {
        if self.reconcilers[process].up && self.reconcilers[process].leads {
            self.listen(process);
        }
    }

    pub(crate) fn read(&mut self) -> Result<(), String> {
        if self.readers.len() < 3 && self.chance.happens(100) {
            self.readers.push(Reader::new(self.event.head));
        }
        let most = self.chance.between(1, 20);
        let readable = self.is_there(Process::Apiserver);
        for reader in &mut self.readers {
            if !self.event.up {
                reader.interrupt();
                continue;
            }
            if !readable {
                continue;
            }
            if !reader.connected {
                reader.connected = true;
                if self.wrong == Some(Wrong::ReaderRepeats) {
                    reader.step_back();
                }
            }
            for _ in 0..most {
                if reader.cursor >= self.event.head {
                    break;
                }
                match self.event.disk.get(reader.cursor) {
                    Some(record) => reader.take(record)?,
                    None => return Err("a reader is shown what is not on disk".to_owned()),
                }
            }
        }
        Ok(())
    }

    /// Time passes; who was away long enough comes back.
    pub(crate) fn pass(&mut self, time: Duration) -> Result<(), String> {
        self.instant += time;
        self.now += time;
        self.broker.time_out(self.now);
        let now = self.now;
        let (back, away) = std::mem::take(&mut self.away)
            .into_iter()
            .partition(|(_, until): &(Process, Timestamp)| *until <= now);
        self.away = away;
        let back: Vec<(Process, Timestamp)> = back;
        for (process, _) in back {
            self.start(process);
        }
        Ok(())
    }
}
