//! Options that a user gives to pgBackRest's `restore`, and what they make the target of the recovery.
//!
//! Lists and values are 4.1's, and `lsn`, which its pgBackRest did not have. What PGO decides itself is refused: it pauses at
//! the target, looks, and promotes there.

use core::fmt;

use jiff::{Timestamp, civil::DateTime};

use crate::{
    backup::{Place, options::is_denied},
    options::{Given, OptionsError, Table, Takes},
};

const LOG_LEVELS: Takes = Takes::Word(
    &["off", "error", "warn", "info", "detail", "debug", "trace"],
    "Invalid log level for pgBackRest restore",
);

/// The options that users may give.
const ALLOWED: [(&str, Takes); 25] = [
    ("db-include", Takes::Texts),
    ("force", Takes::Flag),
    ("recovery-option", Takes::Texts),
    ("set", Takes::Text),
    ("target", Takes::Text),
    (
        "target-action",
        Takes::Word(
            &["pause", "promote", "shutdown"],
            "Invalid target action provided for pgBackRest restore",
        ),
    ),
    ("target-exclusive", Takes::Flag),
    ("no-target-exclusive", Takes::Flag),
    ("target-timeline", Takes::Text),
    (
        TYPE,
        Takes::Word(
            &[
                "default",
                "immediate",
                "name",
                "xid",
                "time",
                "lsn",
                "preserve",
                "none",
            ],
            "Invalid type provided for pgBackRest restore",
        ),
    ),
    ("buffer-size", Takes::Text),
    ("compress", Takes::Flag),
    ("no-compress", Takes::Flag),
    (
        "compress-level",
        Takes::Level("Invalid compress level for pgBackRest restore"),
    ),
    (
        "compress-level-network",
        Takes::Level("Invalid network compress level for pgBackRest restore"),
    ),
    ("db-timeout", Takes::Number),
    ("delta", Takes::Flag),
    ("no-delta", Takes::Flag),
    ("process-max", Takes::Number),
    ("protocol-timeout", Takes::Number),
    ("log-level-console", LOG_LEVELS),
    ("log-level-file", LOG_LEVELS),
    ("log-level-stderr", LOG_LEVELS),
    ("log-subprocess", Takes::Flag),
    ("no-log-subprocess", Takes::Flag),
];

/// Those of them that are not handed on: the agent reads how far pgBackRest is from what that says, so it sets what is said, and
/// the others are none of its restore, which asks no database and compresses nothing.
const NOT_HANDED_ON: [&str; 6] = [
    "log-level-console",
    "log-level-stderr",
    "db-timeout",
    "compress",
    "no-compress",
    "compress-level",
];

/// What users may give to `pgbackrest restore`.
static TABLE: Table = Table {
    allowed: &[&ALLOWED],
    letters: &[],
    denied: is_denied,
    denied_letters: "",
};

const TYPE: &str = "type";
const TARGET: &str = "target";

/// The types that are about a place that the user names.
const TO_A_TARGET: [&str; 4] = ["time", "xid", "name", "lsn"];

/// What 4.1 allows and PGO does itself or cannot do, with the reason.
const OURS: [(&str, &str); 4] = [
    (
        "recovery-option",
        "PGO sets PostgreSQL's recovery settings itself",
    ),
    (
        "db-include",
        "a restore of some databases leaves the others broken, and the cluster would go on with them",
    ),
    (
        "force",
        "the data is restored to a volume of its own, where nothing is overwritten",
    ),
    (
        "delta",
        "PGO chooses it: a copy that was broken off goes on where it was",
    ),
];

/// Options for a restore by pgBackRest, each of them allowed, with values that fit and fit each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RestoreOptions {
    given: Given,
    place: Option<Place>,
}

fn refuse<T>(why: impl Into<String>) -> Result<T, OptionsError> {
    Err(OptionsError::Together(why.into()))
}

