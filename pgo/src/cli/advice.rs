//! What to do about an error whose words, those of 4.1, do not say it.

use std::{borrow::Cow, env};

use pgo_api::texts;

/// The variable that names PGO's own namespace, where somebody has set it: the apiserver does not tell it.
const OPERATOR_NAMESPACE: &str = "PGO_OPERATOR_NAMESPACE";

/// Arguments of kubectl for PGO's own namespace, and what has to be said of them.
pub fn in_pgos_namespace() -> (String, &'static str) {
    let known = env::var(OPERATOR_NAMESPACE).unwrap_or_default();
    match known.as_str() {
        "" => ("-n pgo".to_owned(), " (pgo: the namespace of PGO)"),
        known => (format!("-n {known}"), ""),
    }
}

/// Lines for below the error; nothing where its words say enough.
pub fn of(error: &str) -> Option<Cow<'static, str>> {
    let of_pgo_yaml = |what: &str| {
        let (namespace, remark) = in_pgos_namespace();
        Cow::from(format!(
            "{what} in pgo.yaml; kubectl get configmap pgo-config {namespace} -o yaml shows it{remark}"
        ))
    };
    let error = error.trim_end();
    let ends = |words: &str| error.ends_with(words.trim_end());
    if ends(&texts::storage_not_found("")) {
        Some(of_pgo_yaml(
            "--storage-config and --replica-storage-config take a name under Storage",
        ))
    } else if ends(&texts::resources_not_found("")) {
        Some(of_pgo_yaml(
            "--resources-config takes a name under ContainerResources",
        ))
    } else if ends(&texts::config_map_not_found("")) {
        Some(Cow::from(
            "--custom-config takes a ConfigMap in the cluster's namespace; kubectl get configmaps shows them",
        ))
    } else if ends(&texts::secret_not_found("")) {
        Some(Cow::from(
            "--secret-from takes a cluster in the same namespace that has its three Secrets: \
             CLUSTER-postgres-secret, CLUSTER-primaryuser-secret and that of its user; kubectl get secrets shows them",
        ))
    } else if error == texts::SERVICE_TYPE.trim_end() {
        Some(Cow::from(
            "--service-type takes ClusterIP, NodePort or LoadBalancer",
        ))
    } else if error == texts::LABELS_FORMAT {
        Some(Cow::from(
            "--labels takes key=value, several with commas: env=prod,team=billing",
        ))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_say_what_to_do_have_nothing_below_them() {
        assert_eq!(of(texts::NO_REPLICAS), None);
        assert_eq!(of(&texts::node_label_key("a=b")), None);
        assert_eq!(of(""), None);
    }
}
