//! Dead letters: kept in a file beside the log, until somebody has looked at them.
//!
//! ```text
//! pgo.dead, channel kept ─► keep ─► Letters (redb) ◄─► grpc (list, requeue, delete) ◄─ apiserver ◄─ pgo
//!                                        ├─ bounded: the oldest go
//!                                        ╰─ changed by the replica that leads, which waits for the other ─► copy ─► its Letters
//! ```

pub mod copy;
mod grpc;
mod keep;
mod letters;
mod shelf;

pub use grpc::DeadLetterService;
pub(crate) use keep::count;
pub use keep::keep;
pub use letters::{Error, Letters, Room};
pub use shelf::{ChangeError, Shelf};
