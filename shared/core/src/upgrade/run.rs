//! An upgrade from its request to its end, each step only after the one before has succeeded.

use jiff::{SignedDuration, Timestamp};
use pgo_events::{Datum, Field};
use pgo_ids::{InstanceName, OperationId};

use super::{
    Found, Upgrade, UpgradeRequest, UpgradeStage,
    hand_over::{begin_change, handed_over, hands_over, is_followed},
    instances,
    request::{self, Verdict},
    trouble_beside, trouble_of,
};
use crate::{
    Cluster, ClusterStatus, Image, Kind, Observed, Operation, Outcome, Problem,
    journal::{Details, Of},
    wal,
};

/// How long a probe may take: the image is pulled in that time.
const PROBE_DEADLINE: SignedDuration = SignedDuration::from_mins(5);

/// How long the instances may take until all are well, before the next one is touched and after its pod was replaced:
/// what a replica has missed is streamed in that time, and what a primary has not written to its files yet is recovered.
pub(super) const INSTANCE_DEADLINE: SignedDuration = SignedDuration::from_mins(10);

/// How long the primary waits before it hands over after the last replica has come back. An agent that has just started does
/// not vote for T·(1+ρ) = 2.02 s, and the primary has to have its grant and to know where it is.
const SETTLED: SignedDuration = SignedDuration::from_secs(6);

/// How long an agent may say that PostgreSQL fails before that counts: a replica fails while its primary changes.
const AGENT_GRACE: SignedDuration = SignedDuration::from_secs(60);

/// The operation of the whole.
const UPGRADE: Of<'static> = (Kind::UpgradeCluster, None);

/// Takes up what is asked for, and goes on with what goes on.
pub(crate) fn commit(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    now: Timestamp,
) {
    take_up(next, cluster, observed, now);
    while advance(next, cluster, observed, now) {}
}

/// The cluster goes: its upgrade ends with it.
pub(crate) fn break_off(next: &mut ClusterStatus, cluster: &Cluster, now: Timestamp) {
    if next.upgrading().is_some() {
        let cause = "the cluster was deleted before".to_owned();
        fail(next, cluster, (cause, Vec::new()), now);
    }
}

fn take_up(next: &mut ClusterStatus, cluster: &Cluster, observed: &Observed, now: Timestamp) {
    for request in request::unanswered(next, cluster) {
        if !cluster.has_room(&next.journal) {
            return;
        }
        if let Some(running) = next.upgrading() {
            let cause = format!(
                "another upgrade is going on, to image {}; wait for its end, then ask again",
                running.image.0
            );
            refuse(next, cluster, (observed, &request), cause, now);
        } else if !answer(next, cluster, observed, &request, now) {
            return;
        }
    }
    if next.upgrading().is_some() {
        return;
    }
    let of_spec = request::of_spec(next, cluster);
    let is_answered = of_spec
        .as_ref()
        .is_none_or(|request| answer(next, cluster, observed, request, now));
    if let Some(images) = next
        .images
        .as_mut()
        .filter(|_| is_answered && cluster.desired.is_ok())
    {
        images.said.clone_from(&cluster.image_said);
    }
}

/// Begins or refuses what is asked for; false where that cannot be told yet.
fn answer(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    request: &UpgradeRequest,
    now: Timestamp,
) -> bool {
    let verdict = request::judge(request, next, cluster, observed, now);
    match verdict {
        Verdict::Later => return false,
        Verdict::Refused(cause) => refuse(next, cluster, (observed, request), cause, now),
        Verdict::Begin(image, former_version) => {
            let cause = format!(
                "from PostgreSQL {former_version} to what image {} holds",
                image.0
            );
            let operation = Operation::begun(
                UPGRADE,
                request.operation,
                &request.actor,
                cluster.generation,
                now,
            );
            let primary = wal::primary_and_timeline(observed);
            next.journal
                .begin_with(cluster.subject(), operation, Some(cause), primary);
            next.upgrade = Some(Upgrade {
                operation: request.operation,
                image,
                version: String::new(),
                former_version,
                stage: UpgradeStage::Probing,
                since: now,
            });
        }
    }
    true
}

