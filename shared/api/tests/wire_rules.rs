//! The rules of Go's decoder, for any content.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "test code; helpers are not seen as such"
)]

use std::collections::BTreeMap;

use pgo_api::{
    ClusterTestResponse, Code, CreateClusterRequest, CreateClusterResponse, DeleteClusterResponse,
    EventsQuery, Outcome, RequestHead, Response, Secret, ShowClusterRequest, ShowClusterResponse,
    StatusDetail, StatusResponse, StreamLine, VersionResponse,
};
use proptest::prelude::*;
use serde_json::{Value, json};

fn create_requests() -> impl Strategy<Value = CreateClusterRequest> {
    (
        any::<[String; 4]>(),
        any::<String>(),
        any::<[i64; 2]>(),
        any::<[bool; 3]>(),
    )
        .prop_map(
            |([name, namespace, labels, tag], password, numbers, flags)| CreateClusterRequest {
                name,
                namespace,
                user_labels: labels,
                ccp_image_tag: tag,
                password: Secret::from(password),
                series: numbers[0],
                replica_count: numbers[1],
                metrics_flag: flags[0],
                autofail_flag: flags[1],
                pgpool_flag: flags[2],
                ..CreateClusterRequest::default()
            },
        )
}

/// The object with each name's letters in random case.
fn in_random_case(value: &Value, upper: &[bool]) -> Value {
    let mut upper = upper.iter().cycle();
    let fields = value.as_object().unwrap().iter().map(|(name, value)| {
        let name: String = name
            .chars()
            .map(|c| {
                if *upper.next().unwrap() {
                    c.to_ascii_uppercase()
                } else {
                    c.to_ascii_lowercase()
                }
            })
            .collect();
        (name, value.clone())
    });
    Value::Object(fields.collect())
}

