//! What others ask: other agents by the protocol, and those who want another primary.

use std::time::Duration;

use jiff::Timestamp;
use pgo_ha::{ABSENCE, Hindrance, Input, Moment, Server, VoterId};

use super::{Change, Decision, Driver, DriverError, Event};
use crate::{checkpoint, ha::clock, store::Store};

/// How long the checkpoint may take that a planned change begins with. Where it takes longer, much of it is written by then,
/// and the operation that wants the change has some time left.
const PREPARATION: Duration = Duration::from_secs(60);

/// A planned change of the primary before it begins.
pub(super) struct Preparing {
    /// The newest wish.
    change: Change,
    /// Who waits.
    decisions: Vec<Decision>,
}

impl<S: Store> Driver<S> {
    pub(super) async fn grant_asked(&mut self, asked: Event) -> Result<(), DriverError> {
        let Event::GrantAsked {
            from,
            place,
            term,
            version,
            others,
            answer,
        } = asked
        else {
            return Ok(());
        };
        self.book.learn(from, place);
        for (voter, place) in others {
            if voter != self.agent.me {
                self.book.learn(voter, place);
            }
        }
        self.heard = Some(Timestamp::now());
        self.asked += 1;
        let sent = Moment::since_boot(Duration::from_nanos(self.asked));
        self.grants.insert((from, sent), answer);
        // Only what is news: the Lease may have been written by others since, of which the primary has no reason to know.
        let version = version.filter(|version| self.told_version.as_ref() != Some(version));
        if version.is_some() {
            self.told_version.clone_from(&version);
        }
        let asked = Input::GrantAsked {
            from,
            term,
            version,
            sent,
        };
        self.step(asked).await?;
        // What was not answered in this step never is.
        self.grants.remove(&(from, sent));
        Ok(())
    }

    pub(super) async fn vote_asked(&mut self, asked: Event) -> Result<(), DriverError> {
        let Event::VoteAsked {
            from,
            place,
            term,
            version,
            release,
            answer,
        } = asked
        else {
            return Ok(());
        };
        self.book.learn(from, place);
        // Whoever has given up waiting asks again.
        self.votes.retain(|_, waiting| !waiting.is_closed());
        self.votes.insert((from, term, version.clone()), answer);
        self.step(Input::VoteAsked {
            from,
            term,
            version,
            release,
        })
        .await
    }

    /// Begins a change of the primary, or says why not. Where the primary gives up in order, it prepares for that first: while
    /// it shuts down nobody can write.
    pub(super) async fn change(
        &mut self,
        change: Change,
        decision: Decision,
    ) -> Result<(), DriverError> {
        let input = match self.judge(&change) {
            Ok(input) => input,
            Err(reason) => {
                // Who asked may have given up.
                let _ = decision.send(Err(reason));
                return Ok(());
            }
        };
        if change == Change::Failover {
            self.step(input).await?;
            let _ = decision.send(Ok(()));
            return Ok(());
        }
        match &mut self.preparing {
            Some(preparing) => {
                preparing.change = change;
                preparing.decisions.push(decision);
            }
            None => {
                self.preparing = Some(Preparing {
                    change,
                    decisions: vec![decision],
                });
                let (socket, sender) = (self.parts.socket.clone(), self.sender.clone());
                tokio::spawn(async move {
                    checkpoint::before_shutdown(&socket, PREPARATION).await;
                    let _ = sender.send(Event::Prepared);
                });
            }
        }
        Ok(())
    }

    /// Begins the change that was prepared, if it is still possible.
    pub(super) async fn prepared(&mut self) -> Result<(), DriverError> {
        let Some(Preparing { change, decisions }) = self.preparing.take() else {
            return Ok(());
        };
        let decided = match self.judge(&change) {
            Ok(input) => {
                self.step(input).await?;
                match self.agent.releasing {
                    Some(_) => Ok(()),
                    None => Err(
                        "something is being recorded in the Lease right now; ask again".to_owned(),
                    ),
                }
            }
            Err(reason) => Err(reason),
        };
        for decision in decisions {
            let _ = decision.send(decided.clone());
        }
        Ok(())
    }

    /// What a change means to the protocol, or why it is not possible here.
    fn judge(&self, change: &Change) -> Result<Input, String> {
        let seen = self.agent.seen.as_ref();
        let seen =
            seen.ok_or_else(|| "it is not known here who is primary; ask again".to_owned())?;
        let voters = &seen.record.voters;
        let refused = match change {
            Change::Switchover(_) if self.agent.server != Server::Primary => {
                "this instance is not the primary".to_owned()
            }
            Change::Switchover(None) if voters.is_empty() => {
                "no replica can take over now".to_owned()
            }
            Change::Switchover(None) => return self.followed_by(None),
            Change::Switchover(Some(name)) => {
                let is_it = |voter: &&VoterId| {
                    let place = self.book.place(voter);
                    place.is_some_and(|place| place.name == *name)
                };
                match voters.iter().find(is_it) {
                    Some(voter) => return self.followed_by(Some(*voter)),
                    None => format!(
                        "{name} is not ready to take over: it does not stream from the primary, or not for long enough"
                    ),
                }
            }
            Change::Failover if self.agent.server == Server::Primary => {
                "this instance is the primary already".to_owned()
            }
            Change::Failover if !voters.contains(&self.agent.me) => {
                "this instance may not take over: it was not streaming when the primary went"
                    .to_owned()
            }
            Change::Failover => return Ok(Input::Failover),
        };
        Err(refused)
    }

    /// A planned change to `to`, or anybody, if it could come to its end: else nobody could write for nothing.
    fn followed_by(&self, to: Option<VoterId>) -> Result<Input, String> {
        let Some(replicas) = &self.replicas else {
            return Err("this instance is not the primary".to_owned());
        };
        let could = self
            .agent
            .could_hand_over(&self.protocol, replicas, to, clock::now());
        could.map_err(|hindrance| self.why_not(to, &hindrance))?;
        Ok(Input::Switchover(to))
    }

    /// What is in the way of a planned change, for people.
    fn why_not(&self, to: Option<VoterId>, hindrance: &Hindrance) -> String {
        let name = |voter: &VoterId| {
            let place = self.book.place(voter);
            place.map_or_else(|| voter.to_string(), |place| place.name.clone())
        };
        let target = to.as_ref().map_or_else(|| "a replica".to_owned(), name);
        let goes_on = "the primary goes on";
        match hindrance {
            Hindrance::NotHolder => "this instance is not the primary".to_owned(),
            Hindrance::NoVoter | Hindrance::Behind => format!(
                "{target} cannot take over without loss: it does not stream from the primary; {goes_on}"
            ),
            Hindrance::Away => format!(
                "{target} cannot take over: its agent does not answer the primary, or its data is being copied; {goes_on}"
            ),
            Hindrance::NoCandidate => {
                format!("no replica that answers the primary streams from it; {goes_on}")
            }
            Hindrance::TooFewVotes { votes, needed } => {
                let names: Vec<String> = votes.iter().map(name).collect();
                format!(
                    "{target} cannot be elected: {needed} of the replicas have to vote, and only {} can now; {goes_on}, ask \
                     again when the others are back, or have been away for {} s",
                    names.join(", "),
                    ABSENCE.as_secs()
                )
            }
        }
    }

    /// The instance with this slot votes no more.
    pub(super) fn removed(&mut self, slot: &str) {
        let voter = self.book.of_slot(slot);
        if let (Some(voter), Some(replicas)) = (voter, &mut self.replicas) {
            replicas.remove(voter);
        }
    }
}
