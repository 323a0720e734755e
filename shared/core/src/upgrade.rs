//! Minor upgrades: another image for the instances of a cluster, one after another, the primary last.
//!
//! ```text
//! request ─► Probing ──► Choosing ──► Replacing an instance ─┐
//!    │          │           ▲  │                             │ follows or serves
//!    │          │           │  └─ nothing left: completed    │
//!    │          │           └────────────────────────────────┘
//!    │          │           └── the primary hands over ──────┘   (or is replaced in place: autofail is off)
//!    └──────────┴─► refused, nothing changed      └─► failed: it gets its former image back, nobody else is touched
//! ```
//!
//! What is asked for comes from Pgtasks and from changes of the spec's image. How far an upgrade is stands in the status
//! and nowhere else, so that whoever reconciles next goes on from there.

mod hand_over;
mod images;
mod request;
mod run;
mod steps;
mod version;

use jiff::Timestamp;
use pgo_ids::{InstanceName, OperationId};
use serde::{Deserialize, Serialize};

pub use self::{images::Images, version::MinorVersion};
pub(crate) use self::{
    images::account,
    run::{break_off, commit},
    steps::steps,
};
use crate::{Cluster, ClusterStatus, Image, Observed};

/// How near a replica must be to its primary before the next instance is touched: less than one file of WAL.
pub(crate) const NEAR: u64 = 16 << 20;

/// A request for an upgrade, by a Pgtask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpgradeRequest {
    /// The request's id.
    pub operation: OperationId,
    /// Who asked.
    pub actor: String,
    /// When.
    pub made: Option<Timestamp>,
    /// The image that is wanted, or why there can be none.
    pub image: Result<Image, String>,
}

/// How far an upgrade is, or how far the last one came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Upgrade {
    /// Its operation.
    pub operation: OperationId,
    /// The image that is wanted.
    pub image: Image,
    /// Version of PostgreSQL in it, once the image was asked.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Oldest version that an instance ran when it began.
    pub former_version: String,
    /// What happens now.
    pub stage: UpgradeStage,
    /// Since when.
    pub since: Timestamp,
}

/// What an upgrade does now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "StageRecord", into = "StageRecord")]
pub enum UpgradeStage {
    /// A pod asks the new image for its version.
    Probing,
    /// The next instance is chosen once all are well.
    Choosing,
    /// An instance gets its new pod, and is waited for.
    Replacing {
        /// Which one.
        instance: InstanceName,
        /// Uid of the pod that makes way; empty where there was none.
        pod: String,
        /// What it was made from until then.
        former: Image,
        /// Whether it is a primary with replicas that does not hand over, and goes while it serves.
        in_place: bool,
    },
    /// The primary, last of all, hands over to an instance that is through.
    HandingOver {
        /// The primary.
        instance: InstanceName,
        /// Id of the change.
        operation: OperationId,
    },
    /// It is over, well.
    Completed,
    /// It is over, before its end.
    Failed {
        /// The instance that gets its former image back, if one does.
        back: Option<InstanceName>,
    },
}

/// A stage as it is stored: what only some stages have is left out by the others.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StageRecord {
    name: StageName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    instance: Option<InstanceName>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pod: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    former: Option<Image>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    in_place: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    operation: Option<OperationId>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum StageName {
    Probing,
    Choosing,
    Replacing,
    HandingOver,
    Completed,
    Failed,
}

impl From<StageRecord> for UpgradeStage {
    fn from(record: StageRecord) -> Self {
        match (record.name, record.instance, record.former) {
            (StageName::Probing, ..) => Self::Probing,
            (StageName::HandingOver, Some(instance), _) => match record.operation {
                Some(operation) => Self::HandingOver {
                    instance,
                    operation,
                },
                None => Self::Choosing,
            },
            (StageName::Replacing, Some(instance), Some(former)) => Self::Replacing {
                instance,
                pod: record.pod,
                former,
                in_place: record.in_place,
            },
            // Without its instance nothing was begun with one.
            (StageName::Choosing | StageName::Replacing | StageName::HandingOver, ..) => {
                Self::Choosing
            }
            (StageName::Completed, ..) => Self::Completed,
            (StageName::Failed, back, _) => Self::Failed { back },
        }
    }
}

