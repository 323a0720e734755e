//! The objects of a cluster, as Kubernetes will judge them.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use pgo_core::{
    AddressFamily, Desired, FirstLease, Image, NodePreference, Resources, RestoreOrder, Role,
    ServiceType, Storage, StorageKind, UserSecret,
};
use pgo_ids::{InstanceName, StreamId, Term};
use pgo_objects::{LogSettings, RESTORED, TAKE_UP, TERM};

pub fn desired() -> Desired {
    Desired {
        name: "hippo".parse().expect("a name"),
        namespace: "pgouser1".parse().expect("a namespace"),
        image: Image("p/crunchy-postgres:15".to_owned()),
        agent_image: Image("p/pgo-agent:1".to_owned()),
        port: 5433,
        database: "userdb".to_owned(),
        user: "testuser".parse().expect("a role"),
        secret_from: None,
        storage: Storage {
            kind: StorageKind::Dynamic,
            class: Some("local".to_owned()),
            access_mode: "ReadWriteOnce".to_owned(),
            size: "1Gi".to_owned(),
            fs_group: Some(26),
            supplemental_groups: Vec::new(),
            match_labels: BTreeMap::new(),
        },
        resources: Resources {
            requests_cpu: "0.1".to_owned(),
            ..Resources::default()
        },
        service_type: ServiceType::ClusterIp,
        replica_service_type: ServiceType::ClusterIp,
        node: Some(NodePreference::With("disk".to_owned(), "fast".to_owned())),
        autofail: false,
        synchronous: 0,
        sync_fallback: true,
        custom_config: None,
        labels: BTreeMap::from([
            ("env".to_owned(), "dev".to_owned()),
            ("pg-cluster".to_owned(), "another".to_owned()),
        ]),
        log_statement: "none".to_owned(),
        log_min_duration_statement: 60_000,
        volume_deadline: 45,
        backups: None,
        restore: None,
    }
}

pub fn uid() -> StreamId {
    "uid-1".parse().expect("a uid")
}

pub fn instance() -> InstanceName {
    "hippo".parse().expect("a name")
}

fn first_lease() -> FirstLease {
    FirstLease {
        holder: instance(),
        term: Term(7),
        take_up: false,
        restore: None,
    }
}

#[test]
fn a_lease_says_who_goes_on_by_it_and_in_which_term() {
    let mut first = first_lease();
    let annotation = |first: &FirstLease, name| {
        let lease = pgo_objects::lease(&desired(), &uid(), first);
        let annotations = lease.metadata.annotations.expect("annotations");
        annotations.get(name).cloned()
    };
    assert_eq!(annotation(&first, TERM).as_deref(), Some("7"));
    assert_eq!(annotation(&first, TAKE_UP), None);
    first.take_up = true;
    assert_eq!(annotation(&first, TAKE_UP).as_deref(), Some("hippo"));
    assert_eq!(annotation(&first, RESTORED), None);
    first.restore = Some(RESTORE.parse().expect("an id"));
    assert_eq!(annotation(&first, RESTORED).as_deref(), Some(RESTORE));
}

const RESTORE: &str = "25927091-b343-4017-be4b-71575f0b3eb5";

#[test]
fn an_instance_that_restores_says_what_and_is_in_no_service() {
    let mut wanted = desired();
    let env = |desired: &Desired| {
        let pod = serde_json::to_value(pod_of(desired)).expect("JSON");
        let all = pod["spec"]["containers"][0]["env"].as_array().cloned();
        let mut all = all.expect("variables").into_iter();
        let found = all.find(|one| one["name"] == "PGO_RESTORE");
        found.map(|one| one["value"].as_str().expect("a text").to_owned())
    };
    assert_eq!(env(&wanted), None);
    wanted.restore = Some(RestoreOrder {
        operation: RESTORE.parse().expect("an id"),
        options: vec![
            "--type=time".to_owned(),
            "--target=2019-01-01 00:00:00+00".to_owned(),
        ],
    });
    let said = env(&wanted).expect("an order");
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&said).expect("JSON"),
        serde_json::json!({"operation": RESTORE, "options": ["--type=time", "--target=2019-01-01 00:00:00+00"]})
    );
    // Whether a pod restores is no change of what is wanted of others.
    assert!(!wanted.pod_form().differs(&desired().pod_form()));
    let labels = |role| {
        let new = "hippo-abcd".parse().expect("a name");
        pgo_objects::pod_labels((&desired().name, &uid()), (&new, role))
    };
    assert_eq!(labels(Role::Restoring)["service-name"], "hippo-restore");
    assert_eq!(labels(Role::Restoring)["pgo-backrest-restore"], "true");
    assert!(!labels(Role::Replica).contains_key("pgo-backrest-restore"));
}

