//! What binds to what (section 3.6).

use cesql::Expression;

use crate::table::check;

/// Each case has another value, or an error, where it is read in another way.
pub const CASES: &str = r#"
# Functions, before unary operators.
-ABS(-3)                 | | -3    |
NOT BOOL('false')        | | true  |

# NOT and - before LIKE.
NOT FALSE LIKE 'true'    | | true  |
-5 LIKE '-5'             | | true  |
-x LIKE '-5'             | x=5  | true  |

# NOT and - before IN.
NOT FALSE IN (TRUE)      | | true  |
NOT TRUE IN (FALSE)      | | true  |
-x IN (-5)               | x=5  | true  |

# NOT applies to EXISTS, which takes a name only.
NOT EXISTS missing       | | true  |
EXISTS missing LIKE 'false' | | true |
EXISTS missing IN (FALSE)   | | true |

# NOT before comparisons: (NOT a) = b.
NOT 5 = 0                | | true  |
NOT 0 = 5                | | false |
NOT 1 > 0                | | false |

# - before * and +, NOT before AND.
-2 * -3 + -1             | | 5     |
-x + 7                   | x=5  | 2     |
NOT FALSE AND FALSE      | | false |
NOT FALSE OR TRUE        | | true  |

# LIKE before IN, whichever comes first.
'a' LIKE 'a' IN (TRUE)   | | true  |
'a' IN ('a') LIKE 'true' | | true  |
'a' LIKE 'b' NOT IN (TRUE) | | true |
'a' NOT LIKE 'b' IN (TRUE) | | true |

# LIKE before *, +, =, AND.
3 * 4 LIKE '4'           | | 3     |
3 * 4 LIKE '12'          | | 0     |
3 + 4 LIKE '4'           | | 4     |
TRUE = 'a' LIKE 'a'      | | true  |
'a' = 'a' LIKE 'a'       | | false | cast
TRUE AND 'a' LIKE 'a'    | | true  |
FALSE OR 'a' NOT LIKE 'b' | | true |

# IN before *, +, =, AND.
3 * 4 IN (4)             | | 3     |
3 * 4 IN (12)            | | 0     |
3 + 4 IN (7)             | | 3     |
7 - 4 NOT IN (7)         | | 6     |
'a' = 'a' IN ('a')       | | false | cast
FALSE = 2 IN (3)         | | true  |
TRUE AND 2 IN (2)        | | true  |

# *, / and % before + and -.
2 + 3 * 4                | | 14    |
2 * 3 + 4                | | 10    |
20 - 6 / 2               | | 17    |
20 - 7 % 4               | | 17    |
4 * 2 + 4 / 2            | | 10    |

# + and - before comparisons.
1 + 2 = 3                | | true  |
3 = 1 + 2                | | true  |
1 + 2 != 3               | | false |
1 + 2 <> 3               | | false |
1 + 1 < 3 - 0            | | true  |
1 + 1 <= 4 - 2           | | true  |
5 - 1 > 1 + 2            | | true  |
5 - 1 >= 1 + 3           | | true  |
2 * 3 = 6                | | true  |

# Comparisons before AND, OR and XOR.
1 = 1 AND 2 = 2          | | true  |
1 = 2 OR 2 = 2           | | true  |
1 < 2 XOR 2 < 3          | | false |
0 = 0 AND 0              | | false |

# From left to right, where the precedence is the same.
20 / 5 * 2               | | 8     |
20 % 7 * 2               | | 12    |
20 / 6 % 2               | | 1     |
10 - 4 + 3               | | 9     |
10 - 4 - 3               | | 3     |
5 > 4 > 0                | | true  |
1 = 1 = 1                | | true  |
3 = 3 != 0               | | true  |
2 < 3 <= 1               | | true  |
TRUE OR TRUE AND FALSE   | | false |
FALSE AND FALSE OR TRUE  | | true  |
TRUE OR FALSE XOR TRUE   | | false |
TRUE XOR TRUE AND FALSE  | | false |

