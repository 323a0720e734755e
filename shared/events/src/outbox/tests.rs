//! Whatever is told, confirmed, left to pages and switched: nothing is lost, and the outbox keeps its limits.

use proptest::prelude::*;

use super::*;
use crate::{EventType, event::tests::draft};

fn stream() -> StreamId {
    "uid-1".parse().expect("a stream")
}

/// A draft with names as long as they can be. Who asked is a label's value or a field manager: 128 bytes.
fn longest(event_type: EventType, cause: Option<String>) -> Draft {
    Draft {
        namespace: "n".repeat(63).parse().expect("a namespace"),
        cluster: Some("c".repeat(58).parse().expect("a name")),
        actor: "a".repeat(128),
        step: Some("secrets, certificate and service made".to_owned()),
        cause,
        duration_ms: Some(u64::MAX),
        ..draft(event_type)
    }
}

fn any_cause() -> impl Strategy<Value = Option<String>> {
    let long = (any::<char>(), 0usize..4000).prop_map(|(c, count)| c.to_string().repeat(count));
    prop::option::of(prop_oneof!["(?s).{0,40}", long, Just("\0".repeat(2000))])
}

fn at(seconds: i64) -> Timestamp {
    let begin: Timestamp = "2026-10-15T10:11:12.5Z".parse().expect("a time");
    begin + SignedDuration::from_secs(seconds)
}

/// What may happen to an outbox.
#[derive(Clone, Debug)]
enum Act {
    Tell(EventType, Option<String>),
    /// Of the unconfirmed events the event service has so many, in order.
    Confirm(usize),
    /// A write whose page is there; or where the process dies between page and write, which leaves both.
    Write {
        dies: bool,
    },
    Switch(bool),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let any_type = (0..EventType::ALL.len()).prop_map(|at| EventType::ALL[at]);
    let progress = Just(EventType::CreateClusterProgress);
    let tell = (prop_oneof![3 => any_type, 1 => progress], any_cause());
    let act = prop_oneof![
        8 => tell.prop_map(|(event_type, cause)| Act::Tell(event_type, cause)),
        1 => (0usize..40).prop_map(Act::Confirm),
        4 => any::<bool>().prop_map(|dies| Act::Write { dies }),
        1 => any::<bool>().prop_map(Act::Switch),
    ];
    prop::collection::vec(act, 0..80)
}

/// An outbox and the store it is written to.
#[derive(Default)]
struct Store {
    outbox: Outbox,
    written: Outbox,
    pages: Vec<Event>,
    /// Everything that was told and written, while eventing was on.
    told: Vec<Event>,
    confirmed: Seq,
}

impl Store {
    fn unconfirmed(&self) -> Vec<Event> {
        let mut all = self.pages.clone();
        all.extend(self.written.entries.iter().cloned());
        all.sort_by_key(|event| event.seq);
        all.dedup();
        all.retain(|event| event.seq > self.confirmed);
        all
    }

