//! The wire format, without I/O: [`Command`]s go to nsqd, [`Frame`]s come from it.
//!
//! Both directions encode and decode, so that a server for tests can be built of the same parts. Decoding takes whatever
//! bytes there are: it gives `None` until a whole unit is there, and an error (never a panic) for bytes that are none.
//! After an error the stream is out of step and of no more use.
//!
//! ```
//! use bytes::BytesMut;
//! use nsq::codec::{Command, Frame};
//!
//! let mut wire = BytesMut::new();
//! Command::Publish { topic: "orders".parse()?, body: "tea".into() }.encode(&mut wire);
//! assert_eq!(&wire[..], b"PUB orders\n\0\0\0\x03tea");
//!
//! let mut wire = BytesMut::from(&b"\0\0\0\x06\0\0\0\0OK"[..]);
//! assert_eq!(Frame::decode(&mut wire, 1024)?, Some(Frame::Response("OK".into())));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod command;
mod frame;

pub use command::Command;
pub use frame::{Delivery, Frame};

use std::fmt;

use crate::{name::NameError, secret::EmptySecret};

/// The first bytes of a connection: protocol version 2.
pub const MAGIC: &[u8; 4] = b"  V2";
/// The response to a command that was done.
pub const OK: &[u8] = b"OK";
/// The response that nobody asked for; to be answered with [`Command::Nop`].
pub const HEARTBEAT: &[u8] = b"_heartbeat_";
/// The response to [`Command::Close`].
pub const CLOSE_WAIT: &[u8] = b"CLOSE_WAIT";

/// What nsqd knows a message by: 16 bytes of printable ASCII, hexadecimal digits in practice. New with each publish.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId([u8; 16]);

impl MessageId {
    /// The id as it goes over the wire.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl TryFrom<[u8; 16]> for MessageId {
    type Error = CodecError;

    /// A space or a line end in an id would break the command line that answers the message.
    fn try_from(id: [u8; 16]) -> Result<Self, CodecError> {
        if id.iter().all(u8::is_ascii_graphic) {
            Ok(Self(id))
        } else {
            Err(CodecError::MessageId(id.escape_ascii().to_string()))
        }
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0.escape_ascii(), f)
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MessageId({self})")
    }
}

/// Bytes that are not NSQ's protocol.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// A length that cannot be, or beyond what the caller takes.
    #[error("{what} has {size} bytes; {min} to {max} are possible")]
    Size {
        /// Of what.
        what: &'static str,
        /// As announced on the wire.
        size: u64,
        /// The least that makes sense.
        min: u64,
        /// The most that is taken.
        max: u64,
    },
    /// A frame of a kind that the protocol does not have.
    #[error("frame of type {0}; 0, 1 and 2 are known")]
    FrameType(u32),
    /// An id with a byte that is not printable.
    #[error("message id {0:?} is not printable ASCII")]
    MessageId(String),
    /// A command that is not known or has wrong parameters.
    #[error("command {0:?} is not understood")]
    Command(String),
    /// A command with a name that is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A secret of no bytes.
    #[error(transparent)]
    Secret(#[from] EmptySecret),
}

/// The 4 bytes at `at`, big-endian, if they are there.
fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_be_bytes(*four))
}

/// Refuses a size that is not within the bounds.
fn check_size(what: &'static str, size: usize, min: usize, max: usize) -> Result<(), CodecError> {
    if (min..=max).contains(&size) {
        return Ok(());
    }
    Err(CodecError::Size {
        what,
        size: size as u64,
        min: min as u64,
        max: max as u64,
    })
}
