//! What a drill has found, as the pod's last words: `services/reconciler/src/observe/drill.rs` reads them.

use jiff::Timestamp;
use serde::Serialize;

/// Longest error, in bytes: Kubernetes keeps 4096 of a container's last words.
const LONGEST: usize = 2000;

/// What is done with a backup, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Stage {
    /// pgBackRest copies it, and holds each file against its checksum.
    Copy,
    /// PostgreSQL replays what is archived.
    Replay,
    /// Each page is held against its checksum.
    Checksums,
    /// Tables and indexes are held against each other.
    Structure,
    /// Every table is read.
    Read,
}

/// Why no verdict can be given on a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Untried {
    /// The repository is away, or there is no room for the copy: it may be tried again.
    Unreachable,
    /// It takes too long.
    Late,
    /// It is of a former database, or of a timeline that was left: nobody restores it along the newest one.
    Superseded,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// pgBackRest's name for the backup.
    pub backup: String,
    /// How far it came.
    pub stage: Stage,
    /// What is wrong; none where the backup is proven.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Why that is no verdict on the backup, where it is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub untried: Option<Untried>,
    /// Size of the copy, in bytes.
    pub size: u64,
    /// The timeline that was replayed.
    pub timeline: u32,
    /// Up to where.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub lsn: String,
    /// When the last transaction was committed that is in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_commit: Option<Timestamp>,
    /// Whether pages were held against their checksums: the cluster has them.
    pub checksums: bool,
    /// Whether tables and indexes were held against each other: the image has what it takes.
    pub structure: bool,
}

impl Report {
    /// Of a backup that nothing was done with.
    pub fn of(backup: &str) -> Self {
        Self {
            backup: backup.to_owned(),
            stage: Stage::Copy,
            error: None,
            untried: None,
            size: 0,
            timeline: 0,
            lsn: String::new(),
            last_commit: None,
            checksums: false,
            structure: false,
        }
    }

    /// Something is wrong: with the backup, unless it says why not.
    pub fn fail(&mut self, stage: Stage, error: &str, untried: Option<Untried>) {
        let end = error.floor_char_boundary(LONGEST);
        self.stage = stage;
        self.error = Some(error[..end].to_owned());
        self.untried = untried;
    }

    /// As JSON.
    pub fn text(&self) -> String {
        // Texts and numbers are always JSON.
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same text is in the test of who reads it.
    #[test]
    fn a_report_is_read_as_it_was_written() {
        let mut report = Report::of("20261126-210300F");
        report.size = 7;
        report.timeline = 2;
        report.lsn = "0/5000148".to_owned();
        report.last_commit = "2026-11-26T21:04:00Z".parse().ok();
        report.checksums = true;
        report.fail(Stage::Checksums, "page 3", None);
        assert_eq!(
            report.text(),
            r#"{"backup":"20261126-210300F","stage":"checksums","error":"page 3","size":7,"timeline":2,"lsn":"0/5000148","lastCommit":"2026-11-26T21:04:00Z","checksums":true,"structure":false}"#
        );
        report.fail(Stage::Copy, "it is away", Some(Untried::Unreachable));
        let told = r#""stage":"copy","error":"it is away","untried":"unreachable","size":7"#;
        assert!(report.text().contains(told), "{}", report.text());
        report.fail(Stage::Copy, "it was left", Some(Untried::Superseded));
        let told = r#""error":"it was left","untried":"superseded","size":7"#;
        assert!(report.text().contains(told), "{}", report.text());
        report.fail(Stage::Read, &"é".repeat(4000), None);
        assert!(report.text().len() < 4096);
    }
}
