//! Schema and status agree: what the API server lets through can be read, and nothing that is written gets lost there.

use pgo_core::{
    BackupRun, BenchmarkWork, ClusterStatus, Condition, ConditionStatus, DeleteOptions,
    DrillPolicy, DrillRun, DrillVerdict, Drills, DumpMade, DumpOrder, DumpRun, DumpWork, Image,
    InstanceStatus, JobOrder, JobRun, JobWork, Journal, KeptWal, Kind, Lack, LastBackup,
    LastTakeover, Operation, Outcome, Phase, PolicyPlace, PolicyRun, PolicyServer, Promotion,
    Protection, ProvenRestore, Reached, ReplicaCount, ReplicaStatus, Restart, RestoreMark,
    RestoreOrder, RestoreRun, RestoreStage, Restored, Settings, Stanza, Synchronous, Takeover,
    TakeoverCause, Turn, UpgradeStage, dump::options::DumpFormat,
};
use pgo_crd::{Pgcluster, PgclusterStatus, definitions};
use pgo_events::{Backlog, Draft, EventType, Outbox};
use pgo_ids::{OperationId, Seq, StreamId, Term};
use proptest::{prelude::*, sample::select, string::string_regex};
use serde_json::{Map, Value, json};

/// The schema of a status.
fn schema(kind: &str) -> Value {
    let definition = definitions()
        .into_iter()
        .find(|definition| definition.spec.names.kind == kind)
        .expect("a definition");
    let definition = serde_json::to_value(definition).expect("JSON");
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"].clone()
}

fn names(schema: &Value, key: &str) -> Vec<String> {
    let names = schema[key].as_array().cloned().unwrap_or_default();
    names
        .iter()
        .map(|name| name.as_str().expect("a name").to_owned())
        .collect()
}

fn properties(schema: &Value) -> Map<String, Value> {
    schema["properties"]
        .as_object()
        .cloned()
        .unwrap_or_default()
}

/// What a structural schema lets through, unknown fields left out.
fn let_through(schema: &Value) -> BoxedStrategy<Value> {
    let values = match (schema["enum"].as_array(), schema["type"].as_str()) {
        (Some(words), _) => select(words.clone()).boxed(),
        (None, Some("object")) => object(schema),
        (None, Some("array")) => prop::collection::vec(let_through(&schema["items"]), 0..3)
            .prop_map(Value::from)
            .boxed(),
        (None, Some("string")) => text(schema).prop_map(Value::from).boxed(),
        (None, Some("integer")) => {
            let least = schema["minimum"].as_f64().map_or(i64::MIN, |n| n as i64);
            let most = schema["maximum"].as_f64().map_or(i64::MAX, |n| n as i64);
            (least..=most).prop_map(Value::from).boxed()
        }
        (None, Some("boolean")) => any::<bool>().prop_map(Value::from).boxed(),
        other => panic!("{other:?} is no type that this test knows"),
    };
    match schema["nullable"].as_bool() {
        Some(true) => prop_oneof![Just(Value::Null), values].boxed(),
        _ => values,
    }
}

fn object(schema: &Value) -> BoxedStrategy<Value> {
    let required = names(schema, "required");
    let fields: Vec<_> = properties(schema)
        .into_iter()
        .map(|(name, schema)| {
            let always = required.contains(&name);
            (any::<bool>(), let_through(&schema))
                .prop_map(move |(there, value)| (always || there).then(|| (name.clone(), value)))
        })
        .collect();
    fields
        .prop_map(|fields| Value::Object(fields.into_iter().flatten().collect()))
        .boxed()
}

fn text(schema: &Value) -> BoxedStrategy<String> {
    let pattern = match (schema["format"].as_str(), schema["pattern"].as_str()) {
        (Some("date-time"), _) => {
            "20[0-9]{2}-1[0-2]-[0-2][1-8]T1[0-9]:[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,6})?Z"
        }
        (Some("uuid"), _) => "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
        (None, Some(pattern)) => pattern.trim_start_matches('^').trim_end_matches('$'),
        (None, None) => "[ -~]{0,12}",
        (Some(format), _) => panic!("{format} is no format that this test knows"),
    };
    string_regex(pattern).expect("a pattern").boxed()
}

proptest! {
    #[test]
    fn what_the_schema_lets_through_can_be_read(status in let_through(&schema("Pgcluster"))) {
        let object = json!({
            "apiVersion": "crunchydata.com/v1", "kind": "Pgcluster",
            "metadata": {"name": "hippo"}, "spec": {}, "status": status,
        });
        let read = serde_json::from_value::<Pgcluster>(object);
        prop_assert!(read.is_ok(), "{}", read.expect_err("it is not"));
    }

    #[test]
    fn what_the_schema_of_an_installation_lets_through_can_be_read(status in let_through(&schema("PgInstallation"))) {
        let read = serde_json::from_value::<Option<pgo_crd::PgInstallationStatus>>(status);
        prop_assert!(read.is_ok(), "{}", read.expect_err("it is not"));
    }
}

