//! The examples of the specification and of what filters are made for (sections 2, 3.7 and 5).

use std::collections::HashMap;

use cesql::{Attributes, Expression, Functions, Value};

use crate::table::check;

pub const CASES: &str = r#"
int(hop) < int(ttl) and int(hop) < 1000  | hop='5', ttl='10' | true  |
INT(hop) < INT(ttl) AND INT(hop) < 1000  | hop='5', ttl='10' | true  |
INT(hop) < INT(ttl) AND INT(hop) < 1000  | hop='5', ttl='5'  | false |
hop < ttl                                | hop='5', ttl='10' | true  |
hop < ttl                                | hop=11, ttl='10'  | false |
EXISTS subject                           | subject='x'       | true  |
firstname = 'Francesco'                  | firstname='Francesco' | true  |
firstname = 'Francesco'                  | firstname='francesco' | false |
firstname = 'Francesco' OR subject = 'Francesco' | firstname='Doug', subject='Francesco' | true |
firstname = 'Francesco' OR subject = 'Francesco' | firstname='Francesco' | true |
(firstname = 'Francesco' AND lastname = 'Guardiani') OR subject = 'Francesco Guardiani' | firstname='Francesco', lastname='Guardiani' | true |
(firstname = 'Francesco' AND lastname = 'Guardiani') OR subject = 'Francesco Guardiani' | firstname='Doug', lastname='Davis', subject='Francesco Guardiani' | true |
(firstname = 'Francesco' AND lastname = 'Guardiani') OR subject = 'Francesco Guardiani' | firstname='Doug' | false | missingAttribute
sequence = 10                            | sequence='10'     | true  |
sequence = 10                            | sequence='11'     | false |

# Filters by the beginning, the end and the whole of an attribute.
type LIKE 'com.example.%'                | type='com.example.order' | true  |
type LIKE 'com.example.%'                | type='org.example.order' | false |
type LIKE '%.order' AND source = '/shop' | type='com.example.order', source='/shop' | true |
type LIKE '%.order' AND region = 'eu'    | type='com.example.order' | false | missingAttribute
type LIKE '%.order' OR region = 'eu'     | type='com.example.order' | true  |
type NOT LIKE '%.order' AND region = 'eu' | type='com.example.order' | false |
"#;

#[test]
fn the_examples_of_the_specification_hold() {
    check(CASES);
}

/// An event as a program would have it.
struct Created {
    id: u64,
    labels: HashMap<String, Value>,
}

impl Attributes for Created {
    fn get(&self, name: &str) -> Option<Value> {
        match name {
            "id" => Some(self.id.to_string().into()),
            "type" => Some("created".into()),
            _ => Attributes::get(&self.labels, name),
        }
    }
}

#[test]
fn any_type_that_has_attributes_can_be_filtered() {
    let event = Created {
        id: 17,
        labels: HashMap::from([("size".to_owned(), Value::Integer(3))]),
    };
    let filter: Expression = "id = 17 AND type = 'created' AND size * 2 = 6"
        .parse()
        .unwrap();
    assert!(filter.matches(&event));
    let by_reference: &dyn Attributes = &event;
    assert!(filter.matches(by_reference));
}

#[test]
fn threads_can_share_an_expression_and_the_functions() {
    fn shared<T: Send + Sync>(_: &T) {}
    shared(&"a = 1".parse::<Expression>());
    shared(Functions::builtin());
}
