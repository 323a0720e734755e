//! Pgtasks that ask for a dump, or for the restore of one, under 4.1's names.

use pgo_core::{DumpKind, DumpRequest, DumpWish, dump::options::DumpFormat};
use pgo_crd::{
    Pgcluster, PgoConfig, Pgtask, delete_request, dump_operation, dump_requests, removal_requests,
    requested, task_cluster,
};
use serde_json::{Value, json};

use crate::made::PGO_YAML;

const ID: &str = "25927091-b343-4017-be4b-71575f0b3eb5";

fn hippo() -> Pgcluster {
    serde_json::from_value(json!({
        "apiVersion": "crunchydata.com/v1", "kind": "Pgcluster",
        "metadata": {"name": "hippo", "namespace": "pgouser1", "uid": "uid-1",
            "creationTimestamp": "2026-10-15T10:11:12Z"},
        "spec": {},
    }))
    .expect("a Pgcluster")
}

fn task(tasktype: &str, parameters: &Value, storage: &Value) -> Pgtask {
    serde_json::from_value(json!({
        "apiVersion": "crunchydata.com/v1", "kind": "Pgtask",
        "metadata": {"name": "it", "namespace": "pgouser1", "uid": "uid-2",
            "creationTimestamp": "2026-10-15T10:11:13Z", "labels": {"pgouser": "ann", "workflowid": ID}},
        "spec": {"tasktype": tasktype, "parameters": parameters, "storagespec": storage},
    }))
    .expect("a Pgtask")
}

fn asked(task: &Pgtask) -> DumpRequest {
    let large =
        "\nStorage:\n  large: {AccessMode: ReadWriteOnce, Size: 5Gi, StorageType: dynamic}\n";
    let text = PGO_YAML
        .replace("BackupStorage: local", "BackupStorage: large")
        .replace("\nStorage:\n", large);
    let config = PgoConfig::parse(&text).expect("a configuration");
    let mut requests = dump_requests(std::iter::once(task), &hippo(), &config);
    assert_eq!(requested(task, &hippo()), dump_operation(task, &hippo()));
    let parameters = task.spec.parameters.iter();
    let parameters = parameters.map(|(key, value)| (key.as_str(), value.as_str()));
    let cluster = task_cluster(&task.spec.tasktype, parameters);
    assert_eq!(cluster, Some("hippo"), "the cluster that is woken for it");
    requests.pop().expect("a request")
}

fn dump(parameters: Value) -> DumpRequest {
    let mut all = json!({"pg-cluster": "hippo"});
    merge(&mut all, parameters);
    asked(&task("pgdump", &all, &json!({})))
}

fn restore(parameters: Value) -> DumpRequest {
    let mut all = json!({"pgrestore-from-cluster": "hippo"});
    merge(&mut all, parameters);
    asked(&task("pgrestore", &all, &json!({})))
}

fn merge(all: &mut Value, further: Value) {
    let (Value::Object(all), Value::Object(further)) = (all, further) else {
        panic!("objects");
    };
    all.extend(further);
}

#[test]
fn a_task_asks_for_a_dump_of_its_own_cluster() {
    let request =
        dump(json!({"pgdump-opts": "-Fp --clean", "pgdump-db": "postgres", "pvc-name": "other"}));
    assert_eq!(
        (
            request.operation.to_string().as_str(),
            request.actor.as_str()
        ),
        (ID, "ann")
    );
    assert_eq!(
        (request.kind, request.claim.as_deref()),
        (DumpKind::Make, Some("other"))
    );
    let Ok(DumpWish::Make {
        database,
        options,
        storage,
    }) = request.wanted
    else {
        panic!("{request:?}");
    };
    assert_eq!(database.as_deref(), Some("postgres"));
    assert_eq!(
        (options.format(), options.arguments()),
        (DumpFormat::Plain, vec!["--clean".to_owned()])
    );
    assert_eq!(storage.size, "5Gi", "that of pgo.yaml");
    let all = dump(json!({"pgdump-all": "true", "pgdump-opts": ""}));
    assert!(matches!(all.wanted, Ok(DumpWish::Make { options, .. }) if options.all()));
    let said = dump(json!({"pgdump-opts": "--dump-all"}));
    assert!(matches!(said.wanted, Ok(DumpWish::Make { options, .. }) if options.all()));
    let other = task("pgdump", &json!({"pg-cluster": "rhino"}), &json!({}));
    assert_eq!(dump_operation(&other, &hippo()), None);
}

#[test]
fn what_a_claim_is_made_of_is_said_by_the_task_before_pgo_yaml() {
    let storage = json!({"storagetype": "create", "size": "7Gi", "accessmode": "ReadWriteMany"});
    let request = asked(&task("pgdump", &json!({"pg-cluster": "hippo"}), &storage));
    let Ok(DumpWish::Make { storage, .. }) = request.wanted else {
        panic!("{request:?}");
    };
    assert_eq!(
        (storage.size.as_str(), storage.access_mode.as_str()),
        ("7Gi", "ReadWriteMany")
    );
    let gone = json!({"storagetype": "emptydir"});
    let request = asked(&task("pgdump", &json!({"pg-cluster": "hippo"}), &gone));
    let why = request.wanted.expect_err("a refusal");
    assert!(why.contains("emptydir"), "{why}");
}

