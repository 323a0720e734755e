//! A place in the log, as readers keep it.

use std::{fmt, str::FromStr};

/// Place of a record: 1 for the first that the log ever had; they are contiguous.
pub type Offset = u64;

/// After which record to read on. To readers it is opaque.
///
/// Offsets of two logs are not to be compared, so a log that is made anew (its volume was lost) gets another epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Which log.
    pub epoch: String,
    /// The record; 0 for "before the first".
    pub offset: Offset,
}

/// A text that is not a cursor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no cursor; give one that came with a record")]
pub struct CursorError(String);

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.epoch, self.offset)
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let parsed = text.split_once(':').and_then(|(epoch, offset)| {
            let known = (1..=64).contains(&epoch.len())
                && epoch.bytes().all(|byte| byte.is_ascii_alphanumeric());
            let digits = !offset.is_empty() && offset.bytes().all(|byte| byte.is_ascii_digit());
            (known && digits).then_some(())?;
            Some(Self {
                epoch: epoch.to_owned(),
                offset: offset.parse().ok()?,
            })
        });
        parsed.ok_or_else(|| CursorError(text.chars().take(80).collect()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_cursor_is_read_as_it_was_written(epoch in "[0-9a-f]{1,64}", offset in any::<u64>()) {
            let cursor = Cursor { epoch, offset };
            prop_assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }

        #[test]
        fn no_text_makes_parsing_panic(text in ".{0,80}") {
            let _ = text.parse::<Cursor>();
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "7",
            "abc:",
            ":7",
            "abc:-1",
            "abc:+1",
            "a/b:1",
            "abc:18446744073709551616",
        ] {
            assert!(text.parse::<Cursor>().is_err(), "{text:?}");
        }
    }
}
