//! What the world is after a move.

use pgo_ha::{Agent, Effect, Input, Position, Promise, Release, Role, members::Wanted};
use pgo_ids::Term;

use super::{
    Clock, Move, UNIT, WAITER,
    state::{Kept, NODES, NOW, Node, Sent, State, Swap, id, node, number, version},
};

impl Clock {
    /// What the world is after a move; nothing where the move cannot be made or leaves the bounds.
    pub(super) fn play(&self, state: &mut State, happens: Move) -> Option<()> {
        match happens {
            Move::Pass => (0..NODES).for_each(|node| state.pass(node)),
            Move::Tick { node, read } => self.tick(state, node, read)?,
            Move::Grants {
                holder,
                by,
                sent,
                lost,
            } => self.grants(state, holder, by, sent, lost)?,
            Move::Late { holder, by } => self.late(state, holder, by)?,
            Move::Votes {
                candidate,
                by,
                lost,
            } => self.votes(state, candidate, by, lost)?,
            Move::Hears(node, sent) => {
                let release = Release {
                    by: id(sent.by),
                    version: version(sent.version),
                    to: sent.to.map(id),
                };
                self.step(state, node, Input::Released(release))?;
            }
            Move::Lands { swap } => self.lands(state, swap)?,
            Move::Answered { swap } => {
                state.swaps.remove(&swap);
                let input = match swap.done {
                    Some(done) => Input::LeaseWritten {
                        version: version(done),
                    },
                    None => Input::LeaseConflict,
                };
                self.step(state, swap.writer, input)?;
            }
            Move::TimesOut { mut swap } => {
                state.swaps.remove(&swap);
                let writer = swap.writer;
                swap.waits = false;
                state.swaps.insert(swap);
                self.step(state, writer, Input::LeaseUnknown)?;
            }
            Move::LosesLease => loses_lease(state),
            Move::Stalls => state.stalled = true,
            Move::Crashes(node) => crash(state, node),
            Move::Starts(node) => self.starts(state, node),
            Move::Wants(node) => self.wants(state, node)?,
            Move::Switches(node, to) => {
                state.releases += 1;
                self.step(state, node, Input::Switchover(to.map(id)))?;
            }
            Move::Ends(node) => {
                let input = Input::ServersStopped(Some(Position::default()));
                self.step(state, node, input)?;
            }
            Move::Fails(_) | Move::Recovers(_) | Move::Outdates(_) | Move::Orders(_) => {
                self.told(state, &happens)?;
            }
        }
        Some(())
    }

    fn starts(&self, state: &mut State, node: usize) {
        if let Node::Down { disk } = *state.nodes[node].node() {
            let agent = self.started(node, disk);
            state.nodes[node] = Kept::new(Node::Up { agent, disk });
        }
    }

    /// An agent is told something by who drives it.
    fn told(&self, state: &mut State, happens: &Move) -> Option<()> {
        let (node, input) = match *happens {
            Move::Fails(node) => {
                state.failures += 1;
                (node, Input::Fit(false))
            }
            Move::Recovers(node) => (node, Input::Fit(true)),
            Move::Outdates(node) => {
                state.outdated += 1;
                (node, Input::Outdated)
            }
            Move::Orders(node) => (node, Input::Failover),
            _ => return None,
        };
        self.step(state, node, input).map(|_| ())
    }

    fn grants(
        &self,
        state: &mut State,
        holder: usize,
        by: usize,
        sent: u32,
        lost: bool,
    ) -> Option<()> {
        let seen = state.agent(holder)?.seen.as_ref()?;
        let asked = Input::GrantAsked {
            from: id(holder),
            term: seen.record.term,
            version: Some(seen.version.clone()),
            sent: NOW.minus(UNIT * sent),
        };
        self.exchange(state, by, asked, (!lost).then_some(holder))
    }

    fn late(&self, state: &mut State, holder: usize, by: usize) -> Option<()> {
        let term = state.agent(holder)?.seen.as_ref()?.record.term;
        let until = state.agent(by)?.granter.given?.until;
        let lasts = if self.rules.granter_allows_for_drift {
            WAITER.run_out()
        } else {
            WAITER.term
        };
        let answer = Input::GrantAnswered {
            by: id(by),
            term,
            sent: until.minus(lasts),
            answer: Ok(()),
        };
        self.step(state, holder, answer).map(|_| ())
    }

    fn votes(&self, state: &mut State, candidate: usize, by: usize, lost: bool) -> Option<()> {
        let mut tried = state.agent(candidate)?.clone();
        let effects = self.stepped(&mut tried, Input::Tick);
        let asked = effects.into_iter().find_map(|effect| match effect {
            Effect::AskVote {
                of,
                term,
                version,
                release,
            } if of == id(by) => Some(Input::VoteAsked {
                from: id(candidate),
                term,
                version,
                release,
            }),
            _ => None,
        })?;
        self.exchange(state, by, asked, (!lost).then_some(candidate))
    }

