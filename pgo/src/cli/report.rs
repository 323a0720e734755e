//! What a command says while it goes on, and how it ends.
//!
//! A command that asks for several things does not stop at the first that goes wrong: it notes the problem here, does
//! the rest, and fails at its end. The same holds where nobody reads its output any more.

use std::{fmt, io};

use serde::Serialize;

use super::Failure;
use crate::output;

/// What could not be done or said so far.
#[derive(Debug, Default)]
pub struct Report {
    problems: Vec<String>,
    unwritten: Option<io::Error>,
}

impl Report {
    /// Prints a text on standard output, as long as that can be written.
    pub fn print(&mut self, text: &str) {
        self.write(|| output::print(text));
    }

    /// Prints a value as JSON on standard output, as long as that can be written.
    pub fn print_json(&mut self, value: &impl Serialize) {
        self.write(|| output::print_json(value));
    }

    fn write(&mut self, what: impl FnOnce() -> io::Result<()>) {
        if self.unwritten.is_none() {
            self.unwritten = what().err();
        }
    }

    /// Notes what was not done, and why.
    pub fn problem(&mut self, what: impl fmt::Display) {
        self.problems.push(output::plain(&what.to_string()));
    }

    /// Tells on standard error what was not done, where the end is not near.
    pub fn tell_problems(&self, and_now: &str) {
        if !self.problems.is_empty() {
            output::note(&format!("pgo: {}; {and_now}", self.problems.join("; ")));
        }
    }

    /// The end: done if there was no problem. That nobody reads the output any more is none only then.
    pub fn end(self) -> Result<(), Failure> {
        let Self {
            mut problems,
            unwritten,
        } = self;
        match (problems.is_empty(), unwritten) {
            (true, None) => Ok(()),
            (true, Some(error)) => Err(Failure::Output(error)),
            (false, unwritten) => {
                let unwritten = unwritten.filter(|error| error.kind() != io::ErrorKind::BrokenPipe);
                problems.extend(unwritten.map(|error| Failure::Output(error).to_string()));
                Err(Failure::Failed(problems.join("; ")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(problems: &[&str], unwritten: Option<io::ErrorKind>) -> Result<(), Failure> {
        let mut report = Report::default();
        problems.iter().for_each(|problem| report.problem(problem));
        report.unwritten = unwritten.map(io::Error::from);
        report.end()
    }

    #[test]
    fn a_problem_is_told_whatever_became_of_the_output() {
        for (unwritten, text) in [
            (None, "a; b"),
            (Some(io::ErrorKind::BrokenPipe), "a; b"),
            (
                Some(io::ErrorKind::StorageFull),
                "a; b; cannot write the output: no storage space",
            ),
        ] {
            match report(&["a", "b"], unwritten) {
                Err(Failure::Failed(why)) => assert_eq!(why, text),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn without_a_problem_the_output_decides() {
        assert!(report(&[], None).is_ok());
        assert!(matches!(
            report(&[], Some(io::ErrorKind::BrokenPipe)),
            Err(Failure::Output(_))
        ));
    }
}
