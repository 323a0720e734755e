//! Whether a cluster that serves is protected as was asked for: as many instances are well as there are to be, and as many
//! replicas answer commits.
//!
//! ```text
//! missing ──► Lack, since ──10 s──► told: ClusterDegraded ──► well for 10 s ──► gone; the last one: ClusterRecovered
//!    ▲                     └─ well before: forgotten                 └─ missing again: goes on
//!    └── not judged: without a primary, and the instance whose turn it is in an upgrade or a restart
//! ```
//!
//! The two spans keep what restarts, or comes and goes, from being told again and again.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use pgo_events::{Datum, EventType, Field};
use pgo_ids::InstanceName;
use serde::{Deserialize, Serialize};

use crate::{
    Cluster, ClusterStatus, Kind, Observed, Outcome, Plan, Synchronous, UpgradeStage,
    journal::Notice,
};

/// How long something is missing before that is told. A restart and a return after a change of the primary take less.
const MISSED: SignedDuration = SignedDuration::from_secs(10);

/// How long it must be well before it is not missing any more: less is one that begins again and again.
const WELL: SignedDuration = SignedDuration::from_secs(10);

/// Something that is missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lack {
    /// The instance that is not well; none where too few replicas answer commits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<InstanceName>,
    /// Since when.
    pub since: Timestamp,
    /// Whether it was told.
    #[serde(default)]
    pub told: bool,
    /// Since when all is well again with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub well: Option<Timestamp>,
}

/// What is missing, and since when that was told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Protection {
    /// All that is missing.
    pub lacks: Vec<Lack>,
    /// Since when something has been missing that was told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub degraded: Option<Timestamp>,
}

impl Protection {
    /// Whether nothing is missing.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        *self == Self::default()
    }
}

/// What is missing at this moment, with the words for it.
type Missing = BTreeMap<Option<InstanceName>, String>;

/// Tells what has been missing for a while, and when nothing is any more.
pub(crate) fn commit(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    now: Timestamp,
) {
    if !next.was_ready() {
        return;
    }
    let Some(missing) = missing(next, cluster, observed) else {
        // Nobody serves, which is told by itself. What was missing for a moment was so because of that.
        next.protection.lacks.retain(|lack| lack.told);
        return;
    };
    note(&mut next.protection, &missing, now);
    let mut lacks = next.protection.lacks.iter();
    let new = lacks.find(|lack| !lack.told && now.duration_since(lack.since) >= MISSED);
    if let Some(new) = new.cloned() {
        degraded(next, cluster, &new, &missing, now);
    }
    let any = next.protection.lacks.iter().any(|lack| lack.told);
    if let Some(since) = next.protection.degraded.filter(|_| !any) {
        next.protection.degraded = None;
        let notice = Notice {
            event_type: EventType::ClusterRecovered,
            about: format!("degraded since {since}"),
            time: None,
            cause: "nothing is missing any more of what was asked for".to_owned(),
            since: Some(since),
            details: Vec::new(),
        };
        next.journal.tell(cluster.subject(), notice, now);
    }
}

/// Takes over what is missing, and forgets what is not any more.
fn note(protection: &mut Protection, missing: &Missing, now: Timestamp) {
    let lacks = &mut protection.lacks;
    for lack in lacks.iter_mut() {
        let is_missing = missing.contains_key(&lack.instance);
        lack.well = (!is_missing).then(|| lack.well.unwrap_or(now));
    }
    lacks.retain(|lack| {
        let is_well = lack
            .well
            .is_some_and(|well| !lack.told || now.duration_since(well) >= WELL);
        !is_well
    });
    for instance in missing.keys() {
        if lacks.iter().all(|lack| lack.instance != *instance) {
            lacks.push(Lack {
                instance: instance.clone(),
                since: now,
                told: false,
                well: None,
            });
        }
    }
}

/// Tells all that is missing for long enough, `new` among it.
fn degraded(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    new: &Lack,
    missing: &Missing,
    now: Timestamp,
) {
    let mut words = Vec::new();
    for lack in &mut next.protection.lacks {
        lack.told |= now.duration_since(lack.since) >= MISSED;
        if lack.told {
            words.extend(missing.get(&lack.instance).cloned());
        }
    }
    let since = *next.protection.degraded.get_or_insert(new.since);
    let instance = new.instance.iter();
    let notice = Notice {
        event_type: EventType::ClusterDegraded,
        about: format!("degraded since {since}"),
        time: None,
        cause: words.join("; "),
        since: None,
        details: instance
            .map(|instance| (Field::Instance, Datum::Text(instance.to_string())))
            .collect(),
    };
    next.journal.tell(cluster.subject(), notice, now);
}

