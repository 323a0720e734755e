//! What goes wrong with an expression (CESQL 1.0, section 3.3).

use std::fmt;

use crate::{parse_error::ParseError, value::Type};

/// How much of a text an error repeats, in characters.
const SHOWN: usize = 60;

/// The kinds of errors that the specification knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorKind {
    /// The text is not an expression.
    Parse,
    /// A calculation has no result within 32 bits.
    Math,
    /// A value cannot be taken for one of another type.
    Cast,
    /// The event lacks an attribute.
    MissingAttribute,
    /// There is no function of that name and number of arguments.
    MissingFunction,
    /// A function cannot work with its arguments.
    FunctionEvaluation,
    /// Anything else.
    Generic,
}

impl ErrorKind {
    /// All kinds.
    pub const ALL: [Self; 7] = [
        Self::Parse,
        Self::Math,
        Self::Cast,
        Self::MissingAttribute,
        Self::MissingFunction,
        Self::FunctionEvaluation,
        Self::Generic,
    ];

    /// The label that CloudEvents' conformance tests have for it; never changes.
    pub fn label(self) -> &'static str {
        match self {
            Self::Parse => "parse",
            Self::Math => "math",
            Self::Cast => "cast",
            Self::MissingAttribute => "missingAttribute",
            Self::MissingFunction => "missingFunction",
            Self::FunctionEvaluation => "functionEvaluation",
            Self::Generic => "generic",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// Why a calculation has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MathFault {
    /// Division, or remainder, by zero.
    DivisionByZero,
    /// The result is outside of -2147483648 to 2147483647.
    Overflow,
}

impl fmt::Display for MathFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DivisionByZero => "divides by zero; keep 0 out before, with != 0 AND",
            Self::Overflow => "is outside of -2147483648 to 2147483647, all that 32 bits hold",
        })
    }
}

/// An error of an expression. Evaluation goes on after it; see [`Evaluation`](crate::Evaluation).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text is not an expression.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// A calculation has no result; 0 stands for it, or what the function says.
    #[error("{calculation} {fault}")]
    Math {
        /// What was calculated, such as `7 / 0`.
        calculation: String,
        /// Why there is no result.
        fault: MathFault,
    },
    /// A text is not the value that it is needed as; `false` or 0 stands for it.
    #[error("{text:?} cannot be cast to {target}: it would have to be {}", possible(*target))]
    Cast {
        /// The text, or its beginning.
        text: String,
        /// What was needed.
        target: Type,
    },
    /// The event lacks the attribute of this name, or that begins so; what refers to it gives `false`, 0 or `""`, by its
    /// type.
    #[error(
        "the event has no attribute {0}; put EXISTS {0} AND in front where that is to be expected"
    )]
    MissingAttribute(String),
    /// No function of that name takes that many arguments; `false` stands for its result.
    #[error("there is no function {name} for {arguments} argument{}; {known}", plural(*arguments))]
    MissingFunction {
        /// The name, in upper case, or its beginning.
        name: String,
        /// How many arguments it was called with.
        arguments: usize,
        /// What there is instead.
        known: String,
    },
    /// A function cannot work with its arguments.
    #[error("{function} failed: {reason}")]
    FunctionEvaluation {
        /// Its name, in upper case.
        function: String,
        /// What is wrong with the arguments.
        reason: String,
    },
    /// Anything else.
    #[error("{0}")]
    Generic(String),
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// What a text must be for a cast.
fn possible(target: Type) -> &'static str {
    match target {
        Type::Boolean => "true or false",
        Type::Integer => "digits with an optional sign before them, from -2147483648 to 2147483647",
        Type::String => "anything",
    }
}

impl Error {
    /// Which kind it is of.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Parse(_) => ErrorKind::Parse,
            Self::Math { .. } => ErrorKind::Math,
            Self::Cast { .. } => ErrorKind::Cast,
            Self::MissingAttribute(_) => ErrorKind::MissingAttribute,
            Self::MissingFunction { .. } => ErrorKind::MissingFunction,
            Self::FunctionEvaluation { .. } => ErrorKind::FunctionEvaluation,
            Self::Generic(_) => ErrorKind::Generic,
        }
    }

    pub(crate) fn cast(text: &str, target: Type) -> Self {
        Self::Cast {
            text: beginning(text),
            target,
        }
    }
}

/// As much of a text as a message can hold.
pub(crate) fn beginning(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}
