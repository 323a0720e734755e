//! What others ask: other agents by the protocol, and those who want another primary.

use std::time::Duration;

use jiff::Timestamp;
use pgo_ha::{Input, Moment, Server, VoterId};

use super::{Change, Driver, DriverError, Event};
use crate::store::Store;

impl<S: Store> Driver<S> {
    pub(super) async fn grant_asked(&mut self, asked: Event) -> Result<(), DriverError> {
        let Event::GrantAsked {
            from,
            place,
            term,
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
        self.step(Input::GrantAsked { from, term, sent }).await?;
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

    /// Begins a change of the primary, or says why not.
    pub(super) async fn change(
        &mut self,
        change: Change,
    ) -> Result<Result<(), String>, DriverError> {
        let Some(seen) = &self.agent.seen else {
            return Ok(Err(
                "it is not known here who is primary; ask again".to_owned()
            ));
        };
        let voters = &seen.record.voters;
        let input = match change {
            Change::Switchover(_) if self.agent.server != Server::Primary => {
                return Ok(Err("this instance is not the primary".to_owned()));
            }
            Change::Switchover(None) if voters.is_empty() => {
                return Ok(Err("no replica can take over now".to_owned()));
            }
            Change::Switchover(None) => Input::Switchover(None),
            Change::Switchover(Some(name)) => {
                let is_it = |voter: &&VoterId| {
                    let place = self.book.place(voter);
                    place.is_some_and(|place| place.name == name)
                };
                match voters.iter().find(is_it) {
                    Some(voter) => Input::Switchover(Some(*voter)),
                    None => {
                        return Ok(Err(format!(
                            "{name} is not ready to take over: it does not stream from the primary, or not for long enough"
                        )));
                    }
                }
            }
            Change::Failover if self.agent.server == Server::Primary => {
                return Ok(Err("this instance is the primary already".to_owned()));
            }
            Change::Failover if !voters.contains(&self.agent.me) => {
                return Ok(Err(
                    "this instance may not take over: it was not streaming when the primary went"
                        .to_owned(),
                ));
            }
            Change::Failover => Input::Failover,
        };
        let is_switchover = matches!(input, Input::Switchover(_));
        self.step(input).await?;
        if is_switchover && self.agent.releasing.is_none() {
            return Ok(Err(
                "something is being recorded in the Lease right now; ask again".to_owned(),
            ));
        }
        Ok(Ok(()))
    }
}
