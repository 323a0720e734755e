//! What `pgbackrest info --output=json` says.

use serde::{Deserialize, Serialize};

use super::{STANZA, storage::Storage};
use crate::timeline;

/// Annotation that keeps from which instance the files of a backup were copied.
pub const SOURCE: &str = "pgo-instance";

/// Annotation that keeps by which operation a backup was made.
pub const OPERATION: &str = "pgo-operation";

/// A backup in the repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Set {
    /// Where it is: number of one of pgBackRest's repositories.
    #[serde(default = "first")]
    pub repository: u32,
    /// Such as `20260102-030405F`.
    pub label: String,
    /// `full`, `diff` or `incr`.
    pub kind: String,
    /// When it began, in seconds since 1970.
    pub started: i64,
    /// When it ended.
    pub finished: i64,
    /// Size of the database, in bytes.
    pub size: u64,
    /// What it takes in the repository, with the backups that it rests on, in bytes; 0 where that is not known.
    pub repository_size: u64,
    /// First WAL file that a restore needs.
    pub start_wal: String,
    /// Last one.
    pub stop_wal: String,
    /// Where the data is whole; 0 where that is not known.
    #[serde(default)]
    pub stop_lsn: u64,
    /// Whether pages with a wrong checksum were found in it.
    pub damaged: bool,
    /// Where, as far as pgBackRest said so while it made the backup: its list of backups does not.
    #[serde(default)]
    pub damaged_pages: Vec<String>,
    /// The instance that its files were copied from, where it is known.
    pub source: String,
    /// Id of the operation that made it, where it is known.
    pub operation: String,
}

/// The only one before there were several.
fn first() -> u32 {
    Storage::Local.number()
}

/// Why an answer cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InfoError {
    /// It is something else.
    #[error("what pgbackrest info says cannot be understood: {0}")]
    Unclear(#[from] serde_json::Error),
    /// No repository has answered: pgBackRest tells of each as of one that is empty, and ends without an error.
    #[error("the repository does not say what it has: {0}")]
    Silent(String),
}

#[derive(Deserialize)]
struct Stanza {
    name: String,
    #[serde(default)]
    backup: Vec<Backup>,
    #[serde(default)]
    archive: Vec<Archive>,
    #[serde(default)]
    db: Vec<Database>,
    #[serde(default)]
    repo: Vec<Repository>,
}

#[derive(Deserialize)]
struct Repository {
    status: Status,
}

#[derive(Deserialize)]
struct Status {
    code: u32,
    #[serde(default)]
    message: String,
}

/// The code of a repository of which nothing is known (pgBackRest's sources, info.c: INFO_STANZA_STATUS_CODE_OTHER).
const UNKNOWN: u32 = 99;

impl Stanza {
    /// # Errors
    /// Nothing is known of any of its repositories.
    fn known(self) -> Result<Self, InfoError> {
        let is_silent = |one: &Repository| one.status.code == UNKNOWN;
        if self.repo.is_empty() || !self.repo.iter().all(is_silent) {
            return Ok(self);
        }
        let said = self.repo.iter().map(|one| one.status.message.as_str());
        let said: Vec<&str> = said.flat_map(str::lines).map(str::trim).collect();
        Err(InfoError::Silent(said.join("; ")))
    }
}

#[derive(Deserialize)]
struct Archive {
    id: String,
    database: DatabaseId,
}

#[derive(Deserialize)]
struct DatabaseId {
    id: u64,
    #[serde(rename = "repo-key", default = "first")]
    repository: u32,
}

#[derive(Deserialize)]
struct Database {
    id: u64,
    #[serde(rename = "system-id")]
    system_identifier: u64,
}

/// What a repository has of the present database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// Its backups, oldest first.
    pub sets: Vec<Set>,
    /// Name of the folder with its WAL, such as `15-1`; none where there is no WAL.
    pub archive: Option<String>,
    /// Its system identifier; none where there is no stanza.
    pub system_identifier: Option<u64>,
}

#[derive(Deserialize)]
struct Backup {
    label: String,
    #[serde(rename = "type")]
    kind: String,
    timestamp: Range<i64>,
    archive: Option<Range<Option<String>>>,
    database: DatabaseId,
    lsn: Option<Range<String>>,
    info: Sizes,
    #[serde(default)]
    error: Option<bool>,
    #[serde(default)]
    annotation: serde_json::Map<String, serde_json::Value>,
}

