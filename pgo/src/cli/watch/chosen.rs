//! What a watch is asked to show: clusters by their names, and events by an expression.

use cesql::{Expression, Type};
use pgo_events::{FieldKind, Topic, reference::filterable};
use pgo_ids::ClusterName;

use crate::cli::Failure;

/// An expression of CloudEvents SQL that some event can pass, as it was written.
pub fn filter(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Ok(String::new());
    }
    let expression = text.parse::<Expression>();
    let expression =
        expression.map_err(|wrong| format!("column {}: {}", wrong.column(), wrong.fault()))?;
    match expression.check_filter(attribute_type) {
        Ok(()) => Ok(text.to_owned()),
        Err(fault) => Err(fault.to_string()),
    }
}

/// The type of an attribute of our events; nothing where none has it.
fn attribute_type(name: &str) -> Option<Type> {
    Some(match filterable(name)? {
        FieldKind::Text => Type::String,
        FieldKind::Number => Type::Integer,
        FieldKind::Flag => Type::Boolean,
    })
}

/// Each name, also of those that are written with commas between them.
fn each(given: &[String]) -> impl Iterator<Item = &str> {
    let names = given.iter().flat_map(|text| text.split(','));
    names.map(str::trim).filter(|name| !name.is_empty())
}

/// Topics where clusters are named: 4.1 takes more than one topic and watches the first.
pub fn further_topics(given: &[String]) -> Vec<&str> {
    each(given)
        .filter(|name| name.parse::<Topic>().is_ok())
        .collect()
}

/// The names of clusters.
///
/// # Errors
/// No cluster can have the name.
pub fn named_clusters(given: &[String]) -> Result<Vec<&str>, Failure> {
    each(given)
        .filter(|name| name.parse::<Topic>().is_err())
        .map(|name| match name.parse::<ClusterName>() {
            Ok(_) => Ok(name),
            Err(why) => Err(Failure::Usage(format!(
                "no cluster can be named {name:?}: {why}"
            ))),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(given: &[&str]) -> Vec<String> {
        given.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn a_further_topic_is_no_cluster() {
        let given = texts(&["backuptopic", "hippo,rhino"]);
        assert_eq!(further_topics(&given), ["backuptopic"]);
        assert_eq!(named_clusters(&given).unwrap(), ["hippo", "rhino"]);
    }

    #[test]
    fn a_name_that_no_cluster_can_have_is_refused() {
        for name in ["HIPPO", "hip*", "hippo.1"] {
            let refused = named_clusters(&texts(&[name])).unwrap_err().to_string();
            assert!(refused.contains(&format!("named {name:?}: ")), "{refused}");
        }
    }
}