#[test]
fn a_task_asks_for_the_restore_of_a_dump() {
    let request = restore(json!({
        "pgrestore-pitr-target": "2026-10-15-10-11-12", "pgrestore-opts": "--clean", "NodeLabelKey": "zone",
        "NodeLabelValue": "a",
    }));
    assert_eq!((request.kind, request.claim), (DumpKind::Load, None));
    let Ok(DumpWish::Load {
        dump,
        database,
        options,
        node_label,
    }) = request.wanted
    else {
        panic!("a restore");
    };
    assert_eq!(node_label.as_deref(), Some("zone=a"));
    assert_eq!(
        (dump.as_deref(), database),
        (Some("2026-10-15-10-11-12"), None)
    );
    assert_eq!(options.arguments(), ["--clean", "--single-transaction"]);
    let other = task(
        "pgrestore",
        &json!({"pgrestore-from-cluster": "rhino"}),
        &json!({}),
    );
    assert_eq!(dump_operation(&other, &hippo()), None);
}

#[test]
fn what_cannot_be_asked_for_is_said() {
    for (request, part) in [
        (
            dump(json!({"pgdump-opts": "--host=x"})),
            "Flag --host is not supported",
        ),
        (dump(json!({"pgdump-all": "maybe"})), "is not true or false"),
        (dump(json!({"pvc-name": "../x"})), "is the name of no claim"),
        (
            restore(json!({"pgrestore-pitr-target": "../../etc"})),
            "is the name of no dump",
        ),
        (
            restore(json!({"pgrestore-opts": "--list"})),
            "Flag --list is not supported",
        ),
    ] {
        let told = request.wanted.expect_err("a refusal");
        assert!(told.contains(part), "{told}");
    }
}

#[test]
fn a_task_asks_for_a_copy_of_its_own_cluster() {
    let parameters =
        json!({"pg-cluster": "hippo", "pgbasebackup-opts": "-r 10M", "pvc-name": "other"});
    let request = asked(&task("pgbasebackup", &parameters, &json!({})));
    assert_eq!(
        (request.kind, request.claim.as_deref()),
        (DumpKind::BaseBackup, Some("other"))
    );
    let Ok(DumpWish::BaseBackup { options, storage }) = request.wanted else {
        panic!("a copy");
    };
    assert_eq!(options.arguments(), ["--max-rate=10M"]);
    assert_eq!(storage.size, "5Gi", "that of pgo.yaml");
    let other = task("pgbasebackup", &json!({"pg-cluster": "rhino"}), &json!({}));
    assert_eq!(dump_operation(&other, &hippo()), None);
}

#[test]
fn a_task_asks_for_the_restore_of_a_copy_to_a_claim_of_its_own() {
    let restore = |path: &str, to: &str| {
        let parameters = json!({
            "pgbasebackup-restore-from-cluster": "hippo", "pgbasebackup-restore-to-pvc": to,
            "pgbasebackup-restore-from-pvc": "hippo-backup", "pgbasebackup-restore-backup-path": path,
            "NodeLabelKey": "zone", "NodeLabelValue": "a",
        });
        asked(&task("pgbasebackuprestore", &parameters, &json!({})))
    };
    let name = "2026-10-15-10-11-12";
    for path in [
        name.to_owned(),
        format!("hippo-backups/{name}"),
        format!("/pgdata/hippo-backups/{name}/"),
    ] {
        let request = restore(&path, "hippo-abcd");
        assert_eq!(
            (request.kind, request.claim.as_deref()),
            (DumpKind::BaseRestore, Some("hippo-backup"))
        );
        let Ok(DumpWish::BaseRestore {
            backup,
            to,
            node_label,
        }) = request.wanted
        else {
            panic!("a restore of {path}");
        };
        assert_eq!(
            (backup.as_deref(), to.as_str(), node_label.as_deref()),
            (Some(name), "hippo-abcd", Some("zone=a"))
        );
    }
    let newest = restore("", "hippo-abcd").wanted;
    assert!(matches!(
        newest,
        Ok(DumpWish::BaseRestore { backup: None, .. })
    ));
    for (path, to, part) in [
        ("../../etc", "hippo-abcd", "is the path of no backup"),
        (name, "No_Name", "can be no cluster"),
    ] {
        let told = restore(path, to).wanted.expect_err("a refusal");
        assert!(told.contains(part), "{told}");
    }
    let other = task(
        "pgbasebackuprestore",
        &json!({"pgbasebackup-restore-from-cluster": "rhino"}),
        &json!({}),
    );
    assert_eq!(dump_operation(&other, &hippo()), None);
}

#[test]
fn a_removal_of_backups_is_told_from_other_deletions() {
    let asked = |key: &str, value: &str| {
        let mut parameters = json!({
            "pg-cluster": "hippo", "delete-data": "false", "delete-backups": "false", "is-replica": "false",
            "is-backup": "true", "replica-name": "",
        });
        parameters[key] = json!(value);
        let one = task("delete-data", &parameters, &json!({}));
        let removals = removal_requests(std::iter::once(&one), &hippo());
        let told: Vec<_> = removals
            .iter()
            .map(|one| one.operation.to_string())
            .collect();
        let is_removal = requested(&one, &hippo()).is_some();
        assert_eq!(is_removal, !told.is_empty(), "{parameters}");
        (told, delete_request(&one, &hippo()).is_some())
    };
    assert_eq!(asked("is-backup", "true"), (vec![ID.to_owned()], false));
    assert_eq!(asked("is-backup", "false"), (vec![], true));
    assert_eq!(asked("pg-cluster", "rhino"), (vec![], false));
    assert_eq!(asked("backup-type", "pgdump"), (vec![ID.to_owned()], false));
    assert_eq!(asked("backup-type", "tape"), (vec![], false));
}
