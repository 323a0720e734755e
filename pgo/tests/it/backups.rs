//! `pgo backup`, `pgo show backup` and schedules: what is asked, what is shown, and how `--wait` ends.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::fake::{Fake, Reply, run};
use serde_json::{Value, json};

fn asked(cluster: &str) -> Value {
    json!({
        "Results": [format!("created Pgtask backrest-backup-{cluster}")],
        "Backups": [{"Cluster": cluster, "OperationID": format!("op-{cluster}")}], "Code": "ok", "Msg": "",
    })
}

#[test]
fn options_go_with_the_request_as_they_are() {
    let fake = Fake::start(|request| {
        Reply::Json(asked(request.body["Args"][0].as_str().unwrap_or_default()))
    });
    for options in [
        &["--backup-opts=--type=full --process-max=2"][..],
        &["--backup-opts", "--type=full --process-max=2"],
    ] {
        let ran = run(fake
            .pgo(&[
                "backup",
                "hippo",
                "zebra",
                "--pgbackrest-storage-type=local",
            ])
            .args(options));
        assert_eq!(
            ran.stdout,
            "created Pgtask backrest-backup-hippo\ncreated Pgtask backrest-backup-zebra\n",
            "{ran:?}"
        );
    }
    let requests = fake.requests();
    assert_eq!(requests.len(), 4);
    for request in requests {
        assert_eq!(request.route(), "/backrestbackup");
        assert_eq!(request.body["BackupOpts"], "--type=full --process-max=2");
        assert_eq!(request.body["BackrestStorageType"], "local");
    }
}

#[test]
fn a_wait_ends_with_the_backup_and_a_failure_does_not_keep_the_others() {
    let looks = AtomicUsize::new(0);
    let fake = Fake::start(move |request| match request.route() {
        "/events" => Reply::Text(401, "no\n"),
        "/backrestbackup" => Reply::Json(asked(request.body["Args"][0].as_str().unwrap())),
        _ => {
            let name = request.body["Clustername"].as_str().unwrap();
            let outcome = match (looks.fetch_add(1, Ordering::SeqCst), name) {
                (0..2, _) => Value::Null,
                (_, "hippo") => json!("Failed"),
                (_, _) => json!("Completed"),
            };
            Reply::Json(json!({"Code": "ok", "Msg": "", "Results": [{"Cluster": {
                "metadata": {"name": name},
                "status": {"phase": "Ready", "operations": [
                    {"id": format!("op-{name}"), "outcome": outcome, "cause": "interrupted: the pod ended"}]},
            }}]}))
        }
    });
    let ran = run(&mut fake.pgo(&["backup", "hippo", "zebra", "--wait", "--timeout=30s"]));
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stdout.contains("zebra  backed up"), "{ran:?}");
    assert!(
        ran.stderr.contains("cluster hippo failed to be backed up")
            && ran.stderr.contains("interrupted: the pod ended"),
        "{ran:?}"
    );
}

#[test]
fn steps_are_told_aside_where_json_is_asked_for() {
    let fake = Fake::start(|request| match request.route() {
        "/events" => Reply::Text(401, "no\n"),
        "/backrestbackup" => Reply::Json(asked("hippo")),
        _ => Reply::Json(json!({"Code": "ok", "Msg": "", "Results": [{"Cluster": {
            "metadata": {"name": "hippo"}, "status": {"operations": [{"id": "op-hippo", "outcome": "Completed"}]},
        }}]})),
    });
    let ran = run(&mut fake.pgo(&["backup", "hippo", "--wait", "-o", "json"]));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let events = fake.requests()[0].clone();
    // The steps of a backup are told there and not on clustertopic.
    assert_eq!(
        (events.route(), events.query("topic")),
        ("/events", Some("backuptopic".to_owned()))
    );
    let printed: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(printed, asked("hippo"));
    assert!(ran.stderr.contains("hippo  backed up"), "{ran:?}");
}

/// What makes no request, and words of the reason.
const REFUSED: &[(&[&str], &str)] = &[
    (
        &["backup", "hippo", "--pvc-name=x"],
        "--pvc-name goes with --backup-type=pgdump or pgbasebackup only",
    ),
    (
        &["backup", "hippo", "--storage-config=x"],
        "--storage-config goes with --backup-type=pgdump or pgbasebackup only",
    ),
    (
        &[
            "backup",
            "hippo",
            "--backup-type=pgdump",
            "--pgbackrest-storage-type=local",
        ],
        "--pgbackrest-storage-type goes with --backup-type=pgbackrest only",
    ),
    (
        &["backup", "hippo", "--backup-type=tape"],
        "there are pgbackrest, pgbasebackup and pgdump",
    ),
    (&["backup"], "name one or more clusters"),
    (&["show", "backup"], "name one or more clusters"),
    (&["show", "schedule"], "name a cluster"),
    (
        &["show", "schedule", "hippo", "--schedule-name=x"],
        "not more than one",
    ),
    (&["delete", "schedule", "--no-prompt"], "name a cluster"),
    (
        &["delete", "backup", "--no-prompt"],
        "name one or more clusters",
    ),
    (
        &["create", "schedule", "--schedule=@daily"],
        "name a cluster",
    ),
    (&["create", "schedule", "hippo"], "--schedule is required"),
    (
        &["create", "schedule", "hippo", "--schedule=@daily"],
        "--schedule-type is required",
    ),
    (
        &[
            "create",
            "schedule",
            "hippo",
            "--schedule=@daily",
            "--schedule-type=pgbackrest",
        ],
        "--pgbackrest-backup-type is required",
    ),
    (
        &[
            "create",
            "schedule",
            "hippo",
            "--schedule=@daily",
            "--schedule-type=pgbasebackup",
        ],
        "--pvc-name is required",
    ),
    (
        &[
            "create",
            "schedule",
            "hippo",
            "--schedule=@daily",
            "--schedule-type=policy",
        ],
        "Policy name required",
    ),
];

