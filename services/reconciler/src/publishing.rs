//! From a status to the relay. What a status has no room for goes to a page first; nothing is offered before what is older.

use std::time::Duration;

use jiff::Timestamp;
use kube::Api;
use pgo_bus::Relay;
use pgo_crd::PgEventPage;
use pgo_events::{Eventing, Outbox};
use pgo_ids::{Seq, StreamId};
use tokio::time::timeout;

use crate::{confirmations::Confirmations, pages};

/// How long the making or finding of pages may hold up a reconcile: events never keep a cluster from what it needs.
const DEADLINE: Duration = Duration::from_secs(2);

/// How all streams are published. Clones are handles of the same.
#[derive(Clone)]
pub struct Publishing {
    relay: Relay,
    confirmations: Confirmations,
    pages: Api<PgEventPage>,
    /// Since when this process publishes.
    since: Timestamp,
}

impl Publishing {
    /// Publishing through `relay` from now on, with pages behind `pages`.
    pub fn new(relay: Relay, confirmations: Confirmations, pages: Api<PgEventPage>) -> Self {
        Self {
            relay,
            confirmations,
            pages,
            since: Timestamp::now(),
        }
    }

    /// Whether events are published, and how far a stream is stored.
    pub fn eventing(&self, stream: &StreamId) -> Eventing {
        if self.relay.is_off() {
            return Eventing::Off;
        }
        Eventing::On {
            confirmed: self.relay.confirmed(stream).unwrap_or_default(),
            since: self.since,
        }
    }

    /// Leaves to a page what the status that `outbox` is a part of has no room for. `written` is the newest event of the
    /// status as it is stored. Where no page can be made the status grows meanwhile, up to a limit of the outbox.
    pub async fn make_room(&self, stream: &StreamId, outbox: &mut Outbox, written: Seq) {
        let events = outbox.overflow(written).to_vec();
        let Some(last) = events.last().map(|event| event.seq) else {
            return;
        };
        match timeout(DEADLINE, pages::store(&self.pages, &events)).await {
            Ok(Ok(())) => {
                tracing::warn!(%stream, %last, "too many events wait to be stored; they wait in a PgEventPage now");
                // Else those in older pages come first, when the status is offered.
                if outbox.paged == Seq(0) || self.relay.knows(stream, outbox.paged) {
                    self.relay.offer(stream, events);
                }
                outbox.leave_to_pages(last);
            }
            Ok(Err(error)) => {
                tracing::warn!(%stream, %error, "no page for events that wait to be stored; the status grows");
            }
            Err(_) => {
                tracing::warn!(%stream, "no answer about a page for events; the status grows");
            }
        }
    }

    /// Publishes what is unconfirmed of a stream; `wake` is called when something of it is stored.
    pub async fn offer(
        &self,
        stream: &StreamId,
        outbox: &Outbox,
        wake: impl Fn() + Send + 'static,
    ) {
        if !outbox.waits() || self.relay.is_off() {
            return self.confirmations.forget(stream);
        }
        self.confirmations.wait(stream, wake);
        if outbox.paged > Seq(0) && !self.relay.knows(stream, outbox.paged) {
            let confirmed = self.relay.confirmed(stream).unwrap_or_default();
            match timeout(DEADLINE, pages::find(&self.pages, stream, confirmed)).await {
                Ok(Ok(events)) => self.relay.offer(stream, events),
                Ok(Err(error)) => {
                    return tracing::warn!(%stream, %error, "events wait for older ones in pages");
                }
                Err(_) => {
                    return tracing::warn!(%stream, "events wait for older ones in pages: no answer about those");
                }
            }
        }
        self.relay.offer(stream, outbox.entries.clone());
    }

    /// Forgets a stream whose object is gone; its pages are looked after by themselves.
    pub fn forget(&self, stream: &StreamId) {
        self.confirmations.forget(stream);
    }
}

#[cfg(test)]
mod tests;
