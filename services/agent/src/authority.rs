//! Whether this instance may serve: the Lease of the cluster names it, and this run of the agent has written the Lease.

use jiff::Timestamp;
use k8s_openapi::{api::coordination::v1::Lease, apimachinery::pkg::apis::meta::v1::MicroTime};
use pgo_ids::{InstanceName, Term};

use crate::store::{Store, StoreError, Written};

/// Annotation of the Lease with the term its holder serves under; the reconciler makes the Lease with term 1.
pub const TERM: &str = "pgo.crunchydata.com/term";

/// Why this instance may not serve.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// There is no Lease.
    #[error("the cluster has no Lease yet; the reconciler makes it")]
    Missing,
    /// The Lease names another instance, or none.
    #[error("the Lease names {0} as primary, so this instance does not serve")]
    Other(String),
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

/// The Lease as this instance has to write it before it serves, and the term in it.
///
/// # Errors
/// This instance may not serve.
pub fn claim(
    lease: Lease,
    instance: &InstanceName,
    now: Timestamp,
) -> Result<(Lease, Term), AuthorityError> {
    let term = term_of(&lease)?;
    let mut lease = lease;
    let mut spec = lease.spec.unwrap_or_default();
    match spec.holder_identity.as_deref() {
        Some(holder) if holder == instance.as_str() => {}
        Some("") | None => return Err(AuthorityError::Other("nobody".to_owned())),
        Some(holder) => return Err(AuthorityError::Other(holder.to_owned())),
    }
    spec.acquire_time.get_or_insert(MicroTime(now));
    spec.renew_time = Some(MicroTime(now));
    lease.spec = Some(spec);
    Ok((lease, term))
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

/// Reads the Lease and writes it as its holder; returns the term.
///
/// A write without an answer may have been done. Whoever fails here begins again with reading, which settles it.
///
/// # Errors
/// This instance may not serve, or that cannot be found out.
pub async fn write(store: &impl Store, instance: &InstanceName) -> Result<Term, AuthorityError> {
    let lease = store.lease().await?.ok_or(AuthorityError::Missing)?;
    let (lease, term) = claim(lease, instance, Timestamp::now())?;
    match store.write_lease(&lease).await? {
        Written::Done(_) => Ok(term),
        Written::Conflict => Err(AuthorityError::Conflict),
    }
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
        let (claimed, term) = claim(lease(Some("hippo"), Some("3")), &hippo(), now).expect("ours");
        assert_eq!(term, Term(3));
        assert_eq!(claimed.metadata.resource_version.as_deref(), Some("7"));
        let spec = claimed.spec.expect("a spec");
        assert_eq!(spec.renew_time, Some(MicroTime(now)));
        assert_eq!(spec.acquire_time, Some(MicroTime(now)));
        assert_eq!(spec.holder_identity.as_deref(), Some("hippo"));
    }

    #[test]
    fn nobody_else_claims_it() {
        for (holder, words) in [
            (Some("hippo-abcd"), "names hippo-abcd"),
            (Some(""), "names nobody"),
            (None, "names nobody"),
        ] {
            let error = claim(lease(holder, Some("1")), &hippo(), Timestamp::UNIX_EPOCH)
                .expect_err("not ours");
            assert!(error.to_string().contains(words), "{error}");
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