fn pod() -> Pod {
    pod_of(&desired())
}

fn pod_of(desired: &Desired) -> Pod {
    pgo_objects::pod(
        desired,
        &uid(),
        (&instance(), Role::Primary),
        &LogSettings::default(),
    )
}

fn containers(pod: &Pod) -> Vec<Container> {
    let spec = pod.spec.clone().expect("a spec");
    spec.init_containers
        .into_iter()
        .flatten()
        .chain(spec.containers)
        .collect()
}

#[test]
fn a_pod_meets_pod_security_restricted() {
    let pod = pod();
    let spec = pod.spec.as_ref().expect("a spec");
    let security = spec.security_context.as_ref().expect("a security context");
    assert_eq!(security.run_as_non_root, Some(true));
    let seccomp = security.seccomp_profile.as_ref().expect("a profile");
    assert_eq!(seccomp.type_, "RuntimeDefault");
    for container in containers(&pod) {
        let security = container.security_context.expect("a security context");
        assert_eq!(security.allow_privilege_escalation, Some(false));
        assert_eq!(security.read_only_root_filesystem, Some(true));
        let dropped = security.capabilities.and_then(|c| c.drop).expect("dropped");
        assert_eq!(dropped, ["ALL"]);
    }
}

#[test]
fn an_object_says_what_it_was_made_for() {
    let desired = desired();
    let claim = pgo_objects::claim(&desired, &instance()).metadata;
    let service = pgo_objects::service(&desired, &uid()).metadata;
    for (metadata, wanted) in [
        (pod().metadata, desired.pod_form()),
        (claim, desired.claim_form()),
        (service, desired.service_form()),
    ] {
        assert_eq!(pgo_objects::form(&metadata), Some(wanted));
    }
    let lease = pgo_objects::lease(&desired, &uid(), &first_lease()).metadata;
    assert_eq!(pgo_objects::form(&lease), None);
}

#[test]
fn objects_of_a_cluster_are_known_by_label_and_owner() {
    let (pod, claim) = (
        pod().metadata,
        pgo_objects::claim(&desired(), &instance()).metadata,
    );
    let name = |name: &str| name.parse().expect("a name");
    for metadata in [&pod, &claim] {
        assert!(pgo_objects::is_labelled(metadata, &name("hippo")));
        assert!(!pgo_objects::is_labelled(metadata, &name("rhino")));
    }
    assert!(pgo_objects::is_owned(&pod, &uid()) && !pgo_objects::is_owned(&claim, &uid()));
    let later: StreamId = "uid-2".parse().expect("a uid");
    assert!(!pgo_objects::is_owned(&pod, &later));
}

#[test]
fn endpoints_are_of_the_family_that_was_asked_for() {
    for (family, word) in [(AddressFamily::V4, "IPv4"), (AddressFamily::V6, "IPv6")] {
        let slice = pgo_objects::endpoint_slice(&desired(), &uid(), family);
        assert_eq!(slice.address_type, word);
    }
}

#[test]
fn no_secret_is_in_the_environment_or_the_arguments_of_a_pod() {
    for container in containers(&pod()) {
        for variable in container.env.into_iter().flatten() {
            let from = variable.value_from.unwrap_or_default();
            assert!(from.secret_key_ref.is_none(), "{}", variable.name);
            assert!(!variable.name.contains("PASS"), "{}", variable.name);
        }
    }
}

#[test]
fn labels_of_the_user_do_not_overrule_ours() {
    let labels = pod().metadata.labels.expect("labels");
    assert_eq!(labels.get("pg-cluster").map(String::as_str), Some("hippo"));
    assert_eq!(labels.get("env").map(String::as_str), Some("dev"));
}

