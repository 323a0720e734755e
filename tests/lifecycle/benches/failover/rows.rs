//! The rows: what happens to the primary, and what the figure is held to.

use std::{
    fmt,
    path::Path,
    thread,
    time::{Duration, Instant, SystemTime},
};

use crate::harness::{
    Cluster,
    containers::kill,
    faults::{Cut, Stopped, delete, last, postmaster},
    kubernetes::{get, text},
    namespace, pgo,
    programs::{program, run},
    until,
    until::seen,
    writer::Writer,
};

/// What belongs to every figure.
pub const CONDITIONS: &str = "The client's deadlines for a connection and for a statement are 1 s; kube-proxy gathers changes for 20 ms \
(minSyncPeriod).";

/// How long a node is cut off: longer than everything that follows from it.
const CUT_SECONDS: u64 = 10;

/// How long the API server is stopped.
const STOPPED_SECONDS: u64 = 30;

/// No run may be without writes for longer.
const LIMIT: Duration = Duration::from_secs(60);

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
    /// Whether the former primary's server had ended when the Lease went over, where that is looked at.
    pub fenced: Option<bool>,
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let primary = if self.changed {
            "another primary"
        } else {
            "the same primary"
        };
        write!(f, "{:.0} ms, {primary}", self.pause)?;
        match self.fenced {
            None => Ok(()),
            Some(true) => f.write_str(", the former one ended before"),
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
    fn title(self) -> (&'static str, &'static str) {
        match self {
            Self::Postmaster => ("postmaster killed", "median under 0.5 s, worst under 1 s"),
            Self::Deleted => ("primary pod deleted with force", "worst under 3 s"),
            Self::Partition => (
                "primary's node cut off for 10 s",
                "worst under 6 s, the former primary ended before in each run",
            ),
            Self::Apiserver => (
                "API server stopped for 30 s",
                "no failed write, no failover",
            ),
            Self::Switchover => ("switchover", "worst under 0.5 s"),
        }
    }

    /// Whether the aim is met. A write that fails makes the client connect again, which takes it a pause of its own.
    fn met(self, runs: &[Run], median: f64, worst: f64) -> bool {
        match self {
            Self::Postmaster => median < 500.0 && worst < 1000.0,
            Self::Deleted => worst < 3000.0,
            Self::Partition => worst < 6000.0 && runs.iter().all(|run| run.fenced == Some(true)),
            Self::Apiserver => worst < 1000.0 && runs.iter().all(|run| !run.changed),
            Self::Switchover => worst < 500.0,
        }
    }

    /// Its line of the table.
    pub fn figure(self, runs: &[Run], missing: usize) -> String {
        let mut pauses: Vec<f64> = runs.iter().map(|run| run.pause).collect();
        pauses.sort_by(f64::total_cmp);
        let (median, worst) = (pauses[pauses.len() / 2], pauses[pauses.len() - 1]);
        let (what, aim) = self.title();
        let changed = runs.iter().filter(|run| run.changed).count();
        let met = if self.met(runs, median, worst) {
            "yes"
        } else {
            "no"
        };
        format!(
            "| {what}: longest pause between two acknowledged writes, {} runs | {aim} | median {:.2} s, worst {:.2} s; another \
             primary in {changed}; {missing} acknowledged rows missing | {met} |\n",
            runs.len(),
            median / 1000.0,
            worst / 1000.0,
        )
    }

    /// Once: from a state in which all is well to the next one.
    pub fn measure(self, cluster: &Cluster, client: &Writer) -> Run {
        cluster.until_all_stream("the run before");
        let (before, replicas) = cluster.roles();
        let begun = Instant::now();
        let fenced = self.happen(cluster, &before, &replicas[0]);
        let ended = Instant::now();
        until("a write", LIMIT, || {
            seen(client.wrote_since(ended), || {
                format!("{} rows tried", client.notes().tried)
            })
        });
        cluster.until_all_stream(self.name());
        let pause = client.notes().longest_pause(begun).as_secs_f64() * 1000.0;
        let changed = cluster.roles().0 != before;
        Run {
            pause,
            changed,
            fenced,
        }
    }

    /// Lets it happen, and waits until it is over.
    fn happen(self, cluster: &Cluster, primary: &str, replica: &str) -> Option<bool> {
        let pod = get("pod", primary, &namespace()).expect("the primary's pod");
        match self {
            Self::Postmaster => kill(postmaster(&pod).expect("the postmaster")),
            Self::Deleted => delete(&pod, &["--force", "--grace-period=0"]),
            Self::Partition => {
                let server = postmaster(&pod).expect("the postmaster");
                let cut = Cut::begin(&text(&pod, "/spec/nodeName"));
                let end = end_of(server);
                last(CUT_SECONDS);
                drop(cut);
                return Some(
                    end.join()
                        .expect("it looks")
                        .is_some_and(|end| end < taken_over(cluster)),
                );
            }
            Self::Apiserver => {
                let stopped = Stopped::of_kubernetes("apiserver");
                last(STOPPED_SECONDS);
                drop(stopped);
            }
            Self::Switchover => {
                let target = format!("--target={replica}");
                pgo(&[
                    "failover",
                    &cluster.name,
                    &target,
                    "--planned",
                    "--no-prompt",
                ])
                .ok();
                until("the switchover", LIMIT, || {
                    let (primary, _) = cluster.roles();
                    seen(primary == replica, || format!("{primary} is primary"))
                });
            }
        }
        None
    }
}

/// Looks in the background when a process ends; gives up when a cut is over.
fn end_of(process: u32) -> thread::JoinHandle<Option<SystemTime>> {
    let begun = Instant::now();
    thread::spawn(move || {
        while begun.elapsed() < Duration::from_secs(CUT_SECONDS) {
            if !Path::new(&format!("/proc/{process}")).exists() {
                return Some(SystemTime::now());
            }
            thread::sleep(Duration::from_millis(2));
        }
        None
    })
}

/// When the Lease went over to who holds it.
fn taken_over(cluster: &Cluster) -> SystemTime {
    let lease = get("lease", &cluster.name, &namespace()).expect("it is there");
    let time = text(&lease, "/spec/acquireTime");
    // date reads what Kubernetes writes.
    let seconds = run(program("date", &["+%s.%N", "--date", &time]), "").ok();
    let seconds: f64 = seconds.out.trim().parse().expect("seconds");
    SystemTime::UNIX_EPOCH + Duration::from_secs_f64(seconds)
}
