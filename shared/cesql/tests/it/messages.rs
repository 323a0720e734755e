//! What errors tell a person.

use cesql::{Error, Expression, Fault};

use crate::table::Event;

fn parse_error(text: &str) -> cesql::ParseError {
    text.parse::<Expression>().unwrap_err()
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table of cases")]
fn a_parse_error_says_what_would_be_right_and_shows_the_place() {
    for (text, message) in [
        (
            "type = ) OR 1",
            "column 8: expected an attribute, a literal, a function, NOT, EXISTS, - or (, found )\n  \
             type = ) OR 1\n         ^",
        ),
        (
            "(a = 1",
            "column 7: expected an operator or ), found the end\n  (a = 1\n        ^",
        ),
        (
            "a = 'it's'",
            "column 9: expected an operator or the end, found s\n  a = 'it's'\n          ^",
        ),
        (
            "id = 'é' && x",
            "column 10: && is no operator; write AND\n  id = 'é' && x\n           ^",
        ),
        (
            "a LIKE b",
            "column 8: expected a pattern in quotes after LIKE, found b\n  a LIKE b\n         ^",
        ),
        (
            "a NOT 1",
            "column 7: expected LIKE or IN after NOT, found 1\n  a NOT 1\n        ^",
        ),
        (
            "a IN 1",
            "column 6: expected ( and a list after IN, found 1\n  a IN 1\n       ^",
        ),
        (
            "EXISTS 'a'",
            "column 8: expected the name of an attribute after EXISTS, found 'a'\n  EXISTS 'a'\n         ^",
        ),
        (
            "f(1 2)",
            "column 5: expected an operator, a comma or ), found 2\n  f(1 2)\n      ^",
        ),
        (
            "a = 2147483648",
            "column 5: 2147483648 is outside of -2147483648 to 2147483647; an integer has 32 bits\n  \
             a = 2147483648\n      ^",
        ),
        (
            "my_ext = 1",
            "column 1: my_ext is no name; attributes have a to z and 0 to 9, functions letters and _ and a ( after \
             them\n  my_ext = 1\n  ^",
        ),
        (
            "a ~ 1",
            "column 3: '~' has no meaning here; text is written in quotes\n  a ~ 1\n    ^",
        ),
        (
            "a = 'b",
            "column 5: the text that begins here has no closing '; inside of it ' is written \\', and \\ before the \
             end \\\\\n  a = 'b\n      ^",
        ),
        (
            "",
            "column 1: the expression is empty; write a condition, such as type = 'created'\n  \n  ^",
        ),
    ] {
        assert_eq!(parse_error(text).to_string(), message, "{text}");
    }
}

#[test]
fn a_parse_error_in_a_later_line_names_and_shows_that_line() {
    let error = parse_error("a = 1 AND\r\n\tb = ) OR\nc = 1");
    assert_eq!((error.line(), error.column()), (2, 6));
    assert_eq!(error.position(), 16);
    let message = error.to_string();
    assert!(
        message.starts_with("line 2, column 6: expected "),
        "{message}"
    );
    assert!(message.ends_with("\n   b = ) OR\n       ^"), "{message}");
}

#[test]
fn a_parse_error_in_a_long_line_shows_what_is_near() {
    let error = parse_error(&format!(
        "{}) OR b{}",
        "a OR ".repeat(500),
        " OR c".repeat(500)
    ));
    let message = error.to_string();
    let lines: Vec<_> = message.lines().collect();
    let [_, excerpt, mark] = lines[..] else {
        panic!("{message}");
    };
    assert!(excerpt.chars().count() <= 130, "{excerpt}");
    assert!(excerpt.starts_with("  …"), "{excerpt}");
    assert_eq!(excerpt.chars().nth(mark.chars().count() - 1), Some(')'));
}

#[test]
fn a_parse_error_has_no_control_characters_of_the_text() {
    let message = parse_error("EXISTS '\u{1b}[31m\n\u{7}'").to_string();
    assert_eq!(message.lines().count(), 3, "{message}");
    assert!(
        message.chars().all(|c| c == '\n' || !c.is_control()),
        "{message:?}"
    );
}

#[test]
fn a_message_does_not_repeat_a_long_text() {
    let long = "x".repeat(10_000);
    let mut messages = vec![
        parse_error(&format!("1 '{long}'")).to_string(),
        parse_error(&format!("_{long}")).to_string(),
        parse_error(&"9".repeat(10_000)).to_string(),
    ];
    let expression: Expression = format!("INT('{long}') + {long} + {long}()")
        .parse()
        .unwrap();
    let errors = expression.evaluate(&Event::new()).errors;
    messages.extend(errors.iter().map(Error::to_string));
    for message in messages {
        assert!(message.chars().count() < 400, "{message}");
    }
}

#[test]
fn an_error_of_evaluation_says_on_what_and_what_to_do() {
    for (text, message) in [
        (
            "7 / (1 - 1)",
            "7 / 0 divides by zero; keep 0 out before, with != 0 AND",
        ),
        (
            "2147483647 + 1",
            "2147483647 + 1 is outside of -2147483648 to 2147483647, all that 32 bits hold",
        ),
        (
            "'ten' + 1",
            "\"ten\" cannot be cast to Integer: it would have to be digits with an optional sign before them, from \
             -2147483648 to 2147483647",
        ),
        (
            "NOT 'yes'",
            "\"yes\" cannot be cast to Boolean: it would have to be true or false",
        ),
        (
            "size > 1",
            "the event has no attribute size; put EXISTS size AND in front where that is to be expected",
        ),
        (
            "left('abc')",
            "there is no function LEFT for 1 argument; there is LEFT(String, Integer) -> String",
        ),
        (
            "SUBSTRING('abc', 4)",
            "SUBSTRING failed: position 4 is outside of a text of 3 characters",
        ),
        (
            "LEFT('abc', -1)",
            "LEFT failed: -1 characters were asked for; give 0 or more",
        ),
    ] {
        let expression: Expression = text.parse().unwrap();
        let errors = expression.evaluate(&Event::new()).errors;
        assert_eq!(errors[0].to_string(), message, "{text}");
    }
}

#[test]
fn a_function_that_is_missing_is_told_with_those_that_there_are() {
    let expression: Expression = "LENGHT(a)".parse().unwrap();
    let message = expression.evaluate(&Event::new()).errors[0].to_string();
    assert!(message.starts_with("there is no function LENGHT for 1 argument; there are "));
    assert!(message.contains("LENGTH"), "{message}");
}

#[test]
fn a_parse_error_is_an_error_of_that_kind() {
    let error: Error = parse_error("a =").into();
    assert_eq!(error.kind().label(), "parse");
    assert!(error.to_string().starts_with("column 4: expected"));
    assert!(matches!(parse_error("!a").fault(), Fault::Operator { .. }));
}
