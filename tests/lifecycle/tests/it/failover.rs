//! The primary goes, and a replica takes over: what users of the Service see, and what is told of it.

mod story;

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{
    Cluster, Watch,
    cluster::READY,
    containers::{kill, process},
    events::{fields, types},
    faults::Stopped,
    kubectl,
    kubernetes::{condition, get, list, text},
    namespace, pgo,
    turns::{alone, together},
    until,
    until::seen,
    writer::{Writer, missing},
};

/// How long a takeover may take on a machine that does much else: with all the waits of the protocol it is under 10 s.
const TAKEOVER: Duration = Duration::from_secs(60);

/// The instance that is primary, as the status says.
fn primary(cluster: &Cluster) -> String {
    let object = cluster.object().expect("it is there");
    text(&object, "/status/currentPrimary")
}

/// Instances that are replicas and ready, as the status says.
fn replicas(cluster: &Cluster) -> Vec<String> {
    let object = cluster.object().expect("it is there");
    let instances = object["status"]["instances"].as_array().cloned();
    let is_replica = |one: &Value| one["role"] == "replica" && one["ready"] == true;
    let instances = instances.unwrap_or_default();
    let replicas = instances.iter().filter(|one| is_replica(one));
    replicas.map(|one| text(one, "/name")).collect()
}

/// A cluster with a replica that may take over.
fn pair(flags: &[&str]) -> Cluster {
    let cluster = Cluster::named("failover");
    let flags: Vec<&str> = ["--replica-count", "1"]
        .iter()
        .chain(flags)
        .copied()
        .collect();
    cluster.create(&flags).ok();
    cluster.until_ready();
    until("a replica that votes", READY, || {
        let (replicas, voters) = (replicas(&cluster), cluster.recorded().1);
        seen(replicas.len() == 1 && voters == 1, || {
            format!("{replicas:?}, {voters} voters")
        })
    });
    cluster
}

/// As when its node is gone: nothing of a primary ends in order, and it cannot come back before the value that stands for
/// this goes. Without its kubelet nobody starts the container again, to end it in order with the pod.
fn lose(primary: &str) -> Stopped {
    let namespace = namespace();
    let pod = get("pod", primary, &namespace).expect("it is there");
    let node = text(&pod, "/spec/nodeName");
    let kubelet = Stopped::of_kubernetes(&format!("{node}-kubelet"));
    kill(process(&pod, "database").expect("it runs"));
    let line = [
        "delete",
        "pod",
        primary,
        "-n",
        &namespace,
        "--force",
        "--grace-period=0",
    ];
    kubectl(&line).ok();
    kubelet
}

#[test]
fn a_primary_that_is_killed_with_its_pod_is_replaced_and_comes_back_as_replica() {
    // Nothing else waits for a node without a kubelet.
    let _turn = alone();
    let watch = Watch::begin();
    let cluster = pair(&["--autofail"]);
    cluster.ask("CREATE TABLE kept (n int)");
    cluster.ask("INSERT INTO kept VALUES (1)");
    let replica = replicas(&cluster).remove(0);
    let former = primary(&cluster);

    let node = lose(&former);
    until("the replica takes writes", TAKEOVER, || {
        let ran = cluster.psql("INSERT INTO kept VALUES (2) RETURNING n");
        // The status follows a moment later.
        seen(ran.status.success() && primary(&cluster) == replica, || {
            ran.to_string()
        })
    });
    assert_eq!(cluster.ask("SELECT count(*) FROM kept WHERE n = 1"), "1");
    let told = watch.until(&cluster.uid(), "FailoverClusterCompleted");
    assert_eq!(
        fields(&told, "FailoverClusterCompleted", "/target"),
        std::slice::from_ref(&replica)
    );
    assert_eq!(
        fields(&told, "FailoverClusterCompleted", "/formerprimary"),
        std::slice::from_ref(&former)
    );
    let found = types(&told);
    assert!(found.contains(&"FailoverCluster".to_owned()), "{found:?}");
    let told = watch.until(&cluster.uid(), "ClusterDegraded");
    assert_eq!(
        fields(&told, "ClusterDegraded", "/instance"),
        std::slice::from_ref(&former)
    );

    drop(node);
    until("the former primary follows", READY, || {
        let (primary, replicas) = (primary(&cluster), replicas(&cluster));
        seen(
            primary == replica && replicas == std::slice::from_ref(&former),
            || format!("primary {primary}, replicas {replicas:?}"),
        )
    });
    cluster.until_ready();
    let told = watch.until(&cluster.uid(), "ClusterRecovered");
    assert_eq!(fields(&told, "ClusterDegraded", "/instance").len(), 1);
    watch.check_to_its_end(&cluster.uid());
    story::is_told(&cluster, &former, &replica);
}

