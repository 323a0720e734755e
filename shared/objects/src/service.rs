//! How clients find the primary: Service, EndpointSlice, and the Lease that says who may write the latter.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{
    api::{
        coordination::v1::{Lease, LeaseSpec},
        core::v1::{Service, ServicePort, ServiceSpec},
        discovery::v1::{EndpointPort, EndpointSlice},
    },
    apimachinery::pkg::util::intstr::IntOrString,
};
use pgo_core::{AddressFamily, Desired, FirstLease, Fixture, Form, ServiceType};
use pgo_crd::label;
use pgo_ids::{InstanceName, StreamId};

use crate::identity::{fixture_name, made_for, owned};

/// Annotation of the Lease with the term its holder serves under.
pub const TERM: &str = "pgo.crunchydata.com/term";

/// Annotation of a Lease that was made for an instance which restored a backup: the operation.
pub const RESTORED: &str = "pgo.crunchydata.com/restore";

/// Annotation of a Lease that names the instance which goes on by it, though it records nothing: no other one serves.
pub const TAKE_UP: &str = "pgo.crunchydata.com/take-up";

/// Annotation of the Lease that says whether instances may take over by themselves.
pub const AUTOFAIL: &str = "pgo.crunchydata.com/autofail";

/// Annotation of the Lease that says for how many replicas' answers commits are to wait; agents read it.
pub const SYNCHRONOUS: &str = "pgo.crunchydata.com/synchronous";

/// Annotation of a Lease that says whether commits go on without the replicas they wait for where too few are there.
pub const SYNC_FALLBACK: &str = "pgo.crunchydata.com/sync-fallback";

/// Annotation of the Lease with the names of the instances that become primary rather than others that are as far, joined by
/// commas; agents read it.
pub const PREFERRED: &str = "pgo.crunchydata.com/preferred";

/// Annotation of the Lease with the last changes of the primary, as JSON; agents write it.
pub const TAKEOVERS: &str = "pgo.crunchydata.com/takeovers";

/// Name of the port of PostgreSQL, equal in Service and EndpointSlice, which is how Kubernetes joins them.
const PORT: &str = "postgres";

/// The Service of the primary. It has no selector: the agent that holds the term says where it leads.
#[must_use]
pub fn service(desired: &Desired, uid: &StreamId) -> Service {
    let name = fixture_name(Fixture::Service, &desired.name);
    let kind = desired.service_type;
    service_of(desired, uid, (name, kind), &desired.service_form(), None)
}

/// The Service of the replicas: as in 4.1, it leads to the pods that carry its name.
#[must_use]
pub fn replica_service(desired: &Desired, uid: &StreamId) -> Service {
    let name = fixture_name(Fixture::ReplicaService, &desired.name);
    let selector = BTreeMap::from([
        (label::SERVICE_NAME.to_owned(), name.clone()),
        (label::PG_CLUSTER.to_owned(), desired.name.to_string()),
    ]);
    let form = desired.replica_service_form();
    let kind = desired.replica_service_type;
    service_of(desired, uid, (name, kind), &form, Some(selector))
}

fn service_of(
    desired: &Desired,
    uid: &StreamId,
    (name, kind): (String, ServiceType),
    form: &Form,
    selector: Option<BTreeMap<String, String>>,
) -> Service {
    let mut metadata = owned(desired, uid, name.clone());
    if let Some(labels) = &mut metadata.labels {
        labels.insert("name".to_owned(), name);
    }
    made_for(&mut metadata, form);
    let port = i32::from(desired.port);
    Service {
        metadata,
        spec: Some(ServiceSpec {
            type_: Some(kind.as_str().to_owned()),
            selector,
            ports: Some(vec![ServicePort {
                name: Some(PORT.to_owned()),
                port,
                protocol: Some("TCP".to_owned()),
                target_port: Some(IntOrString::Int(port)),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

/// The EndpointSlice, still empty.
#[must_use]
pub fn endpoint_slice(desired: &Desired, uid: &StreamId, family: AddressFamily) -> EndpointSlice {
    let name = fixture_name(Fixture::EndpointSlice, &desired.name);
    let mut metadata = owned(desired, uid, name);
    if let Some(labels) = &mut metadata.labels {
        labels.extend([
            (
                "kubernetes.io/service-name".to_owned(),
                desired.name.to_string(),
            ),
            (
                "endpointslice.kubernetes.io/managed-by".to_owned(),
                "agent.pgo.crunchydata.com".to_owned(),
            ),
        ]);
    }
    EndpointSlice {
        metadata,
        address_type: family.as_str().to_owned(),
        endpoints: Vec::new(),
        ports: Some(vec![EndpointPort {
            name: Some(PORT.to_owned()),
            port: Some(i32::from(desired.port)),
            protocol: Some("TCP".to_owned()),
            ..EndpointPort::default()
        }]),
    }
}

/// What [`PREFERRED`] says of these instances.
#[must_use]
pub fn preferred(instances: &BTreeSet<InstanceName>) -> String {
    let names: Vec<&str> = instances.iter().map(InstanceName::as_str).collect();
    names.join(",")
}

/// The instances that [`PREFERRED`] names; what is no name of one is none.
#[must_use]
pub fn preferred_instances(said: &str) -> BTreeSet<InstanceName> {
    said.split(',')
        .filter_map(|name| name.parse().ok())
        .collect()
}

/// The Lease, which records nothing yet.
#[must_use]
pub fn lease(desired: &Desired, uid: &StreamId, first: &FirstLease) -> Lease {
    let mut metadata = owned(desired, uid, desired.name.to_string());
    metadata.annotations = Some(BTreeMap::from([
        (TERM.to_owned(), first.term.to_string()),
        (AUTOFAIL.to_owned(), desired.autofail.to_string()),
        (SYNCHRONOUS.to_owned(), desired.synchronous.to_string()),
        (SYNC_FALLBACK.to_owned(), desired.sync_fallback.to_string()),
    ]));
    if let (Some(operation), Some(annotations)) = (first.restore, &mut metadata.annotations) {
        annotations.insert(RESTORED.to_owned(), operation.to_string());
    }
    if let (true, Some(annotations)) = (first.take_up, &mut metadata.annotations) {
        annotations.insert(TAKE_UP.to_owned(), first.holder.to_string());
    }
    Lease {
        metadata,
        spec: Some(LeaseSpec {
            holder_identity: Some(first.holder.to_string()),
            lease_transitions: Some(0),
            ..LeaseSpec::default()
        }),
    }
}
