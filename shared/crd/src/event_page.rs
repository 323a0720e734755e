//! PgEventPage: events that have no room in a status, or whose object is gone, until the event service has them.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Events, copied out of an outbox that had no room, or whose object could not wait. Named `<stream>-<first seq>`, so that copying again makes
/// no second one.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, CustomResource, JsonSchema,
)]
#[kube(
    group = "crunchydata.com",
    version = "v1",
    kind = "PgEventPage",
    plural = "pgeventpages",
    singular = "pgeventpage",
    namespaced,
    doc = "Events that have no room in a status, or whose object is gone, waiting to be stored",
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(default)]
pub struct PgEventPageSpec {
    /// The stream.
    pub stream: String,
    /// The events, each as its JSON.
    pub events: Vec<String>,
}