#[test]
fn a_pod_that_ends_in_order_hands_over_and_nothing_is_lost() {
    let _turn = together();
    let watch = Watch::begin();
    let cluster = pair(&[]);
    cluster.ask("CREATE TABLE kept (n int)");
    let replica = replicas(&cluster).remove(0);
    let former = primary(&cluster);
    cluster.ask("INSERT INTO kept VALUES (1)");
    kubectl(&["delete", "pod", &former, "-n", &namespace(), "--wait=false"]).ok();
    until("the replica takes writes", TAKEOVER, || {
        let ran = cluster.psql("INSERT INTO kept VALUES (2) RETURNING n");
        seen(ran.status.success() && primary(&cluster) == replica, || {
            ran.to_string()
        })
    });
    assert_eq!(cluster.ask("SELECT count(*) FROM kept WHERE n = 1"), "1");
    let told = watch.until(&cluster.uid(), "SwitchoverClusterCompleted");
    assert_eq!(
        fields(&told, "SwitchoverClusterCompleted", "/target"),
        std::slice::from_ref(&replica)
    );
    until("the former primary follows", READY, || {
        let replicas = replicas(&cluster);
        seen(replicas == std::slice::from_ref(&former), || {
            format!("replicas {replicas:?}")
        })
    });
    ends_again_and_again(&cluster, &watch, &former);
}

/// The container of a replica is killed until Kubernetes waits before it starts it again: the pod is made anew, on its volume.
fn ends_again_and_again(cluster: &Cluster, watch: &Watch, replica: &str) {
    let uid = |kind: &str| {
        let object = get(kind, replica, &namespace());
        text(&object.expect("it is there"), "/metadata/uid")
    };
    let (claim, former) = (uid("persistentvolumeclaim"), uid("pod"));
    let mut killed = None;
    until("a new pod", READY, || {
        let Some(pod) = get("pod", replica, &namespace()) else {
            return seen(false, || "no pod".to_owned());
        };
        let is_new = text(&pod, "/metadata/uid") != former;
        let runs = process(&pod, "database").filter(|_| !is_new);
        if let Some(runs) = runs.filter(|runs| Some(*runs) != killed) {
            kill(runs);
            killed = Some(runs);
        }
        seen(is_new, || pod["status"].to_string())
    });
    let told = watch.until(&cluster.uid(), "InstanceReplaced");
    assert_eq!(fields(&told, "InstanceReplaced", "/instance"), [replica]);
    until("the new pod follows", READY, || {
        let (pod, replicas) = (uid("pod"), replicas(cluster));
        seen(pod != former && replicas == [replica], || {
            format!("replicas {replicas:?}")
        })
    });
    assert_eq!(uid("persistentvolumeclaim"), claim, "its volume stays");
    watch.check_to_its_end(&cluster.uid());
}

/// Label by which the replicas' Service finds a pod.
fn service_of(pod: &str) -> String {
    let pod = get("pod", pod, &namespace()).expect("it is there");
    text(&pod, "/metadata/labels/service-name")
}