/// What is missing; none where that cannot be judged.
fn missing(next: &ClusterStatus, cluster: &Cluster, observed: &Observed) -> Option<Missing> {
    let primary = observed.serving_primary()?;
    let mut missing = Missing::new();
    for instance in expected(next, cluster) {
        if observed
            .agent(&instance)
            .is_some_and(|agent| agent.volume_hangs)
        {
            let why = format!("the data volume of instance {instance} hangs");
            missing.insert(Some(instance), why);
            continue;
        }
        if instance == *primary || is_replaced(next, &instance) {
            continue;
        }
        if let Some(why) = trouble(observed, primary, &instance) {
            missing.insert(Some(instance), why);
        }
    }
    // Replicas that are away answer nothing; and where the rule is changed, it takes a moment. A fallback is told by itself.
    let answering = answering(observed, primary);
    let asked = next
        .settings
        .as_ref()
        .map_or(0, |settings| settings.synchronous);
    let is_complete = next
        .replicas
        .iter()
        .all(|known| known.joined && !known.leaving);
    let is_told = next.upgrading().is_some()
        || next.restart.is_some()
        || next.synchronous.as_ref().is_some_and(Synchronous::is_told);
    if missing.is_empty() && is_complete && answering < asked && !is_told {
        let why = format!("commits wait for the answers of {answering} replicas, not of {asked}");
        missing.insert(None, why);
    }
    Some(missing)
}

/// The instances that there should be by now: those that come are told by themselves until they follow, or fail to.
fn expected(status: &ClusterStatus, cluster: &Cluster) -> Vec<InstanceName> {
    let has_failed = |instance| {
        let added = status
            .journal
            .newest_of((Kind::ScaleCluster, Some(instance)));
        added.is_some_and(|added| added.outcome == Some(Outcome::Failed))
    };
    let replicas = status.replicas.iter().filter(|known| !known.leaving);
    let replicas = replicas.filter(|known| known.joined || has_failed(&known.name));
    let first = status.first(&cluster.name);
    core::iter::once(first)
        .chain(replicas.map(|known| known.name.clone()))
        .collect()
}

/// Whether it is an instance's turn in an upgrade or a restart: how that goes is told by it.
fn is_replaced(status: &ClusterStatus, instance: &InstanceName) -> bool {
    let restarted = status
        .restart
        .as_ref()
        .and_then(|restart| restart.turn.as_ref());
    if restarted.is_some_and(|turn| turn.instance == *instance) {
        return true;
    }
    let turn = status.upgrading().map(|upgrade| &upgrade.stage);
    match turn {
        Some(
            UpgradeStage::Replacing { instance: one, .. }
            | UpgradeStage::HandingOver { instance: one, .. },
        ) => one == instance,
        _ => false,
    }
}

/// Why an instance that should follow the primary is of no help now.
fn trouble(observed: &Observed, primary: &InstanceName, instance: &InstanceName) -> Option<String> {
    let Some(pod) = observed.pods.get(instance) else {
        return Some(format!("instance {instance} has no pod"));
    };
    if pod.terminating {
        return Some(format!("the pod of instance {instance} is being removed"));
    }
    let Some(agent) = observed.agent(instance) else {
        // Who is not heard may do its work: the primary knows.
        let is_seen = observed.agent(primary).is_some_and(|primary| {
            let mut followers = primary.followers.iter();
            followers.any(|one| one.slot == instance.slot() && one.streaming)
        });
        return (!is_seen).then(|| format!("instance {instance} does not answer"));
    };
    if agent.follows() {
        return None;
    }
    let why = agent.error.as_deref().map(|error| format!(": {error}"));
    Some(format!(
        "instance {instance} does not follow the primary{}",
        why.unwrap_or_default()
    ))
}

/// How many replicas answer commits, by the word of the primary.
fn answering(observed: &Observed, primary: &InstanceName) -> u32 {
    let followers = observed.agent(primary).map(|agent| &agent.followers);
    let answering = followers.into_iter().flatten();
    let answering = answering.filter(|one| ["sync", "quorum"].contains(&one.sync.as_str()));
    u32::try_from(answering.count()).unwrap_or(u32::MAX)
}

/// Time alone may be what the next look waits for.
pub(crate) fn wait(plan: &mut Plan, status: &ClusterStatus) {
    let mut lacks = status.protection.lacks.iter();
    if plan.waiting_for.is_none() && lacks.any(|lack| !lack.told || lack.well.is_some()) {
        plan.waiting_for = Some("whether what is missing comes back by itself");
    }
}
