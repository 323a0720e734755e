//! The stanza, which pgBackRest asks for before anything is archived: made as part of a cluster's upkeep, and tried again
//! after a pause where that fails.

use jiff::{SignedDuration, Timestamp};
use pgo_ids::OperationId;
use serde::{Deserialize, Serialize};

use super::primary;
use crate::{Cluster, ClusterStatus, Observed, Plan, Step};

/// Pause before the second attempt; it doubles.
const FIRST_PAUSE: SignedDuration = SignedDuration::from_secs(5);

/// The longest pause.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_mins(5);

/// Pauses up to this attempt are waited for; a cluster at rest is looked at as often as the later ones end.
const WAITED_FOR: u32 = 5;

/// The stanza of a repository's volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stanza {
    /// Uid of the claim, or of the pod that its volume goes with, and the bucket.
    pub volume: String,
    /// How often it was tried.
    pub attempt: u32,
    /// Id of the last attempt.
    pub operation: OperationId,
    /// Whether it is there.
    #[serde(default, skip_serializing_if = "crate::status::is_false")]
    pub made: bool,
    /// When the last attempt failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<Timestamp>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Stanza {
    fn attempt(cluster: &Cluster, volume: &str, attempt: u32, error: Option<String>) -> Self {
        let about = format!("stanza on {volume}, attempt {attempt}");
        Self {
            volume: volume.to_owned(),
            attempt,
            operation: OperationId::derived(&cluster.stream, &about),
            made: false,
            failed: None,
            error,
        }
    }

    /// When it is tried again.
    fn again(&self) -> Option<Timestamp> {
        let doublings = self.attempt.saturating_sub(1).min(8);
        let pause = FIRST_PAUSE * (1 << doublings);
        Some(self.failed? + pause.min(LONGEST_PAUSE))
    }
}

/// Takes over how an attempt ended, and begins the next one.
pub(super) fn commit(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    now: Timestamp,
) {
    if matches!(&cluster.desired, Ok(desired) if desired.backups.is_none()) {
        next.stanza = None;
    }
    let Some(backups) = cluster
        .desired
        .as_ref()
        .ok()
        .and_then(|desired| desired.backups.as_ref())
    else {
        return;
    };
    let repository = &observed.repository;
    let volume = repository.volume(backups);
    let (Some(agent), Some(volume)) = (repository.heard(), volume) else {
        return;
    };
    next.stanza.take_if(|known| known.volume != volume);
    if let Some(stanza) = &mut next.stanza
        && !stanza.made
        && stanza.failed.is_none()
        && let Some(done) = agent.end_of(stanza.operation)
    {
        stanza.made = done.error.is_none();
        stanza.failed = done.error.as_ref().map(|_| done.finished.unwrap_or(now));
        stanza.error.clone_from(&done.error);
    }
    let can = repository.works().is_some() && primary(cluster, observed).is_some();
    let (attempt, error) = match &next.stanza {
        _ if !can => return,
        None => (1, None),
        Some(known) if known.again().is_some_and(|again| again <= now) => {
            (known.attempt.saturating_add(1), known.error.clone())
        }
        Some(_) => return,
    };
    next.stanza = Some(Stanza::attempt(cluster, &volume, attempt, error));
}

/// Asks for the attempt that is recorded, until the repository knows it.
pub(super) fn steps(
    plan: &mut Plan,
    status: &ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
) {
    let Some(stanza) = status.stanza.as_ref().filter(|stanza| !stanza.made) else {
        return;
    };
    if stanza.failed.is_some() {
        if stanza.attempt <= WAITED_FOR {
            plan.waiting_for = Some("the pause before the stanza is tried again");
        }
        return;
    }
    let Some(agent) = observed.repository.works() else {
        return;
    };
    if agent.running.is_some() || agent.end_of(stanza.operation).is_some() {
        return;
    }
    plan.steps.extend(
        primary(cluster, observed).map(|primary| Step::CreateStanza {
            operation: stanza.operation,
            primary,
        }),
    );
}
