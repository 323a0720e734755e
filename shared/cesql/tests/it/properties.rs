//! What holds for all expressions.

use cesql::{Expression, Functions, Mode, Value};
use proptest::prelude::*;

use crate::table::{Event, labels};

/// Expressions as people could write them: loosely spaced, with and without parentheses.
fn expressions() -> impl Strategy<Value = String> {
    let text = prop_oneof![
        "[a-c%_]{0,4}".prop_map(|text| format!("'{text}'")),
        "[a-c%_'\\\\\"]{0,4}".prop_map(|text| {
            let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
            format!("\"{escaped}\"")
        }),
    ];
    let leaf = prop_oneof![
        Just("TRUE".to_owned()),
        Just("false".to_owned()),
        any::<i32>().prop_map(|number| number.to_string()),
        (0..20_i32).prop_map(|number| number.to_string()),
        "[a-d]".prop_map(|name| name),
        "EXISTS [a-d]".prop_map(|exists| exists),
        text.clone(),
    ];
    leaf.prop_recursive(5, 40, 4, move |inner| {
        let binary = prop::sample::select(vec![
            "AND", "OR", "XOR", "=", "!=", "<>", "<", "<=", ">", ">=", "+", "-", "*", "/", "%",
        ]);
        let call = prop::sample::select(vec![
            "LENGTH",
            "concat",
            "CONCAT_WS",
            "LEFT",
            "SUBSTRING",
            "ABS",
            "INT",
            "BOOL",
            "STRING",
            "NOSUCH",
        ]);
        let not = prop::sample::select(vec!["", "NOT "]);
        prop_oneof![
            (inner.clone(), binary, inner.clone()).prop_map(|(l, o, r)| format!("{l} {o} {r}")),
            inner.clone().prop_map(|e| format!("({e})")),
            inner.clone().prop_map(|e| format!("NOT {e}")),
            inner.clone().prop_map(|e| format!("- {e}")),
            inner.clone().prop_map(|e| format!("-({e})")),
            (inner.clone(), not.clone(), text.clone())
                .prop_map(|(e, n, p)| format!("{e} {n}LIKE {p}")),
            (
                inner.clone(),
                not,
                prop::collection::vec(inner.clone(), 1..4)
            )
                .prop_map(|(e, n, set)| format!("{e} {n}IN ({})", set.join(" , "))),
            (call, prop::collection::vec(inner, 0..4))
                .prop_map(|(f, a)| format!("{f}({})", a.join(","))),
        ]
    })
}

fn values() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<bool>().prop_map(Value::Boolean),
        any::<i32>().prop_map(Value::Integer),
        (-3..4_i32).prop_map(Value::Integer),
        ".{0,6}".prop_map(Value::String),
        "[-+]?[0-9]{1,2}".prop_map(Value::String),
        prop::sample::select(vec!["true", "FALSE"]).prop_map(Value::from),
    ]
}

fn events() -> impl Strategy<Value = Event> {
    prop::collection::btree_map("[a-d]", values(), 0..4)
}

/// Texts of what expressions are made of, in any order.
fn tokens() -> impl Strategy<Value = String> {
    let token = prop::sample::select(vec![
        "(",
        ")",
        ",",
        "'",
        "\"",
        "'x'",
        "\\",
        "NOT",
        "AND",
        "OR",
        "XOR",
        "LIKE",
        "IN",
        "EXISTS",
        "TRUE",
        "a",
        "F",
        "LEFT",
        "a_b",
        "1",
        "-1",
        "99999999999",
        "+",
        "-",
        "*",
        "/",
        "%",
        "=",
        "!=",
        "<>",
        "<",
        ">=",
        "==",
        "!",
        "&&",
        " ",
        "\n",
        "é",
    ]);
    prop::collection::vec(token, 0..20).prop_map(|tokens| tokens.join(" "))
}

/// What an expression gives for an event.
fn given(text: &str, event: &Event) -> (Value, Vec<String>) {
    let got = text.parse::<Expression>().expect(text).evaluate(event);
    (got.value, labels(&got.errors))
}

/// Parses and, if it can be, evaluates and writes. Must not panic.
fn exercise(text: &str, event: &Event) {
    match text.parse::<Expression>() {
        Ok(expression) => {
            for mode in [Mode::Complete, Mode::FailFast] {
                expression.evaluate_with(event, Functions::builtin(), mode);
            }
            expression.matches(event);
            assert_eq!(expression.to_string().parse(), Ok(expression));
        }
        Err(error) => {
            assert!(text.is_char_boundary(error.position()));
            assert_eq!(error.to_string().lines().count(), 3);
        }
    }
}

