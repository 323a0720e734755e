//! Everything together, and what happens next.

use std::collections::BTreeSet;

use pgo_ha::{Protocol, Record};

use crate::{
    chance::Chance,
    failover::{
        api::Api,
        climate::Climate,
        clock::{Clock, MS, SECOND, Time},
        event::{Event, Part, Queue, Wishes},
        instance::{Data, Instance, id},
        judge::{Count, ENDS, Ledger},
        network::Network,
        wrong::{self, Wrong},
    },
};

/// The most instances that a cluster ever had.
pub const MOST: usize = 6;

/// Until when the cluster comes up before anything fails.
const CALM: Time = 4 * SECOND;

/// How long it may take after the last fault until a commit is acknowledged. Ten seconds of it are the pause after which a
/// primary whose PostgreSQL did not come up tries again.
const WRITABLE: Time = 30 * SECOND;

/// How long it may take until all is as it should be. Half of it is the time after which who is gone does not vote any more.
const WHOLE: Time = 75 * SECOND;

/// The world.
pub struct World {
    pub(super) chance: Chance,
    pub(super) climate: Climate,
    pub(super) wrong: Option<Wrong>,
    pub(super) protocol: Protocol,
    pub(super) now: Time,
    pub(super) queue: Queue,
    pub(super) instances: Vec<Instance>,
    pub(super) network: Network,
    pub(super) api: Api,
    pub(super) ledger: Ledger,
    pub(super) count: Count,
    /// Numbers of processes, connections, requests.
    pub(super) numbers: u64,
    /// Commits so far.
    pub(super) commits: u32,
    pub(super) newest_acknowledged: u32,
    /// Whoever was taken away and may be a voter still.
    pub(super) leaving: Option<usize>,
    /// Whose PostgreSQL stays unable to serve after the faults, until another one can write.
    pub(super) unable: Option<usize>,
    /// The faults are over.
    pub(super) calm: bool,
    trace: Option<Vec<String>>,
}

impl World {
    /// A world whose chance is the seed: a cluster that streams, whose processes begin.
    pub fn new(seed: u64, wrong: Option<Wrong>, traced: bool) -> Self {
        let mut chance = Chance::new(seed);
        let climate = Climate::draw(&mut chance);
        let mut record = Record::first(id(0));
        record.voters = (1..climate.instances).map(id).collect();
        let wishes = Wishes {
            autofail: climate.autofail,
            k: climate.k,
            fallback: climate.fallback,
            preferred: climate.preferred,
        };
        let by_wall = wrong == Some(Wrong::TimeOfDay);
        let instances = (0..climate.instances)
            .map(|node| Instance::new(node, Clock::draw(&mut chance, by_wall), Data::There));
        let instances = instances.collect();
        let mut world = Self {
            network: Network::new(climate.delay, climate.lost),
            api: Api::new(record, wishes, climate.api_fails),
            protocol: wrong::protocol(wrong),
            chance,
            climate,
            wrong,
            now: 0,
            queue: Queue::default(),
            instances,
            ledger: Ledger::new(wishes),
            count: Count::default(),
            numbers: 0,
            commits: 0,
            newest_acknowledged: 0,
            leaving: None,
            unable: None,
            calm: false,
            trace: traced.then(Vec::new),
        };
        for node in 0..world.instances.len() {
            let at = world.chance.below(200 * MS);
            world.queue.at(at, Event::Begins(node, 0));
        }
        world.queue.at(CALM, Event::Fault);
        world.queue.at(SECOND, Event::Writes);
        world.queue.at(SECOND, Event::Scales);
        let climate = world.climate.clone();
        world.say(|| format!("{climate:?}"));
        world
    }

