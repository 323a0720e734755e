//! What can happen next, and what the world is then.

use pgo_ha::{Agent, Effect, Input, Position, Promise, Release, Role, Server, members::Wanted};

use super::{
    Clock, UNIT, WAITER,
    state::{Kept, NODES, NOW, Node, Sent, State, Swap, id, node, number, version},
};

/// One thing that happens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Move {
    /// One unit of time passes.
    Pass,
    /// An agent has a tick.
    Tick {
        /// Whose.
        node: usize,
        /// Whether a read, if it asks for one, is answered: so long ago it began, and the answer is what the Lease is now.
        /// An answer that is late says nothing that one which is older by as much had not said.
        read: Option<u32>,
    },
    /// A holder's request for a grant, sent so long ago, reaches a replica; and the answer reaches the holder, or is lost.
    Grants {
        /// The holder.
        holder: usize,
        /// The replica.
        by: usize,
        /// How long ago it was sent.
        sent: u32,
        /// Whether the answer is lost.
        lost: bool,
    },
    /// An answer reaches the holder that a replica gave earlier, or reaches it again.
    Late {
        /// The holder.
        holder: usize,
        /// The replica.
        by: usize,
    },
    /// A candidate's request for a vote reaches a voter, and the answer reaches the candidate or is lost.
    Votes {
        /// The candidate.
        candidate: usize,
        /// The voter.
        by: usize,
        /// Whether the answer is lost.
        lost: bool,
    },
    /// A release reaches an agent, perhaps again.
    Hears(usize, Sent),
    /// A write of the Lease is done, if its version is still there.
    Lands {
        /// Which.
        swap: Swap,
    },
    /// The writer hears what became of its write.
    Answered {
        /// Which.
        swap: Swap,
    },
    /// The writer waits no longer.
    TimesOut {
        /// Which.
        swap: Swap,
    },
    /// An agent and its server end.
    Crashes(usize),
    /// They start again.
    Starts(usize),
    /// The user wants other members.
    Wants(usize),
    /// The user wants another primary.
    Switches(usize, Option<usize>),
    /// A server that was told to shut down has ended.
    Ends(usize),
}

impl Clock {
    pub(super) fn moves(&self, state: &State, moves: &mut Vec<Move>) {
        moves.push(Move::Pass);
        for node in 0..NODES {
            match state.agent(node) {
                Some(agent) => self.moves_of(state, node, agent, moves),
                None if node > self.bounds.voters && self.bounds.changes.is_empty() => {}
                None => moves.push(Move::Starts(node)),
            }
        }
        for swap in &state.swaps {
            if swap.done.is_none() && swap.expected == state.version {
                moves.push(Move::Lands { swap: swap.clone() });
            } else if swap.waits {
                moves.push(Move::Answered { swap: swap.clone() });
            }
            if swap.waits {
                moves.push(Move::TimesOut { swap: swap.clone() });
            }
        }
    }

    fn moves_of(&self, state: &State, node: usize, agent: &Agent, moves: &mut Vec<Move>) {
        let mut tried = agent.clone();
        let effects = self.stepped(&mut tried, Input::Tick);
        moves.push(Move::Tick { node, read: None });
        for effect in &effects {
            match effect {
                Effect::ReadLease => {
                    moves.push(Move::Tick {
                        node,
                        read: Some(0),
                    });
                    if !self.rules.wait_counts_from_receipt {
                        moves.push(Move::Tick {
                            node,
                            read: Some(1),
                        });
                    }
                }
                Effect::AskGrant { of, .. } => self.grants(state, node, self::node(*of), moves),
                Effect::AskVote { of, .. } => {
                    let by = self::node(*of);
                    if state.agent(by).is_some() {
                        moves.extend(self.losses().map(|lost| Move::Votes {
                            candidate: node,
                            by,
                            lost,
                        }));
                    }
                }
                _ => {}
            }
        }
        for sent in &state.sent {
            if sent.to.is_none_or(|to| to == node) {
                moves.push(Move::Hears(node, sent.clone()));
            }
        }
        if state.crashes < self.bounds.crashes {
            moves.push(Move::Crashes(node));
        }
        if agent.server == Server::Primary {
            if state.changes < self.bounds.changes.len() {
                moves.push(Move::Wants(node));
            }
            match agent.releasing {
                Some(_) => moves.push(Move::Ends(node)),
                None if state.releases < self.bounds.releases => {
                    let others = (0..NODES).filter(|other| *other != node);
                    moves.extend(others.map(|to| Move::Switches(node, Some(to))));
                }
                None => {}
            }
        }
    }

