//! Options that a user gives to pgBackRest: which there are, which PGO sets itself, and which values fit; those of `backup`.
//! Those of `restore` are read by the same rules: [`crate::restore::options`].
//!
//! Lists, values and texts are 4.1's. What comes out are arguments for the program itself: no shell reads them.

use core::fmt;

use super::Place;

/// Why options cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// It does not begin like an option.
    #[error("bad flag syntax. Backup options must start with '-' or '--'")]
    NoFlag,
    /// Nothing but dashes and blanks.
    #[error("bad flag syntax. No backup options provided")]
    Nothing,
    /// PGO sets this one.
    #[error("Flag {0} is not supported for use with PGO")]
    Denied(String),
    /// There is no such option.
    #[error("unknown flag: {0}")]
    Unknown(String),
    /// pgBackRest has no short options.
    #[error("unknown shorthand flag: '{0}' in {1}")]
    Shorthand(char, String),
    /// It comes without its value.
    #[error("flag needs an argument: {0}")]
    NoValue(String),
    /// Its value is not of its type.
    #[error("invalid argument {value:?} for {flag:?} flag: {problem}")]
    Value {
        /// The option.
        flag: String,
        /// What it was given.
        value: String,
        /// What would be right.
        problem: &'static str,
    },
    /// A word that belongs to no option.
    #[error("unexpected argument {0:?}; each option begins with '--'")]
    Surplus(String),
    /// Values that pgBackRest does not take; each in 4.1's words.
    #[error("{}", .0.join("\n"))]
    Values(Vec<&'static str>),
    /// Options that do not go together.
    #[error("{0}")]
    Together(String),
}

/// What an option takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    /// Nothing, or whether it holds.
    Flag,
    /// A number.
    Number,
    /// A number from 0 to 9; 4.1's text where it is another.
    Level(&'static str),
    /// Any text.
    Text,
    /// Any text, more than once.
    Texts,
    /// One of these; 4.1's text where it is another.
    Word(&'static [&'static str], &'static str),
}

const LOG_LEVELS: Takes = Takes::Word(
    &["off", "error", "warn", "info", "detail", "debug", "trace"],
    "Invalid log level for pgBackRest backup",
);

/// The options that users may give.
const ALLOWED: [(&str, Takes); 30] = [
    ("archive-copy", Takes::Flag),
    ("no-archive-copy", Takes::Flag),
    ("archive-timeout", Takes::Number),
    ("backup-standby", Takes::Flag),
    ("no-backup-standby", Takes::Flag),
    ("checksum-page", Takes::Flag),
    ("no-checksum-page", Takes::Flag),
    ("exclude", Takes::Texts),
    ("force", Takes::Flag),
    ("manifest-save-threshold", Takes::Text),
    ("resume", Takes::Flag),
    ("no-resume", Takes::Flag),
    ("start-fast", Takes::Flag),
    ("no-start-fast", Takes::Flag),
    ("stop-auto", Takes::Flag),
    ("no-stop-auto", Takes::Flag),
    (
        "type",
        Takes::Word(
            &["full", "diff", "incr"],
            "Invalid type provided for pgBackRest backup",
        ),
    ),
    ("buffer-size", Takes::Text),
    ("compress", Takes::Flag),
    ("no-compress", Takes::Flag),
    (
        "compress-level",
        Takes::Level("Invalid compress level for pgBackRest backup"),
    ),
    (
        "compress-level-network",
        Takes::Level("Invalid network compress level for pgBackRest backup"),
    ),
    ("db-timeout", Takes::Number),
    ("no-delta", Takes::Flag),
    ("process-max", Takes::Number),
    ("protocol-timeout", Takes::Number),
    ("log-level-console", LOG_LEVELS),
    ("log-level-file", LOG_LEVELS),
    ("log-level-stderr", LOG_LEVELS),
    ("log-subprocess", Takes::Flag),
];

/// The options of pgBackRest that PGO sets itself: where data and repository are, and how they are reached.
const DENIED: [&str; 22] = [
    "archive-check",
    "no-archive-check",
    "online",
    "no-online",
    "link-all",
    "link-map",
    "tablespace-map",
    "tablespace-map-all",
    "cmd-ssh",
    "config",
    "config-include-path",
    "config-path",
    "lock-path",
    "neutral-umask",
    "no-neutral-umask",
    "stanza",
    "log-timestamp",
    "repo-cipher-type",
    "repo-path",
    "repo-type",
    "pg-path",
    "pg-port",
];

/// Beginnings of further ones.
const DENIED_KINDS: [&str; 3] = ["repo-host", "repo-s3-", "pg-host"];

/// The options of a command that users may give.
pub(crate) type Allowed = &'static [(&'static str, Takes)];

/// Options of a command, each of them allowed, with a value that fits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Given(Vec<(&'static str, Option<String>)>);

