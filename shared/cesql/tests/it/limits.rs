//! Texts that are made to do harm.

use std::thread;

use cesql::{ErrorKind, Expression, Fault, MAX_DEPTH, MAX_LENGTH, Value};

use crate::table::Event;

/// Far less than any thread has that evaluates expressions.
const STACK: usize = 512 * 1024;

/// Parses, writes, compares, evaluates and drops, with little stack.
fn fault_with_little_stack(text: String) -> Option<Fault> {
    let thread = thread::Builder::new().stack_size(STACK).spawn(move || {
        let parsed = text.parse::<Expression>();
        parsed.err().map(|error| error.fault().clone()).or_else(|| {
            let expression: Expression = text.parse().unwrap();
            let written = expression.to_string();
            assert_eq!(written.parse::<Expression>(), Ok(expression.clone()));
            expression.evaluate(&Event::new());
            expression.check(cesql::Functions::builtin());
            None
        })
    });
    thread.unwrap().join().expect("no panic")
}

#[test]
fn nesting_has_a_limit_whatever_it_is_made_of() {
    for (open, middle, close) in [
        ("(", "1", ")"),
        ("NOT ", "TRUE", ""),
        ("-", "a", ""),
        ("- ", "1", ""),
        ("LENGTH(", "a", ")"),
        ("CONCAT_WS('', ", "a", ")"),
        ("1 IN (", "1", ")"),
        ("NOT (", "a", ")"),
        ("-(NOT ", "a", ")"),
        ("(1 + ", "1", ")"),
        ("(1 OR 1 = 1 + 1 * ", "1", ")"),
        ("(1 OR 1 = 1 + 1 * -", "1", ")"),
        ("1 OR (", "1", " LIKE 'a')"),
        ("", "a", " LIKE 'a'"),
        ("", "a", " NOT IN (1)"),
        ("", "a", " IN (1) LIKE 'a'"),
        ("(", "a", " IN (1) + 1)"),
    ] {
        let nested = |times: usize| open.repeat(times) + middle + &close.repeat(times);
        assert_eq!(
            fault_with_little_stack(nested(10)),
            None,
            "{open}{middle}{close}"
        );
        for times in [MAX_DEPTH / 4, MAX_DEPTH / 2, MAX_DEPTH - 1, MAX_DEPTH] {
            let fault = fault_with_little_stack(nested(times));
            assert!(matches!(fault, None | Some(Fault::TooDeep)), "{fault:?}");
        }
        for times in [MAX_DEPTH + 1, 3_000] {
            let fault = fault_with_little_stack(nested(times));
            assert_eq!(fault, Some(Fault::TooDeep), "{open}{middle}{close}");
        }
    }
}

#[test]
fn unclosed_nesting_has_the_same_limit() {
    for open in ["(", "NOT ", "-", "LENGTH(", "1 IN (", "1 + ("] {
        let fault = fault_with_little_stack(open.repeat(5_000));
        assert_eq!(fault, Some(Fault::TooDeep), "{open}");
    }
}

#[test]
fn a_long_row_of_operators_is_no_nesting() {
    for (operator, rest) in [
        (" OR ", 8_000),
        (" AND ", 8_000),
        (" + ", 8_000),
        (" = ", 8_000),
        (" * 1 = 1 XOR ", 3_000),
    ] {
        let text = format!("1{}", format!("{operator}1").repeat(rest));
        assert_eq!(fault_with_little_stack(text), None, "{operator}");
    }
}

#[test]
fn a_text_has_a_limit() {
    let longest = format!("'{}'", "a".repeat(MAX_LENGTH - 2));
    assert!(longest.parse::<Expression>().is_ok());
    let error = format!("{longest} ").parse::<Expression>().unwrap_err();
    assert_eq!(error.fault(), &Fault::TooLong(MAX_LENGTH + 1));
    assert!(error.to_string().contains("65537 bytes; at most 65536"));
}

#[test]
fn texts_that_functions_make_have_a_limit() {
    // Each level makes the delimiter four times as long.
    let nested = (0..20).fold("'ab'".to_owned(), |delimiter, _| {
        format!("CONCAT_WS({delimiter}, '', '', '', '', '')")
    });
    let evaluation = nested
        .parse::<Expression>()
        .unwrap()
        .evaluate(&Event::new());
    assert_eq!(evaluation.errors[0].kind(), ErrorKind::Generic);
    assert_eq!(evaluation.value.type_of(), cesql::Type::String);

    let long = Event::from([("a".to_owned(), Value::String("x".repeat(40_000)))]);
    let expression: Expression = "CONCAT(a, a)".parse().unwrap();
    let evaluation = expression.evaluate(&long);
    assert_eq!(evaluation.value, Value::from(""));
    let message = evaluation.errors[0].to_string();
    assert_eq!(
        message,
        "CONCAT would make a text of 80000 bytes; at most 65536 are possible"
    );
    let expression: Expression = "LENGTH(CONCAT(a, 'y'))".parse().unwrap();
    assert_eq!(expression.evaluate(&long).value, Value::Integer(40_001));
}
