//! When the runtime has to act if the agent hears nothing more.

use super::{Agent, Protocol, Server};
use crate::Moment;

impl Agent {
    /// When a primary that gets no more authority has to end its servers, so that the kill has all of D: a step is due then,
    /// beside the regular ones.
    #[must_use]
    pub fn due(&self, protocol: &Protocol) -> Option<Moment> {
        if self.server != Server::Primary {
            return None;
        }
        let until = self.serves_until(protocol)?;
        Some(until.minus(protocol.timing.margin))
    }

    /// Until when servers may live, for who guards against a hung agent; nothing where none that writes is there. A third of D
    /// before authority ends, so that the guard has that to kill them.
    #[must_use]
    pub fn servers_live_until(&self, protocol: &Protocol) -> Option<Moment> {
        match self.server {
            Server::Replica => None,
            Server::Primary => {
                let until = self.serves_until(protocol)?;
                Some(until.minus(protocol.timing.margin / 3))
            }
            Server::Ending => Some(Moment::default()),
        }
    }
}
