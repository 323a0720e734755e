//! Which settings of `pgo.yaml` ask for what this version does not do yet.

use std::collections::BTreeSet;

use super::PgoConfig;

impl PgoConfig {
    /// The settings that ask for what this version does not do: clusters are made without it.
    #[must_use]
    pub fn later_work(&self) -> BTreeSet<&'static str> {
        let cluster = &self.cluster;
        let asked = [
            ("Cluster.Metrics", cluster.metrics),
            ("Cluster.Badger", cluster.badger),
        ];
        let asked = asked.into_iter().filter(|(_, is)| *is);
        asked.map(|(key, _)| key).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_for_later_is_listed() {
        let mut config = PgoConfig::default();
        assert!(config.later_work().is_empty());
        config.cluster.badger = true;
        config.cluster.metrics = true;
        let all = ["Cluster.Badger", "Cluster.Metrics"];
        assert_eq!(config.later_work(), BTreeSet::from(all));
    }
}
