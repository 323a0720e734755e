//! Names that Kubernetes and PostgreSQL will accept.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Why a text is not a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing was given.
    #[error("the name is empty; give 1 to {0} characters")]
    Empty(usize),
    /// More than the object kinds that carry the name can hold.
    #[error("the name has {length} characters; at most {most} are possible")]
    TooLong {
        /// Characters given.
        length: usize,
        /// Characters possible.
        most: usize,
    },
    /// A character that is not possible, or not possible where it stands.
    #[error("the name has {character:?} at position {position}; {rule}")]
    Character {
        /// The character.
        character: char,
        /// Its place, counted from 1.
        position: usize,
        /// What would be right.
        rule: &'static str,
    },
}

/// How the first character of a label may look.
#[derive(Clone, Copy)]
enum First {
    /// A letter: RFC 1035, section 2.3.1.
    Letter,
    /// A letter or a digit: RFC 1123, section 2.1.
    LetterOrDigit,
}

fn check_label(text: &str, most: usize, first: First) -> Result<(), NameError> {
    let length = text.chars().count();
    if length == 0 {
        return Err(NameError::Empty(most));
    }
    let rule = match first {
        First::Letter => {
            "use a-z, 0-9 and '-'; begin with a letter and end with a letter or a digit"
        }
        First::LetterOrDigit => "use a-z, 0-9 and '-'; begin and end with a letter or a digit",
    };
    let fits = |at: usize, c: char| match c {
        'a'..='z' => true,
        '0'..='9' => at > 0 || matches!(first, First::LetterOrDigit),
        '-' => at > 0 && at + 1 < length,
        _ => false,
    };
    if let Some((at, character)) = text.chars().enumerate().find(|(at, c)| !fits(*at, *c)) {
        return Err(NameError::Character {
            character,
            position: at + 1,
            rule,
        });
    }
    if length > most {
        return Err(NameError::TooLong { length, most });
    }
    Ok(())
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $most:expr, $first:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The most characters such a name can have.
            pub const MOST: usize = $most;

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                check_label(text, Self::MOST, $first)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

name!(
    /// Name of a PostgreSQL cluster: a DNS-1035 label, since a Service carries it, short enough that a replica's name
    /// (`-` and four letters more) is one too.
    ClusterName,
    58,
    First::Letter
);
name!(
    /// Name of an instance, and of its Pod and PersistentVolumeClaim: a DNS-1035 label.
    InstanceName,
    63,
    First::Letter
);
name!(
    /// Name of a Kubernetes namespace: a DNS-1123 label.
    Namespace,
    63,
    First::LetterOrDigit
);

impl From<&ClusterName> for InstanceName {
    /// The first instance has the cluster's name, as the first Deployment of a cluster has in 4.1.
    fn from(cluster: &ClusterName) -> Self {
        Self(cluster.0.clone())
    }
}

/// How the names of replication slots of ours begin; others are users' and are left alone.
pub const SLOT_PREFIX: &str = "pgo_";

/// Longest name of a replication slot, in bytes (`NAMEDATALEN` - 1).
const SLOT_LENGTH: usize = 63;

/// Digits of the hash that stands for the end of a name that is too long, and `_` before it.
const SLOT_HASH: usize = 17;

impl InstanceName {
    /// Name of the replication slot that keeps WAL for the instance. Names of instances have no `_`, so different ones have
    /// different slots; the end of one that is too long is replaced by a hash.
    #[must_use]
    pub fn slot(&self) -> String {
        let name = format!("{SLOT_PREFIX}{}", self.0.replace('-', "_"));
        if name.len() <= SLOT_LENGTH {
            return name;
        }
        let hash = fnv1a(name.as_bytes());
        format!("{}_{hash:016x}", &name[..SLOT_LENGTH - SLOT_HASH])
    }
}

/// FNV-1a of 64 bits: the same in every version of PGO, which the standard library's hashes are not.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Name of a PostgreSQL role: 1 to 63 bytes (`NAMEDATALEN` - 1), no NUL, and not beginning with `pg_`, which PostgreSQL
/// keeps for itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RoleName(String);

impl RoleName {
    /// The most bytes a role's name can have.
    pub const MOST: usize = 63;

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RoleName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty(Self::MOST));
        }
        if text.len() > Self::MOST {
            return Err(NameError::TooLong {
                length: text.len(),
                most: Self::MOST,
            });
        }
        if let Some(at) = text.chars().position(|c| c.is_control()) {
            return Err(NameError::Character {
                character: text.chars().nth(at).unwrap_or('\0'),
                position: at + 1,
                rule: "use no control characters",
            });
        }
        if text.starts_with("pg_") {
            return Err(NameError::Character {
                character: '_',
                position: 3,
                rule: "names that begin with pg_ belong to PostgreSQL",
            });
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for RoleName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<RoleName> for String {
    fn from(name: RoleName) -> Self {
        name.0
    }
}

impl fmt::Display for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_name_parses_to_itself(text in "[a-z]([a-z0-9-]{0,40}[a-z0-9])?") {
            prop_assert_eq!(text.parse::<ClusterName>().map(String::from), Ok(text));
        }

        #[test]
        fn no_text_makes_parsing_panic(text in any::<String>()) {
            let _ = text.parse::<ClusterName>();
            let _ = text.parse::<Namespace>();
            let _ = text.parse::<RoleName>();
        }

        #[test]
        fn a_clusters_name_is_an_instances_name(text in "[a-z][a-z0-9]{0,57}") {
            let cluster: ClusterName = text.parse().expect("a cluster's name");
            prop_assert_eq!(text.parse::<InstanceName>(), Ok(InstanceName::from(&cluster)));
            let replica = format!("{text}-abcd").parse::<InstanceName>();
            prop_assert!(replica.is_ok());
        }
    }

    #[test]
    fn a_name_with_a_dot_says_where() {
        let error = "hippo.1".parse::<ClusterName>().expect_err("a dot");
        assert!(error.to_string().contains("'.' at position 6"), "{error}");
    }

    #[test]
    fn a_cluster_begins_with_a_letter_and_a_namespace_need_not() {
        assert!("1a".parse::<ClusterName>().is_err());
        assert!("1a".parse::<Namespace>().is_ok());
    }

    #[test]
    fn a_role_of_postgresql_itself_is_refused() {
        assert!("pg_monitor".parse::<RoleName>().is_err());
        assert!("Ann O'Neil".parse::<RoleName>().is_ok());
    }

    #[test]
    fn each_instance_has_a_slot_of_its_own_with_a_name_that_is_allowed() {
        let slot = |name: &str| name.parse::<InstanceName>().expect("a name").slot();
        assert_eq!(slot("hippo-abcd"), "pgo_hippo_abcd");
        let long = "a".repeat(58);
        let (one, other) = (slot(&format!("{long}-abcd")), slot(&format!("{long}-abce")));
        assert_eq!((one.len(), other.len()), (63, 63));
        assert_ne!(one, other);
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        assert!(one.chars().all(allowed), "{one}");
    }
}
