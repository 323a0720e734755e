//! What a consumer tells about its connections.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Notify, watch};

use super::flow::LinkId;
use crate::{error::ConnectionError, state::State};

/// See the module.
#[derive(Debug)]
pub(super) struct Status {
    /// Held while both channels are written, so that they agree.
    links: Mutex<BTreeMap<LinkId, (String, State)>>,
    state: watch::Sender<State>,
    nodes: watch::Sender<BTreeMap<String, State>>,
    /// For the supervisor: a connection that was there was lost.
    pub lost: Notify,
}

impl Status {
    pub fn new() -> Self {
        Self {
            links: Mutex::default(),
            state: watch::Sender::new(State::Connecting),
            nodes: watch::Sender::default(),
            lost: Notify::new(),
        }
    }

    /// The consumer as a whole.
    pub fn state(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// Each nsqd by its address.
    pub fn nodes(&self) -> watch::Receiver<BTreeMap<String, State>> {
        self.nodes.subscribe()
    }

    /// A panic while the lock is held leaves nothing half done.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<LinkId, (String, State)>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn add(&self, id: LinkId, address: String) {
        let mut links = self.lock();
        links.insert(id, (address, State::Connecting));
        self.tell_nodes(&links);
    }

    /// Forgets a link. What it says afterwards is not heard.
    pub fn remove(&self, id: LinkId) {
        let mut links = self.lock();
        links.remove(&id);
        self.tell_nodes(&links);
    }

    pub fn is_connected(&self, id: LinkId) -> bool {
        let links = self.lock();
        links
            .get(&id)
            .is_some_and(|(_, state)| state.is_connected())
    }

    pub fn connected(&self, id: LinkId) {
        let mut links = self.lock();
        if let Some((_, state)) = links.get_mut(&id) {
            *state = State::Connected;
            self.tell_nodes(&links);
            // One connection more is no news where there was one.
            self.state.send_if_modified(|state| {
                let news = !state.is_connected();
                if news {
                    *state = State::Connected;
                }
                news
            });
        }
    }

    pub fn disconnected(&self, id: LinkId, reason: Arc<ConnectionError>) {
        let mut links = self.lock();
        if let Some((_, state)) = links.get_mut(&id) {
            let lost = state.is_connected();
            *state = State::Disconnected {
                reason: reason.clone(),
            };
            self.tell_nodes(&links);
            self.tell_unless_connected(&links, reason);
            if lost {
                self.lost.notify_one();
            }
        }
    }

    /// No nsqlookupd could be asked.
    pub fn lost_sight(&self, reason: Arc<ConnectionError>) {
        let links = self.lock();
        self.tell_unless_connected(&links, reason);
    }

    /// The consumer is closed.
    pub fn closed(&self) {
        let mut links = self.lock();
        links.clear();
        self.tell_nodes(&links);
        self.state.send_replace(State::Closed);
    }

    fn tell_nodes(&self, links: &BTreeMap<LinkId, (String, State)>) {
        // Of two links to one address the later one counts: the other is on its way out.
        let nodes = links.values().cloned().collect();
        self.nodes.send_replace(nodes);
    }

    fn tell_unless_connected(
        &self,
        links: &BTreeMap<LinkId, (String, State)>,
        reason: Arc<ConnectionError>,
    ) {
        if !links.values().any(|(_, state)| state.is_connected()) {
            self.state.send_replace(State::Disconnected { reason });
        }
    }
}