fn refuse(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    (observed, request): (&Observed, &UpgradeRequest),
    cause: String,
    now: Timestamp,
) {
    let operation = Operation::begun(
        UPGRADE,
        request.operation,
        &request.actor,
        cluster.generation,
        now,
    );
    let primary = wal::primary_and_timeline(observed);
    next.journal
        .refuse_with(cluster.subject(), operation, (&cause, &primary), now);
}

/// One step of the upgrade that goes on; whether there was one.
fn advance(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    now: Timestamp,
) -> bool {
    let Some(upgrade) = next.upgrading().cloned() else {
        return false;
    };
    let took = now.duration_since(upgrade.since);
    if let Some(cause) = cluster.cancelled(upgrade.operation)
        && can_stop(next, cluster, observed, &upgrade)
    {
        fail(
            next,
            cluster,
            (cause, wal::primary_and_timeline(observed)),
            now,
        );
        return true;
    }
    match &upgrade.stage {
        UpgradeStage::Probing => probed(next, cluster, observed, &upgrade, now),
        UpgradeStage::Choosing => {
            let Some(instance) = candidate(next, cluster, observed, &upgrade.image) else {
                complete(next, cluster, observed, &upgrade, now);
                return true;
            };
            match trouble_beside(Some(&instance), next, cluster, observed) {
                None if hands_over(next, cluster, observed, &instance) => {
                    if took < SETTLED {
                        return false;
                    }
                    begin_change(next, cluster, observed, &instance, now);
                }
                None => {
                    let in_place = is_followed(next, cluster, observed, &instance);
                    begin_instance(next, cluster, observed, (&instance, in_place), now);
                }
                Some(trouble) if took >= INSTANCE_DEADLINE => {
                    fail(
                        next,
                        cluster,
                        (trouble, wal::primary_and_timeline(observed)),
                        now,
                    );
                }
                Some(_) => return false,
            }
            true
        }
        UpgradeStage::Replacing {
            instance,
            pod,
            former,
            in_place,
        } => {
            let of = (instance, pod.as_str(), former, *in_place);
            replaced(next, cluster, observed, &upgrade, of, now)
        }
        UpgradeStage::HandingOver {
            instance,
            operation,
        } => handed_over(next, cluster, observed, (instance, *operation), took, now),
        UpgradeStage::Completed | UpgradeStage::Failed { .. } => false,
    }
}

/// Whether no instance has its turn now, and some are left.
fn can_stop(
    status: &ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    upgrade: &Upgrade,
) -> bool {
    match upgrade.stage {
        UpgradeStage::Probing => true,
        UpgradeStage::Choosing => candidate(status, cluster, observed, &upgrade.image).is_some(),
        _ => false,
    }
}

/// What the probe of the new image has found.
fn probed(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    upgrade: &Upgrade,
    now: Timestamp,
) -> bool {
    let probe = observed.probe.as_ref();
    let probe = probe.filter(|probe| probe.operation == upgrade.operation.to_string());
    let is_late = now.duration_since(upgrade.since) >= PROBE_DEADLINE;
    let image = &upgrade.image.0;
    let refused = match probe.map(|probe| &probe.found) {
        Some(Found::Version(told)) => {
            match request::fits((&upgrade.image, told), next, cluster, observed) {
                Ok(version) => {
                    let text = format!("image {image} holds PostgreSQL {version}");
                    if let Some(upgrade) = &mut next.upgrade {
                        upgrade.version = version.to_string();
                        upgrade.stage = UpgradeStage::Choosing;
                        upgrade.since = now;
                    }
                    tell(next, cluster, observed, &text, now);
                    return true;
                }
                Err(why) => why,
            }
        }
        Some(Found::Unusable(why)) => format!("image {image} cannot be used: {why}"),
        Some(Found::Nothing(why)) if is_late => {
            let why = why
                .as_deref()
                .map(|why| format!(": {why}"))
                .unwrap_or_default();
            format!(
                "image {image} did not tell its version within {} min{why}",
                PROBE_DEADLINE.as_mins()
            )
        }
        None if is_late => format!("no pod could be made to ask image {image} for its version"),
        _ => return false,
    };
    let silent = crate::silence::is_brief(observed, now);
    if silent && !is_late {
        return false;
    }
    let cause = format!("{refused}; nothing was changed");
    fail(
        next,
        cluster,
        (cause, wal::primary_and_timeline(observed)),
        now,
    );
    true
}

