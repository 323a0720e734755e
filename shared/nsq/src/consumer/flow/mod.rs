//! What the connections of one consumer agree on: who may have how many messages in flight, and when.
//!
//! Each connection tells what happens and reads its window from its [`Gate`]. Decisions are made in [`windows`] and
//! [`slowdown`], which know nothing of threads and clocks.

mod slowdown;
mod windows;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use tokio::{sync::Notify, time::Instant};

use self::{slowdown::Slowdown, windows::Windows};
use crate::server::Backoff;

/// Number of a connection's link; new for each.
pub(super) type LinkId = u64;

/// See the module.
#[derive(Debug)]
pub(super) struct Flow {
    state: Mutex<State>,
    /// For the one who keeps the time: [`Flow::next_change`] may be earlier than before.
    rescheduled: Notify,
}

#[derive(Debug)]
struct State {
    windows: Windows,
    slowdown: Option<Slowdown>,
    gates: HashMap<LinkId, Arc<Gate>>,
    next_change: Option<Instant>,
}

/// Where a connection sees its window.
#[derive(Debug, Default)]
pub(super) struct Gate {
    window: AtomicU32,
    /// For the connection: the window is another one.
    pub changed: Notify,
}

impl Gate {
    /// The value that `RDY` is to have.
    pub fn window(&self) -> u32 {
        self.window.load(Ordering::Relaxed)
    }
}

/// What happened on a connection since it last told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    pub arrived: usize,
    pub answered: usize,
    /// At least one message was finished.
    pub succeeded: bool,
    /// At least one message was requeued because it failed.
    pub failed: bool,
}

impl Flow {
    pub fn new(max_in_flight: usize, backoff: Option<Backoff>) -> Self {
        Self {
            state: Mutex::new(State {
                windows: Windows::new(max_in_flight),
                slowdown: backoff.map(Slowdown::new),
                gates: HashMap::new(),
                next_change: None,
            }),
            rescheduled: Notify::new(),
        }
    }

    /// A panic while the lock is held leaves nothing half done that matters.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something at a moment, and lets those know whom it concerns.
    fn change(&self, act: impl FnOnce(&mut State, Instant)) {
        let mut state = self.lock();
        act(&mut state, Instant::now());
        for (id, window) in state.windows.iter() {
            // Windows are not larger than what nsqd granted, which is a u32.
            let window = u32::try_from(window).unwrap_or(u32::MAX);
            if let Some(gate) = state.gates.get(&id)
                && gate.window.swap(window, Ordering::Relaxed) != window
            {
                gate.changed.notify_one();
            }
        }
        let slowdown = state.slowdown.as_ref().and_then(Slowdown::next_change);
        let windows = state.windows.next_change();
        let next_change = [slowdown, windows].into_iter().flatten().min();
        if next_change != state.next_change {
            state.next_change = next_change;
            self.rescheduled.notify_one();
        }
    }

    /// A connection is subscribed; `max_ready` is nsqd's limit for its window.
    pub fn join(&self, id: LinkId, max_ready: u32) -> Arc<Gate> {
        let gate = Arc::new(Gate::default());
        self.change(|state, now| {
            state.gates.insert(id, gate.clone());
            let max_ready = usize::try_from(max_ready).unwrap_or(usize::MAX);
            state.windows.join(id, max_ready, now);
        });
        gate
    }

    /// A connection ended, with `unanswered` messages of it still here.
    pub fn leave(&self, id: LinkId, unanswered: usize) {
        self.change(|state, now| {
            state.gates.remove(&id);
            state.windows.leave(id, unanswered, now);
        });
    }

    /// Messages of connections that ended were answered.
    pub fn stale_answered(&self, count: usize) {
        self.change(|state, now| state.windows.stale_answered(count, now));
    }

    pub fn progress(&self, id: LinkId, progress: Progress) {
        self.change(|state, now| {
            if let Some(slowdown) = &mut state.slowdown {
                let before = slowdown.level();
                // One that failed says more than one that did not.
                if progress.failed {
                    slowdown.failed(now, rand::random());
                } else if progress.succeeded {
                    slowdown.succeeded(now, rand::random());
                }
                if slowdown.level() != before {
                    let level = slowdown.level();
                    tracing::info!(level, "the backoff of the consumer has changed; 0 is none");
                }
            }
            let Progress {
                arrived, answered, ..
            } = progress;
            state.windows.progress(id, arrived, answered, now);
            state.limit(now);
        });
    }

    /// `RDY` was written.
    pub fn told(&self, id: LinkId, window: u32) {
        let window = usize::try_from(window).unwrap_or(usize::MAX);
        self.change(|state, now| state.windows.told(id, window, now));
    }

    /// Does what is due by now.
    pub fn tick(&self) {
        self.change(|state, now| {
            if let Some(slowdown) = &mut state.slowdown {
                slowdown.tick(now);
            }
            state.limit(now);
            state.windows.arrange(now);
        });
    }

    /// When [`tick`](Self::tick) is to be called.
    pub fn next_change(&self) -> Option<Instant> {
        self.lock().next_change
    }

    /// Resolves when that may have become earlier.
    pub async fn rescheduled(&self) {
        self.rescheduled.notified().await;
    }
}

impl State {
    fn limit(&mut self, now: Instant) {
        let limit = self.slowdown.as_ref().map_or(usize::MAX, Slowdown::limit);
        self.windows.limit(limit, now);
    }
}