impl Given {
    /// Reads what a user wrote; nothing is nothing.
    pub(crate) fn parse(text: &str, allowed: Allowed) -> Result<Self, OptionsError> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(Self::default());
        }
        if !text.starts_with('-') {
            return Err(OptionsError::NoFlag);
        }
        if text.chars().all(|c| c == '-' || c.is_whitespace()) {
            return Err(OptionsError::Nothing);
        }
        let (mut options, mut wrong) = (Self::default(), Vec::new());
        for one in split(text) {
            let (name, takes, value) = read(one, allowed)?;
            match takes {
                Takes::Word(words, problem)
                    if !value.as_deref().is_some_and(|value| words.contains(&value)) =>
                {
                    wrong.push(problem);
                }
                Takes::Level(problem) if !value.as_deref().is_some_and(level) => {
                    wrong.push(problem);
                }
                _ => options.set(name, (takes, allowed), value),
            }
        }
        if wrong.is_empty() {
            Ok(options)
        } else {
            Err(OptionsError::Values(wrong))
        }
    }

    /// The arguments for pgBackRest.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let arguments = self.0.iter().map(|(name, value)| match value {
            Some(value) => format!("--{name}={value}"),
            None => format!("--{name}"),
        });
        arguments.collect()
    }

    /// Whether an option was given.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| *known == name)
    }

    /// The value of an option, where it was given with one.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        let mut all = self.0.iter();
        all.find(|(known, _)| *known == name)?.1.as_deref()
    }

    /// The last word about an option counts, but for those that can be given more than once.
    pub(crate) fn set(
        &mut self,
        name: &'static str,
        (takes, allowed): (Takes, Allowed),
        value: Option<String>,
    ) {
        if takes != Takes::Texts {
            let opposite = opposite(name, allowed);
            self.0
                .retain(|(known, _)| *known != name && Some(*known) != opposite);
        }
        self.0.push((name, value));
    }

    /// Takes an option back.
    pub(crate) fn drop(&mut self, name: &str) {
        self.0.retain(|(known, _)| *known != name);
    }
}

/// Options for a backup by pgBackRest, each of them allowed, with a value that fits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackupOptions {
    given: Given,
    place: Option<Place>,
}

impl BackupOptions {
    /// Reads what a user wrote, `--type=full --process-max 2`; nothing is nothing.
    ///
    /// # Errors
    /// The first that cannot be used, or all values that do not fit, in 4.1's words.
    pub fn parse(text: &str) -> Result<Self, OptionsError> {
        let given = Given::parse(text, &ALLOWED)?;
        Ok(Self { given, place: None })
    }

    /// The same for a backup in this place alone; in none named it is made wherever the cluster's backups are.
    #[must_use]
    pub fn within(self, place: Option<Place>) -> Self {
        Self { place, ..self }
    }

    /// The arguments for pgBackRest.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let mut arguments = self.given.arguments();
        arguments.extend(self.place.map(Place::argument));
        arguments
    }

    /// The type of the backup, where it is said: `full`, `diff` or `incr`.
    #[must_use]
    pub fn backup_type(&self) -> Option<&str> {
        self.given.value("type")
    }

    /// Whether the data is to come from the primary, also where a replica could give it.
    #[must_use]
    pub fn from_primary(&self) -> bool {
        self.given.has("no-backup-standby")
    }
}

impl fmt::Display for BackupOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.arguments().join(" "))
    }
}

/// The parts of which each begins with a dash, as 4.1 takes them apart: a value may have blanks.
fn split(text: &str) -> impl Iterator<Item = &str> {
    let ends = text.match_indices(" -").map(|(at, _)| at);
    let ends = ends.chain([text.len()]).collect::<Vec<_>>();
    let mut begin = 0;
    ends.into_iter().map(move |end| {
        let part = text[begin..end].trim();
        begin = end;
        part
    })
}

/// An option with its value.
fn read(
    part: &str,
    allowed: Allowed,
) -> Result<(&'static str, Takes, Option<String>), OptionsError> {
    let Some(long) = part.strip_prefix("--") else {
        let letter = part.chars().nth(1).unwrap_or('-');
        return Err(OptionsError::Shorthand(letter, part.to_owned()));
    };
    let end = long.find(|c: char| c == '=' || c.is_whitespace());
    let (name, rest) = long.split_at(end.unwrap_or(long.len()));
    let value = match rest.chars().next() {
        None => None,
        Some('=') => Some(rest[1..].trim()),
        Some(_) => Some(rest.trim()),
    };
    let flag = format!("--{name}");
    let Some((name, takes)) = allowed.iter().find(|(known, _)| *known == name) else {
        return Err(if is_denied(name) {
            OptionsError::Denied(flag)
        } else {
            OptionsError::Unknown(flag)
        });
    };
    if *takes == Takes::Flag {
        return Ok((switched(name, (rest, allowed), &flag)?, *takes, None));
    }
    let value = value.filter(|value| !value.is_empty());
    let value = value.ok_or_else(|| OptionsError::NoValue(flag.clone()))?;
    if *takes == Takes::Number && value.parse::<u32>().is_err() {
        return Err(OptionsError::Value {
            flag,
            value: value.to_owned(),
            problem: "it is not a number",
        });
    }
    Ok((name, *takes, Some(value.to_owned())))
}