impl RestoreOptions {
    /// Reads what a user wrote, `--type=xid --target=731`, and 4.1's target of a point in time, which may be empty. A target
    /// that is a time means `--type=time`; a time without a zone is UTC.
    ///
    /// # Errors
    /// The first that cannot be used, or does not go with another one.
    pub fn parse(text: &str, target: &str) -> Result<Self, OptionsError> {
        let mut options = Given::parse(text, &TABLE)?;
        for (name, why) in OURS {
            if options.has(name) {
                return refuse(format!(
                    "Flag --{name} is not supported for use with PGO: {why}"
                ));
            }
        }
        // It is what PGO does.
        options.drop("no-delta");
        options.drop_all(&NOT_HANDED_ON);
        match options.value("target-action") {
            None | Some("promote") => options.drop("target-action"),
            Some(other) => {
                return refuse(format!(
                    "--target-action={other} is not supported for use with PGO: the cluster takes writes from the target on"
                ));
            }
        }
        let target = target.trim();
        if !target.is_empty() {
            if options.has(TARGET) {
                return refuse(
                    "the target is given twice: by --pitr-target and by --target in the options",
                );
            }
            options.set((TARGET, Takes::Text), &TABLE, Some(target.to_owned()));
        }
        let mut options = Self {
            given: options,
            place: None,
        };
        options.settle_target()?;
        Ok(options)
    }

    /// Whether type and target go together; what the target means where that is not said.
    fn settle_target(&mut self) -> Result<(), OptionsError> {
        let Self { given: options, .. } = self;
        let target = options.value(TARGET).map(str::to_owned);
        let kind = options.value(TYPE).map(str::to_owned);
        match (kind.as_deref(), target) {
            (Some(kind @ ("preserve" | "none")), _) => {
                return refuse(format!(
                    "--type={kind} is not supported for use with PGO: without recovery a copy is no database that can be used"
                ));
            }
            (Some(kind), None) if TO_A_TARGET.contains(&kind) => {
                return refuse(format!(
                    "--type={kind} needs a target: give --pitr-target, or --target in the options"
                ));
            }
            (Some(kind), Some(_)) if !TO_A_TARGET.contains(&kind) => {
                return refuse(format!("--type={kind} takes no target"));
            }
            (Some("time") | None, Some(target)) => match with_zone(&target) {
                Some(target) => {
                    options.set((TYPE, Takes::Text), &TABLE, Some("time".to_owned()));
                    options.set((TARGET, Takes::Text), &TABLE, Some(target));
                }
                None => {
                    return refuse(format!(
                        "the target {target:?} is no time such as \"2026-10-15 10:11:12+00\"; where it is something else, say \
                         so in the options: --type=xid, name or lsn"
                    ));
                }
            },
            _ => {}
        }
        let exclusive = options.has("target-exclusive") || options.has("no-target-exclusive");
        let kind = options.value(TYPE).unwrap_or("default");
        if exclusive && !["time", "xid", "lsn"].contains(&kind) {
            return refuse("--target-exclusive goes with --type=time, xid or lsn only");
        }
        Ok(())
    }

    /// The same for a restore from this place alone; with none named the volume counts before S3.
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

    /// Up to where the WAL is replayed, for people.
    #[must_use]
    pub fn target(&self) -> String {
        match (self.given.value(TYPE), self.given.value(TARGET)) {
            (Some("immediate"), _) => "the end of the backup".to_owned(),
            (Some("xid"), Some(target)) => format!("transaction {target}"),
            (Some("name"), Some(target)) => format!("restore point {target}"),
            (Some("lsn"), Some(target)) => format!("LSN {target}"),
            (_, Some(target)) => target.to_owned(),
            (_, None) => "the end of the archive".to_owned(),
        }
    }
}

impl fmt::Display for RestoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.arguments().join(" "))
    }
}

