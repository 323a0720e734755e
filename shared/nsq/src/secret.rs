//! What a client proves its identity with.

use std::{fmt, sync::Arc};

/// The secret that nsqd passes to its authentication service (`AUTH`). It is shown by no `Debug` and in no log of this
/// crate.
///
/// It goes over the wire as it is: use it with [TLS](crate::Server::with_tls).
///
/// ```
/// let secret = nsq::Secret::new("correct horse")?;
/// assert_eq!(format!("{secret:?}"), "Secret(..)");
/// # Ok::<(), nsq::EmptySecret>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<[u8]>);

/// A secret of no bytes, which nsqd refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the secret is empty; give at least one byte")]
pub struct EmptySecret;

impl Secret {
    /// Takes any bytes but none at all.
    ///
    /// # Errors
    ///
    /// [`EmptySecret`].
    pub fn new(secret: impl AsRef<[u8]>) -> Result<Self, EmptySecret> {
        match secret.as_ref() {
            [] => Err(EmptySecret),
            bytes => Ok(Self(bytes.into())),
        }
    }

    /// The secret itself. Named so that its uses are easily found.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}
