//! What drives an agent, as `services/agent/src/ha/driver.rs` does: one event, one step, its effects in their order.

use std::time::Duration;

use pgo_ha::{Agent, Effect, Fitness, Input, MOST_K, Moment, Replicas, Role, Server};
use pgo_ids::Term;

use crate::failover::{
    clock::{MS, Time},
    event::{Asks, Event, Wishes},
    instance::{Course, Driver, Guard, Kind, id},
    network::End,
    world::World,
    wrong::Wrong,
};

/// Time between two ticks.
const TICK: Time = 200 * MS;

/// Time between two looks at what is wanted of a primary.
const WISHES: Duration = Duration::from_secs(5);

/// How long an answer of another agent is waited for before it is asked again.
const PATIENCE: Duration = Duration::from_secs(1);

/// The same of an answer about a grant: for less than a tick.
const PATIENCE_FOR_GRANT: Duration = Duration::from_millis(150);

/// The longest that servers take to be dead once they are told to.
pub const KILL: Time = 30 * MS;

impl World {
    /// What this instance's clock shows.
    pub fn moment(&self, node: usize) -> Moment {
        self.instances[node].clock.moment(self.now)
    }

    /// The process of an agent begins, unless something of the one before it is in the way.
    pub fn begins(&mut self, node: usize, process: u64) {
        let instance = &self.instances[node];
        if !instance.exists || instance.process != process || instance.driver.is_some() {
            return;
        }
        let server_lives =
            instance.server.is_some() && self.wrong != Some(Wrong::ServerOutlivesAgent);
        if server_lives || instance.hangs.is_some() {
            let again = self.now + 50 * MS;
            self.queue.at(again, Event::Begins(node, process));
            return;
        }
        let now = self.moment(node);
        let instance = &mut self.instances[node];
        let mut agent = Agent::started(&self.protocol, instance.id, instance.promise, now);
        // Until the Lease says otherwise.
        agent.autofail = false;
        instance.stopped = false;
        instance.guard = Guard::default();
        instance.driver = Some(Driver {
            agent,
            replicas: None,
            fitness: Fitness::default(),
            wishes: Wishes::default(),
            looked: Moment::default(),
            call: None,
            under_way: Vec::new(),
            askers: Vec::new(),
            course: Course::Wait,
            holds: 0,
            busy: false,
            vain: 0,
            stuck: None,
            due_planned: Time::MAX,
        });
        self.say(|| format!("{node}: its agent begins"));
        let first = self.now + self.chance.below(TICK);
        self.queue.at(first, Event::Tick(node, process));
    }

    /// Some time has passed.
    pub fn tick(&mut self, node: usize, process: u64) -> Result<(), String> {
        if !self.is_process(node, process) {
            return Ok(());
        }
        self.hear_own(node)?;
        self.step(node, Input::Tick)?;
        self.look_for_wishes(node);
        self.judge_fitness(node)?;
        self.want_members(node)?;
        self.report(node);
        let next = self.instances[node].clock.later(self.now, TICK);
        self.queue.at(next, Event::Tick(node, process));
        Ok(())
    }

    fn is_process(&self, node: usize, process: u64) -> bool {
        let instance = &self.instances[node];
        instance.process == process && instance.driver.is_some()
    }

    /// A step that no tick is waited for may be due.
    pub fn due(&mut self, node: usize, process: u64) -> Result<(), String> {
        if !self.is_process(node, process) {
            return Ok(());
        }
        let now = self.moment(node);
        let Some(driver) = &mut self.instances[node].driver else {
            return Ok(());
        };
        driver.due_planned = Time::MAX;
        match driver.agent.due(&self.protocol) {
            Some(due) if due <= now => self.step(node, Input::Tick),
            _ => {
                self.plan_due(node);
                Ok(())
            }
        }
    }

    fn plan_due(&mut self, node: usize) {
        let (now, protocol) = (self.now, self.protocol);
        let instance = &mut self.instances[node];
        let (clock, process) = (instance.clock, instance.process);
        let Some(driver) = &mut instance.driver else {
            return;
        };
        let due = driver
            .agent
            .due(&protocol)
            .map(|due| clock.when(due).max(now));
        if let Some(due) = due.filter(|due| *due < driver.due_planned) {
            driver.due_planned = due;
            self.queue.at(due, Event::Due(node, process));
        }
    }

