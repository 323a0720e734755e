//! What a client tells about its connection.

use std::sync::Arc;

use crate::error::ConnectionError;

/// The connection of a [`Producer`](crate::Producer) or [`Consumer`](crate::Consumer), as both tell it by a watch
/// channel.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum State {
    /// The first connection is being made.
    Connecting,
    /// Connected and identified; a consumer is subscribed too.
    Connected,
    /// The connection was lost, or could not be made; the next try comes by itself.
    Disconnected {
        /// Why the last connection, or the last try, ended.
        reason: Arc<ConnectionError>,
    },
    /// The client was closed. This is the last state.
    Closed,
}

impl State {
    /// Whether it is [`State::Connected`].
    pub fn is_connected(&self) -> bool {
        matches!(self, Self::Connected)
    }
}
