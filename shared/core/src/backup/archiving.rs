//! Whether WAL is archived, as a condition; what is told when it is not for a while, and when it is again.

use jiff::{SignedDuration, Timestamp};
use pgo_events::EventType;
use pgo_ids::InstanceName;

use super::{Archive, trouble};
use crate::{
    Cluster, ClusterStatus, ConditionStatus, Observed, journal::Notice, status::set_condition,
    volumes,
};

/// Name of the condition that says whether WAL is archived.
pub const RESULT_ARCHIVING: &str = "Archiving";

/// How long archiving may fail before that is told: pgBackRest tries again at once.
const GRACE: SignedDuration = SignedDuration::from_secs(30);

/// The same while the repository is being made: until the stanza is there nothing can be archived.
const FIRST_GRACE: SignedDuration = SignedDuration::from_mins(5);

/// So few files that wait are those of this moment.
const CAUGHT_UP: u32 = 1;

/// A condition: whether it holds, one word for why, and for people.
type Verdict = (ConditionStatus, &'static str, String);

/// Sets the condition, and tells what has changed. While no primary is heard what was said last stays.
pub(super) fn commit(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    now: Timestamp,
) {
    let Ok(desired) = &cluster.desired else {
        return;
    };
    if desired.backups.is_none() {
        next.conditions.retain(|one| one.name != RESULT_ARCHIVING);
        next.archiving_failed = None;
        return;
    }
    if let Some((status, reason, message)) = judge(next, cluster, observed, now) {
        let condition = (RESULT_ARCHIVING, status);
        let at = (cluster.generation, now);
        set_condition(&mut next.conditions, condition, reason, &message, at);
    }
    if let Some(archive) = archive(observed) {
        tell(next, cluster, observed, (archive, now));
    }
}

/// Why WAL is not archived: where the repository's volume is full pgBackRest mostly says something else.
fn cause(error: &str, cluster: &Cluster, observed: &Observed) -> String {
    match volumes::full_repository(cluster, observed) {
        Some(volume) => format!("volume {volume} of the repository is full ({error})"),
        None => error.to_owned(),
    }
}

/// That WAL is kept, and how long there is room for it once its volume fills.
fn stays(status: &ClusterStatus, primary: &InstanceName, cause: &str) -> String {
    let mut text =
        format!("WAL stays on the volume of {primary}, as it cannot be archived: {cause}");
    if let Some(warning) = volumes::warning(status, primary) {
        text.push_str("; ");
        text.push_str(&warning);
    }
    text
}

fn archive(observed: &Observed) -> Option<&Archive> {
    let primary = observed.agent(observed.serving_primary()?)?;
    primary.archive.as_ref()
}

fn judge(
    status: &ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    now: Timestamp,
) -> Option<Verdict> {
    let primary = observed.serving_primary()?;
    let not = |reason, message| Some((ConditionStatus::False, reason, message));
    let form = observed.pods.get(primary)?.form.as_ref();
    if !form.is_some_and(crate::Form::archives) {
        let message = format!(
            "pod {primary} was made before pgBackRest was asked for; it archives when it is made anew, which interrupts the \
             database for a moment: kubectl delete pod {primary} -n {}",
            cluster.namespace
        );
        return not("RestartNeeded", message);
    }
    let archive = archive(observed);
    let error = archive.and_then(|archive| archive.error.as_deref());
    let stanza = status.stanza.as_ref();
    let of_stanza = stanza
        .filter(|stanza| !stanza.made)
        .and_then(|stanza| stanza.error.as_deref());
    let is_made = stanza.is_some_and(|stanza| stanza.made);
    match (of_stanza, error) {
        (Some(error), _) => not(
            "StanzaNotCreated",
            format!(
                "the repository cannot be made ready for this database; it is tried again: {error}"
            ),
        ),
        (None, Some(error)) if is_made => not(
            "ArchivingFailed",
            stays(status, primary, &cause(error, cluster, observed)),
        ),
        _ if !is_made => {
            let why = trouble(observed, now);
            let why =
                why.unwrap_or_else(|| "the repository of backups is being made ready".to_owned());
            not("RepositoryNotReady", why)
        }
        _ if archive.is_some_and(|archive| archive.last_archived.is_some()) => Some((
            ConditionStatus::True,
            "Archived",
            "WAL is archived".to_owned(),
        )),
        _ => not(
            "NothingArchived",
            "no WAL file has been archived yet".to_owned(),
        ),
    }
}

fn tell(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    (archive, now): (&Archive, Timestamp),
) {
    let stanza = next.stanza.as_ref();
    let is_decided = stanza.is_some_and(|stanza| stanza.made || stanza.error.is_some());
    let grace = if is_decided { GRACE } else { FIRST_GRACE };
    let subject = cluster.subject();
    match (&archive.error, next.archiving_failed) {
        (Some(error), None) => {
            let since = archive.failing_since.unwrap_or(now).min(now);
            if now.duration_since(since) < grace {
                return;
            }
            let of_stanza = stanza.filter(|stanza| !stanza.made);
            let of_stanza = of_stanza.and_then(|stanza| stanza.error.as_ref());
            let notice = Notice {
                event_type: EventType::ArchivingFailed,
                about: about(since),
                time: None,
                cause: format!(
                    "WAL is not archived since {since}: {}",
                    cause(of_stanza.unwrap_or(error), cluster, observed)
                ),
                since: None,
                details: Vec::new(),
            };
            next.journal.tell(subject, notice, now);
            next.archiving_failed = Some(since);
        }
        (None, Some(since)) if archive.waiting <= CAUGHT_UP => {
            let notice = Notice {
                event_type: EventType::ArchivingRecovered,
                about: about(since),
                time: None,
                cause: "WAL is archived again, with all that had waited".to_owned(),
                since: Some(since),
                details: Vec::new(),
            };
            next.journal.tell(subject, notice, now);
            next.archiving_failed = None;
        }
        _ => {}
    }
}

fn about(since: Timestamp) -> String {
    format!("archiving fails since {since}")
}

/// Whether archiving fails and that is not told yet: it is looked at again when that is due.
pub(super) fn is_about_to_be_told(status: &ClusterStatus, observed: &Observed) -> bool {
    status.archiving_failed.is_none()
        && archive(observed).is_some_and(|archive| archive.error.is_some())
}
