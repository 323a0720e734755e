//! The windows against simulated nsqds that read a command late and whose messages arrive late.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

/// What is under way takes no longer than this; there and back is less than [`SETTLE`].
const UNDER_WAY: Duration = Duration::from_millis(100);

/// A connection to an nsqd that always has more messages.
struct Nsqd {
    id: LinkId,
    /// When it reads which window.
    commands: VecDeque<(Instant, usize)>,
    ready: usize,
    in_flight: usize,
    /// When they arrive.
    deliveries: VecDeque<Instant>,
    /// When it reads them.
    answers: VecDeque<Instant>,
    /// With the application.
    held: usize,
    served: usize,
}

/// A consumer with its connections.
struct World {
    now: Instant,
    windows: Windows,
    nsqds: Vec<Nsqd>,
    stale: usize,
    max: usize,
    next_id: LinkId,
}

#[derive(Clone, Debug)]
enum Event {
    Wait(u64),
    Join(usize),
    Leave(prop::sample::Index),
    Tell(prop::sample::Index, u64),
    Answer(prop::sample::Index),
    AnswerStale,
    Limit(usize),
}

impl World {
    fn new(max: usize) -> Self {
        Self {
            now: Instant::now(),
            windows: Windows::new(max),
            nsqds: Vec::new(),
            stale: 0,
            max,
            next_id: 0,
        }
    }

    fn happen(&mut self, event: &Event) {
        let now = self.now;
        match event {
            Event::Wait(milliseconds) => self.wait(Duration::from_millis(*milliseconds)),
            Event::Join(max_ready) => self.join(*max_ready),
            Event::Leave(index) if !self.nsqds.is_empty() => {
                let gone = self.nsqds.remove(index.index(self.nsqds.len()));
                self.stale += gone.held;
                self.windows.leave(gone.id, gone.held, now);
            }
            Event::Tell(index, delay) if !self.nsqds.is_empty() => {
                let at = index.index(self.nsqds.len());
                self.tell(at, Duration::from_millis(*delay).min(UNDER_WAY));
            }
            Event::Answer(index) if !self.nsqds.is_empty() => {
                let at = index.index(self.nsqds.len());
                self.answer(at);
            }
            Event::AnswerStale if self.stale > 0 => {
                self.stale -= 1;
                self.windows.stale_answered(1, now);
            }
            Event::Limit(limit) => self.windows.limit(*limit, now),
            Event::Leave(_) | Event::Tell(..) | Event::Answer(_) | Event::AnswerStale => {}
        }
        self.check();
    }

    fn join(&mut self, max_ready: usize) {
        self.next_id += 1;
        self.windows.join(self.next_id, max_ready, self.now);
        self.nsqds.push(Nsqd {
            id: self.next_id,
            commands: VecDeque::new(),
            ready: 0,
            in_flight: 0,
            deliveries: VecDeque::new(),
            answers: VecDeque::new(),
            held: 0,
            served: 0,
        });
    }

    /// The client writes the window that is wanted, if it is not the last that it wrote.
    fn tell(&mut self, at: usize, delay: Duration) {
        let nsqd = &mut self.nsqds[at];
        let wanted = self.windows.iter().find(|(id, _)| *id == nsqd.id);
        let (_, wanted) = wanted.expect("it has joined");
        let last = nsqd.commands.back();
        let written = last.map_or(nsqd.ready, |(_, window)| *window);
        if written != wanted {
            let arrives = last.map_or(self.now, |(time, _)| *time);
            let arrives = arrives.max(self.now + delay);
            nsqd.commands.push_back((arrives, wanted));
            self.windows.told(nsqd.id, wanted, self.now);
        }
    }

    fn answer(&mut self, at: usize) {
        let nsqd = &mut self.nsqds[at];
        if nsqd.held > 0 {
            nsqd.held -= 1;
            nsqd.answers.push_back(self.now + UNDER_WAY);
            self.windows.progress(nsqd.id, 0, 1, self.now);
        }
    }

    /// Time passes, in small steps.
    fn wait(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.now < end {
            self.now = end.min(self.now + Duration::from_millis(20));
            if self.windows.next_change().is_some_and(|at| at <= self.now) {
                self.windows.arrange(self.now);
            }
            for nsqd in &mut self.nsqds {
                nsqd.step(self.now, &mut self.windows);
            }
            self.check();
        }
    }

    /// The bound, over all that a client has or that is on its way to it.
    fn check(&self) {
        let on_the_way = self.nsqds.iter().map(|n| n.deliveries.len() + n.held);
        let all = on_the_way.sum::<usize>() + self.stale;
        assert!(all <= self.max, "{all} in flight; {:?}", self.windows);
    }
}

