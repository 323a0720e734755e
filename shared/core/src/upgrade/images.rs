//! Which image each instance is made from. What the spec says is a wish: an upgrade makes it so, or refuses it.

use std::collections::BTreeMap;

use pgo_ids::InstanceName;
use serde::{Deserialize, Serialize};

use crate::{Cluster, ClusterStatus, Desired, Image, Observed};

/// The images of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Images {
    /// What the spec said when it was accounted for last.
    pub said: String,
    /// What instances are made from.
    pub in_force: Image,
    /// Those that are made from another one: a replica with a tag of its own, or while an upgrade is not through.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", with = "listed")]
    pub others: BTreeMap<InstanceName, Image>,
}

/// A map as a list, whose schema can say what its keys are.
mod listed {
    use std::collections::BTreeMap;

    use pgo_ids::InstanceName;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::Image;

    #[derive(Serialize, Deserialize)]
    struct Entry {
        instance: InstanceName,
        image: Image,
    }

    pub(super) fn serialize<S: Serializer>(
        map: &BTreeMap<InstanceName, Image>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map.iter().map(|(instance, image)| Entry {
            instance: instance.clone(),
            image: image.clone(),
        }))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<InstanceName, Image>, D::Error> {
        let entries = Vec::<Entry>::deserialize(deserializer)?;
        let pairs = entries.into_iter();
        Ok(pairs.map(|entry| (entry.instance, entry.image)).collect())
    }
}

/// Accounts for the images. Until a cluster was ready they are what the spec says.
pub(crate) fn account(next: &mut ClusterStatus, cluster: &Cluster, observed: &Observed) {
    let Ok(desired) = &cluster.desired else {
        return;
    };
    let (was_ready, first) = (next.was_ready(), next.first(&cluster.name));
    let images = next
        .images
        .get_or_insert_with(|| adopted(cluster, desired, observed));
    if !was_ready {
        images.said.clone_from(&cluster.image_said);
        images.in_force = desired.image.clone();
    }
    for known in next.replicas.iter().filter(|known| !known.joined) {
        let mut objects = cluster.replicas.iter();
        let object = objects.find(|one| one.name == known.name);
        let wanted = object.and_then(|object| object.wanted.as_ref().ok());
        // What differs from the cluster's is its own.
        let own = wanted.filter(|wanted| wanted.image != desired.image);
        match own {
            Some(wanted) => {
                let own = wanted.image.clone();
                images.others.entry(known.name.clone()).or_insert(own);
            }
            // Whoever comes while an upgrade goes on is made for its end.
            None => {
                let upgrade = next.upgrade.as_ref();
                let upgrade = upgrade.filter(|one| one.is_running() && !one.version.is_empty());
                if let Some(upgrade) = upgrade {
                    let new = upgrade.image.clone();
                    images.others.insert(known.name.clone(), new);
                }
            }
        }
    }
    let in_force = images.in_force.clone();
    images.others.retain(|instance, image| {
        let is_there =
            *instance == first || next.replicas.iter().any(|known| known.name == *instance);
        is_there && *image != in_force
    });
}

/// What is in force where nobody has written it down: what the pods were made from.
fn adopted(cluster: &Cluster, desired: &Desired, observed: &Observed) -> Images {
    let made = |instance: &InstanceName| {
        let form = observed.pods.get(instance)?.form.as_ref()?;
        Some(Image(form.image()?.to_owned()))
    };
    let first = InstanceName::from(&cluster.name);
    let others = observed.pods.keys();
    Images {
        said: cluster.image_said.clone(),
        in_force: made(&first).unwrap_or_else(|| desired.image.clone()),
        others: others
            .filter_map(|instance| Some((instance.clone(), made(instance)?)))
            .collect(),
    }
}