    /// Whether an answer is lost.
    fn losses(&self) -> impl Iterator<Item = bool> + use<> {
        [false]
            .into_iter()
            .chain(self.bounds.delays.then_some(true))
    }

    fn grants(&self, state: &State, holder: usize, by: usize, moves: &mut Vec<Move>) {
        let Some(granter) = state.agent(by) else {
            return;
        };
        for sent in 0..=u32::from(self.bounds.delays) {
            for lost in self.losses() {
                // How old a request is whose answer is lost is nothing to who answers.
                if sent == 0 || !lost {
                    moves.push(Move::Grants {
                        holder,
                        by,
                        sent,
                        lost,
                    });
                }
            }
        }
        let late = self.bounds.delays || !self.rules.grant_counts_from_request;
        if late
            && granter
                .granter
                .given
                .is_some_and(|given| given.to == id(holder))
        {
            moves.push(Move::Late { holder, by });
        }
    }

    /// What the world is after a move; nothing where the move changes nothing or leaves the bounds.
    pub(super) fn play(&self, state: &mut State, happens: Move) -> Option<()> {
        match happens {
            Move::Pass => (0..NODES).for_each(|node| state.pass(node)),
            Move::Tick { node, read } => self.tick(state, node, read)?,
            Move::Grants {
                holder,
                by,
                sent,
                lost,
            } => {
                let term = state.agent(holder)?.seen.as_ref()?.record.term;
                let asked = Input::GrantAsked {
                    from: id(holder),
                    term,
                    sent: NOW.minus(UNIT * sent),
                };
                self.exchange(state, by, asked, (!lost).then_some(holder))?;
            }
            Move::Late { holder, by } => {
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
                self.step(state, holder, answer)?;
            }
            Move::Votes {
                candidate,
                by,
                lost,
            } => {
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
                self.exchange(state, by, asked, (!lost).then_some(candidate))?;
            }
            Move::Hears(node, sent) => {
                let release = Release {
                    by: id(sent.by),
                    version: version(sent.version),
                    to: sent.to.map(id),
                };
                self.step(state, node, Input::Released(release))?;
            }
            Move::Lands { mut swap } => {
                state.swaps.remove(&swap);
                if swap.record.term.0 > self.bounds.terms {
                    return None;
                }
                state.version += 1;
                state.record = swap.record.clone();
                swap.done = Some(state.version);
                state.swaps.insert(swap);
            }
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
            Move::Crashes(node) => crash(state, node),
            Move::Starts(node) => {
                if let Node::Down { disk } = *state.nodes[node].node() {
                    let agent = self.started(node, disk);
                    state.nodes[node] = Kept::new(Node::Up { agent, disk });
                }
            }
            Move::Wants(node) => {
                let voters = self.bounds.changes[state.changes].iter();
                let wanted = Wanted {
                    voters: voters.map(|voter| id(*voter)).collect(),
                    ..Wanted::default()
                };
                state.changes += 1;
                self.step(state, node, Input::Members(wanted))?;
            }
            Move::Switches(node, to) => {
                state.releases += 1;
                self.step(state, node, Input::Switchover(to.map(id)))?;
            }
            Move::Ends(node) => {
                let input = Input::ServersStopped(Position::default());
                self.step(state, node, input)?;
            }
        }
        Some(())
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
        if answered {
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

    fn stepped(&self, agent: &mut Agent, input: Input) -> Vec<Effect> {
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
                Effect::KillServers => Some(Input::ServersStopped(Position::default())),
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
