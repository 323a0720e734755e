//! What a process may do in Kubernetes, as a table beside the code that does it.
//!
//! ```text
//! services/<process>/src/rights.rs ─┬─► Rights::manifest ─► deploy/rbac/<process>.yaml ─► the installer
//!                                   └─► Rights::allows, Rights::unused ─► the API servers in the services' tests
//! ```
//!
//! Kubernetes' own rule of what a right covers: <https://kubernetes.io/docs/reference/access-authn-authz/rbac/>.

mod manifest;
mod request;

use std::fmt;

pub use manifest::Differs;
pub use request::Request;

/// What can be done with a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Read one.
    Get,
    /// Read all, or those that a selector names.
    List,
    /// Follow what [`Verb::List`] shows.
    Watch,
    /// Make one; by server-side apply too, where there is none of the name.
    Create,
    /// Replace one.
    Update,
    /// Change one; server-side apply is a patch.
    Patch,
    /// Remove one.
    Delete,
    /// Remove those that a selector names.
    DeleteCollection,
}

impl Verb {
    /// As Kubernetes writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One rule: verbs on resources of one API group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Right {
    /// API group; empty for that of Pods and Secrets.
    pub group: &'static str,
    /// Resources, in the plural; with the subresource where it is about one (`pgclusters/status`).
    pub resources: &'static [&'static str],
    /// Names of the objects it is limited to; any if empty.
    pub names: &'static [&'static str],
    /// What may be done with them.
    pub verbs: &'static [Verb],
    /// What the process does with it.
    pub reason: &'static str,
}

impl Right {
    /// A right to objects of any name.
    #[must_use]
    pub const fn new(
        group: &'static str,
        resources: &'static [&'static str],
        verbs: &'static [Verb],
        reason: &'static str,
    ) -> Self {
        Self {
            group,
            resources,
            names: &[],
            verbs,
            reason,
        }
    }

    /// The same, to objects of these names only.
    #[must_use]
    pub const fn named(self, names: &'static [&'static str]) -> Self {
        Self { names, ..self }
    }
}

/// Where a right holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    Targets,
    Operator,
    Cluster,
}

impl Scope {
    /// Whether it holds for a request, where `operator` is the operator's namespace.
    fn reaches(self, operator: &str, request: &Request) -> bool {
        match self {
            Self::Cluster => true,
            Self::Operator => request.namespace.as_deref() == Some(operator),
            Self::Targets => {
                let namespace = request.namespace.as_deref();
                namespace.is_some_and(|namespace| namespace != operator)
            }
        }
    }
}

/// All that a process may do.
#[derive(Clone, Copy, Debug)]
pub struct Rights {
    /// Name of the process; its ServiceAccount is `pgo-<process>`.
    pub process: &'static str,
    /// Rights in each namespace with clusters.
    pub targets: &'static [Right],
    /// Rights in the operator's namespace.
    pub operator: &'static [Right],
    /// Rights to what is in no namespace.
    pub cluster: &'static [Right],
}

/// One verb on one resource: the smallest thing that a table gives.
struct Grant {
    scope: Scope,
    group: &'static str,
    resource: &'static str,
    name: Option<&'static str>,
    verb: Verb,
}

impl Rights {
    /// Whether a request may be made, where `operator` is the operator's namespace.
    #[must_use]
    pub fn allows(&self, operator: &str, request: &Request) -> bool {
        self.grants().any(|grant| grant.covers(operator, request))
    }

    /// What none of these requests needed, a line each.
    #[must_use]
    pub fn unused(&self, operator: &str, requests: &[Request]) -> Vec<String> {
        self.grants()
            .filter(|grant| !requests.iter().any(|made| grant.covers(operator, made)))
            .map(|grant| grant.to_string())
            .collect()
    }

    fn grants(&self) -> impl Iterator<Item = Grant> {
        let of = |scope, rights: &'static [Right]| {
            rights.iter().flat_map(move |right| grants(scope, right))
        };
        of(Scope::Targets, self.targets)
            .chain(of(Scope::Operator, self.operator))
            .chain(of(Scope::Cluster, self.cluster))
    }
}

fn grants(scope: Scope, right: &'static Right) -> Vec<Grant> {
    let names: Vec<Option<&str>> = match right.names {
        [] => vec![None],
        names => names.iter().copied().map(Some).collect(),
    };
    let mut grants = Vec::new();
    for resource in right.resources {
        for name in &names {
            grants.extend(right.verbs.iter().map(|verb| Grant {
                scope,
                group: right.group,
                resource,
                name: *name,
                verb: *verb,
            }));
        }
    }
    grants
}

