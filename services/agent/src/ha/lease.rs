//! The Lease as it stands in Kubernetes, and what is recorded in it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::{api::coordination::v1::Lease, apimachinery::pkg::apis::meta::v1::MicroTime};
use pgo_ha::{Record, Version, VoterId};
use pgo_ids::{InstanceName, Term};
use serde::{Deserialize, Serialize};

use crate::ha::book::Book;

/// Annotation with the term of the holder, for people and for the reconciler, which makes the Lease with term 1.
pub const TERM: &str = "pgo.crunchydata.com/term";

/// Annotation that names the instance that goes on alone by a Lease that was made anew: whoever writes it is certain that no
/// other one serves. The reconciler does where there never was another one.
pub const TAKE_UP: &str = "pgo.crunchydata.com/take-up";

/// Annotation of an EndpointSlice with the uid of the Lease that its term is of: terms of another one say nothing.
pub const LEASE: &str = "pgo.crunchydata.com/lease";

/// Annotation with what the protocol records, as JSON. The reconciler makes the Lease without it: it cannot know the
/// identity of a volume.
pub const RECORD: &str = "pgo.crunchydata.com/record";

/// Annotation with where the instances are, as JSON, as far as the holder knew when it wrote last.
pub const INSTANCES: &str = "pgo.crunchydata.com/instances";

/// Annotation that says whether instances may take over by themselves; the reconciler writes it. Without it they may not.
pub const AUTOFAIL: &str = "pgo.crunchydata.com/autofail";

/// Annotation that says for how many replicas' answers commits are to wait; the reconciler writes it. Without it, it stays as
/// it is.
pub const SYNCHRONOUS: &str = "pgo.crunchydata.com/synchronous";

/// Annotation that says whether commits go on without the replicas they wait for where too few are there; the reconciler
/// writes it. Without it they wait.
pub const FALLBACK: &str = "pgo.crunchydata.com/sync-fallback";

/// Annotation with the names of the instances that become primary rather than others that are as far, joined by commas; the
/// reconciler writes it.
pub const PREFERRED: &str = "pgo.crunchydata.com/preferred";

/// Annotation with the last changes of the primary, as JSON, the newest one last; written with the change itself: whoever tells
/// it to the world may be away when it happens.
pub const TAKEOVERS: &str = "pgo.crunchydata.com/takeovers";

/// The most changes of the primary that a Lease keeps. More happen only in hours in which nobody tells of them.
const MOST_TAKEOVERS: usize = 16;

/// Why another instance became the primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// The former one had given up in order.
    Released,
    /// The former one was not heard any more.
    Lost,
}

/// A change of the primary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Takeover {
    /// The term that began with it.
    pub term: u64,
    /// Name of the former primary.
    pub from: String,
    /// Name of the new one.
    pub to: String,
    /// Why.
    pub cause: Cause,
    /// Timeline that the new primary had come on; a record of an older agent has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub former_timeline: Option<u32>,
    /// Timeline that began.
    pub timeline: u32,
    /// Place in the WAL where it began, as PostgreSQL writes it.
    pub lsn: String,
    /// How many bytes of the WAL of one that had given up in order the new one lacks, if that could be found out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<u64>,
    /// Why PostgreSQL could not serve there, if that is why it gave up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unfit: Option<String>,
    /// When the new primary had heard of the former one last, if it had.
    pub heard: Option<Timestamp>,
    /// When the Lease was written.
    pub at: Timestamp,
}

/// Under which authority a primary leads: terms of one Lease rise, those of another one say nothing of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reign {
    /// Uid of the Lease.
    pub lease: String,
    /// The term.
    pub term: Term,
}

/// Uid of a Lease; empty where it has none, as before it was stored.
pub fn uid(lease: &Lease) -> String {
    lease.metadata.uid.clone().unwrap_or_default()
}

