//! The functions that every engine has (CESQL 1.0, sections 3.5.1 and 3.5.2), and the explicit casts.
//!
//! Version 1.0 does not list the casts, but its examples call INT, and its conformance tests INT, BOOL and STRING.
//! IS_INT and IS_BOOL are what earlier drafts had beside them.

use crate::{
    error::{Error, MathFault},
    function::{Function, Outcome, Parameter},
    value::{
        Type,
        Value::{self, Boolean, Integer, String as Text},
    },
};

/// The longest text that a function puts together, in bytes. Nested CONCAT_WS would double it at each level otherwise.
///
/// CloudEvents 1.0 expects events of up to 64 KiB to be forwarded, so that none has longer attributes.
const MAX_TEXT: usize = 64 * 1024;

const ANY: Parameter = Parameter::Any;
const INTEGER: Parameter = Parameter::Of(Type::Integer);
const STRING: Parameter = Parameter::Of(Type::String);

/// All of them.
pub(crate) fn all() -> Vec<Function> {
    vec![
        Function::unchecked("LENGTH", [STRING], Type::Integer, length),
        Function::unchecked("CONCAT", [], Type::String, concat).variadic(STRING),
        Function::unchecked("CONCAT_WS", [STRING], Type::String, concat_ws).variadic(STRING),
        Function::unchecked("LOWER", [STRING], Type::String, lower),
        Function::unchecked("UPPER", [STRING], Type::String, upper),
        Function::unchecked("TRIM", [STRING], Type::String, trim),
        Function::unchecked("LEFT", [STRING, INTEGER], Type::String, left),
        Function::unchecked("RIGHT", [STRING, INTEGER], Type::String, right),
        Function::unchecked("SUBSTRING", [STRING, INTEGER], Type::String, substring),
        Function::unchecked(
            "SUBSTRING",
            [STRING, INTEGER, INTEGER],
            Type::String,
            substring,
        ),
        Function::unchecked("ABS", [INTEGER], Type::Integer, abs),
        Function::unchecked("INT", [ANY], Type::Integer, |a| cast(a, Type::Integer)),
        Function::unchecked("BOOL", [ANY], Type::Boolean, |a| cast(a, Type::Boolean)),
        Function::unchecked("STRING", [ANY], Type::String, |a| cast(a, Type::String)),
        Function::unchecked("IS_INT", [ANY], Type::Boolean, |a| is(a, Type::Integer)),
        Function::unchecked("IS_BOOL", [ANY], Type::Boolean, |a| is(a, Type::Boolean)),
    ]
}

/// For arguments that are not of the declared types; the engine casts them, so that none come.
fn unsuited() -> Outcome {
    Outcome::default()
}

fn failed(function: &str, reason: String) -> Error {
    Error::FunctionEvaluation {
        function: function.to_owned(),
        reason,
    }
}

/// Characters of a text, as far as 32 bits can count them.
fn count(text: &str) -> i32 {
    i32::try_from(text.chars().count()).unwrap_or(i32::MAX)
}

/// Where the character of that number begins, from 0, in bytes; the end if there are fewer.
fn offset(text: &str, number: i32) -> usize {
    let number = usize::try_from(number).unwrap_or_default();
    text.char_indices()
        .nth(number)
        .map_or(text.len(), |(at, _)| at)
}

fn length(arguments: &[Value]) -> Outcome {
    match arguments {
        [Text(text)] => count(text).into(),
        _ => unsuited(),
    }
}

fn concat(arguments: &[Value]) -> Outcome {
    joined("CONCAT", arguments, "")
}

fn concat_ws(arguments: &[Value]) -> Outcome {
    match arguments.split_first() {
        Some((Text(delimiter), parts)) => joined("CONCAT_WS", parts, delimiter),
        _ => unsuited(),
    }
}

