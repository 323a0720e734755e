//! Which log this is, and which it was: epochs, each with its first offset.

use super::{Cursor, Offset};

/// The most epochs remembered; cursors of older ones are of another log.
const REMEMBERED: usize = 16;

/// Epochs of a log, the present one last.
///
/// An epoch begins when a log goes on from a copy, or from a torn end, of which it is not known that it has everything; below
/// its first offset it is the same log as before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lineage(Vec<(String, Offset)>);

/// What a cursor is to a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kin {
    /// It is of the present epoch.
    Same,
    /// It is of an earlier one, of which this log has what is before this offset.
    Ancestor(Offset),
    /// It is of another log.
    Stranger,
}

impl Lineage {
    /// A log that begins at an offset.
    pub fn new(first: Offset) -> Self {
        let mut new = Self::default();
        new.begin(first);
        new
    }

    /// Known epochs; none if there is no epoch among them, or they are not in order.
    pub fn of(parts: Vec<(String, Offset)>) -> Option<Self> {
        let named = parts.iter().all(|(epoch, _)| !epoch.is_empty());
        let ordered = parts.is_sorted_by_key(|(_, first)| *first);
        (!parts.is_empty() && named && ordered).then_some(Self(parts))
    }

    /// Begins an epoch of a new name.
    pub fn begin(&mut self, first: Offset) {
        self.adopt(uuid::Uuid::new_v4().simple().to_string(), first);
    }

    /// Goes on in an epoch that somebody else began.
    pub fn adopt(&mut self, epoch: String, first: Offset) {
        self.0.push((epoch, first));
        let surplus = self.0.len().saturating_sub(REMEMBERED);
        self.0.drain(..surplus);
    }

    /// The epochs.
    pub fn parts(&self) -> &[(String, Offset)] {
        &self.0
    }

    /// The present one.
    pub fn epoch(&self) -> &str {
        self.0.last().map_or("", |(epoch, _)| epoch)
    }

    /// Whether this is a later state of the other log, or the same: what the other has may be in it.
    pub fn continues(&self, other: &str) -> bool {
        self.0.iter().any(|(epoch, _)| epoch == other)
    }

    /// What a cursor is to it.
    pub fn kin(&self, cursor: &Cursor) -> Kin {
        match self.0.iter().position(|(epoch, _)| *epoch == cursor.epoch) {
            None => Kin::Stranger,
            Some(at) => self
                .0
                .get(at + 1)
                .map_or(Kin::Same, |(_, next)| Kin::Ancestor(*next)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(epoch: &str) -> Cursor {
        Cursor {
            epoch: epoch.to_owned(),
            offset: 5,
        }
    }

    #[test]
    fn cursors_of_earlier_epochs_hold_up_to_where_the_next_began() {
        let mut lineage = Lineage::of(vec![("a".to_owned(), 1), ("b".to_owned(), 7)]).expect("one");
        assert_eq!(lineage.kin(&cursor("b")), Kin::Same);
        assert_eq!(lineage.kin(&cursor("a")), Kin::Ancestor(7));
        assert_eq!(lineage.kin(&cursor("c")), Kin::Stranger);
        lineage.begin(9);
        assert_eq!(lineage.kin(&cursor("b")), Kin::Ancestor(9));
        assert_eq!(lineage.kin(&cursor(lineage.epoch())), Kin::Same);
    }

    #[test]
    fn old_epochs_are_forgotten() {
        let mut lineage = Lineage::new(1);
        let first = lineage.epoch().to_owned();
        (2..=17).for_each(|offset| lineage.begin(offset));
        assert_eq!(lineage.parts().len(), REMEMBERED);
        assert_eq!(lineage.kin(&cursor(&first)), Kin::Stranger);
    }

    #[test]
    fn nonsense_is_no_lineage() {
        assert_eq!(Lineage::of(vec![]), None);
        assert_eq!(Lineage::of(vec![(String::new(), 1)]), None);
        assert_eq!(
            Lineage::of(vec![("a".to_owned(), 7), ("b".to_owned(), 1)]),
            None
        );
    }
}
