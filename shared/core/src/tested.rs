//! Tests of connections. The apiserver makes them by itself; what came of one it notes on the Pgcluster, and it is told from
//! there. Nothing follows from a test, so its operation is not remembered.

use jiff::Timestamp;
use pgo_ids::OperationId;

use crate::{
    Journal, Kind, Operation, Outcome,
    journal::{Ending, Subject},
};

/// A test of a cluster's connections that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Test {
    /// Its id.
    pub operation: OperationId,
    /// Who asked for it.
    pub actor: String,
    /// When it began.
    pub began: Timestamp,
    /// When it was over.
    pub ended: Timestamp,
    /// How many connections were tried.
    pub tried: usize,
    /// The commands that connect like those that did not work, each with the reason.
    pub broken: Vec<String>,
}

impl Test {
    fn ending(&self) -> Ending {
        let tried = self.tried;
        if self.broken.is_empty() {
            let cause = format!("all {tried} connections work");
            return (Outcome::Completed, Some(cause));
        }
        let broken = self.broken.len();
        let cause = format!(
            "{broken} of {tried} connections do not work: {}",
            self.broken.join("; ")
        );
        (Outcome::Failed, Some(cause))
    }
}

/// Tells of a test, its beginning and its end.
pub(crate) fn tell(journal: &mut Journal, subject: Subject<'_>, test: &Test) {
    let began = test.began.min(test.ended);
    let of = (Kind::TestCluster, None);
    let operation = Operation::begun(of, test.operation, &test.actor, 0, began);
    journal.tell_over(subject, &operation, test.ending(), test.ended);
}
