//! pgo.yaml: needed at the start, followed afterwards.

use serde_json::{Value, json};

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
    let other = json!({"metadata": {"name": "pgo-config"}, "data": {"pgo.yml": PGO_YAML}});
    kubernetes.put("configmaps", "pgo", other);
    let text = why().await;
    assert!(text.contains("has no key pgo.yaml"), "{text}");
    kubernetes
        .remove("configmaps", "pgo", "pgo-config")
        .unwrap();
    let text = why().await;
    assert!(text.contains("storage class"), "{text}");
}

#[tokio::test]
async fn without_a_config_map_what_is_built_in_goes_for_it_until_there_is_one() {
    let kubernetes = installation();
    kubernetes
        .remove("configmaps", "pgo", "pgo-config")
        .unwrap();
    for name in ["first", "labelled"] {
        let labels = json!({"pgo-default-sc": (name == "labelled").to_string()});
        let class = json!({"metadata": {"name": name, "labels": labels}, "provisioner": "x"});
        kubernetes.put("storageclasses", "", class);
    }
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    client
        .post("/clusters", create_request("hippo"))
        .await
        .done();
    let storage = |name: &str| {
        let cluster = kubernetes.get("pgclusters", "pgouser1", name).unwrap();
        cluster["spec"]["PrimaryStorage"].clone()
    };
    let of_hippo = storage("hippo");
    assert_eq!(
        (&of_hippo["storageclass"], &of_hippo["size"]),
        (&json!("labelled"), &json!("1G"))
    );
    configure(&kubernetes, PGO_YAML);
    eventually("the file is used", async || {
        let mut request = create_request("zebra");
        request["StorageConfig"] = json!("storageos");
        let answer = client.post("/clusters", request).await.json();
        (answer["Code"] == "ok").then_some(())
    })
    .await;
    assert_eq!(storage("zebra")["storageclass"], "fast");
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

/// The results of a creation under a pgo.yaml with these lines in section Cluster.
async fn results(settings: &str, request: Value) -> Value {
    let kubernetes = installation();
    configure(
        &kubernetes,
        &PGO_YAML.replace("Cluster:", &format!("Cluster:{settings}")),
    );
    let apiserver = start_plain(&kubernetes).await;
    let answer = apiserver.plain().post("/clusters", request).await.done();
    answer["Results"].clone()
}

#[tokio::test]
async fn what_pgo_yaml_asks_for_and_is_not_there_yet_is_told() {
    let everything = "\n  Metrics: true\n  Badger: true\n  Replicas: 1\n  Autofail: true";
    let told = results(everything, create_request("hippo")).await;
    assert_eq!(
        told[2],
        "made without what Cluster.Badger, Cluster.Metrics \
         of pgo.yaml asks for: it is not available in this version yet"
    );
    let mut series = create_request("hippo");
    series["Series"] = json!(2);
    let told = results("\n  Badger: true", series).await;
    let last = "made without what Cluster.Badger of pgo.yaml asks for: it is not available in this version yet";
    assert_eq!(told.as_array().unwrap().len(), 5, "once for all: {told}");
    assert_eq!(told[4], last);
    let told = results("", create_request("hippo")).await;
    assert_eq!(told.as_array().unwrap().len(), 2, "{told}");
}

#[tokio::test]
async fn automatic_failover_of_pgo_yaml_needs_replicas_too() {
    let kubernetes = installation();
    let configured = PGO_YAML.replace("Cluster:", "Cluster:\n  Autofail: true");
    configure(&kubernetes, &configured);
    let apiserver = start_plain(&kubernetes).await;
    let refusal = apiserver
        .plain()
        .post("/clusters", create_request("hippo"))
        .await
        .refusal();
    assert_eq!(
        refusal,
        "replica-count of 1 or more is required when autofail is specified"
    );
    assert!(kubernetes.names("pgclusters", "pgouser1").is_empty());
}

#[tokio::test]
async fn the_pgo_yaml_that_is_installed_asks_for_nothing_that_is_not_there() {
    let kubernetes = installation();
    configure(
        &kubernetes,
        include_str!("../../../../deploy/install/pgo.yaml"),
    );
    let apiserver = start_plain(&kubernetes).await;
    let mut request = create_request("hippo");
    // Its images are named by the installer.
    request["CCPImageTag"] = json!("debian12-15");
    let answer = apiserver.plain().post("/clusters", request).await.done();
    assert_eq!(answer["Results"].as_array().unwrap().len(), 2, "{answer}");
}
