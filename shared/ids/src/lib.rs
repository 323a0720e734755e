//! Names and numbers that identify things, each valid by construction.
//!
//! Nothing here does I/O. A text becomes one of these types only by parsing, and a wrong text gets an error that says
//! where it is wrong and what would be right.

mod name;
mod number;

pub use name::{ClusterName, InstanceName, NameError, Namespace, RoleName, SLOT_PREFIX};
pub use number::{EventKey, OperationId, OperationIdError, Seq, StreamId, StreamIdError, Term};
