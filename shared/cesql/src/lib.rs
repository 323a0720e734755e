#![doc = include_str!("../README.md")]

mod attributes;
mod builtin;
mod error;
mod evaluate;
mod expression;
mod filter;
mod function;
mod parse_error;
mod parser;
mod pattern;
mod syntax;
mod token;
mod value;

pub use attributes::Attributes;
pub use error::{Error, ErrorKind, MathFault};
pub use evaluate::{Evaluation, Mode};
pub use expression::Expression;
pub use filter::FilterFault;
pub use function::{Function, FunctionError, Functions, Outcome, Parameter};
pub use parse_error::{Fault, ParseError};
pub use token::operators;
pub use value::{Type, Value};

/// The longest text that is parsed, in bytes. A list of a thousand names of 60 bytes has room in it.
pub const MAX_LENGTH: usize = 64 * 1024;

/// How deep an expression can be nested: parentheses, lists, prefix operators, and operators of different precedence
/// below each other. A row of operators of one precedence counts once, however long.
///
/// What walks an expression calls itself that often, on threads with stacks of 2 MiB or less.
pub const MAX_DEPTH: usize = 100;
