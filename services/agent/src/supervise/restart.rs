//! A restart in place, as somebody asked for it: the server stops in order and begins again under the authority that it has.

use std::time::Duration;

use super::Supervisor;
use crate::{checkpoint, progress::Event, state::Phase, store::Store};

/// How long the checkpoint before the stop may take. Without it the stop writes it, while nobody is served.
const CHECKPOINT: Duration = Duration::from_secs(60);

impl<S: Store> Supervisor<S> {
    /// Stops the server, so that its next start is the restart. Clients are told by PostgreSQL that their connections end.
    ///
    /// The server stays known until it has stopped: should authority end meanwhile, it is ended as any other.
    pub(super) async fn restart(&mut self) -> Event {
        let Some(server) = &self.server else {
            return Event::Failed("there is no server to restart".to_owned());
        };
        tracing::info!("PostgreSQL is being restarted");
        checkpoint::before_shutdown(&self.settings.socket(), CHECKPOINT).await;
        self.health.down("PostgreSQL is being restarted".to_owned());
        self.reporter.change(|state| {
            state.phase = Phase::Stopping;
            state.running_since = None;
            state.following.streaming = false;
        });
        server.stop().await;
        self.serving = None;
        self.server = None;
        Event::Stopped
    }
}
