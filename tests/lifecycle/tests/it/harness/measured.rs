//! Runs of a measurement that are kept until a row is whole: of which commit they are, and from when.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::programs::{program, run};

/// A run that is older is not of this measurement: machine and surroundings are others.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// What belongs to a run.
pub struct Stamp {
    commit: String,
    /// Seconds since 1970.
    at: u64,
}

impl Stamp {
    /// That of a run that ends now.
    pub fn now() -> Self {
        let head = run(
            program(
                "git",
                &["-C", env!("CARGO_MANIFEST_DIR"), "rev-parse", "HEAD"],
            ),
            "",
        );
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            commit: head.ok().out.trim().to_owned(),
            at: since.expect("after 1970").as_secs(),
        }
    }

    /// `run` with commit and time.
    pub fn on(&self, mut run: Value) -> Value {
        run["commit"] = json!(self.commit);
        run["at"] = json!(self.at);
        run
    }

    /// Whether a run belongs to a measurement that goes on now.
    pub fn fits(&self, run: &Value) -> bool {
        let age = run["at"].as_u64().and_then(|at| self.at.checked_sub(at));
        run["commit"] == self.commit.as_str() && age.is_some_and(|age| age < DAY.as_secs())
    }
}

#[test]
fn a_run_of_another_commit_or_day_is_not_taken_up() {
    let stamp = |commit: &str, at| Stamp {
        commit: commit.to_owned(),
        at,
    };
    let real = Stamp::now();
    assert!(real.fits(&real.on(json!({}))));
    let now = stamp("a", 200_000);
    let kept = |commit, at| stamp(commit, at).on(json!({"row": "deleted"}));
    assert!(now.fits(&kept("a", 190_000)));
    assert!(!now.fits(&kept("b", 190_000)));
    assert!(!now.fits(&kept("a", 100_000)));
    assert!(
        !now.fits(&json!({"row": "deleted"})),
        "of before they were noted"
    );
}
