//! The question before something is destroyed.

use std::io::{self, BufRead, Write};

use super::Failure;

/// What the user answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Yes,
    No,
}

/// Asks on standard error, reads standard input.
pub fn confirm() -> Result<Answer, Failure> {
    ask(&mut io::stdin().lock(), &mut io::stderr().lock())
}

/// Asks until the answer is one. Without one nothing is done, and that is a failure.
fn ask(input: &mut impl BufRead, out: &mut impl Write) -> Result<Answer, Failure> {
    loop {
        let asked = write!(out, "WARNING: Are you sure? (yes/no): ").and_then(|()| out.flush());
        asked.map_err(|error| unconfirmed(&format!("the question cannot be shown: {error}")))?;
        let mut line = String::new();
        let read = input.read_line(&mut line);
        if !matches!(read, Ok(1..)) {
            // What is told next has a line of its own.
            let _ = writeln!(out);
        }
        match read {
            Ok(0) => return Err(unconfirmed("standard input ended before an answer")),
            Ok(_) => {}
            Err(error) => return Err(unconfirmed(&format!("no answer can be read: {error}"))),
        }
        match line.trim() {
            "y" | "Y" | "yes" | "Yes" | "YES" => return Ok(Answer::Yes),
            "n" | "N" | "no" | "No" | "NO" => return Ok(Answer::No),
            _ => {
                // Where this cannot be shown, the question cannot either.
                let _ = writeln!(out, "Please type yes or no and then press enter:");
            }
        }
    }
}

fn unconfirmed(why: &str) -> Failure {
    Failure::Failed(format!(
        "not confirmed: {why}, nothing was done; give --no-prompt to go ahead without the question"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(input: &str) -> (Result<Answer, Failure>, String) {
        let mut out = Vec::new();
        let answer = ask(&mut input.as_bytes(), &mut out);
        (answer, String::from_utf8(out).unwrap())
    }

    #[test]
    fn it_is_asked_again_until_the_answer_is_one() {
        let (answer, out) = answered("\nmaybe\nYES\n");
        assert_eq!(answer.unwrap(), Answer::Yes);
        assert_eq!(out.matches("Are you sure").count(), 3);
        assert_eq!(answered("n").0.unwrap(), Answer::No);
    }

    #[test]
    fn the_end_of_the_input_is_a_failure_and_asks_no_more() {
        for input in ["", "perhaps\n"] {
            let error = answered(input).0.unwrap_err();
            assert!(error.to_string().contains("--no-prompt"), "{error}");
        }
    }
}