/// Addresses that a Service of Kubernetes' own slices leads to.
fn led_to(service: &str) -> Vec<String> {
    let selector = format!("kubernetes.io/service-name={service}");
    let slices = list("endpointslices", &selector, &namespace());
    let endpoints = slices
        .iter()
        .flat_map(|slice| slice["endpoints"].as_array());
    let ready = endpoints
        .flatten()
        .filter(|one| one["conditions"]["ready"] != false);
    let addresses = ready.flat_map(|one| one["addresses"].as_array()).flatten();
    addresses
        .filter_map(|one| one.as_str().map(str::to_owned))
        .collect()
}

#[test]
fn a_failover_that_is_asked_for_loses_no_row_and_everything_follows() {
    let _turn = together();
    let watch = Watch::begin();
    let cluster = pair(&[]);
    let replica = replicas(&cluster).remove(0);
    let former = primary(&cluster);

    let query = pgo(&["failover", &cluster.name, "--query"]).ok();
    let line = query.out.lines().find(|line| line.contains(&replica));
    let line = line.expect("the replica is a target");
    assert!(
        line.contains("ReceiveLoc (") && line.contains("streaming, lag"),
        "{line}"
    );
    assert!(
        !query.out.contains(&format!("\t{former} ")),
        "{}",
        query.out
    );

    let writer = Writer::begin(&cluster);
    let target = format!("--target={replica}");
    let answer = pgo(&["failover", &cluster.name, &target, "--no-prompt"]).ok();
    let text_of = &answer.out;
    assert!(text_of.contains("created Pgtask (failover)"), "{text_of}");
    until("the task to be done", TAKEOVER, || {
        let task = get(
            "pgtask",
            &format!("{}-failover", cluster.name),
            &namespace(),
        );
        let complete = task.and_then(|task| condition(&task, "Complete"));
        let done = complete.as_ref().is_some_and(|one| one["status"] == "True");
        seen(done, || format!("{complete:?}"))
    });
    let done = Instant::now();
    until("writes to go on", TAKEOVER, || {
        seen(writer.wrote_since(done), || {
            "none is acknowledged".to_owned()
        })
    });
    let notes = writer.end();
    let lost = missing(&cluster, &notes);
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");

    let told = watch.until(&cluster.uid(), "SwitchoverClusterCompleted");
    let targets = fields(&told, "SwitchoverClusterCompleted", "/target");
    assert_eq!(targets, std::slice::from_ref(&replica));
    let task = get(
        "pgtask",
        &format!("{}-failover", cluster.name),
        &namespace(),
    );
    let id = text(&task.expect("it is there"), "/metadata/labels/workflowid");
    let ids = fields(&told, "SwitchoverClusterCompleted", "/operationid");
    assert_eq!(ids, [id]);

    follows(&cluster, &replica, &former);
    // Compared when it began to follow.
    let told = watch.until(&cluster.uid(), "NoCommitsLost");
    let formers = fields(&told, "NoCommitsLost", "/formerprimary");
    assert_eq!(formers, std::slice::from_ref(&former));
    assert!(!types(&told).contains(&"CommitsLost".to_owned()));
    watch.check_to_its_end(&cluster.uid());
}

/// Labels, Services and what is shown say that they have changed places.
fn follows(cluster: &Cluster, replica: &str, former: &str) {
    until("the former primary follows", READY, || {
        let replicas = replicas(cluster);
        seen(replicas == [former], || format!("replicas {replicas:?}"))
    });
    assert_eq!(service_of(replica), cluster.name);
    assert_eq!(service_of(former), format!("{}-replica", cluster.name));
    until(
        "the replicas' Service leads to the replica",
        TAKEOVER,
        || {
            let pod = get("pod", former, &namespace()).expect("it is there");
            let (led, ip) = (
                led_to(&format!("{}-replica", cluster.name)),
                text(&pod, "/status/podIP"),
            );
            seen(led == [ip.as_str()], || {
                format!("it leads to {led:?}, not {ip}")
            })
        },
    );
    let object = cluster.object().expect("it is there");
    let label = text(&object, "/metadata/labels/current-primary");
    assert_eq!(label, replica);
    let shown = pgo(&["show", "cluster", &cluster.name]).ok();
    let took_over = format!("last switchover : {replica} took over from {former}");
    assert!(shown.out.contains(&took_over), "{}", shown.out);
    let primary = format!("instance : {replica} (primary)");
    assert!(shown.out.contains(&primary), "{}", shown.out);
    in_the_status(cluster, replica, former);
    let tested = pgo(&["test", &cluster.name]).ok();
    assert!(!tested.out.contains("is NOT working"), "{}", tested.out);
    for line in [took_over, primary] {
        assert!(tested.out.contains(&line), "{line}: {}", tested.out);
    }
    let target = format!("--target={replica}");
    pgo(&["scaledown", &cluster.name, &target, "--no-prompt"])
        .failed(2, &[&format!("{replica} is the primary")]);
}

