//! Messages that arrived and wait for the application.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{
    sync::{Notify, Semaphore},
    time::Instant,
};

use super::{flow::LinkId, message::Message};

#[derive(Debug)]
pub(super) struct Inbox {
    waiting: Mutex<Waiting>,
    arrived: Notify,
    /// One place for each message that may be with the application.
    places: Arc<Semaphore>,
    max_in_flight: usize,
}

#[derive(Debug, Default)]
struct Waiting {
    messages: VecDeque<Message>,
    closed: bool,
}

impl Inbox {
    pub fn new(max_in_flight: usize) -> Self {
        Self {
            waiting: Mutex::default(),
            arrived: Notify::new(),
            places: Arc::new(Semaphore::new(max_in_flight.min(Semaphore::MAX_PERMITS))),
            max_in_flight,
        }
    }

    /// A panic while the lock is held leaves nothing half done.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next message that nsqd has not yet given up; `None` when the inbox is closed.
    pub async fn next(&self) -> Option<Message> {
        let place = self.places.clone().acquire_owned().await.ok()?;
        loop {
            let taken = {
                let mut waiting = self.lock();
                if waiting.closed {
                    return None;
                }
                waiting.messages.pop_front()
            };
            match taken {
                // nsqd has queued it again: handling it now would be handling it twice.
                Some(message) if message.has_expired(Instant::now()) => message.lapse(),
                Some(mut message) => {
                    message.hand_out(place);
                    return Some(message);
                }
                None => self.arrived.notified().await,
            }
        }
    }

    /// Adds messages. More than may be in flight are there only if nsqd gave some of them up: the oldest ones, which are
    /// let go.
    pub fn put(&self, messages: impl IntoIterator<Item = Message>) {
        let mut waiting = self.lock();
        waiting.messages.extend(messages);
        let surplus = waiting.messages.len().saturating_sub(self.max_in_flight);
        waiting.messages.drain(..surplus).for_each(Message::lapse);
        drop(waiting);
        self.arrived.notify_one();
    }

    /// Lets all go that came over this link and were not handed out.
    pub fn clear(&self, link: LinkId) {
        let mut waiting = self.lock();
        waiting.messages.retain(|message| message.link() != link);
    }

    /// Ends all waiting.
    pub fn close(&self) {
        let mut waiting = self.lock();
        waiting.closed = true;
        waiting.messages.clear();
        drop(waiting);
        self.places.close();
        self.arrived.notify_one();
    }
}
