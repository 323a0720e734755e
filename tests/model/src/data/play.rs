//! What the world is after a move.

use std::collections::BTreeSet;

use pgo_ha::{
    Agent, Effect, Input, Path, Position, Record, Role, Rules, Server, Synchronous, Timeline,
    Version, VoterId, members::Wanted, path,
};

use super::{
    Data, Move,
    state::{NOW, State, id, node, version},
};

impl Data {
    /// What the world is after a move; nothing where it cannot be made or leaves the bounds.
    pub(super) fn play(&self, state: &mut State, happens: Move) -> Option<()> {
        match happens {
            Move::Tick(node) => self.step(state, node, Input::Tick),
            Move::Grants(holder, by) => self.grants(state, holder, by),
            Move::RunsOut(node) => self.runs_out(state, node),
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
            Move::Acknowledges(node, commit) => self.acknowledges(state, node, commit),
            Move::Configures(node, rule) => {
                let instance = &mut state.instances[node];
                let former = std::mem::replace(&mut instance.rule, rule.clone());
                let rules = &self.rules;
                instance.former = (!rules.leaver_loses_walsender || !rules.walsenders_reload)
                    .then_some(former)
                    .filter(|former| *former != rule);
                let asked = instance.asked.take();
                instance.mark = asked.or_else(|| Some(instance.wal.end()));
                self.step(state, node, Input::Configured(rule))
            }
            Move::Dies(node) => {
                state.deaths += 1;
                state.instances[node].dies()
            }
            Move::Held(node) => {
                let instance = &state.instances[node];
                let mark = instance.mark?;
                if self.rules.mark_is_waited_for
                    && !instance.flushed_by_enough(&instance.rule, mark)
                {
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

    fn grants(&self, state: &mut State, holder: usize, by: usize) -> Option<()> {
        let seen = state.instances[holder].agent.as_ref()?.seen.as_ref()?;
        let (term, known) = (seen.record.term, seen.version.clone());
        let promised = state.instances[by].agent.as_ref()?.promise.term;
        if promised <= term {
            // The holder keeps its authority anyhow, until it runs out.
            return None;
        }
        if !seen.record.voters.contains(&id(by)) {
            // Nobody asks it for a grant; it says by itself what it has promised.
            return self.step(state, holder, Input::Promised(promised));
        }
        let asked = Input::GrantAsked {
            from: id(holder),
            term,
            version: Some(known),
            sent: NOW,
        };
        self.exchange(state, holder, by, asked)
    }

    fn runs_out(&self, state: &mut State, node: usize) -> Option<()> {
        let agent = state.instances[node].agent.as_mut()?;
        let Role::Holder(authority) = &mut agent.role else {
            return None;
        };
        authority.own_write = None;
        authority.grants.clear();
        self.step(state, node, Input::Tick)
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

    fn acknowledges(&self, state: &mut State, node: usize, commit: u8) -> Option<()> {
        let instance = &mut state.instances[node];
        let end = *instance.waiting.get(&commit)?;
        if !instance.lets_through(&self.rules, end) {
            return None;
        }
        instance.waiting.remove(&commit);
        // In the asynchronous mode nothing is promised, nor by less than the rule.
        let seen = instance.agent.as_ref()?.seen.as_ref();
        let k = seen.map_or(0, |seen| seen.record.synchronous.k);
        if k > 0 && instance.rule.k >= k {
            state.acknowledged.insert(commit);
        }
        Some(())
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
            let at_once = match effect {
                Effect::ReadLease => Some(Input::LeaseRead {
                    version: version(state.version),
                    record: state.record.clone(),
                }),
                Effect::WriteLease { expected, record } => {
                    Some(self.swap(state, &expected, record)?)
                }
                Effect::AnswerGrant { .. } | Effect::AnswerVote { .. } => {
                    answers.push(effect);
                    None
                }
                other => {
                    if matches!(other, Effect::Configure(_)) && !self.rules.mark_is_taken_after {
                        let instance = &mut state.instances[node];
                        instance.asked = Some(instance.wal.end());
                    }
                    let position = self.position(state, node);
                    state.instances[node].carry_out(other, position)
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

    fn swap(&self, state: &mut State, expected: &Version, record: Record) -> Option<Input> {
        if record.term.0 > self.bounds.terms {
            return None;
        }
        if *expected != version(state.version) {
            return Some(Input::LeaseConflict);
        }
        state.version += 1;
        state.record = record;
        Some(Input::LeaseWritten {
            version: version(state.version),
        })
    }
}

impl super::Instance {
    /// Whether enough of a rule's set have said that they flushed up to `end`.
    fn flushed_by_enough(&self, rule: &Synchronous, end: usize) -> bool {
        let flushed = self
            .heard
            .iter()
            .filter(|(by, to)| rule.set.contains(&id(**by)) && **to >= end);
        flushed.count() >= rule.k
    }

    /// Whether a commit that ends at `end` is let through: each walsender goes by the rule that it has read.
    fn lets_through(&self, rules: &Rules, end: usize) -> bool {
        let of = |standby: &usize, set: &BTreeSet<VoterId>| set.contains(&id(*standby));
        let by_former = self.former.as_ref().is_some_and(|former| {
            let goes_by_it = |standby: &usize| {
                let leaves = of(standby, &former.set) && !of(standby, &self.rule.set);
                (leaves && !rules.leaver_loses_walsender)
                    || (of(standby, &self.rule.set) && !rules.walsenders_reload)
            };
            self.heard.keys().any(goes_by_it) && self.flushed_by_enough(former, end)
        });
        by_former || self.flushed_by_enough(&self.rule, end)
    }

    /// Does what an agent wants of its volume and its server; what follows at once.
    fn carry_out(&mut self, effect: Effect, position: Position) -> Option<Input> {
        match effect {
            Effect::StorePromise(promise) => self.disk = promise,
            Effect::KillServers | Effect::ShutDown => {
                self.server_ends();
                return Some(Input::ServersStopped(Some(position)));
            }
            Effect::StopReceiver => {
                self.attached = None;
                return Some(Input::ReceiverStopped(position));
            }
            Effect::Follow { .. } => self.attached = None,
            Effect::Serve {
                start, synchronous, ..
            } => {
                let timeline = start.timeline.0;
                self.attached = None;
                self.writes = timeline;
                self.target = timeline;
                self.rule = synchronous;
                (self.mark, self.former, self.asked) = (None, None, None);
                let has_begun = self.wal.0.iter().any(|(of, _)| *of == timeline);
                if timeline > 1 && !has_begun {
                    self.wal.0.push((timeline, 0));
                }
            }
            _ => {}
        }
        None
    }

    /// Its server dies, and the next one begins in its place under the same authority, by the rule that was wanted last.
    fn dies(&mut self) -> Option<()> {
        let configuring = self.agent.as_ref()?.configuring.clone();
        self.heard.clear();
        self.waiting.clear();
        (self.mark, self.former, self.asked) = (None, None, None);
        self.rule = configuring.unwrap_or_else(|| self.rule.clone());
        Some(())
    }

    /// Its processes are dead: nobody waits any more.
    fn server_ends(&mut self) {
        self.heard.clear();
        self.waiting.clear();
        (self.mark, self.former, self.asked) = (None, None, None);
        self.writes = 0;
        self.rule = Synchronous::default();
    }
}
