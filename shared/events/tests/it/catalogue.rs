//! What 4.1 has is as 4.1 has it, and the whole is consistent.

use std::collections::BTreeSet;

use pgo_events::{EventType, Field, OperationKind, Severity, Stage, Topic};

/// 4.1's types with their topics and fields, in its order.
const OF_41: &str = "
CreateCluster clustertopic clustername,workflowid
CreateClusterFailure clustertopic clustername,errormessage,workflowid
CreateClusterCompleted clustertopic clustername,workflowid
ScaleCluster clustertopic clustername,replicaname
ScaleClusterFailure clustertopic clustername,replicaname,errormessage
ScaleDownCluster clustertopic clustername,replicaname
FailoverCluster clustertopic clustername,target
PrimaryDeleted clustertopic clustername,deploymentname
FailoverClusterCompleted clustertopic clustername,target
PrimaryNotReady clustertopic clustername
RestoreCluster clustertopic clustername
RestoreClusterCompleted clustertopic clustername
UpgradeCluster clustertopic clustername
UpgradeClusterCompleted clustertopic clustername
DeleteCluster clustertopic clustername
DeleteClusterCompleted clustertopic clustername
TestCluster clustertopic clustername
CreateLabel clustertopic clustername,label
ReloadCluster clustertopic clustername
Benchmark clustertopic clustername
BenchmarkCompleted clustertopic clustername
CreateBackup backuptopic clustername,backuptype
CreateBackupCompleted clustertopic,backuptopic clustername,backuptype,path
Load loadtopic clustername,loadconfig
LoadCompleted loadtopic clustername,loadconfig
CreateUser postgresusertopic clustername,postgresusername,postgrespassword,managed
DeleteUser postgresusertopic clustername,postgresusername,managed
ChangePasswordUser postgresusertopic clustername,postgresusername,postgrespassword
CreatePolicy policytopic policyname
ApplyPolicy policytopic clustername,policyname
DeletePolicy policytopic clustername,policyname
CreatePgpool pgpooltopic clustername
DeletePgpool pgpooltopic clustername
CreatePgbouncer pgbouncertopic clustername
DeletePgbouncer pgbouncertopic clustername
PGOCreateUser pgousertopic createdusername
PGOUpdateUser pgousertopic updatedusername
PGODeleteUser pgousertopic deletedusername
PGOCreateRole pgousertopic createdrolename
PGOUpdateRole pgousertopic updatedrolename
PGODeleteRole pgousertopic deletedRolename
PGOCreateNamespace pgotopic creatednamespace
PGODeleteNamespace pgotopic deletednamespace
PGOStart pgotopic -
PGOStop pgotopic -
PGOUpdateConfig pgotopic -
";

#[test]
fn each_of_4_1s_46_types_has_its_topics_and_its_fields_first() {
    let lines: Vec<&str> = OF_41.trim().lines().collect();
    assert_eq!(lines.len(), 46);
    for line in lines {
        let mut words = line.split(' ');
        let mut next = || words.next().expect("three words");
        let event_type: EventType = next().parse().expect("it is in the catalogue");
        let topics: Vec<&str> = event_type.topics().iter().map(|t| t.as_str()).collect();
        assert_eq!(topics.join(","), next(), "{event_type}");
        let fields = event_type.about().fields.iter();
        let (of_41, new): (Vec<Field>, Vec<Field>) = fields.partition(|field| field.is_of_41());
        let names: Vec<&str> = of_41.iter().map(|field| field.as_str()).collect();
        let expected = next().trim_start_matches('-').to_owned();
        assert_eq!(names.join(","), expected, "{event_type}");
        let all: Vec<Field> = of_41.into_iter().chain(new).collect();
        assert_eq!(
            all,
            event_type.about().fields,
            "{event_type}: new ones come last"
        );
    }
}

#[test]
fn every_type_is_found_by_its_name() {
    for event_type in EventType::ALL {
        assert_eq!(event_type.as_str().parse(), Ok(*event_type));
    }
}

#[test]
fn no_type_names_the_topic_that_all_events_are_on() {
    for event_type in EventType::ALL {
        assert!(!event_type.topics().contains(&Topic::All), "{event_type}");
    }
}

#[test]
fn every_operation_has_a_beginning_and_both_ends_of_its_own() {
    let mut seen = BTreeSet::new();
    for operation in OperationKind::ALL {
        let ends = [
            (operation.started(), Stage::Started),
            (operation.failed(), Stage::Failed),
            (operation.completed(), Stage::Completed),
        ];
        let step = operation.progress().map(|step| (step, Stage::Progress));
        for (event_type, stage) in ends.into_iter().chain(step) {
            assert_eq!(
                event_type.about().operation,
                Some(*operation),
                "{event_type}"
            );
            assert_eq!(event_type.stage(), stage, "{event_type}");
            assert!(
                seen.insert(event_type),
                "{event_type} belongs to two operations"
            );
        }
    }
    for event_type in EventType::ALL {
        let is_notice = event_type.stage() == Stage::Notice;
        assert_eq!(is_notice, !seen.contains(event_type), "{event_type}");
    }
}

#[test]
fn what_failed_is_an_error_and_tells_its_cause() {
    for event_type in EventType::ALL {
        let about = event_type.about();
        if about.stage == Stage::Failed {
            assert_eq!(about.severity, Severity::Error, "{event_type}");
            assert!(about.fields.contains(&Field::ErrorMessage), "{event_type}");
        }
    }
}

#[test]
fn every_type_says_what_it_means_and_what_to_do_in_sentences() {
    for event_type in EventType::ALL {
        let about = event_type.about();
        for sentence in [about.meaning().as_str(), about.advice] {
            let first = sentence.chars().next().expect("a sentence");
            assert!(
                first.is_uppercase() || first == '`',
                "{event_type}: {sentence}"
            );
            assert!(sentence.ends_with('.'), "{event_type}: {sentence}");
        }
    }
}

#[test]
fn every_field_is_some_types() {
    let used: BTreeSet<Field> = EventType::ALL
        .iter()
        .flat_map(|event_type| event_type.about().fields)
        .copied()
        .collect();
    for field in Field::ALL {
        assert!(used.contains(field), "no type has {field}");
    }
}
