//! What happens after an error (sections 1.2 and 4.1).

use cesql::{Error, Expression, Functions, Mode, Value};

use crate::{
    coverage::themes,
    own_functions,
    table::{Event, cases, labels},
};

fn fail_fast(text: &str) -> (Value, Vec<String>) {
    let expression: Expression = text.parse().expect(text);
    let got = expression.evaluate_with(&Event::new(), Functions::builtin(), Mode::FailFast);
    (got.value, labels(&got.errors))
}

#[test]
fn the_first_error_ends_an_evaluation_that_fails_fast() {
    for (text, value, error) in [
        // What failed is the outermost: it has the value that it has then.
        ("LEFT('abc', -2)", Value::from("abc"), "functionEvaluation"),
        ("ABS(-2147483648)", Value::from(i32::MAX), "math"),
        ("INT('x')", Value::from(0), "cast"),
        ("5 / 0", Value::from(0), "math"),
        ("missing", Value::from(false), "missingAttribute"),
        ("NOSUCH()", Value::from(false), "missingFunction"),
        // What failed is inside of others: these give their zero values.
        ("FALSE OR (1 != 1 / 0)", Value::from(false), "math"),
        ("TRUE AND (1 != 1 / 0)", Value::from(false), "math"),
        ("NOT 'yes'", Value::from(false), "cast"),
        ("NOT (missing = 2)", Value::from(false), "missingAttribute"),
        ("-'x' + 5", Value::from(0), "cast"),
        ("1 / 0 + 5 + 5", Value::from(0), "math"),
        ("'abc' = 0", Value::from(false), "cast"),
        ("'abc' != 5", Value::from(false), "cast"),
        ("0 IN ('abc')", Value::from(false), "cast"),
        ("1 NOT IN ('abc')", Value::from(false), "cast"),
        ("(1 / 0) LIKE '0'", Value::from(false), "math"),
        ("(1 / 0) NOT LIKE '1'", Value::from(false), "math"),
        (
            "CONCAT('a', LEFT('abc', -2))",
            Value::from(""),
            "functionEvaluation",
        ),
        (
            "LENGTH(LEFT('abc', -2))",
            Value::from(0),
            "functionEvaluation",
        ),
        ("ABS('x')", Value::from(0), "cast"),
        (
            "(missing = 2) OR TRUE",
            Value::from(false),
            "missingAttribute",
        ),
        ("'x' XOR TRUE", Value::from(false), "cast"),
        // There are others after it.
        ("missing = other", Value::from(false), "missingAttribute"),
        ("3 / 'a'", Value::from(0), "cast"),
        ("'a' < 'b'", Value::from(false), "cast"),
        ("1 IN (1 / 0, missing, 'x')", Value::from(false), "math"),
        ("CONCAT(1 / 0, missing)", Value::from(""), "math"),
        (
            "NOSUCH() AND missing OR 1 / 0",
            Value::from(false),
            "missingFunction",
        ),
    ] {
        assert_eq!(fail_fast(text), (value, vec![error.to_owned()]), "{text}");
    }
}

/// All cases of all tables, as expressions with their events.
fn all_cases() -> impl Iterator<Item = (Expression, Event)> {
    let cases = themes().into_iter().flat_map(|(_, table)| cases(table));
    cases.filter_map(|case| Some((case.expression.parse().ok()?, case.event)))
}

#[test]
fn both_modes_agree_up_to_the_first_error() {
    let functions = own_functions::functions();
    for (expression, event) in all_cases() {
        let complete = expression.evaluate_with(&event, &functions, Mode::Complete);
        let fast = expression.evaluate_with(&event, &functions, Mode::FailFast);
        let first: Vec<Error> = complete.errors.iter().take(1).cloned().collect();
        assert_eq!(fast.errors, first, "{expression}");
        assert_eq!(
            fast.value.type_of(),
            complete.value.type_of(),
            "{expression}"
        );
        if first.is_empty() {
            assert_eq!(fast.value, complete.value, "{expression}");
        }
    }
}

#[test]
fn an_event_passes_a_filter_that_is_true_without_an_error() {
    let functions = own_functions::functions();
    for (expression, event) in all_cases() {
        let complete = expression.evaluate_with(&event, &functions, Mode::Complete);
        let passes = complete.value == Value::Boolean(true) && complete.errors.is_empty();
        assert_eq!(
            expression.matches_with(&event, &functions),
            passes,
            "{expression}"
        );
    }
}

#[test]
fn a_filter_that_is_not_boolean_lets_nothing_pass() {
    for text in ["1", "'true'", "CONCAT('true')", "INT(TRUE)", "0"] {
        let expression: Expression = text.parse().unwrap();
        assert!(!expression.matches(&Event::new()), "{text}");
    }
}

#[test]
fn an_evaluation_has_the_type_that_is_known_before_it() {
    let functions = own_functions::functions();
    for (expression, event) in all_cases() {
        if let Some(known) = expression.return_type(&functions) {
            for mode in [Mode::Complete, Mode::FailFast] {
                let evaluation = expression.evaluate_with(&event, &functions, mode);
                assert_eq!(evaluation.value.type_of(), known, "{expression}");
            }
        }
    }
}

#[test]
fn the_same_expression_gives_the_same_for_the_same_event() {
    let functions = own_functions::functions();
    for (expression, event) in all_cases() {
        let once = expression.evaluate_with(&event, &functions, Mode::Complete);
        let again = expression.evaluate_with(&event, &functions, Mode::Complete);
        assert_eq!(once, again, "{expression}");
    }
}
