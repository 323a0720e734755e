//! The repository of backups, as Kubernetes will judge it.

use std::collections::BTreeMap;

use k8s_openapi::api::{apps::v1::Deployment, core::v1::PodSpec};
use pgo_core::{Backups, Bucket, Desired, Places, Retention, Role, StorageKind};
use pgo_objects::{Holds, LogSettings};
use serde_json::{Value, json};

use crate::objects::{desired, instance, uid};

fn wanted() -> Desired {
    let desired = desired();
    Desired {
        backups: Some(Backups {
            storage: desired.storage.clone(),
            places: Places::Local,
            retention: Retention::default(),
            archive_timeout: 60,
            drills: pgo_core::DrillPolicy::Never,
        }),
        ..desired
    }
}

fn made(desired: &Desired) -> Deployment {
    let backups = desired.backups.as_ref().expect("backups");
    pgo_objects::repository(desired, backups, &uid(), &LogSettings::default())
}

fn pod(deployment: &Deployment) -> PodSpec {
    let spec = deployment.spec.clone().expect("a spec");
    spec.template.spec.expect("a pod")
}

#[test]
fn the_repository_has_one_pod_at_a_time_that_meets_pod_security_restricted() {
    let deployment = made(&wanted());
    let name = deployment.metadata.name.as_deref();
    assert_eq!(name, Some("hippo-backrest-shared-repo"));
    let spec = deployment.spec.clone().expect("a spec");
    let strategy = spec.strategy.and_then(|strategy| strategy.type_);
    assert_eq!(
        (spec.replicas, strategy.as_deref()),
        (Some(1), Some("Recreate"))
    );
    let pod = pod(&deployment);
    assert_eq!(pod.automount_service_account_token, Some(false));
    let security = pod.security_context.expect("a security context");
    assert_eq!(security.run_as_non_root, Some(true));
    let containers = pod
        .init_containers
        .into_iter()
        .flatten()
        .chain(pod.containers);
    for container in containers {
        let security = container.security_context.expect("a security context");
        assert_eq!(security.allow_privilege_escalation, Some(false));
        assert_eq!(security.read_only_root_filesystem, Some(true));
    }
}

#[test]
fn its_agent_knows_where_the_backups_are_and_calls_instances_by_their_identity() {
    let pod = pod(&made(&wanted()));
    let container = serde_json::to_value(&pod.containers[0]).expect("JSON");
    assert_eq!(container["command"], json!(["/pgo/bin/agent"]));
    assert_eq!(container["image"], "p/crunchy-postgres:15");
    let variables = container["env"].as_array().expect("variables");
    let folder = variables.iter().find(|one| one["name"] == "PGO_REPOSITORY");
    assert_eq!(
        folder.expect("a folder")["value"],
        "/backrestrepo/hippo-backrest-shared-repo"
    );
    let aliases = serde_json::to_value(pod.host_aliases).expect("JSON");
    let own = json!([{"ip": "127.0.0.1", "hostnames": ["hippo.pgouser1.agent.pgo"]}]);
    assert_eq!(aliases, own);
}

#[test]
fn an_instance_knows_its_repository_where_there_is_one() {
    let variables = |desired: &Desired| -> BTreeMap<String, Value> {
        let of = (&instance(), Role::Primary);
        let pod = pgo_objects::pod(desired, &uid(), of, &LogSettings::default());
        let pod = serde_json::to_value(pod).expect("JSON");
        let all = pod["spec"]["containers"][0]["env"].as_array().cloned();
        let all = all.expect("variables").into_iter();
        all.map(|one| {
            (
                one["name"].as_str().expect("a name").to_owned(),
                one["value"].clone(),
            )
        })
        .collect()
    };
    let with = variables(&wanted());
    assert_eq!(with["PGO_BACKREST_HOST"], "hippo-backrest-shared-repo");
    assert_eq!(
        with["PGO_BACKREST_PATH"],
        "/backrestrepo/hippo-backrest-shared-repo"
    );
    assert_eq!(with["PGO_ARCHIVE_TIMEOUT"], "60");
    assert!(!variables(&desired()).contains_key("PGO_BACKREST_HOST"));
    assert!(wanted().pod_form().differs(&desired().pod_form()));
}

#[test]
fn the_service_finds_the_pod_and_the_pod_is_known_as_the_clusters() {
    let desired = wanted();
    let service = pgo_objects::repository_service(&desired, &uid());
    let spec = service.spec.expect("a spec");
    let ports = spec.ports.into_iter().flatten();
    let ports: Vec<_> = ports
        .map(|port| (port.name.expect("a name"), port.port))
        .collect();
    assert_eq!(
        ports,
        [("pgbackrest".to_owned(), 8432), ("agent".to_owned(), 8445)]
    );
    let template = made(&desired).spec.expect("a spec").template;
    let metadata = template.metadata.expect("labels");
    let labels = metadata.labels.clone().expect("labels");
    let selector = spec.selector.expect("a selector");
    assert!(
        selector
            .iter()
            .all(|(key, value)| labels.get(key) == Some(value))
    );
    assert_eq!(labels["pgo-backrest-repo"], "true");
    assert!(pgo_objects::is_repository(&metadata, &uid()));
    let later = "uid-2".parse().expect("a uid");
    assert!(!pgo_objects::is_repository(&metadata, &later));
}

