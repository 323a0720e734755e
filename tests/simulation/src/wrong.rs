//! Parts that are wrong on purpose: the simulation must find each, or it would not find the same mistake in the product.

use pgo_event::intake::{Arrived, Batch, Intake};
use pgo_event::log::Entry;
use pgo_events::Watermark;
use pgo_ids::StreamId;

/// Which part is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// The event service appends what it has.
    IntakeTakesRepeats,
    /// The event service appends what comes too early.
    IntakeTakesGaps,
    /// The event service confirms what is not on disk yet.
    ConfirmedBeforeDisk,
    /// Readers are shown what is not on disk yet.
    ShownBeforeDisk,
    /// The relay takes the broker's answer for a confirmation.
    RelayTrimsEarly,
    /// The reconciler publishes before its write.
    PublishedBeforeWrite,
    /// A status is written whatever version is there.
    StoreWithoutCompare,
    /// A cluster goes without its last events being copied.
    LastEventsNotCopied,
    /// A cluster goes without a last look whether somebody else asked for that, too.
    RequestsFromCachesOnly,
    /// The last look is for others who ask for that, and for nothing else that is asked for.
    OnlyDeletionsAskedAnew,
    /// Requests are taken up, and operations forgotten, as a cache shows the Pgtasks.
    TasksFromCachesOnly,
    /// What was asked for is noted as over before the status is written that says so.
    NotedBeforeWrite,
    /// A page goes when its events are published.
    PageRemovedEarly,
    /// A reader reads the last record again after an interruption.
    ReaderRepeats,
}

impl Wrong {
    /// All there are.
    pub const ALL: [Self; 14] = [
        Self::IntakeTakesRepeats,
        Self::IntakeTakesGaps,
        Self::ConfirmedBeforeDisk,
        Self::ShownBeforeDisk,
        Self::RelayTrimsEarly,
        Self::PublishedBeforeWrite,
        Self::StoreWithoutCompare,
        Self::LastEventsNotCopied,
        Self::RequestsFromCachesOnly,
        Self::OnlyDeletionsAskedAnew,
        Self::TasksFromCachesOnly,
        Self::NotedBeforeWrite,
        Self::PageRemovedEarly,
        Self::ReaderRepeats,
    ];
}

/// What decides on events that arrive.
pub trait Judge {
    /// Which of them are appended, and what is confirmed then.
    fn judge(&mut self, arrived: Vec<Arrived>, mark: &dyn Fn(&StreamId) -> Watermark) -> Batch;
}

/// The event service's own.
impl Judge for Intake {
    fn judge(&mut self, arrived: Vec<Arrived>, mark: &dyn Fn(&StreamId) -> Watermark) -> Batch {
        Intake::judge(self, arrived, mark)
    }
}

/// Appends whatever arrives that `wants` to have.
struct Careless {
    takes_repeats: bool,
}

impl Judge for Careless {
    fn judge(&mut self, arrived: Vec<Arrived>, mark: &dyn Fn(&StreamId) -> Watermark) -> Batch {
        let mut batch = Batch::default();
        for event in arrived {
            let stream = event.key.stream.clone();
            let here = batch.confirm.get(&stream).copied();
            let mark = here.unwrap_or_else(|| mark(&stream).0);
            let is_repeat = event.key.seq <= mark;
            let is_next = event.key.seq == mark.next();
            if is_next || is_repeat == self.takes_repeats {
                batch
                    .confirm
                    .insert(stream.clone(), mark.max(event.key.seq));
                batch.append.push(Entry {
                    key: event.key,
                    event: event.event,
                });
            } else if is_repeat {
                batch.confirm.insert(stream, mark);
            }
        }
        batch
    }
}

/// The judge of an event service that may be wrong.
pub fn judge(wrong: Option<Wrong>) -> Box<dyn Judge> {
    match wrong {
        Some(Wrong::IntakeTakesRepeats) => Box::new(Careless {
            takes_repeats: true,
        }),
        Some(Wrong::IntakeTakesGaps) => Box::new(Careless {
            takes_repeats: false,
        }),
        _ => Box::new(Intake::default()),
    }
}