# Parentheses before all.
(2 + 3) * 4              | | 20    |
4 * (2 + 3)              | | 20    |
4 * (2 + 4) / 2          | | 12    |
20 / (5 * 2)             | | 2     |
10 - (4 + 3)             | | 3     |
-(2 + 3)                 | | -5    |
NOT (5 = 0)              | | true  |
NOT (0 = 5)              | | true  |
NOT (0 = 0)              | | false |
TRUE OR (TRUE AND FALSE) | | true  |
NOT ('a' LIKE 'b')       | | true  |
(3 + 4) IN (7)           | | true  |
(3 + 4) LIKE '7'         | | true  |
"#;

#[test]
fn operators_bind_as_the_specification_says() {
    check(CASES);
}

#[test]
fn every_operator_binds_as_its_parentheses_show() {
    for (written, meant) in [
        ("NOT a = b", "(NOT a) = b"),
        ("NOT a LIKE 'x'", "(NOT a) LIKE 'x'"),
        ("NOT a IN (b)", "(NOT a) IN (b)"),
        ("NOT a NOT IN (b)", "(NOT a) NOT IN (b)"),
        ("NOT -a", "NOT (-a)"),
        ("-NOT a", "-(NOT a)"),
        ("NOT EXISTS a", "NOT (EXISTS a)"),
        ("-a * b", "(-a) * b"),
        ("- 1 * b", "(-(1)) * b"),
        ("a IN (b) LIKE 'x'", "(a IN (b)) LIKE 'x'"),
        ("a LIKE 'x' IN (b)", "(a LIKE 'x') IN (b)"),
        ("a LIKE 'x' NOT LIKE 'y'", "(a LIKE 'x') NOT LIKE 'y'"),
        ("a IN (b) IN (c)", "(a IN (b)) IN (c)"),
        ("a * b IN (c)", "a * (b IN (c))"),
        ("a / b LIKE 'x' + c", "(a / (b LIKE 'x')) + c"),
        ("a + b % c", "a + (b % c)"),
        ("a % b - c", "(a % b) - c"),
        ("a - b - c", "(a - b) - c"),
        ("a = b + c", "a = (b + c)"),
        ("a + b >= c", "(a + b) >= c"),
        ("a <> b AND c", "(a <> b) AND c"),
        ("a XOR b < c", "a XOR (b < c)"),
        ("a OR b AND c XOR d", "((a OR b) AND c) XOR d"),
        ("a AND b OR c AND d", "((a AND b) OR c) AND d"),
        ("a < b > c", "(a < b) > c"),
    ] {
        let [left, right] = [written, meant].map(|text| text.parse::<Expression>().unwrap());
        assert_eq!(left, right, "{written} is not {meant}");
    }
}

#[test]
fn an_expression_is_written_with_the_parentheses_that_it_needs() {
    for (written, shown) in [
        ("not(a)=b", "NOT a = b"),
        ("not(a=b)", "NOT (a = b)"),
        ("(a or b)and c", "a OR b AND c"),
        ("a or(b and c)", "a OR (b AND c)"),
        ("((a)+((b*c)))", "a + b * c"),
        ("(a+b)*c", "(a + b) * c"),
        ("a-(b-c)", "a - (b - c)"),
        ("a<(b<c)", "a < (b < c)"),
        ("-(-1)", "--1"),
        ("-(1)", "- 1"),
        ("-(a+b)", "-(a + b)"),
        ("(a in(1))like'x'", "(a IN (1)) LIKE 'x'"),
        ("(a like'x')in(1)", "a LIKE 'x' IN (1)"),
        ("(a=1)not in(true,\"x\")", "(a = 1) NOT IN (true, 'x')"),
        ("exists A", "EXISTS a"),
        ("length( 'it\\'s' )", "LENGTH(\"it's\")"),
        ("a<>+7", "a != 7"),
        ("'\\'\"'", "'\\'\"'"),
        ("'a\\\\'", "'a\\\\'"),
        ("a LIKE '\\%\\\\'", "a LIKE '\\%\\\\'"),
        ("concat()", "CONCAT()"),
    ] {
        let expression: Expression = written.parse().unwrap();
        assert_eq!(expression.to_string(), shown);
        assert_eq!(shown.parse::<Expression>().unwrap(), expression);
    }
}
