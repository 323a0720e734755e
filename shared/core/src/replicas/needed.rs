//! Replicas that a cluster cannot do without.

use pgo_ids::InstanceName;

use crate::{Cluster, ClusterStatus};

/// What a cluster needs its replicas for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// Whether another instance becomes the primary by itself.
    pub autofail: bool,
    /// For how many replicas' answers commits wait.
    pub answers: usize,
}

impl Needs {
    /// Why `target`, one of `replicas` replicas of a cluster, cannot be removed; none where it can.
    #[must_use]
    pub fn refuse(self, cluster: &str, target: &str, replicas: usize) -> Option<String> {
        if self.autofail && replicas == 1 {
            return Some(format!(
                "{target} is the last replica of cluster {cluster}, which fails over by itself; switch that off first: pgo \
                 update cluster {cluster} --autofail=false"
            ));
        }
        (replicas <= self.answers).then(|| {
            format!(
                "commits of cluster {cluster} wait for {} replicas, and without {target} there are {}; lower \
                 synchronousStandbys of its Pgcluster first",
                self.answers,
                replicas.saturating_sub(1)
            )
        })
    }
}

/// Why a replica that stays cannot be removed; none where it can. Where the spec is not understood that goes by what was asked for
/// last.
pub(super) fn refusal(
    status: &ClusterStatus,
    cluster: &Cluster,
    target: &InstanceName,
) -> Option<String> {
    let desired = cluster.desired.as_ref().ok();
    let desired = desired.map(|desired| (desired.autofail, desired.synchronous));
    let last = status.settings.as_ref();
    let last = || last.map(|last| (last.autofail, last.synchronous));
    let (autofail, answers) = desired.or_else(last)?;
    let needs = Needs {
        autofail,
        answers: usize::try_from(answers).unwrap_or(usize::MAX),
    };
    let staying = status.replicas.iter().filter(|known| !known.leaving);
    needs.refuse(cluster.name.as_str(), target.as_str(), staying.count())
}
