//! What is to be done for an upgrade.

use super::{MinorVersion, Upgrade, UpgradeStage, trouble_beside, trouble_of, wants_upgrade};
use crate::{Cluster, ClusterStatus, Observed, Plan, Step};

/// What is to be done for an upgrade.
pub(crate) fn steps(
    plan: &mut Plan,
    status: &ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
) {
    let running = status.upgrading();
    let probing = running.filter(|upgrade| upgrade.stage == UpgradeStage::Probing);
    probe(plan, observed, probing);
    let waits = observed.upgrades_full && running.is_none() && wants_upgrade(status, cluster);
    match &status.upgrade.as_ref().map(|upgrade| &upgrade.stage) {
        Some(UpgradeStage::Probing) => plan.waiting_for = Some("the new image to tell its version"),
        Some(UpgradeStage::HandingOver { .. }) => {
            plan.waiting_for = Some("another instance to be primary");
        }
        Some(UpgradeStage::Choosing) => plan.waiting_for = Some("all instances to be well"),
        Some(UpgradeStage::Replacing {
            instance,
            pod,
            in_place,
            ..
        }) => {
            plan.waiting_for = Some("an instance to run the new image");
            let present = observed.pods.get(instance);
            let present = present.filter(|present| present.uid == *pod && !present.terminating);
            // Looked at again at the moment itself: another instance may have gone since.
            let missed = trouble_beside(Some(instance), status, cluster, observed);
            if let Some(present) = present.filter(|_| missed.is_none()) {
                if *in_place {
                    plan.steps.push(Step::Stay(instance.clone()));
                }
                plan.steps.push(Step::RemovePod {
                    instance: instance.clone(),
                    uid: present.uid.clone(),
                });
            }
        }
        Some(UpgradeStage::Failed {
            back: Some(instance),
        }) => {
            let present = observed.pods.get(instance);
            let made = present.and_then(|pod| pod.form.as_ref()?.image());
            let former = status.image_of(instance).map(|image| image.0.as_str());
            let present = present.filter(|pod| !pod.terminating && made != former);
            // One that has come up after all is left alone.
            let is_down = trouble_of(instance, observed).is_some();
            if let Some(present) = present.filter(|_| is_down) {
                plan.steps.push(Step::RemovePod {
                    instance: instance.clone(),
                    uid: present.uid.clone(),
                });
            }
        }
        _ if waits => plan.waiting_for = Some("the upgrades of other clusters"),
        _ => {}
    }
}

/// The pod that asks the new image is there while its answer is waited for.
fn probe(plan: &mut Plan, observed: &Observed, probing: Option<&Upgrade>) {
    match (&observed.probe, probing) {
        (None, Some(upgrade)) => {
            let primary = observed.serving_primary();
            let pod = primary.and_then(|primary| observed.pods.get(primary));
            plan.steps.push(Step::MakeProbe {
                image: upgrade.image.clone(),
                operation: upgrade.operation,
                series: MinorVersion::read(&upgrade.former_version)
                    .map(|version| version.series())
                    .unwrap_or_default(),
                node: pod.and_then(|pod| pod.node.clone()),
            });
        }
        (Some(probe), probing) if !probe.terminating => {
            let is_its = probing.is_some_and(|one| one.operation.to_string() == probe.operation);
            if !is_its {
                let uid = probe.uid.clone();
                plan.steps.push(Step::RemoveProbe { uid });
            }
        }
        _ => {}
    }
}
