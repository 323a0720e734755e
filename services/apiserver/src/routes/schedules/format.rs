//! A schedule as 4.1 writes it into a ConfigMap: what a request asks for, written; and what is there, read to be shown.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{ResourceExt as _, api::ObjectMeta};
use pgo_api::{CreateScheduleRequest, ScheduleDetail, texts};
use pgo_crd::{is_claim, label, policy_name};
use pgo_ids::{ClusterName, StreamId};
use pgo_schedule::{
    LAST_MISSED, LAST_RUN, LAST_SKIPPED, NEXT_RUN, SCHEDULE_ERROR, SCHEDULER, Timetable,
};
use serde::{Deserialize, Serialize};

use crate::{
    refusal::Refusal,
    routes::clusters::{check_storage_types, is_object_name},
};

/// What is to be done again and again, as asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    schedule: String,
    work: Work,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Work {
    /// A backup by pgBackRest.
    PgBackRest { kind: String, storage: String },
    /// A copy by `pg_basebackup`, to this claim.
    PgBaseBackup { claim: String },
    /// A policy is applied.
    Policy(Policy),
}

/// The value in the ConfigMap. Missing members are as empty ones.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Value {
    version: String,
    name: String,
    cluster: String,
    created: String,
    schedule: String,
    namespace: String,
    #[serde(rename = "type")]
    kind: String,
    pgbackrest: PgBackRest,
    pgbasebackup: PgBaseBackup,
    policy: Policy,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PgBackRest {
    #[serde(skip_serializing_if = "String::is_empty")]
    label: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    container: String,
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    kind: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    storage_type: String,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PgBaseBackup {
    #[serde(skip_serializing_if = "String::is_empty")]
    backup_volume: String,
    /// Written also where it is empty, as 4.1 does.
    security_context: BTreeMap<String, serde_json::Value>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Policy {
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    database: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    secret: String,
}

impl Wanted {
    /// What a request asks for.
    ///
    /// # Errors
    /// What is missing or wrong, or not available yet.
    pub(super) fn of(request: &CreateScheduleRequest) -> Result<Self, Refusal> {
        let refuse = |why: String| Err(Refusal(why));
        if request.cluster_name.is_empty() && request.selector.is_empty() {
            return refuse("name a cluster, or give a selector".to_owned());
        }
        if let Err(error) = request.schedule.parse::<Timetable>() {
            return refuse(format!("schedule: {error}"));
        }
        // 4.1 took options and forgot them.
        if !request.schedule_options.is_empty() {
            return refuse(texts::not_available("--schedule-opts"));
        }
        let work = match request.schedule_type.as_str() {
            "pgbackrest" => Self::backup(request)?,
            "policy" => Self::policy(request)?,
            "pgbasebackup" => Self::copy(request)?,
            other => {
                return refuse(format!(
                    "schedule type {other:?} is none; use pgbackrest, pgbasebackup or policy"
                ));
            }
        };
        Ok(Self {
            schedule: request.schedule.clone(),
            work,
        })
    }

    fn backup(request: &CreateScheduleRequest) -> Result<Work, Refusal> {
        let kind = request.backrest_type.as_str();
        if !matches!(kind, "full" | "diff" | "incr") {
            return Err(Refusal(format!(
                "pgBackRest backup type {kind:?} is none; use full, diff or incr"
            )));
        }
        check_storage_types(&request.backrest_storage_type)?;
        Ok(Work::PgBackRest {
            kind: kind.to_owned(),
            storage: request.backrest_storage_type.clone(),
        })
    }

    fn copy(request: &CreateScheduleRequest) -> Result<Work, Refusal> {
        let claim = request.pvc_name.as_str();
        if claim.is_empty() {
            return Err(Refusal(
                "a schedule of type pgbasebackup names the claim that the copies go to; give --pvc-name".to_owned(),
            ));
        }
        match is_claim(claim) {
            true => Ok(Work::PgBaseBackup {
                claim: claim.to_owned(),
            }),
            false => Err(Refusal(format!("{claim:?} is the name of no claim"))),
        }
    }

    fn policy(request: &CreateScheduleRequest) -> Result<Work, Refusal> {
        policy_name(&request.policy_name)?;
        if request.database.is_empty() {
            return Err(Refusal(
                "a schedule that applies a policy names the database; give --database".to_owned(),
            ));
        }
        let secret = &request.secret;
        if !secret.is_empty() && !is_object_name(secret) {
            return Err(Refusal(format!("{secret:?} is no name of a Secret")));
        }
        Ok(Work::Policy(Policy {
            name: request.policy_name.clone(),
            database: request.database.clone(),
            secret: secret.clone(),
        }))
    }

    /// The policy that is applied, where that is what is done.
    pub(super) fn applies(&self) -> Option<&str> {
        match &self.work {
            Work::PgBackRest { .. } | Work::PgBaseBackup { .. } => None,
            Work::Policy(policy) => Some(&policy.name),
        }
    }

    /// Whether pgBackRest does it.
    pub(super) fn needs_backrest(&self) -> bool {
        matches!(self.work, Work::PgBackRest { .. })
    }

    /// The Secret that the policy's user is of, where one is named.
    pub(super) fn secret(&self) -> Option<&str> {
        match &self.work {
            Work::Policy(policy) if !policy.secret.is_empty() => Some(&policy.secret),
            Work::Policy(_) | Work::PgBackRest { .. } | Work::PgBaseBackup { .. } => None,
        }
    }

    /// The ConfigMap for one cluster. It goes with the cluster, as from 4.1.2 on.
    ///
    /// # Errors
    /// None that a text can cause.
    pub(super) fn config_map(
        &self,
        namespace: &str,
        (cluster, uid): (&ClusterName, &StreamId),
        now: Timestamp,
    ) -> Result<ConfigMap, Refusal> {
        let mut value = Value {
            version: "v1".to_owned(),
            cluster: cluster.to_string(),
            created: now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            schedule: self.schedule.clone(),
            namespace: namespace.to_owned(),
            ..Value::default()
        };
        match &self.work {
            Work::PgBackRest { kind, storage } => {
                value.name = format!("{cluster}-pgbackrest-{kind}");
                value.kind = "pgbackrest".to_owned();
                value.pgbackrest = PgBackRest {
                    label: format!("pg-cluster={cluster},name={cluster},deployment-name={cluster}"),
                    container: "database".to_owned(),
                    kind: kind.clone(),
                    storage_type: storage.clone(),
                };
            }
            Work::PgBaseBackup { claim } => {
                value.name = format!("backup-{cluster}");
                value.kind = "pgbasebackup".to_owned();
                value.pgbasebackup.backup_volume.clone_from(claim);
            }
            Work::Policy(policy) => {
                value.name = format!("{cluster}-policy-{}", policy.name);
                value.kind = "policy".to_owned();
                value.policy = policy.clone();
            }
        }
        let name = value.name.clone();
        let json = serde_json::to_string(&value)
            .map_err(|error| Refusal(format!("the schedule cannot be written: {error}")))?;
        let labels = [(label::PG_CLUSTER, cluster.as_str()), (SCHEDULER, "true")];
        let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
        Ok(ConfigMap {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                namespace: Some(namespace.to_owned()),
                labels: Some(BTreeMap::from(labels)),
                owner_references: Some(vec![pgo_objects::owner(cluster, uid)]),
                ..ObjectMeta::default()
            },
            data: Some(BTreeMap::from([(name, json)])),
            ..ConfigMap::default()
        })
    }
}

/// What is in a schedule's ConfigMap, and what the scheduler noted on it.
pub(super) fn detail(map: &ConfigMap) -> ScheduleDetail {
    let json = map.data.iter().flatten().map(|(_, json)| json).next();
    let value: Option<Value> = json.and_then(|json| serde_json::from_str(json).ok());
    let value = value.unwrap_or_default();
    let note = |key: &str| map.annotations().get(key).cloned().unwrap_or_default();
    ScheduleDetail {
        name: map.name_any(),
        cluster: value.cluster,
        schedule: value.schedule,
        backup_type: value.pgbackrest.kind,
        backup_volume: value.pgbasebackup.backup_volume,
        schedule_type: value.kind,
        last_run: note(LAST_RUN),
        next_run: note(NEXT_RUN),
        last_skipped: note(LAST_SKIPPED),
        last_missed: note(LAST_MISSED),
        error: note(SCHEDULE_ERROR),
    }
}

/// The same as 4.1 shows it, with what it does not say behind.
pub(super) fn text(schedule: &ScheduleDetail) -> String {
    let lines = [
        ("backup-type", &schedule.backup_type),
        ("backup-volume", &schedule.backup_volume),
        ("next-run", &schedule.next_run),
        ("last-run", &schedule.last_run),
        ("last-skipped", &schedule.last_skipped),
        ("last-missed", &schedule.last_missed),
        ("error", &schedule.error),
    ];
    let mut text = format!(
        "{}:\n\tschedule: {}\n\tschedule-type: {}",
        schedule.name, schedule.schedule, schedule.schedule_type
    );
    for (name, value) in lines.into_iter().filter(|(_, value)| !value.is_empty()) {
        text.push_str(&format!("\n\t{name}: {value}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What 4.1 writes for `pgo create schedule hippo --schedule="0 1 * * *" --schedule-type=pgbackrest
    /// --pgbackrest-backup-type=full`.
    const OF_4_1: &str = r#"{"version":"v1","name":"hippo-pgbackrest-full","cluster":"hippo","created":"2019-10-15T10:11:12Z","schedule":"0 1 * * *","namespace":"pgouser1","type":"pgbackrest","pgbackrest":{"label":"pg-cluster=hippo,name=hippo,deployment-name=hippo","container":"database","type":"full"},"pgbasebackup":{"securityContext":{}},"policy":{}}"#;

    fn request() -> CreateScheduleRequest {
        CreateScheduleRequest {
            cluster_name: "hippo".to_owned(),
            schedule: "0 1 * * *".to_owned(),
            schedule_type: "pgbackrest".to_owned(),
            backrest_type: "full".to_owned(),
            ..CreateScheduleRequest::default()
        }
    }

    fn made(request: &CreateScheduleRequest) -> ConfigMap {
        let uid = "u1".parse().expect("a uid");
        let name = "hippo".parse().expect("a name");
        let now = "2019-10-15T10:11:12.5Z".parse().expect("a time");
        let wanted = Wanted::of(request).expect("a schedule");
        let map = wanted.config_map("pgouser1", (&name, &uid), now);
        map.expect("a ConfigMap")
    }

    #[test]
    fn a_schedule_is_what_4_1_writes() {
        let map = made(&request());
        assert_eq!(map.name_any(), "hippo-pgbackrest-full");
        let data = map.data.clone().unwrap_or_default();
        let pairs: Vec<_> = data.iter().collect();
        assert_eq!(
            pairs,
            [(&"hippo-pgbackrest-full".to_owned(), &OF_4_1.to_owned())]
        );
        let labels: Vec<_> = map.labels().iter().collect();
        let expected = [("crunchy-scheduler", "true"), ("pg-cluster", "hippo")];
        let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(
            labels,
            expected.iter().map(|(k, v)| (k, v)).collect::<Vec<_>>()
        );
        assert_eq!(map.owner_references()[0].uid, "u1");
    }

    #[test]
    fn a_schedule_that_applies_a_policy_names_database_and_secret() {
        let map = made(&CreateScheduleRequest {
            schedule_type: "policy".to_owned(),
            policy_name: "gold".to_owned(),
            database: "userdb".to_owned(),
            secret: "hippo-testuser-secret".to_owned(),
            ..request()
        });
        assert_eq!(map.name_any(), "hippo-policy-gold");
        let data = map.data.clone().unwrap_or_default();
        let of_4_1 = r#"{"version":"v1","name":"hippo-policy-gold","cluster":"hippo","created":"2019-10-15T10:11:12Z","schedule":"0 1 * * *","namespace":"pgouser1","type":"policy","pgbackrest":{},"pgbasebackup":{"securityContext":{}},"policy":{"name":"gold","database":"userdb","secret":"hippo-testuser-secret"}}"#;
        assert_eq!(data["hippo-policy-gold"], of_4_1);
        assert_eq!(
            text(&detail(&map)),
            "hippo-policy-gold:\n\tschedule: 0 1 * * *\n\tschedule-type: policy"
        );
    }

    #[test]
    fn a_schedule_of_copies_names_the_claim() {
        let map = made(&CreateScheduleRequest {
            schedule_type: "pgbasebackup".to_owned(),
            pvc_name: "hippo-copies".to_owned(),
            ..request()
        });
        let data = map.data.clone().unwrap_or_default();
        let json = &data["backup-hippo"];
        let volume = r#""pgbasebackup":{"backupVolume":"hippo-copies","securityContext":{}}"#;
        assert!(
            json.contains(r#""type":"pgbasebackup","pgbackrest":{}"#),
            "{json}"
        );
        assert!(json.contains(volume), "{json}");
        assert_eq!(
            text(&detail(&map)),
            "backup-hippo:\n\tschedule: 0 1 * * *\n\tschedule-type: pgbasebackup\n\tbackup-volume: hippo-copies"
        );
    }

    #[test]
    fn a_schedule_is_shown_as_in_4_1_with_its_runs_behind() {
        let mut map = made(&request());
        let of_4_1 = "hippo-pgbackrest-full:\n\tschedule: 0 1 * * *\n\tschedule-type: pgbackrest\n\tbackup-type: full";
        assert_eq!(text(&detail(&map)), of_4_1);
        for (key, value) in [
            (NEXT_RUN, "2026-10-16T01:00:00Z"),
            (LAST_RUN, "2026-10-15T01:00:00Z"),
            (
                LAST_SKIPPED,
                "2026-10-14T01:00:00Z the cluster was not ready",
            ),
        ] {
            map.annotations_mut()
                .insert(key.to_owned(), value.to_owned());
        }
        assert_eq!(
            text(&detail(&map)),
            format!(
                "{of_4_1}\n\tnext-run: 2026-10-16T01:00:00Z\n\tlast-run: 2026-10-15T01:00:00Z\n\tlast-skipped: \
                 2026-10-14T01:00:00Z the cluster was not ready"
            )
        );
        map.data = Some(BTreeMap::from([("x".to_owned(), "{".to_owned())]));
        map.annotations_mut().clear();
        map.annotations_mut()
            .insert(SCHEDULE_ERROR.to_owned(), "no JSON".to_owned());
        assert_eq!(
            text(&detail(&map)),
            "hippo-pgbackrest-full:\n\tschedule: \n\tschedule-type: \n\terror: no JSON"
        );
    }

    #[test]
    fn what_cannot_be_kept_is_refused() {
        let refused = |change: &dyn Fn(&mut CreateScheduleRequest)| {
            let mut request = request();
            change(&mut request);
            match Wanted::of(&request) {
                Err(Refusal(why)) => why,
                Ok(wanted) => panic!("{wanted:?}"),
            }
        };
        let later = "is not available in this version yet";
        for (why, words) in [
            (refused(&|one| one.cluster_name.clear()), "name a cluster"),
            (refused(&|one| one.schedule.clear()), "it is empty"),
            (
                refused(&|one| one.schedule = "0 25 * * *".to_owned()),
                "give five fields",
            ),
            (
                refused(&|one| one.schedule_type = "policy".to_owned()),
                "cannot be a policy",
            ),
            (
                refused(&|one| {
                    one.schedule_type = "policy".to_owned();
                    one.policy_name = "gold".to_owned();
                }),
                "names the database",
            ),
            (
                refused(&|one| one.schedule_type = "pgbasebackup".to_owned()),
                "give --pvc-name",
            ),
            (
                refused(&|one| {
                    one.schedule_type = "pgbasebackup".to_owned();
                    one.pvc_name = "../x".to_owned();
                }),
                "is the name of no claim",
            ),
            (
                refused(&|one| one.schedule_type = "tape".to_owned()),
                "use pgbackrest",
            ),
            (
                refused(&|one| one.backrest_type.clear()),
                "use full, diff or incr",
            ),
            (
                refused(&|one| one.backrest_storage_type = "tape".to_owned()),
                "Invalid value provided for pgBackRest storage type",
            ),
            (
                refused(&|one| one.schedule_options = "--x".to_owned()),
                later,
            ),
        ] {
            assert!(why.contains(words), "{why}");
        }
    }
}
