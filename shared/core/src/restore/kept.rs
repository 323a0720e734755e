//! Data that is kept when its cluster goes: which claim is that of the first instance is said on the claim, since no status is
//! left then.

use pgo_ids::InstanceName;

use crate::{Cluster, ClusterStatus, Kind, Observed, Step};

/// A new cluster goes on with the data that its name's former one had last: with the claim that says so, not with that of
/// before a restore, which has the cluster's own name.
pub(crate) fn adopt(next: &mut ClusterStatus, cluster: &Cluster, observed: &Observed) {
    if next.journal.newest(Kind::CreateCluster).is_some() {
        return;
    }
    let own = InstanceName::from(&cluster.name);
    let marked = observed
        .claims
        .iter()
        .filter(|(_, claim)| !claim.terminating);
    let marked = marked.filter_map(|(instance, claim)| Some((claim.first_since?, instance)));
    next.adopted = marked
        .max()
        .map(|(_, instance)| instance.clone())
        .filter(|instance| *instance != own);
    let is_left = next.adopted.is_some() && observed.claims.contains_key(&own);
    next.retired = is_left.then_some(own).into_iter().collect();
}

/// Says on the claim of an instance that a cluster was restored to that it is the first one, once it has served.
pub(crate) fn mark(status: &ClusterStatus, observed: &Observed) -> Option<Step> {
    let restored = status.restored.as_ref()?;
    let since = restored.at?;
    let claim = observed.claims.get(&restored.instance)?;
    let is_said = claim.first_since == Some(since);
    (!is_said && !claim.terminating).then(|| Step::MarkClaim {
        instance: restored.instance.clone(),
        uid: claim.uid.clone(),
        since,
    })
}
