//! What `pgo show backup` says of restores for trial: each backup that pgBackRest lists, with what the Pgcluster's status knows
//! of it.

use std::collections::BTreeSet;

use kube::api::DynamicObject;
use pgo_api::BackupTrial;
use pgo_core::Drills;
use serde_json::Value;

/// Of all backups that pgBackRest says in this text there are, in its order. One that lies in two places is one.
pub(super) fn of_text(cluster: &DynamicObject, info: &str) -> Vec<BackupTrial> {
    of(cluster, labels_of_text(info))
}

/// The same of its JSON.
pub(super) fn of_json(cluster: &DynamicObject, info: &Value) -> Vec<BackupTrial> {
    of(cluster, labels_of_json(info))
}

fn of(cluster: &DynamicObject, mut labels: Vec<String>) -> Vec<BackupTrial> {
    let drills = cluster.data["status"]["drills"].clone();
    let drills: Drills = serde_json::from_value(drills).unwrap_or_default();
    let mut seen = BTreeSet::new();
    labels.retain(|label| seen.insert(label.clone()));
    labels
        .into_iter()
        .map(|label| one(label, &drills))
        .collect()
}

fn one(backup: String, drills: &Drills) -> BackupTrial {
    let verdict = drills.verdicts.get(&backup);
    let untried = drills.untried.get(&backup);
    let runs = drills.run.as_ref().is_some_and(|run| run.backup == backup);
    let outcome = match verdict {
        _ if runs => "running",
        Some(verdict) if verdict.proven => "proven",
        Some(_) => "failed",
        None => "not yet",
    };
    BackupTrial {
        backup,
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

/// Lines such as `full backup: 20261126-210300F`.
fn labels_of_text(info: &str) -> Vec<String> {
    let labels = info.lines().filter_map(|line| {
        let (kind, label) = line.trim().split_once(" backup: ")?;
        ["full", "diff", "incr"]
            .contains(&kind)
            .then(|| label.to_owned())
    });
    labels.collect()
}

fn labels_of_json(stanzas: &Value) -> Vec<String> {
    let stanzas = stanzas.as_array().into_iter().flatten();
    let backups = stanzas.flat_map(|stanza| stanza["backup"].as_array().into_iter().flatten());
    let labels = backups.filter_map(|backup| backup["label"].as_str());
    labels.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TEXT: &str = "stanza: db\n    status: ok\n    db (current)\n        full backup: 20261126-210300F\n            \
                        timestamp start/stop: 2026-11-26 21:03:00 / 2026-11-26 21:03:11\n        \
                        incr backup: 20261126-210300F_20261126-220300I\n            backup reference list: 20261126-210300F\n";

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

    fn told(trials: &[BackupTrial]) -> Vec<(&str, &str, &str)> {
        let told = trials.iter();
        told.map(|one| {
            (
                one.backup.as_str(),
                one.outcome.as_str(),
                one.cause.as_str(),
            )
        })
        .collect()
    }

    #[test]
    fn each_backup_is_told_with_what_became_of_it() {
        let all = [
            ("20261126-210300F", "failed", "no"),
            ("20261126-210300F_20261126-220300I", "not yet", ""),
        ];
        assert_eq!(told(&of_text(&cluster(), &format!("{TEXT}{TEXT}"))), all);
        let labels = ["20261126-210300F", "20261126-220300F", "20261126-230300F"];
        let backups = labels.map(|label| json!({"label": label}));
        let stanzas = json!([{"backup": backups, "name": "db"}]);
        let all = [
            ("20261126-210300F", "failed", "no"),
            ("20261126-220300F", "not yet", "could not be tried: away"),
            ("20261126-230300F", "running", ""),
        ];
        assert_eq!(told(&of_json(&cluster(), &stanzas)), all);
    }
}
