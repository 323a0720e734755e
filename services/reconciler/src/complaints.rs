//! What Kubernetes complains of, in its own Events about an object.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use kube::{Api, Client, api::ListParams};

/// How long Kubernetes may take to say what it complained of.
const DEADLINE: Duration = Duration::from_secs(5);

/// The Events about the object of this uid; none where they cannot be read now.
pub async fn about(uid: &str, namespace: &str, client: &Client) -> Vec<Event> {
    let api: Api<Event> = Api::namespaced(client.clone(), namespace);
    let about = ListParams::default().fields(&format!("involvedObject.uid={uid}"));
    match tokio::time::timeout(DEADLINE, api.list(&about)).await {
        Ok(Ok(events)) => events.items,
        Ok(Err(error)) => {
            tracing::warn!(uid, %error, "cannot read what Kubernetes says of an object");
            Vec::new()
        }
        Err(_) => {
            tracing::warn!(uid, "no answer to what Kubernetes says of an object");
            Vec::new()
        }
    }
}

/// What was complained of last, whatever was said since: provisioners say both at each try.
pub fn last(events: &[Event]) -> Option<String> {
    let warnings = events.iter().filter(|event| is_warning(event));
    warnings.max_by_key(|event| when(event)).map(text)
}

/// What is complained of and was not followed by anything better. What happens within one second has no order, so that a
/// complaint counts only once it lasts.
pub fn standing(events: &[Event]) -> Option<String> {
    let order = |event: &&Event| {
        let second = when(event).map(Timestamp::as_second);
        (second, !is_warning(event))
    };
    let newest = events.iter().max_by_key(order)?;
    is_warning(newest).then(|| text(newest))
}

/// A warning that something is wrong which does not pass by itself. Two are none: a readiness probe says no until PostgreSQL
/// is up, and a kubelet with much to do has not read a Secret or ConfigMap yet, which it calls a failure.
fn is_warning(event: &Event) -> bool {
    let message = event.message.as_deref().unwrap_or_default();
    event.type_.as_deref() == Some("Warning")
        && event.reason.as_deref() != Some("Unhealthy")
        && !message.contains("failed to sync secret cache")
        && !message.contains("failed to sync configmap cache")
}

/// When it happened last. Which of these there is depends on who tells.
fn when(event: &Event) -> Option<Timestamp> {
    let series = event.series.as_ref();
    series
        .and_then(|series| Some(series.last_observed_time.as_ref()?.0))
        .or_else(|| Some(event.last_timestamp.as_ref()?.0))
        .or_else(|| Some(event.event_time.as_ref()?.0))
        .or_else(|| Some(event.first_timestamp.as_ref()?.0))
        .or_else(|| Some(event.metadata.creation_timestamp.as_ref()?.0))
}

fn text(event: &Event) -> String {
    let message = event.message.as_deref().unwrap_or_default();
    match event.reason.as_deref() {
        Some(reason) => format!("{reason}: {message}"),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(kind: &str, at: &str, message: &str) -> Event {
        let event = json!({
            "metadata": {}, "involvedObject": {}, "type": kind, "reason": "Reason", "message": message,
            "lastTimestamp": at,
        });
        serde_json::from_value(event).expect("an Event")
    }

    const FIRST: &str = "2026-10-15T10:11:12Z";
    const LATER: &str = "2026-10-15T10:11:13Z";

    #[test]
    fn a_complaint_stands_until_something_better_is_said() {
        let complaint = event("Warning", LATER, "no ConfigMap");
        let events = [event("Normal", FIRST, "placed"), complaint.clone()];
        assert_eq!(standing(&events).as_deref(), Some("Reason: no ConfigMap"));
        let events = [complaint, event("Normal", LATER, "pulling")];
        assert_eq!(standing(&events), None);
        assert_eq!(last(&events).as_deref(), Some("Reason: no ConfigMap"));
        assert_eq!(standing(&[]), None);
    }

    #[test]
    fn what_passes_by_itself_is_no_complaint() {
        let mut probe = event("Warning", LATER, "HTTP probe failed with statuscode: 503");
        probe.reason = Some("Unhealthy".to_owned());
        let busy =
            "MountVolume.SetUp failed for volume \"tls\" : failed to sync secret cache: timed out";
        let events = [probe, event("Warning", LATER, busy)];
        assert_eq!(standing(&events), None);
        assert_eq!(last(&events), None);
    }

    #[test]
    fn the_newest_complaint_is_told_whatever_field_its_time_is_in() {
        let mut scheduler = event("Warning", FIRST, "newest");
        scheduler.last_timestamp = None;
        scheduler.event_time =
            serde_json::from_value(json!("2026-10-15T10:11:14.000000Z")).expect("a time");
        let events = [scheduler, event("Warning", LATER, "older")];
        assert_eq!(last(&events).as_deref(), Some("Reason: newest"));
    }
}
