//! What agents answered that were asked for a reload, until their cluster has been looked at again.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, PoisonError},
};

use pgo_core::Reloads as Answers;
use pgo_ids::{InstanceName, OperationId, StreamId};

/// The answers for the newest reload of each cluster, by its uid.
#[derive(Debug, Default)]
pub struct Reloads(Mutex<HashMap<StreamId, Answers>>);

impl Reloads {
    /// Notes an answer; those for a former reload are forgotten.
    pub fn answered(
        &self,
        cluster: &StreamId,
        operation: OperationId,
        instance: &InstanceName,
        answer: Result<Vec<String>, String>,
    ) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let none = || Answers {
            operation,
            answers: BTreeMap::new(),
        };
        let known = all.entry(cluster.clone()).or_insert_with(none);
        if known.operation != operation {
            *known = none();
        }
        known.answers.insert(instance.clone(), answer);
    }

    /// What is known.
    pub fn answers(&self, cluster: &StreamId) -> Option<Answers> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(cluster).cloned()
    }

    /// Forgets a cluster that is gone.
    pub fn forget(&self, cluster: &StreamId) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(cluster);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_those_for_the_newest_reload() {
        let (cluster, reloads) = ("uid-1".parse().expect("a uid"), Reloads::default());
        let [one, two] = [1, 2].map(|last| {
            let id = format!("25927091-b343-4017-be4b-71575f0b3eb{last}");
            id.parse::<OperationId>().expect("an id")
        });
        let [first, second] = ["hippo", "hippo-abcd"].map(|name| name.parse().expect("a name"));
        reloads.answered(&cluster, one, &first, Ok(Vec::new()));
        reloads.answered(&cluster, one, &second, Err("a fault".to_owned()));
        let answers = reloads.answers(&cluster).expect("noted");
        assert_eq!((answers.operation, answers.answers.len()), (one, 2));
        reloads.answered(&cluster, two, &first, Ok(Vec::new()));
        let answers = reloads.answers(&cluster).expect("noted");
        assert_eq!((answers.operation, answers.answers.len()), (two, 1));
        reloads.forget(&cluster);
        assert_eq!(reloads.answers(&cluster), None);
    }
}
