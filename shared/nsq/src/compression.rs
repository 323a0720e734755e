//! Which compression a client asks for.

/// How the bytes of a connection are compressed, both ways. Within TLS where that is used too.
///
/// nsqd grants it unless it was started with `--snappy=false` or `--deflate=false`; then the connection goes on
/// uncompressed, and the log says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// Snappy's framing format: fast, about half the size for text.
    Snappy,
    /// Deflate (RFC 1951): smaller, and several times as much work.
    ///
    /// nsqd cannot write each message at once with it: its compressor holds back what was not flushed. Instead of
    /// [`OutputBuffer::Off`](crate::OutputBuffer::Off) a consumer then asks for the shortest gathering that nsqd has by
    /// default, 25 ms.
    Deflate(DeflateLevel),
}

/// How hard deflate tries: 1 (fast) to 9 (small); 6 unless set. nsqd takes it down to its `--max-deflate-level`, 6 by
/// default, for what it sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeflateLevel(u8);

/// A number that is no [`DeflateLevel`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("deflate level {0}; 1 to 9 are possible")]
pub struct DeflateLevelError(u8);

impl DeflateLevel {
    /// The level as a number.
    pub fn get(self) -> u8 {
        self.0
    }
}

impl Default for DeflateLevel {
    fn default() -> Self {
        Self(6)
    }
}

impl TryFrom<u8> for DeflateLevel {
    type Error = DeflateLevelError;

    fn try_from(level: u8) -> Result<Self, DeflateLevelError> {
        if (1..=9).contains(&level) {
            Ok(Self(level))
        } else {
            Err(DeflateLevelError(level))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_those_of_deflate() {
        let taken: Vec<u8> = (0..=255)
            .filter(|level| DeflateLevel::try_from(*level).is_ok())
            .collect();
        assert_eq!(taken, (1..=9).collect::<Vec<u8>>());
    }
}