    /// One step of the protocol.
    pub fn step(&mut self, node: usize, input: Input) -> Result<(), String> {
        let now = self.moment(node);
        let protocol = self.protocol;
        let Some(driver) = &mut self.instances[node].driver else {
            return Ok(());
        };
        let was_primary = driver.agent.server == Server::Primary;
        let effects = driver.agent.step(&protocol, input, now);
        let agent = &driver.agent;
        let is_primary = agent.server == Server::Primary;
        if !is_primary {
            driver.replicas = None;
        } else if let (false, Some(seen)) = (was_primary, &agent.seen) {
            driver.replicas = Some(Replicas::begin(&seen.record, now));
        }
        self.tell_guard(node);
        self.plan_due(node);
        self.carry_out_all(node, effects)
    }

    /// Effects in their order, as far as the volume lets them.
    pub fn carry_out_all(&mut self, node: usize, effects: Vec<Effect>) -> Result<(), String> {
        let mut effects = effects.into_iter();
        while let Some(effect) = effects.next() {
            let instance = &mut self.instances[node];
            if let (Effect::StorePromise(_), Some(_)) = (&effect, instance.hangs)
                && let Some(driver) = &mut instance.driver
            {
                driver.stuck = Some(std::iter::once(effect).chain(effects).collect());
                return Ok(());
            }
            self.carry_out(node, effect)?;
        }
        Ok(())
    }

    fn carry_out(&mut self, node: usize, effect: Effect) -> Result<(), String> {
        match effect {
            Effect::StorePromise(promise) => {
                self.instances[node].promise = promise;
            }
            Effect::AskGrant { .. } | Effect::AskVote { .. } | Effect::SendRelease { .. } => {
                self.asks(node, effect);
            }
            Effect::AnswerGrant { .. } | Effect::AnswerVote { .. } => self.answers(node, effect),
            Effect::ReadLease => self.ask_api(node, Asks::Read),
            Effect::WriteLease { expected, record } => {
                self.ask_api(node, Asks::Write(expected, Box::new(record)));
            }
            of_server => self.steer(node, of_server),
        }
        Ok(())
    }

    /// What an agent asks or tells another one.
    fn asks(&mut self, node: usize, effect: Effect) {
        let from = id(node);
        match effect {
            Effect::AskGrant {
                of,
                term,
                version,
                sent,
            } => {
                let input = Input::GrantAsked {
                    from,
                    term,
                    version: Some(version),
                    sent,
                };
                self.ask(node, (of, Kind::Grant), input);
            }
            Effect::AskVote {
                of,
                term,
                version,
                release,
            } => {
                let input = Input::VoteAsked {
                    from,
                    term,
                    version,
                    release,
                };
                self.ask(node, (of, Kind::Vote), input);
            }
            Effect::SendRelease { to, release } => {
                self.ask(node, (to, Kind::Release), Input::Released(release));
            }
            _ => {}
        }
    }

    /// What an agent answers another one.
    fn answers(&mut self, node: usize, effect: Effect) {
        let by = id(node);
        match effect {
            Effect::AnswerGrant {
                to,
                term,
                sent,
                answer,
            } => {
                let input = Input::GrantAnswered {
                    by,
                    term,
                    sent,
                    answer,
                };
                self.answer(node, to, input);
            }
            Effect::AnswerVote {
                to,
                term,
                version,
                answer,
            } => {
                self.say(|| format!("{node} answers {to} in term {term}: {answer:?}"));
                let input = Input::VoteAnswered {
                    by,
                    term,
                    version,
                    answer,
                };
                self.answer(node, to, input);
            }
            _ => {}
        }
    }