#[test]
fn what_comes_later_or_never_was_makes_no_request() {
    let fake = Fake::start(|_| Reply::Nothing);
    for (arguments, words) in REFUSED {
        let ran = run(&mut fake.pgo(arguments));
        assert_eq!(
            (ran.code, ran.stdout.as_str()),
            (Some(1), ""),
            "{arguments:?}"
        );
        assert!(ran.stderr.contains(words), "{arguments:?}: {}", ran.stderr);
    }
    assert!(fake.requests().is_empty());
}

#[test]
fn backups_are_shown_as_they_are_said_and_json_is_asked_for_as_json() {
    let fake = Fake::start(|request| {
        let json = request.query("format").is_some();
        let item = match json {
            true => json!({"Name": "hippo", "Info": "", "Stanzas": [{"name": "db"}]}),
            false => {
                json!({"Name": "hippo", "Info": "\nStorage Type: local\nstanza: db\u{1b}[2J\n"})
            }
        };
        Reply::Json(json!({"Items": [item], "Code": "ok", "Msg": ""}))
    });
    let ran = run(&mut fake.pgo(&["show", "backup", "hippo"]));
    assert_eq!(
        ran.stdout,
        "\nbackrest : hippo\n\nStorage Type: local\nstanza: db\u{fffd}[2J\n\n"
    );
    let ran = run(&mut fake.pgo(&["show", "backup", "--selector=env=dev", "-o", "json"]));
    let printed: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(printed["Items"][0]["Stanzas"], json!([{"name": "db"}]));
    let paths: Vec<_> = fake.requests().iter().map(|one| one.path.clone()).collect();
    assert_eq!(
        paths,
        [
            "/backrest/hippo?version=4.1.0&selector=&namespace=pgouser1",
            "/backrest/all?version=4.1.0&selector=env%3Ddev&namespace=pgouser1&format=json",
        ]
    );
}

#[test]
fn schedules_are_asked_for_shown_and_deleted() {
    let fake = Fake::start(|request| {
        let text = "hippo-pgbackrest-full:\n\tschedule: 0 1 * * *\n\tnext-run: x";
        Reply::Json(match request.route() {
            "/schedule" => {
                json!({"Results": ["created schedule a for cluster hippo"], "Code": "error",
                "Msg": "Schedule b already exists"})
            }
            "/scheduleshow" if request.body["ScheduleName"] == "nosuch" => {
                json!({"Results": [], "Code": "ok", "Msg": ""})
            }
            "/scheduleshow" => {
                json!({"Results": [text], "Schedules": [{"Name": "hippo-pgbackrest-full"}],
                "Code": "ok", "Msg": ""})
            }
            _ => json!({"Results": ["deleted schedule a"], "Code": "ok", "Msg": ""}),
        })
    });
    let create = [
        "create",
        "schedule",
        "--selector=env=dev",
        "--schedule=TZ=Europe/Berlin 0 1 * * *",
        "--schedule-type=pgbackrest",
        "--pgbackrest-backup-type=incr",
        "-c",
        "ignored",
    ];
    let ran = run(&mut fake.pgo(&create));
    assert_eq!(ran.stdout, "created schedule a for cluster hippo\n");
    assert_eq!(ran.code, Some(2));
    assert!(
        ran.stderr.starts_with("Error: Schedule b already exists"),
        "{ran:?}"
    );
    let shown = run(&mut fake.pgo(&["show", "schedule", "hippo"]));
    assert_eq!(
        shown.stdout,
        "hippo-pgbackrest-full:\n\tschedule: 0 1 * * *\n\tnext-run: x\n"
    );
    let shown = run(&mut fake.pgo(&["show", "schedule", "hippo", "--output=json"]));
    let printed: Value = serde_json::from_str(&shown.stdout).unwrap();
    assert_eq!(printed["Schedules"][0]["Name"], "hippo-pgbackrest-full");
    let none = run(&mut fake.pgo(&["show", "schedule", "--schedule-name=nosuch"]));
    assert_eq!(
        (none.code, none.stdout.as_str()),
        (Some(2), "No schedules found.\n")
    );
    let unanswered = run(&mut fake.pgo(&["delete", "schedule", "hippo"]));
    assert!(unanswered.stderr.contains("--no-prompt"), "{unanswered:?}");
    let deleted = run(&mut fake.pgo(&["delete", "schedule", "hippo", "--no-prompt"]));
    assert_eq!(deleted.stdout, "deleted schedule a\n");

    let requests = fake.requests();
    let created = &requests[0].body;
    assert_eq!(created["Selector"], "env=dev");
    assert_eq!(created["Schedule"], "TZ=Europe/Berlin 0 1 * * *");
    assert_eq!(created["PGBackRestType"], "incr");
    let routes: Vec<_> = requests.iter().map(|one| one.route().to_owned()).collect();
    assert_eq!(routes[4..], ["/scheduledelete"]);
}

