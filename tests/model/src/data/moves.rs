//! What can happen next.

use pgo_ha::{Role, Server, Synchronous};

use super::{Data, state::State};

/// One thing that happens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Move {
    /// An agent has a tick; a read of the Lease is answered.
    Tick(usize),
    /// A holder hears from a replica that it has promised a higher term: a voter in its answer, another one by its report.
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
    /// A server ends by itself and is started again in place, of which the agent hears only that a rule is in force.
    Dies(usize),
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
                    moves.extend(self.others(node).map(|by| Move::Votes(node, by)));
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
        // Where no rule changes, a new server's is the former one's, and nothing is looked at twice.
        if !self.bounds.wanted.is_empty() {
            self.moves_of_successor(state, node, moves);
        }
        moves.push(Move::Held(node));
    }

    /// A server may die at any moment, and each one tells once by which rule it began.
    fn moves_of_successor(&self, state: &State, node: usize, moves: &mut Vec<Move>) {
        let instance = &state.instances[node];
        let configuring = instance.agent.as_ref().map(|agent| &agent.configuring);
        if instance.mark.is_none() && configuring == Some(&None) {
            moves.push(Move::Configures(node, instance.rule.clone()));
        }
        if state.deaths < self.bounds.deaths {
            moves.push(Move::Dies(node));
        }
    }
}
