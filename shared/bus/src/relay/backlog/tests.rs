use std::collections::{BTreeSet, HashMap};

use pgo_events::{Arrival, Watermark};
use proptest::prelude::*;

use super::*;
use crate::tests::event;

fn stream(number: u8) -> StreamId {
    format!("uid-{number}").parse().expect("a stream")
}

fn events(number: u8, seqs: impl IntoIterator<Item = u64>) -> Vec<Event> {
    let name = stream(number);
    seqs.into_iter()
        .map(|seq| event(name.as_str(), seq))
        .collect()
}

/// What becomes of a publication, in truth and as the relay hears of it.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Delivered,
    LostByTheBroker,
    DeliveredButUnknown,
    OnlyOwnTopics,
    NotOnOwnTopics,
    Failed,
}

#[derive(Clone, Debug)]
enum Step {
    /// A new event, and its outbox is offered.
    Event(u8),
    /// An outbox is offered as it was before its newest events, and without being trimmed.
    Stale(u8, usize),
    Publish(Vec<Fate>, usize),
    Confirmation(u8),
    Reconnect,
    Serviceback,
    Pass(u64),
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        4 => Just(Fate::Delivered),
        1 => Just(Fate::LostByTheBroker),
        1 => Just(Fate::DeliveredButUnknown),
        1 => Just(Fate::OnlyOwnTopics),
        1 => Just(Fate::NotOnOwnTopics),
        1 => Just(Fate::Failed),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u8..3).prop_map(Step::Event),
        1 => (0u8..3, 0usize..4).prop_map(|(stream, short)| Step::Stale(stream, short)),
        4 => (prop::collection::vec(fate(), 8), 1usize..9)
            .prop_map(|(fates, most)| Step::Publish(fates, most)),
        2 => (0u8..3).prop_map(Step::Confirmation),
        1 => Just(Step::Reconnect),
        1 => Just(Step::Serviceback),
        2 => (0u64..20_000).prop_map(Step::Pass),
    ]
}

/// A relay, the outboxes it serves and a history that reads what it publishes.
struct World {
    now: Instant,
    backlog: Backlog,
    last: HashMap<u8, u64>,
    trimmed: HashMap<u8, u64>,
    history: HashMap<StreamId, Watermark>,
    /// Since the last connection.
    on_own_topics: BTreeSet<EventKey>,
    ever_on_own_topics: BTreeSet<EventKey>,
}

impl World {
    fn new() -> Self {
        Self {
            now: Instant::now(),
            backlog: Backlog::default(),
            last: HashMap::new(),
            trimmed: HashMap::new(),
            history: HashMap::new(),
            on_own_topics: BTreeSet::new(),
            ever_on_own_topics: BTreeSet::new(),
        }
    }

    fn apply(&mut self, step: &Step) {
        match step {
            Step::Event(number) => {
                *self.last.entry(*number).or_default() += 1;
                self.offer(*number, 0);
            }
            Step::Stale(number, short) => self.offer(*number, *short),
            Step::Publish(fates, most) => {
                let mut fates = fates.iter().copied().cycle();
                self.publish(*most, || fates.next().unwrap_or(Fate::Delivered));
            }
            Step::Confirmation(number) => self.confirm(*number),
            Step::Reconnect => {
                self.on_own_topics.clear();
                self.backlog.reconnected();
            }
            Step::Serviceback => self.backlog.expect_confirmations(self.now),
            Step::Pass(millis) => self.now += Duration::from_millis(*millis),
        }
    }

    fn offer(&mut self, number: u8, short: usize) {
        let last = self.last.get(&number).copied().unwrap_or_default();
        let trimmed = self.trimmed.get(&number).copied().unwrap_or_default();
        let shown = last.saturating_sub(short as u64).max(trimmed);
        self.backlog
            .offer(&stream(number), events(number, trimmed + 1..=shown));
    }

    fn publish(&mut self, most: usize, mut fate: impl FnMut() -> Fate) -> usize {
        let jobs = self.backlog.take(self.now, most);
        assert!(jobs.len() <= most);
        let mut before: HashMap<StreamId, Seq> = HashMap::new();
        let mut outcomes = Vec::new();
        for job in &jobs {
            let key = job.event.key();
            if let Some(before) = before.insert(key.stream.clone(), key.seq) {
                assert_eq!(before.next(), key.seq, "in order");
            }
            let mark = self.history.entry(key.stream.clone()).or_default();
            assert!(
                job.unconfirmed_from <= mark.0.next(),
                "the claim would skip events: {job:?}"
            );
            assert!(job.own_topics || self.on_own_topics.contains(&key));
            assert!(job.own_topics || job.all_topic);
            let (delivered, own_topics, all_topic) = match fate() {
                Fate::Delivered => (true, true, true),
                Fate::LostByTheBroker => (false, true, true),
                Fate::DeliveredButUnknown => (true, true, false),
                Fate::OnlyOwnTopics => (false, true, false),
                Fate::NotOnOwnTopics => (true, false, true),
                Fate::Failed => (false, false, false),
            };
            let outcome = Outcome {
                own_topics: own_topics || !job.own_topics,
                all_topic: all_topic || !job.all_topic,
            };
            if own_topics && job.own_topics {
                self.on_own_topics.insert(key.clone());
                self.ever_on_own_topics.insert(key.clone());
            }
            let delivered = delivered && job.all_topic;
            if delivered && mark.judge(key.seq) == Arrival::Next {
                *mark = Watermark(key.seq);
            }
            outcomes.push((key, outcome));
        }
        self.backlog.settle(&outcomes, self.now);
        jobs.len()
    }