#[test]
fn a_pod_is_found_by_the_labels_of_4_1() {
    let of = |pod: Pod| {
        let labels = pod.metadata.labels.expect("labels");
        let keys = [
            "name",
            "service-name",
            "deployment-name",
            "replica-name",
            "pg-cluster",
            "pg-cluster-id",
        ];
        keys.map(|key| labels.get(key).cloned().unwrap_or_default())
    };
    assert_eq!(of(pod()), ["hippo", "hippo", "hippo", "", "hippo", "uid-1"]);
    let replica: InstanceName = "hippo-abcd".parse().expect("a name");
    let replica = pgo_objects::pod(
        &desired(),
        &uid(),
        (&replica, Role::Replica),
        &LogSettings::default(),
    );
    assert_eq!(
        of(replica),
        [
            "hippo-replica",
            "hippo-replica",
            "hippo-abcd",
            "hippo-abcd",
            "hippo",
            "uid-1"
        ]
    );
}

#[test]
fn what_holds_data_or_opens_it_has_no_owner_and_everything_else_has() {
    let (desired, uid) = (desired(), uid());
    let claim = pgo_objects::claim(&desired, &instance());
    assert_eq!(claim.metadata.owner_references, None);
    let secret = pgo_objects::user_secret(&desired, UserSecret::Application, "x");
    assert_eq!(secret.metadata.owner_references, None);
    assert_eq!(
        secret.metadata.name.as_deref(),
        Some("hippo-testuser-secret")
    );
    for owners in [
        pod().metadata.owner_references,
        pgo_objects::service(&desired, &uid)
            .metadata
            .owner_references,
        pgo_objects::endpoint_slice(&desired, &uid, AddressFamily::V4)
            .metadata
            .owner_references,
        pgo_objects::lease(&desired, &uid, &first_lease())
            .metadata
            .owner_references,
        pgo_objects::agent_role(&desired, &uid)
            .metadata
            .owner_references,
    ] {
        assert_eq!(owners.expect("an owner")[0].uid, "uid-1");
    }
}

#[test]
fn the_service_has_no_selector_and_its_slice_the_same_port() {
    let (desired, uid) = (desired(), uid());
    let service = pgo_objects::service(&desired, &uid).spec.expect("a spec");
    assert_eq!(service.selector, None);
    let slice = pgo_objects::endpoint_slice(&desired, &uid, AddressFamily::V4);
    let (port, endpoint) = (
        &service.ports.expect("ports")[0],
        &slice.ports.expect("ports")[0],
    );
    assert_eq!(
        (port.name.clone(), Some(port.port)),
        (endpoint.name.clone(), endpoint.port)
    );
    let labels = slice.metadata.labels.expect("labels");
    assert_eq!(
        labels.get("kubernetes.io/service-name").map(String::as_str),
        Some("hippo")
    );
}

#[test]
fn an_agent_may_touch_its_own_lease_and_slice_only() {
    let role = pgo_objects::agent_role(&desired(), &uid());
    for rule in role.rules.expect("rules") {
        let names = rule.resource_names.expect("names");
        assert!(
            names == ["hippo"] || names == ["hippo-primary"],
            "{names:?}"
        );
        assert_eq!(rule.verbs, ["get", "update"]);
    }
}

#[test]
fn the_agents_certificate_is_for_its_identity_and_its_services() {
    let names = desired().certificate_names();
    assert_eq!(names[0], "hippo.pgouser1.agent.pgo");
    assert!(names.contains(&"hippo.pgouser1.svc.cluster.local".to_owned()));
}

#[test]
fn a_secret_that_stays_is_the_clusters_by_its_labels_alone() {
    let hippo = "hippo".parse().expect("a name");
    let mut found = pgo_objects::user_secret(&desired(), UserSecret::Superuser, "x").metadata;
    assert_eq!(pgo_objects::stranger(&found, &hippo), None);
    let zebra = "zebra".parse().expect("a name");
    let whose = pgo_objects::stranger(&found, &zebra).expect("another's");
    assert_eq!(whose, "belongs to cluster hippo");
    found.labels = None;
    let whose = pgo_objects::stranger(&found, &hippo).expect("nobody's");
    assert!(whose.contains("pg-cluster=hippo"), "{whose}");
}

