//! What must hold at every moment, and what was counted.

use std::collections::{BTreeMap, BTreeSet};

use pgo_ha::Record;

use crate::failover::{
    clock::{MS, Time},
    event::{Event, Wishes},
    instance::id,
    world::World,
};

/// How long a server has to end that lives, or is begun, when its node or agent goes on after its authority has ended: D.
pub const ENDS: Time = 300 * MS;

/// Within how long after it woke an agent has done what it was about to do.
const WAKES: Time = 100 * MS;

/// What a schedule has done, to see that the schedules do what they are for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Changes of the primary.
    pub takeovers: usize,
    /// Of these, those by a release.
    pub releases: usize,
    /// Faults.
    pub faults: usize,
    /// Things that users wanted.
    pub wishes: usize,
    /// Commits tried.
    pub commits: usize,
    /// Commits acknowledged.
    pub acknowledged: usize,
    /// Of these, those in a synchronous mode, which must not be lost.
    pub promised: usize,
    /// Of these, those that are lost: in the asynchronous mode only, and each counted.
    pub lost: usize,
    /// Acknowledged by a server that went on after a freeze when another one served.
    pub late: usize,
    /// Data rewound or copied.
    pub copies: usize,
    /// Members that came or went.
    pub members: usize,
    /// Restarts.
    pub restarts: usize,
    /// Commits acknowledged by less than the rule that is recorded, since users chose that.
    pub fallen_back: usize,
    /// The longest time, in milliseconds, until a commit was acknowledged after the faults had stopped.
    pub until_writable: usize,
    /// The same until all was as it should be.
    pub until_whole: usize,
}

impl std::ops::AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.takeovers += other.takeovers;
        self.releases += other.releases;
        self.faults += other.faults;
        self.wishes += other.wishes;
        self.commits += other.commits;
        self.acknowledged += other.acknowledged;
        self.promised += other.promised;
        self.lost += other.lost;
        self.late += other.late;
        self.copies += other.copies;
        self.members += other.members;
        self.restarts += other.restarts;
        self.fallen_back += other.fallen_back;
        self.until_writable = self.until_writable.max(other.until_writable);
        self.until_whole = self.until_whole.max(other.until_whole);
    }
}

/// The truth.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Commits that clients were told of.
    acknowledged: BTreeSet<u32>,
    /// Of these, those that must not be lost.
    promised: BTreeSet<u32>,
    /// Who writes on each timeline.
    timelines: BTreeMap<u32, usize>,
    /// For how few answers anybody ever wanted commits to wait.
    fewest: usize,
    /// Whether anybody ever wanted them to go on with fewer where so many are not there.
    fallback: bool,
}

impl Ledger {
    /// What is wanted of a new cluster.
    pub fn new(wishes: Wishes) -> Self {
        Self {
            fewest: wishes.k,
            fallback: wishes.fallback,
            ..Self::default()
        }
    }

    /// Users want this.
    pub fn is_wanted(&mut self, wishes: Wishes) {
        self.fewest = self.fewest.min(wishes.k);
        self.fallback |= wishes.fallback;
    }
}

impl World {
    /// A client is told that its commit is durable.
    ///
    /// # Errors
    /// Fewer have it than the rule that is recorded asks for, and nobody chose that.
    pub fn acknowledge(&mut self, node: usize, commit: u32) -> Result<(), String> {
        let Some(server) = &self.instances[node].server else {
            return Ok(());
        };
        self.count.acknowledged += 1;
        self.ledger.acknowledged.insert(commit);
        self.newest_acknowledged = commit;
        self.count.late += usize::from(server.late);
        let (rule, waits_for) = (self.api.record.synchronous.k, server.rule.k);
        if waits_for >= rule {
            self.count.promised += usize::from(rule > 0);
            self.ledger.promised.extend((rule > 0).then_some(commit));
            return Ok(());
        }
        if server.late {
            // The one exception: of the asynchronous mode, after a freeze.
            return Ok(());
        }
        // Promised to nobody.
        self.count.fallen_back += 1;
        if self.ledger.fallback {
            return Ok(());
        }
        Err(format!(
            "commit {commit} waited at {node} for {waits_for} and not for {rule}, and nobody chose that"
        ))
    }

    /// A rule is about to come into force: one that lets a commit go by less than is recorded has to be told by then.
    ///
    /// # Errors
    /// It is not.
    pub fn judge_in_force(&self, node: usize, k: usize) -> Result<(), String> {
        let record = &self.api.record;
        let driver = self.instances[node].driver.as_ref();
        let told = driver.and_then(|driver| driver.agent.waits_for());
        let holds = record.holder == id(node) && !self.is_late(node);
        if holds && k < record.synchronous.k && told.is_some_and(|told| told > k) {
            return Err(format!(
                "commits at {node} are to wait for {k} and not for {}, and it tells that they wait for {told:?}",
                record.synchronous.k
            ));
        }
        Ok(())
    }

    /// Another instance takes the Lease: nobody else may be able to write any more. It may have been removed since it asked
    /// for that; then it is its successor that has to have everything.
    ///
    /// # Errors
    /// Somebody is.
    pub fn judge_takeover(&mut self, by: usize, former: usize) -> Result<(), String> {
        self.count.takeovers += 1;
        let candidate = self.instances[by].driver.as_ref();
        let is_released = candidate.is_some_and(|driver| driver.agent.release.is_some());
        self.count.releases += usize::from(is_released);
        self.alone(by, "takes the Lease")?;
        if self.instances[by].exists {
            self.has_all(by)?;
        }
        if self.climate.gentle {
            return Err(format!(
                "{by} takes over from {former}, and nothing had happened that {former} could not serve by"
            ));
        }
        Ok(())
    }

