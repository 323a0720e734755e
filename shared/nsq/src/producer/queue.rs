//! What was published and not yet written, with its bounds.

use std::{
    collections::VecDeque,
    ops::ControlFlow,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, oneshot, watch},
    time::{Instant, sleep_until},
};

use super::ProducerConfig;
use crate::{
    codec::Command,
    deadline::countable,
    error::{ConnectionError, NotSent, PublishError},
};

/// Sizes on the wire are 32 bits, signed in nsqd.
const MAX_BYTES: usize = i32::MAX as usize / 2;

/// One command on its way, and who waits for its result.
#[derive(Debug)]
pub(super) struct Entry {
    pub command: Command,
    /// It must be written by then.
    expires: Instant,
    result: oneshot::Sender<Result<(), PublishError>>,
    _share: Share,
}

impl Entry {
    pub fn resolve(self, result: Result<(), PublishError>) {
        // Nobody need wait for it.
        let _ = self.result.send(result);
    }
}

#[derive(Debug, Default)]
struct Waiting {
    /// In the order of publishing, and so of expiry.
    entries: VecDeque<Entry>,
    /// The task that takes need not hear of an arrival before this many wait.
    enough: usize,
    closed: bool,
}

#[derive(Debug)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    /// For the one task that takes: something arrived, or the queue was closed.
    arrived: Notify,
    closed: watch::Sender<bool>,
    used: Arc<Used>,
    max_messages: usize,
    max_bytes: usize,
    send_timeout: Duration,
}

impl Queue {
    pub fn new(config: &ProducerConfig) -> Self {
        Self {
            waiting: Mutex::default(),
            arrived: Notify::new(),
            closed: watch::Sender::new(false),
            used: Arc::default(),
            max_messages: config.max_messages,
            max_bytes: config.max_bytes.min(MAX_BYTES),
            send_timeout: config.send_timeout,
        }
    }

    /// A panic while the lock is held leaves nothing half done.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn push(
        &self,
        command: Command,
        messages: usize,
        bytes: usize,
    ) -> Result<oneshot::Receiver<Result<(), PublishError>>, NotSent> {
        let share = self
            .used
            .take(messages, bytes, self.max_messages, self.max_bytes)?;
        let (sender, receiver) = oneshot::channel();
        let mut waiting = self.lock();
        if waiting.closed {
            return Err(NotSent::Closed);
        }
        waiting.entries.push_back(Entry {
            command,
            expires: Instant::now() + countable(self.send_timeout),
            result: sender,
            _share: share,
        });
        let is_enough = waiting.entries.len() >= waiting.enough;
        drop(waiting);
        if is_enough {
            self.arrived.notify_one();
        }
        Ok(receiver)
    }

    /// Hands the oldest entries to `taken` until that says that it has enough; none, if fewer than `enough` wait. From now
    /// on [`arrived`](Self::arrived) resolves only when that many wait.
    pub fn take(&self, enough: usize, mut taken: impl FnMut(Entry) -> ControlFlow<()>) {
        let mut waiting = self.lock();
        waiting.enough = enough;
        if waiting.entries.len() < enough && !waiting.closed {
            return;
        }
        while let Some(entry) = waiting.entries.pop_front() {
            if taken(entry).is_break() {
                return;
            }
        }
    }

    /// Puts entries that were taken, in that order, back to the front.
    pub fn put_back(&self, entries: impl DoubleEndedIterator<Item = Entry>) {
        let mut waiting = self.lock();
        for entry in entries.rev() {
            waiting.entries.push_front(entry);
        }
    }

    /// Resolves when something was pushed, and enough waits, or the queue was closed, since the last time.
    pub async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// When the oldest entry expires.
    pub fn next_expiry(&self) -> Option<Instant> {
        Some(self.lock().entries.front()?.expires)
    }

    /// Gives up what waited too long; `last` is why there was no connection.
    pub fn expire(&self, now: Instant, last: Option<&Arc<ConnectionError>>) {
        let mut waiting = self.lock();
        while let Some(entry) = waiting.entries.pop_front_if(|entry| entry.expires <= now) {
            let reason = NotSent::Expired {
                limit: self.send_timeout,
                last: last.cloned(),
            };
            entry.resolve(Err(PublishError::NotSent(reason)));
        }
    }

    /// Gives up what waits too long while there is no connection; resolves when nothing is left and nothing can come.
    pub async fn wait_out(&self, last: Option<&Arc<ConnectionError>>) {
        self.lock().enough = 0;
        while !self.is_done() {
            self.expire(Instant::now(), last);
            match self.next_expiry() {
                Some(expiry) => tokio::select! {
                    () = sleep_until(expiry) => {}
                    () = self.arrived() => {}
                },
                None if self.is_done() => {}
                None => self.arrived().await,
            }
        }
    }

    /// Takes no more entries.
    pub fn close(&self) {
        self.lock().closed = true;
        self.closed.send_replace(true);
        self.arrived.notify_one();
    }

    pub async fn closed(&self) {
        // The sender is in self, so this cannot fail.
        let _ = self.closed.subscribe().wait_for(|closed| *closed).await;
    }

    /// Closed and empty.
    pub fn is_done(&self) -> bool {
        let waiting = self.lock();
        waiting.closed && waiting.entries.is_empty()
    }

    /// Closes, and tells everybody who still waits that it was not sent.
    pub fn abandon(&self) {
        self.close();
        let entries = std::mem::take(&mut self.lock().entries);
        for entry in entries {
            entry.resolve(Err(PublishError::NotSent(NotSent::Closed)));
        }
    }
}