/// `pgo status` says the same of them.
fn in_the_status(cluster: &Cluster, replica: &str, former: &str) {
    let name = cluster.name.as_str();
    let figures = until("the status has both instances ready", READY, || {
        let status = pgo(&["status", "-o", "json"]).ok().json();
        let clusters = status["Result"]["Clusters"].as_array().cloned();
        let mut clusters = clusters.unwrap_or_default().into_iter();
        let figures = clusters.find(|one| one["Name"] == name);
        let figures = figures.unwrap_or_default();
        seen(figures["InstancesReady"] == 2, || figures.to_string()).map(|()| figures)
    });
    let timeline = figures["Timeline"].as_u64();
    assert!(timeline.is_some_and(|timeline| timeline > 1), "{figures}");
    for (place, expected) in [
        ("/Primary", replica),
        ("/Lag/Instance", former),
        ("/LastTakeover/From", former),
        ("/LastTakeover/To", replica),
    ] {
        assert_eq!(text(&figures, place), expected, "{place} of {figures}");
    }
    assert_eq!(figures["InstancesWanted"], 2, "{figures}");
    assert_eq!(figures["LastTakeover"]["Planned"], true, "{figures}");
    let printed = pgo(&["status"]).ok();
    let took_over = format!("switchover : {replica} took over from {former}");
    assert!(printed.out.contains(&took_over), "{printed}");
}

#[test]
fn a_failover_to_where_none_can_go_is_refused_and_changes_nothing() {
    let _turn = together();
    let watch = Watch::begin();
    let cluster = pair(&[]);
    let (former, replica) = (primary(&cluster), replicas(&cluster).remove(0));
    let target = |name: &str| format!("--target={name}");
    let ask = |arguments: &[&str]| {
        let mut line = vec!["failover", &cluster.name, "--no-prompt"];
        line.extend(arguments);
        pgo(&line)
    };
    ask(&[&target("nosuch")]).failed(2, &["no target found named nosuch"]);
    let words = "deployment primary can not be selected as failover target";
    ask(&[&target(&former)]).failed(2, &[words]);
    let words = "true or false value required for --autofail-replace-replica flag";
    ask(&[&target(&replica), "--autofail-replace-replica=maybe"]).failed(2, &[words]);
    ask(&[]).failed(2, &["--target is required"]);
    pgo(&["failover", "nosuch", "--query"]).failed(2, &["no cluster found named nosuch"]);
    let update = |value: &str| {
        let autofail = format!("--autofail={value}");
        pgo(&["update", "cluster", &cluster.name, &autofail, "--no-prompt"]).ok()
    };
    let updated = update("true");
    assert!(
        updated
            .out
            .contains(&format!("updated pgcluster {}", cluster.name))
    );
    // One that is asked for before the last one is in force takes its place, and that has failed then.
    let in_force = |count| watch.until_count(&cluster.uid(), "UpdateClusterCompleted", count);
    in_force(1);
    let words = "autofail flag is set to true, manual failover requires";
    ask(&[&target(&replica)]).failed(2, &[words]);
    update("false");
    in_force(2);
    let line = [
        "label",
        "--overwrite",
        "pgcluster",
        &cluster.name,
        "autofail=true",
        "-n",
        &namespace(),
    ];
    kubectl(&line).ok();
    let told = in_force(3);
    let who = fields(&told, "UpdateClusterCompleted", "/eventheader/username");
    assert_eq!(who, ["pgoadmin", "pgoadmin", "kubectl"]);
    assert_eq!(primary(&cluster), former);
    let task = get(
        "pgtask",
        &format!("{}-failover", cluster.name),
        &namespace(),
    );
    assert_eq!(task, None, "nothing was asked of the reconciler");
    watch.check_to_its_end(&cluster.uid());
}