    /// Asks another agent, unless it is asked already.
    fn ask(&mut self, node: usize, (of, kind): (pgo_ha::VoterId, Kind), input: Input) {
        let (now, to) = (self.moment(node), self.node(of));
        let instance = &mut self.instances[node];
        let process = instance.process;
        let Some(driver) = &mut instance.driver else {
            return;
        };
        let patience = match kind {
            Kind::Grant => PATIENCE_FOR_GRANT,
            _ => PATIENCE,
        };
        let mut under_way = driver.under_way.iter_mut();
        match under_way.find(|(other, what, _)| (*other, *what) == (to, kind)) {
            Some((_, _, since)) if now.since(*since) < patience => return,
            Some((_, _, since)) => *since = now,
            None => driver.under_way.push((to, kind, now)),
        }
        let peer = Event::Peer {
            to,
            of: None,
            from: (node, process),
            input,
        };
        self.send(node, to, peer);
        if kind == Kind::Release {
            // There is no answer to wait for.
            self.end_call(node, to, kind);
        }
    }

    fn end_call(&mut self, node: usize, to: usize, kind: Kind) {
        if let Some(driver) = &mut self.instances[node].driver {
            let is_it = |other: usize, what: Kind| (other, what) == (to, kind);
            driver
                .under_way
                .retain(|(other, what, _)| !is_it(*other, *what));
        }
    }

    fn answer(&mut self, node: usize, to: pgo_ha::VoterId, input: Input) {
        let to = self.node(to);
        let instance = &self.instances[node];
        let process = instance.process;
        let asker = instance.driver.as_ref().and_then(|driver| {
            let mut askers = driver.askers.iter();
            askers
                .find(|(asker, _)| *asker == to)
                .map(|(_, process)| *process)
        });
        if asker.is_some() {
            let peer = Event::Peer {
                to,
                of: asker,
                from: (node, process),
                input,
            };
            self.send(node, to, peer);
        }
    }

    fn send(&mut self, node: usize, to: usize, event: Event) {
        let way = (End::Instance(node), End::Instance(to));
        if let Some(at) = self.network.send(way, self.now, &mut self.chance) {
            self.queue.at(at, event);
        }
    }

    /// Something of another agent arrives.
    pub fn peer(
        &mut self,
        (to, of): (usize, Option<u64>),
        (from, process): (usize, u64),
        input: Input,
    ) -> Result<(), String> {
        let instance = &mut self.instances[to];
        let is_its = of.is_none_or(|of| of == instance.process);
        let Some(driver) = instance.driver.as_mut().filter(|_| is_its) else {
            return Ok(());
        };
        match &input {
            Input::GrantAnswered { .. } => self.end_call(to, from, Kind::Grant),
            Input::VoteAnswered { .. } => self.end_call(to, from, Kind::Vote),
            _ => match driver.askers.iter_mut().find(|(asker, _)| *asker == from) {
                Some(known) => known.1 = process,
                None => driver.askers.push((from, process)),
            },
        }
        self.step(to, input)
    }

    /// The guard hears until when servers may live, before anything is done.
    fn tell_guard(&mut self, node: usize) {
        let (now, protocol) = (self.now, self.protocol);
        if self.wrong == Some(Wrong::GuardKnowsNothing) {
            return;
        }
        let instance = &mut self.instances[node];
        let Some(driver) = &instance.driver else {
            return;
        };
        let deadline = driver.agent.servers_live_until(&protocol);
        instance.guard.deadline = deadline;
        instance.guard.until = deadline;
        let Some(deadline) = deadline else { return };
        let at = instance.clock.when(deadline).max(now);
        if instance.guard.planned.is_none_or(|planned| at < planned) {
            instance.guard.planned = Some(at);
            self.queue.at(at, Event::Guard(node, instance.process));
        }
    }

    /// The guard looks whether its deadline has passed.
    pub fn guard(&mut self, node: usize, process: u64) {
        let now = self.moment(node);
        let instance = &mut self.instances[node];
        if instance.process != process {
            return;
        }
        instance.guard.planned = None;
        let Some(deadline) = instance.guard.deadline else {
            return;
        };
        let next = if now < deadline {
            instance.clock.when(deadline)
        } else if let Some(server) = &instance.server {
            // The signal, and a machine that is busy.
            let dead = self.now + self.chance.below(20 * MS);
            self.queue.at(dead, Event::Killed(node, server.number));
            self.now + 25 * MS
        } else {
            // It is told again before a server is begun.
            return;
        };
        instance.guard.planned = Some(next);
        self.queue.at(next, Event::Guard(node, process));
    }