proptest! {
    #[test]
    fn no_text_causes_a_panic(text in any::<String>(), event in events()) {
        exercise(&text, &event);
    }

    #[test]
    fn no_bytes_cause_a_panic(bytes in any::<Vec<u8>>(), event in events()) {
        exercise(&String::from_utf8_lossy(&bytes), &event);
    }

    #[test]
    fn no_row_of_tokens_causes_a_panic(text in tokens(), event in events()) {
        exercise(&text, &event);
    }

    #[test]
    fn an_expression_that_is_written_parses_to_the_same(text in expressions()) {
        let expression: Expression = text.parse().expect(&text);
        let written = expression.to_string();
        prop_assert_eq!(written.parse::<Expression>(), Ok(expression), "{} {}", text, written);
    }

    #[test]
    fn an_expression_that_is_written_has_the_same_value(text in expressions(), event in events()) {
        let written = text.parse::<Expression>().expect(&text).to_string();
        prop_assert_eq!(given(&text, &event), given(&written, &event));
    }

    #[test]
    fn parentheses_around_an_expression_change_nothing(text in expressions()) {
        let bare: Expression = text.parse().expect(&text);
        prop_assert_eq!(format!("({text})").parse::<Expression>(), Ok(bare));
    }

    #[test]
    fn every_text_can_be_written_as_a_literal(text in any::<String>(), quote in prop::sample::select(vec!['\'', '"'])) {
        let escaped = text.replace('\\', "\\\\").replace(quote, &format!("\\{quote}"));
        let literal = format!("{quote}{escaped}{quote}");
        let written = literal.parse::<Expression>().expect("a literal").to_string();
        for literal in [literal, written] {
            prop_assert_eq!(given(&literal, &Event::new()), (Value::from(text.as_str()), vec![]));
        }
    }

    #[test]
    fn the_modes_agree_up_to_the_first_error(text in expressions(), event in events()) {
        let expression: Expression = text.parse().expect(&text);
        let complete = expression.evaluate_with(&event, Functions::builtin(), Mode::Complete);
        let fast = expression.evaluate_with(&event, Functions::builtin(), Mode::FailFast);
        prop_assert_eq!(complete.errors.first(), fast.errors.first());
        prop_assert!(fast.errors.len() <= 1);
        prop_assert!(!complete.errors.is_empty() || complete.value == fast.value);
        let passes = complete.errors.is_empty() && complete.value == Value::Boolean(true);
        prop_assert_eq!(expression.matches(&event), passes);
    }

    #[test]
    fn logic_on_booleans_is_that_of_rust(a in any::<bool>(), b in any::<bool>()) {
        for (text, expected) in [
            ("a AND b", a && b),
            ("a OR b", a || b),
            ("a XOR b", a != b),
            ("NOT a", !a),
            ("NOT (a AND b) = ((NOT a) OR (NOT b))", true),
            ("NOT (a OR b) = ((NOT a) AND (NOT b))", true),
            ("(a AND b) = (b AND a)", true),
            ("(a OR b) = (b OR a)", true),
            ("(a XOR b) = (a != b)", true),
        ] {
            let event = Event::from([("a".to_owned(), Value::from(a)), ("b".to_owned(), Value::from(b))]);
            prop_assert_eq!(given(text, &event), (Value::from(expected), vec![]), "{}", text);
        }
    }

    #[test]
    fn what_is_on_the_right_of_a_decided_and_or_or_does_not_matter(text in expressions(), event in events()) {
        prop_assert_eq!(given(&format!("FALSE AND ({text})"), &event), (Value::from(false), vec![]));
        prop_assert_eq!(given(&format!("TRUE OR ({text})"), &event), (Value::from(true), vec![]));
    }

    #[test]
    fn arithmetic_is_exact_or_an_error(a in any::<i32>(), b in any::<i32>()) {
        let event = Event::from([("a".to_owned(), Value::from(a)), ("b".to_owned(), Value::from(b))]);
        let (x, y) = (i64::from(a), i64::from(b));
        for (text, exact) in [
            ("a + b", Some(x + y)),
            ("a - b", Some(x - y)),
            ("a * b", Some(x * y)),
            ("a / b", x.checked_div(y)),
            ("a % b", x.checked_rem(y)),
            ("-a", Some(-x)),
        ] {
            let expected = match exact.and_then(|exact| i32::try_from(exact).ok()) {
                Some(exact) => (Value::from(exact), vec![]),
                None => (Value::from(0), vec!["math".to_owned()]),
            };
            prop_assert_eq!(given(text, &event), expected, "{}", text);
        }
    }

    #[test]
    fn comparisons_are_consistent(a in values(), b in values()) {
        let event = Event::from([("a".to_owned(), a), ("b".to_owned(), b)]);
        let truth = |text: &str| given(text, &event).0 == Value::from(true);
        prop_assert_eq!(truth("a = b"), !truth("a != b"));
        prop_assert_eq!(truth("a != b"), truth("a <> b"));
        prop_assert_eq!(truth("a < b"), truth("b > a"));
        prop_assert_eq!(truth("a < b"), !truth("a >= b"));
        prop_assert_eq!(truth("a <= b"), !truth("a > b"));
        prop_assert_eq!(truth("a IN (b)"), truth("b = a"));
        prop_assert_eq!(truth("a NOT IN (b)"), !truth("a IN (b)"));
        prop_assert!(truth("a = a"));
    }

    #[test]
    fn parts_of_a_text_make_the_whole(text in ".{1,8}", part in any::<prop::sample::Index>()) {
        let length = text.chars().count();
        let taken = i32::try_from(part.index(length)).expect("a short text");
        let event = Event::from([
            ("a".to_owned(), Value::String(text)),
            ("n".to_owned(), Value::Integer(taken)),
        ]);
        for whole in [
            "CONCAT(LEFT(a, n), RIGHT(a, LENGTH(a) - n)) = a",
            "CONCAT(LEFT(a, n), SUBSTRING(a, n + 1)) = a",
            "CONCAT(SUBSTRING(a, -LENGTH(a), n), SUBSTRING(a, n - LENGTH(a))) = a",
            "SUBSTRING(a, 1, n) = LEFT(a, n)",
        ] {
            prop_assert_eq!(given(whole, &event), (Value::from(true), vec![]), "{}", whole);
        }
    }
}
