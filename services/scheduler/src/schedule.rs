//! A schedule, as `pgo create schedule` of 4.1 writes it into a ConfigMap.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::timetable::{Timetable, TimetableError};

/// What is done when a schedule is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A backup by pgBackRest.
    PgBackRest,
    /// A base backup.
    PgBaseBackup,
    /// A policy is applied.
    Policy,
}

impl Kind {
    /// Its name in the JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PgBackRest => "pgbackrest",
            Self::PgBaseBackup => "pgbasebackup",
            Self::Policy => "policy",
        }
    }
}

/// A kind of backup by pgBackRest. The order is that in which those begin that are due together: what takes most in comes
/// first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BackupType {
    /// Everything.
    Full,
    /// What has changed since the last full one.
    Differential,
    /// What has changed since the last one.
    Incremental,
}

impl BackupType {
    /// Its name in the JSON, and for pgBackRest.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Differential => "diff",
            Self::Incremental => "incr",
        }
    }
}

/// What is done when a schedule is due, with what it needs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Work {
    /// A backup by pgBackRest.
    PgBackRest {
        /// Of which kind.
        backup: BackupType,
        /// 4.1's `local`, `s3` or `local,s3`; empty where the schedule does not say it.
        storage: String,
    },
    /// A base backup.
    PgBaseBackup {
        /// To this claim.
        claim: String,
    },
    /// A policy is applied.
    Policy {
        /// Its name.
        name: String,
        /// To this database.
        database: String,
        /// As the user of this Secret; empty for the superuser.
        secret: String,
    },
}

impl Work {
    /// Its type.
    pub fn kind(&self) -> Kind {
        match self {
            Self::PgBackRest { .. } => Kind::PgBackRest,
            Self::PgBaseBackup { .. } => Kind::PgBaseBackup,
            Self::Policy { .. } => Kind::Policy,
        }
    }
}

/// A schedule that can be kept.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// The cluster it is for.
    pub cluster: String,
    /// What is done.
    pub work: Work,
    /// When.
    pub timetable: Timetable,
}

