//! Claims that are to have larger volumes than they ask for. Volumes only grow; whether one does, its storage class says.

use std::cmp::Ordering;

use pgo_ids::InstanceName;

use crate::{
    ClaimFacts, Cluster, ClusterStatus, Desired, Observed, Step, StorageKind, form::SIZE, quantity,
};

/// The size of a claim and of its volume, as quantities of Kubernetes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClaimSize {
    /// What it asks for; empty where it says nothing.
    pub requested: String,
    /// What its volume has; empty before it has one.
    pub capacity: String,
    /// Name of its storage class; none where it has none.
    pub class: Option<String>,
    /// Whether that class lets volumes grow (`allowVolumeExpansion`); none where nobody has looked.
    pub growable: Option<bool>,
    /// What whoever enlarges its volume says of that.
    pub said: Option<String>,
}

/// What there is to do for a claim to have the size that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Growth {
    /// It is to ask for more.
    Ask,
    /// It has asked, or will, and for people what is waited for.
    Underway(String),
    /// It cannot be; and for people why.
    Impossible(String),
}

impl Growth {
    /// For the claim of an instance for which this is wanted; none where it has what is wanted, or is none that grows.
    pub(crate) fn of(desired: &Desired, claim: &ClaimFacts) -> Option<Self> {
        let (storage, size) = (&desired.storage, &claim.size);
        let is_there = claim.has_volume && !claim.terminating && !size.requested.is_empty();
        if storage.kind == StorageKind::EmptyDir || !is_there {
            return None;
        }
        let more = quantity::compare(&storage.size, &size.requested).ok()?;
        let (wanted, has) = (&storage.size, &size.requested);
        match more {
            // Somebody has made it larger by hand; nobody asks for less.
            Ordering::Less if is_made_for(claim, wanted) => None,
            Ordering::Less => Some(Self::Impossible(format!(
                "it has {has} and is to have {wanted}: a volume cannot be made smaller; ask for {has} or more"
            ))),
            Ordering::Equal => underway(claim),
            Ordering::Greater => Some(match (storage.kind, size.growable, &size.class) {
                (StorageKind::Create, ..) | (_, _, None) => Self::Impossible(format!(
                    "it has no storage class that could enlarge it to {wanted}: its volume was made by hand, of {has}"
                )),
                (_, Some(true), _) => Self::Ask,
                (_, Some(false), Some(class)) => Self::Impossible(format!(
                    "it has {has} and is to have {wanted}, but StorageClass {class} does not allow volumes to grow; where \
                     its driver can enlarge them, set allowVolumeExpansion: true there, else ask for {has} again"
                )),
                (_, None, Some(class)) => Self::Underway(format!(
                    "whether StorageClass {class} allows volumes to grow is not known yet"
                )),
            }),
        }
    }
}

/// A volume that is smaller than what its claim asks for.
fn underway(claim: &ClaimFacts) -> Option<Growth> {
    let size = &claim.size;
    let lacks = quantity::compare(&size.capacity, &size.requested) == Ok(Ordering::Less);
    let said = size.said.iter().map(|said| format!(": {said}"));
    lacks.then(|| {
        Growth::Underway(format!(
            "its volume has {} and gets {}{}",
            size.capacity,
            size.requested,
            said.collect::<String>()
        ))
    })
}

fn is_made_for(claim: &ClaimFacts, size: &str) -> bool {
    let made = claim.form.as_ref().and_then(|form| form.value(SIZE));
    made.is_some_and(|made| made == size)
}

/// Has a claim ask for what is wanted.
pub(crate) fn step(desired: &Desired, instance: &InstanceName, claim: &ClaimFacts) -> Option<Step> {
    let growth = Growth::of(desired, claim)?;
    let form = claim.form.as_ref().map(|form| {
        let size = desired.storage.size.clone();
        form.with(SIZE, size)
    });
    (growth == Growth::Ask).then(|| Step::GrowClaim {
        instance: instance.clone(),
        uid: claim.uid.clone(),
        size: desired.storage.size.clone(),
        form: form.unwrap_or_else(|| desired.claim_form()),
    })
}

/// The first instance whose claim has not what is wanted: what is impossible goes before what takes time.
pub(crate) fn pending(
    status: &ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
) -> Option<(InstanceName, Growth)> {
    let mut slow = None;
    for (instance, claim) in &observed.claims {
        let desired = cluster.desired_of(status, instance);
        let growth = desired.and_then(|desired| Growth::of(&desired, claim));
        match growth {
            Some(Growth::Impossible(why)) => {
                return Some((instance.clone(), Growth::Impossible(why)));
            }
            Some(growth) if slow.is_none() => slow = Some((instance.clone(), growth)),
            _ => {}
        }
    }
    slow
}

/// For people: which claim it is about, and what of it.
pub(crate) fn words((instance, growth): &(InstanceName, Growth)) -> String {
    let what = match growth {
        Growth::Ask => "it is to ask for a larger volume",
        Growth::Underway(what) | Growth::Impossible(what) => what,
    };
    format!("PersistentVolumeClaim {instance}: {what}")
}
