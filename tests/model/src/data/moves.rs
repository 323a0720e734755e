//! What can happen next, and what the world is then.

use pgo_ha::{
    Agent, Effect, Input, Path, Position, Role, Server, Synchronous, Timeline, members::Wanted,
    path,
};

use super::{
    Data,
    state::{NOW, State, id, node, version},
};

/// One thing that happens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Move {
    /// An agent has a tick; a read of the Lease is answered.
    Tick(usize),
    /// A holder hears from a replica that it grants, or has promised a higher term.
    Grants(usize, usize),
    /// A holder's authority runs out.
    RunsOut(usize),
    /// An agent wants to follow the holder.
    Campaigns(usize),
    /// A candidate asks a voter and hears it.
    Votes(usize, usize),
    /// A standby begins to receive the WAL of whom it follows, after it was made to fit.
    Attaches(usize),
    /// A standby receives and flushes a record, and says so.
    Streams(usize),
    /// A client commits.
    Commits(usize),
    /// A client hears that its commit is durable.
    Acknowledges(usize, u8),
    /// A rule comes into force.
    Configures(usize, Synchronous),
    /// Enough have flushed what was there when it did.
    Held(usize),
    /// An instance ends.
    Crashes(usize),
    /// It starts again.
    Starts(usize),
    /// The user wants another membership.
    Wants(usize),
}

impl Data {
    pub(super) fn moves(&self, state: &State, moves: &mut Vec<Move>) {
        for node in 0..state.instances.len() {
            let instance = &state.instances[node];
            let Some(agent) = &instance.agent else {
                if self.bounds.lost != Some(node) {
                    moves.push(Move::Starts(node));
                }
                continue;
            };
            moves.push(Move::Tick(node));
            if state.crashes < self.bounds.crashes {
                moves.push(Move::Crashes(node));
            }
            match &agent.role {
                Role::Replica => {
                    moves.push(Move::Campaigns(node));
                    moves.push(Move::Attaches(node));
                    moves.push(Move::Streams(node));
                }
                Role::Candidate(_) => {
                    moves.extend(self.others(node).map(|by| Move::Votes(node, by)))
                }
                Role::Holder(_) => {
                    moves.extend(self.others(node).map(|by| Move::Grants(node, by)));
                    moves.push(Move::RunsOut(node));
                }
            }
            if agent.server == Server::Primary {
                self.moves_of_server(state, node, moves);
            }
            moves.extend(
                instance
                    .waiting
                    .keys()
                    .map(|commit| Move::Acknowledges(node, *commit)),
            );
        }
    }

    fn others(&self, node: usize) -> impl Iterator<Item = usize> + use<> {
        (0..self.bounds.instances).filter(move |other| *other != node)
    }

    fn moves_of_server(&self, state: &State, node: usize, moves: &mut Vec<Move>) {
        if state.commits < self.bounds.commits {
            moves.push(Move::Commits(node));
        }
        if state.changes < self.bounds.wanted.len() {
            moves.push(Move::Wants(node));
        }
        let agent = state.instances[node].agent.as_ref();
        if let Some(rule) = agent.and_then(|agent| agent.configuring.clone()) {
            moves.push(Move::Configures(node, rule));
        }
        moves.push(Move::Held(node));
    }

