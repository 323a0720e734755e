//! Steps that make something.

use jiff::{SignedDuration, Timestamp};
use pgo_core::{Cluster, Desired, JobOrder, Step};
use pgo_crd::Pgcluster;
use pgo_ids::InstanceName;
use pgo_tls::LeafSpec;
use rand::{Rng as _, distr::Alphanumeric};

use super::{
    label,
    own::{Present, make},
};
use crate::{call::call, context::Context, error::Error, passwords};

/// How long the agents' certificate is valid.
const CERTIFICATE_LIFE: SignedDuration = SignedDuration::from_hours(24 * 365);

/// Length of a password nobody chose, where `PasswordLength` of `pgo.yaml` is empty: 32 of 62 characters are 190 bits.
const PASSWORD_LENGTH: usize = 32;

/// Carries out one of them.
pub async fn one(
    step: &Step,
    desired: &Desired,
    cluster: &Cluster,
    context: &Context,
) -> Result<(), Error> {
    let (client, uid) = (&context.client, &cluster.stream);
    match step {
        Step::MakeUserSecret(which) => {
            let length = context.config.borrow().cluster.password_length.parse();
            let password = password(length.unwrap_or(PASSWORD_LENGTH));
            let secret = pgo_objects::user_secret(desired, *which, &password);
            make(client, cluster, &secret, Present::Stays).await
        }
        Step::CopyUserSecret { which, from } => {
            let of = (*which, from, &desired.user);
            let name = which.name(from.as_str(), desired.user.as_str());
            let read = passwords::password(client, desired.namespace.as_str(), of);
            let found = call("read", &format!("Secret {name}"), read).await?;
            let password = found.ok_or_else(|| Error::NoPassword(name))?;
            let secret = pgo_objects::user_secret(desired, *which, &password);
            make(client, cluster, &secret, Present::Stays).await
        }
        Step::MakeCertificate => certificate(desired, cluster, context).await,
        Step::MakeAccess => {
            let account = pgo_objects::agent_service_account(desired, uid);
            make(client, cluster, &account, Present::Renewed).await?;
            let role = pgo_objects::agent_role(desired, uid);
            make(client, cluster, &role, Present::Renewed).await?;
            let binding = pgo_objects::agent_role_binding(desired, uid);
            make(client, cluster, &binding, Present::Renewed).await
        }
        Step::MakeLease(first) => {
            let lease = pgo_objects::lease(desired, uid, first);
            make(client, cluster, &lease, Present::Stays).await
        }
        Step::MakeService => {
            let service = pgo_objects::service(desired, uid);
            make(client, cluster, &service, Present::Renewed).await
        }
        Step::MakeReplicaService => {
            let service = pgo_objects::replica_service(desired, uid);
            make(client, cluster, &service, Present::Renewed).await
        }
        Step::MakeReplica(name) => {
            let replica = pgo_objects::replica(desired, uid, name);
            make(client, cluster, &replica, Present::Stays).await
        }
        Step::MakeEndpointSlice(family) => {
            let slice = pgo_objects::endpoint_slice(desired, uid, *family);
            make(client, cluster, &slice, Present::Stays).await
        }
        Step::MakeClaim(instance) => {
            let claim = pgo_objects::claim(desired, instance);
            make(client, cluster, &claim, Present::Stays).await
        }
        Step::MakePod { instance, role } => {
            let mut pod = pgo_objects::pod(desired, uid, (instance, *role), &context.agent_logs);
            label::say(&mut pod, cluster, (instance, *role));
            make(client, cluster, &pod, Present::Stays).await
        }
        Step::MakeProbe { .. } => probe(step, desired, cluster, context).await,
        _ => Ok(()),
    }
}

async fn probe(
    step: &Step,
    desired: &Desired,
    cluster: &Cluster,
    context: &Context,
) -> Result<(), Error> {
    let Step::MakeProbe {
        image,
        operation,
        series,
        node,
    } = step
    else {
        return Ok(());
    };
    let asked = (*operation, series.as_str());
    let pod = pgo_objects::probe(desired, &cluster.stream, image, asked, node.as_deref());
    make(&context.client, cluster, &pod, Present::Stays).await
}

/// Carries out one that makes something of an instance; nothing where nobody wants that instance any more.
pub async fn of_instance(
    (step, instance): (&Step, &InstanceName),
    object: &Pgcluster,
    cluster: &Cluster,
    context: &Context,
) -> Result<(), Error> {
    let status = object.status.clone().map(|status| status.0);
    match cluster.desired_of(&status.unwrap_or_default(), instance) {
        Some(desired) => one(step, &desired, cluster, context).await,
        None => Ok(()),
    }
}

/// Makes the pod in which a backup is tried, from the image that is in force; none where there are to be no backups.
pub async fn drill(
    step: &Step,
    object: &Pgcluster,
    cluster: &Cluster,
    context: &Context,
) -> Result<(), Error> {
    let status = object.status.clone().map(|status| status.0);
    let desired = cluster.desired_repository(&status.unwrap_or_default());
    let (Step::MakeDrill { operation, backup }, Some(desired)) = (step, desired) else {
        return Ok(());
    };
    let asked = (*operation, backup.as_str());
    let pod = pgo_objects::drill(&desired, &cluster.stream, asked, &context.agent_logs);
    make(&context.client, cluster, &pod, Present::Stays).await
}

/// Makes the pod for a benchmark or a load, from the image that is in force.
pub async fn job(
    order: &JobOrder,
    object: &Pgcluster,
    cluster: &Cluster,
    context: &Context,
) -> Result<(), Error> {
    let status = object.status.clone().map(|status| status.0);
    let Some(desired) = cluster.desired_in_force(&status.unwrap_or_default()) else {
        // Nothing is planned to be made of what nobody understands.
        return Ok(());
    };
    let pod = pgo_objects::job_pod(&desired, &cluster.stream, order, &context.agent_logs);
    make(&context.client, cluster, &pod, Present::Stays).await
}

async fn certificate(desired: &Desired, cluster: &Cluster, context: &Context) -> Result<(), Error> {
    let now = Timestamp::now();
    let mut names = desired.certificate_names().into_iter();
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
    make(&context.client, cluster, &secret, Present::Renewed).await
}

fn password(length: usize) -> String {
    rand::rng()
        .sample_iter(Alphanumeric)
        .take(length)
        .map(char::from)
        .collect()
}
