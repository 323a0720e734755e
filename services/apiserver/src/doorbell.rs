//! What is rung when an object is stored, and by what: NSQ, where there is one. No request waits for it.

use std::sync::Arc;

use anyhow::Context as _;
use kube::{Resource, ResourceExt as _};
use pgo_bus::{Bell, Doorbell, Doorbells, Doorman, Kind};
use pgo_ids::OperationId;
use pgo_tls::TlsFiles;

use crate::Settings;

/// How the channels of apiservers begin.
const ROLE: &str = "apiserver";

/// The bell, and what is heard of other bells. Without nsqd nothing is heard.
pub(crate) fn begin(
    settings: &Settings,
    files: &Arc<TlsFiles>,
) -> anyhow::Result<(Bell, Doorbells)> {
    let doorbells = Doorbells::default();
    if settings.event_addr.is_empty() || settings.disable_eventing == "true" {
        return Ok((Bell::off(), doorbells));
    }
    let files = files.clone();
    let tls = nsq::TlsConfig::source(move || files.client_config());
    let nsqd = pgo_bus::server(&settings.event_addr, tls).context("EVENT_ADDR")?;
    // First the channel: a topic without one keeps what is rung.
    let doorman = Doorman::at(nsqd.clone(), ROLE)?;
    tokio::spawn(doorbells.clone().hear(doorman));
    Ok((Bell::on(nsqd)?, doorbells))
}

/// What is rung for an object as it was stored.
pub(crate) fn doorbell(
    kind: Kind,
    object: &impl Resource,
    operation: Option<OperationId>,
) -> Doorbell {
    Doorbell {
        kind,
        namespace: object.namespace().unwrap_or_default(),
        name: object.name_any(),
        uid: object.uid().unwrap_or_default(),
        resource_version: object.resource_version().unwrap_or_default(),
        operation,
    }
}