#[test]
fn a_password_is_a_text_that_is_not_empty() {
    let secret = |password| pgo_objects::user_secret(&desired(), UserSecret::Superuser, password);
    let read = |password| pgo_objects::password(&secret(password));
    assert_eq!(read("s3cret").as_deref(), Some("s3cret"));
    assert_eq!(read(""), None);
    let mut without = secret("x");
    without.data = None;
    assert_eq!(pgo_objects::password(&without), None);
}

#[test]
fn the_configuration_that_is_named_must_be_there_and_that_of_the_namespace_need_not() {
    let mounted = |named: Option<&str>| {
        let named = named.map(str::to_owned);
        let pod = pod_of(&Desired {
            custom_config: named,
            ..desired()
        });
        let volumes = pod.spec.and_then(|spec| spec.volumes);
        let mut volumes = volumes.expect("volumes").into_iter();
        let volume = volumes.find(|volume| volume.name == "pgconf");
        let map = volume.and_then(|volume| volume.config_map);
        let map = map.expect("a ConfigMap");
        (map.name, map.optional)
    };
    assert_eq!(mounted(Some("mine")), ("mine".to_owned(), None));
    let of_the_namespace = ("pgo-custom-pg-config".to_owned(), Some(true));
    assert_eq!(mounted(None), of_the_namespace);
    // As 4.1's label has it where the ConfigMap was there at the creation.
    assert_eq!(mounted(Some("pgo-custom-pg-config")), of_the_namespace);
}

#[test]
fn a_claim_names_a_class_or_selects_volumes_as_its_kind_of_storage_says() {
    let of = |kind| {
        let mut desired = desired();
        desired.storage.kind = kind;
        desired.storage.match_labels = BTreeMap::from([("disk".to_owned(), "fast".to_owned())]);
        let spec = pgo_objects::claim(&desired, &instance()).spec;
        let spec = spec.expect("a spec");
        (spec.storage_class_name, spec.selector.is_some())
    };
    assert_eq!(of(StorageKind::Create), (None, true));
    assert_eq!(of(StorageKind::Dynamic), (Some("local".to_owned()), false));
}

#[test]
fn an_agent_logs_as_the_process_that_makes_its_pod_and_no_pod_is_outdated_by_that() {
    let settings = LogSettings::from_lookup(|name| match name {
        "LOG_FORMAT" => Some("text".to_owned()),
        "LOG_LEVEL" => Some("info,pgo_agent=debug".to_owned()),
        _ => None,
    });
    let loud = pgo_objects::pod(&desired(), &uid(), (&instance(), Role::Primary), &settings);
    let value = |pod: &Pod, name: &str| {
        let container = containers(pod).pop().expect("a container");
        let mut variables = container.env.into_iter().flatten();
        let variable = variables.find(|variable| variable.name == name)?;
        variable.value
    };
    assert_eq!(value(&loud, "LOG_FORMAT").as_deref(), Some("text"));
    let level = value(&loud, "LOG_LEVEL");
    assert_eq!(level.as_deref(), Some("info,pgo_agent=debug"));
    assert_eq!(value(&loud, "CRUNCHY_DEBUG"), None);
    assert_eq!(value(&pod(), "LOG_FORMAT"), None);
    let form = |pod: Pod| pgo_objects::form(&pod.metadata);
    assert_eq!(form(loud), form(pod()));
}

/// A pod that does one operation runs once, with no account and no right that it could do without.
pub fn runs_once_without_rights(pod: &Pod) -> PodSpec {
    let spec = pod.spec.clone().expect("a spec");
    assert_eq!(spec.automount_service_account_token, Some(false));
    assert_eq!(spec.restart_policy.as_deref(), Some("Never"));
    let security = spec.security_context.as_ref();
    let security = security.expect("a security context");
    assert_eq!(security.run_as_non_root, Some(true));
    let installers = spec.init_containers.iter().flatten();
    for container in installers.chain(&spec.containers) {
        let security = container.security_context.as_ref();
        let security = security.expect("a security context");
        assert_eq!(security.allow_privilege_escalation, Some(false));
        assert_eq!(security.read_only_root_filesystem, Some(true));
    }
    spec
}

/// What its container finds in its environment under this name; nothing where it is not there.
pub fn variable(spec: &PodSpec, name: &str) -> String {
    let mut variables = spec.containers[0].env.iter().flatten();
    let found = variables.find(|one| one.name == name);
    found.and_then(|one| one.value.clone()).unwrap_or_default()
}