/// What of a value the API server would refuse or drop.
fn complaints(schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let fits = schema["enum"]
        .as_array()
        .is_none_or(|words| words.contains(value));
    if !fits {
        return vec![format!("{at}: {value} is not among {}", schema["enum"])];
    }
    match value {
        Value::Object(fields) => {
            let known = properties(schema);
            let missing = names(schema, "required")
                .into_iter()
                .filter(|name| !fields.contains_key(name))
                .map(|name| format!("{at}.{name} is missing"));
            let inside = fields.iter().flat_map(|(name, value)| {
                let at = format!("{at}.{name}");
                let others = schema.get("additionalProperties");
                match known.get(name).or(others) {
                    Some(schema) => complaints(schema, value, &at),
                    None => vec![format!("{at} is unknown")],
                }
            });
            missing.chain(inside).collect()
        }
        Value::Array(items) => items
            .iter()
            .flat_map(|item| complaints(&schema["items"], item, at))
            .collect(),
        _ => Vec::new(),
    }
}

/// A status in which nothing is left out.
#[allow(clippy::too_many_lines, reason = "one value with everything in it")]
fn full() -> ClusterStatus {
    let time = "2026-10-15T10:11:12.5Z".parse().expect("a time");
    let stream: StreamId = "uid-1".parse().expect("a stream");
    let id = OperationId::derived(&stream, "create");
    let mut outbox = Outbox {
        paged: Seq(1),
        omitted: 1,
        ..Outbox::default()
    };
    for event_type in EventType::ALL {
        outbox.push(
            &stream,
            Draft {
                event_type: *event_type,
                time,
                namespace: "pgouser1".parse().expect("a namespace"),
                cluster: Some("hippo".parse().expect("a name")),
                operation: id,
                actor: "pgoadmin".to_owned(),
                step: Some("a step".to_owned()),
                cause: Some("a cause".to_owned()),
                duration_ms: Some(1),
                details: std::collections::BTreeMap::new(),
            },
        );
    }
    outbox.backlog = Some(Backlog {
        since: time,
        omitted: 1,
    });
    outbox.unpublished = Some(1);
    outbox.waiting = Some(time);
    let operations = Kind::ALL
        .iter()
        .copied()
        .zip(Outcome::ALL.into_iter().cycle());
    let operations = operations.map(|(kind, outcome)| Operation {
        id,
        kind,
        instance: Some("hippo-abcd".parse().expect("a name")),
        actor: "pgoadmin".to_owned(),
        task: Some("hippo-restart".to_owned()),
        policy: Some("gold".to_owned()),
        place: Some(PolicyPlace {
            database: Some("userdb".to_owned()),
            secret: Some("hippo-testuser-secret".to_owned()),
        }),
        backup: Some("20261126-200000F".to_owned()),
        table: Some("public.people".to_owned()),
        result: Some("tps = 85.1".to_owned()),
        tool: Some("pgbasebackup".to_owned()),
        started: time,
        finished: Some(time),
        outcome: Some(outcome),
        cause: Some("a cause".to_owned()),
        steps: 1,
        generation: 1,
        delete: Some(DeleteOptions::default()),
    });
    let conditions = ConditionStatus::ALL.into_iter().map(|status| Condition {
        name: "Ready".to_owned(),
        status,
        reason: "Serving".to_owned(),
        message: "serves".to_owned(),
        last_transition_time: time,
        observed_generation: 1,
    });
    let order = RestoreOrder {
        operation: id,
        options: vec!["--type=immediate".to_owned()],
    };
    let reached = Reached {
        backup: "20261126-200000F".to_owned(),
        size_bytes: Some(4096),
        start_wal: "000000010000000000000002".to_owned(),
        stop_wal: "000000010000000000000003".to_owned(),
        damaged: true,
        last_commit: Some(time),
        lsn: "0/5000148".to_owned(),
    };
    let verdict = DrillVerdict {
        at: time,
        proven: false,
        cause: Some("pages are damaged".to_owned()),
    };
    let untried = pgo_core::UntriedBackup {
        at: time,
        cause: "the repository is away".to_owned(),
        superseded_on: Some(2),
    };
    ClusterStatus {
        state: "pgcluster Processed".to_owned(),
        message: "processed".to_owned(),
        phase: Phase::Ready,
        reason: "serves".to_owned(),
        observed_generation: 1,
        conditions: conditions.collect(),
        instances: vec![InstanceStatus {
            name: "hippo".parse().expect("a name"),
            pod_uid: "uid-2".to_owned(),
            role: "primary".to_owned(),
            ready: true,
            node: Some("node1".to_owned()),
            term: Term(1),
            timeline: 1,
            postgres_version: Some("15.18".to_owned()),
            streaming: Some(true),
            lag_bytes: Some(1 << 20),
            lag_seconds: Some(4),
            sync: Some("quorum".to_owned()),
            pending_restart: vec!["max_connections".to_owned()],
            preferred: ["hippo-abcd".parse().expect("a name")].into(),
        }],
        synchronous: Some(Synchronous {
            asked: 2,
            rule: 2,
            of: 3,
            wait_for: 1,
            fell_back: Some(time),
            came_back: Some(time),
        }),
        stanza: Some(Stanza {
            volume: "uid-9".to_owned(),
            attempt: 2,
            operation: id,
            made: true,
            failed: Some(time),
            error: Some("the stanza is of another database".to_owned()),
        }),
        backup: Some(BackupRun {
            operation: id,
            options: vec!["--type=full".to_owned()],
            replica: Some("hippo-abcd".parse().expect("a name")),
            since: time,
            begun: true,
            away: Some(time),
        }),
        last_backup: Some(LastBackup {
            label: "20261126-200000F".to_owned(),
            kind: "full".to_owned(),
            finished: Some(time),
            size_bytes: 23,
            damaged: true,
        }),
        dump: Some(DumpRun {
            order: DumpOrder {
                operation: id,
                work: DumpWork::Make {
                    database: "userdb".to_owned(),
                    all: true,
                    format: DumpFormat::Plain,
                    options: vec!["--clean".to_owned()],
                },
            },
            claim: "backup-hippo-pgdump-pvc".to_owned(),
            since: time,
            pod: Some("uid-7".to_owned()),
            lost: vec!["uid-6".to_owned()],
        }),
        dumps: vec![DumpMade {
            name: "2026-10-15-10-11-12".to_owned(),
            claim: "backup-hippo-pgdump-pvc".to_owned(),
            path: "/pgdata/hippo-backups/2026-10-15-10-11-12".to_owned(),
            finished: time,
            size_bytes: 23,
            base: true,
        }],
        job: Some(JobRun {
            order: JobOrder {
                operation: id,
                work: JobWork::Benchmark(BenchmarkWork {
                    database: "postgres".to_owned(),
                    init: vec!["--quiet".to_owned()],
                    options: vec!["--select-only".to_owned()],
                    clients: 2,
                    threads: 1,
                    scale: 10,
                    transactions: 100,
                    script: Some("benchmark-hippo-abcd-tx".to_owned()),
                }),
            },
            since: time,
            pod: Some("uid-8".to_owned()),
        }),
        policy: Some(PolicyRun {
            operation: id,
            server: Some(PolicyServer {
                instance: "hippo".parse().expect("a name"),
                started: time,
            }),
            since: time,
        }),
        applied_policies: ["gold".to_owned()].into(),
        archiving_failed: Some(time),
        restore: Some(RestoreRun {
            order: order.clone(),
            instance: "hippo-efgh".parse().expect("a name"),
            node_label: Some("zone=a".to_owned()),
            target: "2026-10-15 10:00:00+00".to_owned(),
            stage: RestoreStage::Replaying,
            since: time,
            begun: true,
            away: Some(time),
            mark: Some(RestoreMark {
                at: time,
                what: "40 %".to_owned(),
            }),
            term: Term(3),
            reached: reached.clone(),
            told: true,
        }),
        restored: Some(Restored {
            order,
            instance: "hippo-abcd".parse().expect("a name"),
            node_label: Some("zone=a".to_owned()),
            former: "hippo".parse().expect("a name"),
            reached,
            at: Some(time),
        }),
        adopted: Some("hippo-abcd".parse().expect("a name")),
        drills: Drills {
            run: Some(DrillRun {
                operation: id,
                backup: "20261126-200000F".to_owned(),
                asked: true,
                since: Some(time),
                lost: 1,
                troubled: Some(time),
                not_before: Some(time),
                ended: Some("uid-4".to_owned()),
            }),
            last: Some(time),
            verdicts: [("20261125-200000F".to_owned(), verdict)].into(),
            untried: [("20261124-200000F".to_owned(), untried)].into(),
        },
        last_proven_restore: Some(ProvenRestore {
            backup: "20261125-200000F".to_owned(),
            at: time,
            duration_ms: 1,
            size_bytes: 23,
            lsn: "0/5000148".to_owned(),
            last_commit: Some(time),
            checksums: true,
            structure: true,
        }),
        retired: vec!["hippo".parse().expect("a name")],
        restart: Some(Restart {
            operation: id,
            left: vec!["hippo".parse().expect("a name")],
            alone: true,
            held: Some("hippo-wxyz does not follow the primary".to_owned()),
            turn: Some(Turn {
                instance: "hippo-abcd".parse().expect("a name"),
                pod: "uid-3".to_owned(),
                started: time,
            }),
            since: time,
        }),
        promotion: Some(Promotion {
            operation: id,
            takeover: Takeover {
                term: Term(3),
                from: "hippo".to_owned(),
                to: "hippo-abcd".to_owned(),
                cause: TakeoverCause::Lost,
                former_timeline: Some(2),
                timeline: 3,
                lsn: "0/4000148".to_owned(),
                lost: Some(176),
                unfit: Some("its data volume hangs".to_owned()),
                heard: Some(time),
                at: time,
            },
            since: time,
            unreached: true,
        }),
        last_takeover: Some(LastTakeover {
            planned: true,
            from: "hippo-abcd".to_owned(),
            to: "hippo".to_owned(),
            cause: "hippo-abcd gave up in order".to_owned(),
            actor: "alice".to_owned(),
            timeline: 2,
            lsn: "0/3000148".to_owned(),
            at: time,
            duration_ms: 700,
        }),
        replicas: vec![ReplicaStatus {
            name: "hippo-abcd".parse().expect("a name"),
            uid: "uid-3".to_owned(),
            joined: true,
            leaving: true,
            data: true,
            behind: true,
            ready: true,
            reason: "Streaming".to_owned(),
            message: "follows the primary".to_owned(),
        }],
        replica_count: Some(ReplicaCount {
            asked: 1,
            wanted: 2,
            made: 3,
        }),
        current_primary: Some("hippo".parse().expect("a name")),
        term: Term(2),
        formers: [("hippo-abcd".parse().expect("a name"), Term(3))].into(),
        images: Some(pgo_core::Images {
            said: ":debian12-15".to_owned(),
            in_force: Image("p/crunchy-postgres:15".to_owned()),
            others: [(
                "hippo-abcd".parse().expect("a name"),
                Image("p/x:1".to_owned()),
            )]
            .into(),
        }),
        protection: Protection {
            lacks: vec![Lack {
                instance: Some("hippo-abcd".parse().expect("a name")),
                since: time,
                told: true,
                well: Some(time),
            }],
            degraded: Some(time),
        },
        settings: Some(Settings {
            size: "1Gi".to_owned(),
            growing: true,
            autofail: true,
            synchronous: 1,
            sync_fallback: true,
            drills: Some(DrillPolicy::Each),
            problem: "it cannot be read".to_owned(),
        }),
        told_notes: vec![id],
        told_runs: [("uid".to_owned(), time)].into(),
        upgrade: Some(pgo_core::Upgrade {
            operation: "25927091-b343-4017-be4b-71575f0b3eb5"
                .parse()
                .expect("an id"),
            image: Image("p/crunchy-postgres:15.20".to_owned()),
            version: "15.20".to_owned(),
            former_version: "15.18".to_owned(),
            stage: UpgradeStage::Replacing {
                instance: "hippo-abcd".parse().expect("a name"),
                pod: "uid".to_owned(),
                former: Image("p/crunchy-postgres:15".to_owned()),
                in_place: true,
            },
            since: time,
        }),
        certificate: Some(pgo_core::Certificate {
            until: time,
            late: true,
        }),
        crashes: [(
            "hippo-abcd".parse().expect("a name"),
            pgo_core::Crashes {
                replaced: 2,
                pod: "uid-3".to_owned(),
                since: time,
            },
        )]
        .into(),
        kept_wal: [("hippo-abcd".parse().expect("a name"), KeptWal::AtRisk)].into(),
        volumes: [(
            "hippo".to_owned(),
            pgo_core::VolumeStatus {
                bytes: 100,
                used: 96,
                told: Some(pgo_core::Level::AlmostFull),
                marks: vec![pgo_core::Mark { at: time, used: 96 }],
            },
        )]
        .into(),
        journal: Journal {
            operations: operations.collect(),
            outbox,
        },
    }
}

#[test]
fn nothing_of_a_status_is_refused_or_dropped() {
    let schema = schema("Pgcluster");
    for phase in Phase::ALL {
        let status = ClusterStatus { phase, ..full() };
        let written = serde_json::to_value(PgclusterStatus(status)).expect("JSON");
        let found = complaints(&schema, &written, "status");
        assert!(found.is_empty(), "{found:#?}");
    }
    for stage in [
        UpgradeStage::Probing,
        UpgradeStage::Choosing,
        UpgradeStage::Completed,
        UpgradeStage::Failed { back: None },
        UpgradeStage::Failed {
            back: Some("hippo".parse().expect("a name")),
        },
    ] {
        let mut status = full();
        status.upgrade.as_mut().expect("one").stage = stage;
        let written = serde_json::to_value(PgclusterStatus(status)).expect("JSON");
        let found = complaints(&schema, &written, "status");
        assert!(found.is_empty(), "{found:#?}");
    }
}
