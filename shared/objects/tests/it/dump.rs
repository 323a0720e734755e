//! The pod for a dump, as Kubernetes will judge it.

use k8s_openapi::api::core::v1::{Pod, PodSpec};
use pgo_core::{
    DumpKind, DumpOrder, DumpWork,
    dump::{base::BaseSource, options::DumpFormat},
};
use pgo_objects::{Holds, LogSettings, holds};
use serde_json::{Value, json};

use crate::objects::{desired, runs_once_without_rights, uid, variable};

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
        3600,
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
    let spec = runs_once_without_rights(&pod);
    let said = |name: &str| variable(&spec, name);
    let order: Value = serde_json::from_str(&said("PGO_DUMP")).expect("JSON");
    let expected = json!({
        "operation": "25927091-b343-4017-be4b-71575f0b3eb5", "work": "make", "database": "userdb", "format": "custom",
        "options": ["--clean"],
    });
    assert_eq!(order, expected);
    assert_eq!(said("PGO_DATABASE_HOST"), "hippo.pgouser1.svc");
    assert_eq!(said("PGO_STALL_SECONDS"), "3600");
    assert!(
        spec.containers[0]
            .env
            .iter()
            .flatten()
            .all(|one| one.value_from.is_none()),
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
        node_label: Some("zone=a".to_owned()),
        options: Vec::new(),
    };
    let pod = made(load);
    let affinity = serde_json::to_string(&spec(&pod).affinity).expect("JSON");
    assert!(affinity.contains("\"zone\""), "{affinity}");
    assert_eq!(spec(&made(make())).affinity, None, "nobody asks for it");
    let name = pod.metadata.name.clone().unwrap_or_default();
    assert!(name.starts_with("restore-hippo-pgdump-"), "{name}");
    let text = serde_json::to_string(&pod).expect("JSON");
    assert!(
        !text.contains("PGO_STALL_SECONDS"),
        "an index may take hours"
    );
    assert_eq!(pod.metadata.labels.expect("labels")["pgrestore"], "true");
}

#[test]
fn a_claim_for_dumps_holds_backups_whatever_its_name() {
    let storage = desired().storage;
    for name in [CLAIM, "others"] {
        let claim = pgo_objects::dump_claim(&desired(), (name, DumpKind::Make), &storage);
        assert!(claim.metadata.owner_references.is_none(), "it stays");
        assert_eq!(
            holds(&claim.metadata, &desired().name),
            Some(Holds::Backups)
        );
    }
}

/// Where each volume of the container is mounted, and what it is of.
fn mounted(pod: &Pod) -> Vec<(String, Value)> {
    let spec = spec(pod);
    let volumes = serde_json::to_value(spec.volumes).expect("JSON");
    let of = |name: &str| {
        let mut all = volumes.as_array().into_iter().flatten();
        all.find(|volume| volume["name"] == name)
            .cloned()
            .unwrap_or_default()
    };
    let mounts = spec.containers[0].volume_mounts.iter().flatten();
    mounts
        .map(|mount| (mount.mount_path.clone(), of(&mount.name)))
        .collect()
}

#[test]
fn who_copies_has_the_certificate_and_who_restores_a_copy_two_claims_and_no_secret() {
    let copy = made(DumpWork::BaseBackup {
        source: Some(BaseSource {
            instance: "hippo".parse().expect("a name"),
            address: "10.0.0.7".to_owned(),
            port: 5432,
        }),
        options: Vec::new(),
    });
    let stall = variable(&spec(&copy), "PGO_STALL_SECONDS");
    assert_eq!(stall, "3600");
    let text = serde_json::to_string(&copy).expect("JSON");
    assert!(!text.contains("postgres-secret"), "no password");
    let tls = mounted(&copy);
    let tls = tls.iter().find(|(path, _)| path == "/pgo/tls");
    let (_, tls) = tls.expect("a certificate");
    assert_eq!(tls["secret"]["items"], Value::Null, "with its key: {tls}");
    let labels = copy.metadata.labels.expect("labels");
    assert_eq!(labels["pgbackup"], "true");

    let restore = made(DumpWork::BaseRestore {
        backup: None,
        to: "hippo-abcd".to_owned(),
        node_label: Some("zone=a".to_owned()),
        options: Vec::new(),
    });
    let mounts = mounted(&restore);
    let claim = |path: &str| {
        let found = mounts.iter().find(|(at, _)| at == path);
        found.map(|(_, volume)| volume["persistentVolumeClaim"]["claimName"].clone())
    };
    assert_eq!(claim("/restored"), Some(json!("hippo-abcd")));
    assert_eq!(claim("/pgdata"), Some(json!(CLAIM)));
    assert!(
        mounts.iter().all(|(_, volume)| volume["secret"].is_null()),
        "{mounts:?}"
    );
    let affinity = serde_json::to_string(&spec(&restore).affinity).expect("JSON");
    assert!(affinity.contains("\"zone\""), "{affinity}");
}

#[test]
fn a_restored_claim_is_that_of_the_cluster_to_come() {
    let claim = pgo_objects::restored_claim(&desired(), &"hippo-abcd".parse().expect("a name"));
    let labels = claim.metadata.labels.clone().expect("labels");
    for (key, value) in [
        ("vendor", "crunchydata"),
        ("pg-cluster", "hippo-abcd"),
        ("deployment-name", "hippo-abcd"),
        ("pgo-pgbasebackup-restore", "true"),
    ] {
        assert_eq!(labels[key], value, "{key}");
    }
    assert_eq!(claim.metadata.owner_references, None, "it stays");
    let of = |name: &str| holds(&claim.metadata, &name.parse().expect("a name"));
    assert_eq!(of("hippo-abcd"), Some(Holds::Data));
}
