//! What the agents of a cluster may do in Kubernetes: read and write their own Lease and EndpointSlice, nothing else.

use k8s_openapi::api::{
    core::v1::ServiceAccount,
    rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject},
};
use pgo_core::{Desired, Fixture};
use pgo_ids::StreamId;

use crate::identity::{fixture_name, owned};

/// The account the pods run under.
#[must_use]
pub fn agent_service_account(desired: &Desired, uid: &StreamId) -> ServiceAccount {
    ServiceAccount {
        metadata: owned(desired, uid, fixture_name(Fixture::Account, &desired.name)),
        ..ServiceAccount::default()
    }
}

/// Rights by name of the object, so that an agent that was taken over reaches no other cluster.
#[must_use]
pub fn agent_role(desired: &Desired, uid: &StreamId) -> Role {
    let rule = |group: &str, resource: &str, fixture: Fixture| PolicyRule {
        api_groups: Some(vec![group.to_owned()]),
        resources: Some(vec![resource.to_owned()]),
        resource_names: Some(vec![fixture_name(fixture, &desired.name)]),
        verbs: ["get", "update"].map(str::to_owned).to_vec(),
        ..PolicyRule::default()
    };
    Role {
        metadata: owned(desired, uid, fixture_name(Fixture::Role, &desired.name)),
        rules: Some(vec![
            rule("coordination.k8s.io", "leases", Fixture::Lease),
            rule("discovery.k8s.io", "endpointslices", Fixture::EndpointSlice),
        ]),
    }
}

/// Gives the account those rights.
#[must_use]
pub fn agent_role_binding(desired: &Desired, uid: &StreamId) -> RoleBinding {
    let name = |fixture: Fixture| fixture_name(fixture, &desired.name);
    RoleBinding {
        metadata: owned(desired, uid, name(Fixture::RoleBinding)),
        role_ref: RoleRef {
            api_group: "rbac.authorization.k8s.io".to_owned(),
            kind: "Role".to_owned(),
            name: name(Fixture::Role),
        },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".to_owned(),
            name: name(Fixture::Account),
            namespace: Some(desired.namespace.to_string()),
            ..Subject::default()
        }]),
    }
}
