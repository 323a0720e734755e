//! `pgo completion`, and 4.1's variable for the same.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    path::Path,
};

use clap::{Args, ValueEnum, builder::PossibleValuesParser};
use clap_complete::Shell;
use pgo_events::Topic;

use super::Failure;
use crate::output;

/// Print a completion script for a shell
#[derive(Args)]
#[command(
    after_help = "For bash: source <(pgo completion bash)\nFor zsh:  pgo completion zsh > \"${fpath[1]}/_pgo\"\nFor fish: pgo completion fish > ~/.config/fish/completions/pgo.fish"
)]
pub struct Arguments {
    /// Shell to write it for
    shell: Kind,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    Bash,
    Zsh,
    Fish,
}

/// Prints the script.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let shell = match arguments.shell {
        Kind::Bash => Shell::Bash,
        Kind::Zsh => Shell::Zsh,
        Kind::Fish => Shell::Fish,
    };
    output::print(&String::from_utf8_lossy(&script(shell))).map_err(Failure::Output)
}

fn script(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    // Only what works: the scripts would offer what is hidden too.
    let mut available = with_topics(super::available());
    clap_complete::generate(shell, &mut available, "pgo", &mut script);
    if shell == Shell::Fish {
        script.extend(fish_topics().bytes());
    }
    script
}

/// The topics for fish: clap offers there what an option takes, but not what stands without one.
fn fish_topics() -> String {
    let topics = Topic::ALL.map(Topic::as_str).join(" ");
    format!("complete -c pgo -n \"__fish_pgo_using_subcommand watch\" -f -a \"{topics}\"\n")
}

/// The topics where one is to be named. The command line takes others too, for an nsqd that is read directly.
fn with_topics(tree: clap::Command) -> clap::Command {
    let topics = PossibleValuesParser::new(Topic::ALL.map(Topic::as_str));
    tree.mut_subcommand("watch", |watch| {
        // What is changed goes to the end: the clusters after it keep the order.
        let watch = watch.mut_arg("topic", |topic| topic.value_parser(topics));
        watch.mut_arg("clusters", |clusters| clusters)
    })
}

/// Where 4.1 writes the script of bash when this variable is not empty, before it does what was asked.
const VARIABLE: &str = "GENERATE_BASH_COMPLETION";
const PLACE: &str = "/tmp/pgo-bash-completion.out";

/// Does so.
pub fn write_where_4_1_did() -> Result<(), Failure> {
    if std::env::var_os(VARIABLE).is_none_or(|value| value.is_empty()) {
        return Ok(());
    }
    replace(Path::new(PLACE), &script(Shell::Bash)).map_err(|error| {
        Failure::Failed(format!(
            "cannot write {PLACE}, as {VARIABLE} asks for: {error}"
        ))
    })
}

/// Through a new file, so that a link somebody put in a folder open to all is replaced and not followed.
fn replace(place: &Path, content: &[u8]) -> io::Result<()> {
    let new = place.with_extension(format!("{}.new", std::process::id()));
    let mut file = OpenOptions::new().write(true).create_new(true).open(&new)?;
    let written = file
        .write_all(content)
        .and_then(|()| fs::rename(&new, place));
    if written.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_file(&new);
    }
    written
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn scripts_offer_what_works_and_nothing_else() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = String::from_utf8(script(shell)).unwrap();
            let words: HashSet<&str> = script
                .split(|c: char| !c.is_alphanumeric() && c != '-')
                .map(|word| word.trim_start_matches('-'))
                .collect();
            for there in [
                "watch",
                "resources-config",
                "namespace",
                "delete-data",
                "scaledown",
                "failover",
                "planned",
                "alltopic",
                "pgousertopic",
            ] {
                assert!(words.contains(there), "{shell}: {there}");
            }
            // The condition of what is added for fish is one of those that the script defines.
            if shell == Shell::Fish {
                assert!(script.contains("function __fish_pgo_using_subcommand"));
                assert!(script.matches("__fish_pgo_using_subcommand watch").count() > 1);
            }
            for hidden in ["pgbouncer", "pgbadger", "generate"] {
                assert!(!words.contains(hidden), "{shell}: {hidden}");
            }
        }
    }

    #[test]
    fn a_link_is_replaced_and_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (target, place) = (
            folder.path().join("target"),
            folder.path().join("place.out"),
        );
        fs::write(&target, "precious").unwrap();
        std::os::unix::fs::symlink(&target, &place).unwrap();
        replace(&place, b"script").unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"precious");
        assert_eq!(fs::read(&place).unwrap(), b"script");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
