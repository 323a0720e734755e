//! Whether PostgreSQL could serve here. A primary that cannot hands over, where another instance may take over by itself.

use std::time::Duration;

use pgo_ha::{Input, Moment, Role};

use super::{Driver, DriverError};
use crate::{ha::clock, store::Store};

/// How long others have to take over from a primary whose PostgreSQL does not come up until it tries again itself. An election
/// takes no longer.
const RETRY: Duration = Duration::from_secs(10);

/// What is known of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fitness {
    /// Since when PostgreSQL does not come up, if it does not.
    down: Option<Moment>,
    /// Whether the data volume answers.
    answers: bool,
}

impl Default for Fitness {
    fn default() -> Self {
        Self {
            down: None,
            answers: true,
        }
    }
}

impl<S: Store> Driver<S> {
    pub(super) async fn starts(&mut self, starts: bool) -> Result<(), DriverError> {
        self.fitness.down = match starts {
            true => None,
            false => self.fitness.down.or_else(|| Some(clock::now())),
        };
        self.judge_fitness().await
    }

    pub(super) async fn answers(&mut self, answers: bool) -> Result<(), DriverError> {
        self.fitness.answers = answers;
        if answers {
            tracing::info!("the data volume answers again");
        } else {
            tracing::error!("the data volume hangs: nothing written to it came to an end in time");
        }
        self.judge_fitness().await
    }

    /// Tells the protocol, unless nobody could take over: then it is better to go on trying here.
    pub(super) async fn judge_fitness(&mut self) -> Result<(), DriverError> {
        let now = clock::now();
        if self.agent.fit {
            let leads = matches!(self.agent.role, Role::Holder(_));
            let voters = self.agent.seen.as_ref().map(|seen| &seen.record.voters);
            let can_hand_over =
                self.agent.autofail && voters.is_some_and(|voters| !voters.is_empty());
            let is_fit = self.fitness.down.is_none() && self.fitness.answers;
            if is_fit || leads && !can_hand_over {
                return Ok(());
            }
            tracing::error!(fitness = ?self.fitness, "PostgreSQL cannot serve here; another instance is to take over");
            return self.step(Input::Fit(false)).await;
        }
        // Nobody has taken over, or it follows now: then it will be told again.
        if self
            .fitness
            .down
            .is_some_and(|since| now.since(since) > RETRY)
        {
            self.fitness.down = None;
        }
        if self.fitness.down.is_none() && self.fitness.answers {
            return self.step(Input::Fit(true)).await;
        }
        Ok(())
    }
}