/// Why a ConfigMap holds no schedule that can be kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// Not one key.
    #[error("the ConfigMap has {0} keys; a schedule is the value of the only one")]
    Keys(usize),
    /// Not the JSON of a schedule.
    #[error("the value is not the JSON of a schedule: {0}")]
    Json(String),
    /// Of another version.
    #[error("version is {0:?}; use \"v1\"")]
    Version(String),
    /// For another namespace.
    #[error("namespace is {0:?}; a schedule is for the namespace it is in")]
    Namespace(String),
    /// Something is empty that is needed.
    #[error("{0} is empty; a schedule of this type needs it")]
    Missing(&'static str),
    /// No such type.
    #[error("type is {0:?}; use pgbackrest, pgbasebackup or policy")]
    Type(String),
    /// No such backup.
    #[error("pgbackrest.type is {0:?}; use full, incr or diff")]
    BackupType(String),
    /// The time is wrong.
    #[error("schedule: {0}")]
    Timetable(#[from] TimetableError),
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Wire {
    version: String,
    cluster: String,
    namespace: String,
    schedule: String,
    #[serde(rename = "type")]
    kind: String,
    pgbackrest: PgBackRest,
    pgbasebackup: PgBaseBackup,
    policy: Policy,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PgBackRest {
    deployment: String,
    label: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(rename = "storageType")]
    storage: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PgBaseBackup {
    backup_volume: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Policy {
    name: String,
    database: String,
    secret: String,
}

impl Schedule {
    /// Reads the data of a ConfigMap in `namespace`.
    ///
    /// # Errors
    /// The field that is wrong, and what would be right.
    pub fn parse(namespace: &str, data: &BTreeMap<String, String>) -> Result<Self, ScheduleError> {
        let mut values = data.values();
        let (Some(json), None) = (values.next(), values.next()) else {
            return Err(ScheduleError::Keys(data.len()));
        };
        let wire: Wire =
            serde_json::from_str(json).map_err(|error| ScheduleError::Json(error.to_string()))?;
        if wire.version != "v1" {
            return Err(ScheduleError::Version(wire.version));
        }
        if wire.namespace != namespace {
            return Err(ScheduleError::Namespace(wire.namespace));
        }
        let work = wire.work()?;
        Ok(Self {
            timetable: wire.schedule.parse()?,
            cluster: wire.cluster,
            work,
        })
    }
}

impl Wire {
    fn work(&self) -> Result<Work, ScheduleError> {
        let needed = |field: &'static str, value: &str| match value {
            "" => Err(ScheduleError::Missing(field)),
            _ => Ok(()),
        };
        needed("cluster", &self.cluster)?;
        // 4.1 does not mind the case.
        match self.kind.to_lowercase().as_str() {
            "pgbackrest" => {
                let backup = &self.pgbackrest;
                let target = format!("{}{}", backup.deployment, backup.label);
                needed("pgbackrest.label", &target)?;
                let storage = backup.storage.clone();
                let types = [
                    BackupType::Full,
                    BackupType::Differential,
                    BackupType::Incremental,
                ];
                let mut types = types.into_iter();
                match types.find(|known| known.as_str() == backup.kind) {
                    Some(backup) => Ok(Work::PgBackRest { backup, storage }),
                    None => Err(ScheduleError::BackupType(backup.kind.clone())),
                }
            }
            "pgbasebackup" => {
                let claim = self.pgbasebackup.backup_volume.clone();
                needed("pgbasebackup.backupVolume", &claim)?;
                Ok(Work::PgBaseBackup { claim })
            }
            "policy" => {
                needed("policy.name", &self.policy.name)?;
                needed("policy.database", &self.policy.database)?;
                Ok(Work::Policy {
                    name: self.policy.name.clone(),
                    database: self.policy.database.clone(),
                    secret: self.policy.secret.clone(),
                })
            }
            _ => Err(ScheduleError::Type(self.kind.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What 4.1 writes for `pgo create schedule hippo --schedule="0 1 * * *" --schedule-type=pgbackrest
    /// --pgbackrest-backup-type=full`.
    const OF_4_1: &str = r#"{"version":"v1","name":"hippo-pgbackrest-full","cluster":"hippo","created":"2019-10-15T10:11:12Z","schedule":"0 1 * * *","namespace":"pgouser1","type":"pgbackrest","pgbackrest":{"label":"pg-cluster=hippo,name=hippo,deployment-name=hippo","container":"database","type":"full"},"pgbasebackup":{"securityContext":{}},"policy":{}}"#;

    fn parse(json: &str) -> Result<Schedule, ScheduleError> {
        let data = BTreeMap::from([("hippo-pgbackrest-full".to_owned(), json.to_owned())]);
        Schedule::parse("pgouser1", &data)
    }

    fn with(old: &str, new: &str) -> Result<Kind, ScheduleError> {
        assert!(OF_4_1.contains(old), "{old}");
        parse(&OF_4_1.replace(old, new)).map(|schedule| schedule.work.kind())
    }

    #[test]
    fn a_schedule_of_4_1_is_read() {
        let schedule = parse(OF_4_1).expect("a schedule");
        assert_eq!(schedule.cluster, "hippo");
        let work = Work::PgBackRest {
            backup: BackupType::Full,
            storage: String::new(),
        };
        assert_eq!(schedule.work, work);
        assert_eq!(schedule.timetable.to_string(), "0 1 * * *");
    }

    #[test]
    fn each_type_needs_what_it_works_with() {
        let typed = |kind: &str, member: &str| {
            let json = OF_4_1.replace(r#""type":"pgbackrest""#, &format!(r#""type":"{kind}""#));
            let json = json.replace(r#""policy":{}"#, &format!(r#""policy":{member}"#));
            parse(&json).map(|schedule| schedule.work.kind())
        };
        assert_eq!(
            with(r#""type":"pgbackrest""#, r#""type":"PgBackRest""#),
            Ok(Kind::PgBackRest)
        );
        assert_eq!(
            with(r#""type":"full""#, r#""type":"incr""#),
            Ok(Kind::PgBackRest)
        );
        assert_eq!(
            with(r#""type":"full""#, r#""type":"half""#),
            Err(ScheduleError::BackupType("half".to_owned()))
        );
        assert_eq!(
            with("pg-cluster=hippo,name=hippo,deployment-name=hippo", ""),
            Err(ScheduleError::Missing("pgbackrest.label"))
        );
        assert_eq!(
            typed("pgbasebackup", "{}"),
            Err(ScheduleError::Missing("pgbasebackup.backupVolume"))
        );
        assert_eq!(
            typed("policy", "{}"),
            Err(ScheduleError::Missing("policy.name"))
        );
        assert_eq!(
            typed("policy", r#"{"name":"p"}"#),
            Err(ScheduleError::Missing("policy.database"))
        );
        assert_eq!(
            typed("policy", r#"{"name":"p","database":"d"}"#),
            Ok(Kind::Policy)
        );
        assert_eq!(typed("", "{}"), Err(ScheduleError::Type(String::new())));
    }

    #[test]
    fn wrong_ones_are_refused_by_what_is_wrong() {
        assert_eq!(
            with(r#""v1""#, r#""v2""#),
            Err(ScheduleError::Version("v2".to_owned()))
        );
        assert_eq!(
            with("pgouser1", "pgouser2"),
            Err(ScheduleError::Namespace("pgouser2".to_owned()))
        );
        assert_eq!(
            with(r#""cluster":"hippo""#, r#""cluster":"""#),
            Err(ScheduleError::Missing("cluster"))
        );
        assert!(matches!(
            with("0 1 *", "0 1 77"),
            Err(ScheduleError::Timetable(_))
        ));
        assert!(matches!(parse("{"), Err(ScheduleError::Json(_))));
        let none = Schedule::parse("pgouser1", &BTreeMap::new());
        assert_eq!(none.map(|s| s.work.kind()), Err(ScheduleError::Keys(0)));
    }
}
