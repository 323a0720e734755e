//! Policies on their way to the agents: which one is being applied to each cluster, and what its agent answered, until the
//! cluster has been looked at again.

pub mod fetch;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use pgo_core::PolicyAnswer;
use pgo_ids::{OperationId, StreamId};

/// What was asked last of each cluster, by its uid. Its clones know the same.
#[derive(Clone, Debug, Default)]
pub struct Policies(Arc<Mutex<HashMap<StreamId, Asked>>>);

#[derive(Debug)]
struct Asked {
    operation: OperationId,
    answer: Option<Result<u32, String>>,
}

impl Policies {
    /// Notes that it is asked for now; not where it is already, or is answered.
    pub fn begin(&self, cluster: &StreamId, operation: OperationId) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known = all
            .get(cluster)
            .is_some_and(|asked| asked.operation == operation);
        if !is_known {
            let answer = None;
            all.insert(cluster.clone(), Asked { operation, answer });
        }
        !is_known
    }

    /// Notes what became of it; nothing where it is to be asked for again.
    pub fn ended(
        &self,
        cluster: &StreamId,
        operation: OperationId,
        answer: Option<Result<u32, String>>,
    ) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match (all.get_mut(cluster), answer) {
            // Another one was asked for meanwhile.
            (Some(asked), _) if asked.operation != operation => {}
            (Some(asked), Some(answer)) => asked.answer = Some(answer),
            (Some(_), None) => {
                all.remove(cluster);
            }
            // The cluster is gone.
            (None, _) => {}
        }
    }

    /// The answer, where there is one.
    pub fn answer(&self, cluster: &StreamId) -> Option<PolicyAnswer> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let asked = all.get(cluster)?;
        Some(PolicyAnswer {
            operation: asked.operation,
            applied: asked.answer.clone()?,
        })
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
    fn one_is_asked_for_once_until_it_is_to_be_asked_again_or_another_one_is() {
        let (cluster, policies) = ("uid-1".parse().expect("a uid"), Policies::default());
        let [one, two] = [1, 2].map(|last| {
            let id = format!("25927091-b343-4017-be4b-71575f0b3eb{last}");
            id.parse::<OperationId>().expect("an id")
        });
        assert!(policies.begin(&cluster, one));
        assert!(!policies.begin(&cluster, one), "it is under way");
        assert_eq!(policies.answer(&cluster), None);
        policies.ended(&cluster, one, None);
        assert!(policies.begin(&cluster, one), "it is worth another try");
        policies.ended(&cluster, one, Some(Ok(2)));
        assert!(!policies.begin(&cluster, one), "it is answered");
        let answer = policies.answer(&cluster).expect("noted");
        assert_eq!((answer.operation, answer.applied), (one, Ok(2)));
        assert!(policies.begin(&cluster, two));
        policies.ended(&cluster, one, Some(Ok(0)));
        assert_eq!(policies.answer(&cluster), None, "of a former one");
        policies.forget(&cluster);
        policies.ended(&cluster, two, Some(Ok(0)));
        assert_eq!(policies.answer(&cluster), None);
    }
}
