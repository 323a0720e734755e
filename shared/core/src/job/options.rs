//! Options of `pgbench` that users may give: those that change what is measured. Where it connects to, and files, are ours.

use std::fmt;

/// Why options are not taken; 4.1's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PgbenchError(String);

impl fmt::Display for PgbenchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for PgbenchError {}

/// An option: its letter, where it has one, its name, and whether it has a value.
type Known = (Option<char>, &'static str, bool);

/// Those of `pgbench --initialize`.
const INIT: &[Known] = &[
    (Some('I'), "init-steps", true),
    (Some('F'), "fillfactor", true),
    (Some('n'), "no-vacuum", false),
    (Some('q'), "quiet", false),
    (Some('s'), "scale", true),
    (None, "foreign-keys", false),
    (None, "index-tablespace", true),
    (None, "partition-method", true),
    (None, "partitions", true),
    (None, "tablespace", true),
    (None, "unlogged-tables", false),
];

/// Those of a run.
const RUN: &[Known] = &[
    (Some('b'), "builtin", true),
    (Some('c'), "client", true),
    (Some('C'), "connect", false),
    (Some('D'), "define", true),
    (Some('j'), "jobs", true),
    (Some('L'), "latency-limit", true),
    (Some('M'), "protocol", true),
    (Some('n'), "no-vacuum", false),
    (Some('N'), "skip-some-updates", false),
    (Some('r'), "report-per-command", false),
    (Some('R'), "rate", true),
    (Some('s'), "scale", true),
    (Some('S'), "select-only", false),
    (Some('t'), "transactions", true),
    (Some('T'), "time", true),
    (Some('v'), "vacuum-all", false),
    (None, "failures-detailed", false),
    (None, "max-tries", true),
    (None, "random-seed", true),
];

/// What is known to `pgbench` and none of a user's business: where it connects to and as whom, and files.
const OURS: &[Known] = &[
    (Some('d'), "dbname", true),
    (Some('f'), "file", true),
    (Some('h'), "host", true),
    (Some('i'), "initialize", false),
    (Some('l'), "log", false),
    (Some('p'), "port", true),
    (Some('P'), "progress", true),
    (Some('U'), "username", true),
    (Some('V'), "version", false),
    (Some('?'), "help", false),
    (None, "aggregate-interval", true),
    (None, "debug", false),
    (None, "log-prefix", true),
    (None, "progress-timestamp", false),
    (None, "sampling-rate", true),
    (None, "show-script", true),
    (None, "verbose-errors", false),
];

/// Reads options for the initialisation, in one text; gives them as arguments.
///
/// # Errors
/// One is not taken.
pub fn init(text: &str) -> Result<Vec<String>, PgbenchError> {
    parse(text, INIT)
}

/// Reads options for the run, in one text; gives them as arguments.
///
/// # Errors
/// One is not taken.
pub fn run(text: &str) -> Result<Vec<String>, PgbenchError> {
    parse(text, RUN)
}

fn parse(text: &str, known: &[Known]) -> Result<Vec<String>, PgbenchError> {
    let mut words = text.split_whitespace();
    let mut arguments = Vec::new();
    while let Some(word) = words.next() {
        if let Some(long) = word.strip_prefix("--") {
            let (name, value) = match long.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (long, None),
            };
            let found = known.iter().find(|(_, known, _)| *known == name);
            let (_, name, takes) = found.ok_or_else(|| not_long(name))?;
            arguments.push(match (takes, value) {
                (true, Some(value)) => format!("--{name}={value}"),
                (true, None) => format!("--{name}={}", next(&mut words, word)?),
                (false, None) => format!("--{name}"),
                (false, Some(_)) => return Err(PgbenchError(format!("--{name} has no value"))),
            });
            continue;
        }
        let letters = word.strip_prefix('-').filter(|letters| !letters.is_empty());
        let letters = letters
            .ok_or_else(|| PgbenchError(format!("{word:?} is no option; each begins with -")))?;
        for (at, letter) in letters.char_indices() {
            let found = known.iter().find(|(known, ..)| *known == Some(letter));
            let (_, name, takes) = found.ok_or_else(|| not_letter(letter, word))?;
            if !takes {
                arguments.push(format!("--{name}"));
                continue;
            }
            let value = match &letters[at + letter.len_utf8()..] {
                "" => next(&mut words, word)?,
                value => value,
            };
            arguments.push(format!("--{name}={value}"));
            break;
        }
    }
    Ok(arguments)
}

fn next<'a>(
    words: &mut impl Iterator<Item = &'a str>,
    option: &str,
) -> Result<&'a str, PgbenchError> {
    words
        .next()
        .ok_or_else(|| PgbenchError(format!("flag needs an argument: {option}")))
}

fn not_long(name: &str) -> PgbenchError {
    let is_known = [OURS, INIT, RUN]
        .concat()
        .iter()
        .any(|(_, known, _)| *known == name);
    PgbenchError(match is_known {
        true => format!("Flag --{name} is not supported for use with PGO"),
        false => format!("unknown flag: --{name}"),
    })
}

fn not_letter(letter: char, word: &str) -> PgbenchError {
    let is_known = [OURS, INIT, RUN]
        .concat()
        .iter()
        .any(|(known, ..)| *known == Some(letter));
    PgbenchError(match is_known {
        true => format!("Shorthand flag -{letter} is not supported for use with PGO"),
        false => format!("unknown shorthand flag: '{letter}' in {word}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_become_arguments_by_their_long_names() {
        assert_eq!(
            run("-M prepared -SnT30 --rate=5 --max-tries 3").expect("options"),
            [
                "--protocol=prepared",
                "--select-only",
                "--no-vacuum",
                "--time=30",
                "--rate=5",
                "--max-tries=3"
            ]
        );
        assert_eq!(
            init("-F 90 --foreign-keys").expect("options"),
            ["--fillfactor=90", "--foreign-keys"]
        );
        assert_eq!(run("  ").expect("none"), [""; 0]);
    }

    #[test]
    fn where_it_connects_and_files_are_not_for_users() {
        for (text, why) in [
            (
                "--host=evil",
                "Flag --host is not supported for use with PGO",
            ),
            (
                "-h evil",
                "Shorthand flag -h is not supported for use with PGO",
            ),
            (
                "-Sf/etc/passwd",
                "Shorthand flag -f is not supported for use with PGO",
            ),
            (
                "--foreign-keys",
                "Flag --foreign-keys is not supported for use with PGO",
            ),
            ("--frobnicate", "unknown flag: --frobnicate"),
            ("-x", "unknown shorthand flag: 'x' in -x"),
            ("--rate", "flag needs an argument: --rate"),
            ("--connect=1", "--connect has no value"),
            ("postgres", "\"postgres\" is no option; each begins with -"),
        ] {
            assert_eq!(run(text).expect_err(text).to_string(), why);
        }
    }
}