    /// A server begins to write.
    ///
    /// # Errors
    /// It may not.
    pub fn judge_primary(&mut self, node: usize, timeline: u32) -> Result<(), String> {
        self.say(|| format!("{node} writes on timeline {timeline}"));
        if !self.is_late(node) {
            self.alone(node, "begins to write")?;
        }
        let writer = *self.ledger.timelines.entry(timeline).or_insert(node);
        if writer != node {
            return Err(format!("{writer} and {node} write on timeline {timeline}"));
        }
        // One that was replaced meanwhile is about to hear of it, and nobody streams from it.
        if self.api.record.holder == id(node) {
            return self.has_all(node);
        }
        Ok(())
    }

    /// An agent that has just woken may begin a server by an authority that ended while it slept, since it was to begin
    /// one: that is late as well, and the guard has as long to end it.
    pub fn judge_woken(&mut self, node: usize) {
        let now = self.moment(node);
        let woken = self.now.saturating_sub(self.instances[node].woke) < WAKES;
        let instance = &mut self.instances[node];
        let over = instance.guard.until.is_some_and(|until| until <= now);
        let Some(server) = instance.server.as_mut().filter(|_| over && woken) else {
            return;
        };
        server.late = true;
        let number = server.number;
        self.queue
            .at(self.now + ENDS, Event::MustHaveEnded(node, number));
    }

    fn is_late(&self, node: usize) -> bool {
        let server = self.instances[node].server.as_ref();
        server.is_some_and(|server| server.late)
    }

    /// Nobody else can write; a server that goes on after a freeze is the exception.
    fn alone(&self, node: usize, does: &str) -> Result<(), String> {
        let others = self
            .instances
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != node);
        for (other, instance) in others {
            let alive = instance.server.as_ref().is_some_and(|server| !server.late);
            if alive && !instance.frozen {
                return Err(format!("{node} {does} while the server of {other} lives"));
            }
        }
        Ok(())
    }

    /// A node goes on after a freeze: its server may be one of an authority that has ended.
    ///
    /// # Errors
    /// Two can write.
    pub fn judge_thawed(&mut self, node: usize) -> Result<Option<u64>, String> {
        let now = self.moment(node);
        let instance = &mut self.instances[node];
        let until = instance.guard.until;
        let over = instance.driver.is_none() || until.is_some_and(|until| until <= now);
        let Some(server) = &mut instance.server else {
            return Ok(None);
        };
        server.late |= over;
        let (late, number) = (server.late, server.number);
        if late {
            return Ok(Some(number));
        }
        self.alone(node, "goes on")?;
        Ok(None)
    }

    /// What was promised is here.
    ///
    /// # Errors
    /// It is not.
    pub fn has_all(&self, node: usize) -> Result<(), String> {
        let here: BTreeSet<u32> = self.instances[node]
            .wal
            .iter()
            .map(|rec| rec.commit)
            .collect();
        match self.ledger.promised.difference(&here).next() {
            Some(commit) => Err(format!(
                "commit {commit} was acknowledged in a synchronous mode, and {node} does not have it"
            )),
            None => Ok(()),
        }
    }

    /// The Lease is about to record another rule: what is promised may change with it.
    ///
    /// # Errors
    /// It promises less than anybody wanted.
    pub fn judge_rule(&mut self, record: &Record) -> Result<(), String> {
        let (before, after) = (self.api.record.synchronous.k, record.synchronous.k);
        let members = self.api.record.voters != record.voters;
        self.count.members += usize::from(members && self.api.record.holder == record.holder);
        if after < before.min(self.ledger.fewest) {
            return Err(format!(
                "the rule falls from {before} to {after}, and nobody wanted less than {}",
                self.ledger.fewest
            ));
        }
        if after == 0 {
            self.ledger.promised.clear();
        } else if before == 0 {
            // It is recorded once it holds for all that was before.
            let holder = self.node(record.holder);
            let here = self.instances[holder].wal.iter().map(|rec| rec.commit);
            let here = here.filter(|commit| self.ledger.acknowledged.contains(commit));
            self.ledger.promised = here.collect();
        }
        Ok(())
    }

    /// What is here is about to be replaced: what a former primary had acknowledged and its successor does not have is
    /// counted from where the path leaves it, which the product tells as lost.
    ///
    /// # Errors
    /// Something is lost that is not counted.
    pub fn judge_lost(&mut self, node: usize, source: usize, left_at: usize) -> Result<(), String> {
        if !self.instances[node].of_primary {
            return Ok(());
        }
        let there: BTreeSet<u32> = self.instances[source]
            .wal
            .iter()
            .map(|rec| rec.commit)
            .collect();
        let mut lost = 0;
        for (place, rec) in self.instances[node].wal.iter().enumerate() {
            let told = self.ledger.acknowledged.contains(&rec.commit);
            if told && !there.contains(&rec.commit) {
                lost += 1;
                if place < left_at {
                    return Err(format!(
                        "commit {} of {node} is lost and not counted: it is at {place}, and the path of {source} leaves at {left_at}",
                        rec.commit
                    ));
                }
            }
        }
        self.count.lost += lost;
        Ok(())
    }
}
