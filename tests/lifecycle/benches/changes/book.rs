//! What was measured of a row by now, in a file.

use std::{fs, io::Write as _, path::PathBuf};

use serde_json::Value;

use crate::harness::measured::Stamp;

/// The file; a line for each run.
pub struct Book(PathBuf);

impl Book {
    /// That of a row in this clone.
    pub fn open(row: &str) -> Self {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../.local/bench");
        fs::create_dir_all(&folder).expect("a folder for what was measured");
        Self(folder.join(format!("{row}.jsonl")))
    }

    /// The runs of this commit and day.
    pub fn runs(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.0).unwrap_or_default();
        // The last line may be half: then its run is measured again.
        let now = Stamp::now();
        text.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .filter(|line| now.fits(line))
            .collect()
    }

    /// Keeps one more.
    pub fn note(&self, run: &Value) {
        let run = Stamp::now().on(run.clone());
        let file = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.0);
        let written = file.and_then(|mut file| writeln!(file, "{run}"));
        written.expect("what was measured is kept");
    }

    /// Forgets all, as the row is whole.
    pub fn forget(&self) {
        fs::remove_file(&self.0).expect("it is there");
    }
}