/// The option that a switch stands for: itself, or its opposite where it is said not to hold.
fn switched(
    name: &'static str,
    (rest, allowed): (&str, Allowed),
    flag: &str,
) -> Result<&'static str, OptionsError> {
    let Some(value) = rest.strip_prefix('=') else {
        return match rest.trim() {
            "" => Ok(name),
            surplus => Err(OptionsError::Surplus(surplus.to_owned())),
        };
    };
    match value.trim() {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(name),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => opposite(name, allowed),
        _ => None,
    }
    .ok_or_else(|| OptionsError::Value {
        flag: flag.to_owned(),
        value: value.to_owned(),
        problem: "it is not true or false",
    })
}

fn opposite(name: &str, allowed: Allowed) -> Option<&'static str> {
    let wanted = match name.strip_prefix("no-") {
        Some(positive) => positive.to_owned(),
        None => format!("no-{name}"),
    };
    let mut all = allowed.iter().map(|(known, _)| *known);
    all.find(|known| *known == wanted)
}

fn level(value: &str) -> bool {
    value.parse::<u8>().is_ok_and(|level| level <= 9)
}

/// Whether PGO sets this one, whichever repository or database it is of: `repo1-path` is `repo-path`.
fn is_denied(name: &str) -> bool {
    let general = ["repo", "pg"].iter().find_map(|of| {
        let rest = name.strip_prefix(of)?;
        Some(format!(
            "{of}{}",
            rest.trim_start_matches(|c: char| c.is_ascii_digit())
        ))
    });
    let name = general.as_deref().unwrap_or(name);
    DENIED.contains(&name) || DENIED_KINDS.iter().any(|kind| name.starts_with(kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(text: &str) -> Vec<String> {
        BackupOptions::parse(text)
            .expect("options that can be used")
            .arguments()
    }

    fn refused(text: &str) -> String {
        let refused = BackupOptions::parse(text).expect_err("options that cannot be used");
        refused.to_string()
    }

    #[test]
    fn what_is_allowed_becomes_arguments() {
        assert_eq!(arguments("  "), Vec::<String>::new());
        assert_eq!(
            arguments("--type=full --process-max 2 --exclude=a b --exclude=c"),
            [
                "--type=full",
                "--process-max=2",
                "--exclude=a b",
                "--exclude=c"
            ]
        );
        assert_eq!(arguments("--no-resume"), ["--no-resume"]);
        assert_eq!(arguments("--resume=false"), ["--no-resume"]);
        assert_eq!(arguments("--resume=true"), ["--resume"]);
        let full = BackupOptions::parse("--type=full --no-backup-standby").expect("options");
        assert_eq!(
            (full.backup_type(), full.from_primary()),
            (Some("full"), true)
        );
    }

    #[test]
    fn the_last_word_counts() {
        assert_eq!(arguments("--type=full --type=diff"), ["--type=diff"]);
        assert_eq!(arguments("--resume --no-resume"), ["--no-resume"]);
    }

    #[test]
    fn refusals_have_the_texts_of_4_1() {
        for (text, told) in [
            (
                "nonsense",
                "bad flag syntax. Backup options must start with '-' or '--'",
            ),
            ("-- -", "bad flag syntax. No backup options provided"),
            ("--type=nope", "Invalid type provided for pgBackRest backup"),
            (
                "--compress-level=10 --log-level-file=loud",
                "Invalid compress level for pgBackRest backup\nInvalid log level for pgBackRest backup",
            ),
            (
                "--stanza=x",
                "Flag --stanza is not supported for use with PGO",
            ),
            (
                "--repo1-path=/x",
                "Flag --repo1-path is not supported for use with PGO",
            ),
            (
                "--pg2-host=x",
                "Flag --pg2-host is not supported for use with PGO",
            ),
            (
                "--repo1-s3-key=x",
                "Flag --repo1-s3-key is not supported for use with PGO",
            ),
            (
                "--repo1-retention-full=1",
                "unknown flag: --repo1-retention-full",
            ),
            ("-x", "unknown shorthand flag: 'x' in -x"),
            ("--type", "flag needs an argument: --type"),
        ] {
            assert_eq!(refused(text), told);
        }
    }

    #[test]
    fn nothing_but_options_is_taken() {
        assert_eq!(
            refused("--force now"),
            "unexpected argument \"now\"; each option begins with '--'"
        );
        assert_eq!(
            refused("--process-max=many"),
            "invalid argument \"many\" for \"--process-max\" flag: it is not a number"
        );
        assert_eq!(
            refused("--resume=maybe"),
            "invalid argument \"maybe\" for \"--resume\" flag: it is not true or false"
        );
        assert_eq!(
            refused("--type=full diff"),
            "Invalid type provided for pgBackRest backup"
        );
    }
}
