//! LIKE and NOT LIKE (section 3.4.3).

use cesql::Expression;

use crate::table::{Event, check};

pub const CASES: &str = r#"
# Without wildcards it is equality, with regard to case.
'abc' LIKE 'abc'         | | true  |
'abc' LIKE 'ABC'         | | false |
'abc' LIKE 'ab'          | | false |
'abc' LIKE 'bc'          | | false |
'abc' like "abc"         | | true  |
'' LIKE ''               | | true  |
'a' LIKE ''              | | false |
'abc' NOT LIKE 'abc'     | | false |
'abc' NOT LIKE 'abd'     | | true  |
'abc' not like 'abd'     | | true  |

# % is any number of characters.
'abc' LIKE '%'           | | true  |
'' LIKE '%'              | | true  |
'abc' LIKE 'abc%'        | | true  |
'abc' LIKE '%abc'        | | true  |
'abcdef' LIKE 'ab%'      | | true  |
'abcdef' LIKE '%ef'      | | true  |
'abcdef' LIKE '%cd%'     | | true  |
'abcdef' LIKE 'a%c%f'    | | true  |
'abcdef' LIKE 'a%%%f'    | | true  |
'abcdef' LIKE 'b%'       | | false |
'abcdef' LIKE '%e'       | | false |
'abcdef' LIKE 'a%d%c%f'  | | false |
'' LIKE 'a%'             | | false |
'aab' LIKE '%ab'         | | true  |
'abab' LIKE '%ab'        | | true  |
'ababc' LIKE '%abc'      | | true  |
'mississippi' LIKE 'm%issip%i' | | true |

# _ is one character, of whatever size.
'abc' LIKE 'a_c'         | | true  |
'abc' LIKE '___'         | | true  |
'abc' LIKE '__'          | | false |
'abc' LIKE '____'        | | false |
'' LIKE '_'              | | false |
'日本' LIKE '_本'         | | true  |
'☕' LIKE '_'             | | true  |
'abc' LIKE '_b%'         | | true  |
'ab' LIKE '_b%'          | | true  |
'abcd1' LIKE '_b%'       | | true  |
'b' LIKE '_b%'           | | false |
'acd' LIKE '_b%'         | | false |
'aBc' LIKE '_b%'         | | false |
'abc' LIKE '%_'          | | true  |
'abc' LIKE '_%_%_'       | | true  |
'ab' LIKE '_%_%_'        | | false |

# Both are escaped with a backslash, which is itself before anything else.
'abc%' LIKE 'abc\%'      | | true  |
'abcd' LIKE 'abc\%'      | | false |
'abc%' LIKE 'abc\\%'     | | true  |
'abcd' LIKE 'abc\\%'     | | false |
'a_c' LIKE 'a\_c'        | | true  |
'abc' LIKE 'a\_c'        | | false |
'50% off' LIKE '%\% %'   | | true  |
'50 off' LIKE '%\% %'    | | false |
'a\b' LIKE 'a\b'         | | true  |
'a\b' LIKE 'a_b'         | | true  |
'it\'s' LIKE 'it\'%'     | | true  |
'say "x"' LIKE "%\"_\""  | | true  |

# Characters that mean something to other patterns mean nothing here.
'a.c' LIKE 'a.c'         | | true  |
'abc' LIKE 'a.c'         | | false |
'abc' LIKE 'a*'          | | false |
'[a]' LIKE '[a]'         | | true  |
'a' LIKE '[a]'           | | false |

# What is matched is cast to String.
234 LIKE '23_'           | | true  |
-5 LIKE '-_'             | | true  |
007 LIKE '7'             | | true  |
TRUE LIKE 't%'           | | true  |
FALSE LIKE 'FALSE'       | | false |
FALSE NOT LIKE 'FALSE'   | | true  |
source LIKE 'https://%'  | source='https://example.com' | true |
source LIKE 'https://%'  | source='http://example.com'  | false |
sequence LIKE '1%'       | sequence=10                  | true |
1 / 0 LIKE '0'           | | 1     |
(1 / 0) LIKE '0'         | | true  | math

# The pattern is a literal text.
'abc' LIKE pattern       | pattern='abc' |    | parse
'123' LIKE 123           | |       | parse
'true' LIKE TRUE         | |       | parse
'abc' LIKE ('abc')       | |       | parse
'abc' LIKE LOWER('ABC')  | |       | parse
'abc' LIKE               | |       | parse
LIKE 'abc'               | |       | parse
'abc' NOT 'abc'          | |       | parse
"#;

#[test]
fn like_matches_the_whole_text() {
    check(CASES);
}

#[test]
fn a_wildcard_takes_line_breaks_too() {
    let expression: Expression = "'a\n\r\nb' LIKE 'a%b'".parse().unwrap();
    assert!(expression.matches(&Event::new()));
    let expression: Expression = "'a\nb' LIKE 'a_b'".parse().unwrap();
    assert!(expression.matches(&Event::new()));
}
