//! Where the cluster's Service leads: to the pod of this instance, or nowhere.

use std::{
    net::{IpAddr, SocketAddr},
    time::Instant,
};

use k8s_openapi::api::{
    core::v1::ObjectReference,
    discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice},
};
use pgo_ids::{InstanceName, Namespace, Term};

use crate::{
    ha::lease::{self, LEASE, Reign, TERM},
    store::{Store, StoreError, Written},
};

/// Name of the port, equal to that in the Service.
const PORT: &str = "postgres";

/// Tries against others who write the same object; nobody but the reconciler does, and that rarely.
const TRIES: usize = 5;

/// The pod that the Service leads to.
#[derive(Clone, Debug)]
pub struct Target {
    /// Address of the pod.
    pub address: IpAddr,
    /// Port of PostgreSQL.
    pub port: u16,
    /// Name of the pod.
    pub pod: String,
    /// Uid of the pod.
    pub uid: String,
    /// Namespace of the pod.
    pub namespace: Namespace,
}

/// Why the Service does not lead where it should.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// There is no EndpointSlice.
    #[error("the cluster has no EndpointSlice yet; the reconciler makes it")]
    Missing,
    /// Somebody else wrote it each time.
    #[error("the EndpointSlice was changed by somebody else {TRIES} times in a row")]
    Conflict,
    /// It leads to a primary that was elected later.
    #[error(
        "the Service leads to the primary of term {later} already, and this one is of term {own}"
    )]
    Superseded {
        /// The term of the other one.
        later: Term,
        /// The term here.
        own: Term,
    },
    /// The Lease was removed, and made anew or is about to be.
    #[error(
        "the Service leads to a primary by another Lease, and the one by which this instance leads is there no more; \
         whom the present one names takes the Service"
    )]
    FormerLease,
    /// It cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The term of the primary that wrote `slice` last, which says so in an annotation as that of the Lease.
fn term_of(slice: &EndpointSlice) -> Term {
    let annotations = slice.metadata.annotations.as_ref();
    let written = annotations.and_then(|annotations| annotations.get(TERM)?.parse().ok());
    written.map(Term).unwrap_or_default()
}

/// Uid of the Lease by which the primary led that wrote `slice` last, where it says so in an annotation.
fn lease_of(slice: &EndpointSlice) -> Option<&str> {
    let annotations = slice.metadata.annotations.as_ref()?;
    annotations.get(LEASE).map(String::as_str)
}

/// Whether that was another Lease than this: terms are not compared then.
fn is_by_another(slice: &EndpointSlice, lease: &str) -> bool {
    lease_of(slice).is_some_and(|written| written != lease)
}

/// `slice` leading to `target`, the primary of `reign`; nothing where it does already. A primary that was frozen for long may
/// ask for it when another one was elected. Of two Leases only the one that is there counts: `is_present` says whether that is
/// the one of `reign`, by a look after `slice` was read, so that a write of what rests on it is refused where another one has
/// led the Service elsewhere since.
fn directed(
    slice: &EndpointSlice,
    target: &Target,
    (reign, is_present): (&Reign, bool),
) -> Result<Option<EndpointSlice>, EndpointError> {
    let (later, term) = (term_of(slice), reign.term);
    let by_another = is_by_another(slice, &reign.lease);
    if by_another && !is_present {
        return Err(EndpointError::FormerLease);
    }
    if !by_another && later > term && leads_elsewhere(slice, target) {
        return Err(EndpointError::Superseded { later, own: term });
    }
    let endpoints = vec![endpoint(target)];
    let ports = Some(vec![EndpointPort {
        name: Some(PORT.to_owned()),
        port: Some(i32::from(target.port)),
        protocol: Some("TCP".to_owned()),
        app_protocol: None,
    }]);
    let leads_here = slice.endpoints == endpoints && slice.ports == ports;
    let is_marked = lease_of(slice) == Some(reign.lease.as_str());
    if leads_here && is_marked && later >= term {
        return Ok(None);
    }
    let mut metadata = slice.metadata.clone();
    let annotations = metadata.annotations.get_or_insert_default();
    annotations.insert(TERM.to_owned(), term.to_string());
    annotations.insert(LEASE.to_owned(), reign.lease.clone());
    Ok(Some(EndpointSlice {
        metadata,
        endpoints,
        ports,
        ..slice.clone()
    }))
}

/// Whether `slice` leads to another pod.
fn leads_elsewhere(slice: &EndpointSlice, target: &Target) -> bool {
    let pod = |endpoint: &Endpoint| endpoint.target_ref.as_ref()?.name.clone();
    let mut pods = slice.endpoints.iter().filter_map(pod);
    pods.any(|pod| pod != target.pod)
}

