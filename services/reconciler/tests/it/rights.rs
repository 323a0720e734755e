//! `deploy/rbac/reconciler.yaml` is what `src/rights.rs` says. `UPDATE=1 cargo test -p pgo-reconciler` writes it anew.

use std::path::Path;

use pgo_crd::{Pgcluster, PgclusterSpec, PgoConfig};
use pgo_k8s::rights::Request;
use pgo_reconciler::RIGHTS;

#[test]
fn the_rights_that_are_installed_are_those_of_the_table() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/rbac");
    if let Err(differs) = RIGHTS.hold_against(&folder) {
        panic!("{differs}");
    }
}

/// Kubernetes lets nobody make a Role with rights that he does not have.
#[test]
fn the_reconciler_has_every_right_that_it_gives_to_agents() {
    // The installer replaces @NAME@ by values; here the names do for them.
    let installed = include_str!("../../../../deploy/install/pgo.yaml").replace('@', "");
    let config = PgoConfig::parse(&installed).expect("what is installed is usable");
    assert!(
        config.not_available().is_empty(),
        "what is installed asks for nothing that is not there"
    );
    let mut cluster = Pgcluster::new("hippo", PgclusterSpec::default());
    cluster.metadata.namespace = Some("pgouser1".to_owned());
    let desired = pgo_crd::desired(&cluster, &config);
    let uid = "uid-1".parse().expect("a uid");
    let role = pgo_objects::agent_role(&desired.expect("nothing but a name is needed"), &uid);
    let rules = role.rules.expect("rules");
    assert!(!rules.is_empty());
    for rule in rules {
        let groups = rule.api_groups.expect("a group");
        let resources = rule.resources.expect("a resource");
        for verb in rule.verbs {
            let method = match verb.as_str() {
                "get" => "GET",
                "update" => "PUT",
                other => panic!("say here by which request an agent uses {other}"),
            };
            let path = format!(
                "/apis/{}/v1/namespaces/pgouser1/{}/hippo",
                groups[0], resources[0]
            );
            let request = Request::read(method, &path, "").expect("a request for a resource");
            assert!(RIGHTS.allows("pgo", &request), "{request:?}");
        }
    }
}
