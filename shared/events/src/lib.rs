//! Events: what happened to a cluster, as one value that is written with the state it belongs to.
//!
//! ```text
//! Change ──► Draft ──► Outbox::push ──► Event (with key) ──► status write ──► relay ──► event log
//!                                                                               │
//!                         Outbox::confirm ◄────────── watermark of the stream ◄─┘
//! ```
//!
//! Nothing here does I/O, reads a clock or logs.

mod catalogue;
mod event;
mod outbox;
mod topic;
mod watermark;

pub use catalogue::{EventType, Severity, Stage, UnknownEventType};
pub use event::{Actor, CAUSE_MOST, DecodeError, Draft, Event, Header, SCHEMA_VERSION, shortened};
pub use outbox::{Outbox, OutboxFull};
pub use topic::{Topic, UnknownTopic};
pub use watermark::{Arrival, Watermark};
