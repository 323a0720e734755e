//! EXISTS, IN and NOT IN (sections 3.4.4 and 3.4.5).

use crate::table::check;

pub const CASES: &str = r#"
EXISTS subject           | subject='orders'  | true  |
EXISTS subject           | subject=''        | true  |
EXISTS subject           |                   | false |
exists subject           | subject='orders'  | true  |
EXISTS urgent            | urgent=false      | true  |
EXISTS count             | count=0           | true  |
NOT EXISTS subject       |                   | true  |
NOT EXISTS subject       | subject='orders'  | false |
EXISTS subject AND EXISTS urgent | subject='orders' | false |
EXISTS subject = TRUE    | subject='orders'  | true  |

# An event has the attributes that it must have, whatever is given.
EXISTS id                | | true  |
EXISTS source            | | true  |
EXISTS specversion       | | true  |
EXISTS type              | | true  |
EXISTS time              | | false |

EXISTS                   | | | parse
EXISTS 'subject'         | | | parse
EXISTS (subject)         | | | parse
EXISTS 5                 | | | parse
EXISTS LENGTH(subject)   | | | parse

# Sets of one type.
123 IN (1, 12, 123)      | | true  |
123 IN (1, 12, 13)       | | false |
123 in (123)             | | true  |
'abc' IN ('abc', 'bcd')  | | true  |
'abc' IN ('ABC', 'bcd')  | | false |
TRUE IN (TRUE, FALSE)    | | true  |
TRUE IN (FALSE)          | | false |
123 NOT IN (1, 12, 123)  | | false |
123 NOT IN (1, 12, 13)   | | true  |
'abc' not in ('bcd')     | | true  |
TRUE NOT IN (FALSE)      | | true  |

# Elements are cast to the type on the left.
1 IN ('1', '2')          | | true  |
1 IN ('01')              | | true  |
'1' IN (1, 2)            | | true  |
'01' IN (1, 2)           | | false |
TRUE IN ('TRUE')         | | true  |
'TRUE' IN (TRUE)         | | false |
'true' IN (TRUE, 'x')    | | true  |
1 IN (TRUE)              | | true  |
2 IN (TRUE)              | | false |
TRUE IN (2)              | | true  |
sequence IN (9, 10)      | sequence='10'    | true  |
10 IN (sequence, 3)      | sequence='10'    | true  |
2 IN ('two', '2')        | | true  | cast
2 IN ('2', 'two')        | | true  | cast
2 NOT IN ('two')         | | true  | cast
0 IN ('zero')            | | true  | cast
TRUE IN ('yes', 'no')    | | false | cast, cast

# Elements can be expressions, and all of them are evaluated.
source IN (id, 'x')      | source='a', id='a' | true |
6 IN (2 * 3, 1)          | | true  |
'abc' IN (LOWER('ABC'))  | | true  |
TRUE IN (1 = 1 AND 2 = 2) | | true |
TRUE IN (2 IN (1, 2), FALSE) | | true |
1 IN (1, 1 / 0)          | | true  | math
1 IN (1 / 0, 1)          | | true  | math
0 IN (1 / 0)             | | true  | math
1 / 0 IN (0)             | | 1     |
(1 / 0) IN (0)           | | true  | math

'abc' IN ()              | | | parse
'abc' IN 'abc'           | | | parse
'abc' IN ('a' 'b')       | | | parse
'abc' IN ('a',)          | | | parse
'abc' IN (,'a')          | | | parse
'abc' IN ('a'            | | | parse
IN ('a')                 | | | parse
"#;

#[test]
fn exists_and_in_tell_what_is_there() {
    check(CASES);
}