impl Grant {
    fn covers(&self, operator: &str, request: &Request) -> bool {
        self.scope.reaches(operator, request)
            && self.group == request.group
            && self.resource == request.resource
            && self.verb == request.verb
            && self
                .name
                .is_none_or(|name| request.name.as_deref() == Some(name))
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        if let Some(name) = self.name {
            write!(f, " {name}")?;
        }
        f.write_str(match self.scope {
            Scope::Targets => " in the namespaces of clusters",
            Scope::Operator => " in the operator's namespace",
            Scope::Cluster => "",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Verb::*, *};

    const RIGHTS: Rights = Rights {
        process: "example",
        targets: &[Right::new("", &["pods", "services"], &[List], "")],
        operator: &[
            Right::new("", &["configmaps"], &[Get, Watch], "").named(&["pgo-config"]),
            Right::new(
                "crunchydata.com",
                &["pginstallations/status"],
                &[Update],
                "",
            ),
        ],
        cluster: &[Right::new("", &["nodes"], &[List], "")],
    };

    fn request(method: &str, target: &str) -> Request {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        Request::read(method, path, query).expect("a request for a resource")
    }

    fn allows(method: &str, target: &str) -> bool {
        RIGHTS.allows("pgo", &request(method, target))
    }

    #[test]
    fn a_right_in_a_namespace_covers_the_namespace_itself_and_no_other() {
        const OWN: Rights = Rights {
            process: "example",
            targets: &[Right::new("", &["namespaces"], &[Get], "")],
            operator: &[],
            cluster: &[],
        };
        let may = |target: &str| OWN.allows("pgo", &request("GET", target));
        assert!(may("/api/v1/namespaces/one"));
        assert!(!may("/api/v1/namespaces/pgo"));
        assert!(!may("/api/v1/namespaces"));
        assert!(!may(
            "/api/v1/namespaces?watch=true&fieldSelector=metadata.name%3Done"
        ));
    }

    #[test]
    fn a_right_holds_for_its_verb_its_resource_and_its_group_only() {
        assert!(allows("GET", "/api/v1/namespaces/one/pods"));
        assert!(allows("GET", "/api/v1/namespaces/one/services"));
        assert!(!allows("GET", "/api/v1/namespaces/one/pods?watch=true"));
        assert!(!allows("GET", "/api/v1/namespaces/one/pods/hippo"));
        assert!(!allows("GET", "/api/v1/namespaces/one/pods/hippo/log"));
        assert!(!allows("GET", "/apis/apps/v1/namespaces/one/pods"));
        assert!(!allows("DELETE", "/api/v1/namespaces/one/pods"));
    }

    #[test]
    fn a_right_holds_where_it_is_given_only() {
        assert!(!allows("GET", "/api/v1/namespaces/pgo/pods"));
        assert!(!allows("GET", "/api/v1/pods"));
        assert!(allows("GET", "/api/v1/nodes"));
        let status = "/apis/crunchydata.com/v1/namespaces/pgo/pginstallations/pgo";
        assert!(allows("PUT", &format!("{status}/status")));
        assert!(!allows("PUT", status));
        assert!(!allows(
            "PUT",
            "/apis/crunchydata.com/v1/namespaces/one/pginstallations/pgo/status"
        ));
    }

    #[test]
    fn a_right_to_a_name_covers_a_selection_of_that_name_alone() {
        let maps = "/api/v1/namespaces/pgo/configmaps";
        assert!(allows("GET", &format!("{maps}/pgo-config")));
        assert!(!allows("GET", &format!("{maps}/another")));
        let selected = "watch=true&fieldSelector=metadata.name%3Dpgo-config";
        assert!(allows("GET", &format!("{maps}?{selected}")));
        assert!(!allows("GET", &format!("{maps}?watch=true")));
    }

    #[test]
    fn what_was_not_needed_is_told_verb_by_verb() {
        let made = [
            request("GET", "/api/v1/namespaces/one/pods"),
            request("GET", "/api/v1/namespaces/pgo/configmaps/pgo-config"),
            request("GET", "/api/v1/nodes"),
        ];
        assert_eq!(
            RIGHTS.unused("pgo", &made),
            [
                "list services in the namespaces of clusters",
                "watch configmaps pgo-config in the operator's namespace",
                "update pginstallations/status in the operator's namespace",
            ]
        );
    }
}
