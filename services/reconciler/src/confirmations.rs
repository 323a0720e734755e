//! Whom a confirmation wakes: who has events that wait for one, and nobody else.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use pgo_bus::{Hint, Listener, Relay, follow_confirmations, follow_hints};
use pgo_ids::StreamId;
use tonic::transport::Channel;

type Wake = Box<dyn Fn() + Send>;

/// Those who wait, by stream. Clones are handles of the same.
#[derive(Clone, Default)]
pub struct Confirmations(Arc<Mutex<HashMap<StreamId, Wake>>>);

impl Confirmations {
    /// Calls `wake` at each confirmation of a stream, until [`Confirmations::forget`].
    pub fn wait(&self, stream: &StreamId, wake: impl Fn() + Send + 'static) {
        let mut waiting = self.lock();
        if !waiting.contains_key(stream) {
            waiting.insert(stream.clone(), Box::new(wake));
        }
    }

    /// Nothing of the stream is unconfirmed any more.
    pub fn forget(&self, stream: &StreamId) {
        self.lock().remove(stream);
    }

    /// Hears what is on disk at the event service behind `channel`, for ever.
    pub async fn follow(self, channel: Channel, relay: Relay) {
        follow_confirmations(channel, relay, move |stream, _| self.wake(stream)).await;
    }

    /// Asks that service about each hint that its stream has not brought, for ever.
    pub async fn follow_hints(self, hints: Listener<Hint>, channel: Channel, relay: Relay) {
        follow_hints(hints, channel, relay, move |stream, _| self.wake(stream)).await;
    }

    fn wake(&self, stream: &StreamId) {
        if let Some(wake) = self.lock().get(stream) {
            wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<StreamId, Wake>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
