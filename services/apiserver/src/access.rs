//! Who may do what: authentication, permissions, namespaces. Each answer comes from what the watches brought.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, header::AUTHORIZATION};
use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt as _;
use pgo_api::{Permission, texts};
use pgo_crd::label::Owner;

use crate::{
    accounts::{Account, PasswordDigest, Scope, role_secret, user_secret},
    mirror::Mirror,
};

/// What a request says of who sent it. The password itself is not kept.
#[derive(Clone, Debug)]
pub(crate) struct Credentials {
    pub user: String,
    password: PasswordDigest,
}

/// A user who may do what the request asks for.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub name: String,
    pub scope: Scope,
}

/// Accounts and namespaces as they are now.
#[derive(Clone)]
pub(crate) struct Access {
    pub accounts: Mirror<Account>,
    pub namespaces: Mirror<Managed>,
    /// The target namespaces; none: all that carry the labels.
    pub targets: Arc<[String]>,
}

/// Whether a namespace carries the labels of the installation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Managed(pub bool);

impl Managed {
    /// Judges the labels of a namespace.
    pub(crate) fn by(installation: &str, namespace: &Namespace) -> Self {
        Self(Owner::of(namespace.labels(), installation) == Owner::Us)
    }
}

impl Credentials {
    /// Reads the header of basic authentication (RFC 7617, section 2).
    ///
    /// # Errors
    /// 4.1's text: there is none, or it is not one.
    pub(crate) fn read(headers: &HeaderMap) -> Result<Self, &'static str> {
        let read = || {
            let header = headers.get(AUTHORIZATION)?.to_str().ok()?;
            let (scheme, encoded) = header.split_once(' ')?;
            if !scheme.eq_ignore_ascii_case("basic") {
                return None;
            }
            let decoded = STANDARD.decode(encoded.trim()).ok()?;
            let colon = decoded.iter().position(|byte| *byte == b':')?;
            let (user, password) = (&decoded[..colon], &decoded[colon + 1..]);
            Some(Self {
                user: String::from_utf8(user.to_vec()).ok()?,
                password: PasswordDigest::of(password),
            })
        };
        read().ok_or(texts::NOT_AUTHORIZED)
    }
}

impl Access {
    /// Authenticates and authorises. With `BasicAuth: "false"` in pgo.yaml, `needs_password` is false: the password is
    /// not looked at, as in 4.1.0; user and permission are.
    ///
    /// # Errors
    /// 4.1's text for the step that fails.
    pub(crate) fn authorize(
        &self,
        credentials: &Credentials,
        permission: Permission,
        needs_password: bool,
    ) -> Result<Caller, &'static str> {
        let name = &credentials.user;
        let account = self.accounts.get(&user_secret(name));
        let Some(Account::User(user)) = account.as_deref() else {
            return Err(texts::NOT_AUTHENTICATED);
        };
        if needs_password && !user.has_password(&credentials.password) {
            return Err(texts::NOT_AUTHENTICATED);
        }
        let permitted = user.roles.iter().any(|role| {
            let account = self.accounts.get(&role_secret(role));
            matches!(account.as_deref(), Some(Account::Role(role)) if role.permissions.contains(&permission))
        });
        if !permitted {
            return Err(texts::NOT_PERMITTED);
        }
        Ok(Caller {
            name: name.clone(),
            scope: user.namespaces.clone(),
        })
    }

    /// Whether `caller` may use `namespace`.
    ///
    /// # Errors
    /// 4.1's text for what is in the way.
    pub(crate) fn namespace(&self, caller: &Caller, namespace: &str) -> Result<(), String> {
        if namespace.is_empty() {
            return Err(texts::EMPTY_NAMESPACE.to_owned());
        }
        let known = self.namespaces.get(namespace);
        let (true, Some(managed)) = (caller.scope.contains(namespace), known) else {
            return Err(texts::namespace_not_allowed(&caller.name, namespace));
        };
        if !self.is_target(namespace, *managed) {
            return Err(texts::namespace_not_ours(namespace));
        }
        Ok(())
    }

    /// The namespaces that `caller` may use, in order of name.
    pub(crate) fn usable(&self, caller: &Caller) -> Vec<String> {
        let mut names = self.namespaces.names();
        names.retain(|name| self.namespace(caller, name).is_ok());
        names
    }

    /// The target namespaces among these; of all, where none is given.
    pub(crate) fn targets(&self, among: &[String]) -> Vec<String> {
        let mut names = self.namespaces.names();
        names.retain(|name| {
            let managed = self.namespaces.get(name);
            (among.is_empty() || among.contains(name))
                && managed.is_some_and(|managed| self.is_target(name, *managed))
        });
        names
    }

    fn is_target(&self, namespace: &str, managed: Managed) -> bool {
        managed.0
            && (self.targets.is_empty() || self.targets.iter().any(|target| target == namespace))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn headers(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(AUTHORIZATION, value.parse().expect("a header"))])
    }

    #[test]
    fn a_password_may_contain_colons() {
        let value = format!("basic {}", STANDARD.encode("alice:a:b"));
        let credentials = Credentials::read(&headers(&value)).expect("credentials");
        assert_eq!(credentials.user, "alice");
        assert_eq!(credentials.password, PasswordDigest::of(b"a:b"));
    }

    #[test]
    fn what_is_no_basic_authentication_is_not_authorized() {
        for value in ["Basic", "Basic !!!", "Bearer YTpi", "Basic YWI="] {
            let refused = Credentials::read(&headers(value)).map(drop);
            assert_eq!(refused, Err("Not authorized"), "{value}");
        }
        assert!(Credentials::read(&HeaderMap::new()).is_err());
    }

    #[test]
    fn a_namespace_is_managed_by_both_labels() {
        let labelled = |pairs: &[(&str, &str)]| {
            let labels = pairs
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
            Namespace {
                metadata: kube::api::ObjectMeta {
                    labels: Some(labels.collect::<BTreeMap<_, _>>()),
                    ..Default::default()
                },
                ..Default::default()
            }
        };
        let vendor = ("vendor", "crunchydata");
        let ours = labelled(&[vendor, ("pgo-installation-name", "one")]);
        assert_eq!(Managed::by("one", &ours), Managed(true));
        assert_eq!(Managed::by("two", &ours), Managed(false));
        assert_eq!(Managed::by("one", &labelled(&[vendor])), Managed(false));
    }
}
