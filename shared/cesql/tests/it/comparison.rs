//! `=`, `!=`, `<>`, `<`, `<=`, `>`, `>=` (sections 3.4.2 and 3.7).

use crate::table::check;

pub const CASES: &str = r#"
# Equality of values of one type; of texts with regard to case.
TRUE = TRUE         | | true  |
TRUE = FALSE        | | false |
2 = 2               | | true  |
2 = 3               | | false |
'abc' = 'abc'       | | true  |
'abc' = 'ABC'       | | false |
'abc' = '123'       | | false |
TRUE != TRUE        | | false |
TRUE != FALSE       | | true  |
2 != 2              | | false |
2 != 3              | | true  |
'abc' != 'abc'      | | false |
'abc' != 'ABC'      | | true  |
TRUE <> TRUE        | | false |
TRUE <> FALSE       | | true  |
2 <> 2              | | false |
2 <> 3              | | true  |
'abc' <> 'abc'      | | false |
'abc' <> 'ABC'      | | true  |

# The type on the right decides; the left side is cast to it.
sequence = 10       | sequence='10'   | true  |
sequence = 10       | sequence='0010' | true  |
sequence = '10'     | sequence=10     | true  |
sequence = '0010'   | sequence=10     | false |
10 = sequence       | sequence='0010' | false |
'TRUE' = TRUE       | | true  |
TRUE = 'true'       | | true  |
TRUE = 'TRUE'       | | false |
FALSE = 'FALSE'     | | false |
1 = TRUE            | | true  |
2 = TRUE            | | true  |
TRUE = 1            | | true  |
TRUE = 2            | | false |
0 = FALSE           | | true  |
'1' = 1             | | true  |
1 = '1'             | | true  |
1 = '01'            | | false |
2 != TRUE           | | false |
'10' <> 10          | | false |
TRUE = "true" AND FALSE = "false" | | true  |
TRUE = "TRUE" OR FALSE = "FALSE"  | | false |

# A cast that fails gives 0 or false, which is compared.
'abc' = 5           | | false | cast
'abc' = 0           | | true  | cast
'abc' != 5          | | true  | cast
'abc' <> 0          | | false | cast
'abc' = FALSE       | | true  | cast
'2147483648' = 1    | | false | cast

# Order is that of integers.
1 < 2               | | true  |
2 < 2               | | false |
3 < 2               | | false |
1 <= 2              | | true  |
2 <= 2              | | true  |
3 <= 2              | | false |
2 > 1               | | true  |
2 > 2               | | false |
2 > 3               | | false |
2 >= 1              | | true  |
2 >= 2              | | true  |
2 >= 3              | | false |
-2 < -1             | | true  |
-2147483648 < 2147483647 | | true |
hop < ttl           | hop='5', ttl='10' | true |
'9' < '10'          | | true  |
FALSE < TRUE        | | true  |
TRUE >= '1'         | | true  |
'a' < 1             | | true  | cast
'a' >= 'b'          | | true  | cast, cast
1 > ''              | | true  | cast
' 1' <= 1           | | true  | cast

# From left to right: the result of the first is an operand of the second.
1 = 1 = TRUE        | | true  |
3 < 2 < 1           | | true  |
2 > 1 != FALSE      | | true  |
"#;

#[test]
fn comparisons_cast_and_compare() {
    check(CASES);
}