impl From<UpgradeStage> for StageRecord {
    fn from(stage: UpgradeStage) -> Self {
        let record = |name, instance| Self {
            name,
            instance,
            pod: String::new(),
            former: None,
            in_place: false,
            operation: None,
        };
        match stage {
            UpgradeStage::Probing => record(StageName::Probing, None),
            UpgradeStage::Choosing => record(StageName::Choosing, None),
            UpgradeStage::Replacing {
                instance,
                pod,
                former,
                in_place,
            } => Self {
                pod,
                former: Some(former),
                in_place,
                ..record(StageName::Replacing, Some(instance))
            },
            UpgradeStage::HandingOver {
                instance,
                operation,
            } => Self {
                operation: Some(operation),
                ..record(StageName::HandingOver, Some(instance))
            },
            UpgradeStage::Completed => record(StageName::Completed, None),
            UpgradeStage::Failed { back } => record(StageName::Failed, back),
        }
    }
}

impl Upgrade {
    /// Whether it goes on.
    #[must_use]
    pub fn is_running(&self) -> bool {
        !matches!(
            self.stage,
            UpgradeStage::Completed | UpgradeStage::Failed { .. }
        )
    }
}

/// The pod that asks an image for its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeFacts {
    /// Its uid.
    pub uid: String,
    /// Id of the upgrade it was made for.
    pub operation: String,
    /// Whether its deletion was asked for.
    pub terminating: bool,
    /// What it has found.
    pub found: Found,
}

/// What a probe has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing yet; what keeps it, where that is known.
    Nothing(Option<String>),
    /// The version of PostgreSQL, in PostgreSQL's words.
    Version(String),
    /// The image cannot be used.
    Unusable(String),
}

impl ClusterStatus {
    /// The image that the pod of an instance is made from, once that is accounted for.
    #[must_use]
    pub fn image_of(&self, instance: &InstanceName) -> Option<&Image> {
        let images = self.images.as_ref()?;
        Some(images.others.get(instance).unwrap_or(&images.in_force))
    }

    /// The upgrade that goes on.
    #[must_use]
    pub fn upgrading(&self) -> Option<&Upgrade> {
        self.upgrade.as_ref().filter(|upgrade| upgrade.is_running())
    }
}

/// Whether a cluster asks for an upgrade that has not begun.
#[must_use]
pub fn wants_upgrade(status: &ClusterStatus, cluster: &Cluster) -> bool {
    status.was_ready()
        && (!request::unanswered(status, cluster).is_empty()
            || request::of_spec(status, cluster).is_some())
}

/// The instances that an upgrade or a restart is about: the first one, and the replicas that have followed it at some time.
pub(crate) fn instances(status: &ClusterStatus, cluster: &Cluster) -> Vec<InstanceName> {
    let replicas = status.replicas.iter();
    let replicas = replicas.filter(|known| known.joined && !known.leaving);
    let first = status.first(&cluster.name);
    replicas
        .map(|known| known.name.clone())
        .chain([first])
        .collect()
}

/// What is wrong with an instance: none where it serves as the primary, or follows it and is near.
fn trouble_of(instance: &InstanceName, observed: &Observed) -> Option<String> {
    if observed.serving_primary() == Some(instance) {
        return None;
    }
    let Some(agent) = observed.agent(instance) else {
        return Some(format!("instance {instance} does not answer"));
    };
    let going = observed
        .pods
        .get(instance)
        .is_none_or(|pod| pod.terminating);
    if going || !agent.follows() {
        let why = agent.error.as_deref().map(|error| format!(": {error}"));
        return Some(format!(
            "instance {instance} does not follow the primary{}",
            why.unwrap_or_default()
        ));
    }
    (agent.lag_bytes >= NEAR).then(|| {
        let mebibytes = NEAR >> 20;
        format!("instance {instance} is {mebibytes} MiB of WAL or more behind the primary")
    })
}

/// What is wrong with the instances other than one: none where that one can go without another being missed.
pub(crate) fn trouble_beside(
    instance: Option<&InstanceName>,
    status: &ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
) -> Option<String> {
    if observed.serving_primary().is_none() {
        return Some(format!(
            "no instance of {} serves as the primary",
            cluster.name
        ));
    }
    let all = instances(status, cluster);
    let mut others = all.iter().filter(|other| Some(*other) != instance);
    others.find_map(|other| trouble_of(other, observed))
}
