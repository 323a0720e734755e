//! What is wrong with a filter before there is an event.

use cesql::{Expression, Type};

fn judged(text: &str) -> Result<(), String> {
    let expression: Expression = text.parse().expect("an expression");
    let types = |name: &str| match name {
        "type" | "cluster" => Some(Type::String),
        "took" => Some(Type::Integer),
        "managed" => Some(Type::Boolean),
        _ => None,
    };
    expression
        .check_filter(types)
        .map_err(|fault| fault.to_string())
}

#[test]
fn a_filter_that_some_event_can_pass_is_fine() {
    for fine in [
        "cluster = 'hippo' AND took > 5",
        "EXISTS cluster",
        "managed",
        "NOT managed",
        "took / 10 > 1",
        "TRUE",
        "FALSE AND 1 / 0 = 1 OR TRUE",
        "took IN (1, 2) OR type LIKE 'a%'",
    ] {
        assert_eq!(judged(fine), Ok(()), "{fine}");
    }
}

#[test]
fn a_filter_that_no_event_can_pass_says_why() {
    for (text, why) in [
        ("foo(1)", "no function FOO for 1 argument"),
        ("took", "took gives a number"),
        ("cluster", "compare it, such as cluster = 'text'"),
        ("took + 1", "took + 1 gives a number"),
        ("cluster = hippo", "write 'hippo' in quotes"),
        ("nosuch = 3", "no event has an attribute nosuch"),
        ("EXISTS nosuch", "no event has an attribute nosuch"),
        ("1 / 0 = 1", "1 / 0 divides by zero"),
        ("took = 1 / 0", "1 / 0 divides by zero"),
        ("EXISTS cluster AND 1 % 0 = 1", "1 % 0 divides by zero"),
        ("1 = 2", "is false whatever the event"),
        ("'a'", "'a' gives a text"),
    ] {
        let told = judged(text).expect_err(text);
        assert!(told.contains(why), "{text}: {told}");
        assert_eq!(told.lines().count(), 1, "{text}: {told}");
    }
}
