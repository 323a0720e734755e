//! pgo.yaml: needed at the start, followed afterwards.

use serde_json::json;

use crate::harness::{
    PGO_YAML, authority, configure, create_request, eventually, installation, start_plain,
    try_start,
};

#[tokio::test]
async fn without_a_usable_pgo_yaml_there_is_no_start() {
    let kubernetes = installation();
    let why = async || {
        let refused = try_start(&kubernetes, authority(), &[]).await.err();
        refused.expect("it does not start").to_string()
    };
    for (wrong, expected) in [
        (PGO_YAML.replace("300M", "much"), "Storage.storageos.Size"),
        (
            PGO_YAML.replace("0.1, Limits", "x, Limits"),
            "ContainerResources.small.RequestsCPU",
        ),
        (
            PGO_YAML.replace("PrimaryStorage: storageos", "PrimaryStorage: nosuch"),
            "PrimaryStorage",
        ),
        (format!("BasicAuth: maybe\n{PGO_YAML}"), "BasicAuth"),
        (
            PGO_YAML.replace("Cluster:", "Cluster:\n  PrimaryNodeLabel: zone=a"),
            "PrimaryNodeLabel",
        ),
        ("[]".to_owned(), "pgo.yaml"),
    ] {
        configure(&kubernetes, &wrong);
        let text = why().await;
        assert!(
            text.starts_with("Error in pgoconfig: check pgo.yaml: "),
            "{text}"
        );
        assert!(text.contains(expected), "{expected}: {text}");
    }
    kubernetes
        .remove("configmaps", "pgo", "pgo-config")
        .unwrap();
    let text = why().await;
    assert!(text.contains("ConfigMap pgo-config"), "{text}");
}

#[tokio::test]
async fn a_change_is_used_and_a_wrong_one_is_not() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let ask = async |name: &str| {
        let mut request = create_request("all");
        request["Name"] = json!(name);
        request["StorageConfig"] = json!("fresh");
        // Refused all the same, so that nothing is made: pgBadger is not available yet.
        request["BadgerFlag"] = json!(true);
        apiserver.plain().post("/clusters", request).await.refusal()
    };
    let unknown = "fresh Storage config was not found ";
    assert_eq!(ask("a").await, unknown);
    let changed = PGO_YAML.replace(
        "ContainerResources:",
        "  fresh: {Size: 1G, StorageType: dynamic}\nContainerResources:",
    );
    configure(&kubernetes, &changed);
    eventually("the new storage is known", async || {
        (ask("a").await != unknown).then_some(())
    })
    .await;

    configure(&kubernetes, "Cluster: [");
    // A later change that the same watch brings has been seen, so this one was, too.
    kubernetes
        .remove("configmaps", "pgo", "pgo-config")
        .unwrap();
    configure(
        &kubernetes,
        &PGO_YAML.replace("300M", "400M").replace("small", "tiny"),
    );
    eventually("the version after the wrong ones is used", async || {
        (ask("a").await == unknown).then_some(())
    })
    .await;
}