/// The instance whose turn it is: replicas by name, then the primary.
fn candidate(
    status: &ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    image: &Image,
) -> Option<InstanceName> {
    let primary = observed
        .serving_primary()
        .or(status.current_primary.as_ref());
    let mut left = instances(status, cluster);
    left.retain(|instance| status.image_of(instance) != Some(image));
    left.sort_by_key(|instance| (Some(instance) == primary, instance.clone()));
    left.into_iter().next()
}

/// An instance has its turn. `in_place`: it is the primary, and does not hand over.
pub(super) fn begin_instance(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    (instance, in_place): (&InstanceName, bool),
    now: Timestamp,
) {
    let Some(former) = next.image_of(instance).cloned() else {
        return;
    };
    let (Some(upgrade), Some(images)) = (&mut next.upgrade, &mut next.images) else {
        return;
    };
    images
        .others
        .insert(instance.clone(), upgrade.image.clone());
    let pod = observed.pods.get(instance);
    let role = match observed.serving_primary() == Some(instance) {
        true => "the primary",
        false => "a replica",
    };
    let cause = format!(
        "from image {} to image {}, as {role}",
        former.0, upgrade.image.0
    );
    upgrade.stage = UpgradeStage::Replacing {
        instance: instance.clone(),
        pod: pod.map(|pod| pod.uid.clone()).unwrap_or_default(),
        former,
        in_place,
    };
    upgrade.since = now;
    let id = OperationId::derived(
        &cluster.stream,
        &format!("{} of {instance} at {now}", upgrade.operation),
    );
    let of = (Kind::UpgradeInstance, Some(instance));
    let operation = Operation::begun(of, id, "", cluster.generation, now);
    let details = wal::standing(observed, instance);
    next.journal
        .begin_with(cluster.subject(), operation, Some(cause), details);
}

/// How far an instance is that gets its new pod; whether that has changed anything.
fn replaced(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    upgrade: &Upgrade,
    (instance, pod, former, in_place): (&InstanceName, &str, &Image, bool),
    now: Timestamp,
) -> bool {
    let of = (Kind::UpgradeInstance, Some(instance));
    let subject = cluster.subject();
    let took = now.duration_since(upgrade.since);
    if !instances(next, cluster).contains(instance) {
        let cause = "the instance was removed before";
        pass_over(next, cluster, (observed, instance), cause, now);
        return true;
    }
    let present = observed.pods.get(instance);
    let is_old = present.is_some_and(|present| present.uid == pod && !present.terminating);
    if is_old && !in_place && is_followed(next, cluster, observed, instance) {
        give_back(next, instance, former);
        let cause = "it has become the primary, whose turn is last";
        pass_over(next, cluster, (observed, instance), cause, now);
        return true;
    }
    let is_new = present.is_some_and(|present| present.uid != pod && !present.terminating);
    let trouble = trouble_beside(None, next, cluster, observed);
    if is_new && trouble.is_none() {
        let mut details = versions(upgrade);
        details.extend(wal::standing(observed, instance));
        let done = (Outcome::Completed, None);
        next.journal.finish_with(subject, of, done, &details, now);
        let text = format!("instance {instance} runs image {}", upgrade.image.0);
        tell(next, cluster, observed, &text, now);
        choose_next(next, now);
        return true;
    }
    let problem = problem(next, cluster, observed, instance, took, now).filter(|_| is_new);
    let cause = match (problem, trouble) {
        (Some(problem), _) => problem,
        (None, Some(trouble)) if took >= INSTANCE_DEADLINE => trouble,
        (None, None) if took >= INSTANCE_DEADLINE => {
            format!("pod {instance} was not replaced")
        }
        _ => return false,
    };
    let minutes = took.as_secs();
    let cause = format!("instance {instance}, {minutes} s after its turn began: {cause}");
    give_back(next, instance, former);
    let failed = (Outcome::Failed, Some(cause.clone()));
    let details = wal::standing(observed, instance);
    next.journal.finish_with(subject, of, failed, &details, now);
    let primary = wal::primary_and_timeline(observed);
    fail(next, cluster, (cause, primary), now);
    if let Some(upgrade) = &mut next.upgrade {
        upgrade.stage = UpgradeStage::Failed {
            back: Some(instance.clone()),
        };
    }
    true
}