    fn write(&mut self, dies: bool) {
        let page = self.outbox.overflow(self.written.last).to_vec();
        if let Some(last) = page.last() {
            self.pages.extend(page.iter().cloned());
            if dies {
                self.outbox = self.written.clone();
                return;
            }
            self.outbox.leave_to_pages(last.seq);
        }
        let fresh = self.outbox.entries.iter();
        let fresh = fresh.filter(|event| event.seq > self.written.last);
        self.told.extend(fresh.cloned());
        self.written = self.outbox.clone();
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Tell(event_type, cause) => {
                self.outbox.push(&stream(), longest(event_type, cause));
                // A commit tells a few events, then it is written.
                if self.outbox.last.0 > self.written.last.0 + 3 {
                    self.write(false);
                }
            }
            Act::Confirm(count) => {
                let unconfirmed = self.unconfirmed();
                let newest = unconfirmed.get(..count.min(unconfirmed.len()));
                if let Some(newest) = newest.and_then(<[Event]>::last) {
                    self.confirmed = newest.seq;
                }
                self.outbox.confirm(self.confirmed);
            }
            Act::Write { dies } => self.write(dies),
            Act::Switch(true) => drop(self.outbox.switch_on()),
            Act::Switch(false) => self.outbox.switch_off(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn nothing_told_is_lost_and_what_is_written_keeps_its_limits(acts in acts()) {
        let mut store = Store::default();
        for act in acts {
            store.act(act);
            let json = serde_json::to_vec(&store.outbox.entries).expect("JSON");
            prop_assert_eq!(store.outbox.bytes(), json.len());
            prop_assert!(store.written.entries.len() <= Outbox::MOST);
            prop_assert!(store.written.bytes() <= Outbox::MOST_BYTES, "{} bytes", store.written.bytes());
            let unconfirmed: Vec<Event> = store
                .told
                .iter()
                .filter(|event| event.seq > store.confirmed)
                .cloned()
                .collect();
            prop_assert_eq!(store.unconfirmed(), unconfirmed);
            // Whoever has only the status knows of what is in pages and nowhere else.
            let (confirmed, written) = (store.confirmed, &store.written);
            let only_there = |event: &&Event| event.seq > confirmed && !written.entries.contains(event);
            let paged = store.pages.iter().filter(only_there).map(|event| event.seq).max();
            prop_assert!(paged.is_none_or(|last| last <= written.paged));
        }
    }

    #[test]
    fn each_seq_is_given_once_and_steps_left_out_are_counted(acts in acts()) {
        let mut outbox = Outbox::default();
        let (mut seqs, mut left_out, mut counted, mut tried) = (Vec::new(), 0, 0, 0);
        for act in acts {
            let Act::Tell(event_type, cause) = act else { continue };
            tried += 1;
            match outbox.push(&stream(), longest(event_type, cause)) {
                Some(event) => {
                    seqs.push(event.seq.0);
                    counted += event.omitted.unwrap_or(0);
                }
                None => left_out += 1,
            }
            prop_assert_eq!(counted + outbox.omitted, left_out);
            let _ = outbox.begin_backlog(at(0), at(0));
        }
        prop_assert_eq!(seqs.len() as u64 + left_out, tried);
        prop_assert_eq!(seqs, (1..=outbox.last.0).collect::<Vec<_>>());
        let told = outbox.backlog.map_or(outbox.omitted, |backlog| backlog.omitted);
        prop_assert_eq!(told, left_out);
    }

    #[test]
    fn while_it_is_off_seqs_go_on_and_nothing_is_put_in(acts in acts()) {
        let mut outbox = Outbox::default();
        outbox.push(&stream(), draft(EventType::CreateCluster));
        outbox.switch_off();
        let before = outbox.clone();
        for act in acts {
            if let Act::Tell(event_type, cause) = act {
                outbox.push(&stream(), longest(event_type, cause));
            }
        }
        prop_assert_eq!(&outbox.entries, &before.entries);
        let told = outbox.last.0 - before.last.0;
        prop_assert_eq!(outbox.unpublished, Some(told));
        prop_assert_eq!(outbox.switch_on(), (told > 0).then_some(told));
        prop_assert_eq!(outbox.switch_on(), None);
    }
}

#[test]
fn confirmed_events_go_and_the_others_stay() {
    let mut outbox = Outbox::default();
    outbox.push(&stream(), draft(EventType::CreateCluster));
    outbox.push(&stream(), draft(EventType::CreateClusterCompleted));
    outbox.confirm(Seq(1));
    assert_eq!(outbox.entries.len(), 1);
    assert_eq!(outbox.entries[0].seq, Seq(2));
    assert_eq!(outbox.last, Seq(2));
}

#[test]
fn a_backlog_begins_with_a_crowd_and_ends_when_all_is_confirmed() {
    let mut outbox = Outbox::default();
    for _ in 0..Outbox::CROWD {
        assert_eq!(outbox.begin_backlog(at(0), at(1)), None);
        outbox.push(&stream(), draft(EventType::CreateCluster));
    }
    let backlog = Backlog {
        since: at(1),
        omitted: 0,
    };
    assert_eq!(outbox.begin_backlog(at(0), at(1)), Some(&backlog));
    assert_eq!(outbox.begin_backlog(at(0), at(2)), None);
    outbox.confirm(Seq(15));
    let step = draft(EventType::CreateClusterProgress);
    assert_eq!(outbox.push(&stream(), step), None);
    assert_eq!(outbox.end_backlog(), None);
    outbox.confirm(Seq(16));
    let ended = outbox.end_backlog().map(|ended| ended.omitted);
    assert_eq!(ended, Some(1));
    assert_eq!(outbox.end_backlog(), None);
    let step = draft(EventType::CreateClusterProgress);
    let told = outbox.push(&stream(), step).and_then(|event| event.omitted);
    assert_eq!(told, Some(1));
}

#[test]
fn a_backlog_begins_when_one_event_has_waited_for_a_minute_that_this_process_saw() {
    let mut outbox = Outbox::default();
    // Its own time is long ago.
    outbox.push(&stream(), draft(EventType::CreateCluster));
    let told = 1000_i64;
    let at = |seconds: i64| at(told + seconds);
    assert_eq!(outbox.begin_backlog(at(-500), at(0)), None);
    assert_eq!(outbox.begin_backlog(at(-500), at(59)), None);
    // A process that began late has not seen anything wait.
    assert_eq!(outbox.begin_backlog(at(50), at(100)), None);
    assert!(outbox.begin_backlog(at(50), at(110)).is_some());
}

#[test]
fn a_status_of_a_former_version_is_read() {
    let outbox: Outbox = serde_json::from_str(r#"{"last": 3, "entries": []}"#).expect("an outbox");
    assert_eq!((outbox.last, outbox.waits()), (Seq(3), false));
    let written = serde_json::to_string(&outbox).expect("JSON");
    assert_eq!(written, r#"{"last":3,"entries":[]}"#);
}

#[test]
fn without_pages_it_grows_to_a_limit_and_what_had_no_room_is_counted() {
    let mut outbox = Outbox::default();
    let long = |event_type| longest(event_type, Some("\0".repeat(2000)));
    let mut told = 0;
    while outbox.dropped < 10 {
        outbox.push(&stream(), long(EventType::CreateCluster));
        told += 1;
        assert!(
            told < 10_000,
            "it grows and grows: {} bytes",
            outbox.bytes()
        );
        assert_eq!(outbox.end_dropping(), None, "it has no room");
    }
    let most = Outbox::MOST_WITHOUT_PAGES;
    let bytes = serde_json::to_vec(&outbox.entries).expect("JSON").len();
    assert!(
        bytes >= most && bytes < most + Outbox::MOST_BYTES,
        "{bytes}"
    );
    assert_eq!(
        (outbox.last, outbox.entries.len()),
        (Seq(told), (told - 10) as usize)
    );
    // A little room is not enough: those that wait go first.
    outbox.confirm(Seq(2));
    assert!(
        outbox
            .push(&stream(), long(EventType::CreateCluster))
            .is_none()
    );
    outbox.leave_to_pages(outbox.entries.last().expect("some").seq);
    assert_eq!(outbox.end_dropping(), Some(11));
    assert_eq!(outbox.end_dropping(), None);
    let next = outbox.push(&stream(), draft(EventType::HistoryCut));
    assert_eq!(next.map(|event| event.seq), Some(Seq(told + 2)));
}
