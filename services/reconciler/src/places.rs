//! How many clusters do the same at once, over all namespaces: are upgraded, or have a backup tried.
//!
//! Who finds no place waits in a queue. Each place that is given up wakes who waits longest, who goes to the end of the queue then:
//! one that cannot be looked at does not keep the others from it.

use std::{
    collections::{HashSet, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use pgo_ids::StreamId;

/// How long nobody begins after a leader did: those that went on before are counted first.
const HEARD_WITHIN: Duration = Duration::from_secs(5);

/// Has a cluster looked at again.
type Wake = Box<dyn Fn() + Send>;

/// The clusters that are at it, or may begin.
#[derive(Clone)]
pub struct Places {
    begun: Instant,
    queue: Arc<Mutex<Queue>>,
}

#[derive(Default)]
struct Queue {
    taken: HashSet<String>,
    waiting: VecDeque<(String, Wake)>,
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting: Vec<&str> = self.waiting.iter().map(|(one, _)| one.as_str()).collect();
        let mut shown = f.debug_struct("Queue");
        shown.field("taken", &self.taken).field("waiting", &waiting);
        shown.finish()
    }
}

impl Queue {
    /// A cluster waits no longer.
    fn leave(&mut self, stream: &str) -> bool {
        let before = self.waiting.len();
        self.waiting.retain(|(one, _)| one != stream);
        self.waiting.len() < before
    }

    fn wait(&mut self, stream: &str, wake: Wake) {
        let mut waiting = self.waiting.iter_mut();
        match waiting.find(|(one, _)| one == stream) {
            Some(found) => found.1 = wake,
            None => self.waiting.push_back((stream.to_owned(), wake)),
        }
    }

    /// A place may be free.
    fn wake_next(&mut self) {
        if let Some(next) = self.waiting.pop_front() {
            (next.1)();
            self.waiting.push_back(next);
        }
    }

    /// A cluster neither is at it nor wants to be.
    fn forget(&mut self, stream: &str) {
        let had = self.taken.remove(stream);
        // Who was woken may want it no longer.
        if self.leave(stream) || had {
            self.wake_next();
        }
    }
}

impl Default for Places {
    fn default() -> Self {
        Self {
            begun: Instant::now(),
            queue: Arc::default(),
        }
    }
}

impl Places {
    /// Whether a cluster has to wait for others: it is not `at_it`, wants to begin, and `limit` of them go on. It is woken by
    /// `wake` then, once there may be a place.
    pub fn full(
        &self,
        stream: &StreamId,
        (at_it, wants): (bool, bool),
        limit: usize,
        wake: impl Fn() + Send + 'static,
    ) -> bool {
        let stream = stream.as_str();
        if at_it {
            let mut queue = self.queue();
            queue.taken.insert(stream.to_owned());
            queue.leave(stream);
            return false;
        }
        self.is_full_for(stream, wants, limit, Box::new(wake))
    }

    fn is_full_for(&self, stream: &str, wants: bool, limit: usize, wake: Wake) -> bool {
        let heard = !self.is_new();
        let mut queue = self.queue();
        if !wants {
            queue.forget(stream);
            return false;
        }
        if queue.taken.contains(stream) {
            return false;
        }
        if !heard || queue.taken.len() >= limit {
            queue.wait(stream, wake);
            return true;
        }
        queue.taken.insert(stream.to_owned());
        queue.leave(stream);
        if queue.taken.len() < limit {
            queue.wake_next();
        }
        false
    }

    /// Whether those that went on before may not have been counted yet.
    pub fn is_new(&self) -> bool {
        self.begun.elapsed() < HEARD_WITHIN
    }

    /// Forgets a cluster that is gone.
    pub fn forget(&self, stream: &StreamId) {
        self.queue().forget(stream.as_str());
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Places of a leader that has heard of all.
    struct Heard {
        places: Places,
        woken: Arc<Mutex<Vec<String>>>,
    }

    impl Heard {
        fn new() -> Self {
            let begun = Instant::now().checked_sub(HEARD_WITHIN);
            let places = Places {
                begun: begun.expect("a machine that runs for a while"),
                queue: Arc::default(),
            };
            let woken = Arc::default();
            Self { places, woken }
        }

        fn full(&self, stream: &'static str, wants: bool) -> bool {
            let woken = self.woken.clone();
            let wake = move || woken.lock().expect("nobody fails").push(stream.to_owned());
            self.places.is_full_for(stream, wants, 2, Box::new(wake))
        }

        /// Who was woken since the last look.
        fn woken(&self) -> Vec<String> {
            std::mem::take(&mut self.woken.lock().expect("nobody fails"))
        }
    }

    #[test]
    fn no_more_than_the_limit_begin_and_each_that_ends_makes_room() {
        let heard = Heard::new();
        assert!(!heard.full("a", true) && !heard.full("b", true));
        assert!(heard.full("c", true));
        assert!(!heard.full("a", true), "it has its place");
        assert!(!heard.full("a", false), "it is through");
        assert!(!heard.full("c", true) && heard.full("d", true));
    }

    #[test]
    fn who_waits_longest_is_woken_by_each_that_ends() {
        let heard = Heard::new();
        assert!(!heard.full("a", true) && !heard.full("b", true));
        assert!(heard.full("c", true) && heard.full("d", true) && heard.full("c", true));
        assert_eq!(heard.woken(), [""; 0]);
        heard.full("a", false);
        assert_eq!(heard.woken(), ["c"]);
        assert!(!heard.full("c", true));
        assert_eq!(heard.woken(), [""; 0], "there is no other place");
        heard.full("a", false);
        assert_eq!(heard.woken(), [""; 0], "it had none");
        // One that wants it no longer leaves it to the next.
        assert!(heard.full("e", true));
        heard.full("b", false);
        assert_eq!(heard.woken(), ["d"]);
        heard.full("d", false);
        assert_eq!(heard.woken(), ["e"]);
        assert!(!heard.full("e", true));
        // One that is deleted gives up its place, too.
        assert!(heard.full("f", true));
        heard.places.queue().forget("c");
        assert_eq!(heard.woken(), ["f"]);
    }

    #[test]
    fn nobody_begins_before_those_that_go_on_were_counted() {
        let places = Places::default();
        assert!(places.is_full_for("a", true, 2, Box::new(|| {})));
    }
}