    /// Notes what happens, where somebody wants to know.
    pub(super) fn say(&mut self, what: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            let milliseconds = self.now / MS;
            trace.push(format!("{milliseconds:6} ms {}", what()));
        }
    }

    /// What was noted.
    pub fn trace(&self) -> &[String] {
        self.trace.as_deref().unwrap_or_default()
    }

    /// Lets things happen, first with faults, then without.
    ///
    /// # Errors
    /// What was broken.
    pub fn run(&mut self) -> Result<Count, String> {
        self.run_until(CALM + self.climate.lasts, |_| false)?;
        self.faults_stop();
        let (stopped, newest) = (self.now, self.commits);
        let milliseconds = |time: Time| usize::try_from((time - stopped) / MS).unwrap_or(0);
        // One that was begun since.
        let wrote = |world: &Self| world.newest_acknowledged > newest;
        if !self.run_until(stopped + WRITABLE, wrote)? {
            return Err(format!("nobody can write: {}", self.state()));
        }
        self.count.until_writable = milliseconds(self.now);
        self.all_are_able();
        if !self.run_until(stopped + WHOLE, Self::is_whole)? {
            return Err(format!("it does not come to rest: {}", self.state()));
        }
        self.count.until_whole = milliseconds(self.now);
        self.has_all(self.node(self.api.record.holder))?;
        self.count.commits = self.commits as usize;
        Ok(self.count)
    }

    /// Whether what is waited for came before the time was over.
    fn run_until(&mut self, end: Time, come: impl Fn(&Self) -> bool) -> Result<bool, String> {
        while let Some((at, event)) = self.queue.next() {
            if at > end {
                // It is not lost: it happens next.
                self.queue.at(at, event);
                self.now = end;
                return Ok(false);
            }
            self.now = at;
            let looks = matches!(event, Event::Writes | Event::Flushed { .. });
            self.happens(event)?;
            if looks && come(self) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn happens(&mut self, event: Event) -> Result<(), String> {
        if let Some((node, part)) = event.node()
            && self.instances[node].rests(part)
        {
            self.instances[node].deferred.push(event);
            return Ok(());
        }
        match event {
            // Later.
            Event::Mends(node) | Event::VolumeAnswers(node) if self.unable == Some(node) => Ok(()),
            Event::Tick(node, process) => self.tick(node, process),
            Event::Due(node, process) => self.due(node, process),
            Event::Peer {
                to,
                of,
                from,
                input,
            } => self.peer((to, of), from, input),
            Event::Asked { by, call, asks } => self.asked_api(by, call, asks),
            Event::Answered {
                to,
                call,
                input,
                wishes,
            } => self.answered_by_api(to, call, input, wishes),
            Event::Late { to, call } if self.wrong != Some(Wrong::RequestsNeverEnd) => {
                self.answered_by_api(to, call, pgo_ha::Input::LeaseUnknown, None)
            }
            Event::Wished(node, process, wishes) if self.instances[node].process == process => {
                self.wished(node, wishes)
            }
            Event::Wal {
                to,
                connection,
                from,
                records,
            } => self.wal(to, connection, from, records),
            Event::Flushed {
                to,
                connection,
                by,
                end,
            } => self.heard_flushed(to, connection, by, end),
            Event::Work(node, number, job) => self.works(node, number, job),
            Event::Told(node, process, order, position) => {
                self.told_receiver(node, process, order, position)
            }
            Event::Writes => self.clients_write(),
            Event::Fault => self.fault(),
            of_nodes => self.happens_to_node(of_nodes),
        }
    }

    fn happens_to_node(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Guard(node, process) => self.guard(node, process),
            Event::Reported { to, from, promised } => return self.reported(to, from, promised),
            Event::Broken { to, connection } => self.broken(to, connection),
            Event::Killed(node, number) => self.killed(node, number),
            Event::Begins(node, process) => self.begins(node, process),
            Event::PodEnded(node) if self.instances[node].exists => self.pod_dies(node, SECOND),
            Event::AgentGoesOn(node) => self.agent_goes_on(node),
            Event::Thaws(node) => return self.thaws(node),
            Event::VolumeAnswers(node) => return self.volume_answers(node),
            Event::VolumeSilent(node, which) => return self.volume_silent(node, which),
            Event::MustHaveEnded(node, number) => {
                let instance = &self.instances[node];
                let server = instance.server.as_ref();
                // Where it was frozen again meanwhile its time counts anew.
                let had_its_time = !instance.frozen && self.now >= instance.thawed + ENDS;
                if had_its_time && server.is_some_and(|server| server.number == number) {
                    return Err(format!(
                        "{node} went on after a freeze and its server did not end"
                    ));
                }
            }
            Event::Mended(node) => self.mended(node),
            Event::NetworkIsCalm => {
                self.network.delay = self.climate.delay;
                self.network.lost = self.climate.lost;
            }
            Event::ApiGoesOn => self.api_goes_on(),
            Event::Mends(node) => self.instances[node].broken = false,
            Event::Scales => self.scales(),
            _ => {}
        }
        Ok(())
    }

    /// Clients write wherever anybody takes it.
    fn clients_write(&mut self) -> Result<(), String> {
        for node in 0..self.instances.len() {
            if self.instances[node].writes() {
                self.commit(node)?;
            }
        }
        let pause = self.climate.writes / 2 + self.chance.below(self.climate.writes);
        self.queue.at(self.now + pause, Event::Writes);
        Ok(())
    }

    /// Whether all is as it should be.
    fn is_whole(&self) -> bool {
        let holder = self.node(self.api.record.holder);
        let all = (0..self.instances.len()).filter(|node| self.instances[*node].exists);
        let replicas: Vec<usize> = all.filter(|node| *node != holder).collect();
        let record = &self.api.record;
        let voters: BTreeSet<_> = replicas.iter().map(|node| id(*node)).collect();
        let k = self.api.wishes.k.min(replicas.len());
        let server = self.instances[holder].server.as_ref();
        self.is_primary(holder)
            && record.voters == voters
            && record.synchronous.k == k
            && server.is_some_and(|server| server.rule.k == k)
            && replicas.iter().all(|node| {
                self.streams_from(*node, holder) && self.instances[*node].promise.no_vote.is_none()
            })
    }

    /// How it stands, for people.
    fn state(&self) -> String {
        let record = &self.api.record;
        let mut text = format!(
            "{} holds term {}, k {} and {} wanted, {} vote",
            self.node(record.holder),
            record.term,
            record.synchronous.k,
            self.api.wishes.k,
            record.voters.len(),
        );
        for (node, instance) in self.instances.iter().enumerate() {
            let agent = instance.driver.as_ref().map(|driver| &driver.agent);
            let role = agent.map(|agent| (&agent.role, agent.server, agent.fit));
            text += &format!(
                "\n  {node}: exists {}, votes {}, {:?} up to {:?}, receives {}, {:?}, {role:?}",
                instance.exists,
                record.voters.contains(&instance.id),
                instance.data,
                instance.position(),
                instance.receiver.is_some(),
                instance.promise,
            );
        }
        text
    }

    /// What was deferred happens, after what it takes to wake.
    pub(super) fn wakes(&mut self, node: usize) {
        self.instances[node].woke = self.now;
        let deferred = std::mem::take(&mut self.instances[node].deferred);
        let mut wake = |most| self.now + self.chance.below(most);
        let (agent, guard, server) = (wake(30 * MS), wake(50 * MS), wake(20 * MS));
        for event in deferred {
            let at = match event.node() {
                Some((_, Part::Agent)) => agent,
                Some((_, Part::Guard)) => guard,
                _ => server,
            };
            self.queue.at(at, event);
        }
    }
}
