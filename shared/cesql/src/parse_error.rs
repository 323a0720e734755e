//! Why a text is not an expression, and where.

use std::fmt;

use crate::error::beginning;

/// How much of a line is shown before and after the place of an error, in characters.
const AROUND: usize = 60;

/// What is wrong with a text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// There is nothing but white space.
    #[error("the expression is empty; write a condition, such as type = 'created'")]
    Empty,
    /// Longer than [`MAX_LENGTH`](crate::MAX_LENGTH).
    #[error("the expression has {0} bytes; at most {max} are possible", max = crate::MAX_LENGTH)]
    TooLong(usize),
    /// Nested deeper than [`MAX_DEPTH`](crate::MAX_DEPTH).
    #[error("the expression is nested deeper than {max} levels here; take parentheses or operators away", max = crate::MAX_DEPTH)]
    TooDeep,
    /// A character that begins nothing.
    #[error("{0:?} has no meaning here; text is written in quotes")]
    Character(char),
    /// An operator of another language.
    #[error("{written} is no operator; write {meant}")]
    Operator {
        /// As it is written.
        written: &'static str,
        /// The operator of CESQL.
        meant: &'static str,
    },
    /// A text without an end.
    #[error(
        "the text that begins here has no closing {0}; inside of it {0} is written \\{0}, and \\ before the end \\\\"
    )]
    UnclosedText(char),
    /// Not a number of 32 bits.
    #[error("{0} is outside of -2147483648 to 2147483647; an integer has 32 bits")]
    Integer(String),
    /// A word that names nothing.
    #[error(
        "{0} is no name; attributes have a to z and 0 to 9, functions letters and _ and a ( after them"
    )]
    Name(String),
    /// Something else belongs here.
    #[error("expected {expected}, found {found}")]
    Expected {
        /// What belongs here.
        expected: &'static str,
        /// What stands here.
        found: String,
    },
}

/// A text is not an expression.
///
/// Its message has three lines: what is wrong and what would be right, the line of the text, and a mark below the place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError(Box<Details>);

/// Apart, since what can fail is larger than what it gives otherwise, and parsing is recursive.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Details {
    fault: Fault,
    position: usize,
    place: Place,
    /// What is shown of the line.
    excerpt: String,
    /// How many characters of that are before the place.
    before: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    line: usize,
    column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 1 {
            write!(f, "line {}, ", self.line)?;
        }
        write!(f, "column {}", self.column)
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Details {
            fault,
            place,
            excerpt,
            before,
            ..
        } = &*self.0;
        let mark = " ".repeat(*before) + "^";
        write!(f, "{place}: {fault}\n  {excerpt}\n  {mark}")
    }
}

impl std::error::Error for ParseError {}

/// A character of a text, in a message: that must neither break a line nor steer a terminal.
fn shown(character: char) -> char {
    if character.is_control() {
        ' '
    } else {
        character
    }
}

impl ParseError {
    /// At a position of a text, which lies on the border of a character.
    pub(crate) fn new(fault: Fault, text: &str, position: usize) -> Self {
        let (head, tail) = text.split_at(position);
        let line_start = head.rfind('\n').map_or(0, |at| at + 1);
        let before = &head[line_start..];
        let after = tail.lines().next().unwrap_or_default();
        let column = before.chars().count();
        let skipped = column.saturating_sub(AROUND);
        let cut = if skipped > 0 { "…" } else { "" };
        let excerpt: String = cut
            .chars()
            .chain(before.chars().skip(skipped))
            .chain(after.chars().take(AROUND))
            .map(shown)
            .collect();
        Self(Box::new(Details {
            fault,
            position,
            place: Place {
                line: head.matches('\n').count() + 1,
                column: column + 1,
            },
            excerpt: excerpt.trim_end().to_owned(),
            before: column - skipped + cut.chars().count(),
        }))
    }

    /// What is wrong.
    pub fn fault(&self) -> &Fault {
        &self.0.fault
    }

    /// Where, in bytes from the beginning of the text.
    pub fn position(&self) -> usize {
        self.0.position
    }

    /// In which line, from 1.
    pub fn line(&self) -> usize {
        self.0.place.line
    }

    /// In which character of the line, from 1.
    pub fn column(&self) -> usize {
        self.0.place.column
    }
}

impl Fault {
    pub(crate) fn expected(expected: &'static str, found: &str) -> Self {
        Self::Expected {
            expected,
            found: beginning(found).chars().map(shown).collect(),
        }
    }

    pub(crate) fn integer(written: &str) -> Self {
        Self::Integer(beginning(written))
    }

    pub(crate) fn name(word: &str) -> Self {
        Self::Name(beginning(word))
    }
}
