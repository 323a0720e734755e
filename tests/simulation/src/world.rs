//! Everything together, and what happens next.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use crate::{
    broker::Broker,
    chance::Chance,
    climate::Climate,
    event_service::EventService,
    ground,
    ledger::Ledger,
    reader::Reader,
    reconciler::{Reconciler, Seen},
    store::Store,
    wrong::Wrong,
};

/// Rounds without faults until everything must be at rest; time passes by two seconds in each. Deadlines of five minutes
/// are among what is waited for.
const ROUNDS: usize = 600;

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
    away: Vec<(Process, Timestamp)>,
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
        for _ in 0..self.climate.steps {
            self.step()?;
            if self.has_enough() {
                break;
            }
        }
        self.settle()?;
        (self.count.events, self.count.operations) = self.ledger.counts();
        Ok(self.count)
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
        let process = self.chance.place(2);
        match self.chance.below(100) {
            0..5 => self.act()?,
            5..14 => self.grounds_go_on(),
            14..50 => self.reconciles(process, 5)?,
            50..62 => self.relay(process)?,
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

    fn grounds_go_on(&mut self) {
        let now = self.now;
        for slot in self.store.present() {
            let rests = ground::is_at_rest(&self.store.clusters[slot].ground().observed);
            if !rests && self.chance.happens(600) {
                self.store
                    .shape(slot, |around| ground::progress(&mut around.observed, now));
            }
        }
    }

    fn relay(&mut self, process: usize) -> Result<(), String> {
        let reconciler = &mut self.reconcilers[process];
        if !(reconciler.up && reconciler.leads) {
            return Ok(());
        }
        let publishing = &mut reconciler.publishing;
        publishing.connect(&self.broker);
        let (climate, chance) = (&self.climate, &mut self.chance);
        publishing.step(&mut self.broker, climate, chance, self.wrong, self.instant)
    }

    fn deliver(&mut self) {
        if self.event.up && self.event.connection.is_none() && self.broker.up {
            self.event.connect();
        }
        let Some(connection) = self.event.connection else {
            return;
        };
        for _ in 0..self.chance.between(1, 8) {
            let (climate, chance) = (&self.climate, &mut self.chance);
            let handed = self.broker.hand_out(connection, self.now, climate, chance);
            let Some((id, message)) = handed else { return };
            self.event.arrive(id, message);
        }
    }

    fn store_events(&mut self) -> Result<(), String> {
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

    fn hear(&mut self, process: usize) {
        if self.reconcilers[process].up && self.reconcilers[process].leads {
            self.listen(process);
        }
    }

    fn read(&mut self) -> Result<(), String> {
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
    fn pass(&mut self, time: Duration) -> Result<(), String> {
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

    fn start(&mut self, process: Process) {
        self.say(|| format!("{process:?} begins"));
        match process {
            Process::Reconciler(which) => {
                let reconciler = &mut self.reconcilers[which];
                *reconciler = Reconciler {
                    up: true,
                    began: self.now,
                    ..Reconciler::default()
                };
                self.elect();
            }
            Process::Event => self.event.start(),
            Process::Nsqd => self.broker.up = true,
            Process::Apiserver => {}
        }
    }

    /// Somebody leads if anybody can.
    fn elect(&mut self) {
        for which in 0..self.reconcilers.len() {
            let is_led = self.reconcilers.iter().any(|r| r.up && r.leads);
            let reconciler = &mut self.reconcilers[which];
            if !reconciler.up || reconciler.leads || (is_led && !self.climate.two_leaders) {
                continue;
            }
            reconciler.leads = true;
            reconciler.paged.clear();
            reconciler.seen.clear();
            for kept in &self.store.clusters {
                let mut seen = Seen::default();
                // A list may come from an API server that is behind.
                if !self.chance.happens(self.climate.stale_caches) {
                    seen.object = kept.objects.len() - 1;
                    seen.ground = kept.grounds.len() - 1;
                }
                reconciler.seen.push(seen);
            }
        }
    }

    fn fault(&mut self) -> Result<(), String> {
        let kills = &self.climate.kills;
        let (reconciler, event) = (kills.reconciler, kills.reconciler + kills.event);
        let nsqd = event + kills.nsqd;
        let apiserver = nsqd + kills.apiserver;
        let drawn = self.chance.below(apiserver + kills.connection);
        if drawn < reconciler {
            let which = self.chance.place(2);
            self.kill(Process::Reconciler(which))
        } else if drawn < event {
            self.kill(Process::Event)
        } else if drawn < nsqd {
            self.kill(Process::Nsqd)
        } else if drawn < apiserver {
            self.kill(Process::Apiserver)
        } else {
            self.break_connection();
            Ok(())
        }
    }

    fn kill(&mut self, process: Process) -> Result<(), String> {
        let seconds = if self.chance.happens(self.climate.long_outages) {
            self.chance.between(60, 1200)
        } else {
            self.chance.between(0, 5)
        };
        let until = self.now + SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(0));
        self.kill_until(process, until)
    }

    fn kill_until(&mut self, process: Process, until: Timestamp) -> Result<(), String> {
        if self.away.iter().any(|(away, _)| *away == process) {
            return Ok(());
        }
        self.say(|| format!("{process:?} is killed"));
        self.count.kills += 1;
        self.away.push((process, until));
        match process {
            Process::Apiserver => self.readers.iter_mut().for_each(Reader::interrupt),
            Process::Reconciler(which) => {
                self.reconcilers[which] = Reconciler::default();
                self.event.listeners[which] = None;
                self.elect();
            }
            Process::Event => {
                let written = self.event.kill(&mut self.chance);
                for record in &written {
                    self.ledger.appended(record, &self.store)?;
                }
            }
            Process::Nsqd => {
                self.broker.kill(&mut self.chance);
                self.event.disconnect();
                for reconciler in &mut self.reconcilers {
                    reconciler.publishing.disconnect();
                }
            }
        }
        Ok(())
    }

    fn break_connection(&mut self) {
        match self.chance.below(4) {
            0 => self.event.disconnect(),
            1 => {
                let which = self.chance.place(2);
                self.reconcilers[which].publishing.disconnect();
            }
            2 => {
                let which = self.chance.place(2);
                self.event.listeners[which] = None;
            }
            _ => {
                let which = self.chance.place(self.readers.len());
                self.readers[which].interrupt();
            }
        }
    }

    /// Nothing fails any more: in the end everything is done, told and stored.
    fn settle(&mut self) -> Result<(), String> {
        self.say(|| "the faults stop".to_owned());
        self.climate.calm();
        let away = std::mem::take(&mut self.away);
        for (process, _) in away {
            self.start(process);
        }
        // One lets go of the Lease.
        let leader = usize::from(!self.reconcilers[0].leads);
        self.reconcilers[1 - leader] = Reconciler::default();
        self.event.listeners[1 - leader] = None;
        let mut seen = String::new();
        for _ in 0..ROUNDS {
            self.pass(Duration::from_secs(2))?;
            self.round(leader)?;
            match self.unsettled(leader) {
                None => {
                    self.ledger.settled()?;
                    return self.readers_have_all();
                }
                Some(what) => seen = what,
            }
        }
        Err(format!("it does not come to rest: {seen}"))
    }

    /// Everybody does what there is to do.
    fn round(&mut self, leader: usize) -> Result<(), String> {
        for _ in 0..2 {
            self.grounds_go_on();
        }
        self.look_around(leader);
        for _ in 0..40 {
            let reconciler = &self.reconcilers[leader];
            let is_due = reconciler.seen.iter().any(|seen| seen.due <= self.now);
            if reconciler.working.is_none() && !is_due {
                break;
            }
            self.reconcile(leader)?;
        }
        for _ in 0..self.store.pages.len().min(8) {
            self.relay_page(leader)?;
        }
        for _ in 0..4 {
            self.relay(leader)?;
            self.deliver();
            self.store_events()?;
            self.hear(leader);
        }
        self.read()
    }

    /// What is not at rest.
    fn unsettled(&self, leader: usize) -> Option<String> {
        let reconciler = &self.reconcilers[leader];
        let unconfirmed = reconciler.publishing.backlog.unconfirmed();
        if unconfirmed > 0 || reconciler.publishing.is_busy() {
            return Some(format!("{unconfirmed} events are unconfirmed"));
        }
        if !self.store.pages.is_empty() {
            return Some(format!("{} pages are there", self.store.pages.len()));
        }
        if !(self.event.is_idle() && self.broker.is_empty()) {
            return Some("messages are on their way".to_owned());
        }
        if self.readers.iter().any(|r| r.cursor < self.event.head) {
            return Some("a reader has not come to the end".to_owned());
        }
        self.store.present().into_iter().find_map(|slot| {
            let object = self.store.clusters[slot].object()?;
            let (cluster, status) = (&object.cluster, &object.status);
            let wants = !self.store.clusters[slot].ground().requests.is_empty() || cluster.deleting;
            let at_rest = !wants
                && status.observed_generation == cluster.generation
                && (status.is_ready() || cluster.desired.is_err())
                && !status.journal.outbox.waits()
                && status.journal.outbox.backlog.is_none()
                && status.journal.operations.iter().all(|o| !o.is_running())
                && !status.journal.operations.is_empty();
            (!at_rest).then(|| {
                format!(
                    "cluster {slot}: {:?}, {}, {} events, finalizer {}, asked to go {wants}",
                    status.phase,
                    status.reason,
                    status.journal.outbox.entries.len(),
                    object.finalizer
                )
            })
        })
    }

    fn readers_have_all(&self) -> Result<(), String> {
        for (slot, kept) in self.store.clusters.iter().enumerate() {
            let (last, logged) = (self.readers[0].last(&kept.stream), self.ledger.logged(slot));
            if last != logged {
                return Err(format!(
                    "cluster {slot}: the first reader was shown {last} of {logged} events"
                ));
            }
        }
        Ok(())
    }
}
