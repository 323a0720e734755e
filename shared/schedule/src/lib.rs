//! What a schedule is to those who write it (apiserver), keep it (scheduler) and show it.
//!
//! ```text
//! pgo create schedule ─► apiserver ─► ConfigMap crunchy-scheduler=true ─► scheduler
//! pgo show schedule   ◄─ apiserver ◄─ its annotations                  ◄─ what was run, what comes next
//! ```

pub mod timetable;

pub use timetable::{Timetable, TimetableError};

/// Label of a ConfigMap that is a schedule, as in 4.1; its value is `true`.
pub const SCHEDULER: &str = "crunchy-scheduler";

/// Annotation: the last run that has begun: when it was due, how far it is, its id.
pub const LAST_RUN: &str = "pgo.crunchydata.com/last-run";

/// Annotation: when it is due next.
pub const NEXT_RUN: &str = "pgo.crunchydata.com/next-run";

/// Annotation: the last run that was skipped: its time, a blank, the reason.
pub const LAST_SKIPPED: &str = "pgo.crunchydata.com/last-skipped";

/// Annotation: the last run that nobody was there for: its time, a blank, how many there were.
pub const LAST_MISSED: &str = "pgo.crunchydata.com/last-missed";

/// Annotation: why the schedule cannot be kept.
pub const SCHEDULE_ERROR: &str = "pgo.crunchydata.com/schedule-error";
