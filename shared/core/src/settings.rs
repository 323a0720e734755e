//! Settings that change while a cluster runs, whoever changes them: asked for, handed to the agents, told.
//!
//! ```text
//! label or spec ─► wanted ─► differs from what was told ─► UpdateCluster begins ─► step: say it in the Lease
//!                                                                 ▲                          │
//!                            in force, refused or asked for anew ─┴──── observed ◄───────────┘
//! ```

use jiff::Timestamp;
use pgo_ids::{InstanceName, OperationId};
use serde::{Deserialize, Serialize};

use crate::{
    Cluster, ClusterStatus, Desired, DrillPolicy, Kind, Observed, Operation, Outcome,
    growth::{self, Growth},
    journal::{Ending, Of},
};

/// A change that was made by request, or a request for what is so already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// The request's id.
    pub operation: OperationId,
    /// Who asked.
    pub actor: String,
}

/// The settings as they were asked for last, and told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Settings {
    /// Whether another instance becomes the primary by itself.
    pub autofail: bool,
    /// For how many replicas' answers commits wait.
    pub synchronous: u32,
    /// Whether they go on without those that are missing.
    pub sync_fallback: bool,
    /// Which backups are tried; none where there are none, or it was not accounted yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drills: Option<DrillPolicy>,
    /// The size of the volumes; empty before it was accounted.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub size: String,
    /// Whether the volumes have another one as long as they are not as large as was asked for.
    #[serde(skip_serializing_if = "crate::status::is_false")]
    pub growing: bool,
    /// Why a change of them was told as failed, as long as that is so; empty where none was.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub problem: String,
}

/// The operations that change them.
const UPDATE: Of<'static> = (Kind::UpdateCluster, None);

impl Settings {
    fn wanted(desired: &Desired) -> Self {
        Self {
            autofail: desired.autofail,
            synchronous: desired.synchronous,
            sync_fallback: desired.sync_fallback,
            drills: desired.backups.as_ref().map(|backups| backups.drills),
            size: desired.storage.size.clone(),
            growing: false,
            problem: String::new(),
        }
    }

    /// What is asked for that was not before; none where nothing is.
    fn change(&self, former: &Self) -> Option<String> {
        let mut all = Vec::new();
        if self.autofail != former.autofail {
            let switched = if self.autofail { "on" } else { "off" };
            all.push(format!("autofail is switched {switched}"));
        }
        if self.synchronous != former.synchronous {
            let (before, now) = (former.synchronous, self.synchronous);
            all.push(format!(
                "commits wait for the answers of {now} replicas, not of {before}"
            ));
        }
        if self.sync_fallback != former.sync_fallback {
            let writes = if self.sync_fallback { "go on" } else { "wait" };
            all.push(format!("where replicas are missing, writes {writes}"));
        }
        if let (Some(now), Some(before)) = (self.drills, former.drills)
            && now != before
        {
            let (before, now) = (before.as_str(), now.as_str());
            all.push(format!(
                "backups are restored for trial {now}, not {before}"
            ));
        }
        if self.asks_for_another_size(former) {
            let (before, now) = (&former.size, &self.size);
            all.push(format!("volumes are to have {now}, not {before}"));
        }
        (!all.is_empty()).then(|| all.join("; "))
    }

    fn asks_for_another_size(&self, former: &Self) -> bool {
        !former.size.is_empty() && self.size != former.size
    }

    /// Whether the agents are told so.
    fn is_told(&self, observed: &Observed) -> bool {
        observed.autofail == Some(self.autofail)
            && observed.synchronous == Some(self.synchronous)
            && observed.sync_fallback == Some(self.sync_fallback)
    }
}

