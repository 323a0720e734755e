//! For whose answers commits wait, as users see it; and what is told when they go on without those that are missing, as the user
//! chose, and when they wait again.

use jiff::Timestamp;
use pgo_events::EventType;
use pgo_ids::InstanceName;
use serde::{Deserialize, Serialize};

use crate::{Cluster, ClusterStatus, Observed, journal::Notice, wal};

/// For whose answers the commits of a primary wait, in its agent's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Commits {
    /// For how many replicas by the rule that is recorded; 0 in the asynchronous mode.
    pub rule: u32,
    /// Of how many.
    pub of: u32,
    /// For how many now.
    pub wait_for: u32,
    /// When they last began to wait for fewer than the rule asks for.
    pub fell_back: Option<Timestamp>,
    /// When they waited for as many again.
    pub came_back: Option<Timestamp>,
}

/// The synchronous mode of a cluster, as users see it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Synchronous {
    /// For how many replicas the user wants commits to wait.
    pub asked: u32,
    /// For how many by the rule that is in force.
    pub rule: u32,
    /// Of how many.
    pub of: u32,
    /// For how many they wait now: fewer than the rule asks for while they go on without those that are missing.
    pub wait_for: u32,
    /// When that began last, of what was told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fell_back: Option<Timestamp>,
    /// When it ended, of what was told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub came_back: Option<Timestamp>,
}

impl Synchronous {
    /// Whether it was told last that commits wait for fewer.
    pub(crate) fn is_told(&self) -> bool {
        self.fell_back.is_some() && self.came_back.is_none()
    }
}

/// Takes over what the primary's agent says, and tells what has changed. While no primary is heard what was said last stays.
pub(crate) fn commit(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    now: Timestamp,
) {
    let primary = observed.serving_primary();
    let agent = primary.and_then(|primary| observed.agent(primary));
    let Some(commits) = agent.and_then(|agent| agent.commits) else {
        return;
    };
    let asked = cluster.desired.as_ref().map(|desired| desired.synchronous);
    let former = next.synchronous.clone().unwrap_or_default();
    let mut is = Synchronous {
        asked: asked.unwrap_or(former.asked),
        rule: commits.rule,
        of: commits.of,
        wait_for: commits.wait_for,
        ..former
    };
    if let Some(since) = commits
        .fell_back
        .filter(|since| is.fell_back < Some(*since))
    {
        if is.is_told() {
            tell_back(next, cluster, (&is, primary), since.min(now));
        }
        (is.fell_back, is.came_back) = (Some(since), None);
        tell_fallback(next, cluster, (commits, primary), since.min(now));
    }
    // Another primary has never fallen back, and goes by the whole rule.
    if is.is_told() && commits.wait_for >= commits.rule {
        let until = commits.came_back.unwrap_or(now).min(now);
        tell_back(next, cluster, (&is, primary), until);
        is.came_back = Some(until);
    }
    let is_nothing = is.asked == 0 && is.rule == 0 && is.fell_back.is_none();
    next.synchronous = (!is_nothing).then_some(is);
}

fn about(since: Timestamp) -> String {
    format!("commits wait for fewer since {since}")
}

fn tell_fallback(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    (commits, primary): (Commits, Option<&InstanceName>),
    since: Timestamp,
) {
    let notice = Notice {
        event_type: EventType::SyncFallbackBegan,
        about: about(since),
        time: Some(since),
        cause: format!(
            "too few replicas are there, and writes go on as the user chose: commits wait for fewer than the {} of {} replicas \
             that the rule asks for; what is acknowledged meanwhile may be lost with its primary",
            commits.rule, commits.of
        ),
        since: None,
        details: primary.map(wal::is_primary).into_iter().collect(),
    };
    next.journal.tell(cluster.subject(), notice, since);
}

fn tell_back(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    (is, primary): (&Synchronous, Option<&InstanceName>),
    until: Timestamp,
) {
    let since = is.fell_back.unwrap_or(until);
    let notice = Notice {
        event_type: EventType::SyncFallbackEnded,
        about: about(since),
        time: Some(until),
        cause: format!("commits wait for {} of {} replicas again", is.rule, is.of),
        since: Some(since.min(until)),
        details: primary.map(wal::is_primary).into_iter().collect(),
    };
    next.journal.tell(cluster.subject(), notice, until);
}
