//! How far a stream is known, and what to do with an event that arrives.

use pgo_ids::Seq;

/// Up to which event a stream was taken over without a gap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Watermark(pub Seq);

/// What an arriving event is to who has a [`Watermark`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// The next one: take it.
    Next,
    /// Taken before: drop it, and confirm it again, since the confirmation may have been lost.
    Repeat,
    /// Some are missing before it: not now. They are published again until they are confirmed.
    Gap {
        /// The one that is missing first.
        missing: Seq,
    },
}

impl Watermark {
    /// Judges an arriving event.
    #[must_use]
    pub fn judge(self, arriving: Seq) -> Arrival {
        if arriving <= self.0 {
            Arrival::Repeat
        } else if arriving == self.0.next() {
            Arrival::Next
        } else {
            Arrival::Gap {
                missing: self.0.next(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_order_with_repeats_is_taken_once_and_in_order(
            order in Just((1u64..=8).collect::<Vec<_>>()).prop_shuffle(),
            rounds in 8usize..10,
        ) {
            let mut mark = Watermark::default();
            let mut taken = Vec::new();
            for seq in std::iter::repeat_n(&order, rounds).flatten() {
                if mark.judge(Seq(*seq)) == Arrival::Next {
                    mark = Watermark(Seq(*seq));
                    taken.push(*seq);
                }
            }
            prop_assert_eq!(taken, (1..=8).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_gap_names_what_is_missing() {
        assert_eq!(
            Watermark(Seq(2)).judge(Seq(5)),
            Arrival::Gap { missing: Seq(3) }
        );
    }
}