#[derive(Deserialize)]
struct Range<T> {
    start: T,
    stop: T,
}

#[derive(Deserialize)]
struct Sizes {
    size: u64,
    repository: Option<RepositorySizes>,
}

#[derive(Deserialize)]
struct RepositorySizes {
    /// Missing with block incremental backups.
    size: Option<u64>,
    delta: Option<u64>,
}

/// The backups of our stanza, oldest first.
///
/// # Errors
/// The text is not what pgBackRest writes, or no repository has answered.
pub fn sets(json: &str) -> Result<Vec<Set>, InfoError> {
    let stanzas: Vec<Stanza> = serde_json::from_str(json)?;
    let ours = stanzas.into_iter().filter(|stanza| stanza.name == STANZA);
    let ours: Vec<Stanza> = ours.map(Stanza::known).collect::<Result<_, _>>()?;
    Ok(sorted(ours.into_iter().flat_map(|stanza| stanza.backup)))
}

/// What there is of the present database of our stanza: each upgrade of PostgreSQL to another major version begins a new one.
///
/// # Errors
/// The text is not what pgBackRest writes, or no repository has answered.
pub fn content(json: &str) -> Result<Content, InfoError> {
    let stanzas: Vec<Stanza> = serde_json::from_str(json)?;
    let Some(stanza) = stanzas.into_iter().find(|stanza| stanza.name == STANZA) else {
        return Ok(Content::default());
    };
    let mut stanza = stanza.known()?;
    let Some(present) = stanza.db.iter().max_by_key(|database| database.id) else {
        return Ok(Content::default());
    };
    let is_present = |database: &DatabaseId| database.id == present.id;
    stanza.backup.retain(|backup| is_present(&backup.database));
    let archive = stanza.archive.into_iter();
    let archive = archive.filter(|archive| is_present(&archive.database));
    Ok(Content {
        sets: sorted(stanza.backup),
        archive: archive.map(|archive| archive.id).next_back(),
        system_identifier: Some(present.system_identifier),
    })
}

fn sorted(backups: impl IntoIterator<Item = Backup>) -> Vec<Set> {
    let mut sets: Vec<Set> = backups.into_iter().map(Set::from).collect();
    sets.sort_by(|one, other| (one.started, &one.label).cmp(&(other.started, &other.label)));
    sets
}

