//! What to do about an error whose words, those of 4.1, do not say it.

use pgo_api::texts;

/// Lines for below the error; nothing where its words say enough.
pub fn of(error: &str) -> Option<&'static str> {
    let error = error.trim_end();
    let ends = |words: &str| error.ends_with(words.trim_end());
    if ends(&texts::storage_not_found("")) {
        Some(
            "--storage-config and --replica-storage-config take a name under Storage in pgo.yaml; \
             kubectl get configmap pgo-config -n pgo -o yaml shows it",
        )
    } else if ends(&texts::resources_not_found("")) {
        Some(
            "--resources-config takes a name under ContainerResources in pgo.yaml; \
             kubectl get configmap pgo-config -n pgo -o yaml shows it",
        )
    } else if ends(&texts::config_map_not_found("")) {
        Some(
            "--custom-config takes a ConfigMap in the cluster's namespace; kubectl get configmaps shows them",
        )
    } else if ends(&texts::secret_not_found("")) {
        Some(
            "--secret-from takes a cluster in the same namespace that has its three Secrets: \
             CLUSTER-postgres-secret, CLUSTER-primaryuser-secret and that of its user; kubectl get secrets shows them",
        )
    } else if error == texts::SERVICE_TYPE.trim_end() {
        Some("--service-type takes ClusterIP, NodePort or LoadBalancer")
    } else if error == texts::LABELS_FORMAT {
        Some("--labels takes key=value, several with commas: env=prod,team=billing")
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
