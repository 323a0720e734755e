//! Records that are damaged and have not been got back.

use std::ops::Range;

use super::Offset;

/// Ranges of offsets, ascending, apart from each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Missing(Vec<Range<Offset>>);

impl Missing {
    /// Adds a range; tells whether it holds anything that was not known.
    pub(super) fn add(&mut self, range: Range<Offset>) -> bool {
        if range.is_empty()
            || self
                .0
                .iter()
                .any(|known| known.start <= range.start && range.end <= known.end)
        {
            return false;
        }
        let touches = |known: &Range<Offset>| known.start <= range.end && range.start <= known.end;
        let mut whole = range.clone();
        for known in self.0.iter().filter(|known| touches(known)) {
            whole = whole.start.min(known.start)..whole.end.max(known.end);
        }
        self.0.retain(|known| !touches(known));
        let at = self.0.partition_point(|known| known.start < whole.start);
        self.0.insert(at, whole);
        true
    }

    /// Takes a range out.
    pub(super) fn remove(&mut self, range: &Range<Offset>) {
        if range.is_empty() {
            return;
        }
        let around = |known: Range<Offset>| {
            let before = known.start..known.end.min(range.start);
            let after = known.start.max(range.end)..known.end;
            [before, after].into_iter().filter(|part| !part.is_empty())
        };
        self.0 = std::mem::take(&mut self.0)
            .into_iter()
            .flat_map(around)
            .collect();
    }

    pub(super) fn count(&self) -> u64 {
        self.0.iter().map(|range| range.end - range.start).sum()
    }

    pub(super) fn ranges(&self) -> &[Range<Offset>] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_set_of_offsets(steps in prop::collection::vec((any::<bool>(), 1u64..60, 0u64..20), 0..30)) {
            let (mut missing, mut set) = (Missing::default(), BTreeSet::new());
            for (add, start, length) in steps {
                let range = start..start + length;
                if add {
                    let news = range.clone().filter(|offset| set.insert(*offset)).count() > 0;
                    prop_assert_eq!(missing.add(range), news);
                } else {
                    range.clone().for_each(|offset| { set.remove(&offset); });
                    missing.remove(&range);
                }
                let found: Vec<u64> = missing.ranges().iter().cloned().flatten().collect();
                prop_assert_eq!(found, set.iter().copied().collect::<Vec<_>>());
                prop_assert_eq!(missing.count(), set.len() as u64);
            }
        }
    }
}
