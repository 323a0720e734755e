//! Attributes that the event does not have (section 3.2).

use cesql::{Expression, Functions};

use crate::table::{cases, check};

pub const CASES: &str = r#"
# By itself, its type is not known; Boolean is assumed.
missing                  | | false | missingAttribute
(missing)                | | false | missingAttribute
missingAttribute         | | false | missingAttribute
subject                  | id='1' | false | missingAttribute
id                       | | false | missingAttribute

# An operator that refers to it gives the zero value of the type that it returns, and does nothing else.
NOT missing              | | false | missingAttribute
-missing                 | | 0     | missingAttribute
missing * 5              | | 0     | missingAttribute
5 * missing              | | 0     | missingAttribute
missing / 0              | | 0     | missingAttribute
1 / missing              | | 0     | missingAttribute
missing % 0              | | 0     | missingAttribute
1 % missing              | | 0     | missingAttribute
missing + 5              | | 0     | missingAttribute
5 + missing              | | 0     | missingAttribute
missing - 5              | | 0     | missingAttribute
5 - missing              | | 0     | missingAttribute
missing = 2              | | false | missingAttribute
missing = ''             | | false | missingAttribute
missing = FALSE          | | false | missingAttribute
'' = missing             | | false | missingAttribute
missing != 2             | | false | missingAttribute
2 != missing             | | false | missingAttribute
missing <> 2             | | false | missingAttribute
missing < 2              | | false | missingAttribute
missing <= 2             | | false | missingAttribute
2 > missing              | | false | missingAttribute
2 >= missing             | | false | missingAttribute
missing LIKE '%'         | | false | missingAttribute
missing NOT LIKE '%'     | | false | missingAttribute
missing IN ('a', '')     | | false | missingAttribute
missing NOT IN ('a')     | | false | missingAttribute
'a' IN ('a', missing)    | | false | missingAttribute
'a' IN (missing, 'a')    | | false | missingAttribute
'a' NOT IN (missing)     | | false | missingAttribute
missing AND TRUE         | | false | missingAttribute
TRUE AND missing         | | false | missingAttribute
missing OR TRUE          | | false | missingAttribute
FALSE OR missing         | | false | missingAttribute
missing XOR TRUE         | | false | missingAttribute
TRUE XOR missing         | | false | missingAttribute
(missing) + 5            | | 0     | missingAttribute
missing + 'abc'          | | 0     | missingAttribute
'abc' + missing          | | 0     | missingAttribute

# EXISTS is for that.
EXISTS missing           | | false |
NOT EXISTS missing       | | true  |
EXISTS missing AND missing > 2       | | false |
EXISTS present AND present > 2       | present=3 | true |
NOT EXISTS missing OR missing > 2    | | true  |

# What is not evaluated is not missed.
FALSE AND missing        | | false |
TRUE OR missing          | | true  |
missing AND other        | | false | missingAttribute

# All that are missed are named.
missing = other          | | false | missingAttribute, missingAttribute
missing OR other         | | false | missingAttribute, missingAttribute
missing XOR other        | | false | missingAttribute, missingAttribute
missing IN (other, 1)    | | false | missingAttribute, missingAttribute
CONCAT(missing, 'a', other) | | '' | missingAttribute, missingAttribute

# A function with such an argument is not called.
LENGTH(missing)          | | 0     | missingAttribute
CONCAT(missing)          | | ''    | missingAttribute
CONCAT('a', missing)     | | ''    | missingAttribute
CONCAT_WS(missing, 'a')  | | ''    | missingAttribute
CONCAT_WS('a', missing)  | | ''    | missingAttribute
LOWER(missing)           | | ''    | missingAttribute
UPPER(missing)           | | ''    | missingAttribute
TRIM(missing)            | | ''    | missingAttribute
LEFT(missing, 1)         | | ''    | missingAttribute
LEFT('abc', missing)     | | ''    | missingAttribute
RIGHT(missing, 1)        | | ''    | missingAttribute
RIGHT('abc', missing)    | | ''    | missingAttribute
SUBSTRING(missing, 1)    | | ''    | missingAttribute
SUBSTRING('abc', missing, 1) | | '' | missingAttribute
ABS(missing)             | | 0     | missingAttribute
INT(missing)             | | 0     | missingAttribute
BOOL(missing)            | | false | missingAttribute
STRING(missing)          | | ''    | missingAttribute
IS_INT(missing)          | | false | missingAttribute
IS_BOOL(missing)         | | false | missingAttribute
NOSUCH(missing)          | | false | missingFunction

# It goes no further than the operator or function that refers to it.
true AND (missing = "")  | | false | missingAttribute
(missing = 2) OR TRUE    | | true  | missingAttribute
NOT (missing = 2)        | | true  | missingAttribute
(missing + 1) + 1        | | 1     | missingAttribute
missing + 1 + 1          | | 1     | missingAttribute
missing * 5 = 0          | | true  | missingAttribute
1 / (missing + 1)        | | 0     | missingAttribute, math
LENGTH(CONCAT(missing)) = 0 | | true | missingAttribute
TRUE IN (missing = 2, TRUE) | | true | missingAttribute
(missing LIKE 'a') IN (FALSE) | | true | missingAttribute
"#;

#[test]
fn what_refers_to_a_missing_attribute_gives_its_zero_value() {
    check(CASES);
}

/// Those without an operand or argument apart.
#[test]
fn every_operator_and_function_meets_a_missing_attribute() {
    let expressions: Vec<_> = cases(CASES).into_iter().map(|c| c.expression).collect();
    let names = Functions::builtin()
        .iter()
        .map(|f| format!("{}(", f.name()));
    for written in cesql::operators().map(str::to_owned).chain(names) {
        let met = |e: &String| e.contains("missing") && e.contains(&written);
        assert!(expressions.iter().any(met), "no case with {written}");
    }
}

#[test]
fn the_error_names_the_attribute_and_what_to_do() {
    let expression: Expression = "Retries > 1".parse().unwrap();
    let evaluation = expression.evaluate(&crate::table::Event::new());
    let message = evaluation.errors[0].to_string();
    assert!(message.contains("no attribute retries"), "{message}");
    assert!(message.contains("EXISTS retries AND"), "{message}");
}
