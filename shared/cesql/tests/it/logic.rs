//! NOT, AND, OR, XOR (sections 3.4.1 and 3.4.2).

use crate::table::check;

pub const CASES: &str = r#"
NOT TRUE            | | false |
NOT FALSE           | | true  |
not true            | | false |
NOT NOT TRUE        | | true  |
NOT 'true'          | | false |
NOT 'FALSE'         | | true  |
NOT 0               | | true  |
NOT 10              | | false |
NOT -1              | | false |
NOT urgent          | urgent='false' | true |
NOT 'maybe'         | | true  | cast

TRUE AND TRUE       | | true  |
TRUE AND FALSE      | | false |
FALSE AND TRUE      | | false |
FALSE AND FALSE     | | false |
TRUE OR TRUE        | | true  |
TRUE OR FALSE       | | true  |
FALSE OR TRUE       | | true  |
FALSE OR FALSE      | | false |
TRUE XOR TRUE       | | false |
TRUE XOR FALSE      | | true  |
FALSE XOR TRUE      | | true  |
FALSE XOR FALSE     | | false |
true and True       | | true  |
false or True       | | true  |
false Xor True      | | true  |

# Operands are cast to Boolean.
'true' AND 1        | | true  |
'TRUE' AND 0        | | false |
'false' OR 2        | | true  |
0 OR 'False'        | | false |
1 XOR 'true'        | | false |
a AND b             | a='true', b=1 | true |
'yes' AND TRUE      | | false | cast
TRUE AND 'yes'      | | false | cast
'yes' OR TRUE       | | true  | cast
FALSE OR 'yes'      | | false | cast
'yes' XOR 'no'      | | false | cast, cast

# The right side is not evaluated where the left one decides; it would give an error here.
FALSE AND 1 / 0     | | false |
0 AND 'yes'         | | false |
TRUE AND 1 / 0      | | false | math
TRUE OR 1 / 0       | | true  |
1 OR 'yes'          | | true  |
FALSE OR 1 / 0      | | false | math
TRUE XOR 1 / 0      | | true  | math
FALSE XOR 1 / 0     | | false | math
FALSE AND NOSUCH()  | | false |
TRUE OR NOSUCH()    | | true  |
FALSE AND 1 / 0 OR TRUE         | | true |
FALSE AND (1 / 0 OR TRUE)       | | false |
TRUE OR 1 / 0 AND TRUE          | | true |

# Long rows.
TRUE AND TRUE AND TRUE AND TRUE | | true |
TRUE AND TRUE AND FALSE AND 1/0 | | false |
FALSE OR FALSE OR TRUE OR 1/0   | | true |
TRUE XOR TRUE XOR TRUE          | | true |
"#;

#[test]
fn logic_has_its_truth_tables() {
    check(CASES);
}
