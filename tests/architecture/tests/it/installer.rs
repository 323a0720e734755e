//! What the installer and the services must agree on.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt as _,
    process::{Command, Output},
};

use pgo_api::Permission;

use crate::workspace::{files, root};

/// The rules and bindings as the installer makes them.
fn rights() -> Output {
    let mut rules: Vec<_> = fs::read_dir(root().join("deploy/rbac"))
        .expect("deploy/rbac")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    rules.sort();
    Command::new("awk")
        .args(["-v", "opns=pgo", "-v", "targets=one two", "-f"])
        .arg(root().join("deploy/install/rbac.awk"))
        .args(rules)
        .output()
        .expect("awk")
}

/// Processes that the installer knows.
fn processes() -> BTreeSet<String> {
    let script = fs::read_to_string(root().join("deploy/install/certificates.sh")).expect("script");
    let line = script
        .lines()
        .find_map(|line| line.strip_prefix("PROCESSES=("))
        .expect("certificates.sh names the processes");
    line.trim_end_matches(')')
        .split(' ')
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_administrator_gets_every_permission_there_is() {
    let listed = fs::read_to_string(root().join("deploy/install/permissions")).expect("the list");
    let listed: Vec<&str> = listed.lines().collect();
    let all: Vec<&str> = Permission::ALL.iter().map(|p| p.as_str()).collect();
    assert_eq!(listed, all);
}

#[test]
fn every_right_goes_to_an_account_that_the_installer_makes() {
    let output = rights();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let accounts: BTreeSet<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("subjects: [{kind: ServiceAccount, name: pgo-"))
        .filter_map(|rest| rest.split(',').next())
        .map(str::to_owned)
        .collect();
    let unknown: Vec<_> = accounts.difference(&processes()).cloned().collect();
    assert!(
        unknown.is_empty(),
        "deploy/rbac has rules for {unknown:?}, which the installer does not know"
    );
}

#[test]
fn each_file_of_rights_is_that_of_a_service_with_a_table_and_each_table_has_one() {
    let below = |path: &str, folder: &str, end: &str| {
        let rest = path.strip_prefix(folder)?.strip_suffix(end)?;
        Some(rest.to_owned())
    };
    let printed: BTreeSet<String> = files(".yaml")
        .iter()
        .filter_map(|(path, _)| below(path, "deploy/rbac/", ".yaml"))
        .collect();
    let tables: BTreeSet<String> = files("rights.rs")
        .iter()
        .filter_map(|(path, _)| below(path, "services/", "/src/rights.rs"))
        .collect();
    assert_eq!(printed, tables);
}

#[test]
fn rules_hold_in_each_target_namespace_and_in_the_operators() {
    let output = rights();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let documents: Vec<&str> = text.split("---\n").collect();
    let has = |kind: &str, name: &str, namespace: &str| {
        documents.iter().any(|document| {
            document.contains(&format!("\nkind: {kind}\n"))
                && document.contains(&format!("\n  name: {name}\n"))
                && document.contains(&format!("\n  namespace: {namespace}\n"))
        })
    };
    for kind in ["Role", "RoleBinding"] {
        assert!(has(kind, "pgo-reconciler", "one"), "{kind} in one:\n{text}");
        assert!(has(kind, "pgo-reconciler", "two"), "{kind} in two:\n{text}");
        assert!(has(kind, "pgo-reconciler-operator", "pgo"), "{kind} in pgo");
        assert!(!has(kind, "pgo-reconciler", "pgo"), "{kind} in pgo");
    }
}

#[test]
fn no_right_is_for_everything() {
    for (path, text) in files(".yaml") {
        if path.starts_with("deploy/rbac/") {
            let wild = text
                .lines()
                .filter(|line| !line.trim_start().starts_with('#'))
                .find(|line| line.contains('*'));
            assert_eq!(wild, None, "{path}");
        }
    }
}

