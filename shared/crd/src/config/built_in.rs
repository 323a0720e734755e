//! What goes for a `pgo.yaml` where there is no ConfigMap with one, as in 4.1: the settings that are installed, with a
//! storage configuration of a class that Kubernetes has.

use std::collections::BTreeMap;

use k8s_openapi::api::storage::v1::StorageClass;
use kube::ResourceExt as _;

use super::{
    ClusterConfig, ConfigError, PgoConfig, PgoSection, ResourcesConfig, StorageConfig, check,
};

/// Name of the storage configuration, and of the label by which its class is chosen, as in 4.1.
const DEFAULT_STORAGE: &str = "pgo-default-sc";

/// How Kubernetes marks the class of claims that name none.
const IS_DEFAULT: &str = "storageclass.kubernetes.io/is-default-class";

impl PgoConfig {
    /// The settings without a `pgo.yaml`. The images are those of the environment, which the installer sets, else those that
    /// 4.1 ships with.
    ///
    /// # Errors
    /// Kubernetes has no storage class.
    pub fn built_in(
        classes: &[StorageClass],
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let class = class(classes).ok_or_else(|| ConfigError::Value {
            key: "Storage".to_owned(),
            problem: "without ConfigMap pgo-config a storage class of Kubernetes is used, and there is none; make one, or \
                      the ConfigMap"
                .to_owned(),
        })?;
        let storage = StorageConfig {
            access_mode: "ReadWriteOnce".to_owned(),
            size: "1G".to_owned(),
            storage_type: "dynamic".to_owned(),
            storage_class: class,
            fsgroup: "26".to_owned(),
            ..StorageConfig::default()
        };
        let named = || DEFAULT_STORAGE.to_owned();
        let config = Self {
            primary_storage: named(),
            backup_storage: named(),
            replica_storage: named(),
            backrest_storage: named(),
            storage: BTreeMap::from([(named(), storage)]),
            container_resources: BTreeMap::from([
                ("small".to_owned(), resources("512Mi", "0.1", "0.1")),
                ("large".to_owned(), resources("2Gi", "2.0", "4.0")),
            ]),
            cluster: ClusterConfig {
                ccp_image_prefix: "crunchydata".to_owned(),
                ccp_image_tag: "centos7-11.5-2.4.2".to_owned(),
                user: "testuser".to_owned(),
                password_length: "24".to_owned(),
                backrest: true,
                ..ClusterConfig::default()
            },
            pgo: PgoSection {
                image_prefix: "crunchydata".to_owned(),
                image_tag: "centos7-4.1.0".to_owned(),
                ..PgoSection::default()
            },
            ..Self::default()
        };
        let config = config.with_images(variable);
        check::check(&config)?;
        Ok(config)
    }
}

fn resources(memory: &str, requests_cpu: &str, limits_cpu: &str) -> ResourcesConfig {
    ResourcesConfig {
        requests_memory: memory.to_owned(),
        requests_cpu: requests_cpu.to_owned(),
        limits_memory: memory.to_owned(),
        limits_cpu: limits_cpu.to_owned(),
    }
}

/// The class that is labelled for this, else the first of all, as in 4.1; but before that, which any could be, the one that
/// Kubernetes takes where a claim names none.
fn class(classes: &[StorageClass]) -> Option<String> {
    let mut sorted: Vec<&StorageClass> = classes.iter().collect();
    sorted.sort_by_key(|class| class.name_any());
    let says = |value: Option<&String>| value.is_some_and(|value| value == "true");
    let labelled = sorted
        .iter()
        .find(|class| says(class.labels().get(DEFAULT_STORAGE)));
    let default = || {
        let mut all = sorted.iter();
        all.find(|class| says(class.annotations().get(IS_DEFAULT)))
    };
    let chosen = labelled.or_else(default).or_else(|| sorted.first());
    chosen.map(|class| class.name_any())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str, label: bool, default: bool) -> StorageClass {
        let mut class = StorageClass::default();
        class.metadata.name = Some(name.to_owned());
        let yes = |key: &str| BTreeMap::from([(key.to_owned(), "true".to_owned())]);
        class.metadata.labels = label.then(|| yes(DEFAULT_STORAGE));
        class.metadata.annotations = default.then(|| yes(IS_DEFAULT));
        class
    }

    fn images(name: &str) -> Option<String> {
        let known = [
            ("PGO_IMAGE_PREFIX", "@PGO_IMAGE_PREFIX@"),
            ("PGO_IMAGE_TAG", "@PGO_IMAGE_TAG@"),
            ("CCP_IMAGE_PREFIX", "@CCP_IMAGE_PREFIX@"),
            ("CCP_IMAGE_TAG", "@CCP_IMAGE_TAG@"),
        ];
        let found = known.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).to_owned())
    }

    #[test]
    fn the_class_is_the_labelled_one_else_kubernetes_default_else_the_first() {
        let all = [
            named("c", false, true),
            named("b", false, false),
            named("d", true, false),
        ];
        assert_eq!(class(&all).as_deref(), Some("d"));
        assert_eq!(class(&all[..2]).as_deref(), Some("c"));
        assert_eq!(class(&all[1..2]).as_deref(), Some("b"));
        assert_eq!(class(&[]), None);
    }

    #[test]
    fn besides_its_storage_it_is_what_is_installed() {
        let installed = include_str!("../../../../deploy/install/pgo.yaml");
        let mut installed = PgoConfig::parse(installed).expect("it can be used");
        let built_in = PgoConfig::built_in(&[named("fast", false, false)], images);
        let built_in = built_in.expect("it can be used");
        let storage = &built_in.storage[&built_in.primary_storage];
        assert_eq!(
            (storage.storage_class.as_str(), storage.size.as_str()),
            ("fast", "1G")
        );
        installed.storage.clone_from(&built_in.storage);
        for setting in [
            &mut installed.primary_storage,
            &mut installed.backup_storage,
            &mut installed.replica_storage,
            &mut installed.backrest_storage,
        ] {
            DEFAULT_STORAGE.clone_into(setting);
        }
        assert_eq!(built_in, installed);
    }

    #[test]
    fn without_a_class_it_says_what_is_missing() {
        let refused = PgoConfig::built_in(&[], images);
        let told = refused.expect_err("it cannot be used").to_string();
        assert!(told.contains("there is none; make one"), "{told}");
    }
}
