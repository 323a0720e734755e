//! Backups with pages whose checksums are wrong: pgBackRest finds them as it copies, and makes the backup nevertheless.
//!
//! Such a backup is never told as a good one: its operation fails, and the condition is False as long as the newest one is such a
//! one. What a restore drill has found since counts more: it reads the pages as they are once WAL was replayed.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::BackupSet;
use crate::{Cluster, ClusterStatus, ConditionStatus, Drills, Observed, status::set_condition};

/// Name of the condition that says whether pages with wrong checksums are in the newest backups.
pub const RESULT_WHOLE: &str = "BackupsWhole";

/// What is so with one, and what to do, for people.
pub(super) fn advice(set: &BackupSet) -> String {
    let place = match &set.damaged_pages[..] {
        [] => "; the log of the repository's pod names them".to_owned(),
        pages => format!(": {}", pages.join("; ")),
    };
    format!(
        "it is not to be relied on: pgBackRest found pages with wrong checksums in it{place}. It is kept. Whether it can be \
         restored shows pgo drill --backup={}; where the data is damaged, only an older backup has it whole",
        set.label
    )
}

/// Sets the condition; while the repository is not heard what was said last stays.
pub(super) fn commit(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    now: Timestamp,
) {
    let Ok(desired) = &cluster.desired else {
        return;
    };
    let sets = match (&desired.backups, observed.repository.works()) {
        (None, _) => &[][..],
        (Some(_), Some(agent)) => &agent.backups[..],
        (Some(_), None) => return,
    };
    let Some((status, reason, message)) = judge(sets, &next.drills) else {
        next.conditions.retain(|one| one.name != RESULT_WHOLE);
        return;
    };
    let condition = (RESULT_WHOLE, status);
    let at = (cluster.generation, now);
    set_condition(&mut next.conditions, condition, reason, &message, at);
}

/// Whether the newest backup of each place is whole; nothing where there is none. They are the newest last.
fn judge(sets: &[BackupSet], drills: &Drills) -> Option<(ConditionStatus, &'static str, String)> {
    let newest: BTreeMap<&str, &BackupSet> =
        sets.iter().map(|set| (set.place.as_str(), set)).collect();
    let last = sets.last()?;
    let is_proven = |set: &&BackupSet| {
        let verdict = drills.verdicts.get(&set.label);
        verdict.is_some_and(|verdict| verdict.proven)
    };
    let damaged: Vec<&BackupSet> = newest.into_values().filter(|set| set.damaged).collect();
    if let Some(set) = damaged.iter().find(|set| !is_proven(set)) {
        let message = format!("backup {}, the newest one: {}", set.label, advice(set));
        return Some((ConditionStatus::False, "WrongChecksums", message));
    }
    let verdict = match damaged.first() {
        Some(set) => (
            "Proven",
            format!(
                "pgBackRest found pages with wrong checksums in backup {}, and a restore drill has proven it since",
                set.label
            ),
        ),
        None => (
            "Whole",
            format!(
                "no page with a wrong checksum is known in backup {}, the newest one",
                last.label
            ),
        ),
    };
    Some((ConditionStatus::True, verdict.0, verdict.1))
}
