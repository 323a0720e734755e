//! What the agents of a cluster may do in Kubernetes: read and write their own Lease and EndpointSlice, nothing else.

use k8s_openapi::api::{
    core::v1::ServiceAccount,
    rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject},
};
use pgo_core::Desired;
use pgo_ids::StreamId;

use crate::{identity::owned, service::endpoint_slice_name};

fn name(desired: &Desired) -> String {
    format!("{}-agent", desired.name)
}

/// The account the pods run under.
#[must_use]
pub fn agent_service_account(desired: &Desired, uid: &StreamId) -> ServiceAccount {
    ServiceAccount {
        metadata: owned(desired, uid, name(desired)),
        ..ServiceAccount::default()
    }
}

/// Rights by name of the object, so that an agent that was taken over reaches no other cluster.
#[must_use]
pub fn agent_role(desired: &Desired, uid: &StreamId) -> Role {
    let rule = |group: &str, resource: &str, name: String| PolicyRule {
        api_groups: Some(vec![group.to_owned()]),
        resources: Some(vec![resource.to_owned()]),
        resource_names: Some(vec![name]),
        verbs: ["get", "update"].map(str::to_owned).to_vec(),
        ..PolicyRule::default()
    };
    Role {
        metadata: owned(desired, uid, name(desired)),
        rules: Some(vec![
            rule("coordination.k8s.io", "leases", desired.name.to_string()),
            rule(
                "discovery.k8s.io",
                "endpointslices",
                endpoint_slice_name(&desired.name),
            ),
        ]),
    }
}

/// Gives the account those rights.
#[must_use]
pub fn agent_role_binding(desired: &Desired, uid: &StreamId) -> RoleBinding {
    RoleBinding {
        metadata: owned(desired, uid, name(desired)),
        role_ref: RoleRef {
            api_group: "rbac.authorization.k8s.io".to_owned(),
            kind: "Role".to_owned(),
            name: name(desired),
        },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".to_owned(),
            name: name(desired),
            namespace: Some(desired.namespace.to_string()),
            ..Subject::default()
        }]),
    }
}
