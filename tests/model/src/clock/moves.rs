//! What can happen next.

use pgo_ha::{Agent, Effect, Input, Server};

use super::{
    Clock,
    state::{NODES, Sent, State, Swap, id, node},
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
    /// The database of a primary cannot serve.
    Fails(usize),
    /// It could serve again.
    Recovers(usize),
    /// An instance is elsewhere, which the primary is to write beside the record.
    Outdates(usize),
    /// The user wants this instance to take over.
    Orders(usize),
    /// The Lease is lost, and made anew.
    LosesLease,
    /// The API server stops answering.
    Stalls,
}

impl Clock {
    pub(super) fn moves(&self, state: &State, moves: &mut Vec<Move>) {
        moves.push(Move::Pass);
        if state.losses < self.bounds.losses {
            moves.push(Move::LosesLease);
        }
        if self.bounds.stalls && !state.stalled && state.all_hear() {
            moves.push(Move::Stalls);
        }
        for node in 0..NODES {
            match state.agent(node) {
                Some(agent) => self.moves_of(state, node, agent, moves),
                None if node > self.bounds.voters && self.bounds.changes.is_empty() => {}
                None => moves.push(Move::Starts(node)),
            }
        }
        for swap in &state.swaps {
            if state.stalled {
                // Nothing is done or answered.
            } else if swap.done.is_none() && swap.expected == state.version {
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
        for effect in effects {
            match effect {
                // The tick whose read is not answered is there already.
                Effect::ReadLease if state.stalled => {}
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
                Effect::AskGrant { of, .. } => self.asks(state, node, self::node(of), moves),
                Effect::AskVote { of, .. } => {
                    let by = self::node(of);
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
        if !self.bounds.autofail && agent.server != Server::Primary && agent.told.is_none() {
            moves.push(Move::Orders(node));
        }
        if !agent.fit {
            moves.push(Move::Recovers(node));
        }
        if agent.server == Server::Primary {
            self.moves_of_primary(state, node, agent, moves);
        }
    }

    fn moves_of_primary(&self, state: &State, node: usize, agent: &Agent, moves: &mut Vec<Move>) {
        if state.changes < self.bounds.changes.len() {
            moves.push(Move::Wants(node));
        }
        // As `Fitness` has it: only where somebody could take over.
        let voters = agent.seen.as_ref().map(|seen| &seen.record.voters);
        if agent.fit
            && state.failures < self.bounds.failures
            && voters.is_some_and(|voters| !voters.is_empty())
        {
            moves.push(Move::Fails(node));
        }
        if !agent.outdated && state.outdated < self.bounds.outdated {
            moves.push(Move::Outdates(node));
        }
        match agent.releasing {
            Some(_) => moves.push(Move::Ends(node)),
            None if state.releases < self.bounds.releases => {
                let others = (0..NODES).filter(|other| *other != node);
                let whom = others.map(Some).chain([None]);
                moves.extend(whom.map(|to| Move::Switches(node, to)));
            }
            None => {}
        }
    }

    /// Whether an answer is lost.
    fn losses(&self) -> impl Iterator<Item = bool> + use<> {
        [false]
            .into_iter()
            .chain(self.bounds.delays.then_some(true))
    }

    fn asks(&self, state: &State, holder: usize, by: usize, moves: &mut Vec<Move>) {
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
}