/// The turn of an instance ends before its pod was replaced.
fn pass_over(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    (observed, instance): (&Observed, &InstanceName),
    cause: &str,
    now: Timestamp,
) {
    let of = (Kind::UpgradeInstance, Some(instance));
    let failed = (Outcome::Failed, Some(cause.to_owned()));
    let details = wal::standing(observed, instance);
    next.journal
        .finish_with(cluster.subject(), of, failed, &details, now);
    choose_next(next, now);
}

/// What keeps the new pod of an instance from coming up, if it does not pass by itself.
fn problem(
    status: &ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    instance: &InstanceName,
    took: SignedDuration,
    now: Timestamp,
) -> Option<String> {
    trouble_of(instance, observed)?;
    let desired = cluster.desired_of(status, instance)?;
    let problem = Problem::of_instance(&desired, observed, instance, false, now)?;
    let of_agent = [Problem::OF_AGENT, Problem::OF_WAY].contains(&problem.reason);
    (!of_agent || took >= AGENT_GRACE).then_some(problem.cause)
}

/// The instance is made from what it was made from before.
fn give_back(next: &mut ClusterStatus, instance: &InstanceName, former: &Image) {
    if let Some(images) = &mut next.images {
        images.others.remove(instance);
        if images.in_force != *former {
            images.others.insert(instance.clone(), former.clone());
        }
    }
}

pub(super) fn choose_next(next: &mut ClusterStatus, now: Timestamp) {
    if let Some(upgrade) = &mut next.upgrade {
        upgrade.stage = UpgradeStage::Choosing;
        upgrade.since = now;
    }
}

/// Tells a step, the one after those that were told.
pub(super) fn tell(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    text: &str,
    now: Timestamp,
) {
    let told = next
        .journal
        .running_of(UPGRADE)
        .map_or(0, |running| running.steps);
    let mut texts = vec![""; told];
    texts.push(text);
    let primary = wal::primary_and_timeline(observed);
    next.journal
        .progress(cluster.subject(), UPGRADE, (&texts, &primary), now);
}

/// The versions before and after.
fn versions(upgrade: &Upgrade) -> Details {
    vec![
        (
            Field::FormerVersion,
            Datum::Text(upgrade.former_version.clone()),
        ),
        (Field::Version, Datum::Text(upgrade.version.clone())),
    ]
}

fn complete(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    upgrade: &Upgrade,
    now: Timestamp,
) {
    if let Some(images) = &mut next.images {
        images.in_force = upgrade.image.clone();
        images.others.retain(|_, image| *image != upgrade.image);
    }
    if let Some(upgrade) = &mut next.upgrade {
        upgrade.stage = UpgradeStage::Completed;
        upgrade.since = now;
    }
    let done = (Outcome::Completed, None);
    let mut details = versions(upgrade);
    details.extend(wal::primary_and_timeline(observed));
    next.journal
        .finish_with(cluster.subject(), UPGRADE, done, &details, now);
}

/// Ends it with the cause, and with further fields.
pub(super) fn fail(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    (cause, details): (String, Details),
    now: Timestamp,
) {
    let Some(upgrade) = &mut next.upgrade else {
        return;
    };
    let instance = match &upgrade.stage {
        UpgradeStage::Replacing { instance, .. } => Some(instance.clone()),
        _ => None,
    };
    upgrade.stage = UpgradeStage::Failed { back: None };
    upgrade.since = now;
    let subject = cluster.subject();
    if let Some(instance) = &instance {
        let of = (Kind::UpgradeInstance, Some(instance));
        let failed = (Outcome::Failed, Some(cause.clone()));
        next.journal.finish_with(subject, of, failed, &details, now);
    }
    let failed = (Outcome::Failed, Some(cause));
    next.journal
        .finish_with(subject, UPGRADE, failed, &details, now);
}
