//! Steps that make something.

use jiff::{SignedDuration, Timestamp};
use pgo_core::{Cluster, Desired, Step};
use pgo_tls::LeafSpec;
use rand::{Rng as _, distr::Alphanumeric};

use super::{apply, create};
use crate::{context::Context, error::Error};

/// How long the agents' certificate is valid.
const CERTIFICATE_LIFE: SignedDuration = SignedDuration::from_hours(24 * 365);

/// Length of a password nobody chose: 22 of 62 characters are 131 bits.
const PASSWORD_LENGTH: usize = 22;

/// Carries out one of them.
pub async fn one(
    step: &Step,
    desired: &Desired,
    cluster: &Cluster,
    context: &Context,
) -> Result<(), Error> {
    let uid = &cluster.stream;
    match step {
        Step::MakeUserSecret(which) => {
            let password = password();
            let secret = pgo_objects::user_secret(desired, *which, &password);
            create(desired, context, &secret).await
        }
        Step::MakeCertificate => certificate(desired, cluster, context).await,
        Step::MakeAccess => {
            apply(
                desired,
                context,
                &pgo_objects::agent_service_account(desired, uid),
            )
            .await?;
            apply(desired, context, &pgo_objects::agent_role(desired, uid)).await?;
            let binding = pgo_objects::agent_role_binding(desired, uid);
            apply(desired, context, &binding).await
        }
        Step::MakeLease { first } => {
            create(desired, context, &pgo_objects::lease(desired, uid, first)).await
        }
        Step::MakeService => apply(desired, context, &pgo_objects::service(desired, uid)).await,
        Step::MakeEndpointSlice => {
            create(desired, context, &pgo_objects::endpoint_slice(desired, uid)).await
        }
        Step::MakeClaim(instance) => {
            create(desired, context, &pgo_objects::claim(desired, instance)).await
        }
        Step::MakePod(instance) => {
            let pod = pgo_objects::pod(desired, uid, instance, cluster.generation);
            create(desired, context, &pod).await
        }
        _ => Ok(()),
    }
}

async fn certificate(desired: &Desired, cluster: &Cluster, context: &Context) -> Result<(), Error> {
    let now = Timestamp::now();
    let mut names = pgo_objects::certificate_names(desired).into_iter();
    let spec = LeafSpec {
        identity: names.next().unwrap_or_default(),
        names: names.collect(),
        addresses: Vec::new(),
        life: CERTIFICATE_LIFE,
    };
    let issued = context.authority.issue(&spec, now)?;
    let until = issued.details()?.validity.not_after;
    let secret = pgo_objects::certificate_secret(
        desired,
        &cluster.stream,
        (
            &issued.certificate_pem,
            &issued.key_pem,
            context.authority.certificate_pem(),
        ),
        until,
    );
    apply(desired, context, &secret).await
}

fn password() -> String {
    rand::rng()
        .sample_iter(Alphanumeric)
        .take(PASSWORD_LENGTH)
        .map(char::from)
        .collect()
}