    fn confirm(&mut self, number: u8) {
        let mark = self
            .history
            .get(&stream(number))
            .copied()
            .unwrap_or_default();
        self.backlog.confirm(&stream(number), mark.0, self.now);
        self.trimmed.insert(number, mark.0.0);
    }

    /// Without further faults, every event gets to the history.
    fn drain(&mut self) {
        for number in 0..3 {
            self.offer(number, 0);
        }
        for _ in 0..1_000 {
            while self.publish(4, || Fate::Delivered) > 0 {}
            (0..3).for_each(|number| self.confirm(number));
            match self.backlog.next_wake() {
                None => break,
                Some(Wake::Now) => {}
                Some(Wake::At(at)) => self.now = self.now.max(at),
            }
        }
    }
}

proptest! {
    #[test]
    fn no_event_is_lost_whatever_the_order_of_offers_confirmations_and_failures(
        steps in prop::collection::vec(step(), 0..80),
    ) {
        let mut world = World::new();
        for step in &steps {
            world.apply(step);
        }
        world.drain();
        prop_assert_eq!(world.backlog.unconfirmed(), 0);
        prop_assert_eq!(world.backlog.next_wake(), None);
        for (number, last) in &world.last {
            let mark = world.history.get(&stream(*number)).copied().unwrap_or_default();
            prop_assert_eq!(mark, Watermark(Seq(*last)));
            for seq in 1..=*last {
                let key = EventKey { stream: stream(*number), seq: Seq(seq) };
                prop_assert!(world.ever_on_own_topics.contains(&key), "{key}");
            }
        }
    }

    #[test]
    fn whoever_has_nothing_to_publish_waits(steps in prop::collection::vec(step(), 0..60)) {
        let mut world = World::new();
        for step in &steps {
            world.apply(step);
        }
        while world.publish(100, || Fate::LostByTheBroker) > 0 {}
        match world.backlog.next_wake() {
            Some(Wake::Now) => prop_assert!(false, "there was nothing to take"),
            Some(Wake::At(at)) => prop_assert!(at > world.now),
            None => prop_assert_eq!(world.backlog.unconfirmed(), 0),
        }
    }
}

const PUBLISHED: Outcome = Outcome {
    own_topics: true,
    all_topic: true,
};

const FAILED: Outcome = Outcome {
    own_topics: false,
    all_topic: false,
};

fn published(backlog: &mut Backlog, now: Instant) -> Vec<u64> {
    let jobs = backlog.take(now, 100);
    let outcomes: Vec<_> = jobs
        .iter()
        .map(|job| (job.event.key(), PUBLISHED))
        .collect();
    backlog.settle(&outcomes, now);
    jobs.iter().map(|job| job.event.seq.0).collect()
}

#[test]
fn what_is_not_confirmed_is_published_again_ever_more_seldom() {
    let mut backlog = Backlog::default();
    let mut now = Instant::now();
    backlog.offer(&stream(1), events(1, 1..=2));
    assert_eq!(published(&mut backlog, now), [1, 2]);
    let mut waits = Vec::new();
    for _ in 0..9 {
        let Some(Wake::At(at)) = backlog.next_wake() else {
            panic!("{:?}", backlog.next_wake());
        };
        assert_eq!(published(&mut backlog, now), [0u64; 0]);
        waits.push((at - now).as_secs());
        now = at;
        assert_eq!(published(&mut backlog, now), [1, 2]);
    }
    assert_eq!(waits, [5, 10, 20, 40, 80, 160, 300, 300, 300]);
    backlog.expect_confirmations(now);
    assert_eq!(backlog.next_wake(), Some(Wake::At(now + CONFIRM_WITHIN)));
}

#[test]
fn what_is_confirmed_is_not_published_again_though_it_is_offered_again() {
    let mut backlog = Backlog::default();
    let now = Instant::now();
    backlog.offer(&stream(1), events(1, 1..=3));
    assert_eq!(published(&mut backlog, now), [1, 2, 3]);
    backlog.confirm(&stream(1), Seq(3), now);
    backlog.offer(&stream(1), events(1, 1..=4));
    assert_eq!(published(&mut backlog, now), [4]);
    assert_eq!(backlog.confirmed(&stream(1)), Some(Seq(3)));
}

