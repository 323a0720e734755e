//! Options that a user gives to a program: which there are, which PGO sets itself, and which values fit. Each program has its
//! [`Table`].
//!
//! Texts are 4.1's. What comes out are arguments for the program itself: no shell reads them.

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
    /// The same of one that is written with a letter.
    #[error("Shorthand flag {0} is not supported for use with PGO")]
    DeniedLetter(String),
    /// There is no such option.
    #[error("unknown flag: {0}")]
    Unknown(String),
    /// There is no option of this letter.
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
    /// Values that the program does not take; each in 4.1's words.
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
    /// The same, more than once.
    Words(&'static [&'static str], &'static str),
}

/// Options with what each takes.
pub(crate) type Flags = &'static [(&'static str, Takes)];

/// The options of a command.
pub(crate) struct Table {
    /// Those that users may give; several lists, as commands have some in common.
    pub allowed: &'static [Flags],
    /// The letters that stand for some of them.
    pub letters: &'static [(char, &'static str)],
    /// Whether PGO sets an option itself.
    pub denied: fn(&str) -> bool,
    /// The letters that stand for such.
    pub denied_letters: &'static str,
}

impl Table {
    fn all(&self) -> impl Iterator<Item = (&'static str, Takes)> {
        let lists = self.allowed.iter();
        lists.flat_map(|list| list.iter().copied())
    }

    fn find(&self, name: &str) -> Option<(&'static str, Takes)> {
        self.all().find(|(known, _)| *known == name)
    }

    fn opposite(&self, name: &str) -> Option<&'static str> {
        let wanted = match name.strip_prefix("no-") {
            Some(positive) => positive.to_owned(),
            None => format!("no-{name}"),
        };
        self.find(&wanted).map(|(known, _)| known)
    }
}

/// Options of a command, each of them allowed, with a value that fits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Given(Vec<(&'static str, Option<String>)>);

