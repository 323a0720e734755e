//! Dead letters: kept in a file beside the log, until somebody has looked at them.
//!
//! ```text
//! pgo.dead, channel kept ─► keep ─► Letters (redb) ◄─► grpc (list, requeue, delete) ◄─ apiserver ◄─ pgo
//!                                        ╰─ bounded: the oldest go
//! ```

mod grpc;
mod keep;
mod letters;

pub(crate) use grpc::DECIDES;
pub use grpc::DeadLetterService;
pub use keep::keep;
pub use letters::{Error, Letters, Room, Shelf};