#[test]
fn the_claim_stays_and_the_rest_goes_with_the_cluster() {
    let desired = wanted();
    let backups = desired.backups.clone().expect("backups");
    let claim = pgo_objects::repository_claim(&desired, &backups).metadata;
    assert_eq!(claim.owner_references, None);
    assert_eq!(
        pgo_objects::form(&claim),
        Some(desired.repository_claim_form())
    );
    assert_eq!(
        pgo_objects::holds(&claim, &desired.name),
        Some(Holds::Backups)
    );
    let (deployment, service) = (
        made(&desired).metadata,
        pgo_objects::repository_service(&desired, &uid()).metadata,
    );
    assert!(
        [&deployment, &service]
            .iter()
            .all(|one| pgo_objects::is_owned(one, &uid()))
    );
    assert_eq!(
        pgo_objects::form(&deployment),
        Some(desired.repository_form())
    );
    let mounted = |desired: &Desired| {
        let volumes = pod(&made(desired)).volumes.expect("volumes").into_iter();
        let claims = volumes.filter_map(|volume| volume.persistent_volume_claim);
        claims.map(|claim| claim.claim_name).collect::<Vec<_>>()
    };
    assert_eq!(mounted(&desired), ["hippo-pgbr-repo"]);
    let mut without = desired;
    without.backups.as_mut().expect("backups").storage.kind = StorageKind::EmptyDir;
    assert!(mounted(&without).is_empty());
}

#[test]
fn the_agents_certificate_is_for_the_repository_where_there_is_one() {
    let name = "hippo-backrest-shared-repo".to_owned();
    assert!(wanted().certificate_names().contains(&name));
    assert!(!desired().certificate_names().contains(&name));
    let secret = |desired: &Desired| {
        let until = jiff::Timestamp::UNIX_EPOCH;
        let secret = pgo_objects::certificate_secret(desired, &uid(), ("c", "k", "a"), until);
        pgo_objects::form(&secret.metadata)
    };
    assert_eq!(secret(&wanted()), Some(wanted().certificate_form()));
    assert_ne!(secret(&wanted()), secret(&desired()));
}

#[test]
fn only_the_repository_gets_the_bucket_and_its_key_as_files() {
    let bucket = Bucket {
        name: "backups".to_owned(),
        endpoint: "s3.example.org".to_owned(),
        region: "here".to_owned(),
        in_path: true,
    };
    let mut desired = wanted();
    let alone = made(&desired);
    if let Some(backups) = &mut desired.backups {
        backups.places = Places::Both(bucket);
    }
    let in_both = made(&desired);
    assert_ne!(alone.metadata.annotations, in_both.metadata.annotations);
    let pod = pod(&in_both);
    let volume = pod.volumes.iter().flatten().find(|one| one.name == "s3");
    let secret = volume.and_then(|volume| volume.secret.clone());
    let secret = secret.expect("the volume of a Secret").secret_name;
    assert_eq!(secret.as_deref(), Some("hippo-backrest-repo-config"));
    let container = &pod.containers[0];
    let mut mounts = container.volume_mounts.iter().flatten();
    let mount = mounts.find(|one| one.name == "s3").expect("mounted");
    assert_eq!(
        (mount.mount_path.as_str(), mount.read_only),
        ("/pgo/s3", Some(true))
    );
    let variables = json!(container.env);
    for (name, value) in [
        ("PGO_BACKREST_STORAGE", "local,s3"),
        ("PGO_BACKREST_S3_BUCKET", "backups"),
        ("PGO_BACKREST_S3_URI_STYLE", "path"),
    ] {
        let wanted = json!({"name": name, "value": value});
        let variables = variables.as_array().expect("variables");
        assert!(variables.contains(&wanted), "{wanted} is missing");
    }
    let (hippo, logs) = (instance(), LogSettings::default());
    let of_instance = pgo_objects::pod(&desired, &uid(), (&hippo, Role::Primary), &logs);
    let text = json!(of_instance).to_string();
    assert!(text.contains("local,s3"), "{text}");
    assert!(
        !text.contains("/pgo/s3") && !text.contains("s3.example.org"),
        "{text}"
    );
}

#[test]
fn the_key_of_a_bucket_is_the_clusters_and_stays_with_its_backups() {
    let values = [Some(&b"AKIA"[..]), Some(&b"hush"[..]), None];
    let secret = pgo_objects::bucket_secret(&wanted(), values);
    assert_eq!(secret.metadata.owner_references, None);
    let labels = secret.metadata.labels.expect("labels");
    assert_eq!(labels["pgo-backrest-repo"], "true");
    assert_eq!(labels["pg-cluster"], "hippo");
    let data = secret.data.expect("content");
    assert_eq!(data["aws-s3-key-secret"].0, b"hush");
    assert_eq!(data.len(), 2);
}
