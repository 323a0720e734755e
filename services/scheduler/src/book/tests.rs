use serde_json::json;

use super::*;
use crate::run::{LAST_MISSED, LAST_SKIPPED, NEXT_RUN, SCHEDULE_ERROR};

fn time(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

fn map(name: &str, timetable: &str, annotations: serde_json::Value) -> ConfigMap {
    let schedule = json!({
        "version": "v1", "cluster": "hippo", "namespace": "pgouser1", "schedule": timetable, "type": "pgbasebackup",
        "pgbasebackup": {"backupVolume": "v"},
    });
    serde_json::from_value(json!({
        "metadata": {
            "uid": "uid-1", "name": name, "namespace": "pgouser1", "resourceVersion": "7",
            "creationTimestamp": "2026-03-01T10:00:30Z", "annotations": annotations,
        },
        "data": {name: schedule.to_string()},
    }))
    .expect("a ConfigMap")
}

fn book(maps: &[ConfigMap]) -> Book {
    let mut book = Book::default();
    book.replace("pgouser1", maps);
    book
}

/// What is written at `now`.
fn notes(book: &mut Book, now: Timestamp) -> Vec<Note> {
    let steps = book.steps(now, &Around::default(), |_| true);
    let notes = steps.into_iter().map(|step| match step {
        Step::Note(note) => note,
        other => panic!("{other:?}"),
    });
    notes.collect()
}

/// The ConfigMap as it is once a note is written.
fn written(map: &ConfigMap, note: &Note) -> ConfigMap {
    let mut map = map.clone();
    let annotations = map.metadata.annotations.get_or_insert_default();
    for (key, value) in &note.annotations {
        match value {
            Some(value) => drop(annotations.insert((*key).to_owned(), value.clone())),
            None => drop(annotations.remove(*key)),
        }
    }
    map
}

#[test]
fn nothing_is_due_before_its_time_and_it_is_said_when_that_is() {
    let mut book = book(&[map("a", "0 11 * * *", json!({}))]);
    let now = time("2026-03-01T10:59:59Z");
    let written = notes(&mut book, now);
    let next = Some("2026-03-01T11:00:00Z".to_owned());
    assert_eq!(written[0].annotations, BTreeMap::from([(NEXT_RUN, next)]));
    assert_eq!(written[0].about, None);
    assert_eq!(book.next(now), Some(time("2026-03-01T11:00:00Z")));
    assert_eq!(book.count(), (1, 0));
}

#[test]
fn a_run_that_is_due_is_noted_with_time_and_reason_for_the_version_that_was_read() {
    let mut book = book(&[map("a", "0 11 * * *", json!({}))]);
    let notes = notes(&mut book, time("2026-03-01T11:00:00Z"));
    assert_eq!(notes.len(), 1);
    assert_eq!(notes[0].version, "7");
    assert_eq!(
        notes[0].annotations.get(LAST_SKIPPED),
        Some(&Some(
            "2026-03-01T11:00:00Z there is no cluster hippo in namespace pgouser1".to_owned()
        ))
    );
}

#[test]
fn what_is_noted_is_not_due_again_after_a_restart() {
    let first = map("a", "0 11 * * *", json!({}));
    let now = time("2026-03-01T11:00:01Z");
    let note = notes(&mut book(std::slice::from_ref(&first)), now).remove(0);
    let mut book = book(&[written(&first, &note)]);
    let steps = book.steps(now, &Around::default(), |_| true);
    assert!(matches!(steps.as_slice(), [Step::Tell(_)]), "{steps:?}");
    let steps = book.steps(now, &Around::default(), |_| false);
    assert_eq!(steps, [], "a namespace of which not everything is known");
    assert_eq!(book.next(now), Some(time("2026-03-02T11:00:00Z")));
}

#[test]
fn runs_that_nobody_was_there_for_are_counted_and_the_last_one_is_not_late_within_an_hour() {
    for (now, last, runs) in [
        ("2026-03-01T13:30:00Z", "2026-03-01T12:00:00Z", 2),
        ("2026-03-01T13:00:00Z", "2026-03-01T12:00:00Z", 2),
    ] {
        let notes = notes(&mut book(&[map("a", "0 * * * *", json!({}))]), time(now));
        let missed = format!("{last} {runs}");
        assert_eq!(
            notes[0].annotations.get(LAST_MISSED),
            Some(&Some(missed)),
            "{now}"
        );
    }
    let daily = map("a", "0 11 * * *", json!({}));
    let in_time = notes(
        &mut book(std::slice::from_ref(&daily)),
        time("2026-03-01T12:00:00Z"),
    );
    assert!(
        in_time[0].annotations.contains_key(LAST_SKIPPED),
        "{in_time:?}"
    );
    let late = notes(&mut book(&[daily]), time("2026-03-01T12:00:01Z"));
    assert!(late[0].annotations.contains_key(LAST_MISSED), "{late:?}");
}

#[test]
fn what_was_due_before_the_schedule_was_written_as_it_is_was_not_due() {
    let mut changed = map("a", "0 * * * *", json!({}));
    changed.metadata.managed_fields = serde_json::from_value(json!([
        {"manager": "kubectl", "operation": "Update", "time": "2026-03-01T12:30:00Z",
         "fieldsType": "FieldsV1", "fieldsV1": {"f:data": {"f:a": {}}}},
        {"manager": "pgo", "operation": "Update", "time": "2026-03-01T13:30:00Z",
         "fieldsType": "FieldsV1", "fieldsV1": {"f:metadata": {"f:annotations": {}}}},
    ]))
    .expect("managed fields");
    let notes = notes(&mut book(&[changed]), time("2026-03-01T14:00:00Z"));
    let missed = Some("2026-03-01T13:00:00Z 1".to_owned());
    assert_eq!(notes[0].annotations.get(LAST_MISSED), Some(&missed));
}

#[test]
fn a_version_that_is_older_than_the_one_that_is_known_is_not_taken() {
    let mut newer = map("a", "0 12 * * *", json!({}));
    newer.metadata.resource_version = Some("12".to_owned());
    let mut book = book(&[newer]);
    book.put(&map("a", "0 11 * * *", json!({})));
    let now = time("2026-03-01T10:59:59Z");
    assert_eq!(book.next(now), Some(time("2026-03-01T12:00:00Z")));
}

#[test]
fn a_wrong_schedule_is_told_once_and_untold_when_it_is_right() {
    let now = time("2026-03-01T10:01:00Z");
    let mut wrong = book(&[map("a", "0 77 * * *", json!({}))]);
    let complaints = notes(&mut wrong, now);
    let Some(About::Wrong(reason)) = &complaints[0].about else {
        panic!("{complaints:?}");
    };
    assert!(reason.starts_with("schedule: \"0 77 * * *\""), "{reason}");
    assert_eq!(
        complaints[0].annotations.get(SCHEDULE_ERROR),
        Some(&Some(reason.clone()))
    );
    assert_eq!(wrong.count(), (1, 1));
    assert_eq!(wrong.next(now), None);

    let told = json!({SCHEDULE_ERROR: reason});
    let mut same = book(&[map("a", "0 77 * * *", told.clone())]);
    assert_eq!(notes(&mut same, now), []);
    let mended = notes(&mut book(&[map("a", "0 7 * * *", told)]), now);
    assert_eq!(mended[0].about, Some(About::Mended));
    assert_eq!(mended[0].annotations.get(SCHEDULE_ERROR), Some(&None));
}

#[test]
fn a_schedule_whose_note_could_not_be_written_waits() {
    let mut book = book(&[map("a", "0 11 * * *", json!({}))]);
    let now = time("2026-03-01T11:00:00Z");
    let key = notes(&mut book, now)[0].key.clone();
    let later = time("2026-03-01T11:00:05Z");
    book.postpone(&key, later);
    assert_eq!(notes(&mut book, now), []);
    assert_eq!(book.next(now), Some(later));
    assert_eq!(notes(&mut book, later).len(), 1);
}

#[test]
fn a_schedule_that_is_gone_is_not_due() {
    let map = map("a", "* * * * *", json!({}));
    let mut book = book(std::slice::from_ref(&map));
    book.remove(&map);
    assert_eq!(book.count(), (0, 0));
    assert_eq!(notes(&mut book, time("2027-01-01T00:00:00Z")), []);
}
