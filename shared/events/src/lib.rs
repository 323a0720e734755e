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
pub mod cloudevent;
mod event;
mod field;
mod outbox;
mod pattern;
mod payload;
pub mod reference;
mod secrecy;
mod topic;
mod watermark;

pub use catalogue::{
    About, EventType, Later, OperationKind, Published, Severity, Stage, UnknownEventType,
    UnknownSeverity,
};
pub use event::{Actor, CAUSE_MOST, DecodeError, Draft, Event, Header, SCHEMA_VERSION, shortened};
pub use field::{Datum, Field, FieldKind, UnknownField, about};
pub use outbox::{Backlog, Eventing, Outbox};
pub use pattern::TypePattern;
pub use payload::Payload;
pub use secrecy::without_secrets;
pub use topic::{Topic, UnknownTopic};
pub use watermark::{Arrival, Watermark};