#[test]
fn every_manifest_uses_settings_that_the_installer_has() {
    let scripts: String = files(".sh")
        .into_iter()
        .filter(|(path, _)| path.starts_with("deploy/install/"))
        .map(|(_, text)| text)
        .collect();
    for (path, text) in files(".yaml") {
        if path.starts_with("deploy/install/") {
            for name in text.split('@').skip(1).step_by(2) {
                assert!(
                    scripts.contains(&format!("{name}=")),
                    "{path} wants @{name}@, which no script sets"
                );
            }
        }
    }
}

#[test]
fn every_pod_of_pgo_meets_pod_security_restricted() {
    for (path, text) in files(".yaml") {
        if path.starts_with("deploy/install/manifests/") && text.contains("containers:") {
            for needed in [
                "runAsNonRoot: true",
                "seccompProfile: {type: RuntimeDefault}",
                "allowPrivilegeEscalation: false",
                "readOnlyRootFilesystem: true",
                "capabilities: {drop: [ALL]}",
                "livenessProbe:",
                "readinessProbe:",
                "requests:",
            ] {
                assert!(text.contains(needed), "{path} lacks {needed}");
            }
        }
    }
}

/// Runs something in the installer's folder with a `kubectl` that notes what it is asked and answers by these branches of
/// a shell's `case`. The second value is what it was asked, a line each.
fn with_kubectl(answers: &str, command: &[&str], settings: &[(&str, &str)]) -> (Output, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let (kubectl, asked) = (folder.path().join("kubectl"), folder.path().join("asked"));
    let script = format!(
        "#!/bin/sh\necho \"$*\" >>'{}'\ncase \"$*\" in {answers} esac\n",
        asked.display()
    );
    fs::write(&kubectl, script).expect("a script");
    let executable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(&kubectl, executable).expect("it is a program");
    let output = Command::new("bash")
        .current_dir(root().join("deploy/install"))
        .args(command)
        .env("KUBECTL", kubectl)
        .envs(settings.iter().copied())
        .output()
        .expect("bash");
    (output, fs::read_to_string(asked).unwrap_or_default())
}

/// Runs `wait_for_the_one_that_stays` with a `kubectl` that finds two replicas, and these in sync.
fn from_two_replicas_to_one(in_sync: &str) -> Output {
    let answers = format!("*statefulset*) echo 2 ;; *configmap*) echo '{in_sync}' ;;");
    let command = [
        "-euo",
        "pipefail",
        "-c",
        ". ./progress.sh; . ./settings.sh; . ./wait.sh; wait_for_the_one_that_stays; echo goes on",
    ];
    let settings = [("EVENT_REPLICAS", "1"), ("PGO_WAIT_SECONDS", "1")];
    with_kubectl(&answers, &command, &settings).0
}

#[test]
fn one_replica_of_the_event_service_is_left_alone_only_with_every_event() {
    for good in ["event-0", "event-0,event-1", ""] {
        let ran = from_two_replicas_to_one(good);
        assert!(ran.status.success(), "{good:?}: {ran:?}");
    }
    let ran = from_two_replicas_to_one("event-1");
    assert!(!ran.status.success(), "{ran:?}");
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(said.contains("event-0 has not every event"), "{said}");
}

/// Whoever reaches a Service of the cluster would read all events, and publish what looks like one.
#[test]
fn an_nsqd_without_certificates_is_reached_by_a_forwarded_port_only() {
    let read = |name: &str| {
        let path = root().join("deploy/install/manifests").join(name);
        fs::read_to_string(path).expect("a manifest")
    };
    let direct = read("direct.yaml");
    for address in [
        "--tcp-address=127.0.0.1:4150",
        "--http-address=127.0.0.1:4151",
    ] {
        assert!(direct.contains(address), "{address}");
    }
    let services = read("services.yaml");
    let of_41 = services.split("\n---\n").next().expect("a Service");
    assert!(of_41.contains("name: postgres-operator"), "{of_41}");
    assert_eq!(of_41.matches("port: ").count(), 1, "{of_41}");
}

/// Runs `stop_telling` of an uninstall, with a PgInstallation that stays in this phase.
fn stop_telling(phase: &str) -> (Output, String) {
    let answers =
        format!("*status.phase*) echo {phase} ;; *conditions*) echo 'still at work: pod x' ;;");
    let script = ". ./progress.sh; . ./settings.sh; . ./stop.sh; end() { k delete what works; }; stop_telling end";
    let command = ["-euo", "pipefail", "-c", script];
    with_kubectl(&answers, &command, &[("PGO_STOP_SECONDS", "1")])
}

