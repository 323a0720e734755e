//! Which clusters a command is about.

use clap::Args;

use super::Failure;

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