fn joined(function: &str, parts: &[Value], delimiter: &str) -> Outcome {
    let parts: Vec<_> = parts.iter().map(Value::to_text).collect();
    let delimiters = delimiter
        .len()
        .saturating_mul(parts.len().saturating_sub(1));
    let total = parts
        .iter()
        .fold(delimiters, |sum, part| sum.saturating_add(part.len()));
    if total > MAX_TEXT {
        let reason = format!(
            "{function} would make a text of {total} bytes; at most {MAX_TEXT} are possible"
        );
        return Outcome::from("").with_error(Error::Generic(reason));
    }
    parts.join(delimiter).into()
}

fn lower(arguments: &[Value]) -> Outcome {
    match arguments {
        [Text(text)] => text.to_lowercase().into(),
        _ => unsuited(),
    }
}

fn upper(arguments: &[Value]) -> Outcome {
    match arguments {
        [Text(text)] => text.to_uppercase().into(),
        _ => unsuited(),
    }
}

fn trim(arguments: &[Value]) -> Outcome {
    match arguments {
        [Text(text)] => text.trim().into(),
        _ => unsuited(),
    }
}

fn left(arguments: &[Value]) -> Outcome {
    match arguments {
        [Text(text), Integer(wanted)] if *wanted < 0 => {
            Outcome::from(text.as_str()).with_error(negative("LEFT", *wanted))
        }
        [Text(text), Integer(wanted)] => text[..offset(text, *wanted)].into(),
        _ => unsuited(),
    }
}

fn right(arguments: &[Value]) -> Outcome {
    match arguments {
        [Text(text), Integer(wanted)] if *wanted < 0 => {
            Outcome::from(text.as_str()).with_error(negative("RIGHT", *wanted))
        }
        [Text(text), Integer(wanted)] => {
            let before = count(text).saturating_sub(*wanted).max(0);
            text[offset(text, before)..].into()
        }
        _ => unsuited(),
    }
}

fn negative(function: &str, wanted: i32) -> Error {
    failed(
        function,
        format!("{wanted} characters were asked for; give 0 or more"),
    )
}

/// From a position, counted from 1, or back from the end if negative; up to a length if one is given.
fn substring(arguments: &[Value]) -> Outcome {
    let (text, position, wanted) = match arguments {
        [Text(text), Integer(position)] => (text, *position, None),
        [Text(text), Integer(position), Integer(wanted)] => (text, *position, Some(*wanted)),
        _ => return unsuited(),
    };
    let length = count(text);
    if position > length || position < -length {
        let reason = format!("position {position} is outside of a text of {length} characters");
        return Outcome::from("").with_error(failed("SUBSTRING", reason));
    }
    if let Some(wanted) = wanted.filter(|wanted| *wanted < 0) {
        return Outcome::from("").with_error(negative("SUBSTRING", wanted));
    }
    let skipped = match position {
        0 => return "".into(),
        1.. => position - 1,
        _ => length + position,
    };
    let tail = &text[offset(text, skipped)..];
    let end = wanted.map_or(tail.len(), |wanted| offset(tail, wanted));
    tail[..end].into()
}

fn abs(arguments: &[Value]) -> Outcome {
    match arguments {
        [Integer(number)] => match number.checked_abs() {
            Some(absolute) => absolute.into(),
            None => Outcome::from(i32::MAX).with_error(Error::Math {
                calculation: format!("ABS({number})"),
                fault: MathFault::Overflow,
            }),
        },
        _ => unsuited(),
    }
}

fn cast(arguments: &[Value], target: Type) -> Outcome {
    match arguments {
        [value] => match value.to_type(target) {
            Ok(value) => value.into(),
            Err(error) => Outcome::from(target.zero()).with_error(error),
        },
        _ => unsuited(),
    }
}

fn is(arguments: &[Value], target: Type) -> Outcome {
    match arguments {
        [value] => Boolean(value.to_type(target).is_ok()).into(),
        _ => unsuited(),
    }
}