#[test]
fn what_does_the_work_is_ended_before_the_stop_is_waited_for_and_the_rest_after_it() {
    let (ran, asked) = stop_telling("Stopped");
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(
        ran.status.success() && said.contains("PGO has stopped"),
        "{ran:?}"
    );
    let place = |what: &str| {
        let found = asked.lines().position(|line| line.contains(what));
        found.unwrap_or_else(|| panic!("{what}:\n{asked}"))
    };
    assert!(place("Stopped") < place("delete what works"), "{asked}");
    assert!(
        place("delete what works") < place("status.phase"),
        "{asked}"
    );

    let script = fs::read_to_string(root().join("deploy/install/uninstall.sh")).expect("script");
    let ended = script.lines().find(|line| line.contains("--wait=false"));
    let ended = ended.expect("what is ended first");
    for (service, first) in [
        ("apiserver", true),
        ("scheduler", true),
        ("direct", true),
        ("reconciler", false),
    ] {
        assert_eq!(ended.contains(service), first, "{ended}");
    }
}

#[test]
fn a_stop_that_is_not_told_in_time_says_what_still_works() {
    let (ran, _) = stop_telling("Stopping");
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(
        ran.status.success() && said.contains("(it is Stopping: still at work: pod x)"),
        "{ran:?}"
    );
}

/// An installation in namespace `pgo` with clusters in two namespaces, and another one of the same name with a third.
fn two_namespaces(clusters: &str) -> String {
    format!(
        "*'get rolebindings'*) echo 'binding mine pgo'; echo 'binding forgotten pgo'; echo 'binding theirs pgo2' ;;
        *'get namespaces'*) echo 'namespace mine'; echo 'namespace forgotten'; echo 'namespace theirs' ;;
        *'get crd'*) echo crd ;;
        *'get pgclusters --namespace forgotten'*) printf '{clusters}' ;;
        *'get namespace '*pgo-created-by*) echo install-script ;;
        *'get namespace foreign '*pgo-installation-name*) echo another ;;
        *'get namespace unlabelled '*pgo-installation-name*) ;;
        *'get namespace '*pgo-installation-name*) echo devtest ;;
        *'get namespace '*) echo found ;;
        *'get rolebinding pgo-reconciler --namespace theirs'*) echo pgo2 ;;
        *'get pgclusters --namespace foreign'*) echo pgcluster.crunchydata.com/theirs ;;
        *'get deployment/reconciler'*) exit 1 ;;"
    )
}

const TWO_CLUSTERS: &str = "pgcluster.crunchydata.com/hippo\\npgcluster.crunchydata.com/rhino\\n";
const SETTINGS: [(&str, &str); 2] = [("PGO_OPERATOR_NAMESPACE", "pgo"), ("NAMESPACE", "mine")];

#[test]
fn an_uninstall_knows_the_clusters_of_namespaces_that_its_environment_does_not_name() {
    let command = ["./uninstall.sh", "--delete-namespaces"];
    let (ran, asked) = with_kubectl(&two_namespaces(TWO_CLUSTERS), &command, &SETTINGS);
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(!ran.status.success() && said.contains("hippo"), "{ran:?}");
    assert!(!asked.contains(" delete "), "{asked}");
}

#[test]
fn an_uninstall_removes_all_that_was_installed_and_nothing_of_others() {
    let command = ["./uninstall.sh", "--delete-namespaces"];
    let (ran, asked) = with_kubectl(&two_namespaces(""), &command, &SETTINGS);
    assert!(ran.status.success(), "{ran:?}");
    for namespace in ["mine", "forgotten", "pgo"] {
        let deletion = format!("delete namespace {namespace} ");
        assert!(asked.contains(&deletion), "{namespace}:\n{asked}");
    }
    assert!(!asked.contains("theirs"), "{asked}");
    for lease in ["pgo-reconciler", "pgo-scheduler", "pgo-event"] {
        let mut deletions = asked.lines().filter(|line| line.contains("delete lease"));
        assert!(
            deletions.any(|line| line.contains(lease)),
            "{lease}:\n{asked}"
        );
    }
}

