//! Whether PostgreSQL could serve here. A primary that cannot hands over, where another instance may take over by itself.

use std::time::Duration;

use crate::{Agent, Moment, Role};

/// How long others have to take over from a primary whose PostgreSQL does not come up until it tries again itself. An election
/// takes no longer.
const RETRY: Duration = Duration::from_secs(10);

/// What is known of it.
#[derive(Clone, Copy, Debug)]
pub struct Fitness {
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

impl Fitness {
    /// Whether the data volume hangs.
    #[must_use]
    pub fn volume_hangs(&self) -> bool {
        !self.answers
    }

    /// PostgreSQL serves here, or does not come up.
    pub fn starts(&mut self, starts: bool, now: Moment) {
        self.down = if starts {
            None
        } else {
            self.down.or(Some(now))
        };
    }

    /// The data volume answers, or hangs.
    pub fn answers(&mut self, answers: bool) {
        self.answers = answers;
    }

    /// What the protocol has to be told ([`crate::Input::Fit`]), if anything: nothing of what is wrong as long as nobody could
    /// take over, since then it is better to go on trying here.
    pub fn judge(&mut self, agent: &Agent, now: Moment) -> Option<bool> {
        if agent.fit {
            let leads = matches!(agent.role, Role::Holder(_));
            let voters = agent.seen.as_ref().map(|seen| &seen.record.voters);
            let can_hand_over = agent.autofail && voters.is_some_and(|voters| !voters.is_empty());
            let is_fit = self.down.is_none() && self.answers;
            return (!is_fit && (!leads || can_hand_over)).then_some(false);
        }
        // Nobody has taken over, or it follows now: then it will be told again.
        if self.down.is_some_and(|since| now.since(since) > RETRY) {
            self.down = None;
        }
        (self.down.is_none() && self.answers).then_some(true)
    }
}