#[test]
fn after_a_new_connection_everything_is_published_again_on_all_topics() {
    let mut backlog = Backlog::default();
    let now = Instant::now();
    backlog.offer(&stream(1), events(1, 1..=2));
    assert_eq!(published(&mut backlog, now), [1, 2]);
    backlog.reconnected();
    let jobs = backlog.take(now, 100);
    assert_eq!(jobs.len(), 2);
    assert!(jobs.iter().all(|job| job.own_topics));
}

#[test]
fn a_late_copy_needs_the_own_topics_no_more() {
    let mut backlog = Backlog::default();
    let now = Instant::now();
    backlog.offer(&stream(1), events(1, 1..=1));
    assert_eq!(published(&mut backlog, now), [1]);
    let jobs = backlog.take(now + CONFIRM_WITHIN, 100);
    assert!(jobs.iter().all(|job| !job.own_topics));
    assert_eq!(jobs.len(), 1);
}

#[test]
fn what_is_confirmed_before_its_own_topics_have_it_stays_for_them() {
    let mut backlog = Backlog::default();
    let now = Instant::now();
    backlog.offer(&stream(1), events(1, 1..=2));
    let keys: Vec<_> = backlog
        .take(now, 9)
        .iter()
        .map(|job| job.event.key())
        .collect();
    backlog.confirm(&stream(1), Seq(1), now);
    let only_all = Outcome {
        own_topics: false,
        all_topic: true,
    };
    backlog.settle(
        &[(keys[0].clone(), only_all), (keys[1].clone(), PUBLISHED)],
        now,
    );
    let again = backlog.take(now + RETRY, 9);
    let needs = |at: usize| (again[at].own_topics, again[at].all_topic);
    assert_eq!((needs(0), needs(1)), ((true, false), (true, true)));
    assert_eq!(again[1].unconfirmed_from, Seq(2));
    backlog.settle(&[(keys[0].clone(), PUBLISHED)], now);
    assert_eq!(backlog.unconfirmed(), 1);
}

#[test]
fn streams_take_turns() {
    let mut backlog = Backlog::default();
    let now = Instant::now();
    for number in 1..=3 {
        backlog.offer(&stream(number), events(number, 1..=1));
    }
    let mut served = BTreeSet::new();
    for _ in 0..3 {
        let jobs = backlog.take(now, 1);
        let key = jobs[0].event.key();
        served.insert(key.stream.clone());
        backlog.settle(&[(key, FAILED)], now);
    }
    assert_eq!(served.len(), 3);
}

#[test]
fn a_stream_keeps_its_oldest_events_and_no_more_than_its_share() {
    let mut backlog = Backlog::default();
    backlog.offer(&stream(1), events(1, 1..=200));
    assert_eq!(backlog.unconfirmed(), PER_STREAM);
    let jobs = backlog.take(Instant::now(), 1_000);
    assert_eq!(jobs.first().map(|job| job.event.seq), Some(Seq(1)));
    let all: Vec<_> = jobs
        .iter()
        .map(|job| (job.event.key(), PUBLISHED))
        .collect();
    backlog.settle(&all, Instant::now());
    backlog.confirm(&stream(1), Seq(128), Instant::now());
    backlog.offer(&stream(1), events(1, 129..=200));
    assert_eq!(backlog.unconfirmed(), 72);
}

#[test]
fn streams_without_events_are_not_kept_for_ever() {
    let mut backlog = Backlog::default();
    for number in 0..=IDLE_STREAMS {
        let id: StreamId = format!("uid-{number}").parse().expect("a stream");
        backlog.confirm(&id, Seq(1), Instant::now());
    }
    assert!(backlog.streams.len() <= IDLE_STREAMS);
}

#[test]
fn a_gap_that_eventing_left_is_told_as_soon_as_what_is_before_it_is_confirmed() {
    let mut backlog = Backlog::default();
    let now = Instant::now();
    backlog.offer(&stream(0), events(0, [1, 2, 7]));
    assert_eq!(published(&mut backlog, now), [1, 2, 7]);
    backlog.confirm(&stream(0), Seq(1), now);
    assert!(published(&mut backlog, now).is_empty());
    backlog.confirm(&stream(0), Seq(2), now);
    let jobs = backlog.take(now, 8);
    let claims: Vec<_> = jobs.iter().map(|job| job.unconfirmed_from).collect();
    assert_eq!(claims, [Seq(7)]);
}