impl Given {
    /// Reads what a user wrote; nothing is nothing.
    pub(crate) fn parse(text: &str, table: &'static Table) -> Result<Self, OptionsError> {
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
            for (name, takes, value) in read(one, table)? {
                match takes {
                    Takes::Word(words, problem) | Takes::Words(words, problem)
                        if !value.as_deref().is_some_and(|value| words.contains(&value)) =>
                    {
                        wrong.push(problem);
                    }
                    Takes::Level(problem) if !value.as_deref().is_some_and(level) => {
                        wrong.push(problem);
                    }
                    _ => options.set((name, takes), table, value),
                }
            }
        }
        if wrong.is_empty() {
            Ok(options)
        } else {
            Err(OptionsError::Values(wrong))
        }
    }

    /// The arguments for the program.
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
        (name, takes): (&'static str, Takes),
        table: &Table,
        value: Option<String>,
    ) {
        if !matches!(takes, Takes::Texts | Takes::Words(..)) {
            let opposite = table.opposite(name);
            self.0
                .retain(|(known, _)| *known != name && Some(*known) != opposite);
        }
        self.0.push((name, value));
    }

    /// Takes an option back.
    pub(crate) fn drop(&mut self, name: &str) {
        self.0.retain(|(known, _)| *known != name);
    }

    /// Takes several back: those that are allowed, and that the program would refuse or PGO has set already.
    pub(crate) fn drop_all(&mut self, names: &[&str]) {
        self.0.retain(|(known, _)| !names.contains(known));
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
type Read = (&'static str, Takes, Option<String>);

/// An option with its value; several where switches are written as letters together.
fn read(part: &str, table: &Table) -> Result<Vec<Read>, OptionsError> {
    let Some(long) = part.strip_prefix("--") else {
        return letters(part, table);
    };
    let end = long.find(|c: char| c == '=' || c.is_whitespace());
    let (name, rest) = long.split_at(end.unwrap_or(long.len()));
    let flag = format!("--{name}");
    let Some(found) = table.find(name) else {
        return Err(if (table.denied)(name) {
            OptionsError::Denied(flag)
        } else {
            OptionsError::Unknown(flag)
        });
    };
    Ok(vec![with_value(found, rest, &flag, table)?])
}

/// `-Fc`, `-F c`, `-F=c`, or switches: `-aO`.
fn letters(part: &str, table: &Table) -> Result<Vec<Read>, OptionsError> {
    let mut rest = part.strip_prefix('-').unwrap_or(part);
    let mut read = Vec::new();
    loop {
        let letter = rest.chars().next().unwrap_or('-');
        let of = table.letters.iter().find(|(known, _)| *known == letter);
        let Some(found) = of.and_then(|(_, name)| table.find(name)) else {
            return Err(if table.denied_letters.contains(letter) {
                OptionsError::DeniedLetter(format!("-{letter}"))
            } else {
                OptionsError::Shorthand(letter, part.to_owned())
            });
        };
        rest = &rest[letter.len_utf8()..];
        let is_last = rest.is_empty() || rest.starts_with(|c: char| c == '=' || c.is_whitespace());
        let flag = format!("-{letter}");
        if found.1 == Takes::Flag && !is_last {
            read.push((found.0, found.1, None));
            continue;
        }
        let value = match is_last {
            true => rest.to_owned(),
            false => format!("={rest}"),
        };
        read.push(with_value(found, &value, &flag, table)?);
        return Ok(read);
    }
}

/// What is behind the name of an option, `=value` or ` value`, as it takes it.
fn with_value(
    (name, takes): (&'static str, Takes),
    rest: &str,
    flag: &str,
    table: &Table,
) -> Result<Read, OptionsError> {
    if takes == Takes::Flag {
        return Ok((switched(name, (rest, table), flag)?, takes, None));
    }
    let value = rest.strip_prefix('=').unwrap_or(rest).trim();
    if value.is_empty() {
        return Err(OptionsError::NoValue(flag.to_owned()));
    }
    if takes == Takes::Number && value.parse::<u32>().is_err() {
        return Err(OptionsError::Value {
            flag: flag.to_owned(),
            value: value.to_owned(),
            problem: "it is not a number",
        });
    }
    Ok((name, takes, Some(value.to_owned())))
}

/// The option that a switch stands for: itself, or its opposite where it is said not to hold.
fn switched(
    name: &'static str,
    (rest, table): (&str, &Table),
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
        "0" | "f" | "F" | "false" | "FALSE" | "False" => table.opposite(name),
        _ => None,
    }
    .ok_or_else(|| OptionsError::Value {
        flag: flag.to_owned(),
        value: value.to_owned(),
        problem: "it is not true or false",
    })
}

fn level(value: &str) -> bool {
    value.parse::<u8>().is_ok_and(|level| level <= 9)
}

#[cfg(test)]
pub(crate) mod backrest {
    //! What the real pgBackRest says of options.

    use std::process::{Command, Stdio};

    use super::{Flags, Takes};

    /// Each of these options as a user may write it.
    pub(crate) fn each(allowed: Flags) -> Vec<String> {
        let each = allowed.iter().map(|(name, takes)| match (*name, takes) {
            (_, Takes::Flag) => format!("--{name}"),
            // More than the time that a query may take.
            ("protocol-timeout", _) => format!("--{name}=3600"),
            (_, Takes::Number) => format!("--{name}=60"),
            (_, Takes::Level(_)) => format!("--{name}=3"),
            (_, Takes::Text | Takes::Texts) => format!("--{name}=1MiB"),
            (_, Takes::Word(words, _) | Takes::Words(words, _)) => format!("--{name}={}", words[0]),
        });
        each.collect()
    }

    /// How `command` ends with these arguments, beside what PGO's agent gives it, where there is neither a repository nor a
    /// database.
    fn ended(command: &str, arguments: &[String]) -> Option<i32> {
        let nowhere = std::env::temp_dir().join(format!("pgo-options-{}", std::process::id()));
        let at = |option: &str| format!("--{option}={}", nowhere.join(option).display());
        let status = Command::new("pgbackrest")
            .args(["--config=/dev/null", "--stanza=db"])
            .args(["pg1-path", "repo1-path", "lock-path", "log-path"].map(at))
            .args([
                "--log-level-console=off",
                "--log-level-stderr=off",
                "--no-log-timestamp",
            ])
            .args(arguments)
            .arg(command)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status();
        status.expect("pgBackRest runs").code()
    }

    /// The command gets as far with these arguments as without any: none is refused.
    pub(crate) fn takes(command: &str, arguments: &[String]) {
        let without = ended(command, &[]);
        // An option is refused, or one is missing (pgBackRest's sources, "error.yaml").
        assert!(
            ![Some(31), Some(32), Some(37)].contains(&without),
            "{without:?}"
        );
        let with = ended(command, arguments);
        assert_eq!(with, without, "{command} {arguments:?}");
    }
}