/// Begins what is asked for, and ends what is in force or cannot be. `requests` are those that were not answered yet. What a
/// cluster is made with is told by its creation.
pub(crate) fn commit(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    requests: &[Update],
    now: Timestamp,
) {
    let wanted = match &cluster.desired {
        Ok(desired) => Settings::wanted(desired),
        Err(invalid) => return misunderstood(next, cluster, requests, invalid, now),
    };
    let former = match &next.settings {
        Some(former) if next.was_ready() => former.clone(),
        _ => wanted.clone(),
    };
    let change = wanted.change(&former);
    if change.is_some() {
        let cause = "it was asked for differently before it was in force".to_owned();
        finish(next, cluster, (Outcome::Failed, Some(cause)), now);
    }
    let mut begun = requests.to_vec();
    if begun.is_empty() && change.is_some() {
        begun.push(unasked(next, cluster, cluster.changed_by.settings.clone()));
    }
    let growing = former.growing || wanted.asks_for_another_size(&former);
    let pending = growth::pending(next, cluster, observed).filter(|_| growing);
    let in_force = wanted.is_told(observed) && pending.is_none();
    let tried_again = !former.problem.is_empty() && in_force;
    if begun.is_empty() && tried_again {
        let failed = next.journal.newest(Kind::UpdateCluster);
        let actor = failed.map(|failed| failed.actor.clone());
        begun.push(unasked(next, cluster, actor.unwrap_or_default()));
    }
    let cause = match change {
        Some(change) => change,
        None if requests.is_empty() => "tried again: what made it fail has changed".to_owned(),
        None => "it is so already".to_owned(),
    };
    for update in &begun {
        let operation = operation(update, cluster, now);
        let cause = Some(cause.clone());
        next.journal.begin(cluster.subject(), operation, cause);
    }
    // Volumes that cannot grow were told as failed; what is asked for besides is none of that.
    let is_known = |pending: &(InstanceName, Growth)| growth::words(pending) == former.problem;
    let known = pending.as_ref().is_some_and(is_known);
    let problem = if begun.is_empty() || known {
        former.problem
    } else {
        String::new()
    };
    next.settings = Some(Settings {
        problem,
        growing: pending.is_some(),
        ..wanted
    });
    let pending = pending.filter(|_| !known);
    conclude(next, cluster, (observed, pending), now);
}

/// Ends what runs, where its outcome is clear.
fn conclude(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    (observed, pending): (&Observed, Option<(InstanceName, Growth)>),
    now: Timestamp,
) {
    let Some(settings) = next.settings.as_ref() else {
        return;
    };
    if next.journal.running_of(UPDATE).is_none() {
        return;
    }
    let is_told = settings.is_told(observed);
    if let Some(pending) = &pending
        && matches!(pending.1, Growth::Impossible(_))
    {
        fail(next, cluster, &growth::words(pending), now);
    } else if is_told && pending.is_none() {
        finish(next, cluster, (Outcome::Completed, None), now);
    } else if let Some(refused) = &observed.refused {
        fail(next, cluster, refused, now);
    }
}

fn fail(next: &mut ClusterStatus, cluster: &Cluster, cause: &str, now: Timestamp) {
    let failed = (Outcome::Failed, Some(cause.to_owned()));
    finish(next, cluster, failed, now);
    if let Some(settings) = &mut next.settings {
        settings.problem = cause.to_owned();
    }
}

/// Nobody knows what is wanted. It is told once, also where nobody asked by request.
fn misunderstood(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    requests: &[Update],
    invalid: &str,
    now: Timestamp,
) {
    let is_running = next.journal.running_of(UPDATE).is_some();
    let known = next
        .settings
        .as_ref()
        .map(|settings| settings.problem.as_str());
    let is_news = next.was_ready() && known.is_some_and(|known| known != invalid);
    let mut begun = requests.to_vec();
    if begun.is_empty() && is_news && !is_running {
        begun.push(unasked(next, cluster, cluster.changed_by.settings.clone()));
    }
    for update in &begun {
        let operation = operation(update, cluster, now);
        next.journal.begin(cluster.subject(), operation, None);
    }
    fail(next, cluster, invalid, now);
}

/// Refuses a change of a cluster that goes.
pub(crate) fn refuse(next: &mut ClusterStatus, cluster: &Cluster, update: &Update, now: Timestamp) {
    let operation = operation(update, cluster, now);
    let cause = "the cluster is being deleted";
    next.journal
        .refuse(cluster.subject(), operation, cause, now);
}

/// The cluster goes: what is under way ends with it.
pub(crate) fn break_off(next: &mut ClusterStatus, cluster: &Cluster, now: Timestamp) {
    let cause = "the cluster was deleted before".to_owned();
    finish(next, cluster, (Outcome::Failed, Some(cause)), now);
}

fn finish(next: &mut ClusterStatus, cluster: &Cluster, how: Ending, now: Timestamp) {
    next.journal.finish(cluster.subject(), UPDATE, how, now);
}

/// A change that nobody made by request. What was told before it gives it an id of its own.
fn unasked(next: &ClusterStatus, cluster: &Cluster, actor: String) -> Update {
    let about = format!("update after {}", next.journal.outbox.last);
    Update {
        operation: OperationId::derived(&cluster.stream, &about),
        actor,
    }
}

fn operation(update: &Update, cluster: &Cluster, now: Timestamp) -> Operation {
    let of = (Kind::UpdateCluster, None);
    Operation::begun(of, update.operation, &update.actor, cluster.generation, now)
}
