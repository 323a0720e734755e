//! A primary gives up in order: what it says beside its release, and who follows first.

use std::time::Duration;

use pgo_ha::{Input, Moment, Position, Protocol, Release};

use super::{Driver, DriverError};
use crate::{
    ha::{clock, wire::LastWords},
    store::Store,
};

/// How long who may lack something of what the primary had leaves the others alone with its release. An election takes a
/// fraction of it; where none of them is there, writes wait so much longer.
const PRECEDENCE: Duration = Duration::from_secs(1);

/// Where WAL was said to flow so short a time before the release, nothing is lacking: a primary that shuts down waits until who
/// streams from it has everything (PostgreSQL, "Shutting Down the Server"). Two ticks, and the way of the release.
const JUST_NOW: Duration = Duration::from_millis(500);

/// How long an instance that was told to keep its place when it ends does so: its pod is ended right after, or by somebody
/// else for another reason.
const STAYS: Duration = Duration::from_secs(60);

/// A release as it arrived.
#[derive(Clone, Debug)]
pub(super) struct Arrived {
    release: Release,
    words: LastWords,
    /// Until when it is kept from the protocol, which then has it.
    kept_until: Option<Moment>,
}

impl<S: Store> Driver<S> {
    /// Has another instance take over from one that ends, where it was not told to keep its place.
    pub(super) async fn hand_over(&mut self) -> Result<(), DriverError> {
        let stays = self.stays.is_some_and(|told| told.elapsed() < STAYS);
        match stays {
            true => Ok(()),
            false => self.step(Input::Switchover(None)).await,
        }
    }

    /// What this primary says beside its release.
    pub(super) fn last_words(&self) -> LastWords {
        let state = self.parts.state.borrow();
        let error = state.error.clone();
        LastWords {
            end: self.ended,
            unfit: (!self.agent.fit).then(|| match (self.fitness.volume_hangs(), error) {
                (true, _) => "its data volume hangs".to_owned(),
                (false, Some(error)) => format!("its PostgreSQL does not come up: {error}"),
                (false, None) => "its PostgreSQL does not come up".to_owned(),
            }),
        }
    }

    /// A primary has given up. To hear of it later is to have had a slower network, so that the protocol holds whenever it is
    /// told.
    pub(super) async fn released(
        &mut self,
        release: Release,
        words: LastWords,
    ) -> Result<(), DriverError> {
        let is_known = |arrived: &Arrived| arrived.release == release;
        if self.arrived.as_ref().is_some_and(is_known) {
            return Ok(());
        }
        self.hear_own().await?;
        let now = clock::now();
        let waits = self.may_lack(&release, &words, now);
        tracing::info!(by = %release.by, to = ?release.to, end = ?words.end, unfit = words.unfit, waits, "a primary has released");
        self.arrived = Some(Arrived {
            release: release.clone(),
            words,
            kept_until: waits.then(|| now.plus(PRECEDENCE)),
        });
        if waits {
            return Ok(());
        }
        self.step(Input::Released(release)).await
    }

    /// Tells the protocol of a release that was kept for long enough.
    pub(super) async fn let_released(&mut self) -> Result<(), DriverError> {
        let now = clock::now();
        let Some(arrived) = &mut self.arrived else {
            return Ok(());
        };
        if arrived.kept_until.is_none_or(|until| now < until) {
            return Ok(());
        }
        arrived.kept_until = None;
        let release = arrived.release.clone();
        tracing::info!(by = %release.by, "nobody who lacks nothing has followed");
        self.step(Input::Released(release)).await
    }

    fn may_lack(&self, release: &Release, words: &LastWords, now: Moment) -> bool {
        let seen = self.agent.seen.as_ref();
        let are_several = seen.is_some_and(|seen| seen.record.voters.len() > 1);
        let is_anybodys = release.to.is_none() && are_several;
        let Some(end) = words.end.filter(|_| is_anybodys) else {
            return false;
        };
        let streamed = self.streamed.is_some_and(|at| now.since(at) < JUST_NOW);
        let has_all = self.agent.flushed.reaches(&Protocol::PRODUCTION.rules, end);
        !streamed && !has_all
    }

    /// What was said beside the release by which this instance takes over, if it does by one.
    pub(super) fn words_of_release(&self) -> Option<LastWords> {
        let release = self.agent.release.as_ref()?;
        let arrived = self.arrived.as_ref();
        let arrived = arrived.filter(|arrived| arrived.release == *release);
        Some(
            arrived
                .map(|arrived| arrived.words.clone())
                .unwrap_or_default(),
        )
    }
}

/// How many bytes of what the former primary had are not in a history that goes on `from` there.
pub(super) fn lost(words: &LastWords, from: Position) -> Option<u64> {
    let end = words.end?;
    // How much of another timeline is missing cannot be told by two places.
    (end.timeline == from.timeline).then(|| end.lsn.0.saturating_sub(from.lsn.0))
}

#[cfg(test)]
mod tests {
    use pgo_ha::{Lsn, Timeline};

    use super::*;

    fn at(timeline: u32, lsn: u64) -> Position {
        Position {
            timeline: Timeline(timeline),
            lsn: Lsn(lsn),
        }
    }

    #[test]
    fn what_is_lost_is_what_lies_behind_the_fork() {
        let words = |end| LastWords { end, unfit: None };
        assert_eq!(lost(&words(Some(at(2, 500))), at(2, 420)), Some(80));
        assert_eq!(lost(&words(Some(at(2, 500))), at(2, 500)), Some(0));
        assert_eq!(lost(&words(Some(at(2, 500))), at(1, 420)), None);
        assert_eq!(lost(&words(None), at(2, 420)), None);
    }
}
