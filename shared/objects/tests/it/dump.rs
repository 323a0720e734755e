//! The pod for a dump, as Kubernetes will judge it.

use k8s_openapi::api::core::v1::{Pod, PodSpec};
use pgo_core::{DumpOrder, DumpWork, dump::options::DumpFormat};
use pgo_objects::{Holds, LogSettings, holds};
use serde_json::{Value, json};

use crate::objects::{desired, uid};

const CLAIM: &str = "backup-hippo-pgdump-pvc";

fn order(work: DumpWork) -> DumpOrder {
    DumpOrder {
        operation: "25927091-b343-4017-be4b-71575f0b3eb5"
            .parse()
            .expect("an id"),
        work,
    }
}

fn made(work: DumpWork) -> Pod {
    pgo_objects::dump_pod(
        &desired(),
        &uid(),
        (&order(work), CLAIM),
        &LogSettings::default(),
    )
}

fn make() -> DumpWork {
    DumpWork::Make {
        database: "userdb".to_owned(),
        all: false,
        format: DumpFormat::Custom,
        options: vec!["--clean".to_owned()],
    }
}

fn spec(pod: &Pod) -> PodSpec {
    pod.spec.clone().expect("a spec")
}

#[test]
fn the_pod_is_told_what_to_do_and_has_no_more_than_it_needs() {
    let pod = made(make());
    let name = pod.metadata.name.clone().unwrap_or_default();
    assert!(name.starts_with("backup-hippo-pgdump-"), "{name}");
    let labels = pod.metadata.labels.clone().expect("labels");
    assert_eq!(labels["pgdump"], "true");
    assert_eq!(
        labels["pgo.crunchydata.com/dump"],
        "25927091-b343-4017-be4b-71575f0b3eb5"
    );
    let spec = spec(&pod);
    assert_eq!(spec.automount_service_account_token, Some(false));
    assert_eq!(spec.restart_policy.as_deref(), Some("Never"));
    let security = spec.security_context.expect("a security context");
    assert_eq!(security.run_as_non_root, Some(true));
    for container in spec
        .init_containers
        .iter()
        .flatten()
        .chain(&spec.containers)
    {
        let security = container
            .security_context
            .as_ref()
            .expect("a security context");
        assert_eq!(security.allow_privilege_escalation, Some(false));
        assert_eq!(security.read_only_root_filesystem, Some(true));
    }
    let variables = spec.containers[0].env.clone().expect("variables");
    let said = |name: &str| {
        let variable = variables.iter().find(|one| one.name == name);
        variable
            .and_then(|one| one.value.clone())
            .unwrap_or_default()
    };
    let order: Value = serde_json::from_str(&said("PGO_DUMP")).expect("JSON");
    let expected = json!({
        "operation": "25927091-b343-4017-be4b-71575f0b3eb5", "work": "make", "database": "userdb", "format": "custom",
        "options": ["--clean"],
    });
    assert_eq!(order, expected);
    assert_eq!(said("PGO_DATABASE_HOST"), "hippo.pgouser1.svc");
    assert!(
        variables.iter().all(|one| one.value_from.is_none()),
        "no Secret is in it"
    );
    let volumes = serde_json::to_value(&spec.volumes).expect("JSON");
    assert_eq!(
        volumes[2]["secret"]["items"],
        json!([{"key": "ca.crt", "path": "ca.crt"}])
    );
    assert_eq!(volumes[3]["secret"]["secretName"], "hippo-postgres-secret");
    assert_eq!(volumes[4]["persistentVolumeClaim"]["claimName"], CLAIM);
}

#[test]
fn a_restore_is_another_pod() {
    let load = DumpWork::Load {
        dump: Some("2026-10-15-10-11-12".to_owned()),
        database: None,
        options: Vec::new(),
    };
    let pod = made(load);
    let name = pod.metadata.name.clone().unwrap_or_default();
    assert!(name.starts_with("restore-hippo-pgdump-"), "{name}");
    assert_eq!(pod.metadata.labels.expect("labels")["pgrestore"], "true");
}

#[test]
fn a_claim_for_dumps_holds_backups_whatever_its_name() {
    let storage = desired().storage;
    for name in [CLAIM, "others"] {
        let claim = pgo_objects::dump_claim(&desired(), name, &storage);
        assert!(claim.metadata.owner_references.is_none(), "it stays");
        assert_eq!(
            holds(&claim.metadata, &desired().name),
            Some(Holds::Backups)
        );
    }
}
