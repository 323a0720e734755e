//! A request, as Kubernetes' authorizer sees it.

use super::Verb;

/// What is to be done with which resource, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub(super) namespace: Option<String>,
    pub(super) group: String,
    /// With the subresource, if it is about one.
    pub(super) resource: String,
    /// Name of the one object it is about, also where a field selector names it.
    pub(super) name: Option<String>,
    pub(super) verb: Verb,
}

impl Request {
    /// Reads method, path and query of a request; nothing where they are not about a resource.
    #[must_use]
    pub fn read(method: &str, path: &str, query: &str) -> Option<Self> {
        let mut segments = path.trim_matches('/').split('/');
        let group = match segments.next()? {
            "api" => "",
            "apis" => segments.next()?,
            _ => return None,
        };
        let _version = segments.next()?;
        let segments: Vec<&str> = segments.collect();
        let (namespace, segments) = match segments.as_slice() {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (Some(*namespace), rest),
            // A namespace is in itself: a right in it can be one to the object.
            all @ ["namespaces", namespace] => (Some(*namespace), all),
            all => (None, all),
        };
        let (resource, name) = match segments {
            [resource] => ((*resource).to_owned(), None),
            [resource, name] => ((*resource).to_owned(), Some(*name)),
            [resource, name, subresource] => (format!("{resource}/{subresource}"), Some(*name)),
            _ => return None,
        };
        Some(Self {
            verb: verb(method, name.is_some(), query)?,
            name: name.or_else(|| selected(query)).map(str::to_owned),
            namespace: namespace.map(str::to_owned),
            group: group.to_owned(),
            resource,
        })
    }
}

fn verb(method: &str, of_one: bool, query: &str) -> Option<Verb> {
    let watched = || {
        query
            .split('&')
            .any(|pair| pair == "watch=true" || pair == "watch=1")
    };
    Some(match (method, of_one) {
        ("GET", true) => Verb::Get,
        ("GET", false) if watched() => Verb::Watch,
        ("GET", false) => Verb::List,
        ("POST", _) => Verb::Create,
        ("PUT", _) => Verb::Update,
        ("PATCH", _) => Verb::Patch,
        ("DELETE", true) => Verb::Delete,
        ("DELETE", false) => Verb::DeleteCollection,
        _ => return None,
    })
}

/// The name that a field selector asks for; names have no character that is encoded.
fn selected(query: &str) -> Option<&str> {
    let selector = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("fieldSelector="))?;
    let name = selector.strip_prefix("metadata.name")?;
    name.strip_prefix("%3D").or_else(|| name.strip_prefix('='))
}