    /// What the world is after a move; nothing where it cannot be made or leaves the bounds.
    pub(super) fn play(&self, state: &mut State, happens: Move) -> Option<()> {
        match happens {
            Move::Tick(node) => self.step(state, node, Input::Tick),
            Move::Grants(holder, by) => {
                let term = state.instances[holder]
                    .agent
                    .as_ref()?
                    .seen
                    .as_ref()?
                    .record
                    .term;
                if state.instances[by].agent.as_ref()?.promise.term <= term {
                    // It keeps its authority anyhow, until it runs out.
                    return None;
                }
                self.exchange(
                    state,
                    holder,
                    by,
                    Input::GrantAsked {
                        from: id(holder),
                        term,
                        sent: NOW,
                    },
                )
            }
            Move::RunsOut(node) => {
                let agent = state.instances[node].agent.as_mut()?;
                let Role::Holder(authority) = &mut agent.role else {
                    return None;
                };
                authority.own_write = None;
                authority.grants.clear();
                self.step(state, node, Input::Tick)
            }
            Move::Campaigns(node) => self.step(state, node, Input::Failover),
            Move::Votes(candidate, by) => self.votes(state, candidate, by),
            Move::Attaches(node) => self.attach(state, node),
            Move::Streams(node) => self.stream(state, node),
            Move::Commits(node) => {
                state.commits += 1;
                let instance = &mut state.instances[node];
                instance.wal.0.push((instance.writes, state.commits));
                instance.waiting.insert(state.commits, instance.wal.end());
                Some(())
            }
            Move::Acknowledges(node, commit) => {
                let instance = &mut state.instances[node];
                let end = *instance.waiting.get(&commit)?;
                if !instance.flushed_by_enough(end) {
                    return None;
                }
                instance.waiting.remove(&commit);
                state.acknowledged.insert(commit);
                Some(())
            }
            Move::Configures(node, rule) => {
                let instance = &mut state.instances[node];
                instance.rule = rule.clone();
                instance.mark = Some(instance.wal.end());
                self.step(state, node, Input::Configured(rule))
            }
            Move::Held(node) => {
                let instance = &state.instances[node];
                if !instance.flushed_by_enough(instance.mark?) {
                    return None;
                }
                self.step(state, node, Input::Held)
            }
            Move::Crashes(node) => {
                state.crashes += 1;
                state.instances[node].server_ends();
                state.instances[node].attached = None;
                state.instances[node].agent = None;
                Some(())
            }
            Move::Starts(node) => {
                let instance = &mut state.instances[node];
                instance.agent = Some(self.started(node, instance.disk, &instance.wal));
                Some(())
            }
            Move::Wants(node) => {
                let wanted: Wanted = self.bounds.wanted[state.changes].clone();
                state.changes += 1;
                self.step(state, node, Input::Members(wanted))
            }
        }
    }

    fn votes(&self, state: &mut State, candidate: usize, by: usize) -> Option<()> {
        let mut tried = state.instances[candidate].agent.clone()?;
        let asked = self
            .stepped(&mut tried, Input::Tick)
            .into_iter()
            .find_map(|effect| match effect {
                Effect::AskVote {
                    of, term, version, ..
                } if of == id(by) => Some(Input::VoteAsked {
                    from: id(candidate),
                    term,
                    version,
                    release: None,
                }),
                _ => None,
            })?;
        self.exchange(state, candidate, by, asked)
    }

    /// Judges whether a standby fits whom it follows, makes it fit, and lets it receive.
    fn attach(&self, state: &mut State, node: usize) -> Option<()> {
        let agent = state.instances[node].agent.as_ref()?;
        let (holder, _) = agent.following?;
        let holder = self::node(holder);
        let record = &agent.seen.as_ref()?.record;
        let source = &state.instances[holder];
        let runs = source
            .agent
            .as_ref()
            .is_some_and(|agent| agent.server == Server::Primary);
        if !runs
            || source.writes != record.start().timeline.0
            || state.instances[node].attached.is_some()
        {
            return None;
        }
        let position = state.instances[node].wal.position();
        let fits = path(record, position) == Path::Streams;
        let target = source.writes;
        if !fits {
            let source = source.wal.position();
            self.step(state, node, Input::CopyNeeded { source })?;
            // While it is made anew nothing of it can be used.
            state.instances[node].wal.0.clear();
        }
        let instance = &mut state.instances[node];
        instance.target = target;
        instance.attached = Some(holder);
        self.flushed(state, node)
    }

    fn stream(&self, state: &mut State, node: usize) -> Option<()> {
        let from = state.instances[node].attached?;
        let source = &state.instances[from];
        if !source
            .agent
            .as_ref()
            .is_some_and(|agent| agent.server == Server::Primary)
        {
            return None;
        }
        let end = state.instances[node].wal.end();
        if let Some(next) = source.wal.0.get(end).copied() {
            state.instances[node].wal.0.push(next);
        }
        let end = state.instances[node].wal.end();
        state.instances[from].heard.insert(node, end);
        self.flushed(state, node)
    }

    fn flushed(&self, state: &mut State, node: usize) -> Option<()> {
        let position = self.position(state, node);
        self.step(state, node, Input::Flushed(position))
    }

