//! Casts: explicit by INT, BOOL and STRING, and the same implicitly (section 3.7).

use cesql::Type;

use crate::table::{cases, check};

pub const CASES: &str = r#"
# Integer to String: base 10, no leading zeros, a minus where there is one.
STRING(0)                | | '0'    |
STRING(-0)               | | '0'    |
STRING(007)              | | '7'    |
STRING(-12)              | | '-12'  |
STRING(+12)              | | '12'   |
STRING(-2147483648)      | | '-2147483648' |

# Integer to Boolean: false is 0 only.
BOOL(0)                  | | false  |
BOOL(1)                  | | true   |
BOOL(100)                | | true   |
BOOL(-50)                | | true   |

# String to Integer: base 10, a sign before it, 32 bits.
INT('1')                 | | 1      |
INT('-1')                | | -1     |
INT('+1')                | | 1      |
INT('007')               | | 7      |
INT('2147483647')        | | 2147483647  |
INT('-2147483648')       | | -2147483648 |
INT('2147483648')        | | 0      | cast
INT('-2147483649')       | | 0      | cast
INT('ABC')               | | 0      | cast
INT('')                  | | 0      | cast
INT('+')                 | | 0      | cast
INT('-')                 | | 0      | cast
INT('--1')               | | 0      | cast
INT(' 1')                | | 0      | cast
INT('1 ')                | | 0      | cast
INT('1.0')               | | 0      | cast
INT('1e3')               | | 0      | cast
INT('0x1F')              | | 0      | cast
INT('1_000')             | | 0      | cast
INT('٣')                 | | 0      | cast
INT('true')              | | 0      | cast

# String to Boolean: true and false, in any case.
BOOL('true')             | | true   |
BOOL('TRUE')             | | true   |
BOOL('tRue')             | | true   |
BOOL('false')            | | false  |
BOOL('False')            | | false  |
BOOL('ABC')              | | false  | cast
BOOL('')                 | | false  | cast
BOOL(' true')            | | false  | cast
BOOL('1')                | | false  | cast
BOOL('yes')              | | false  | cast

# Boolean to Integer, and to String in lower case.
INT(TRUE)                | | 1      |
INT(FALSE)               | | 0      |
STRING(TRUE)             | | 'true' |
STRING(FALSE)            | | 'false' |

# Of a type to itself.
INT(-7)                  | | -7     |
BOOL(TRUE)               | | true   |
BOOL(FALSE)              | | false  |
STRING('abc')            | | 'abc'  |
STRING('')               | | ''     |

# Of attributes.
INT(sequence)            | sequence='12'  | 12   |
INT(sequence)            | sequence=12    | 12   |
STRING(sequence)         | sequence=12    | '12' |
BOOL(urgent)             | urgent='True'  | true |
STRING(urgent)           | urgent=true    | 'true' |

# What could be cast.
IS_INT(7)                | | true   |
IS_INT('7')              | | true   |
IS_INT('-7')             | | true   |
IS_INT('seven')          | | false  |
IS_INT('2147483648')     | | false  |
IS_INT(TRUE)             | | true   |
IS_BOOL(TRUE)            | | true   |
IS_BOOL('FALSE')         | | true   |
IS_BOOL('no')            | | false  |
IS_BOOL(0)               | | true   |
IS_BOOL(sequence)        | sequence='12' | false |
IS_INT(sequence) AND sequence > 10 | sequence='12'   | true  |
IS_INT(sequence) AND sequence > 10 | sequence='many' | false |

# Chains of casts.
INT(STRING(12))          | | 12     |
STRING(INT('012'))       | | '12'   |
BOOL(STRING(FALSE))      | | false  |
INT(BOOL(5))             | | 1      |
STRING(INT('x'))         | | '0'    | cast
BOOL(INT('x'))           | | false  | cast

# Implicit ones: the operand of NOT, of -, of LIKE; either side of an operator; arguments.
NOT 5                    | | false  |
NOT 'false'              | | true   |
-'5'                     | | -5     |
-TRUE                    | | -1     |
12 LIKE '1_'             | | true   |
TRUE LIKE 'true'         | | true   |
'1' + TRUE               | | 2      |
'1' < TRUE               | | false  |
'true' AND 3             | | true   |
3 = '3'                  | | true   |
LENGTH(-123)             | | 4      |
LENGTH(TRUE)             | | 4      |
UPPER(TRUE)              | | 'TRUE' |
CONCAT(1, TRUE, 'x')     | | '1truex' |
LEFT(12345, '2')         | | '12'   |
LEFT('abc', TRUE)        | | 'a'    |
LEFT('abc', 'two')       | | ''     | cast
ABS('-3')                | | 3      |
ABS(TRUE)                | | 1      |
ABS('x')                 | | 0      | cast
"#;

#[test]
fn casts_are_those_of_the_specification() {
    check(CASES);
}

#[test]
fn every_type_is_cast_to_every_type_in_some_case() {
    let expressions: Vec<_> = cases(CASES).into_iter().map(|c| c.expression).collect();
    for (target, function) in [
        (Type::Integer, "INT"),
        (Type::Boolean, "BOOL"),
        (Type::String, "STRING"),
    ] {
        for (source, beginnings) in [
            (Type::Integer, ["1", "0", "-7"]),
            (Type::Boolean, ["TRUE", "FALSE", "TRUE"]),
            (Type::String, ["'true'", "'1'", "'abc'"]),
        ] {
            let found = beginnings.iter().any(|beginning| {
                let call = format!("{function}({beginning}");
                expressions.iter().any(|e| e.starts_with(&call))
            });
            assert!(found, "no case casts {source} to {target}");
        }
    }
}

#[test]
fn an_implicit_cast_is_the_same_as_an_explicit_one() {
    use crate::table::{Event, labels};
    use cesql::Expression;

    let literals = ["TRUE", "FALSE", "0", "-7", "'12'", "'true'", "'x'", "''"];
    let templates = [
        ("NOT @", "NOT BOOL(@)"),
        ("-@", "-INT(@)"),
        ("@ + 1", "INT(@) + 1"),
        ("1 - @", "1 - INT(@)"),
        ("@ < 1", "INT(@) < 1"),
        ("@ = 1", "INT(@) = 1"),
        ("@ != TRUE", "BOOL(@) != TRUE"),
        ("@ = 'true'", "STRING(@) = 'true'"),
        ("@ AND TRUE", "BOOL(@) AND TRUE"),
        ("FALSE OR @", "FALSE OR BOOL(@)"),
        ("@ XOR @", "BOOL(@) XOR BOOL(@)"),
        ("@ LIKE '_2'", "STRING(@) LIKE '_2'"),
        ("1 IN (@, 12)", "1 IN (INT(@), 12)"),
        ("LENGTH(@)", "LENGTH(STRING(@))"),
        ("LEFT('abc', @)", "LEFT('abc', INT(@))"),
    ];
    for literal in literals {
        for (implicit, explicit) in templates {
            let [implicit, explicit] = [implicit, explicit].map(|template| {
                let text = template.replace('@', literal);
                let got = text.parse::<Expression>().unwrap().evaluate(&Event::new());
                (got.value, labels(&got.errors), text)
            });
            assert_eq!(implicit.0, explicit.0, "{} {}", implicit.2, explicit.2);
            assert_eq!(implicit.1, explicit.1, "{} {}", implicit.2, explicit.2);
        }
    }
}