#[test]
fn a_dump_is_asked_for_and_waited_for_as_a_backup_is() {
    let fake = Fake::start(|request| match request.route() {
        "/events" => Reply::Text(401, "no\n"),
        "/pgdumpbackup" => Reply::Json(asked("hippo")),
        _ => Reply::Json(json!({"Code": "ok", "Msg": "", "Results": [{"Cluster": {
            "metadata": {"name": "hippo"}, "status": {"operations": [{"id": "op-hippo", "outcome": "Completed"}]},
        }}]})),
    });
    let ran = run(&mut fake.pgo(&[
        "backup",
        "hippo",
        "--backup-type=pgdump",
        "--backup-opts=--dump-all",
        "--pvc-name=c",
        "--storage-config=large",
        "--wait",
    ]));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.contains("hippo  backed up"), "{ran:?}");
    let requests = fake.requests();
    let request = requests.iter().find(|one| one.route() == "/pgdumpbackup");
    let body = &request.expect("a request").body;
    for (key, value) in [
        ("BackupOpts", "--dump-all"),
        ("PVCName", "c"),
        ("StorageConfig", "large"),
    ] {
        assert_eq!(body[key], value, "{body}");
    }
}

#[test]
fn dumps_are_shown_with_where_each_lies() {
    let fake = Fake::start(|request| {
        let items = match request.route().ends_with("nosuch") {
            true => json!([]),
            false => json!([{"metadata": {"creationTimestamp": "2026-11-22T14:28:42Z"}, "spec": {
                "name": "backup-hippo-pgdump", "storagespec": {"accessmode": "ReadWriteOnce", "size": "1Gi"},
                "backuppvc": "c", "backupstatus": "job completed",
                "toc": {"2026-11-22-14-28-42": "/pgdata/hippo-backups/2026-11-22-14-28-42"},
            }, "status": {}}]),
        };
        Reply::Json(
            json!({"BackupList": {"metadata": {}, "items": items}, "Code": "ok", "Msg": ""}),
        )
    });
    let ran = run(&mut fake.pgo(&["show", "backup", "hippo", "--backup-type=pgdump"]));
    assert!(
        ran.stdout
            .ends_with("\tBackup Path:\t/pgdata/hippo-backups/2026-11-22-14-28-42\n"),
        "{ran:?}"
    );
    let json = ["show", "backup", "hippo", "--backup-type=pgdump", "-ojson"];
    let ran = run(&mut fake.pgo(&json));
    let printed: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(printed["BackupList"]["items"][0]["spec"]["backuppvc"], "c");
    let ran = run(&mut fake.pgo(&["show", "backup", "nosuch", "--backup-type=pgdump"]));
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (Some(2), "No pgDumps found for nosuch.\n"),
        "{ran:?}"
    );
}

#[test]
fn copies_are_deleted_of_one_cluster_after_the_other_once_the_user_says_so() {
    let fake = Fake::start(|request| match request.route().rsplit('/').next() {
        Some("hippo") => {
            Reply::Json(json!({"Results": ["hippo"], "OperationID": "op", "Code": "ok", "Msg": ""}))
        }
        _ => Reply::Json(
            json!({"Results": null, "Code": "error", "Msg": "zebra was not found, verify cluster name"}),
        ),
    });
    let unanswered = run(&mut fake.pgo(&["delete", "backup", "hippo"]));
    assert_ne!(unanswered.code, Some(0), "{unanswered:?}");
    assert!(fake.requests().is_empty());
    let ran = run(&mut fake.pgo(&["delete", "backup", "zebra", "hippo", "--no-prompt"]));
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (Some(2), "Deleted backup hippo\n"),
        "{ran:?}"
    );
    assert!(ran.stderr.contains("zebra was not found"), "{ran:?}");
    let routes: Vec<_> = fake
        .requests()
        .iter()
        .map(|one| one.route().to_owned())
        .collect();
    assert_eq!(routes, ["/backupsdelete/zebra", "/backupsdelete/hippo"]);
}