/// What the reconciler wants of the instances. It may change in a Lease that the protocol has no reason to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// Whether they may take over by themselves.
    pub autofail: bool,
    /// For how many replicas' answers commits are to wait; as before where it is not said.
    pub synchronous: Option<usize>,
    /// Whether they go on without those that are missing.
    pub fallback: bool,
    /// Names of those that become primary rather than others that are as far.
    pub preferred: BTreeSet<String>,
}

/// What is wanted of the instances, by `lease`.
pub fn wishes(lease: &Lease) -> Wishes {
    let annotation = |name| lease.metadata.annotations.as_ref()?.get(name);
    Wishes {
        autofail: annotation(AUTOFAIL).is_some_and(|value| value == "true"),
        synchronous: annotation(SYNCHRONOUS).and_then(|value| value.parse().ok()),
        fallback: annotation(FALLBACK).is_some_and(|value| value == "true"),
        preferred: annotation(PREFERRED).map_or_else(BTreeSet::new, |names| {
            let names = names.split(',').filter(|name| !name.is_empty());
            names.map(str::to_owned).collect()
        }),
    }
}

/// What a Lease says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// What the protocol recorded.
    Recorded {
        /// The Lease's version.
        version: Version,
        /// The record.
        record: Record,
        /// Where the instances are.
        instances: Book,
        /// What is wanted of the instances.
        wishes: Wishes,
    },
    /// The Lease was lost, and made anew with nothing in it.
    Anew {
        /// Its version.
        version: Version,
        /// Above all terms that whoever made it knows of.
        term: Term,
        /// Whether this instance goes on by it, since no other one serves.
        chosen: bool,
    },
    /// Nothing is recorded yet; this instance is to be the first primary.
    First,
    /// Nothing is recorded yet, and this other instance is to be the first primary.
    Of(InstanceName),
}

/// Why a Lease says nothing.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// It names nobody, or something that is no instance.
    #[error("the Lease names {0:?} as primary, which is no instance")]
    Nobody(String),
    /// What is recorded cannot be read.
    #[error(
        "the Lease's annotation {annotation} cannot be read ({cause}); who wrote it was no agent of this version"
    )]
    Damaged {
        /// Which annotation.
        annotation: &'static str,
        /// What is wrong with it.
        cause: serde_json::Error,
    },
}

/// Reads what `lease` says to the instance `me`.
///
/// # Errors
/// It says nothing that is understood; nobody serves or follows by it.
pub fn read(lease: &Lease, me: &InstanceName) -> Result<Reading, LeaseError> {
    let annotation = |name| lease.metadata.annotations.as_ref()?.get(name);
    let Some(text) = annotation(RECORD) else {
        let holder = lease
            .spec
            .as_ref()
            .and_then(|spec| spec.holder_identity.as_deref());
        let holder = holder.unwrap_or_default();
        let holder: InstanceName = holder
            .parse()
            .map_err(|_| LeaseError::Nobody(holder.to_owned()))?;
        let term = annotation(TERM).and_then(|text| text.parse().ok());
        let (term, chosen) = (term.unwrap_or(1), annotation(TAKE_UP));
        if term > 1 || chosen.is_some() {
            return Ok(Reading::Anew {
                version: version(lease),
                term: Term(term),
                chosen: chosen.is_some_and(|chosen| chosen == me.as_str()),
            });
        }
        return Ok(if holder == *me {
            Reading::First
        } else {
            Reading::Of(holder)
        });
    };
    let damaged = |annotation| move |cause| LeaseError::Damaged { annotation, cause };
    let record = serde_json::from_str(text).map_err(damaged(RECORD))?;
    let instances = match annotation(INSTANCES) {
        Some(text) => serde_json::from_str(text).map_err(damaged(INSTANCES))?,
        None => Book::default(),
    };
    Ok(Reading::Recorded {
        version: version(lease),
        record,
        instances,
        wishes: wishes(lease),
    })
}