    fn lands(&self, state: &mut State, mut swap: Swap) -> Option<()> {
        state.swaps.remove(&swap);
        if swap.record.term.0 > self.bounds.terms {
            return None;
        }
        state.version += 1;
        state.anew = false;
        state.record = swap.record.clone();
        swap.done = Some(state.version);
        state.swaps.insert(swap);
        Some(())
    }

    fn wants(&self, state: &mut State, node: usize) -> Option<()> {
        let voters = self.bounds.changes[state.changes].iter();
        let wanted = Wanted {
            voters: voters.map(|voter| id(*voter)).collect(),
            ..Wanted::default()
        };
        state.changes += 1;
        self.step(state, node, Input::Members(wanted)).map(|_| ())
    }

    /// A request reaches `by`; the answer reaches `back` if it is not lost.
    fn exchange(
        &self,
        state: &mut State,
        by: usize,
        asked: Input,
        back: Option<usize>,
    ) -> Option<()> {
        for effect in self.step(state, by, asked)? {
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
            if let Some(back) = back {
                self.step(state, back, answered)?;
            }
        }
        Some(())
    }

    fn tick(&self, state: &mut State, node: usize, read: Option<u32>) -> Option<()> {
        let Node::Up { agent, disk } = state.nodes[node].node() else {
            return None;
        };
        let (mut agent, disk) = (agent.clone(), *disk);
        let effects = self.stepped(&mut agent, Input::Tick);
        let reads = effects.contains(&Effect::ReadLease);
        if let (Some(began), Some(call)) = (read, &mut agent.call)
            && reads
        {
            call.began = NOW.minus(UNIT * began);
        }
        self.done(state, node, agent, disk, effects)?;
        if reads {
            self.step(state, node, self.read(state, read.is_some()))?;
        }
        Some(())
    }

    fn read(&self, state: &State, answered: bool) -> Input {
        let answered = answered && !state.stalled;
        if answered && state.anew {
            Input::LeaseAnew {
                version: version(state.version),
                term: Term(1),
            }
        } else if answered {
            Input::LeaseRead {
                version: version(state.version),
                record: state.record.clone(),
            }
        } else {
            Input::LeaseUnknown
        }
    }

    /// A step of an agent and what follows at once, a read of the Lease among it; the rest of its effects.
    fn step(&self, state: &mut State, node: usize, input: Input) -> Option<Vec<Effect>> {
        let Node::Up { agent, disk } = state.nodes[node].node() else {
            return Some(Vec::new());
        };
        let (mut agent, disk) = (agent.clone(), *disk);
        let effects = self.stepped(&mut agent, input);
        let reads = effects.contains(&Effect::ReadLease);
        let answers = matches!(agent.role, Role::Replica);
        let rest = self.done(state, node, agent, disk, effects)?;
        if reads {
            // It is read again with the next tick, or when asked again.
            self.step(state, node, self.read(state, answers))?;
        }
        Some(rest)
    }

    pub(super) fn stepped(&self, agent: &mut Agent, input: Input) -> Vec<Effect> {
        let protocol = self.protocol(agent);
        agent.step(&protocol, input, NOW)
    }

    /// Carries out what an agent's step wants.
    fn done(
        &self,
        state: &mut State,
        node: usize,
        mut agent: Agent,
        mut disk: Promise,
        mut effects: Vec<Effect>,
    ) -> Option<Vec<Effect>> {
        let mut rest = Vec::new();
        let mut next = 0;
        while next < effects.len() {
            let at_once = match effects[next].clone() {
                Effect::StorePromise(promise) => {
                    disk = promise;
                    None
                }
                Effect::KillServers => Some(Input::ServersStopped(Some(Position::default()))),
                Effect::StopReceiver => Some(Input::ReceiverStopped(Position::default())),
                Effect::WriteLease { expected, record } => {
                    state.swaps.insert(Swap {
                        writer: node,
                        waits: true,
                        expected: number(&expected),
                        done: None,
                        record,
                    });
                    None
                }
                Effect::SendRelease { release, .. } => {
                    state.sent.insert(Sent {
                        by: node,
                        version: number(&release.version),
                        to: release.to.map(self::node),
                    });
                    None
                }
                other => {
                    rest.push(other);
                    None
                }
            };
            if let Some(input) = at_once {
                effects.extend(self.stepped(&mut agent, input));
            }
            next += 1;
        }
        if agent.promise.term.0 > self.bounds.terms {
            return None;
        }
        state.nodes[node] = Kept::new(Node::Up { agent, disk });
        Some(rest)
    }
}

fn loses_lease(state: &mut State) {
    state.losses += 1;
    state.version += 1;
    state.anew = true;
}

fn crash(state: &mut State, node: usize) {
    let (Node::Up { disk, .. } | Node::Down { disk }) = *state.nodes[node].node();
    state.nodes[node] = Kept::new(Node::Down { disk });
    state.crashes += 1;
    let swaps = std::mem::take(&mut state.swaps);
    for mut swap in swaps {
        swap.waits &= swap.writer != node;
        state.swaps.insert(swap);
    }
}
