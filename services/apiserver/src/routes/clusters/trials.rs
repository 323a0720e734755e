//! What `pgo show backup` says of restores for trial: each backup that pgBackRest lists, with what the Pgcluster's status knows
//! of it.

use std::collections::BTreeSet;

use kube::api::DynamicObject;
use pgo_api::BackupTrial;
use pgo_core::Drills;
use serde_json::Value;

/// Of all backups that pgBackRest says in this JSON there are, in its order. One that lies in two places is one, and is damaged where
/// it is in one of them.
pub(super) fn of(cluster: &DynamicObject, stanzas: &Value) -> Vec<BackupTrial> {
    let damaged: BTreeSet<&str> = backups(stanzas)
        .filter(|backup| backup["error"] == true)
        .filter_map(|backup| backup["label"].as_str())
        .collect();
    let mut labels: Vec<&str> = backups(stanzas)
        .filter_map(|backup| backup["label"].as_str())
        .collect();
    let drills = cluster.data["status"]["drills"].clone();
    let drills: Drills = serde_json::from_value(drills).unwrap_or_default();
    let mut seen = BTreeSet::new();
    labels.retain(|label| seen.insert(*label));
    labels
        .into_iter()
        .map(|label| one(label, damaged.contains(label), &drills))
        .collect()
}

fn one(backup: &str, damaged: bool, drills: &Drills) -> BackupTrial {
    let verdict = drills.verdicts.get(backup);
    let untried = drills.untried.get(backup);
    let runs = drills.run.as_ref().is_some_and(|run| run.backup == backup);
    let outcome = match verdict {
        _ if runs => "running",
        Some(verdict) if verdict.proven => "proven",
        Some(_) => "failed",
        None => "not yet",
    };
    BackupTrial {
        backup: backup.to_owned(),
        damaged,
        outcome: outcome.to_owned(),
        at: verdict
            .map(|verdict| verdict.at)
            .or(untried.map(|untried| untried.at))
            .map(|at| at.to_string())
            .unwrap_or_default(),
        cause: match (verdict, untried) {
            (Some(verdict), _) => verdict.cause.clone().unwrap_or_default(),
            (None, Some(untried)) => untried.cause.clone(),
            (None, None) => String::new(),
        },
    }
}

fn backups(stanzas: &Value) -> impl Iterator<Item = &Value> {
    let stanzas = stanzas.as_array().into_iter().flatten();
    stanzas.flat_map(|stanza| stanza["backup"].as_array().into_iter().flatten())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn cluster() -> DynamicObject {
        let status = json!({"drills": {
            "run": {"operation": "25927091-b343-4017-be4b-71575f0b3eb5", "backup": "20261126-230300F"},
            "verdicts": {"20261126-210300F": {"at": "2026-11-26T21:10:00Z", "proven": false, "cause": "no"}},
            "untried": {"20261126-220300F": {"at": "2026-11-26T22:10:00Z", "cause": "could not be tried: away"}},
        }});
        serde_json::from_value(json!({
            "apiVersion": "crunchydata.com/v1", "kind": "Pgcluster", "metadata": {"name": "hippo"}, "status": status,
        }))
        .expect("an object")
    }

    fn told(trials: &[BackupTrial]) -> Vec<(&str, &str, &str, bool)> {
        let told = trials.iter();
        told.map(|one| {
            let (backup, outcome) = (one.backup.as_str(), one.outcome.as_str());
            (backup, outcome, one.cause.as_str(), one.damaged)
        })
        .collect()
    }

    #[test]
    fn each_backup_is_told_with_what_became_of_it() {
        let backups = json!([
            {"label": "20261126-210300F", "error": true}, {"label": "20261126-220300F", "error": false},
            {"label": "20261126-230300F"}, {"label": "20261126-233000F"}, {"label": "20261126-210300F", "error": false},
        ]);
        let stanzas = json!([{"backup": backups, "name": "db"}, {"name": "other"}]);
        let all = [
            ("20261126-210300F", "failed", "no", true),
            (
                "20261126-220300F",
                "not yet",
                "could not be tried: away",
                false,
            ),
            ("20261126-230300F", "running", "", false),
            ("20261126-233000F", "not yet", "", false),
        ];
        assert_eq!(told(&of(&cluster(), &stanzas)), all);
    }
}
