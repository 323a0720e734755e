//! Evaluates a tree against an event (CESQL 1.0, sections 3.2 to 3.7).
//!
//! An expression is total: every part of it has a value, whatever goes wrong. [`Evaluator::value`] gives that value.
//! [`Evaluator::operand`] gives it to an operator or function that is to work with it, and gives nothing where there is
//! nothing to work with: then the result is the zero value of the type that the operator or function returns.

use std::borrow::Cow;

use crate::{
    attributes::Attributes,
    error::{Error, MathFault, beginning},
    function::{Functions, Parameter},
    syntax::{Binary, Node},
    value::{Type, Value},
};

/// What happens after an error (section 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Evaluation goes on, with the value that the specification gives to what failed. All errors are reported.
    Complete,
    /// Evaluation ends. The first error is reported, with the zero value of the expression's type; if it is the outermost
    /// operator or function that failed, with the value that this has then.
    FailFast,
}

/// What an evaluation gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evaluation {
    /// The value, which is there in any case.
    pub value: Value,
    /// What went wrong, in the order in which it did; empty if nothing.
    pub errors: Vec<Error>,
}

/// Attributes that every event has (CloudEvents 1.0, required attributes).
const REQUIRED: [&str; 4] = ["id", "source", "specversion", "type"];

/// The value of a tree and its errors.
pub(crate) fn evaluate<A: Attributes + ?Sized>(
    tree: &Node,
    attributes: &A,
    functions: &Functions,
    mode: Mode,
) -> Evaluation {
    let mut evaluator = Evaluator {
        attributes,
        functions,
        mode,
        errors: Vec::new(),
    };
    let value = evaluator.value(tree).into_owned();
    Evaluation {
        value,
        errors: evaluator.errors,
    }
}

/// The type of a tree's value, as far as it is known without an event: an attribute can be of any.
pub(crate) fn return_type(tree: &Node, functions: &Functions) -> Option<Type> {
    match tree {
        Node::Literal(value) => Some(value.type_of()),
        Node::Attribute(_) => None,
        Node::Exists(_) | Node::Not(_) | Node::Like { .. } | Node::In { .. } => Some(Type::Boolean),
        Node::Negate(_) => Some(Type::Integer),
        Node::Chain { rest, .. } => rest.last().map(|(operator, _)| operator.returns()),
        Node::Call {
            function,
            arguments,
        } => {
            let function = functions.find(function, arguments.len());
            Some(function.map_or(Type::Boolean, |function| function.returns()))
        }
    }
}

struct Evaluator<'e, A: ?Sized> {
    attributes: &'e A,
    functions: &'e Functions,
    mode: Mode,
    errors: Vec<Error>,
}

impl<'e, A: Attributes + ?Sized> Evaluator<'e, A> {
    /// Whether an error has ended the evaluation.
    fn has_ended(&self) -> bool {
        self.mode == Mode::FailFast && !self.errors.is_empty()
    }

    fn raise(&mut self, error: Error) {
        if !self.has_ended() {
            self.errors.push(error);
        }
    }

