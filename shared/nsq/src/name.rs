//! Names of topics and channels. One that exists is valid.

use std::{fmt, str::FromStr, sync::Arc};

/// Ends the name of a topic or channel that lives only as long as somebody uses it.
const EPHEMERAL: &str = "#ephemeral";

/// nsqd's limit, the suffix `#ephemeral` included.
const MAX_LENGTH: usize = 64;

/// Why a text is not the name of a topic or channel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing there, or nothing before `#ephemeral`.
    #[error("name {0:?} is empty; give 1 to 64 characters")]
    Empty(String),
    /// Longer than nsqd takes.
    #[error("name {name:?} has {length} bytes; at most 64 are possible, \"#ephemeral\" included")]
    TooLong {
        /// The name as given.
        name: String,
        /// Its length in bytes.
        length: usize,
    },
    /// A character that nsqd does not take.
    #[error(
        "name {name:?} has {character:?}; use a-z, A-Z, 0-9, '.', '_', '-', and \"#ephemeral\" only at the end"
    )]
    Character {
        /// The name as given.
        name: String,
        /// The first character that is not possible.
        character: char,
    },
}

fn check(name: &str) -> Result<(), NameError> {
    let stem = name.strip_suffix(EPHEMERAL).unwrap_or(name);
    if stem.is_empty() {
        return Err(NameError::Empty(name.to_owned()));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if let Some(character) = stem.chars().find(|c| !allowed(*c)) {
        return Err(NameError::Character {
            name: name.to_owned(),
            character,
        });
    }
    if name.len() > MAX_LENGTH {
        return Err(NameError::TooLong {
            name: name.to_owned(),
            length: name.len(),
        });
    }
    Ok(())
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        ///
        /// 1 to 64 of `a-z A-Z 0-9 . _ -`, with `#ephemeral` at the end where wanted. Cheap to clone.
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(Arc<str>);

        impl $type {
            /// Checks a text and makes a name of it.
            ///
            /// # Errors
            ///
            /// [`NameError`] says what nsqd would not take.
            pub fn new(name: &str) -> Result<Self, NameError> {
                check(name)?;
                Ok(Self(name.into()))
            }

            /// The name as it goes over the wire.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Whether nsqd keeps it in memory only and deletes it when the last user is gone.
            pub fn is_ephemeral(&self) -> bool {
                self.0.ends_with(EPHEMERAL)
            }
        }

        impl FromStr for $type {
            type Err = NameError;

            fn from_str(name: &str) -> Result<Self, NameError> {
                Self::new(name)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// Name of a topic: the stream that is published to.
    TopicName
}

name! {
    /// Name of a channel: one copy of a topic, shared among those who subscribe to it.
    ChannelName
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_name_of_allowed_characters_is_taken(name in "[.a-zA-Z0-9_-]{1,54}(#ephemeral)?") {
            let topic: TopicName = name.parse().unwrap();
            prop_assert_eq!(topic.as_str(), &name);
            prop_assert_eq!(topic.is_ephemeral(), name.ends_with("#ephemeral"));
        }

        #[test]
        fn a_name_that_is_taken_cannot_break_a_command_line(name in ".*") {
            if let Ok(topic) = name.parse::<TopicName>() {
                prop_assert!(!topic.as_str().contains(char::is_whitespace));
                prop_assert!((1..=64).contains(&topic.as_str().len()));
            }
        }
    }

    #[test]
    fn the_suffix_counts_towards_the_length() {
        assert!(ChannelName::new(&("a".repeat(54) + "#ephemeral")).is_ok());
        assert_eq!(
            ChannelName::new(&("a".repeat(55) + "#ephemeral")),
            Err(NameError::TooLong {
                name: "a".repeat(55) + "#ephemeral",
                length: 65
            })
        );
    }

    #[test]
    fn the_suffix_alone_is_no_name() {
        assert!(matches!(
            TopicName::new("#ephemeral"),
            Err(NameError::Empty(_))
        ));
        assert!(matches!(TopicName::new(""), Err(NameError::Empty(_))));
    }

    #[test]
    fn a_wrong_character_is_named() {
        assert_eq!(
            TopicName::new("a#ephemeral#ephemeral"),
            Err(NameError::Character {
                name: "a#ephemeral#ephemeral".to_owned(),
                character: '#'
            })
        );
        assert!(
            TopicName::new("two words")
                .unwrap_err()
                .to_string()
                .contains("' '")
        );
    }
}
