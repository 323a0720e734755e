//! `-x`, `*`, `/`, `%`, `+`, `-` on integers of 32 bits (sections 3.4.1 and 3.4.2).

use crate::table::check;

pub const CASES: &str = r#"
-10                 | | -10 |
- 10                | | -10 |
--10                | | 10  |
---10               | | -10 |
-(10)               | | -10 |
-'10'               | | -10 |
--'-10'             | | -10 |
-TRUE               | | -1  |
-FALSE              | | 0   |
-size               | size='3' | -3 |
-'ten'              | | 0   | cast

4 + 1               | | 5   |
-4 + 1              | | -3  |
4 + -1              | | 3   |
4 + +1              | | 5   |
-4 + -1             | | -5  |
4 - 1               | | 3   |
4-1                 | | 3   |
4 -1                | | 3   |
4+1                 | | 5   |
4--1                | | 5   |
-4 - -1             | | -3  |
6 * 7               | | 42  |
-6 * 7              | | -42 |
-6 * -7             | | 42  |
0 * 7               | | 0   |

# Quotients are rounded towards 0; a remainder has the sign of the dividend.
7 / 2               | | 3   |
-7 / 2              | | -3  |
7 / -2              | | -3  |
-7 / -2             | | 3   |
1 / 2               | | 0   |
7 % 2               | | 1   |
-7 % 2              | | -1  |
7 % -2              | | 1   |
-7 % -2             | | -1  |
6 % 3               | | 0   |
5 / 0               | | 0   | math
5 % 0               | | 0   | math
0 / 0               | | 0   | math
0 % 0               | | 0   | math
5 / '0'             | | 0   | math
5 / FALSE           | | 0   | math

# What has no place in 32 bits.
2147483647 + 1      | | 0   | math
-2147483648 + -1    | | 0   | math
-2147483648 - 1     | | 0   | math
0 - -2147483648     | | 0   | math
65536 * 65536       | | 0   | math
-2147483648 * -1    | | 0   | math
-2147483648 / -1    | | 0   | math
-2147483648 % -1    | | 0   |
--2147483648        | | 0   | math
-(-2147483648)      | | 0   | math
2147483646 + 1      | | 2147483647  |
-2147483647 - 1     | | -2147483648 |
46341 * -46341      | | 0   | math
46340 * 46340       | | 2147395600 |

# Operands are cast to Integer.
'5' + 3             | | 8   |
5 + '3'             | | 8   |
'5' + '3'           | | 8   |
5 + TRUE            | | 6   |
'-5' * '+3'         | | -15 |
'8' / TRUE          | | 8   |
'9' % '4'           | | 1   |
size - used         | size='10', used=4 | 6 |
'a' + 3             | | 3   | cast
3 - 'a'             | | 3   | cast
'a' * 'b'           | | 0   | cast, cast
3 / 'a'             | | 0   | cast, math
'3.5' + 1           | | 1   | cast
'2147483648' + 0    | | 0   | cast
' 1' + 1            | | 1   | cast
'' + 1              | | 1   | cast

# After an error it goes on with what stands for the result.
1 / 0 + 5           | | 5   | math
1 / 0 + 1 % 0       | | 0   | math, math
(2147483647 + 1) * 2 + 3 | | 3 | math
"#;

#[test]
fn arithmetic_has_32_bits() {
    check(CASES);
}
