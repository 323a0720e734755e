//! No event has a secret, whatever its publisher puts in.

use pgo_events::{Datum, Draft, Event, EventType, Field, cloudevent::CloudEvent};
use pgo_ids::{EventKey, Seq};

const SECRET: &str = "hunter2-of-alice";

pub fn event(event_type: EventType, fill: impl Fn(Field) -> Datum) -> Event {
    let draft = Draft {
        event_type,
        time: "2026-10-15T10:11:12.5Z".parse().expect("a time"),
        namespace: "pgouser1".parse().expect("a namespace"),
        cluster: Some("hippo".parse().expect("a name")),
        operation: "25927091-b343-4017-be4b-71575f0b3eb5"
            .parse()
            .expect("an id"),
        actor: "pgoadmin".to_owned(),
        step: None,
        cause: Some("no disk".to_owned()),
        duration_ms: Some(4260),
        details: Field::ALL
            .iter()
            .map(|field| (*field, fill(*field)))
            .collect(),
    };
    let stream = "uid-1".parse().expect("a stream");
    Event::new(
        draft,
        EventKey {
            stream,
            seq: Seq(7),
        },
    )
}

#[test]
fn a_password_that_a_publisher_gives_is_in_no_event_of_any_type() {
    for event_type in EventType::ALL {
        let event = event(*event_type, |field| match field {
            Field::PostgresPassword => SECRET.into(),
            _ => "x".into(),
        });
        let wire = String::from_utf8(event.to_wire().expect("JSON")).expect("UTF-8");
        assert!(!wire.contains(SECRET), "{event_type}: {wire}");
        if event_type.about().fields.contains(&Field::PostgresPassword) {
            assert!(wire.contains("\"postgrespassword\": \"\""), "{wire}");
        }
    }
}

/// Whatever is told in any text of any type, in the envelope and as a CloudEvent of both modes.
#[test]
fn a_secret_that_a_cause_repeats_is_in_no_event_of_any_type() {
    let said = format!("cannot connect to postgres://alice:{SECRET}@hippo/userdb");
    for event_type in EventType::ALL {
        let draft = Draft {
            event_type: *event_type,
            time: "2026-10-15T10:11:12.5Z".parse().expect("a time"),
            namespace: "pgouser1".parse().expect("a namespace"),
            cluster: Some("hippo".parse().expect("a name")),
            operation: "25927091-b343-4017-be4b-71575f0b3eb5"
                .parse()
                .expect("an id"),
            actor: format!("alice, token={SECRET}"),
            step: Some(format!("psql password='{SECRET}'")),
            cause: Some(said.clone()),
            duration_ms: None,
            details: Field::ALL
                .iter()
                .map(|field| (*field, said.as_str().into()))
                .collect(),
        };
        let stream = "uid-1".parse().expect("a stream");
        let event = Event::new(
            draft,
            EventKey {
                stream,
                seq: Seq(1),
            },
        );
        let wire = String::from_utf8(event.to_wire().expect("JSON")).expect("UTF-8");
        let cloud_event = CloudEvent::of(&event).expect("a CloudEvent");
        let structured = cloud_event.to_structured().to_string();
        let binary = format!("{:?}", cloud_event.to_binary());
        for told in [wire, structured, binary] {
            assert!(!told.contains(SECRET), "{event_type}: {told}");
            assert!(told.contains("alice"), "{event_type}: {told}");
        }
    }
}

#[test]
fn no_field_is_named_like_a_secret_but_the_empty_one() {
    let secret_words = [
        "password",
        "secret",
        "token",
        "credential",
        "privatekey",
        "passwd",
    ];
    for field in Field::ALL {
        let name = field.as_str().to_lowercase();
        let suspicious = secret_words.iter().any(|word| name.contains(word));
        assert_eq!(suspicious, *field == Field::PostgresPassword, "{field}");
    }
}
