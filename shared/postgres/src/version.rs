//! Versions of PostgreSQL.

use std::{fmt, str::FromStr};

/// A version as `postgres --version` prints it, such as `15.18`, `9.6.24` or `18beta1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    text: String,
    /// Numbers from left to right, for comparison: 15.18 is `[15, 18]`.
    numbers: Vec<u32>,
}

/// Why a text names no version.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "{0:?} tells no version of PostgreSQL; something like \"postgres (PostgreSQL) 15.18\" was expected"
)]
pub struct VersionError(String);

impl FromStr for Version {
    type Err = VersionError;

    /// Reads what `postgres --version` prints, or the version alone.
    fn from_str(text: &str) -> Result<Self, VersionError> {
        let after_name = text
            .split_once("(PostgreSQL)")
            .map_or(text, |(_, rest)| rest);
        let word = after_name.split_whitespace().next().unwrap_or_default();
        // In "18beta1" and "19devel" only what stands before the letters counts.
        let digits: String = word
            .chars()
            .take_while(|c| c.is_ascii_digit() || *c == '.')
            .collect();
        let numbers: Option<Vec<u32>> = digits
            .trim_end_matches('.')
            .split('.')
            .map(|part| part.parse().ok())
            .collect();
        match numbers {
            Some(numbers) => Ok(Self {
                text: word.to_owned(),
                numbers,
            }),
            None => Err(VersionError(text.trim().to_owned())),
        }
    }
}

impl Version {
    /// What a data directory of this version has in its file `PG_VERSION`: `15`, or `9.6` before 10.
    pub fn series(&self) -> String {
        match self.numbers.as_slice() {
            [major, minor, ..] if *major < 10 => format!("{major}.{minor}"),
            [major, ..] => major.to_string(),
            [] => String::new(),
        }
    }

    /// The first number: 15 of 15.18.
    pub fn major(&self) -> u32 {
        self.numbers.first().copied().unwrap_or_default()
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        // A version with letters comes before its release; the text decides among them.
        let released = |version: &Self| {
            version
                .text
                .bytes()
                .all(|b| b.is_ascii_digit() || b == b'.')
        };
        self.numbers
            .cmp(&other.numbers)
            .then_with(|| released(self).cmp(&released(other)))
            .then_with(|| self.text.cmp(&other.text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        text.parse().expect("a version")
    }

    #[test]
    fn what_postgres_prints_is_understood() {
        let debian = version("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n");
        assert_eq!(
            (debian.to_string(), debian.series()),
            ("15.18".to_owned(), "15".to_owned())
        );
        assert_eq!(version("postgres (PostgreSQL) 9.6.24").series(), "9.6");
        assert_eq!(version("postgres (PostgreSQL) 10.10").series(), "10");
        assert_eq!(version("18beta1").series(), "18");
        assert_eq!(version("19devel").major(), 19);
    }

    #[test]
    fn versions_are_ordered_as_they_were_released() {
        let mut versions = ["15.9", "9.6.24", "18beta1", "15.18", "18.0", "18"].map(version);
        versions.sort();
        let texts = versions.map(|version| version.to_string());
        assert_eq!(texts, ["9.6.24", "15.9", "15.18", "18beta1", "18", "18.0"]);
    }

    #[test]
    fn what_tells_no_version_is_shown() {
        let error = "bash: not found"
            .parse::<Version>()
            .expect_err("no version");
        assert!(error.to_string().contains("bash: not found"));
    }
}
