//! PGO itself: the one PgInstallation, its status and the events of its start and stop, and of its services.

mod certificates;
mod policies;
mod ready;
mod services;

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use certificates::Certificates;
use jiff::Timestamp;
use kube::{
    Api, Client, ResourceExt as _,
    api::{Patch, PatchParams, PostParams},
};
use pgo_core::installation::{
    Installation, InstallationStatus, Wanted, commit, policies::PolicyFacts,
};
use pgo_crd::{PGO_VERSION, PgInstallation, PgInstallationStatus, PgoConfig};
use pgo_ids::{Namespace, OperationId, StreamId};
use serde_json::json;
use tokio::{
    sync::{Notify, watch},
    time::timeout,
};

pub use certificates::CERTIFICATES;
pub use policies::Namespaces;
pub use ready::{ReadyUrl, Services, named_url};
pub use services::OTHERS;

use crate::publishing::Publishing;

/// Name of the one PgInstallation.
const NAME: &str = "pgo";

/// How often it is looked at, besides at a confirmation.
const LOOK: Duration = Duration::from_secs(2);

/// How long one look may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// Keeps the status of the PgInstallation.
pub struct Keeper {
    client: Client,
    namespace: Namespace,
    services: Services,
    certificates: Certificates,
    namespaces: Namespaces,
    publishing: Publishing,
    config: watch::Receiver<Arc<PgoConfig>>,
    /// Whether nobody reconciled before this process.
    was_down: bool,
    /// Rung when an event of it was confirmed.
    confirmed: Arc<Notify>,
}

impl Keeper {
    /// A keeper that has not looked yet.
    pub fn new(
        client: Client,
        (namespace, namespaces): (Namespace, Namespaces),
        services: Services,
        publishing: Publishing,
        (config, was_down): (watch::Receiver<Arc<PgoConfig>>, bool),
    ) -> Self {
        Self {
            certificates: Certificates::of(&client, namespace.as_str()),
            client,
            namespace,
            namespaces,
            services,
            publishing,
            config,
            was_down,
            confirmed: Arc::default(),
        }
    }

    /// Looks for ever. What fails is logged and tried again with the next look.
    pub async fn run(mut self) {
        loop {
            match timeout(DEADLINE, self.look()).await {
                Ok(Ok(())) => self.was_down = false,
                Ok(Err(error)) => {
                    tracing::warn!(
                        error = format!("{error:#}"),
                        "cannot keep PgInstallation pgo"
                    );
                }
                Err(_) => tracing::warn!("the API server did not answer about PgInstallation pgo"),
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = self.confirmed.notified() => {}
            }
        }
    }

    async fn look(&mut self) -> anyhow::Result<()> {
        let api: Api<PgInstallation> =
            Api::namespaced(self.client.clone(), self.namespace.as_str());
        let object = self.object(&api).await?;
        let stream: StreamId = object
            .uid()
            .unwrap_or_default()
            .parse()
            .context("the PgInstallation has no uid")?;
        let services = self.services.look().await?;
        let processes = services::processes(&self.client, self.namespace.as_str()).await?;
        let wanted = match object.spec.state.as_str() {
            "Stopped" => Wanted::Stopped,
            _ => Wanted::Running,
        };
        let config = config_id(&stream, &self.config.borrow())?;
        let installation = Installation {
            config,
            namespace: self.namespace.clone(),
            generation: object.metadata.generation.unwrap_or(0),
            at_work: match wanted {
                Wanted::Stopped => self.services.at_work(&processes).await?,
                Wanted::Running => Vec::new(),
            },
            wanted,
            version: PGO_VERSION.to_owned(),
            not_ready: services.not_ready,
            reduced: services.reduced,
            was_down: self.was_down,
            processes,
            leases: services::leases(&self.client, self.namespace.as_str()).await?,
            certificates: self.certificates.look().await,
            policies: self.policies().await,
            stream: stream.clone(),
        };
        let status = object
            .status
            .clone()
            .map(|status| status.0)
            .unwrap_or_default();
        let eventing = self.publishing.eventing(&stream);
        let mut next = commit(&status, &installation, eventing, Timestamp::now());
        let outbox = &mut next.journal.outbox;
        let written = status.journal.outbox.last;
        self.publishing.make_room(&stream, outbox, written).await;
        if next != status {
            self.write(&api, object, &next).await?;
        }
        let policies = installation.policies.as_deref().unwrap_or_default();
        if let Err(error) = policies::mark(&self.client, policies, &next).await {
            let error = format!("{error:#}");
            tracing::warn!(error, "policies are marked later");
        }
        let confirmed = self.confirmed.clone();
        let wake = move || confirmed.notify_one();
        let outbox = &next.journal.outbox;
        self.publishing.offer(&stream, outbox, wake).await;
        Ok(())
    }

    /// The policies; none where they cannot be read now.
    async fn policies(&self) -> Option<Vec<PolicyFacts>> {
        let looked = policies::look(&self.client, &self.namespaces).await;
        let complain = |error: &anyhow::Error| {
            let error = format!("{error:#}");
            tracing::warn!(error, "what was done with policies is told later");
        };
        looked.inspect_err(complain).ok()
    }

    /// The PgInstallation; made where there is none.
    async fn object(&self, api: &Api<PgInstallation>) -> anyhow::Result<PgInstallation> {
        if let Some(object) = api.get_opt(NAME).await.context("read PgInstallation pgo")? {
            return Ok(object);
        }
        let new = json!({
            "apiVersion": "crunchydata.com/v1", "kind": "PgInstallation",
            "metadata": {"name": NAME}, "spec": {"state": "Running"},
        });
        let parameters = PatchParams::apply("pgo-reconciler");
        api.patch(NAME, &parameters, &Patch::Apply(&new))
            .await
            .context("make PgInstallation pgo")
    }

    async fn write(
        &self,
        api: &Api<PgInstallation>,
        mut object: PgInstallation,
        next: &InstallationStatus,
    ) -> anyhow::Result<()> {
        object.status = Some(PgInstallationStatus(next.clone()));
        api.replace_status(NAME, &PostParams::default(), &object)
            .await
            .context("write the status of PgInstallation pgo")?;
        Ok(())
    }
}

/// Tells what a `pgo.yaml` says from what another one does. A password is no part of it: who has the id could try.
fn config_id(stream: &StreamId, config: &PgoConfig) -> anyhow::Result<OperationId> {
    let mut config = config.clone();
    config.cluster.pgmonitor_password.clear();
    let text = serde_json::to_string(&config).context("tell pgo.yaml from its former state")?;
    Ok(OperationId::derived(stream, &text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_told_from_another_one_but_not_by_its_password() {
        let stream: StreamId = "uid-1".parse().expect("a stream");
        let id = |config: &PgoConfig| config_id(&stream, config).expect("an id");
        let mut config = PgoConfig::default();
        let before = id(&config);
        config.cluster.pgmonitor_password = "secret".to_owned();
        assert_eq!(id(&config), before);
        config.cluster.ccp_image_tag = "debian12-16".to_owned();
        assert_ne!(id(&config), before);
    }
}