/// `slice` leading nowhere, where it leads to this instance; nothing where it does not. Another one may have been led to
/// meanwhile.
fn withdrawn(slice: &EndpointSlice, target: &Target) -> Option<EndpointSlice> {
    let name = |endpoint: &Endpoint| endpoint.target_ref.as_ref()?.name.clone();
    let leads_here = |endpoint| name(endpoint).is_none_or(|pod| pod == target.pod);
    slice
        .endpoints
        .iter()
        .any(leads_here)
        .then(|| EndpointSlice {
            endpoints: Vec::new(),
            ..slice.clone()
        })
}

fn endpoint(target: &Target) -> Endpoint {
    Endpoint {
        addresses: vec![target.address.to_string()],
        conditions: Some(EndpointConditions {
            ready: Some(true),
            serving: Some(true),
            terminating: Some(false),
        }),
        target_ref: Some(ObjectReference {
            kind: Some("Pod".to_owned()),
            name: Some(target.pod.clone()),
            namespace: Some(target.namespace.to_string()),
            uid: Some(target.uid.clone()),
            ..ObjectReference::default()
        }),
        ..Endpoint::default()
    }
}

/// The address at which an instance serves, if the Service leads to it. Pods have the names of their instances.
#[must_use]
pub fn address_of(slice: &EndpointSlice, instance: &InstanceName) -> Option<SocketAddr> {
    let endpoint = slice.endpoints.iter().find(|endpoint| {
        let pod = endpoint.target_ref.as_ref();
        pod.and_then(|pod| pod.name.as_deref()) == Some(instance.as_str())
    })?;
    let mut ports = slice.ports.iter().flatten();
    let port = ports
        .find(|port| port.name.as_deref() == Some(PORT))?
        .port?;
    let address = endpoint.addresses.first()?.parse().ok()?;
    Some(SocketAddr::new(address, u16::try_from(port).ok()?))
}

/// Makes the Service lead to `target`, the primary of `reign`.
///
/// # Errors
/// The EndpointSlice is not there, cannot be read or written, or leads to a primary of a later term or of a later Lease.
pub async fn direct(
    store: &impl Store,
    target: &Target,
    reign: &Reign,
) -> Result<(), EndpointError> {
    let begin = Instant::now();
    for _ in 0..TRIES {
        let slice = store.slice().await?.ok_or(EndpointError::Missing)?;
        let is_present = is_by_another(&slice, &reign.lease)
            && store
                .lease()
                .await?
                .is_some_and(|lease| lease::uid(&lease) == reign.lease);
        let Some(wanted) = directed(&slice, target, (reign, is_present))? else {
            return Ok(());
        };
        if let Written::Done(_) = store.write_slice(&wanted).await? {
            let millis = begin.elapsed().as_millis();
            tracing::info!(to = %target.address, millis, "the Service was directed");
            return Ok(());
        }
    }
    Err(EndpointError::Conflict)
}