impl From<Backup> for Set {
    fn from(backup: Backup) -> Self {
        let (start_wal, stop_wal) = backup
            .archive
            .map(|wal| (wal.start.unwrap_or_default(), wal.stop.unwrap_or_default()))
            .unwrap_or_default();
        let repository = backup.info.repository;
        let note = |name| {
            let value = backup.annotation.get(name);
            let value = value.and_then(|value| value.as_str());
            value.unwrap_or_default().to_owned()
        };
        Self {
            repository: backup.database.repository,
            source: note(SOURCE),
            operation: note(OPERATION),
            label: backup.label,
            kind: backup.kind,
            started: backup.timestamp.start,
            finished: backup.timestamp.stop,
            size: backup.info.size,
            repository_size: repository
                .and_then(|sizes| sizes.size.or(sizes.delta))
                .unwrap_or_default(),
            start_wal,
            stop_wal,
            stop_lsn: backup
                .lsn
                .and_then(|lsn| timeline::lsn(&lsn.stop))
                .unwrap_or_default(),
            damaged: backup.error.unwrap_or_default(),
            damaged_pages: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = r#"[{"archive":[{"database":{"id":1,"repo-key":1},"id":"15-1","max":"000000010000000000000018",
      "min":"000000010000000000000001"}],"backup":[
      {"annotation":{"pgo-instance":"hippo-abcd","pgo-operation":"0197"},"archive":{"start":"000000010000000000000017","stop":"000000010000000000000018"},
       "backrest":{"format":5,"version":"2.45"},"database":{"id":1,"repo-key":2},"error":true,
       "info":{"delta":138649867,"repository":{"delta":6644805,"size":9356653},"size":159692491},
       "label":"20261126-195132F_20261126-200127I","lsn":{"start":"0/17000028","stop":"0/17000100"},
       "prior":"20261126-195132F","reference":["20261126-195132F"],"timestamp":{"start":1795723287,"stop":1795723292},"type":"incr"},
      {"archive":{"start":"000000010000000000000003","stop":"000000010000000000000003"},
       "backrest":{"format":5,"version":"2.45"},"database":{"id":1,"repo-key":1},"error":false,
       "info":{"delta":22992586,"repository":{"delta":4522521,"size":4522521},"size":22992586},
       "label":"20261126-195132F","lsn":{"start":"0/3000028","stop":"0/3000100"},"prior":null,"reference":null,
       "timestamp":{"start":1795722672,"stop":1795722677},"type":"full"}],
      "cipher":"none","db":[{"id":1,"repo-key":1,"system-id":7712570075231011191,"version":"15"}],"name":"db",
      "repo":[{"cipher":"none","key":1,"status":{"code":0,"message":"ok"}}],
      "status":{"code":0,"lock":{"backup":{"held":false}},"message":"ok"}}]"#;

    #[test]
    fn backups_are_read_oldest_first() {
        let sets = sets(TWO).expect("understood");
        let [full, incremental] = sets.as_slice() else {
            panic!("{sets:?}");
        };
        assert_eq!(
            (full.label.as_str(), full.kind.as_str()),
            ("20261126-195132F", "full")
        );
        assert_eq!((full.size, full.repository_size), (22_992_586, 4_522_521));
        assert_eq!(
            (full.started, full.finished),
            (1_795_722_672, 1_795_722_677)
        );
        assert!(!full.damaged && full.source.is_empty());
        assert_eq!((full.repository, incremental.repository), (1, 2));
        assert_eq!(incremental.kind, "incr");
        assert_eq!(incremental.start_wal, "000000010000000000000017");
        assert_eq!(incremental.stop_wal, "000000010000000000000018");
        assert!(incremental.damaged);
        let (source, operation) = (&incremental.source, &incremental.operation);
        assert_eq!(
            (source.as_str(), operation.as_str()),
            ("hippo-abcd", "0197")
        );
    }

    #[test]
    fn a_repository_that_does_not_answer_is_not_empty() {
        let silent = r#"[{"archive":[],"backup":[],"cipher":"none","db":[],"name":"db","repo":[{"cipher":"none","key":1,
          "status":{"code":99,"message":"[HostConnectError] unable to connect to '127.0.0.1:9': [111] Connection refused"}}],
          "status":{"code":99,"lock":{"backup":{"held":false}},"message":"other"}}]"#;
        let said = "the repository does not say what it has: [HostConnectError] unable to connect to '127.0.0.1:9': [111] \
                    Connection refused";
        let errors = [
            sets(silent).map(drop).expect_err("silent"),
            content(silent).map(drop).expect_err("silent"),
        ];
        for error in errors {
            assert_eq!(error.to_string(), said);
        }
        let empty = silent.replace("99", "2");
        assert_eq!(sets(&empty).expect("understood"), []);
    }

    #[test]
    fn what_is_of_a_former_database_is_left_out() {
        let content = super::content(TWO).expect("understood");
        assert_eq!(content.sets, sets(TWO).expect("understood"));
        assert_eq!(content.archive.as_deref(), Some("15-1"));
        assert_eq!(content.system_identifier, Some(7_712_570_075_231_011_191));
        assert_eq!(content.sets[0].stop_lsn, 0x300_0100);
        let upgraded = TWO.replace(
            r#""db":[{"#,
            r#""db":[{"id":2,"repo-key":1,"system-id":7,"version":"16"},{"#,
        );
        let content = super::content(&upgraded).expect("understood");
        assert_eq!((content.sets.len(), content.archive), (0, None));
        assert_eq!(content.system_identifier, Some(7));
    }

    #[test]
    fn a_repository_without_backups_has_none() {
        for empty in [
            "[]",
            r#"[{"archive":[],"backup":[],"cipher":"none","db":[],"name":"db","status":{"code":1,"message":"missing stanza path"}}]"#,
            r#"[{"name":"other"}]"#,
        ] {
            assert_eq!(sets(empty).expect("understood"), [], "{empty}");
            let content = super::content(empty).expect("understood");
            assert_eq!(content, Content::default(), "{empty}");
        }
    }

    #[test]
    fn sizes_that_a_block_incremental_backup_does_not_have_are_no_error() {
        let without = TWO.replace(r#""size":9356653"#, r#""delta-map":7"#);
        let sets = sets(&without).expect("understood");
        assert_eq!(sets[1].repository_size, 6_644_805);
    }

    #[test]
    fn what_is_no_answer_is_told() {
        let error = sets("ERROR: [041]").expect_err("no JSON").to_string();
        assert!(error.contains("pgbackrest info"), "{error}");
    }
}
