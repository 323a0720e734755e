//! An instance that is made from a backup: no part of its cluster, which goes on without it. It neither grants nor votes nor
//! follows, and takes up a Lease only that was made anew and is given to it.

use std::time::Duration;

use pgo_ha::Input;

use super::{Driver, Event};
use crate::{ha::clock, store::Store};

/// Time between two looks at the Lease.
const LOOK: Duration = Duration::from_secs(1);

/// Whether an event concerns only who is part of the cluster. Who asks gets no answer.
pub(super) fn concerns_members(event: &Event) -> bool {
    matches!(
        event,
        Event::GrantAsked { .. }
            | Event::VoteAsked { .. }
            | Event::Released(..)
            | Event::Reported { .. }
    )
}

impl<S: Store> Driver<S> {
    /// Whether this instance is no part of its cluster: until it has taken up the Lease.
    pub(super) fn is_apart(&self) -> bool {
        self.parts.restores && self.agent.seen.is_none()
    }

    /// Whether it is time to look at the Lease.
    pub(super) fn looks(&mut self) -> bool {
        let now = clock::now();
        let is_due = now.since(self.looked) >= LOOK;
        if is_due {
            self.looked = now;
        }
        is_due
    }

    /// The Lease is others'.
    pub(super) fn others_go_on(&self) -> Input {
        let what = "this instance is made from a backup; the cluster goes on without it";
        self.wait_for(what.to_owned());
        Input::LeaseUnknown
    }
}