#[test]
fn without_autofail_nobody_takes_over_until_a_failover_is_asked_for() {
    // Nothing else waits for a node without a kubelet.
    let _turn = alone();
    let watch = Watch::begin();
    let cluster = pair(&[]);
    cluster.ask("CREATE TABLE kept (n int)");
    let (former, replica) = (primary(&cluster), replicas(&cluster).remove(0));
    let target = format!("--target={replica}");
    let node = lose(&former);
    cluster.until_ready_is("False", "", READY);
    let planned = [
        "failover",
        &cluster.name,
        &target,
        "--planned",
        "--no-prompt",
    ];
    pgo(&planned).ok();
    let failed = watch.until(&cluster.uid(), "FailoverClusterFailure");
    let causes = fields(&failed, "FailoverClusterFailure", "/cause");
    assert!(
        causes[0].contains("cannot hand over in order"),
        "{causes:?}"
    );
    until("the task to say so", TAKEOVER, || {
        let task = get(
            "pgtask",
            &format!("{}-failover", cluster.name),
            &namespace(),
        );
        let complete = task.and_then(|task| condition(&task, "Complete"));
        let over = complete
            .as_ref()
            .is_some_and(|one| one["reason"] == "Failed");
        seen(over, || format!("{complete:?}"))
    });

    pgo(&["failover", &cluster.name, &target, "--no-prompt"]).ok();
    until("the replica takes writes", TAKEOVER, || {
        let ran = cluster.psql("INSERT INTO kept VALUES (1)");
        seen(ran.status.success(), || ran.to_string())
    });
    let told = watch.until(&cluster.uid(), "FailoverClusterCompleted");
    let targets = fields(&told, "FailoverClusterCompleted", "/target");
    assert_eq!(targets, std::slice::from_ref(&replica));
    drop(node);
    until("the former primary follows", READY, || {
        let replicas = replicas(&cluster);
        seen(replicas == std::slice::from_ref(&former), || {
            format!("replicas {replicas:?}")
        })
    });
    watch.check_to_its_end(&cluster.uid());
}

#[test]
fn a_lease_that_is_deleted_is_made_anew_and_nobody_notices() {
    let _turn = together();
    let cluster = pair(&["--autofail"]);
    let before = primary(&cluster);
    let term = || {
        let lease = get("lease", &cluster.name, &namespace()).unwrap_or_default();
        let term = &lease["metadata"]["annotations"]["pgo.crunchydata.com/term"];
        term.as_str()
            .unwrap_or_default()
            .parse::<u64>()
            .unwrap_or_default()
    };
    let former = term();
    let started = || cluster.ask("select pg_postmaster_start_time()");
    let server = started();
    let writer = Writer::begin(&cluster);
    let begun = Instant::now();
    kubectl(&["delete", "lease", &cluster.name, "-n", &namespace()]).ok();
    until("the Lease as it was, in a later term", TAKEOVER, || {
        let ((holder, voters), term) = (cluster.recorded(), term());
        seen(holder == before && voters == 1 && term > former, || {
            format!("{holder:?} with {voters} voters in term {term} after {former}")
        })
    });
    let recorded = Instant::now();
    until("a write after that", TAKEOVER, || {
        seen(writer.wrote_since(recorded), || "none".to_owned())
    });
    let notes = writer.end();
    assert_eq!(primary(&cluster), before);
    assert_eq!(missing(&cluster, &notes), Vec::<u64>::new());
    assert_eq!(started(), server, "nothing ended its server");
    println!(
        "longest pause of the writes {:?}",
        notes.longest_pause(begun)
    );
}
