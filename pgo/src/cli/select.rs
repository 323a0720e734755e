//! Which clusters a command is about, and asking for each of them.

use std::fmt;

use clap::Args;
use pgo_api::{Outcome, Response};

use super::{Failure, Report};
use crate::client::{Answer, ClientError};

/// A cluster in its namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// None: that of the command.
    pub namespace: Option<String>,
    pub name: String,
}

impl From<String> for Place {
    fn from(name: String) -> Self {
        Self {
            namespace: None,
            name,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{namespace}/{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// Names, a selector, or all.
#[derive(Args, Clone, Debug, Default)]
pub struct Selection {
    /// Names of clusters
    #[arg(value_name = "CLUSTER")]
    pub names: Vec<String>,
    /// Kubernetes label selector instead of names
    #[arg(short, long, value_name = "SELECTOR")]
    pub selector: Option<String>,
    /// All clusters of the namespace
    #[arg(long)]
    pub all: bool,
}

/// What one request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selected {
    pub name: String,
    pub selector: String,
    pub all: bool,
}

impl Selected {
    /// Names as some requests have them: `all` among them means all.
    pub fn args(&self) -> Vec<String> {
        match (self.all, self.name.as_str()) {
            (true, _) => vec!["all".to_owned()],
            (false, "") => Vec::new(),
            (false, name) => vec![name.to_owned()],
        }
    }

    /// A text with the cluster it is about, if that is one.
    pub fn about(&self, text: &str) -> String {
        match self.name.as_str() {
            "" => text.to_owned(),
            name => format!("{text} (cluster {name})"),
        }
    }
}

impl Selection {
    /// The requests to make: one per name, or one for the rest. Exactly one way of selecting must be used, so that
    /// nothing that was written is ignored.
    pub fn requests(&self) -> Result<Vec<Selected>, Failure> {
        let selector = self.selector.clone().filter(|s| !s.is_empty());
        let one = |name: &str, selector: &str, all| Selected {
            name: name.to_owned(),
            selector: selector.to_owned(),
            all,
        };
        match (self.names.as_slice(), selector, self.all) {
            ([], None, false) => Err(Failure::Usage(
                "name one or more clusters, or give --selector or --all".to_owned(),
            )),
            ([], Some(selector), false) => Ok(vec![one("", &selector, false)]),
            ([], None, true) => Ok(vec![one("", "", true)]),
            (names, None, false) => Ok(names.iter().map(|name| one(name, "", false)).collect()),
            _ => Err(Failure::Usage(
                "give either names of clusters, or --selector, or --all; not more than one of these"
                    .to_owned(),
            )),
        }
    }
}

/// Makes the requests one after the other, and gives each answer to `take`, also one that is a refusal.
///
/// A refusal is about its own request: the others are made all the same. Where the apiserver cannot be asked, the rest
/// is not. Both are problems of the report. The outcome of all together is a refusal with these problems, or else the
/// last one.
pub async fn each<R: Response>(
    requests: Vec<Selected>,
    report: &mut Report,
    ask: impl AsyncFn(&Selected) -> Result<Answer<R>, ClientError>,
    mut take: impl FnMut(&mut Report, &Selected, R),
) -> Outcome {
    let mut outcome = Outcome::default();
    let mut problems = Vec::new();
    let mut requests = requests.into_iter();
    while let Some(selected) = requests.next() {
        match ask(&selected).await {
            Ok(answer) => {
                let answer = answer.also_in_part();
                match answer.outcome().failure() {
                    Some(why) => problems.push(selected.about(why)),
                    None => outcome = answer.outcome().clone(),
                }
                take(report, &selected, answer);
            }
            Err(error) => {
                problems.push(selected.about(&error.to_string()));
                let left: Vec<String> = requests.map(|selected| selected.name).collect();
                if !left.is_empty() {
                    problems.push(format!("not asked for any more: {}", left.join(", ")));
                }
                break;
            }
        }
    }
    if !problems.is_empty() {
        outcome = Outcome::error(problems.join("; "));
        report.problem(&outcome.msg);
    }
    outcome
}

/// Whether an answer has anything to show beside why it was refused.
pub fn shows<T>(outcome: &Outcome, results: &[T]) -> bool {
    outcome.failure().is_none() || !results.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(names: &[&str], selector: Option<&str>, all: bool) -> Selection {
        Selection {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            selector: selector.map(str::to_owned),
            all,
        }
    }

    #[test]
    fn a_selector_alone_makes_one_request() {
        let requests = selection(&[], Some("env=dev"), false).requests().unwrap();
        assert_eq!(requests.len(), 1);
        assert_eq!(requests[0].selector, "env=dev");
    }

    #[test]
    fn each_name_makes_a_request() {
        assert_eq!(
            selection(&["a", "b"], Some(""), false)
                .requests()
                .unwrap()
                .len(),
            2
        );
    }

    #[test]
    fn none_and_more_than_one_way_are_refused() {
        for wrong in [
            selection(&[], None, false),
            selection(&["a"], Some("x=y"), false),
            selection(&["a"], None, true),
            selection(&[], Some("x=y"), true),
        ] {
            assert!(matches!(wrong.requests(), Err(Failure::Usage(_))));
        }
    }
}