/// Named by mistake: another installation's by label, one of the same name's by its rights, and one without a label.
#[test]
fn an_uninstall_takes_nothing_from_a_namespace_of_another_installation_that_it_is_given() {
    let settings = [
        ("PGO_OPERATOR_NAMESPACE", "pgo"),
        ("NAMESPACE", "mine,foreign,theirs,unlabelled"),
    ];
    let command = ["./uninstall.sh", "--delete-clusters", "--delete-namespaces"];
    let (ran, asked) = with_kubectl(&two_namespaces(""), &command, &settings);
    assert!(ran.status.success(), "{ran:?}");
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(
        said.contains("foreign belongs to the installation another"),
        "{said}"
    );
    assert!(
        said.contains("theirs belongs to the installation in namespace pgo2"),
        "{said}"
    );
    assert!(said.contains("namespace unlabelled stays"), "{said}");
    let changes = asked.lines().filter(|line| !line.contains(" get "));
    for change in changes {
        assert!(
            !change.contains("foreign") && !change.contains("theirs"),
            "{change}"
        );
    }
    assert!(asked.contains("delete namespace mine "), "{asked}");
    assert!(!asked.contains("delete namespace unlabelled"), "{asked}");
}

/// What an installation does about namespaces that it is not for any more.
fn fewer_namespaces(clusters: &str) -> (Output, String) {
    let script = ". ./progress.sh; . ./settings.sh; . ./namespaces.sh; . ./certificates.sh; check_unnamed; leave_unnamed";
    let command = ["-euo", "pipefail", "-c", script];
    with_kubectl(&two_namespaces(clusters), &command, &SETTINGS)
}

#[test]
fn a_namespace_with_clusters_is_not_left_out_by_an_installation() {
    let (ran, asked) = fewer_namespaces(TWO_CLUSTERS);
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(!ran.status.success(), "{ran:?}");
    assert!(said.contains("forgotten (hippo, rhino)"), "{said}");
    assert!(!asked.contains(" delete "), "{asked}");
}

#[test]
fn a_namespace_that_is_left_out_loses_its_rights_and_labels() {
    let (ran, asked) = fewer_namespaces("");
    assert!(ran.status.success(), "{ran:?}");
    let of_it = |what: &str| asked.lines().find(|line| line.contains(what));
    let rights = of_it("--namespace forgotten delete").expect("rights are removed");
    for process in processes() {
        for right in ["role", "rolebinding"] {
            let right = format!(" {right}/pgo-{process}");
            assert!(rights.contains(&right), "{right}: {rights}");
        }
    }
    let labels = of_it("label namespace forgotten").expect("labels are removed");
    assert!(labels.contains(" pgo-installation-name-"), "{labels}");
    assert!(!asked.contains("theirs"), "{asked}");
    assert!(!asked.contains("label namespace mine"), "{asked}");
}

/// Runs `consumer.sh` where `billing` was withdrawn.
fn consumer(arguments: &[&str]) -> (Output, String) {
    let answers = "*'get configmap pgo-withdrawn-consumers'*) echo billing ;;
        *--filename*) for last; do :; done; cat \"$last\" >>\"${0%kubectl}asked\" ;;";
    let command = [&["./consumer.sh"], arguments].concat();
    with_kubectl(answers, &command, &[])
}

#[test]
fn a_consumer_is_withdrawn_by_its_name_and_that_name_gets_no_certificate_any_more() {
    let (ran, asked) = consumer(&["--withdraw", "audit"]);
    assert!(ran.status.success(), "{ran:?}");
    assert!(asked.contains("name: pgo-withdrawn-consumers"), "{asked}");
    assert!(asked.contains("\n  \"audit\": \"withdrawn 2"), "{asked}");
    assert!(asked.contains(" annotate pods "), "{asked}");
    let (ran, asked) = consumer(&["billing"]);
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(
        !ran.status.success() && said.contains("give another name"),
        "{ran:?}"
    );
    assert!(!asked.contains("pgo-ca"), "{asked}");
    let (ran, _) = consumer(&["--withdraw", "Audit"]);
    assert!(!ran.status.success(), "{ran:?}");
}

