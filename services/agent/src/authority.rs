//! What this instance is to be: primary where the Lease of the cluster names it and this run of the agent has written the
//! Lease, else a replica of the one that it names.

use std::net::SocketAddr;

use jiff::Timestamp;
use k8s_openapi::{api::coordination::v1::Lease, apimachinery::pkg::apis::meta::v1::MicroTime};
use pgo_ids::{InstanceName, Term};

use crate::{
    endpoint,
    store::{Store, StoreError, Written},
};

/// Annotation of the Lease with the term its holder serves under; the reconciler makes the Lease with term 1.
pub const TERM: &str = "pgo.crunchydata.com/term";

/// What this instance is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Course {
    /// The primary, in this term.
    Lead(Term),
    /// A replica.
    Follow(Leader),
}

/// Whom a replica follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    /// The instance.
    pub instance: InstanceName,
    /// Its term.
    pub term: Term,
    /// Where it is, once it serves.
    pub address: Option<SocketAddr>,
}

/// Why this instance may not serve.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// There is no Lease.
    #[error("the cluster has no Lease yet; the reconciler makes it")]
    Missing,
    /// The Lease names nobody, or something that is no instance.
    #[error("the Lease names {0:?} as primary, which is no instance")]
    Nobody(String),
    /// The Lease has no term.
    #[error("the Lease's annotation {TERM} is {0:?}; a number was expected")]
    Term(String),
    /// Somebody else wrote it meanwhile.
    #[error("the Lease was changed by somebody else meanwhile")]
    Conflict,
    /// The Lease cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a Lease says of an instance.
#[derive(Clone, Debug, PartialEq)]
pub enum Claim {
    /// It is the holder: the Lease as it has to write it before it serves, and the term in it.
    Ours(Box<Lease>, Term),
    /// Another one is.
    Of(InstanceName, Term),
}

/// Finds an instance in the Lease.
///
/// # Errors
/// The Lease does not say who is primary, and in which term.
pub fn claim(
    lease: Lease,
    instance: &InstanceName,
    now: Timestamp,
) -> Result<Claim, AuthorityError> {
    let term = term_of(&lease)?;
    let mut lease = lease;
    let mut spec = lease.spec.unwrap_or_default();
    let holder = spec.holder_identity.as_deref().unwrap_or_default();
    let named: InstanceName = holder
        .parse()
        .map_err(|_| AuthorityError::Nobody(holder.to_owned()))?;
    if named != *instance {
        return Ok(Claim::Of(named, term));
    }
    spec.acquire_time.get_or_insert(MicroTime(now));
    spec.renew_time = Some(MicroTime(now));
    lease.spec = Some(spec);
    Ok(Claim::Ours(Box::new(lease), term))
}

fn term_of(lease: &Lease) -> Result<Term, AuthorityError> {
    let text = lease
        .metadata
        .annotations
        .as_ref()
        .and_then(|annotations| annotations.get(TERM))
        .map(String::as_str)
        .unwrap_or_default();
    text.parse()
        .map(Term)
        .map_err(|_| AuthorityError::Term(text.to_owned()))
}

/// Reads the Lease, and writes it where this instance is its holder; else finds the holder.
///
/// A write without an answer may have been done. Whoever fails here begins again with reading, which settles it.
///
/// # Errors
/// It cannot be found out.
pub async fn decide(store: &impl Store, instance: &InstanceName) -> Result<Course, AuthorityError> {
    let lease = store.lease().await?.ok_or(AuthorityError::Missing)?;
    match claim(lease, instance, Timestamp::now())? {
        Claim::Ours(lease, term) => match store.write_lease(&lease).await? {
            Written::Done(_) => Ok(Course::Lead(term)),
            Written::Conflict => Err(AuthorityError::Conflict),
        },
        Claim::Of(leader, term) => {
            let slice = store.slice().await?;
            Ok(Course::Follow(Leader {
                address: slice.and_then(|slice| endpoint::address_of(&slice, &leader)),
                instance: leader,
                term,
            }))
        }
    }
}

/// Whether the Lease names this instance.
///
/// # Errors
/// It cannot be found out.
pub async fn is_ours(store: &impl Store, instance: &InstanceName) -> Result<bool, AuthorityError> {
    let lease = store.lease().await?.ok_or(AuthorityError::Missing)?;
    let claim = claim(lease, instance, Timestamp::now())?;
    Ok(matches!(claim, Claim::Ours(..)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use k8s_openapi::{
        api::coordination::v1::LeaseSpec, apimachinery::pkg::apis::meta::v1::ObjectMeta,
    };

    use super::*;

    fn lease(holder: Option<&str>, term: Option<&str>) -> Lease {
        Lease {
            metadata: ObjectMeta {
                resource_version: Some("7".to_owned()),
                annotations: term.map(|term| BTreeMap::from([(TERM.to_owned(), term.to_owned())])),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: holder.map(str::to_owned),
                ..LeaseSpec::default()
            }),
        }
    }

    fn hippo() -> InstanceName {
        "hippo".parse().expect("a name")
    }

    #[test]
    fn the_holder_renews_and_keeps_version_and_term() {
        let now = Timestamp::new(9, 0).expect("a time");
        let claimed = claim(lease(Some("hippo"), Some("3")), &hippo(), now).expect("a claim");
        let Claim::Ours(claimed, term) = claimed else {
            panic!("it is ours");
        };
        assert_eq!(term, Term(3));
        assert_eq!(claimed.metadata.resource_version.as_deref(), Some("7"));
        let spec = claimed.spec.expect("a spec");
        assert_eq!(spec.renew_time, Some(MicroTime(now)));
        assert_eq!(spec.acquire_time, Some(MicroTime(now)));
        assert_eq!(spec.holder_identity.as_deref(), Some("hippo"));
    }

    #[test]
    fn all_others_learn_who_the_holder_is() {
        let claimed = claim(
            lease(Some("hippo-abcd"), Some("2")),
            &hippo(),
            Timestamp::UNIX_EPOCH,
        );
        let holder = "hippo-abcd".parse().expect("a name");
        assert_eq!(claimed.expect("a claim"), Claim::Of(holder, Term(2)));
    }

    #[test]
    fn a_lease_of_nobody_makes_no_primary_and_no_replica() {
        for holder in [Some(""), None, Some("No Instance")] {
            let claimed = claim(lease(holder, Some("1")), &hippo(), Timestamp::UNIX_EPOCH);
            assert!(
                matches!(claimed, Err(AuthorityError::Nobody(_))),
                "{claimed:?}"
            );
        }
    }

    #[test]
    fn a_lease_without_a_term_is_not_served_under() {
        for term in [None, Some("one")] {
            let claimed = claim(lease(Some("hippo"), term), &hippo(), Timestamp::UNIX_EPOCH);
            assert!(matches!(claimed, Err(AuthorityError::Term(_))));
        }
    }
}