/// The last changes of the primary, by the annotation [`TAKEOVERS`]. What is not understood there is written anew: it is for
/// who tells of it, nothing else rests on it.
fn takeovers(annotation: Option<&String>) -> Vec<Takeover> {
    let read = annotation.map(|text| serde_json::from_str(text));
    read.and_then(|read| {
        read.inspect_err(
            |error| tracing::error!(%error, "the Lease's annotation {TAKEOVERS} is not understood"),
        )
        .ok()
    })
    .unwrap_or_default()
}

/// Whether the protocol has recorded something in `lease`.
pub fn records(lease: &Lease) -> bool {
    let annotations = lease.metadata.annotations.as_ref();
    annotations.is_some_and(|annotations| annotations.contains_key(RECORD))
}

/// Uid of the cluster that owns `lease`.
pub fn cluster(lease: &Lease) -> Option<&str> {
    let owners = lease.metadata.owner_references.as_ref()?;
    owners.first().map(|owner| owner.uid.as_str())
}

/// The version of a Lease.
pub fn version(lease: &Lease) -> Version {
    Version::from(
        lease
            .metadata
            .resource_version
            .as_deref()
            .unwrap_or_default(),
    )
}

/// `lease` with `record` in it, to be written by the instance `me` if its version is still `expected`.
///
/// # Errors
/// It cannot be written as JSON, which no record is.
pub fn written(
    lease: &Lease,
    expected: &Version,
    record: &Record,
    instances: &Book,
    (me, voter): (&InstanceName, VoterId),
    (takeover, now): (Option<&Takeover>, Timestamp),
) -> Result<Lease, serde_json::Error> {
    let mut lease = lease.clone();
    lease.metadata.resource_version = Some(expected.as_str().to_owned());
    let annotations = lease.metadata.annotations.get_or_insert_with(BTreeMap::new);
    annotations.insert(TERM.to_owned(), record.term.to_string());
    annotations.remove(TAKE_UP);
    annotations.insert(RECORD.to_owned(), serde_json::to_string(record)?);
    annotations.insert(INSTANCES.to_owned(), serde_json::to_string(instances)?);
    if let Some(takeover) = takeover {
        let mut takeovers = takeovers(annotations.get(TAKEOVERS));
        takeovers.push(takeover.clone());
        let forgotten = takeovers.len().saturating_sub(MOST_TAKEOVERS);
        takeovers.drain(..forgotten);
        annotations.insert(TAKEOVERS.to_owned(), serde_json::to_string(&takeovers)?);
    }
    let mut spec = lease.spec.unwrap_or_default();
    if record.holder == voter {
        if spec.holder_identity.as_deref() != Some(me.as_str()) {
            spec.acquire_time = None;
            spec.lease_transitions = Some(spec.lease_transitions.unwrap_or_default() + 1);
        }
        spec.holder_identity = Some(me.to_string());
    }
    spec.acquire_time.get_or_insert(MicroTime(now));
    spec.renew_time = Some(MicroTime(now));
    lease.spec = Some(spec);
    Ok(lease)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{
        api::coordination::v1::LeaseSpec, apimachinery::pkg::apis::meta::v1::ObjectMeta,
    };
    use pgo_ha::{Position, Rules};
    use uuid::Uuid;

    use super::*;
    use crate::ha::book::Place;

    fn made(holder: &str) -> Lease {
        Lease {
            metadata: ObjectMeta {
                resource_version: Some("7".to_owned()),
                annotations: Some(BTreeMap::from([(TERM.to_owned(), "1".to_owned())])),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(holder.to_owned()),
                ..LeaseSpec::default()
            }),
        }
    }

    fn name(text: &str) -> InstanceName {
        text.parse().expect("a name")
    }

    #[test]
    fn the_first_primary_is_who_the_reconciler_named() {
        let lease = made("hippo");
        assert_eq!(read(&lease, &name("hippo")).expect("read"), Reading::First);
        let other = read(&lease, &name("hippo-abcd")).expect("read");
        assert_eq!(other, Reading::Of(name("hippo")));
        for nobody in ["", "No Instance"] {
            let error = read(&made(nobody), &name("hippo")).expect_err("nobody");
            assert!(matches!(error, LeaseError::Nobody(_)), "{error}");
        }
    }

    #[test]
    fn a_lease_made_anew_is_nobodys_but_whom_it_is_given_to() {
        let mut lease = made("hippo");
        let annotations = lease.metadata.annotations.as_mut().expect("some");
        annotations.insert(TERM.to_owned(), "7".to_owned());
        annotations.insert(TAKE_UP.to_owned(), "hippo-abcd".to_owned());
        for (me, chosen) in [("hippo", false), ("hippo-abcd", true)] {
            let anew = Reading::Anew {
                version: Version::from("7"),
                term: Term(7),
                chosen,
            };
            assert_eq!(read(&lease, &name(me)).expect("read"), anew);
        }
    }

    #[test]
    fn what_is_written_is_read_again_and_names_the_holder() {
        let [a, b] = [1, 2].map(|n| VoterId::from(Uuid::from_u128(n)));
        let first = Record::first(a);
        let record = first.promoted(&Rules::PROTOCOL, b, Position::default());
        let mut instances = Book::default();
        let address = ([10, 0, 0, 7], 8445).into();
        let place = Place {
            name: "hippo-abcd".to_owned(),
            address,
            port: 5432,
        };
        instances.learn(b, place);
        let (me, now) = (name("hippo-abcd"), Timestamp::UNIX_EPOCH);
        let expected = Version::from("6");
        let lease = written(
            &made("hippo"),
            &expected,
            &record,
            &instances,
            (&me, b),
            (None, now),
        );
        let lease = lease.expect("written");
        let spec = lease.spec.clone().expect("a spec");
        assert_eq!(spec.holder_identity.as_deref(), Some("hippo-abcd"));
        assert_eq!(spec.lease_transitions, Some(1));
        assert_eq!(
            lease.metadata.annotations.as_ref().expect("some")[TERM],
            "2"
        );
        let reading = read(&lease, &name("hippo")).expect("read");
        assert_eq!(
            reading,
            Reading::Recorded {
                version: expected,
                record,
                instances,
                wishes: Wishes::default()
            }
        );
    }

    #[test]
    fn what_the_reconciler_says_is_read_and_nothing_where_it_says_nothing() {
        let mut lease = made("hippo");
        assert_eq!(wishes(&lease), Wishes::default());
        let annotations = lease.metadata.annotations.as_mut().expect("some");
        for (name, value) in [
            (AUTOFAIL, "true"),
            (SYNCHRONOUS, "2"),
            (FALLBACK, "true"),
            (PREFERRED, "hippo-abcd,hippo-efgh"),
        ] {
            annotations.insert(name.to_owned(), value.to_owned());
        }
        let expected = Wishes {
            autofail: true,
            synchronous: Some(2),
            fallback: true,
            preferred: ["hippo-abcd", "hippo-efgh"].map(str::to_owned).into(),
        };
        assert_eq!(wishes(&lease), expected);
        let annotations = lease.metadata.annotations.as_mut().expect("some");
        annotations.insert(PREFERRED.to_owned(), String::new());
        assert!(wishes(&lease).preferred.is_empty());
    }

    #[test]
    fn a_record_that_is_none_is_refused() {
        let mut lease = made("hippo");
        let annotations = lease.metadata.annotations.as_mut().expect("some");
        annotations.insert(RECORD.to_owned(), "{}".to_owned());
        let error = read(&lease, &name("hippo"))
            .expect_err("damaged")
            .to_string();
        assert!(
            error.contains("pgo.crunchydata.com/record cannot be read"),
            "{error}"
        );
    }
}
