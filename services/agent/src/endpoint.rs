//! Where the cluster's Service leads: to the pod of this instance, or nowhere.

use std::net::{IpAddr, SocketAddr};

use k8s_openapi::api::{
    core::v1::ObjectReference,
    discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice},
};
use pgo_ids::{InstanceName, Namespace};

use crate::store::{Store, StoreError, Written};

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
    /// It cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// `slice` leading to `target`, or nowhere; nothing where it does already.
fn directed(slice: &EndpointSlice, target: Option<&Target>) -> Option<EndpointSlice> {
    let endpoints: Vec<_> = target.map(endpoint).into_iter().collect();
    let ports = match target {
        Some(target) => Some(vec![EndpointPort {
            name: Some(PORT.to_owned()),
            port: Some(i32::from(target.port)),
            protocol: Some("TCP".to_owned()),
            app_protocol: None,
        }]),
        None => slice.ports.clone(),
    };
    (slice.endpoints != endpoints || slice.ports != ports).then(|| EndpointSlice {
        endpoints,
        ports,
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

/// Makes the Service lead to `target`, or nowhere.
///
/// # Errors
/// The EndpointSlice cannot be read or written.
pub async fn direct(store: &impl Store, target: Option<&Target>) -> Result<(), EndpointError> {
    for _ in 0..TRIES {
        let slice = match (store.slice().await?, target) {
            (Some(slice), _) => slice,
            // Without one it leads nowhere.
            (None, None) => return Ok(()),
            (None, Some(_)) => return Err(EndpointError::Missing),
        };
        let Some(wanted) = directed(&slice, target) else {
            return Ok(());
        };
        if let Written::Done(_) = store.write_slice(&wanted).await? {
            tracing::info!(
                to = target.map(|target| target.address.to_string()),
                "the Service was directed"
            );
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

    #[test]
    fn it_leads_to_the_pod_and_is_written_once() {
        let empty = EndpointSlice {
            address_type: "IPv4".to_owned(),
            ..EndpointSlice::default()
        };
        let full = directed(&empty, Some(&target())).expect("changed");
        assert_eq!(full.endpoints[0].addresses, ["10.0.0.7"]);
        let conditions = full.endpoints[0].conditions.as_ref().expect("conditions");
        assert_eq!(conditions.ready, Some(true));
        assert_eq!(directed(&full, Some(&target())), None);

        let nowhere = directed(&full, None).expect("changed");
        assert!(nowhere.endpoints.is_empty());
        assert_eq!(nowhere.ports, full.ports);
        assert_eq!(directed(&nowhere, None), None);
    }

    #[test]
    fn the_primary_is_found_where_the_service_leads_to_it() {
        let full = directed(&EndpointSlice::default(), Some(&target())).expect("changed");
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
        let full = directed(&EndpointSlice::default(), Some(&target())).expect("changed");
        let moved = Target {
            address: IpAddr::from([10, 0, 0, 8]),
            ..target()
        };
        let full = directed(&full, Some(&moved)).expect("changed");
        assert_eq!(full.endpoints[0].addresses, ["10.0.0.8"]);
    }
}
