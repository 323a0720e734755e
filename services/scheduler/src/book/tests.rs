use serde_json::json;

use super::*;

fn time(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

fn map(name: &str, timetable: &str, annotations: serde_json::Value) -> ConfigMap {
    let schedule = json!({
        "version": "v1", "cluster": "hippo", "namespace": "pgouser1", "schedule": timetable, "type": "policy",
        "policy": {"name": "p", "database": "d"},
    });
    serde_json::from_value(json!({
        "metadata": {
            "name": name, "namespace": "pgouser1", "resourceVersion": "7",
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

#[test]
fn nothing_is_due_before_its_time_and_it_is_known_when_that_is() {
    let book = book(&[map("a", "0 11 * * *", json!({}))]);
    let now = time("2026-03-01T10:59:59Z");
    assert_eq!(book.notes(now), []);
    assert_eq!(book.next(now), Some(time("2026-03-01T11:00:00Z")));
    assert_eq!(book.count(), (1, 0));
}

#[test]
fn a_run_that_is_due_is_noted_with_time_and_reason_for_the_version_that_was_read() {
    let book = book(&[map("a", "0 11 * * *", json!({}))]);
    let notes = book.notes(time("2026-03-01T11:00:00Z"));
    assert_eq!(notes.len(), 1);
    assert_eq!(notes[0].version, "7");
    assert_eq!(
        notes[0].annotations.get(LAST_SKIPPED),
        Some(&Some(
            "2026-03-01T11:00:00Z this version of PGO cannot run policy yet".to_owned()
        ))
    );
}

#[test]
fn what_is_noted_is_not_due_again_after_a_restart() {
    let skipped =
        json!({LAST_SKIPPED: "2026-03-01T11:00:00Z this version of PGO cannot run policy yet"});
    let book = book(&[map("a", "0 11 * * *", skipped)]);
    let now = time("2026-03-01T11:00:01Z");
    assert_eq!(book.notes(now), []);
    assert_eq!(book.next(now), Some(time("2026-03-02T11:00:00Z")));
}

#[test]
fn runs_that_nobody_was_there_for_are_counted() {
    let book = book(&[map("a", "0 * * * *", json!({}))]);
    let notes = book.notes(time("2026-03-01T13:30:00Z"));
    let About::Skipped {
        due, runs, reason, ..
    } = &notes[0].about
    else {
        panic!("{notes:?}");
    };
    assert_eq!((*due, *runs), (time("2026-03-01T13:00:00Z"), 3));
    assert!(reason.contains("2 earlier runs were missed"), "{reason}");
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
    let notes = book(&[changed]).notes(time("2026-03-01T14:00:00Z"));
    let About::Skipped { runs, .. } = &notes[0].about else {
        panic!("{notes:?}");
    };
    assert_eq!(*runs, 2);
}

#[test]
fn a_wrong_schedule_is_told_once_and_untold_when_it_is_right() {
    let now = time("2026-03-01T10:01:00Z");
    let wrong = book(&[map("a", "0 77 * * *", json!({}))]);
    let notes = wrong.notes(now);
    let About::Wrong(reason) = &notes[0].about else {
        panic!("{notes:?}");
    };
    assert!(reason.starts_with("schedule: \"0 77 * * *\""), "{reason}");
    assert_eq!(
        notes[0].annotations.get(SCHEDULE_ERROR),
        Some(&Some(reason.clone()))
    );
    assert_eq!(wrong.count(), (1, 1));
    assert_eq!(wrong.next(now), None);

    let told = json!({SCHEDULE_ERROR: reason});
    assert_eq!(book(&[map("a", "0 77 * * *", told.clone())]).notes(now), []);
    let mended = book(&[map("a", "0 7 * * *", told)]).notes(now);
    assert_eq!(mended[0].about, About::Mended);
    assert_eq!(mended[0].annotations.get(SCHEDULE_ERROR), Some(&None));
}

#[test]
fn a_schedule_whose_note_could_not_be_written_waits() {
    let mut book = book(&[map("a", "0 11 * * *", json!({}))]);
    let now = time("2026-03-01T11:00:00Z");
    let key = book.notes(now)[0].key.clone();
    let later = time("2026-03-01T11:00:05Z");
    book.postpone(&key, later);
    assert_eq!(book.notes(now), []);
    assert_eq!(book.next(now), Some(later));
    assert_eq!(book.notes(later).len(), 1);
}

#[test]
fn a_schedule_that_is_gone_is_not_due() {
    let map = map("a", "* * * * *", json!({}));
    let mut book = book(std::slice::from_ref(&map));
    book.remove(&map);
    assert_eq!(book.count(), (0, 0));
    assert_eq!(book.notes(time("2027-01-01T00:00:00Z")), []);
}
