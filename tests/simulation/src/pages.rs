//! Pages: made where a status has no room or goes, relayed until they are stored; and the confirmations by which that is known.

use std::collections::VecDeque;

use jiff::Timestamp;
use pgo_events::Event;

use crate::{
    reconciler::Fate,
    store::{Page, Slot},
    world::World,
    wrong::Wrong,
};

impl World {
    /// As `services/reconciler/src/pages/store.rs` makes pages: what one of the name does not have goes behind it.
    pub fn store_page(&mut self, slot: Slot, events: &[Event]) {
        let mut rest = events;
        while let Some(first) = rest.first() {
            let name = (first.stream.clone(), first.seq);
            match self.store.pages.get(&name) {
                Some(page) => {
                    let end = page.events.last().map(|event| event.seq);
                    let from = rest.partition_point(|event| Some(event.seq) <= end);
                    rest = &rest[from..];
                }
                None => {
                    self.count.pages += 1;
                    let events = rest.to_vec();
                    self.store.pages.insert(name, Page { slot, events });
                    return;
                }
            }
        }
    }

    /// As `services/reconciler/src/pages.rs` relays: pages that are seen are offered at once, the oldest first; then one
    /// that is stored is removed, or offered again.
    pub fn relay_page(&mut self, process: usize) -> Result<(), String> {
        let reconciler = &mut self.reconcilers[process];
        for (name, page) in &self.store.pages {
            if !reconciler.paged.contains(name) {
                // A watch tells later, and in order.
                if self.chance.happens(self.climate.stale_caches) {
                    break;
                }
                reconciler.paged.insert(name.clone());
                let backlog = &mut reconciler.publishing.backlog;
                backlog.offer(&name.0, page.events.clone());
            }
        }
        let place = self.chance.place(reconciler.paged.len());
        let Some(name) = reconciler.paged.iter().nth(place).cloned() else {
            return Ok(());
        };
        let Some(page) = self.store.pages.get(&name).cloned() else {
            reconciler.paged.remove(&name);
            return Ok(());
        };
        let newest = page.events.last().map(|event| event.seq);
        let backlog = &mut reconciler.publishing.backlog;
        let is_stored = backlog.confirmed(&name.0) >= newest;
        if !is_stored && self.wrong != Some(Wrong::PageRemovedEarly) {
            backlog.offer(&name.0, page.events);
        } else if Fate::draw(&self.climate, &mut self.chance) != Fate::Failed {
            self.ledger.page_removed(&page)?;
            self.store.pages.remove(&name);
        }
        Ok(())
    }

    /// Listens to the event service: first the stream of confirmations, then the question for what is unconfirmed, as
    /// `shared/bus/src/confirmations.rs` does.
    pub fn listen(&mut self, process: usize) {
        let (reconciler, event) = (&mut self.reconcilers[process], &mut self.event);
        let backlog = &mut reconciler.publishing.backlog;
        let mut heard = Vec::new();
        match &mut event.listeners[process] {
            None if event.up => {
                event.listeners[process] = Some(VecDeque::new());
                reconciler.asked = false;
                backlog.expect_confirmations(self.instant);
            }
            None => {}
            Some(_) if !reconciler.asked => {
                reconciler.asked = true;
                let streams = backlog.unconfirmed_streams().into_iter();
                heard.extend(streams.map(|stream| {
                    let mark = event.mark(&stream);
                    (stream, mark)
                }));
            }
            Some(news) => {
                let count = news.len().min(self.chance.between(1, 8));
                heard.extend(news.drain(..count));
            }
        }
        for (stream, seq) in heard {
            backlog.confirm(&stream, seq, self.instant);
            let mut clusters = self.store.clusters.iter();
            let slot = clusters.position(|kept| kept.stream == stream);
            if let Some(seen) = slot.and_then(|slot| reconciler.seen.get_mut(slot))
                && seen.due != Timestamp::MAX
            {
                seen.due = self.now;
            }
        }
    }
}
