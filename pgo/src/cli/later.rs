//! Commands and flags of 4.1 that come later: recognised, and answered clearly.
//!
//! Everything that is not there yet is a row here. Taking a row away, and giving the command or flag a meaning, is how
//! it arrives.

use clap::{Arg, ArgAction, ArgMatches, Command};

/// Commands by their path; a command comes before those below it.
const COMMANDS: &[&str] = &[
    "create namespace",
    "create pgbouncer",
    "create pgorole",
    "create pgouser",
    "create pgpool",
    "create user",
    "delete label",
    "delete namespace",
    "delete pgbouncer",
    "delete pgorole",
    "delete pgouser",
    "delete pgpool",
    "delete user",
    "label",
    "show config",
    "show namespace",
    "show pgorole",
    "show pgouser",
    "show pvc",
    "show user",
    "update namespace",
    "update pgorole",
    "update pgouser",
    "update user",
];

/// What a flag takes, and so with which value it asks for nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    /// Nothing, or a boolean; `false` asks for nothing.
    Switch,
    /// A text; the empty one asks for nothing.
    Text,
}

/// A flag of a command that works.
struct Flag {
    command: &'static str,
    name: &'static str,
    takes: Takes,
}

const fn flag(name: &'static str, takes: Takes) -> Flag {
    Flag {
        command: "create cluster",
        name,
        takes,
    }
}

/// Flags; those of which only some values come later say so themselves.
const FLAGS: &[Flag] = &[
    flag("metrics", Takes::Switch),
    flag("pgbadger", Takes::Switch),
    flag("pgbouncer", Takes::Switch),
    flag("pgbouncer-pass", Takes::Text),
    flag("pgpool", Takes::Switch),
    flag("pgpool-secret", Takes::Text),
];

/// Adds what comes later to the tree, hidden from help.
pub fn add(tree: Command) -> Command {
    let tree = COMMANDS.iter().fold(tree, |tree, &path| {
        let (parent, name) = path.rsplit_once(' ').unwrap_or(("", path));
        at(tree, parent, |parent| {
            parent.subcommand(anything(name, path))
        })
    });
    FLAGS.iter().fold(tree, |tree, flag| {
        at(tree, flag.command, |command| command.arg(argument(flag)))
    })
}

/// Changes the command at the end of a path.
fn at(tree: Command, path: &str, change: impl FnOnce(Command) -> Command) -> Command {
    match path.split_once(' ') {
        _ if path.is_empty() => change(tree),
        Some((first, rest)) => tree.mut_subcommand(first, |inner| at(inner, rest, change)),
        None => tree.mut_subcommand(path, change),
    }
}

/// A command that takes any arguments. Its help is its path and no more, by which [`of_help`] knows it.
fn anything(name: &'static str, path: &'static str) -> Command {
    Command::new(name)
        .hide(true)
        .override_help(path)
        .disable_help_flag(true)
        .disable_help_subcommand(true)
        .arg(
            Arg::new("arguments")
                .action(ArgAction::Append)
                .num_args(0..)
                .trailing_var_arg(true)
                .allow_hyphen_values(true),
        )
}

fn argument(flag: &Flag) -> Arg {
    let argument = Arg::new(flag.name).long(flag.name).hide(true);
    match flag.takes {
        Takes::Text => argument,
        Takes::Switch => argument
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .value_parser(|text: &str| super::boolean(text).map(|on| on.to_string())),
    }
}

/// The command whose help this text is, if it comes later: there is no help for it yet.
pub fn of_help(text: &str) -> Option<&'static str> {
    COMMANDS.iter().copied().find(|path| *path == text.trim())
}

/// What of it was asked for: a command's path, or flags.
pub fn wanted(matches: &ArgMatches) -> Vec<String> {
    let mut path = String::new();
    let mut at = matches;
    while let Some((name, inner)) = at.subcommand() {
        if !path.is_empty() {
            path.push(' ');
        }
        path.push_str(name);
        at = inner;
    }
    if COMMANDS.contains(&path.as_str()) {
        return vec![path];
    }
    let flags = FLAGS.iter().filter(|flag| {
        let nothing = match flag.takes {
            Takes::Switch => "false",
            Takes::Text => "",
        };
        flag.command == path
            && at
                .get_one::<String>(flag.name)
                .is_some_and(|value| value != nothing)
    });
    flags.map(|flag| format!("--{}", flag.name)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tree;
    use super::*;

    fn asked(line: &str) -> Vec<String> {
        let matches = tree().try_get_matches_from(line.split(' ')).unwrap();
        wanted(&matches)
    }

    #[test]
    fn every_command_of_4_1_that_is_missing_is_recognised_with_any_arguments() {
        for path in COMMANDS {
            for arguments in ["", " hippo --selector=a=b -s x --no-prompt", " --help"] {
                let line = format!("pgo -n ns {path}{arguments}");
                assert_eq!(asked(&line), [*path], "{line}");
            }
        }
    }

    #[test]
    fn every_flag_that_is_missing_is_recognised() {
        for flag in FLAGS {
            let value = match flag.takes {
                Takes::Switch => String::new(),
                Takes::Text => "=x".to_owned(),
            };
            let line = format!("pgo {} hippo --{}{value}", flag.command, flag.name);
            assert_eq!(asked(&line), [format!("--{}", flag.name)], "{line}");
        }
    }

    #[test]
    fn a_flag_that_asks_for_nothing_is_fine() {
        let line = "pgo create cluster hippo --metrics=false --pgpool=F --pgpool-secret=";
        assert_eq!(asked(line), [""; 0]);
    }

    #[test]
    fn what_works_is_not_later() {
        for line in ["pgo version", "pgo show cluster hippo", "pgo create", "pgo"] {
            assert_eq!(asked(line), [""; 0], "{line}");
        }
    }
}
