//! The rows: what happens to the primary, and what the figure is held to.

use std::{
    fmt,
    time::{Duration, Instant, SystemTime},
};

use crate::{
    harness::{
        containers::kill,
        faults::{Cut, Stopped, delete, last, postmaster},
        fence::end_of,
        kubernetes::{get, text},
        sql::Database,
        until,
        until::seen,
        writer::{Writer, missing},
    },
    subject::Subject,
};

/// What the client writes before anything happens.
const WARM: Duration = Duration::from_secs(1);

/// How long a node is cut off at least. It comes back once writes have, so that nothing that follows is cut short.
const CUT_SECONDS: u64 = 10;

/// How long the API server is stopped.
const STOPPED_SECONDS: u64 = 30;

/// No run may be without writes for longer.
const LIMIT: Duration = Duration::from_secs(120);

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Row {
    Postmaster,
    Deleted,
    Partition,
    Apiserver,
    Switchover,
}

/// One run.
#[derive(Clone, Debug)]
pub struct Run {
    /// The longest pause between two acknowledged rows, in milliseconds.
    pub pause: f64,
    /// Another instance is primary.
    pub changed: bool,
    /// Whether the former primary had stopped when another one was made primary, where that is looked at.
    pub fenced: Option<bool>,
    /// Rows that were acknowledged and are not there.
    pub missing: u64,
    /// Writes that were not acknowledged, from then on until all was well again.
    pub failed: u64,
}

/// The former primary, where it cannot be reached.
enum Former {
    NotLookedAt,
    Stopped(SystemTime),
    Runs,
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let primary = if self.changed {
            "another primary"
        } else {
            "the same primary"
        };
        write!(
            f,
            "{:.0} ms, {primary}, {} writes failed, {} rows missing",
            self.pause, self.failed, self.missing
        )?;
        match self.fenced {
            None => Ok(()),
            Some(true) => f.write_str(", the former one had stopped before"),
            Some(false) => f.write_str(", the former one still ran"),
        }
    }
}

impl Row {
    pub const ALL: [Self; 5] = [
        Self::Postmaster,
        Self::Deleted,
        Self::Partition,
        Self::Apiserver,
        Self::Switchover,
    ];

    /// Its name for `ROW`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Postmaster => "postmaster",
            Self::Deleted => "deleted",
            Self::Partition => "partition",
            Self::Apiserver => "apiserver",
            Self::Switchover => "switchover",
        }
    }

    /// Figure and aim, as they stand in the table.
    pub fn title(self) -> (&'static str, &'static str) {
        match self {
            Self::Postmaster => ("postmaster killed", "median under 0.5 s, worst under 1 s"),
            Self::Deleted => ("primary pod deleted with force", "worst under 3 s"),
            Self::Partition => (
                "primary's node cut off until writes are back, for 10 s at least",
                "worst under 6 s, the former primary had stopped before in each run",
            ),
            Self::Apiserver => (
                "API server stopped for 30 s",
                "no failed write, no failover",
            ),
            Self::Switchover => ("switchover", "worst under 0.5 s"),
        }
    }

    /// Whether the aim is met.
    pub fn met(self, runs: &[Run], median: f64, worst: f64) -> bool {
        match self {
            Self::Postmaster => median < 500.0 && worst < 1000.0,
            Self::Deleted => worst < 3000.0,
            Self::Partition => worst < 6000.0 && runs.iter().all(|run| run.fenced == Some(true)),
            Self::Apiserver => runs.iter().all(|run| run.failed == 0 && !run.changed),
            Self::Switchover => worst < 500.0,
        }
    }

    /// Once: from a state in which all is well to the next one.
    pub fn measure(self, subject: &dyn Subject) -> Run {
        subject.until_all_stream("the run before");
        let database = subject.database();
        forget_rows(&database);
        let client = Writer::begin(database.clone());
        until_written(&client, Instant::now() + WARM);
        let (before, replicas) = subject.roles();
        let (begun, failed_before) = (Instant::now(), client.notes().failed);
        let former = self.happen(subject, &client, &before, &replicas[0]);
        until_written(&client, Instant::now());
        subject.until_all_stream(self.name());
        let pause = client.notes().longest_pause(begun);
        let notes = client.end();
        Run {
            pause: pause.as_secs_f64() * 1000.0,
            changed: subject.roles().0 != before,
            fenced: match former {
                Former::NotLookedAt => None,
                Former::Stopped(end) => Some(end < subject.promoted()),
                Former::Runs => Some(false),
            },
            missing: missing(database, &notes).len() as u64,
            failed: notes.failed - failed_before,
        }
    }

    /// Lets it happen, and waits until it is over.
    fn happen(
        self,
        subject: &dyn Subject,
        client: &Writer,
        primary: &str,
        replica: &str,
    ) -> Former {
        let pod = get("pod", primary, &subject.namespace()).expect("the primary's pod");
        match self {
            Self::Postmaster => kill(postmaster(&pod).expect("the postmaster")),
            Self::Deleted => delete(&pod, &["--force", "--grace-period=0"]),
            Self::Partition => {
                let server = postmaster(&pod).expect("the postmaster");
                let cut = Cut::begin(&text(&pod, "/spec/nodeName"));
                let begun = Instant::now();
                let end = end_of(server, LIMIT);
                last(Duration::from_secs(CUT_SECONDS));
                until_written(client, begun + Duration::from_secs(1));
                let former = end.get().copied();
                drop(cut);
                return former.map_or(Former::Runs, Former::Stopped);
            }
            Self::Apiserver => {
                let stopped = Stopped::of_kubernetes("apiserver");
                last(Duration::from_secs(STOPPED_SECONDS));
                drop(stopped);
            }
            Self::Switchover => subject.switch_over(primary, replica),
        }
        Former::NotLookedAt
    }
}

/// A table of its own for each run: the last one's rows are not looked through again. A node that was cut off leads clients
/// where it led them before, until its kube-proxy has heard of the change.
fn forget_rows(database: &Database) {
    until("the Service to lead to the primary", LIMIT, || {
        let dropped = database.psql("DROP TABLE IF EXISTS numbered");
        seen(dropped.status.success(), || dropped.err.clone())
    });
}

/// Waits until something is acknowledged that was begun after this moment.
fn until_written(client: &Writer, moment: Instant) {
    until("a write", LIMIT, || {
        seen(client.wrote_since(moment), || {
            format!("{} rows tried", client.notes().tried)
        })
    });
}
