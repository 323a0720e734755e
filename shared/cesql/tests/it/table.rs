//! Tables of cases: `expression | event | value | error`, a case per line.
//!
//! The event is `name=value, ...`. Values are `true`, `false`, an integer, or a text in single quotes, in which nothing is
//! escaped. Errors are labels, in the order in which they arise; `parse` stands alone, without a value. Lines that are
//! empty or begin with `#` are for the reader. A table is evaluated to its end, so that a failure shows all cases.

use std::collections::BTreeMap;

use cesql::{Error, Expression, Functions, Mode, Value};

pub type Event = BTreeMap<String, Value>;

/// A line of a table.
#[derive(Debug)]
pub struct Case {
    pub expression: String,
    pub event: Event,
    pub value: Option<Value>,
    pub errors: Vec<String>,
}

pub fn cases(table: &str) -> Vec<Case> {
    table
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(case)
        .collect()
}

fn case(line: &str) -> Case {
    let cells: Vec<_> = line.split('|').map(str::trim).collect();
    let [expression, event, value, errors] = cells[..] else {
        panic!("{line:?} has {} cells, not 4", cells.len());
    };
    Case {
        expression: expression.to_owned(),
        event: list(event).map(attribute).collect(),
        value: (!value.is_empty()).then(|| self::value(value)),
        errors: list(errors).map(str::to_owned).collect(),
    }
}

fn list(cell: &str) -> impl Iterator<Item = &str> {
    cell.split(", ").filter(|part| !part.is_empty())
}

fn attribute(written: &str) -> (String, Value) {
    let (name, written) = written.split_once('=').expect("name=value");
    (name.to_owned(), value(written))
}

fn value(written: &str) -> Value {
    let quoted = written
        .strip_prefix('\'')
        .and_then(|w| w.strip_suffix('\''));
    match (written, quoted) {
        ("true", _) => Value::Boolean(true),
        ("false", _) => Value::Boolean(false),
        (_, Some(text)) => Value::from(text),
        _ => Value::Integer(written.parse().expect("a value")),
    }
}

pub fn labels(errors: &[Error]) -> Vec<String> {
    let labels = errors.iter().map(|error| error.kind().label().to_owned());
    labels.collect()
}

/// What evaluating a case gives, as its last two cells.
fn outcome(case: &Case, functions: &Functions) -> (Option<Value>, Vec<String>) {
    match case.expression.parse::<Expression>() {
        Ok(expression) => {
            let got = expression.evaluate_with(&case.event, functions, Mode::Complete);
            (Some(got.value), labels(&got.errors))
        }
        Err(error) => (None, labels(&[error.into()])),
    }
}

/// Evaluates all cases with functions of one's own.
pub fn check_with(table: &str, functions: &Functions) {
    let wrong: Vec<_> = cases(table)
        .into_iter()
        .filter_map(|case| {
            let got = outcome(&case, functions);
            let as_expected = got.0 == case.value && got.1 == case.errors;
            (!as_expected).then(|| format!("{case:?}\n  gave {got:?}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Evaluates all cases.
pub fn check(table: &str) {
    check_with(table, Functions::builtin());
}
