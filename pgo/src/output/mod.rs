//! What is printed, and how.

pub mod event;
pub mod replication;
mod text;

use std::{
    ffi::OsStr,
    io::{self, IsTerminal, Write},
};

use serde::Serialize;

pub use text::{ago, json, lines, pad, plain, table};

/// Form of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// JSON on standard output, and nothing else there.
    Json,
}

/// Prints a text on standard output at once, so that a pipe has it when it is known.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Tells something on standard error, on lines of its own. Whether anybody reads it changes nothing of what is done, so
/// that it cannot be written is no error.
pub fn note(text: &str) {
    let text = format!("{}\n", lines(text));
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Prints a value as 4.1 does: indented by two blanks.
pub fn print_json(value: &impl Serialize) -> io::Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    print(&json(&text))
}

/// Colours, where standard output is a terminal and `NO_COLOR` is not set (no-color.org).
#[derive(Clone, Copy, Debug)]
pub struct Colours(bool);

impl Colours {
    /// As the terminal and the environment have it.
    pub fn detect() -> Self {
        let [no_color, term] = ["NO_COLOR", "TERM"].map(std::env::var_os);
        Self::where_set(
            no_color.as_deref(),
            term.as_deref(),
            io::stdout().is_terminal(),
        )
    }

    /// Of the values of `NO_COLOR`, which counts where it is not empty, and of `TERM`.
    fn where_set(no_color: Option<&OsStr>, term: Option<&OsStr>, is_terminal: bool) -> Self {
        let refused = no_color.is_some_and(|value| !value.is_empty());
        let dumb = term.is_some_and(|term| term == "dumb");
        Self(is_terminal && !refused && !dumb)
    }

    /// Something went well.
    pub fn good(self, text: &str) -> String {
        self.paint("32", text)
    }

    /// Something did not.
    pub fn bad(self, text: &str) -> String {
        self.paint("31", text)
    }

    /// Of less interest.
    pub fn faint(self, text: &str) -> String {
        self.paint("2", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        match self.0 {
            true => format!("\x1b[{code}m{text}\x1b[0m"),
            false => text.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_a_terminal_that_has_them_where_no_color_is_not_set() {
        for (no_color, term, is_terminal, expected) in [
            (None, Some("xterm-256color"), true, true),
            (None, None, true, true),
            (Some(""), Some("xterm"), true, true),
            (Some("1"), Some("xterm"), true, false),
            (Some("0"), Some("xterm"), true, false),
            (None, Some("dumb"), true, false),
            (None, Some("xterm"), false, false),
            (Some("1"), Some("dumb"), false, false),
        ] {
            let [no_color, term] = [no_color, term].map(|value| value.map(OsStr::new));
            let Colours(found) = Colours::where_set(no_color, term, is_terminal);
            assert_eq!(found, expected, "{no_color:?} {term:?} {is_terminal}");
        }
    }

    #[test]
    fn colours_are_only_where_they_are_wanted() {
        assert_eq!(Colours(false).good("Working"), "Working");
        assert_eq!(Colours(true).bad("NOT"), "\x1b[31mNOT\x1b[0m");
    }
}
