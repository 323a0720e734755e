//! Clusters: create, show, update, delete, test, scale, fail over, upgrade, reload, restart, back up, dump, restore, apply policies,
//! cancel, measure, load; what is beside their databases.

mod ask;
mod backup;
mod base;
mod benchmark;
mod cancel;
mod create;
mod delete;
mod delete_backup;
mod df;
mod drill;
mod dump;
mod ending;
mod failover;
mod files;
mod grow;
mod listing;
mod load;
mod noting;
pub(crate) mod pod;
mod policy;
mod reload;
mod restart;
mod restore;
mod scale;
mod show;
mod spec;
mod task;
mod test;
mod trials;
mod update;
mod upgrade;
mod wanted;
mod workflow;

use kube::{
    Api, Resource as _,
    api::{ApiResource, DynamicObject, ListParams},
};
use pgo_crd::Pgcluster;
use pgo_ids::ClusterName;

pub(super) use backup::{create as backup, has_backrest, show as show_backups};
pub(super) use base::{create as base_backup, restore as restore_base, show as show_base};
pub(super) use benchmark::{
    create as benchmark, delete as delete_benchmarks, show as show_benchmarks,
};
pub(super) use cancel::cancel;
pub(super) use create::create;
pub(super) use delete::delete;
pub(super) use delete_backup::delete as delete_backup;
pub(super) use df::df;
pub(super) use drill::drill;
pub(super) use dump::{create as dump, restore as restore_dump, show as show_dumps};
pub(super) use failover::{create as failover, query as failover_query};
pub(super) use files::{cat, ls};
pub(super) use load::load;
pub(super) use noting::{Place, note};
pub(super) use policy::apply;
pub(super) use reload::reload;
pub(super) use restart::{query as restart_query, restart};
pub(super) use restore::restore;
pub(super) use scale::{down as scale_down, query as scale_query, scale};
pub(super) use show::show;
pub(super) use test::test;
pub(super) use update::update;
pub(super) use upgrade::upgrade;
pub(super) use wanted::{check_storage_types, is_object_name};
pub(super) use workflow::workflow;

use crate::{app::App, refusal::Refusal};

/// Whether the cluster's condition Ready is true.
pub(super) fn is_ready(cluster: &DynamicObject) -> bool {
    let conditions = cluster.data["status"]["conditions"].as_array();
    conditions.is_some_and(|all| {
        all.iter()
            .any(|one| one["type"] == "Ready" && one["status"] == "True")
    })
}

/// Which clusters of a namespace a request is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Selection {
    Selector(String),
    All,
    One(ClusterName),
    /// A name that no cluster can have.
    None,
}

impl Selection {
    /// As 4.1 reads it: the selector goes before all, and that before the name.
    pub(super) fn of(selector: &str, all: bool, name: &str) -> Self {
        if !selector.is_empty() {
            Self::Selector(selector.to_owned())
        } else if all {
            Self::All
        } else {
            name.parse().map_or(Self::None, Self::One)
        }
    }

    /// The same where 4.1 takes the name `all`, which no cluster can have, for all: in a deletion and a test of connections.
    /// Where something is shown or changed it is a name like others, of no cluster.
    fn by_word(selector: &str, all: bool, name: &str) -> Self {
        Self::of(selector, all || name == "all", name)
    }

    /// The selector by which objects that belong to the clusters are found: exactly those of one cluster, or those of
    /// any.
    fn of_members(&self) -> String {
        match self {
            Self::One(name) => format!("{}={name}", pgo_crd::label::PG_CLUSTER),
            _ => pgo_crd::label::PG_CLUSTER.to_owned(),
        }
    }

    /// The Pgclusters, in order of name, as Kubernetes has them: one that cannot be understood must not hide the others.
    pub(super) async fn clusters(
        &self,
        app: &App,
        namespace: &str,
    ) -> Result<Vec<DynamicObject>, Refusal> {
        let resource = ApiResource::erase::<Pgcluster>(&());
        let api: Api<DynamicObject> =
            Api::namespaced_with(app.client.clone(), namespace, &resource);
        let params = match self {
            Self::None => return Ok(Vec::new()),
            Self::One(name) => {
                let found = api.get_opt(name.as_str()).await?;
                return Ok(found.into_iter().collect());
            }
            Self::All => ListParams::default(),
            Self::Selector(selector) => ListParams::default().labels(selector),
        };
        let mut clusters = api.list(&params).await?.items;
        clusters.sort_by(|a, b| a.meta().name.cmp(&b.meta().name));
        Ok(clusters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_goes_before_all_and_all_before_a_name() {
        let selector = Selection::Selector("env=dev".to_owned());
        assert_eq!(Selection::of("env=dev", true, "hippo"), selector);
        assert_eq!(Selection::of("", true, "hippo"), Selection::All);
        assert_eq!(Selection::by_word("", false, "all"), Selection::All);
        let named = Selection::of("", false, "all");
        assert!(matches!(named, Selection::One(_)), "{named:?}");
    }

    #[test]
    fn a_name_that_no_cluster_can_have_selects_none() {
        for name in ["", "../secrets/x", "Hippo"] {
            assert_eq!(Selection::of("", false, name), Selection::None, "{name}");
        }
    }
}
