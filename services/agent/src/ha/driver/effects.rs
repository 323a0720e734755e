//! What the protocol wants done, done in its order.

use pgo_ha::{Effect, Moment, Promise, VoterId};
use pgo_ids::Term;

use super::{Driver, DriverError};
use crate::{
    ha::{
        course::{Course, Ending, Leader},
        lease::{self, Reign},
    },
    store::Store,
};

impl<S: Store> Driver<S> {
    pub(super) async fn carry_out(
        &mut self,
        effect: Effect,
        now: Moment,
    ) -> Result<(), DriverError> {
        match effect {
            Effect::StorePromise(promise) => self.keep(promise).await?,
            Effect::AskGrant {
                of,
                term,
                version,
                sent,
            } => {
                let what = (term, &version);
                self.parts.calls.grant(of, &self.book, what, sent);
            }
            Effect::AnswerGrant {
                to, sent, answer, ..
            } => {
                if let Some(asked) = self.grants.remove(&(to, sent)) {
                    // Whoever has given up does not take it.
                    let _ = asked.send(answer);
                }
            }
            Effect::AskVote {
                of,
                term,
                version,
                release,
            } => {
                let what = (term, version);
                self.parts
                    .calls
                    .vote(of, &self.book, what, release.as_ref(), now);
            }
            Effect::AnswerVote {
                to,
                term,
                version,
                answer,
            } => {
                tracing::info!(candidate = %to, %term, ?answer, "a candidate is answered");
                if let Some(asked) = self.votes.remove(&(to, term, version)) {
                    let _ = asked.send(answer);
                }
            }
            Effect::ReadLease => self.read_lease(),
            Effect::WriteLease { expected, record } => {
                tracing::info!(
                    term = %record.term, holder = %record.holder, voters = record.voters.len(),
                    "the Lease is written"
                );
                self.write_lease(&expected, &record);
            }
            Effect::SendRelease { to, release } => {
                let words = self.last_words();
                let said = (&release, &words);
                self.parts.calls.release(to, &self.book, said, now);
            }
            of_server => self.steer(of_server),
        }
        Ok(())
    }

    /// What PostgreSQL is to do.
    fn steer(&mut self, effect: Effect) {
        match effect {
            Effect::Serve {
                term,
                start,
                synchronous,
            } => {
                self.ended = None;
                let lease = self.lease.as_ref().map(lease::uid).unwrap_or_default();
                self.turn(Course::Lead {
                    reign: Reign { lease, term },
                    start,
                    synchronous,
                });
            }
            Effect::KillServers => self.turn(Course::End(Ending::Kill)),
            Effect::ShutDown => self.turn(Course::End(Ending::ShutDown)),
            Effect::StopReceiver => {
                self.holds += 1;
                self.turn(Course::Hold { order: self.holds });
            }
            Effect::Follow { holder, term } => self.follow(holder, term, false),
            Effect::Copy { holder } => self.follow(holder, self.agent.promise.term, true),
            Effect::Configure(rule) => {
                self.parts.course.send_if_modified(|course| {
                    let Course::Lead { synchronous, .. } = course else {
                        return false;
                    };
                    *synchronous = rule;
                    true
                });
            }
            _ => {}
        }
    }

    fn follow(&self, voter: VoterId, term: Term, copy: bool) {
        let Some(seen) = &self.agent.seen else {
            return;
        };
        let record = seen.record.clone();
        let place = self.book.place(&voter).cloned();
        let leader = Leader {
            follower: self.agent.me,
            voter,
            place,
            term,
            record,
        };
        self.turn(Course::Follow { leader, copy });
    }

    fn turn(&self, course: Course) {
        tracing::info!(?course, "PostgreSQL is to do this");
        self.parts.course.send_replace(course);
    }

    async fn keep(&mut self, promise: Promise) -> Result<(), DriverError> {
        let mut volume = self.parts.volume.clone();
        let kept = tokio::task::spawn_blocking(move || volume.keep(promise).map(|()| volume));
        self.parts.volume = kept.await??;
        Ok(())
    }
}
