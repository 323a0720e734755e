//! An expression: what users of this crate hold.

use std::{fmt, str::FromStr};

use crate::{
    attributes::Attributes,
    error::Error,
    evaluate::{Evaluation, Mode, evaluate, return_type},
    filter::{FilterFault, judge},
    function::Functions,
    parse_error::ParseError,
    parser,
    syntax::Node,
    value::{Type, Value},
};

/// An expression, made of a text by [`parse`](str::parse). It never changes, and can be evaluated by many threads.
///
/// Two are equal if they are written alike, but for spaces, the case of words, parentheses without effect and the way in
/// which a literal is written. [`Display`](fmt::Display) writes the one form that all equal ones have in common, with no
/// more parentheses than needed, so that it shows what binds to what. It parses to an equal expression, unless the
/// spaces it adds make it longer than [`MAX_LENGTH`](crate::MAX_LENGTH).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expression(Node);

impl Expression {
    /// Whether an event passes, with the expression as a filter (section 1.2): the value is `true`, and nothing went
    /// wrong. Calls [built-in functions](Functions::builtin) only.
    pub fn matches(&self, attributes: &(impl Attributes + ?Sized)) -> bool {
        self.matches_with(attributes, Functions::builtin())
    }

    /// As [`matches`](Self::matches), with functions of your own.
    pub fn matches_with(
        &self,
        attributes: &(impl Attributes + ?Sized),
        functions: &Functions,
    ) -> bool {
        let evaluation = evaluate(&self.0, attributes, functions, Mode::FailFast);
        evaluation.value == Value::Boolean(true) && evaluation.errors.is_empty()
    }

    /// The value for an event, and all errors. Calls [built-in functions](Functions::builtin) only.
    pub fn evaluate(&self, attributes: &(impl Attributes + ?Sized)) -> Evaluation {
        self.evaluate_with(attributes, Functions::builtin(), Mode::Complete)
    }

    /// As [`evaluate`](Self::evaluate), with functions of your own and a choice of what happens after an error.
    pub fn evaluate_with(
        &self,
        attributes: &(impl Attributes + ?Sized),
        functions: &Functions,
        mode: Mode,
    ) -> Evaluation {
        evaluate(&self.0, attributes, functions, mode)
    }

    /// What can be known to go wrong without an event: calls of functions that there are not.
    pub fn check(&self, functions: &Functions) -> Vec<Error> {
        let mut errors = Vec::new();
        self.0.visit(&mut |node| {
            if let Node::Call {
                function,
                arguments,
            } = node
            {
                errors.extend(functions.find(function, arguments.len()).err());
            }
        });
        errors
    }

    /// The type of the value, as far as it is known without an event: a mere attribute can be of any.
    ///
    /// A filter of another type than Boolean lets nothing pass.
    pub fn return_type(&self, functions: &Functions) -> Option<Type> {
        return_type(&self.0, functions)
    }

    /// Judges it as a filter with [built-in functions](Functions::builtin) only, for events of which the attributes are known:
    /// `types` tells the type of each by its name in lower case, and nothing for a name that no event has.
    ///
    /// # Errors
    /// It is known already that no event passes, or that something goes wrong with every event.
    pub fn check_filter(&self, types: impl Fn(&str) -> Option<Type>) -> Result<(), FilterFault> {
        judge(&self.0, Functions::builtin(), types)
    }
}

impl FromStr for Expression {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        parser::parse(text).map(Self)
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
