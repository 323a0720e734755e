//! Versions of PostgreSQL, as far as they matter to an upgrade (documentation, "Versioning Policy").

use std::fmt;

/// A version: the major one decides whether data can be used, the minor one is newer or older.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MinorVersion {
    /// `15` of `15.20`, `9.6` of `9.6.24`.
    major: (u32, u32),
    minor: u32,
}

impl MinorVersion {
    /// Reads the number at the beginning of what a server or a program says; none where there is none, or where it is of a
    /// version before its release (`18beta1`), whose data no other can use.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let number = text.split_whitespace().next()?;
        let parts = number.split('.').map(str::parse::<u32>);
        let parts: Vec<u32> = parts.collect::<Result<_, _>>().ok()?;
        // From 10 on the major version is the first number alone.
        let (major, minor) = match parts[..] {
            [major, minor] if major >= 10 => ((major, 0), minor),
            [first, second, minor] if first < 10 => ((first, second), minor),
            _ => return None,
        };
        Some(Self { major, minor })
    }

    /// The major version, as `PG_VERSION` of a data directory has it.
    #[must_use]
    pub fn series(&self) -> String {
        match self.major {
            (major, 0) if major >= 10 => major.to_string(),
            (first, second) => format!("{first}.{second}"),
        }
    }

    /// Whether data of one can be used by the other.
    #[must_use]
    pub fn is_of_series(&self, other: &Self) -> bool {
        self.major == other.major
    }
}

impl fmt::Display for MinorVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.series(), self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> MinorVersion {
        MinorVersion::read(text).expect("a version")
    }

    #[test]
    fn minors_are_numbers_and_majors_are_not_compared() {
        assert!(version("15.9") < version("15.20"));
        assert!(version("15.9").is_of_series(&version("15.20")));
        assert!(!version("15.20").is_of_series(&version("16.1")));
        assert!(!version("9.5.1").is_of_series(&version("9.6.1")));
        assert!(version("9.6.9") < version("9.6.24"));
        assert_eq!(version("15.20 (Debian 15.20-1)").to_string(), "15.20");
        assert_eq!(version("9.6.24").to_string(), "9.6.24");
    }

    #[test]
    fn what_was_never_released_is_no_version() {
        for text in ["", "18beta1", "19devel", "15", "9.6", "15.x", "postgres"] {
            assert_eq!(MinorVersion::read(text), None, "{text}");
        }
    }
}
