//! Texts that are no expressions (section 2).

use crate::table::check;

pub const CASES: &str = r#"
# Incomplete.
(                        | | | parse
(1                       | | | parse
(1 + 2                   | | | parse
1 +                      | | | parse
NOT                      | | | parse
-                        | | | parse
a =                      | | | parse
a AND                    | | | parse
ABC(                     | | | parse
ABC('a'                  | | | parse
ABC('a',                 | | | parse
a LIKE                   | | | parse
a NOT                    | | | parse
a IN                     | | | parse
a IN (                   | | | parse
EXISTS                   | | | parse
'abc                     | | | parse
"abc                     | | | parse
'abc\'                   | | | parse
'abc"                    | | | parse

# Too much, or in the wrong place.
)                        | | | parse
1)                       | | | parse
()                       | | | parse
1 2                      | | | parse
a b                      | | | parse
'a' 'b'                  | | | parse
'a''b'                   | | | parse
a, b                     | | | parse
ABC(,)                   | | | parse
ABC('a',,'b')            | | | parse
ABC('a' 'b')             | | | parse
* 2                      | | | parse
= 2                      | | | parse
1 + * 2                  | | | parse
1 = = 2                  | | | parse
AND TRUE                 | | | parse
TRUE AND OR FALSE        | | | parse
a NOT b                  | | | parse
a NOT = b                | | | parse
a EXISTS b               | | | parse
(1, 2)                   | | | parse
TRUE()                   | | | parse
a IN (1) (2)             | | | parse
'f'('a')                 | | | parse

# A sign is no operator before anything but an operand of -, and + only before digits.
+a                       | | | parse
+ 5                      | | | parse
+'5'                     | | | parse
+-5                      | | | parse
-+                       | | | parse

# Names: attributes have letters and digits, functions letters and _.
a_b                      | | | parse
a.b                      | | | parse
a-                       | | | parse
_a                       | | | parse
EXISTS a_b               | | | parse
F1()                     | | | parse
1F()                     | | | parse
_F()                     | | | parse
5()                      | | | parse
ä                        | | | parse
F.G()                    | | | parse

# Words of the language are no names.
and                      | | | parse
like = 1                 | | | parse
EXISTS in                | | | parse
IN(1)                    | | | parse
XOR(1, 2)                | | | parse

# Characters and operators of other languages.
a == 1                   | | | parse
a && b                   | | | parse
!a                       | | | parse
a ! = 1                  | | | parse
a ~ 'b'                  | | | parse
a; b                     | | | parse
a # b                    | | | parse
a ? b                    | | | parse
[1]                      | | | parse
{a}                      | | | parse
$a                       | | | parse
a ^ 2                    | | | parse
`a`                      | | | parse
1.5                      | | | parse
\                        | | | parse
"#;

#[test]
fn what_is_no_expression_is_refused() {
    check(CASES);
}

#[test]
fn nothing_is_no_expression() {
    for text in ["", " ", "\t\r\n"] {
        let error = text.parse::<cesql::Expression>().unwrap_err();
        assert_eq!(error.fault(), &cesql::Fault::Empty);
    }
}

#[test]
fn a_bar_is_no_operator() {
    for text in ["a || b", "a | b"] {
        assert!(text.parse::<cesql::Expression>().is_err());
    }
}
