//! Who asks for an upgrade, and what is refused before anything is done.

use jiff::Timestamp;
use pgo_ids::OperationId;

use super::{MinorVersion, UpgradeRequest, instances, trouble_beside};
use crate::{Cluster, ClusterStatus, Image, Observed, silence};

/// What is asked for and was not answered yet: by Pgtasks first, then by the spec.
pub(super) fn unanswered(status: &ClusterStatus, cluster: &Cluster) -> Vec<UpgradeRequest> {
    let asked = cluster.upgrades.iter();
    let asked = asked.filter(|one| !status.journal.knows(one.operation));
    let mut asked: Vec<UpgradeRequest> = asked.cloned().collect();
    asked.sort_by_key(|one| one.made);
    asked
}

/// What the spec asks for anew.
pub(super) fn of_spec(status: &ClusterStatus, cluster: &Cluster) -> Option<UpgradeRequest> {
    let (images, desired) = (status.images.as_ref()?, cluster.desired.as_ref().ok()?);
    let is_new = images.said != cluster.image_said && images.in_force != desired.image;
    is_new.then(|| UpgradeRequest {
        operation: OperationId::derived(
            &cluster.stream,
            &format!(
                "upgrade to {} of generation {}",
                desired.image.0, cluster.generation
            ),
        ),
        actor: cluster.changed_by.image.clone(),
        made: None,
        image: Ok(desired.image.clone()),
    })
}

/// What is said of a request.
pub(super) enum Verdict {
    /// It can begin: image, and the oldest version that an instance runs.
    Begin(Image, String),
    /// It is refused, nothing is changed.
    Refused(String),
    /// It cannot be told yet.
    Later,
}

/// Judges a request while no upgrade goes on.
pub(super) fn judge(
    request: &UpgradeRequest,
    status: &ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    now: Timestamp,
) -> Verdict {
    let image = match &request.image {
        Ok(image) => image.clone(),
        Err(why) => return Verdict::Refused(why.clone()),
    };
    let Some(images) = &status.images else {
        // Nobody has understood its spec yet.
        return in_the_way(status, cluster, observed).map_or(Verdict::Later, Verdict::Refused);
    };
    if images.in_force == image && images.others.is_empty() {
        let name = &cluster.name;
        return Verdict::Refused(format!(
            "all instances of {name} are made from image {} already",
            image.0
        ));
    }
    // Who has just begun to listen cannot say that nobody answers.
    if silence::is_brief(observed, now) || observed.upgrades_full {
        return Verdict::Later;
    }
    if let Some(why) = in_the_way(status, cluster, observed) {
        return Verdict::Refused(why);
    }
    match former_version(status, cluster, observed) {
        Ok(version) => Verdict::Begin(image, version.to_string()),
        Err(why) => Verdict::Refused(why),
    }
}

/// What else goes on or is wrong, so that an upgrade would make it worse.
fn in_the_way(status: &ClusterStatus, cluster: &Cluster, observed: &Observed) -> Option<String> {
    let name = &cluster.name;
    if !status.was_ready() {
        return Some(format!(
            "cluster {name} has never been ready; let it become so first: {}",
            status.reason
        ));
    }
    let mut operations = status.journal.operations.iter();
    if let Some(running) = operations.find(|operation| operation.is_running()) {
        let about = running.instance.as_ref();
        let about = about.map(|instance| format!(" ({instance})"));
        return Some(format!(
            "another operation is going on: {}{}; wait for its end, then ask again",
            running.kind.what(),
            about.unwrap_or_default()
        ));
    }
    let trouble = trouble_beside(None, status, cluster, observed)?;
    Some(format!(
        "{trouble}; an upgrade begins only while all instances are well, also not during a failover: see pgo show cluster \
         {name}"
    ))
}

/// The oldest version that an instance runs.
fn former_version(
    status: &ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
) -> Result<MinorVersion, String> {
    let versions = versions(status, cluster, observed)?;
    let oldest = versions.into_iter().min();
    oldest.ok_or_else(|| format!("cluster {} has no instances", cluster.name))
}

/// The versions that the instances run.
fn versions(
    status: &ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
) -> Result<Vec<MinorVersion>, String> {
    let version = |instance| {
        let agent = observed.agent(instance);
        let said = agent.and_then(|agent| agent.postgres_version.as_deref());
        let said = said.unwrap_or_default();
        MinorVersion::read(said).ok_or_else(|| {
            format!(
                "instance {instance} runs PostgreSQL {said:?}, which is no released version: it cannot be told whether the \
                 new one can use its data"
            )
        })
    };
    instances(status, cluster).iter().map(version).collect()
}

/// Whether what an image holds can take over from what the instances run.
pub(super) fn fits(
    (image, told): (&Image, &str),
    status: &ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
) -> Result<MinorVersion, String> {
    let image = &image.0;
    let new = MinorVersion::read(told).ok_or_else(|| {
        format!("image {image} holds PostgreSQL {told:?}, which is no released version")
    })?;
    for running in versions(status, cluster, observed)? {
        if !new.is_of_series(&running) {
            return Err(format!(
                "image {image} holds PostgreSQL {new}, another major version than {running}, which runs; a minor upgrade \
                 cannot change it: dump the databases and load them into a new cluster"
            ));
        }
        if new < running {
            return Err(format!(
                "image {image} holds PostgreSQL {new}, which is older than {running}, which runs; name an image with {running} \
                 or later"
            ));
        }
    }
    Ok(new)
}
