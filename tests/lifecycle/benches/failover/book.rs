//! What was measured by now, in a file.

use std::{fs, io::Write as _, path::PathBuf};

use serde_json::{Value, json};

use crate::{
    harness::measured::Stamp,
    peer::Peer,
    rows::{Row, Run},
};

/// The file; a line for each run.
pub struct Book(PathBuf);

impl Book {
    /// That of this clone.
    pub fn open() -> Self {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../.local/bench");
        fs::create_dir_all(&folder).expect("a folder for what was measured");
        Self(folder.join("failover.jsonl"))
    }

    fn lines(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.0).unwrap_or_default();
        // The last line may be half: then its run is measured again.
        text.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// The runs of a row, of this commit and day.
    pub fn runs(&self, row: Row, peer: Peer) -> Vec<Run> {
        let now = Stamp::now();
        let of_row = self.lines().into_iter().filter(|line| {
            line["row"] == row.name() && line["peer"] == peer.name() && now.fits(line)
        });
        of_row
            .map(|line| Run {
                pause: line["pause_ms"].as_f64().unwrap_or(f64::NAN),
                changed: line["changed"] == true,
                fenced: line["fenced"].as_bool(),
                missing: line["missing"].as_u64().unwrap_or_default(),
                failed: line["failed"].as_u64().unwrap_or_default(),
            })
            .collect()
    }

    /// Keeps one more.
    pub fn note(&self, row: Row, peer: Peer, run: &Run) {
        let line = json!({
            "row": row.name(), "peer": peer.name(), "pause_ms": run.pause, "changed": run.changed, "fenced": run.fenced,
            "missing": run.missing, "failed": run.failed,
        });
        let line = Stamp::now().on(line);
        let file = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.0);
        let written = file.and_then(|mut file| writeln!(file, "{line}"));
        written.expect("what was measured is kept");
    }

    /// Forgets these rows, which are whole.
    pub fn forget(&self, rows: &[Row]) {
        let others = self
            .lines()
            .into_iter()
            .filter(|line| !rows.iter().any(|row| line["row"] == row.name()));
        let text: String = others.map(|line| format!("{line}\n")).collect();
        fs::write(&self.0, text).expect("what was measured is kept");
    }
}