/// What waits or is on its way, all together.
#[derive(Debug, Default)]
struct Used {
    messages: AtomicUsize,
    bytes: AtomicUsize,
}

impl Used {
    fn take(
        self: &Arc<Self>,
        messages: usize,
        bytes: usize,
        max_messages: usize,
        max_bytes: usize,
    ) -> Result<Share, NotSent> {
        // Counted first and given back by dropping, so that two calls at once cannot both get the last place.
        let messages_before = self.messages.fetch_add(messages, Ordering::Relaxed);
        let bytes_before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let share = Share {
            used: self.clone(),
            messages,
            bytes,
        };
        if messages_before + messages > max_messages || bytes_before + bytes > max_bytes {
            return Err(NotSent::QueueFull {
                messages: messages_before,
                bytes: bytes_before,
            });
        }
        Ok(share)
    }
}

/// The part of one entry in it.
#[derive(Debug)]
struct Share {
    used: Arc<Used>,
    messages: usize,
    bytes: usize,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.used
            .messages
            .fetch_sub(self.messages, Ordering::Relaxed);
        self.used.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn push(queue: &Queue) -> oneshot::Receiver<Result<(), PublishError>> {
        queue.push(Command::Nop, 1, 1).expect("room")
    }

    fn taken(queue: &Queue, enough: usize) -> usize {
        let mut count = 0;
        queue.take(enough, |_| {
            count += 1;
            ControlFlow::Continue(())
        });
        count
    }

    #[test]
    fn what_is_gathered_is_handed_out_and_told_of_only_when_it_is_enough() {
        let queue = Queue::new(&ProducerConfig::default());
        assert_eq!(taken(&queue, 3), 0);
        let _waiting = [push(&queue), push(&queue)];
        assert_eq!(taken(&queue, 3), 0);
        assert!(queue.arrived().now_or_never().is_none());
        let _third = push(&queue);
        assert!(queue.arrived().now_or_never().is_some());
        assert_eq!(taken(&queue, 3), 3);
    }

    #[test]
    fn nothing_is_gathered_any_more_once_it_is_closed() {
        let queue = Queue::new(&ProducerConfig::default());
        let _waiting = push(&queue);
        assert_eq!(taken(&queue, 3), 0);
        queue.close();
        assert!(queue.arrived().now_or_never().is_some());
        assert_eq!(taken(&queue, 3), 1);
    }
}