proptest! {
    #[test]
    fn a_request_is_read_as_it_was_written_in_any_case(
        request in create_requests(),
        upper in prop::collection::vec(any::<bool>(), 1..40),
    ) {
        let written = serde_json::to_value(&request).unwrap();
        let read: CreateClusterRequest = serde_json::from_value(in_random_case(&written, &upper)).unwrap();
        prop_assert_eq!(read, request);
    }

    #[test]
    fn unknown_fields_change_nothing(request in create_requests(), name in "[a-z]{1,12}x", number in any::<i32>()) {
        let mut written = serde_json::to_value(&request).unwrap();
        written[name] = json!({ "nested": [number, null] });
        prop_assert_eq!(serde_json::from_value::<CreateClusterRequest>(written).unwrap(), request);
    }

    #[test]
    fn a_status_is_read_as_it_was_written(
        tags in prop::collection::btree_map(any::<String>(), any::<i64>(), 0..4),
        not_ready in prop::collection::vec(any::<String>(), 0..4),
        msg in any::<String>(),
    ) {
        let status = StatusResponse {
            result: StatusDetail { db_tags: tags, not_ready, ..StatusDetail::default() },
            outcome: Outcome::error(msg),
        };
        let text = serde_json::to_string(&status).unwrap();
        prop_assert_eq!(serde_json::from_str::<StatusResponse>(&text).unwrap(), status);
    }

    #[test]
    fn a_line_of_the_event_stream_is_read_as_it_was_written(cursor in any::<String>(), text in any::<String>()) {
        for line in [
            StreamLine::KeepAlive,
            StreamLine::CaughtUp { cursor: cursor.clone() },
            StreamLine::Event { cursor, event: json!({ "clustername": text }) },
            StreamLine::Cut { text: text.clone() },
            StreamLine::Refused { why: text },
        ] {
            let written = line.to_line();
            prop_assert_eq!(written.matches('\n').count(), 1);
            prop_assert_eq!(StreamLine::parse(&written).unwrap(), line);
        }
    }

    #[test]
    fn a_query_holds_only_characters_that_need_no_escape(cursor in any::<String>(), topic in any::<String>()) {
        let query = EventsQuery { topic, cursor: Some(cursor), ..EventsQuery::default() }.to_query();
        prop_assert!(query.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~%=&".contains(&b)));
    }
}

#[test]
fn missing_and_null_fields_take_the_zero_value() {
    let read: CreateClusterRequest =
        serde_json::from_str(r#"{"Name":"hippo","Namespace":null,"Series":null}"#).unwrap();
    assert_eq!(
        read,
        CreateClusterRequest {
            name: "hippo".into(),
            ..Default::default()
        }
    );
    let read: ClusterTestResponse =
        serde_json::from_str(r#"{"Results":[{"Items":null}],"Code":"ok"}"#).unwrap();
    assert_eq!(read.results[0].items, []);
    assert_eq!(read.outcome.code, Code::Ok);
    let read: ShowClusterResponse =
        serde_json::from_str(r#"{"results":[{"pods":[{"pvcname":null}]}],"code":"error"}"#)
            .unwrap();
    assert_eq!(read.results[0].pods[0].pvc_name, BTreeMap::new());
    assert_eq!(read.outcome.code, Code::Error);
}

#[test]
fn the_outcome_stands_beside_the_fields() {
    let text = serde_json::to_string(&VersionResponse::current()).unwrap();
    assert_eq!(
        text,
        r#"{"Version":"4.1.0","Code":"ok","Msg":"apiserver version"}"#
    );
}

#[test]
fn empty_results_are_null_or_a_list_where_4_1_has_them_so() {
    let written = |value: Value| value.to_string();
    let of = |response| written(serde_json::to_value::<CreateClusterResponse>(response).unwrap());
    assert_eq!(
        of(CreateClusterResponse::refused("no")),
        r#"{"Code":"error","Msg":"no","Results":null}"#
    );
    assert_eq!(
        of(CreateClusterResponse::failed("no")),
        r#"{"Code":"error","Msg":"no","Results":[]}"#
    );
    assert_eq!(
        written(serde_json::to_value(DeleteClusterResponse::refused("no")).unwrap()),
        r#"{"Code":"error","Msg":"no","Results":[]}"#
    );
}

#[test]
fn only_the_code_error_is_a_failure() {
    for (code, failure) in [
        ("ok", None),
        ("", None),
        ("odd", None),
        ("error", Some("why")),
    ] {
        let outcome: Outcome =
            serde_json::from_value(json!({ "Code": code, "Msg": "why" })).unwrap();
        assert_eq!(outcome.failure(), failure);
    }
}

#[test]
fn a_field_of_the_wrong_type_is_an_error_that_names_the_type_wanted() {
    let error = serde_json::from_str::<ShowClusterRequest>(r#"{"AllFlag":"yes"}"#).unwrap_err();
    assert!(error.to_string().contains("boolean"), "{error}");
}

#[test]
fn the_head_is_read_from_any_request() {
    let body = serde_json::to_string(&CreateClusterRequest {
        name: "hippo".into(),
        namespace: "pgouser1".into(),
        client_version: "4.0.0".into(),
        ..CreateClusterRequest::default()
    })
    .unwrap();
    let head: RequestHead = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (head.client_version.as_str(), head.namespace.as_str()),
        ("4.0.0", "pgouser1")
    );
}

#[test]
fn a_password_is_not_shown() {
    let request = CreateClusterRequest {
        password: Secret::from("datalake".to_owned()),
        ..CreateClusterRequest::default()
    };
    assert!(!format!("{request:?}").contains("datalake"));
}

#[test]
fn a_line_that_is_no_event_says_so() {
    assert!(
        StreamLine::parse("<html>")
            .unwrap_err()
            .to_string()
            .contains("not JSON")
    );
    assert!(
        StreamLine::parse("{}")
            .unwrap_err()
            .to_string()
            .contains("neither")
    );
}
