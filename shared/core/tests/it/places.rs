//! Backups in S3, alone or beside the volume, and how many of them stay.

use pgo_core::{
    Backup, BackupRequest, BackupSet, Bucket, KeptBy, Place, Places, Retention, Step,
    backup::options::BackupOptions,
};
use pgo_events::{Datum, Event, EventType, Field};
use pgo_ids::OperationId;

use crate::world::{World, backups};

const ID: &str = "25927091-b343-4017-be4b-71575f0b3eb5";

fn bucket() -> Bucket {
    Bucket {
        name: "backups".to_owned(),
        endpoint: "s3.example.org".to_owned(),
        region: "here".to_owned(),
        in_path: false,
    }
}

/// A cluster with backups in these places, at rest.
fn in_places(places: Places) -> World {
    let mut world = World::new();
    let mut backups = backups();
    backups.places = places;
    world.wanted().backups = Some(backups);
    world.settle();
    world
}

fn ask(world: &mut World, options: &str, place: Option<Place>) -> OperationId {
    let operation: OperationId = ID.parse().expect("an id");
    let options = BackupOptions::parse(options).expect("options");
    world.cluster.backups.push(BackupRequest {
        operation,
        actor: "alice".to_owned(),
        options: Ok(options.within(place)),
    });
    operation
}

/// The last event of the backup.
fn end(world: &World, operation: OperationId) -> Event {
    let told = world.told().into_iter();
    let mut of_it = told.filter(|event| event.operationid == operation);
    of_it.next_back().expect("it is told")
}

#[test]
fn who_backs_up_to_s3_gets_its_key_and_another_stanza() {
    let mut world = in_places(Places::Local);
    let secret = (Backup::Secret, "hippo-backrest-repo-config".to_owned());
    assert!(!world.observed.backups.contains_key(&secret));
    let before = world.status.stanza.clone().expect("a stanza");
    let backups = world.wanted().backups.as_mut().expect("backups");
    backups.places = Places::Both(bucket());
    let plan = world.reconcile();
    assert!(plan.steps.contains(&Step::MakeBucketKey), "{plan:?}");
    assert!(plan.steps.contains(&Step::MakeRepository), "{plan:?}");
    world.settle();
    assert!(world.observed.backups.contains_key(&secret));
    let after = world.status.stanza.clone().expect("a stanza");
    assert!(
        after.volume.ends_with("s3.example.org/backups"),
        "{after:?}"
    );
    assert_ne!(after.operation, before.operation, "it is made there, too");
}

#[test]
fn a_backup_is_made_where_it_is_wanted_and_refused_where_there_is_none() {
    let mut world = in_places(Places::Local);
    let id = ask(&mut world, "", Some(Place::S3));
    world.reconcile();
    let refused = end(&world, id);
    assert_eq!(refused.event_type(), EventType::CreateBackupFailure);
    let cause = refused.cause.expect("a cause");
    assert!(cause.contains("Storage type 's3' not allowed"), "{cause}");

    let mut world = in_places(Places::Both(bucket()));
    ask(&mut world, "--type=full", Some(Place::S3));
    let plan = world.reconcile();
    let options = plan.steps.iter().find_map(|step| match step {
        Step::Backup { options, .. } => Some(options.join(" ")),
        _ => None,
    });
    assert_eq!(options.as_deref(), Some("--type=full --repo=2"));
}

#[test]
fn a_backup_in_both_places_is_told_with_both() {
    let mut world = in_places(Places::Both(bucket()));
    let id = ask(&mut world, "--type=full", None);
    world.reconcile();
    world.progress();
    let agent = world.observed.repository.agent.as_mut().expect("heard");
    let done = agent.done.last_mut().expect("it is done");
    done.more.push(BackupSet {
        label: "20261015-101114F".to_owned(),
        place: "s3".to_owned(),
        ..BackupSet::default()
    });
    world.reconcile();
    let end = end(&world, id);
    assert_eq!(end.event_type(), EventType::CreateBackupCompleted);
    let cause = end.cause.as_deref().unwrap_or_default();
    let words = "full backup 20261015-101112F and 20261015-101114F in s3, copied from hippo";
    assert_eq!(cause, words);
    let path = Datum::Text("20261015-101112F,20261015-101114F".to_owned());
    assert_eq!(end.payload.get(Field::Path).cloned(), Some(path));
}

#[test]
fn how_many_stay_goes_with_each_backup() {
    let mut world = in_places(Places::Local);
    let backups = world.wanted().backups.as_mut().expect("backups");
    backups.retention = Retention {
        full: Some(2),
        by: KeptBy::Count,
        diff: None,
    };
    world.settle();
    assert_eq!(world.reconcile().steps, [], "nothing is made anew for it");
    ask(&mut world, "", None);
    let plan = world.reconcile();
    let options = plan.steps.iter().find_map(|step| match step {
        Step::Backup { options, .. } => Some(options.join(" ")),
        _ => None,
    });
    let expected = "--repo-retention-full=2 --repo-retention-full-type=count";
    assert_eq!(options.as_deref(), Some(expected));
}
