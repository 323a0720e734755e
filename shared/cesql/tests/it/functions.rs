//! Built-in functions (sections 3.5.1 and 3.5.2) and how they are called (section 3.5).

use cesql::{Expression, Value};

use crate::table::{Event, check};

pub const CASES: &str = r#"
# LENGTH counts characters.
LENGTH('abc')            | | 3 |
LENGTH('')               | | 0 |
LENGTH(' a ')            | | 3 |
LENGTH('日本')            | | 2 |
LENGTH('☕')              | | 1 |

CONCAT()                 | | '' |
CONCAT('a')              | | 'a' |
CONCAT('a', 'b', 'c')    | | 'abc' |
CONCAT('a', '', 'c')     | | 'ac' |
CONCAT(id, '/', subject) | id='1', subject='x' | '1/x' |

CONCAT_WS(',')           | | '' |
CONCAT_WS(',', 'a')      | | 'a' |
CONCAT_WS(',', 'a', 'b') | | 'a,b' |
CONCAT_WS(', ', 'a', 'b', 'c') | | 'a, b, c' |
CONCAT_WS('', 'a', 'b')  | | 'ab' |
CONCAT_WS('-', '', '')   | | '-' |
CONCAT_WS()              | | false | missingFunction

LOWER('ABC')             | | 'abc' |
LOWER('aBc 1')           | | 'abc 1' |
LOWER('ÄΣ')              | | 'äς' |
UPPER('abc')             | | 'ABC' |
UPPER('aBc 1')           | | 'ABC 1' |
UPPER('straße')          | | 'STRASSE' |

TRIM('  a b  ')          | | 'a b' |
TRIM('a ')               | | 'a' |
TRIM(' a')               | | 'a' |
TRIM('a')                | | 'a' |
TRIM('   ')              | | '' |
TRIM('')                 | | '' |

LEFT('abc', 2)           | | 'ab' |
LEFT('abc', 3)           | | 'abc' |
LEFT('abc', 10)          | | 'abc' |
LEFT('abc', 0)           | | '' |
LEFT('', 0)              | | '' |
LEFT('', 5)              | | '' |
LEFT('日本語', 2)          | | '日本' |
LEFT('abc', -2)          | | 'abc' | functionEvaluation
LEFT('abc', -2147483648) | | 'abc' | functionEvaluation
LEFT('abc', 2147483647)  | | 'abc' |

RIGHT('abc', 2)          | | 'bc' |
RIGHT('abc', 3)          | | 'abc' |
RIGHT('abc', 10)         | | 'abc' |
RIGHT('abc', 0)          | | '' |
RIGHT('', 0)             | | '' |
RIGHT('日本語', 2)         | | '本語' |
RIGHT('abc', -2)         | | 'abc' | functionEvaluation
RIGHT('abc', 2147483647) | | 'abc' |

# Positions are counted from 1, and from the end if negative.
SUBSTRING('abcdef', 1)   | | 'abcdef' |
SUBSTRING('abcdef', 2)   | | 'bcdef' |
SUBSTRING('abcdef', 6)   | | 'f' |
SUBSTRING('abcdef', -1)  | | 'f' |
SUBSTRING('abcdef', -3)  | | 'def' |
SUBSTRING('abcdef', -6)  | | 'abcdef' |
SUBSTRING('abcdef', 0)   | | '' |
SUBSTRING('', 0)         | | '' |
SUBSTRING('日本語', 2)     | | '本語' |
SUBSTRING('abcdef', 7)   | | '' | functionEvaluation
SUBSTRING('abcdef', -7)  | | '' | functionEvaluation
SUBSTRING('', 1)         | | '' | functionEvaluation
SUBSTRING('', -1)        | | '' | functionEvaluation
SUBSTRING('abcdef', -2147483648) | | '' | functionEvaluation
SUBSTRING('abcdef', 2147483647)  | | '' | functionEvaluation

SUBSTRING('abcdef', 1, 6)   | | 'abcdef' |
SUBSTRING('abcdef', 2, 4)   | | 'bcde' |
SUBSTRING('abcdef', 2, 0)   | | '' |
SUBSTRING('abcdef', 5, 10)  | | 'ef' |
SUBSTRING('abcdef', 5, 2147483647) | | 'ef' |
SUBSTRING('abcdef', -5, 3)  | | 'bcd' |
SUBSTRING('abcdef', -2, 10) | | 'ef' |
SUBSTRING('abcdef', 0, 3)   | | '' |
SUBSTRING('日本語', -3, 1)    | | '日' |
SUBSTRING('abcdef', 7, 1)   | | '' | functionEvaluation
SUBSTRING('abcdef', -7, 1)  | | '' | functionEvaluation
SUBSTRING('abcdef', 1, -1)  | | '' | functionEvaluation
SUBSTRING('abcdef', 0, -1)  | | '' | functionEvaluation