    /// How far an instance is, as its runtime tells.
    fn position(&self, state: &State, node: usize) -> Position {
        let instance = &state.instances[node];
        let mut position = instance.wal.position();
        if !self.bounds.timeline_of_record {
            position.timeline = position.timeline.max(Timeline(instance.target));
        }
        position
    }

    fn exchange(&self, state: &mut State, back: usize, by: usize, asked: Input) -> Option<()> {
        for effect in self.done(state, by, asked)? {
            let answered = match effect {
                Effect::AnswerGrant {
                    term, sent, answer, ..
                } => Input::GrantAnswered {
                    by: id(by),
                    term,
                    sent,
                    answer,
                },
                Effect::AnswerVote {
                    term,
                    version,
                    answer,
                    ..
                } => Input::VoteAnswered {
                    by: id(by),
                    term,
                    version,
                    answer,
                },
                _ => continue,
            };
            self.step(state, back, answered)?;
        }
        Some(())
    }

    fn step(&self, state: &mut State, node: usize, input: Input) -> Option<()> {
        self.done(state, node, input).map(|_| ())
    }

    fn stepped(&self, agent: &mut Agent, input: Input) -> Vec<Effect> {
        let protocol = self.protocol(agent);
        agent.step(&protocol, input, NOW)
    }

    /// A step of an agent, and all that follows at once; what it answers.
    fn done(&self, state: &mut State, node: usize, input: Input) -> Option<Vec<Effect>> {
        let mut agent = state.instances[node].agent.clone()?;
        let mut effects = self.stepped(&mut agent, input);
        let mut answers = Vec::new();
        let mut next = 0;
        while next < effects.len() {
            let effect = effects[next].clone();
            next += 1;
            let position = self.position(state, node);
            let instance = &mut state.instances[node];
            let at_once = match effect {
                Effect::StorePromise(promise) => {
                    instance.disk = promise;
                    None
                }
                Effect::KillServers | Effect::ShutDown => {
                    instance.server_ends();
                    Some(Input::ServersStopped(position))
                }
                Effect::StopReceiver => {
                    instance.attached = None;
                    Some(Input::ReceiverStopped(position))
                }
                Effect::Follow { .. } => {
                    instance.attached = None;
                    None
                }
                Effect::Serve {
                    start, synchronous, ..
                } => {
                    instance.attached = None;
                    instance.writes = start.timeline.0;
                    instance.target = start.timeline.0;
                    instance.rule = synchronous;
                    instance.mark = None;
                    let promotes = start.timeline.0 > 1
                        && !instance
                            .wal
                            .0
                            .iter()
                            .any(|(timeline, _)| *timeline == start.timeline.0);
                    if promotes {
                        instance.wal.0.push((start.timeline.0, 0));
                    }
                    None
                }
                Effect::ReadLease => Some(Input::LeaseRead {
                    version: version(state.version),
                    record: state.record.clone(),
                }),
                Effect::WriteLease { expected, record } => {
                    if record.term.0 > self.bounds.terms {
                        return None;
                    }
                    Some(if expected == version(state.version) {
                        state.version += 1;
                        state.record = record;
                        Input::LeaseWritten {
                            version: version(state.version),
                        }
                    } else {
                        Input::LeaseConflict
                    })
                }
                other => {
                    answers.push(other);
                    None
                }
            };
            if let Some(input) = at_once {
                effects.extend(self.stepped(&mut agent, input));
            }
        }
        if agent.promise.term.0 > self.bounds.terms {
            return None;
        }
        state.instances[node].agent = Some(agent);
        Some(answers)
    }
}

impl super::Instance {
    /// Whether enough of the set have said that they flushed up to `end`.
    fn flushed_by_enough(&self, end: usize) -> bool {
        let flushed = self
            .heard
            .iter()
            .filter(|(by, to)| self.rule.set.contains(&id(**by)) && **to >= end);
        flushed.count() >= self.rule.k
    }

    /// Its processes are dead: nobody waits any more.
    fn server_ends(&mut self) {
        self.heard.clear();
        self.waiting.clear();
        self.mark = None;
        self.writes = 0;
        self.rule = Synchronous::default();
    }
}