#[test]
fn one_unconfirmed_event_stands_for_all_that_are_older() {
    let mut backlog = Backlog::default();
    let now = Instant::now();
    assert!(!backlog.knows(&stream(0), Seq(5)));
    backlog.offer(&stream(0), events(0, 6..=8));
    assert!(!backlog.knows(&stream(0), Seq(5)));
    backlog.offer(&stream(0), events(0, 2..=5));
    assert!(backlog.knows(&stream(0), Seq(5)));
    published(&mut backlog, now);
    backlog.confirm(&stream(0), Seq(5), now);
    assert!(backlog.knows(&stream(0), Seq(5)));
}

#[test]
fn events_behind_pages_wait_for_all_of_these() {
    let mut backlog = Backlog::default();
    backlog.offer(&stream(0), events(0, 11..=30));
    assert!(!backlog.knows(&stream(0), Seq(49)));
    backlog.offer(&stream(0), events(0, 31..=49));
    assert!(backlog.knows(&stream(0), Seq(49)));
    assert!(!backlog.knows(&stream(0), Seq(50)));
}

#[test]
fn nothing_is_taken_before_what_was_too_much_to_keep() {
    let mut backlog = Backlog::default();
    let now = Instant::now();
    let kept = PER_STREAM as u64;
    // Pages, which are offered again and again, whichever comes first.
    let pages = || {
        let ends = [kept - 9, kept + 11, kept + 21, kept + 31];
        let pages = ends.windows(2).map(|ends| events(0, ends[0]..ends[1]));
        let pages: [Vec<Event>; 3] = pages.collect::<Vec<_>>().try_into().expect("three");
        pages
    };
    backlog.offer(&stream(0), events(0, 1..kept - 9));
    for page in pages() {
        backlog.offer(&stream(0), page);
    }
    assert_eq!(backlog.unconfirmed(), PER_STREAM);
    assert!(!backlog.knows(&stream(0), Seq(kept + 30)));
    while !published(&mut backlog, now).is_empty() {}
    for confirmed in [kept - 30, kept] {
        backlog.confirm(&stream(0), Seq(confirmed), now);
        let [_, second, third] = pages();
        backlog.offer(&stream(0), third);
        backlog.offer(&stream(0), second);
        assert!(backlog.take(now, PER_STREAM).is_empty());
    }
    let [first, second, third] = pages();
    backlog.offer(&stream(0), first);
    backlog.offer(&stream(0), third.clone());
    assert_eq!(
        published(&mut backlog, now),
        (kept + 1..=kept + 10).collect::<Vec<_>>()
    );
    backlog.offer(&stream(0), second);
    backlog.offer(&stream(0), third);
    let jobs = backlog.take(now, PER_STREAM);
    let seqs: Vec<u64> = jobs.iter().map(|job| job.event.seq.0).collect();
    assert!(seqs.iter().copied().eq(kept + 11..=kept + 30), "{seqs:?}");
    assert!(jobs.iter().all(|job| job.unconfirmed_from == Seq(kept + 1)));
}

#[test]
fn what_was_too_much_to_keep_and_is_stored_meanwhile_holds_up_nothing() {
    let mut backlog = Backlog::default();
    let kept = PER_STREAM as u64;
    let now = Instant::now();
    backlog.offer(&stream(0), events(0, 1..=kept + 5));
    while !published(&mut backlog, now).is_empty() {}
    // Another relay has published it.
    backlog.confirm(&stream(0), Seq(kept + 5), now);
    backlog.offer(&stream(0), events(0, kept + 6..=kept + 9));
    assert!(backlog.knows(&stream(0), Seq(kept + 9)));
}

#[test]
fn what_waits_to_be_stored_is_counted_with_since_when() {
    let mut backlog = Backlog::default();
    assert_eq!(backlog.waiting(), Waiting::default());
    let mut later = events(1, 1..=3);
    let first = events(0, 1..=1).remove(0).eventheader.timestamp;
    for event in &mut later {
        event.eventheader.timestamp =
            first + jiff::SignedDuration::from_secs(event.seq.0.try_into().expect("few"));
    }
    let (second, third) = (
        later[1].eventheader.timestamp,
        later[2].eventheader.timestamp,
    );
    backlog.offer(&stream(1), later);
    backlog.offer(&stream(0), events(0, 1..=1));
    let waiting = |events, since| Waiting { events, since };
    assert_eq!(backlog.waiting(), waiting(4, Some(first)));
    // Their own topics need all of them still.
    backlog.confirm(&stream(0), Seq(1), Instant::now());
    backlog.confirm(&stream(1), Seq(1), Instant::now());
    assert_eq!(backlog.waiting(), waiting(2, Some(second)));
    backlog.confirm(&stream(1), Seq(2), Instant::now());
    assert_eq!(backlog.waiting(), waiting(1, Some(third)));
    backlog.confirm(&stream(1), Seq(3), Instant::now());
    assert_eq!(backlog.waiting(), waiting(0, None));
    assert_eq!(backlog.unconfirmed(), 4);
}
