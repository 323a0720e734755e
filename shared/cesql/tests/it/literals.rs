//! Literals and attributes (sections 2.2, 3.1 and 3.2).

use cesql::{Expression, Value};

use crate::table::{Event, check};

pub const CASES: &str = r#"
# Booleans, in any case.
TRUE                | | true  |
true                | | true  |
tRuE                | | true  |
FALSE               | | false |
fAlSe               | | false |

# Integers of 32 bits, with a sign or without.
0                   | | 0     |
7                   | | 7     |
+7                  | | 7     |
-7                  | | -7    |
-0                  | | 0     |
0042                | | 42    |
2147483647          | | 2147483647  |
+2147483647         | | 2147483647  |
-2147483648         | | -2147483648 |
2147483648          | |       | parse
-2147483649         | |       | parse
99999999999999999999 | |      | parse

# Texts in either quotes; the other ones need no escaping.
'abc'               | | 'abc' |
"abc"               | | 'abc' |
''                  | | ''    |
""                  | | ''    |
'aBc dEF'           | | 'aBc dEF' |
'it\'s'             | | 'it's' |
"it's"              | | 'it's' |
'say "x"'           | | 'say "x"' |
"say \"x\""         | | 'say "x"' |
'\''                | | ''' |
"\""                | | '"' |
'TRUE'              | | 'TRUE' |
'1'                 | | '1' |
'naïve ☕ 日本'      | | 'naïve ☕ 日本' |
'(a, b) + %'        | | '(a, b) + %' |

# A backslash is itself, but before the quote and before another one.
'a\b'               | | 'a\b' |
'a\%'               | | 'a\%' |
'a\"b'              | | 'a\"b' |
"a\'b"              | | 'a\'b' |
'a\\b'              | | 'a\b' |
'a\\'               | | 'a\' |
'\\\''              | | '\'' |

# Attributes, of any of the three types.
id                  | id='A-1'            | 'A-1' |
subject             | subject='orders'    | 'orders' |
sequence            | sequence=10         | 10 |
urgent              | urgent=true         | true |
time                | time='2018-04-26T14:48:09+02:00' | '2018-04-26T14:48:09+02:00' |
1st                 | 1st='digits first'  | 'digits first' |
4and5               | 4and5='one word'    | 'one word' |
android             | android='no keyword' | 'no keyword' |
anextensionwithalongname | anextensionwithalongname=1 | 1 |

# Their names are lower case, however they are written.
SUBJECT             | subject='orders'    | 'orders' |
mySubject           | mysubject='orders'  | 'orders' |
EXISTS Subject      | subject='orders'    | true |

# Parentheses and white space mean nothing by themselves.
(7)                 | | 7 |
((('a')))           | | 'a' |
(subject)           | subject='orders'    | 'orders' |
"#;

#[test]
fn literals_and_attributes_have_their_values() {
    check(CASES);
}

#[test]
fn white_space_between_tokens_means_nothing() {
    let loose: Expression = "\r\n\tABS\t( - 1\n)\r\n= 1 \t".parse().unwrap();
    let tight: Expression = "ABS(- 1)=1".parse().unwrap();
    assert_eq!(loose, tight);
}

#[test]
fn white_space_in_a_text_stays() {
    let text: Expression = "' a\n\tb '".parse().unwrap();
    assert_eq!(text.evaluate(&Event::new()).value, Value::from(" a\n\tb "));
}

#[test]
fn other_white_space_than_that_of_the_grammar_is_refused() {
    for space in ['\u{a0}', '\u{2003}', '\u{b}', '\u{feff}'] {
        let text = format!("1{space}= 1");
        assert!(text.parse::<Expression>().is_err(), "{text:?}");
    }
}