ABS(10)                  | | 10 |
ABS(-10)                 | | 10 |
ABS(0)                   | | 0  |
ABS(2147483647)          | | 2147483647 |
ABS(-2147483647)         | | 2147483647 |
ABS(-2147483648)         | | 2147483647 | math

# Names are the same in any case; what they are not is a function.
length('abc')            | | 3 |
Concat_Ws('-', 1, 2)     | | '1-2' |
LENGTH ('abc')           | | 3 |
LENGTH(LENGTH('abcdefghijkl')) | | 2 |
NOSUCH()                 | | false | missingFunction
NOSUCH('a', 'b')         | | false | missingFunction
NO_SUCH_()               | | false | missingFunction
LENGTH()                 | | false | missingFunction
LENGTH('a', 'b')         | | false | missingFunction
SUBSTRING('a')           | | false | missingFunction
SUBSTRING('a', 1, 1, 1)  | | false | missingFunction
LEFT('a')                | | false | missingFunction
ABS()                    | | false | missingFunction
INT()                    | | false | missingFunction
BOOL(1, 2)               | | false | missingFunction
STRING()                 | | false | missingFunction
IS_INT()                 | | false | missingFunction
IS_BOOL()                | | false | missingFunction
NOSUCH() + 1             | | 1     | missingFunction
NOSUCH() OR TRUE         | | true  | missingFunction
LENGTH(NOSUCH())         | | 5     | missingFunction
NOSUCH(1 / 0)            | | false | missingFunction

# A function goes on with what stands for an argument.
LENGTH(LEFT('abc', -1))  | | 3     | functionEvaluation
CONCAT(1 / 0, LEFT('abc', -1)) | | '0abc' | math, functionEvaluation
LEFT('abc', 1 / 0)       | | ''    | math
"#;

fn evaluated(text: &str) -> Value {
    let expression: Expression = text.parse().expect(text);
    let evaluation = expression.evaluate(&Event::new());
    assert_eq!(evaluation.errors, [], "{text:?}");
    evaluation.value
}

#[test]
fn built_in_functions_do_what_the_specification_says() {
    check(CASES);
}

#[test]
fn trim_takes_all_white_space_of_unicode_and_nothing_else() {
    let spaces =
        "\t\n\u{b}\u{c}\r \u{85}\u{a0}\u{1680}\u{2000}\u{2028}\u{2029}\u{202f}\u{205f}\u{3000}";
    let trimmed = evaluated(&format!("TRIM('{spaces}a{spaces}b{spaces}')"));
    assert_eq!(trimmed, Value::String(format!("a{spaces}b")));
    for other in ['\0', '\u{1}', '\u{1b}', '\u{200b}', '\u{feff}'] {
        let kept = format!("{other}a{other}");
        assert_eq!(evaluated(&format!("TRIM('{kept}')")), Value::String(kept));
    }
}

#[test]
fn a_call_that_is_missing_is_known_without_an_event() {
    let expression: Expression = "LENGTH(a) > 1 AND NOSUCH(LEFT(a))".parse().unwrap();
    let errors = expression.check(cesql::Functions::builtin());
    let kinds: Vec<_> = errors.iter().map(|e| e.kind().label()).collect();
    assert_eq!(kinds, ["missingFunction", "missingFunction"]);
    let good: Expression = "LENGTH(a) IN (1, ABS(b)) OR NOT -c LIKE 'x' AND EXISTS d"
        .parse()
        .unwrap();
    assert_eq!(good.check(cesql::Functions::builtin()), []);
}

#[test]
fn the_type_of_a_value_is_known_without_an_event() {
    use cesql::Type::{Boolean, Integer, String};

    for (text, expected) in [
        ("id", None),
        ("'a'", Some(String)),
        ("7", Some(Integer)),
        ("TRUE", Some(Boolean)),
        ("NOT a", Some(Boolean)),
        ("-a", Some(Integer)),
        ("a LIKE 'b'", Some(Boolean)),
        ("a IN (1)", Some(Boolean)),
        ("EXISTS a", Some(Boolean)),
        ("a = b", Some(Boolean)),
        ("a AND b", Some(Boolean)),
        ("a + b", Some(Integer)),
        ("a % b", Some(Integer)),
        ("LOWER(a)", Some(String)),
        ("ABS(a)", Some(Integer)),
        ("NOSUCH(a)", Some(Boolean)),
    ] {
        let expression: Expression = text.parse().unwrap();
        let found = expression.return_type(cesql::Functions::builtin());
        assert_eq!(found, expected, "{text}");
    }
}