/// Makes the Service lead nowhere, if it leads to `target`.
///
/// # Errors
/// The EndpointSlice cannot be read or written.
pub async fn withdraw(store: &impl Store, target: &Target) -> Result<(), EndpointError> {
    for _ in 0..TRIES {
        // Without one it leads nowhere.
        let slice = store.slice().await?;
        let Some(wanted) = slice.and_then(|slice| withdrawn(&slice, target)) else {
            return Ok(());
        };
        if let Written::Done(_) = store.write_slice(&wanted).await? {
            tracing::info!("the Service leads here no more");
            return Ok(());
        }
    }
    Err(EndpointError::Conflict)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> Target {
        Target {
            address: IpAddr::from([10, 0, 0, 7]),
            port: 5432,
            pod: "hippo".to_owned(),
            uid: "1".to_owned(),
            namespace: "pgouser1".parse().expect("a name"),
        }
    }

    fn other() -> Target {
        Target {
            pod: "hippo-abcd".to_owned(),
            ..target()
        }
    }

    /// Of the Lease with this uid.
    fn reign(lease: &str, term: u64) -> Reign {
        Reign {
            lease: lease.to_owned(),
            term: Term(term),
        }
    }

    /// What a primary of the first Lease makes of a slice in this term.
    fn directed_in(
        slice: &EndpointSlice,
        target: &Target,
        term: u64,
    ) -> Result<Option<EndpointSlice>, EndpointError> {
        directed(slice, target, (&reign("first", term), false))
    }

    /// Leads `slice` to a primary of term 2.
    fn led(slice: &EndpointSlice, target: &Target) -> Option<EndpointSlice> {
        directed_in(slice, target, 2).expect("of no later term")
    }

    #[test]
    fn terms_of_a_lease_that_is_gone_do_not_count() {
        let full = led(&EndpointSlice::default(), &other()).expect("changed");
        let anew = reign("second", 1);
        let taken = directed(&full, &target(), (&anew, true)).expect("it is there");
        let taken = taken.expect("changed");
        assert_eq!(taken.endpoints, [endpoint(&target())]);
        assert_eq!(
            (lease_of(&taken), term_of(&taken)),
            (Some("second"), Term(1))
        );
        assert_eq!(
            directed(&taken, &target(), (&anew, false)).expect("its own"),
            None
        );
        let next = directed(&taken, &other(), (&reign("second", 2), false));
        assert!(next.expect("of no later term").is_some());
    }

    #[test]
    fn a_primary_by_a_lease_that_is_gone_takes_the_service_from_nobody() {
        let full = directed(
            &EndpointSlice::default(),
            &other(),
            (&reign("second", 1), true),
        );
        let full = full.expect("it leads nowhere").expect("changed");
        let former = reign("first", 7);
        for target in [target(), other()] {
            let error = directed(&full, &target, (&former, false)).expect_err("of a former Lease");
            assert!(matches!(error, EndpointError::FormerLease), "{error}");
        }
    }

    #[test]
    fn who_is_led_to_by_another_lease_writes_that_it_leads_by_this_one() {
        // A write by who has read it before is refused then.
        let full = led(&EndpointSlice::default(), &target()).expect("changed");
        let again = directed(&full, &target(), (&reign("second", 1), true));
        let again = again.expect("it is there").expect("changed");
        assert_eq!(lease_of(&again), Some("second"));
        let mut unmarked = full;
        let annotations = unmarked.metadata.annotations.as_mut().expect("some");
        annotations.remove(LEASE);
        let marked = led(&unmarked, &target()).expect("changed");
        assert_eq!(lease_of(&marked), Some("first"));
    }

    #[test]
    fn a_primary_of_an_earlier_term_takes_the_service_from_no_later_one() {
        let full = led(&EndpointSlice::default(), &other()).expect("changed");
        let error = directed_in(&full, &target(), 1).expect_err("superseded");
        assert!(error.to_string().contains("of term 2 already"), "{error}");
        let nowhere = withdrawn(&full, &other()).expect("changed");
        for slice in [nowhere, led(&full, &target()).expect("changed")] {
            assert!(directed_in(&slice, &target(), 1).is_ok());
        }
        let next = directed_in(&full, &target(), 3).expect("of no later term");
        assert_eq!(term_of(&next.expect("changed")), Term(3));
    }

    #[test]
    fn it_leads_to_the_pod_and_is_written_once() {
        let empty = EndpointSlice {
            address_type: "IPv4".to_owned(),
            ..EndpointSlice::default()
        };
        let full = led(&empty, &target()).expect("changed");
        assert_eq!(full.endpoints[0].addresses, ["10.0.0.7"]);
        let conditions = full.endpoints[0].conditions.as_ref().expect("conditions");
        assert_eq!(conditions.ready, Some(true));
        assert_eq!(led(&full, &target()), None);

        let nowhere = withdrawn(&full, &target()).expect("changed");
        assert!(nowhere.endpoints.is_empty());
        assert_eq!(nowhere.ports, full.ports);
        assert_eq!(withdrawn(&nowhere, &target()), None);
    }

    #[test]
    fn who_has_stopped_takes_nothing_away_from_who_has_taken_over() {
        let full = led(&EndpointSlice::default(), &other()).expect("changed");
        assert_eq!(withdrawn(&full, &target()), None);
    }

    #[test]
    fn the_primary_is_found_where_the_service_leads_to_it() {
        let full = led(&EndpointSlice::default(), &target()).expect("changed");
        let hippo = "hippo".parse().expect("a name");
        assert_eq!(
            address_of(&full, &hippo),
            Some(SocketAddr::from(([10, 0, 0, 7], 5432)))
        );
        let other = "hippo-abcd".parse().expect("a name");
        assert_eq!(address_of(&full, &other), None);
        assert_eq!(address_of(&EndpointSlice::default(), &hippo), None);
    }

    #[test]
    fn a_pod_that_came_back_with_another_address_is_led_to() {
        let full = led(&EndpointSlice::default(), &target()).expect("changed");
        let moved = Target {
            address: IpAddr::from([10, 0, 0, 8]),
            ..target()
        };
        let full = led(&full, &moved).expect("changed");
        assert_eq!(full.endpoints[0].addresses, ["10.0.0.8"]);
    }
}
