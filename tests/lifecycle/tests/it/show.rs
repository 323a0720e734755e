//! `show cluster`, `test`, `status`, `version`, help.

use std::path::Path;

use crate::harness::{
    Cluster, Watch,
    cluster::READY,
    events::fields,
    namespace, pgo,
    programs::{program, run},
    turns::together,
    until,
    until::seen,
};

#[test]
fn show_cluster_tells_what_belongs_to_it() {
    let _turn = together();
    let cluster = Cluster::named("shown");
    cluster.create(&["--wait", "--labels", "team=night"]).ok();
    let name = &cluster.name;
    // The kubelet's probe of the pod comes a moment after the cluster's own condition.
    let ran = until("a pod that is ready", READY, || {
        let ran = pgo(&["show", "cluster", name]).ok();
        seen(ran.out.contains("(1/1) (primary)"), || ran.to_string()).map(|()| ran)
    });
    for line in [
        format!("cluster : {name} (crunchy-postgres:"),
        format!("\tpod : {name} (Running) on "),
        format!("\tpvc : {name}"),
        "\tinstances : 1/1 ready".to_owned(),
        format!("\tinstance : {name} (primary) timeline 1"),
        "\tstorage : Primary=1Gi Replica=".to_owned(),
        format!("\tservice : {name} - ClusterIP ("),
        "team=night".to_owned(),
    ] {
        assert!(ran.out.contains(&line), "{line:?} is not in {ran}");
    }
    let selected = pgo(&["show", "cluster", "--selector", &format!("name={name}")]).ok();
    let clusters = selected.out.matches("cluster : ").count();
    let title = format!("cluster : {name} (");
    assert!(clusters == 1 && selected.out.contains(&title), "{selected}");

    let json = pgo(&["show", "cluster", name, "-o", "json"]).ok().json();
    assert_eq!(json["Code"], "ok");
    assert_eq!(
        json["Results"][0]["Cluster"]["metadata"]["name"],
        name.as_str()
    );
    assert_eq!(json["Results"][0]["Pods"][0]["Type"], "primary");
    let all = pgo(&["show", "cluster", "--all", "-o", "json"]).ok().json();
    let all = all["Results"].as_array().expect("results").clone();
    assert!(
        all.iter()
            .any(|one| one["Cluster"]["metadata"]["name"] == name.as_str())
    );
}

#[test]
fn test_tries_every_user_on_the_service() {
    let _turn = together();
    let watch = Watch::begin();
    let cluster = Cluster::ready("tested");
    let ran = pgo(&["test", &cluster.name]).ok();
    let address = cluster.address();
    for user in ["postgres", "primaryuser", "testuser"] {
        let line = format!("psql -p 5432 -h {address} -U {user} ");
        assert!(ran.out.contains(&line), "{line:?} is not in {ran}");
    }
    assert!(
        ran.out.contains("is Working") && !ran.out.contains("NOT working"),
        "{ran}"
    );
    let json = pgo(&["test", &cluster.name, "-o", "json"]).ok().json();
    assert_eq!(json["Results"][0]["ClusterName"], cluster.name.as_str());
    let told = watch.until_count(&cluster.uid(), "TestCluster", 2);
    let who = fields(&told, "TestCluster", "/eventheader/username");
    assert_eq!(who, ["pgoadmin"; 2]);
    watch.check_to_its_end(&cluster.uid());
}

#[test]
fn status_counts_what_is_there() {
    let _turn = together();
    let _cluster = Cluster::ready("counted");
    let text = pgo(&["status"]).ok();
    for label in [
        "Operator Start:",
        "Databases:",
        "Claims:",
        "Total Volume Size:",
        "Database Images:",
        "Nodes:",
    ] {
        assert!(text.out.contains(label), "{label} is not in {text}");
    }
    let json = pgo(&["status", "-o", "json"]).ok().json();
    assert!(
        json["Result"]["NumDatabases"]
            .as_u64()
            .is_some_and(|count| count >= 1),
        "{json}"
    );
}

#[test]
fn version_names_client_and_apiserver() {
    let _turn = together();
    let ran = pgo(&["version"]).ok();
    assert_eq!(
        ran.out,
        "pgo client version 4.1.0\npgo-apiserver version 4.1.0\n"
    );
}

/// The words of every command, from its manual page: pgo-show-cluster.1 is of `pgo show cluster`.
fn commands() -> Vec<Vec<String>> {
    let pages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/man");
    let pages = pages.read_dir().expect("the manual pages");
    let names = pages.map(|page| page.expect("a page").file_name().into_string());
    let words = names.map(|name| name.expect("a page's name"));
    words
        .filter_map(|name| name.strip_suffix(".1").map(str::to_owned))
        .map(|name| name.split('-').skip(1).map(str::to_owned).collect())
        .collect()
}

#[test]
fn every_command_has_help() {
    let commands = commands();
    assert!(commands.len() > 20, "{commands:?}");
    for command in commands {
        let mut arguments: Vec<&str> = command.iter().map(String::as_str).collect();
        arguments.push("--help");
        let ran = pgo(&arguments).ok();
        assert!(ran.out.contains("Usage:"), "{ran}");
    }
}

#[test]
fn every_shell_is_told_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let script = pgo(&["completion", shell]).ok().out;
        for word in commands().concat() {
            assert!(script.contains(&word), "{shell} has no {word}");
        }
    }
    // As somebody has it who types "pgo show cl" and the tabulator.
    let typed = "source <(pgo completion bash); COMP_WORDS=(pgo show cl); COMP_CWORD=2; \
        _pgo pgo cl show; printf '%s\\n' \"${COMPREPLY[@]}\"";
    let ran = run(program("bash", &["-euc", typed]), "").ok();
    assert_eq!(ran.out, "cluster\n");
}

#[test]
fn the_columns_of_kubectl_show_how_a_cluster_is() {
    let _turn = together();
    let cluster = Cluster::ready("columns");
    let table = run(
        program(
            "kubectl",
            &["get", "pgcluster", &cluster.name, "-n", &namespace()],
        ),
        "",
    )
    .ok();
    let lines: Vec<Vec<&str>> = table
        .out
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(
        lines[0],
        ["NAME", "PHASE", "PRIMARY", "READY", "VERSION", "AGE"]
    );
    assert_eq!(
        lines[1][..4],
        [cluster.name.as_str(), "Ready", &cluster.name, "True"]
    );
    assert!(lines[1][4].starts_with("15"), "{table}");
}
