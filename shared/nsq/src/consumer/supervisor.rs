//! The task of a consumer: a link for each nsqd, the clock of what they agree on, and the end of it all.

use std::{collections::BTreeMap, sync::Arc};

use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::{
    flow::LinkId,
    inbox::Inbox,
    link::{Link, Order, Shared},
};
use crate::{
    discovery::{Discovery, Listing, poll},
    server::Server,
};

/// Where a consumer reads.
pub(super) enum Source {
    /// These and no others.
    Servers(Vec<Server>),
    /// What the nsqlookupds say.
    Discovered(Discovery),
}

/// The task's hold on the inbox. Without the task nothing arrives any more, also if it was torn down with its runtime,
/// before its first step even.
pub(super) struct Filled(pub Arc<Inbox>);

impl Drop for Filled {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// See the module.
pub(super) struct Supervisor {
    shared: Arc<Shared>,
    _filled: Filled,
    /// Links that shall go on, by the address of their nsqd.
    links: BTreeMap<String, (LinkId, watch::Sender<Order>)>,
    /// Orders of those that still wait for answers to their last messages, perhaps.
    retired: Vec<watch::Sender<Order>>,
    tasks: JoinSet<usize>,
    last_id: LinkId,
}

impl Supervisor {
    pub fn new(shared: Arc<Shared>, filled: Filled) -> Self {
        Self {
            shared,
            _filled: filled,
            links: BTreeMap::new(),
            retired: Vec::new(),
            tasks: JoinSet::new(),
            last_id: 0,
        }
    }

    /// Returns how many messages were not answered, once the sender of `closing` is dropped and all is drained.
    pub async fn run(mut self, source: Source, mut closing: watch::Receiver<()>) -> usize {
        let (sender, mut listing) = watch::channel(Listing::default());
        let ask_again = Arc::new(Notify::new());
        let mut poller = JoinSet::new();
        match source {
            Source::Servers(servers) => {
                for server in servers {
                    self.add(server);
                }
            }
            Source::Discovered(discovery) => {
                let topic = self.shared.topic.clone();
                poller.spawn(poll(discovery, topic, sender, ask_again.clone()));
            }
        }
        let discovered = !poller.is_empty();
        let shared = self.shared.clone();
        loop {
            let next_change = shared.flow.next_change();
            tokio::select! {
                () = closed(&mut closing) => break,
                () = shared.flow.rescheduled() => {}
                () = sleep_until(next_change.unwrap_or_else(Instant::now)), if next_change.is_some() => {
                    shared.flow.tick();
                }
                Ok(()) = listing.changed() => self.follow(&listing.borrow_and_update().clone()),
                () = shared.status.lost.notified(), if discovered => {
                    self.follow(&listing.borrow().clone());
                    ask_again.notify_one();
                }
                Some(_) = self.tasks.join_next() => {}
            }
        }
        drop(poller);
        self.close().await
    }

    fn add(&mut self, server: Server) {
        if self.links.contains_key(&server.address) {
            return;
        }
        self.last_id += 1;
        let (order, orders) = watch::channel(Order::Run);
        self.links
            .insert(server.address.clone(), (self.last_id, order));
        self.shared.status.add(self.last_id, server.address.clone());
        let link = Link::new(self.last_id, server, self.shared.clone(), orders);
        self.tasks.spawn(link.run());
    }

    /// Adds what is new. What is no longer listed goes only when its connection is lost: an nsqlookupd that was restarted
    /// knows less than those who are connected.
    fn follow(&mut self, listing: &Listing) {
        if let Some(reason) = &listing.failure {
            self.shared.status.lost_sight(reason.clone());
        }
        for server in listing.servers.values() {
            self.add(server.clone());
        }
        self.retired.retain(|order| !order.is_closed());
        let status = &self.shared.status;
        let gone = self.links.extract_if(.., |address, (id, _)| {
            !listing.servers.contains_key(address) && !status.is_connected(*id)
        });
        for (address, (id, order)) in gone {
            tracing::info!(address, "no nsqlookupd lists this nsqd any more");
            status.remove(id);
            order.send_replace(Order::Retire);
            self.retired.push(order);
        }
    }

    async fn close(mut self) -> usize {
        let orders = self.links.values().map(|(_, order)| order);
        for order in orders.chain(&self.retired) {
            order.send_replace(Order::Close);
        }
        let mut unanswered = 0;
        while let Some(ended) = self.tasks.join_next().await {
            unanswered += ended.unwrap_or_default();
        }
        self.shared.status.closed();
        unanswered
    }
}

/// Resolves when the consumer was closed.
async fn closed(closing: &mut watch::Receiver<()>) {
    while closing.changed().await.is_ok() {}
}
