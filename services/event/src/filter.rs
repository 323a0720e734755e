//! Which records a reader wants.

use std::collections::BTreeSet;

use pgo_events::{Topic, UnknownTopic};
use pgo_proto::event::ReadRequest;

use crate::log::Facets;

/// What a reader chose; nothing chosen means everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    topics: BTreeSet<&'static str>,
    namespaces: BTreeSet<String>,
    clusters: BTreeSet<String>,
}

impl Filter {
    /// What a request chose.
    ///
    /// # Errors
    /// A topic is none of ours.
    pub fn of(request: &ReadRequest) -> Result<Self, UnknownTopic> {
        let topics: Vec<Topic> = request
            .topics
            .iter()
            .map(|topic| topic.parse())
            .collect::<Result<_, _>>()?;
        let all = topics.contains(&Topic::All);
        let chosen = topics.into_iter().filter(|_| !all);
        Ok(Self {
            topics: chosen.map(Topic::as_str).collect(),
            namespaces: request.namespaces.iter().cloned().collect(),
            clusters: request.clusters.iter().cloned().collect(),
        })
    }

    /// Whether the reader wants a record with these facets.
    pub fn wants(&self, facets: &Facets) -> bool {
        let mut topics = facets.topics.iter();
        (self.topics.is_empty() || topics.any(|topic| self.topics.contains(topic.as_str())))
            && (self.namespaces.is_empty() || self.namespaces.contains(&facets.namespace))
            && (self.clusters.is_empty()
                || facets
                    .cluster
                    .as_ref()
                    .is_some_and(|cluster| self.clusters.contains(cluster)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facets() -> Facets {
        Facets {
            topics: vec!["clustertopic".to_owned()],
            namespace: "pgouser1".to_owned(),
            cluster: Some("hippo".to_owned()),
        }
    }

    fn wants(topics: &[&str], namespaces: &[&str], clusters: &[&str]) -> bool {
        let list = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let request = ReadRequest {
            topics: list(topics),
            namespaces: list(namespaces),
            clusters: list(clusters),
            ..ReadRequest::default()
        };
        Filter::of(&request)
            .expect("topics of ours")
            .wants(&facets())
    }

    #[test]
    fn each_choice_must_fit_and_no_choice_fits_all() {
        assert!(wants(&[], &[], &[]));
        assert!(wants(&["alltopic", "pgotopic"], &[], &[]));
        assert!(wants(&["clustertopic"], &["pgouser1", "x"], &["hippo"]));
        assert!(!wants(&["pgotopic"], &["pgouser1"], &["hippo"]));
        assert!(!wants(&["clustertopic"], &["pgouser2"], &["hippo"]));
        assert!(!wants(&[], &[], &["other"]));
    }

    #[test]
    fn what_belongs_to_no_cluster_is_not_a_clusters() {
        let filter = Filter {
            clusters: ["hippo".to_owned()].into(),
            ..Filter::default()
        };
        let pgo = Facets {
            cluster: None,
            ..facets()
        };
        assert!(!filter.wants(&pgo));
    }

    #[test]
    fn an_unknown_topic_is_an_error() {
        let request = ReadRequest {
            topics: vec!["nosuchtopic".to_owned()],
            ..ReadRequest::default()
        };
        assert!(Filter::of(&request).is_err());
    }
}
