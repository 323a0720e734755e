//! The pod in which a backup is tried, as Kubernetes will judge it.

use k8s_openapi::api::core::v1::{Pod, Volume};
use pgo_core::{Backups, Desired, DrillPolicy, Places, Retention, StorageKind};
use pgo_crd::label;
use pgo_ids::OperationId;
use pgo_objects::{LogSettings, is_repository};

use crate::objects::{desired, uid};

fn made(kind: StorageKind) -> Pod {
    let mut desired = desired();
    desired.storage.kind = kind;
    let wanted = Desired {
        backups: Some(Backups {
            storage: desired.storage.clone(),
            places: Places::Local,
            retention: Retention::default(),
            archive_timeout: 60,
            drills: DrillPolicy::Each,
        }),
        ..desired
    };
    let operation = OperationId::derived(&uid(), "drill");
    let asked = (operation, "20261126-210300F");
    pgo_objects::drill(&wanted, &uid(), asked, &LogSettings::default())
}

fn copy(pod: &Pod) -> Volume {
    let volumes = pod.spec.clone().and_then(|spec| spec.volumes);
    let mut volumes = volumes.expect("volumes").into_iter();
    volumes.find(|one| one.name == "copy").expect("its volume")
}

#[test]
fn it_ends_by_itself_has_no_rights_and_is_no_instance() {
    let pod = made(StorageKind::Dynamic);
    assert_eq!(pod.metadata.name.as_deref(), Some("hippo-restore-drill"));
    let labels = pod.metadata.labels.clone().expect("labels");
    assert!(labels.contains_key(label::RESTORE_DRILL));
    for of_instances in [label::DEPLOYMENT_NAME, label::SERVICE_NAME, label::NAME] {
        assert!(!labels.contains_key(of_instances), "{of_instances}");
    }
    assert!(!is_repository(&pod.metadata, &uid()));
    let owners = pod.metadata.owner_references.clone().expect("owners");
    assert_eq!(owners[0].kind, "Pgcluster");
    let spec = pod.spec.expect("a spec");
    assert_eq!(spec.restart_policy.as_deref(), Some("Never"));
    assert_eq!(spec.automount_service_account_token, Some(false));
    assert_eq!(spec.service_account_name, None);
    assert!(spec.active_deadline_seconds.is_some());
    let [container] = &spec.containers[..] else {
        panic!("one container");
    };
    let variables = container.env.iter().flatten();
    let variables: Vec<_> = variables
        .map(|one| (one.name.as_str(), one.value.as_deref().unwrap_or_default()))
        .collect();
    for variable in [
        ("PGO_DRILL_BACKUP", "20261126-210300F"),
        ("PGO_BACKREST_HOST", "hippo-backrest-shared-repo"),
    ] {
        assert!(variables.contains(&variable), "{variables:?}");
    }
    let security = container.security_context.as_ref().expect("a context");
    assert_eq!(security.read_only_root_filesystem, Some(true));
    // Nothing of the users' passwords is there.
    let mounts = container.volume_mounts.iter().flatten();
    assert!(
        mounts
            .clone()
            .all(|one| !one.mount_path.contains("secrets"))
    );
}

#[test]
fn the_copy_has_a_volume_that_goes_with_the_pod() {
    let volume = copy(&made(StorageKind::Dynamic));
    let ephemeral = volume.ephemeral.expect("an ephemeral volume");
    let claim = ephemeral.volume_claim_template.expect("a claim");
    assert_eq!(claim.metadata, None);
    assert_eq!(claim.spec.storage_class_name, desired().storage.class);
    assert!(claim.spec.resources.is_some());
    for kind in [StorageKind::Create, StorageKind::EmptyDir] {
        let volume = copy(&made(kind));
        assert!(volume.empty_dir.is_some() && volume.ephemeral.is_none());
    }
}