    /// How far WAL of the holder has come.
    fn hear_own(&mut self, node: usize) -> Result<(), String> {
        let instance = &self.instances[node];
        let position = instance.position();
        let is_news = instance.driver.as_ref().is_some_and(|driver| {
            driver.agent.following.is_some() && driver.agent.flushed != position
        });
        if is_news && instance.receiver.is_some() {
            return self.step(node, Input::Flushed(position));
        }
        Ok(())
    }

    fn look_for_wishes(&mut self, node: usize) {
        let now = self.moment(node);
        let instance = &mut self.instances[node];
        let process = instance.process;
        let Some(driver) = &mut instance.driver else {
            return;
        };
        if !driver.agent.holds() || now.since(driver.looked) < WISHES {
            return;
        }
        driver.looked = now;
        let way = (End::Instance(node), End::Api);
        let arrives = self.network.send(way, self.now, &mut self.chance);
        if let Some(at) = arrives.filter(|_| !self.api.stalls) {
            let wishes = self.api.wishes;
            self.queue.at(at, Event::Wished(node, process, wishes));
        }
    }

    /// Whether PostgreSQL could serve here.
    pub fn judge_fitness(&mut self, node: usize) -> Result<(), String> {
        let now = self.moment(node);
        let told = self.wrong != Some(Wrong::FitnessIsNotTold);
        let Some(driver) = &mut self.instances[node].driver else {
            return Ok(());
        };
        match driver.fitness.judge(&driver.agent, now).filter(|_| told) {
            Some(fit) => {
                self.say(|| format!("{node} is fit: {fit}"));
                self.step(node, Input::Fit(fit))
            }
            None => Ok(()),
        }
    }

    /// Tells the protocol which replicas should vote.
    fn want_members(&mut self, node: usize) -> Result<(), String> {
        let now = self.moment(node);
        let is_heard = self.wrong != Some(Wrong::ReplicasAreNotHeard);
        let instance = &mut self.instances[node];
        let Some(driver) = &mut instance.driver else {
            return Ok(());
        };
        let (Some(replicas), Some(seen)) = (&mut driver.replicas, &driver.agent.seen) else {
            return Ok(());
        };
        let senders = instance.server.iter().flat_map(|server| &server.senders);
        for sender in senders.filter(|_| is_heard) {
            replicas.hear(id(sender.to), true, now);
        }
        let k = driver.wishes.k.min(MOST_K);
        let fallback = driver.wishes.fallback || self.wrong == Some(Wrong::FallbackUnasked);
        let wanted = replicas.wanted(&seen.record, k, fallback, now);
        if driver.agent.wanted.as_ref() == Some(&wanted) {
            return Ok(());
        }
        self.step(node, Input::Members(wanted))
    }

    /// A replica to which no WAL flows tells the primary that it is there; of the others the primary knows by the WAL.
    fn report(&mut self, node: usize) {
        let instance = &self.instances[node];
        let Some(driver) = &instance.driver else {
            return;
        };
        let Some(seen) = &driver.agent.seen else {
            return;
        };
        let holder = seen.record.holder;
        let is_replica = holder != instance.id && matches!(driver.agent.role, Role::Replica);
        if is_replica && instance.receiver.is_none() {
            let to = self.node(holder);
            let promised = driver.agent.promise.term;
            let report = Event::Reported {
                to,
                from: node,
                promised,
            };
            self.send(node, to, report);
        }
    }

    /// A replica is there.
    pub fn reported(&mut self, to: usize, from: usize, promised: Term) -> Result<(), String> {
        let now = self.moment(to);
        let driver = self.instances[to].driver.as_mut();
        if let Some(replicas) = driver.and_then(|driver| driver.replicas.as_mut()) {
            replicas.hear(id(from), false, now);
        }
        self.step(to, Input::Promised(promised))
    }
}