/// A time as it is meant: one without a zone is UTC, whatever zone the database has. None where it is no time.
fn with_zone(text: &str) -> Option<String> {
    if text.parse::<Timestamp>().is_ok() {
        return Some(text.to_owned());
    }
    text.parse::<DateTime>()
        .is_ok()
        .then(|| format!("{text}+00"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::backrest;

    fn arguments(text: &str, target: &str) -> Vec<String> {
        RestoreOptions::parse(text, target)
            .expect("options that can be used")
            .arguments()
    }

    fn refused(text: &str, target: &str) -> String {
        let refused = RestoreOptions::parse(text, target).expect_err("options that cannot be used");
        refused.to_string()
    }

    #[test]
    fn a_time_is_a_target_and_has_a_zone() {
        assert_eq!(arguments("", ""), Vec::<String>::new());
        let time = ["--type=time", "--target=2019-10-15 10:00:00.000000+00"];
        let (said, text) = ("--type=time", "2019-10-15 10:00:00.000000+00");
        assert_eq!(arguments(said, text), time);
        assert_eq!(arguments("", text), time);
        assert_eq!(
            arguments("--target=2019-10-15 10:00:00.000000+00", ""),
            time
        );
        assert_eq!(
            arguments("", "2019-01-01 00:00:00"),
            ["--type=time", "--target=2019-01-01 00:00:00+00"]
        );
        let later = RestoreOptions::parse("", "2019-01-01 00:00:00-08").expect("options");
        assert_eq!(later.target(), "2019-01-01 00:00:00-08");
        let told = refused("", "yesterday");
        assert!(told.contains("is no time such as"), "{told}");
    }

    #[test]
    fn the_program_takes_whatever_is_allowed() {
        // The agent tells PostgreSQL of the target, and pgBackRest nothing.
        let of_the_target = |option: &String| {
            let name = option.trim_start_matches("--").trim_start_matches("no-");
            name.starts_with(TARGET) || name.starts_with(TYPE)
        };
        let mut taken = 0;
        for option in backrest::each(&ALLOWED) {
            let name = option.trim_start_matches("--").split('=').next();
            if of_the_target(&option) || OURS.iter().any(|(ours, _)| Some(*ours) == name) {
                continue;
            }
            backrest::takes("restore", &arguments(&option, ""));
            taken += 1;
        }
        assert_eq!(taken, 15);
    }

    #[test]
    fn other_targets_are_named_by_their_type() {
        for (text, target, told) in [
            ("--type=xid", "731", "transaction 731"),
            ("--type=name --target=before", "", "restore point before"),
            ("--type=lsn", "0/3000148", "LSN 0/3000148"),
            ("--type=immediate", "", "the end of the backup"),
            ("--set=20261015-101112F", "", "the end of the archive"),
        ] {
            let options = RestoreOptions::parse(text, target).expect("options");
            assert_eq!(options.target(), told);
        }
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        for (text, target, part) in [
            ("--type=xid", "", "needs a target"),
            ("--type=immediate", "2019-01-01 00:00:00", "takes no target"),
            ("--type=default", "731", "takes no target"),
            ("--type=none", "", "without recovery"),
            ("--type=nope", "", "Invalid type provided"),
            ("--target=1", "2", "given twice"),
            ("--target-exclusive", "", "goes with"),
            ("--target-action=shutdown", "", "--target-action=shutdown"),
            ("--force", "", "Flag --force is not supported"),
            ("--recovery-option=x=y", "", "Flag --recovery-option"),
            (
                "--stanza=x",
                "",
                "Flag --stanza is not supported for use with PGO",
            ),
            ("--pg1-path=/x", "", "Flag --pg1-path is not supported"),
            ("--compress-level=10", "", "Invalid compress level"),
            ("nonsense", "", "bad flag syntax"),
        ] {
            let told = refused(text, target);
            assert!(told.contains(part), "{text}: {told}");
        }
        assert_eq!(
            arguments("--target-action=promote --no-delta --process-max=4", ""),
            ["--process-max=4"]
        );
    }
}