impl Nsqd {
    fn step(&mut self, now: Instant, windows: &mut Windows) {
        while let Some((_, window)) = self.commands.pop_front_if(|(time, _)| *time <= now) {
            self.ready = window;
        }
        while self.answers.pop_front_if(|time| *time <= now).is_some() {
            self.in_flight -= 1;
        }
        while self.in_flight < self.ready {
            self.in_flight += 1;
            self.deliveries.push_back(now + UNDER_WAY);
        }
        while self.deliveries.pop_front_if(|time| *time <= now).is_some() {
            self.held += 1;
            self.served += 1;
            windows.progress(self.id, 1, 0, now);
        }
    }
}

fn events() -> impl Strategy<Value = Event> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        4 => (0u64..600).prop_map(Event::Wait),
        2 => prop_oneof![Just(1), Just(3), Just(2500)].prop_map(Event::Join),
        1 => index().prop_map(Event::Leave),
        8 => (index(), 0u64..100).prop_map(|(at, delay)| Event::Tell(at, delay)),
        8 => index().prop_map(Event::Answer),
        2 => Just(Event::AnswerStale),
        1 => prop_oneof![Just(0), Just(1), Just(usize::MAX)].prop_map(Event::Limit),
    ]
}

proptest! {
    #[test]
    fn together_they_never_exceed_the_bound(max in 1usize..12, events in prop::collection::vec(events(), 0..80)) {
        let mut world = World::new(max);
        for event in &events {
            world.happen(event);
        }
    }

    #[test]
    fn everybody_is_served_in_the_end(max in 1usize..6, events in prop::collection::vec(events(), 0..40)) {
        let mut world = World::new(max);
        for event in &events {
            world.happen(event);
        }
        world.windows.limit(usize::MAX, world.now);
        world.windows.stale_answered(world.stale, world.now);
        world.stale = 0;
        world.nsqds.iter_mut().for_each(|nsqd| nsqd.served = 0);
        // Each has a turn of at most five seconds before all of the others.
        for _ in 0..(world.nsqds.len() + 1) * 60 {
            for at in 0..world.nsqds.len() {
                world.tell(at, Duration::ZERO);
                world.answer(at);
            }
            world.wait(Duration::from_millis(100));
        }
        for nsqd in &world.nsqds {
            prop_assert!(nsqd.served > 0, "{} of {:?}", nsqd.id, world.windows);
        }
    }
}

fn windows_of(windows: &Windows) -> Vec<usize> {
    windows.iter().map(|(_, window)| window).collect()
}

#[test]
fn a_single_connection_has_all_at_once() {
    let now = Instant::now();
    let mut windows = Windows::new(300);
    windows.join(1, 2500, now);
    assert_eq!(windows_of(&windows), [300]);
    assert_eq!(windows.next_change(), None);
}

#[test]
fn what_one_cannot_take_goes_to_the_others() {
    let now = Instant::now();
    let mut windows = Windows::new(10);
    windows.join(1, 2, now);
    windows.told(1, 2, now);
    windows.join(2, 2500, now);
    windows.told(2, 8, now);
    windows.join(3, 2500, now);
    assert_eq!(windows_of(&windows), [2, 4, 0]);
    windows.told(2, 4, now);
    assert_eq!(windows.next_change(), Some(now + SETTLE));
    windows.arrange(now + SETTLE);
    assert_eq!(windows_of(&windows), [2, 4, 4]);
    assert_eq!(windows.next_change(), None);
}

#[test]
fn messages_of_a_lost_connection_narrow_the_window_until_they_are_answered() {
    let now = Instant::now();
    let mut windows = Windows::new(3);
    windows.join(1, 2500, now);
    windows.told(1, 3, now);
    windows.progress(1, 3, 0, now);
    windows.leave(1, 3, now);
    windows.stale_answered(2, now);
    windows.join(2, 2500, now);
    assert_eq!(windows_of(&windows), [2]);
    windows.stale_answered(1, now);
    assert_eq!(windows_of(&windows), [3]);
}

#[test]
fn a_turn_ends_soon_where_nothing_comes_and_later_where_something_does() {
    let start = Instant::now();
    let mut windows = Windows::new(1);
    windows.join(1, 2500, start);
    windows.join(2, 2500, start);
    windows.told(1, 1, start);
    assert_eq!(windows_of(&windows), [1, 0]);
    assert_eq!(windows.next_change(), Some(start + IDLE_TURN));

    windows.progress(1, 1, 0, start);
    assert_eq!(windows.next_change(), Some(start + BUSY_TURN));
    let later = start + BUSY_TURN;
    windows.arrange(later);
    windows.told(1, 0, later);
    // The message is still there, so there is no place for the next turn.
    windows.arrange(later + SETTLE);
    assert_eq!(windows_of(&windows), [0, 0]);
    windows.progress(1, 0, 1, later + SETTLE);
    assert_eq!(windows_of(&windows), [1, 0]);
    let holder = windows.iter().next().expect("two have joined");
    assert_eq!(holder, (2, 1));
}