#[test]
fn in_containers_the_event_service_has_the_withdrawn_names_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let names = folder.path().join("withdrawn");
    fs::create_dir(&names).expect("a folder");
    fs::write(names.join("let-in-again"), "").expect("a file");
    let answers = "*'get configmap pgo-withdrawn-consumers'*) printf 'audit\nbilling\n' ;;";
    let settings = [("PGO_COMPOSE_DIR", folder.path().to_str().expect("a path"))];
    let (ran, _) = with_kubectl(answers, &["../../compose/withdrawn.sh"], &settings);
    assert!(ran.status.success(), "{ran:?}");
    let there: BTreeSet<String> = fs::read_dir(&names)
        .expect("the folder")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    assert_eq!(there, ["audit", "billing"].map(str::to_owned).into());
    let compose = fs::read_to_string(root().join("compose/compose.yaml")).expect("the file");
    let mounted = "${PGO_COMPOSE_DIR}/withdrawn:/etc/pgo/withdrawn:ro";
    assert!(compose.contains(mounted), "{compose}");

    let answers = "*'get configmap pgo-withdrawn-consumers'*) echo 'no answer' >&2; exit 1 ;;";
    let (ran, _) = with_kubectl(answers, &["../../compose/withdrawn.sh"], &settings);
    assert!(!ran.status.success(), "{ran:?}");
    assert!(names.join("audit").exists(), "it stays withdrawn");
}

/// What an installation does about the volumes of the event service that are there, `data-event-0` of 1Gi.
fn volumes(asked_for: &str, answers: &str) -> (Output, String) {
    let answers = format!(
        "*'get statefulsets'*) printf 'event 1Gi fast\\nnsqd 1Gi \\n' ;;
        *'get persistentvolumeclaims'*) echo 'data-event-0 1Gi' ;; {answers}"
    );
    let script = "WORK=$(mktemp -d); trap 'rm -r \"$WORK\"' EXIT; . ./progress.sh; . ./settings.sh; . ./volumes.sh; \
         read_volumes; enlarge_event_volumes; echo \"$(event_volume_size) $(class_of event) $(class_of nsqd)\"; \
         : >\"$WORK/volumes\"; echo \"$(event_volume_size) $(class_of event)\"";
    let settings = [
        ("PGO_EVENT_VOLUME_SIZE", asked_for),
        ("PGO_STORAGE_CLASS", "slow"),
    ];
    with_kubectl(&answers, &["-euo", "pipefail", "-c", script], &settings)
}

#[test]
fn volumes_of_the_history_grow_when_that_is_asked_for_and_stay_otherwise() {
    for asked_for in ["", "1Gi"] {
        let (ran, asked) = volumes(asked_for, "");
        let said = String::from_utf8_lossy(&ran.stdout);
        assert_eq!(said, "1Gi fast \n1Gi slow\n", "{ran:?}");
        assert!(!asked.contains("patch"), "{asked}");
    }
    let (ran, asked) = volumes("4Gi", "");
    let said = String::from_utf8_lossy(&ran.stdout);
    // A StatefulSet keeps what it was made with.
    assert!(said.ends_with("\n1Gi fast \n4Gi slow\n"), "{ran:?}");
    assert!(said.contains("grow from 1Gi to 4Gi"), "{said}");
    let patch = asked.lines().find(|line| line.contains("patch"));
    let patch = patch.expect("the claim is changed");
    assert!(
        patch.contains(" data-event-0 ") && patch.contains("\"4Gi\""),
        "{patch}"
    );

    let (ran, _) = volumes(
        "4Gi",
        "*patch*) echo 'only dynamically provisioned' >&2; exit 1 ;;",
    );
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(!ran.status.success(), "{ran:?}");
    assert!(said.contains("only dynamically provisioned"), "{said}");
}