    /// The value of a part. An attribute that is missing is `false`: what it would be is not known (section 3.2).
    fn value(&mut self, node: &'e Node) -> Cow<'e, Value> {
        let value = match node {
            Node::Literal(value) => return Cow::Borrowed(value),
            Node::Attribute(name) => self.attribute(name).unwrap_or(Type::Boolean.zero()),
            Node::Exists(name) => self.exists(name).into(),
            Node::Not(operand) => self.not(operand).into(),
            Node::Negate(operand) => self.negate(operand).into(),
            Node::Like {
                operand,
                negated,
                pattern,
            } => {
                let operand = self.operand(operand);
                operand
                    .is_some_and(|text| pattern.matches(&text.to_text()) != *negated)
                    .into()
            }
            Node::In {
                operand,
                negated,
                set,
            } => {
                let found = self.is_in(operand, set);
                found.is_some_and(|found| found != *negated).into()
            }
            Node::Chain { first, rest } => self.chain(first, rest),
            Node::Call {
                function,
                arguments,
            } => self.call(function, arguments),
        };
        Cow::Owned(value)
    }

    /// The value of a part, for an operator or function to work with. Nothing if the part is an attribute that is
    /// missing, or if evaluation has ended.
    fn operand(&mut self, node: &'e Node) -> Option<Cow<'e, Value>> {
        if self.has_ended() {
            return None;
        }
        let value = match node {
            Node::Attribute(name) => Cow::Owned(self.attribute(name)?),
            _ => self.value(node),
        };
        (!self.has_ended()).then_some(value)
    }

    fn attribute(&mut self, name: &str) -> Option<Value> {
        let value = self.attributes.get(name);
        if value.is_none() {
            self.raise(Error::MissingAttribute(beginning(name)));
        }
        value
    }

    /// An event is taken to be valid, so that it has what every event must have (section 3.4.4).
    fn exists(&self, name: &str) -> bool {
        REQUIRED.contains(&name) || self.attributes.get(name).is_some()
    }

    /// What a cast gives: if it fails, the zero value, unless evaluation ends.
    fn settle<T: Default>(&mut self, cast: Result<T, Error>) -> Option<T> {
        let value = cast.unwrap_or_else(|error| {
            self.raise(error);
            T::default()
        });
        (!self.has_ended()).then_some(value)
    }

    fn boolean(&mut self, node: &'e Node) -> Option<bool> {
        let value = self.operand(node)?;
        self.settle(value.to_boolean())
    }

    fn not(&mut self, operand: &'e Node) -> bool {
        self.boolean(operand).is_some_and(|value| !value)
    }

    fn negate(&mut self, operand: &'e Node) -> i32 {
        let operand = self.operand(operand);
        let Some(number) = operand.and_then(|value| self.settle(value.to_integer())) else {
            return 0;
        };
        number
            .checked_neg()
            .unwrap_or_else(|| self.no_result(format!("-({number})"), MathFault::Overflow))
    }

    fn no_result(&mut self, calculation: String, fault: MathFault) -> i32 {
        self.raise(Error::Math { calculation, fault });
        0
    }

    /// Whether the value is in the set. Elements are cast to its type. All are evaluated, since a set has no order.
    fn is_in(&mut self, operand: &'e Node, set: &'e [Node]) -> Option<bool> {
        let value = self.operand(operand);
        let mut found = Some(false);
        for node in set {
            let element = self.operand(node);
            let equal = match (&value, element) {
                (Some(value), Some(element)) => self.equal(&element, value),
                _ => None,
            };
            found = found.zip(equal).map(|(found, equal)| found || equal);
        }
        value.and(found)
    }

    /// Whether two values are equal after a cast of the first one to the type of the second.
    fn equal(&mut self, cast: &Value, model: &Value) -> Option<bool> {
        match model {
            Value::Boolean(model) => self.settle(cast.to_boolean()).map(|value| value == *model),
            Value::Integer(model) => self.settle(cast.to_integer()).map(|value| value == *model),
            Value::String(model) => Some(cast.to_text() == *model),
        }
    }

    fn chain(&mut self, first: &'e Node, rest: &'e [(Binary, Node)]) -> Value {
        let mut left = self.operand(first);
        let mut value = Type::Boolean.zero();
        for (operator, right) in rest {
            value = self.binary(*operator, left, right);
            left = (!self.has_ended()).then(|| Cow::Owned(value.clone()));
        }
        value
    }

    fn binary(&mut self, operator: Binary, left: Option<Cow<'e, Value>>, right: &'e Node) -> Value {
        match operator {
            Binary::And | Binary::Or | Binary::Xor => self.logic(operator, left, right).into(),
            _ => {
                let right = self.operand(right);
                let result = left
                    .zip(right)
                    .and_then(|(left, right)| self.calculate(operator, &left, &right));
                result.unwrap_or(operator.returns().zero())
            }
        }
    }

    /// AND, OR, XOR. What the right side could not change is not asked for (section 3.4.2).
    fn logic(&mut self, operator: Binary, left: Option<Cow<'e, Value>>, right: &'e Node) -> bool {
        let left = left.and_then(|value| self.settle(value.to_boolean()));
        match (operator, left) {
            // A missing attribute is false, which decides AND.
            (Binary::And, None | Some(false)) => return false,
            (Binary::Or, Some(true)) => return true,
            _ => {}
        }
        let right = self.boolean(right);
        let Some((left, right)) = left.zip(right) else {
            return false;
        };
        match operator {
            Binary::And => left && right,
            Binary::Or => left || right,
            _ => left != right,
        }
    }

    /// Comparisons and arithmetic.
    fn calculate(&mut self, operator: Binary, left: &Value, right: &Value) -> Option<Value> {
        match operator {
            Binary::Equal => return self.equal(left, right).map(Value::Boolean),
            Binary::NotEqual => {
                let equal = self.equal(left, right);
                return equal.map(|equal| Value::Boolean(!equal));
            }
            _ => {}
        }
        let left = self.settle(left.to_integer())?;
        let right = self.settle(right.to_integer())?;
        Some(match operator {
            Binary::Less => (left < right).into(),
            Binary::LessOrEqual => (left <= right).into(),
            Binary::Greater => (left > right).into(),
            Binary::GreaterOrEqual => (left >= right).into(),
            _ => self.arithmetic(operator, left, right).into(),
        })
    }

    fn arithmetic(&mut self, operator: Binary, left: i32, right: i32) -> i32 {
        let divides = matches!(operator, Binary::Divide | Binary::Remainder);
        let (result, fault) = match operator {
            _ if divides && right == 0 => (None, MathFault::DivisionByZero),
            // The remainder of division by -1 is 0, even where the quotient has no place in 32 bits.
            Binary::Remainder => (Some(left.wrapping_rem(right)), MathFault::Overflow),
            Binary::Divide => (left.checked_div(right), MathFault::Overflow),
            Binary::Multiply => (left.checked_mul(right), MathFault::Overflow),
            Binary::Subtract => (left.checked_sub(right), MathFault::Overflow),
            _ => (left.checked_add(right), MathFault::Overflow),
        };
        result.unwrap_or_else(|| {
            let calculation = format!("{left} {} {right}", operator.symbol());
            self.no_result(calculation, fault)
        })
    }

    fn call(&mut self, name: &str, arguments: &'e [Node]) -> Value {
        let function = match self.functions.find(name, arguments.len()) {
            Ok(function) => function,
            Err(error) => {
                self.raise(error);
                return Type::Boolean.zero();
            }
        };
        let mut values = Vec::with_capacity(arguments.len());
        for (number, node) in arguments.iter().enumerate() {
            let value = self.operand(node);
            values.extend(value.and_then(|value| self.argument(value, function.parameter(number))));
        }
        if values.len() < arguments.len() {
            return function.returns().zero();
        }
        let (value, errors) = function.call(&values);
        errors.into_iter().for_each(|error| self.raise(error));
        value
    }

    fn argument(&mut self, value: Cow<'e, Value>, parameter: Parameter) -> Option<Value> {
        match parameter {
            Parameter::Of(target) if target != value.type_of() => {
                let cast = value.to_type(target);
                let value = cast.unwrap_or_else(|error| {
                    self.raise(error);
                    target.zero()
                });
                (!self.has_ended()).then_some(value)
            }
            _ => Some(value.into_owned()),
        }
    }
}
