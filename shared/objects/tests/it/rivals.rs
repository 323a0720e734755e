//! Which clusters cannot stand side by side, held against the names of all that is made for them.

use std::collections::BTreeSet;

use pgo_core::{Fixture, repository_claim_name};
use pgo_ids::ClusterName;
use pgo_objects::{drill_name, fixture_name, probe_name, rivals};
use proptest::prelude::*;

/// Kind and name of what is made for a cluster under a name that nobody chooses, but the Secrets of its users.
fn made(cluster: &ClusterName) -> BTreeSet<(&'static str, String)> {
    let fixture = |kind, fixture| (kind, fixture_name(fixture, cluster));
    [
        fixture("Service", Fixture::Service),
        fixture("Service", Fixture::ReplicaService),
        fixture("EndpointSlice", Fixture::EndpointSlice),
        fixture("Lease", Fixture::Lease),
        fixture("Secret", Fixture::Certificate),
        fixture("RoleBinding", Fixture::RoleBinding),
        fixture("Role", Fixture::Role),
        fixture("ServiceAccount", Fixture::Account),
        ("Pod", cluster.to_string()),
        ("Pod", probe_name(cluster)),
        ("Pod", drill_name(cluster)),
        ("PersistentVolumeClaim", cluster.to_string()),
        fixture("Service", Fixture::RepositoryService),
        fixture("Deployment", Fixture::Repository),
        ("PersistentVolumeClaim", repository_claim_name(cluster)),
    ]
    .into()
}

fn name() -> impl Strategy<Value = ClusterName> {
    let ends = [
        "-replica",
        "-upgrade-probe",
        "-restore-drill",
        "-primary",
        "-agent",
        "-agent-tls",
        "-backrest-shared-repo",
        "-pgbr-repo",
    ];
    let name = (
        "[ab]",
        prop::collection::vec(prop::sample::select(ends.to_vec()), 0..3),
    );
    name.prop_map(|(begin, ends)| {
        let name = format!("{begin}{}", ends.concat());
        name.parse().expect("a name")
    })
}

proptest! {
    #[test]
    fn clusters_are_rivals_exactly_where_both_need_a_name(one in name(), other in name()) {
        let clash = one != other && !made(&one).is_disjoint(&made(&other));
        let names = |cluster| rivals(cluster).into_iter().map(|rival| rival.cluster);
        prop_assert_eq!(names(&one).any(|rival| rival == other), clash);
        prop_assert_eq!(names(&other).any(|rival| rival == one), clash);
    }
}

#[test]
fn a_rival_is_told_with_what_both_need_and_what_for() {
    let found = rivals(&"hippo-replica".parse().expect("a name"));
    let hippo = found.iter().find(|rival| rival.cluster.as_str() == "hippo");
    assert_eq!(
        hippo.expect("hippo").object,
        "Service hippo-replica, hippo for its replicas and hippo-replica for its primary"
    );
}

#[test]
fn a_name_that_is_too_long_for_a_cluster_is_no_rivals() {
    let long = "a".repeat(ClusterName::MOST);
    assert_eq!(rivals(&long.parse().expect("a name")), []);
}
