//! Users and roles, as their Secrets in the operator's namespace say.
//!
//! ```text
//! Secret pgouser-<name>   password, roles, namespaces ─► Account::User
//! Secret pgorole-<name>   permissions                 ─► Account::Role
//! ```

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use pgo_api::Permission;
use pgo_tls::KeyAndCertificate;
use sha2::{Digest as _, Sha256};

/// Name of the Secret with the certificate of the REST interface, as in 4.1.
pub(crate) const REST_SECRET: &str = "pgo.tls";

/// What is kept of a Secret in the operator's namespace; the others are not ours to keep.
pub(crate) enum Account {
    User(User),
    Role(Role),
    /// No account: the certificate of the REST interface, which the same watch brings.
    RestCertificate(KeyAndCertificate),
}

/// A user of PGO.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    /// None: the Secret has no password, so nobody can be this user.
    password: Option<PasswordDigest>,
    pub roles: Vec<String>,
    pub namespaces: Scope,
}

/// What a role permits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Role {
    pub permissions: BTreeSet<Permission>,
}

/// The namespaces that a user may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// All of the installation.
    All,
    /// These.
    Only(BTreeSet<String>),
}

impl Scope {
    pub(crate) fn contains(&self, namespace: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => names.contains(namespace),
        }
    }
}

/// Digest of a password, to compare in a time that does not depend on where two passwords differ.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct PasswordDigest([u8; 32]);

impl PasswordDigest {
    pub(crate) fn of(password: &[u8]) -> Self {
        Self(Sha256::digest(password).into())
    }
}

impl std::fmt::Debug for PasswordDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl User {
    pub(crate) fn has_password(&self, given: &PasswordDigest) -> bool {
        self.password.as_ref() == Some(given)
    }
}

/// Name of the Secret of a user.
pub(crate) fn user_secret(name: &str) -> String {
    format!("pgouser-{name}")
}

/// Name of the Secret of a role.
pub(crate) fn role_secret(name: &str) -> String {
    format!("pgorole-{name}")
}

/// What to keep of a Secret, by its name.
pub(crate) fn account(secret: &Secret) -> Option<Account> {
    let name = secret.name_any();
    if name.starts_with("pgouser-") {
        Some(Account::User(user(secret)))
    } else if name.starts_with("pgorole-") {
        Some(Account::Role(role(secret)))
    } else if name == REST_SECRET {
        rest_certificate(secret).map(Account::RestCertificate)
    } else {
        None
    }
}

/// The certificate and key of the REST interface; none where the Secret lacks one.
pub(crate) fn rest_certificate(secret: &Secret) -> Option<KeyAndCertificate> {
    Some(KeyAndCertificate {
        certificate_pem: text(secret, "tls.crt")?,
        key_pem: text(secret, "tls.key")?.into(),
    })
}

fn user(secret: &Secret) -> User {
    let namespaces: BTreeSet<String> = list(secret, "namespaces").collect();
    User {
        password: data(secret, "password")
            .filter(|password| !password.is_empty())
            .map(PasswordDigest::of),
        roles: list(secret, "roles").collect(),
        namespaces: if namespaces.is_empty() {
            Scope::All
        } else {
            Scope::Only(namespaces)
        },
    }
}

/// What is no permission permits nothing.
fn role(secret: &Secret) -> Role {
    Role {
        permissions: list(secret, "permissions")
            .filter_map(|name| name.parse().ok())
            .collect(),
    }
}

fn data<'a>(secret: &'a Secret, key: &str) -> Option<&'a [u8]> {
    Some(secret.data.as_ref()?.get(key)?.0.as_slice())
}

fn text(secret: &Secret, key: &str) -> Option<String> {
    String::from_utf8(data(secret, key)?.to_vec()).ok()
}

/// The trimmed elements of a comma list, without empty ones.
fn list(secret: &Secret, key: &str) -> impl Iterator<Item = String> {
    let text = text(secret, key).unwrap_or_default();
    let elements: Vec<String> = text
        .split(',')
        .map(|element| element.trim().to_owned())
        .filter(|element| !element.is_empty())
        .collect();
    elements.into_iter()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use k8s_openapi::ByteString;

    use super::*;

    fn secret(name: &str, pairs: &[(&str, &str)]) -> Secret {
        let data = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec())));
        Secret {
            metadata: kube::api::ObjectMeta {
                name: Some(name.to_owned()),
                ..Default::default()
            },
            data: Some(data.collect::<BTreeMap<_, _>>()),
            ..Default::default()
        }
    }

    fn user_of(pairs: &[(&str, &str)]) -> User {
        match account(&secret("pgouser-alice", pairs)) {
            Some(Account::User(user)) => user,
            _ => panic!("no user"),
        }
    }

    #[test]
    fn roles_and_namespaces_are_trimmed() {
        let user = user_of(&[
            ("password", "x"),
            ("roles", " a, b ,"),
            ("namespaces", "n1 , n2"),
        ]);
        assert_eq!(user.roles, ["a", "b"]);
        assert!(user.namespaces.contains("n2"));
        assert!(!user.namespaces.contains("n3"));
    }

    #[test]
    fn no_list_of_namespaces_means_all() {
        assert_eq!(user_of(&[("password", "x")]).namespaces, Scope::All);
        let empty = user_of(&[("password", "x"), ("namespaces", " ")]);
        assert_eq!(empty.namespaces, Scope::All);
    }

    #[test]
    fn a_user_without_a_password_cannot_be_anybody() {
        for user in [user_of(&[]), user_of(&[("password", "")])] {
            assert!(!user.has_password(&PasswordDigest::of(b"")));
        }
        assert!(user_of(&[("password", "x")]).has_password(&PasswordDigest::of(b"x")));
    }

    #[test]
    fn what_is_no_permission_permits_nothing() {
        let role = role(&secret(
            "pgorole-r",
            &[("permissions", "ShowCluster, showcluster ,Nonsense, Status")],
        ));
        let expected = BTreeSet::from([Permission::ShowCluster, Permission::Status]);
        assert_eq!(role.permissions, expected);
    }

    #[test]
    fn secrets_of_others_are_not_kept() {
        assert!(account(&secret("nsqd-tls", &[("tls.key", "x")])).is_none());
        assert!(account(&secret("pgo.tls", &[("tls.crt", "x")])).is_none());
        assert!(account(&secret("pgo.tls", &[("tls.crt", "x"), ("tls.key", "y")])).is_some());
    }

    #[test]
    fn no_debug_text_shows_a_password() {
        let shown = format!("{:?}", user_of(&[("password", "s3cret")]));
        assert!(!shown.contains("s3cret"), "{shown}");
    }
}
