//! What is waited for.

/// What is asked for of a cluster that lives, as an operation that is known by its id.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Work {
    Upgrade,
    Restart,
    Backup,
    /// A backup that is restored for trial.
    Drill,
    Restore,
    /// A run of pgbench.
    Benchmark,
    /// A file that is loaded.
    Load,
    /// Another primary.
    Failover,
    /// More replicas.
    Scale,
    /// A replica less.
    ScaleDown,
}

impl Work {
    /// What is said of a cluster for which it was done, and what one failed to do for which it was not.
    pub fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Upgrade => ("upgraded", "be upgraded"),
            Self::Restart => ("restarted", "be restarted"),
            Self::Backup => ("backed up", "be backed up"),
            Self::Drill => ("proven", "be proven"),
            Self::Restore => ("restored", "be restored"),
            Self::Benchmark => ("measured", "be measured"),
            Self::Load => ("loaded", "be loaded"),
            Self::Failover => ("failed over", "get another primary"),
            Self::Scale => ("scaled", "be scaled"),
            Self::ScaleDown => ("scaled down", "be scaled"),
        }
    }
}
