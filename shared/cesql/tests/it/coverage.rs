//! The cases cover the language: each operator, function, overload, kind of error.

use std::collections::BTreeSet;

use cesql::{ErrorKind, Functions};

use crate::{
    arithmetic, casts, comparison, functions, like, literals, logic, membership,
    missing_attributes, own_functions, parse_errors, precedence, specification,
    table::{Case, cases},
};

/// All tables, by theme.
pub fn themes() -> [(&'static str, &'static str); 13] {
    [
        ("arithmetic", arithmetic::CASES),
        ("casts", casts::CASES),
        ("comparison", comparison::CASES),
        ("functions", functions::CASES),
        ("like", like::CASES),
        ("literals", literals::CASES),
        ("logic", logic::CASES),
        ("membership", membership::CASES),
        ("missing attributes", missing_attributes::CASES),
        ("own functions", own_functions::CASES),
        ("parse errors", parse_errors::CASES),
        ("precedence", precedence::CASES),
        ("specification", specification::CASES),
    ]
}

/// The cases that are expressions.
fn evaluated() -> Vec<Case> {
    let all = themes().into_iter().flat_map(|(_, table)| cases(table));
    all.filter(|case| case.value.is_some()).collect()
}

/// An expression as the words and symbols that it is made of, without what stands in quotes, in upper case.
fn words(expression: &str) -> Vec<String> {
    let bare: String = expression.split(['\'', '"']).step_by(2).collect();
    let mut words: Vec<String> = Vec::new();
    let mut last = None;
    for character in bare.to_uppercase().chars() {
        let class = match character {
            'A'..='Z' | '0'..='9' | '_' => Some(0),
            '(' | ')' | ',' | ' ' => None,
            '-' | '+' => Some(2),
            _ => Some(1),
        };
        match words.last_mut() {
            Some(word) if class.is_some() && class == last && class != Some(2) => {
                word.push(character);
            }
            _ => words.push(character.to_string()),
        }
        last = class;
    }
    words
}

#[test]
fn every_operator_is_in_some_case() {
    let used: BTreeSet<String> = evaluated()
        .iter()
        .flat_map(|c| words(&c.expression))
        .collect();
    for operator in cesql::operators() {
        assert!(used.contains(operator), "no case has {operator}");
    }
    assert_eq!(
        cesql::operators().count(),
        19,
        "the specification has as many"
    );
}

#[test]
fn every_function_is_in_cases_with_each_number_of_arguments() {
    let cases = evaluated();
    for function in Functions::builtin().iter() {
        let call = format!("{}(", function.name());
        let parameters = function.to_string().matches(", ").count();
        let found = cases.iter().any(|case| {
            case.expression.starts_with(&call)
                && case.errors.is_empty()
                && case.expression.matches(", ").count() == parameters
        });
        assert!(found, "no case calls {function}");
    }
}

#[test]
fn every_function_of_the_specification_is_there() {
    let names: BTreeSet<&str> = Functions::builtin().iter().map(|f| f.name()).collect();
    let expected = BTreeSet::from([
        "LENGTH",
        "CONCAT",
        "CONCAT_WS",
        "LOWER",
        "UPPER",
        "TRIM",
        "LEFT",
        "RIGHT",
        "SUBSTRING",
        "ABS",
        "INT",
        "BOOL",
        "STRING",
        "IS_INT",
        "IS_BOOL",
    ]);
    assert_eq!(names, expected);
    assert_eq!(
        Functions::builtin().iter().count(),
        expected.len() + 1,
        "SUBSTRING is there twice"
    );
}

#[test]
fn every_kind_of_error_is_in_some_case() {
    let all = themes().into_iter().flat_map(|(_, table)| cases(table));
    let used: BTreeSet<String> = all.flat_map(|case| case.errors).collect();
    let expected: BTreeSet<String> = ErrorKind::ALL
        .iter()
        .map(|k| k.label().to_owned())
        .collect();
    assert_eq!(used, expected);
}

#[test]
fn no_case_is_there_twice_in_a_table() {
    for (theme, table) in themes() {
        let mut seen = BTreeSet::new();
        for case in cases(table) {
            let key = format!("{} {:?}", case.expression, case.event);
            assert!(seen.insert(key.clone()), "{theme}: {key}");
        }
    }
}
