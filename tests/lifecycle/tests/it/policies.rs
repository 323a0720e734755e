//! Policies, as users keep and apply them, by pgo and by kubectl.

use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{
    Cluster, Ran, Watch,
    cluster::{READY, unique},
    events::{fields, types},
    kubectl,
    kubernetes::{apply, condition, get, text},
    namespace, pgo,
    turns::together,
    until,
    until::seen,
};

/// A policy of the namespace, which goes with this.
struct Policy {
    name: String,
    folder: TempDir,
}

impl Drop for Policy {
    fn drop(&mut self) {
        // It may be gone already.
        pgo(&["delete", "policy", &self.name, "--no-prompt"]);
    }
}

impl Policy {
    fn named(prefix: &str) -> Self {
        Self {
            name: unique(prefix),
            folder: tempfile::tempdir().expect("a folder"),
        }
    }

    fn create(&self, sql: &str) -> Ran {
        let file = self.folder.path().join("policy.sql");
        fs::write(&file, sql).expect("it can be written");
        let file = format!("--in-file={}", file.display());
        pgo(&["create", "policy", &self.name, &file])
    }

    fn with(prefix: &str, sql: &str) -> Self {
        let policy = Self::named(prefix);
        let created = policy.create(sql).ok();
        assert_eq!(created.out, "Created policy.\n");
        policy
    }

    /// Waits until its making was told.
    fn until_seen(&self) {
        until("the policy is ready", READY, || {
            let found = get("pgpolicy", &self.name, &namespace()).ok_or("it is gone")?;
            let ready = condition(&found, "Ready").unwrap_or_default();
            seen(ready["status"] == "True", || text(&found, "/status"))
        });
    }

    fn apply(&self, cluster: &Cluster, further: &[&str]) -> Ran {
        let selector = format!("--selector=name={}", cluster.name);
        let mut arguments = vec!["apply", &self.name, &selector];
        arguments.extend(further);
        pgo(&arguments)
    }
}

/// A query as the superuser, in the database that policies are applied to.
fn in_postgres(cluster: &Cluster, sql: &str) -> Ran {
    cluster.psql_as_superuser(&format!("\\connect postgres\n{sql}"))
}

/// The labels of a cluster that name policies, once there are so many.
fn until_labelled(cluster: &Cluster, count: usize) -> Vec<String> {
    until("the labels of the policies", READY, || {
        let object = cluster.object().ok_or("it is gone")?;
        let labels = object["metadata"]["labels"].as_object().cloned();
        let labels = labels.unwrap_or_default().into_iter();
        let of_policies = labels.filter(|(_, value)| *value == "pgpolicy");
        let names: Vec<String> = of_policies.map(|(name, _)| name).collect();
        match names.len() == count {
            true => Ok(names),
            false => Err(format!("{names:?}")),
        }
    })
}

/// The events of the policies of a cluster, as types.
fn told(events: &[Value]) -> Vec<String> {
    let mut all = types(events);
    all.retain(|one| one.starts_with("ApplyPolicy"));
    all
}

#[test]
fn policies_are_created_shown_applied_and_deleted_and_each_end_is_told_once() {
    let _turn = together();
    let watch = Watch::begin();
    let cluster = Cluster::named("policies");
    let first = Policy::with("first", "create table first(i int);\n");
    let missing = unique("missing");
    let named = format!("--policies={},{missing}", first.name);
    cluster.create(&[&named]).ok();
    cluster.until_ready();
    let events = watch.until_count(&cluster.uid(), "ApplyPolicyFailure", 1);
    assert_eq!(
        told(&events),
        [
            "ApplyPolicyStarted",
            "ApplyPolicyStarted",
            "ApplyPolicy",
            "ApplyPolicyFailure"
        ]
    );
    let cause = fields(&events, "ApplyPolicyFailure", "/cause").join("");
    assert!(cause.contains(&missing), "{cause}");
    assert_eq!(until_labelled(&cluster, 1).join(" "), first.name);

    applied_and_deleted(&watch, &cluster, &missing);
    watch.check_to_its_end(&cluster.uid());
}

/// One more policy, from its making to its end.
fn applied_and_deleted(watch: &Watch, cluster: &Cluster, missing: &str) {
    let second = Policy::with("second", "create table second as select 1 as i;\n");
    second
        .create("select 1")
        .failed(2, &["policy already exists with that name"]);
    let shown = pgo(&["show", "policy", &second.name]).ok();
    assert!(shown.out.contains("create table second"), "{shown}");
    pgo(&["show", "policy", missing]).failed(2, &[missing]);
    let dry = second.apply(cluster, &["--dry-run"]).ok();
    let applied = format!("Applied policy on {}\n", cluster.name);
    assert_eq!(
        dry.out,
        format!("The label would have been applied on the following:\n{applied}")
    );
    assert_eq!(second.apply(cluster, &[]).ok().out, applied);
    let rows = in_postgres(cluster, "select 'rows ' || count(*) from public.second").ok();
    assert!(rows.out.contains("rows 1"), "{rows}");
    until_labelled(cluster, 2);
    let shown = pgo(&["show", "cluster", &cluster.name]).ok();
    assert!(
        shown.out.contains(&format!("policy: {}", second.name)),
        "{shown}"
    );
    // It is there already, and that is told with the place.
    let again = second.apply(cluster, &[]);
    assert!(again.err.contains("had been applied before"), "{again}");
    again.failed(2, &["line 1, column 1", "42P07"]);

    // One that goes before it was seen is not told.
    second.until_seen();
    pgo(&["delete", "policy", &second.name, "--no-prompt"]).ok();
    until("the policy is gone", READY, || {
        let found = get("pgpolicy", &second.name, &namespace());
        seen(found.is_none(), || "it is there".to_owned())
    });
    let of_it = until_told(watch, &second.name, "DeletePolicy");
    // Its making and its end are told with PGO itself, what is done with it with the cluster: in no order between them.
    let (of_cluster, of_pgo): (Vec<&str>, Vec<&str>) = of_it
        .iter()
        .map(String::as_str)
        .partition(|one| one.starts_with("Apply"));
    let applications = [
        "ApplyPolicyStarted",
        "ApplyPolicy",
        "ApplyPolicyStarted",
        "ApplyPolicyFailure",
    ];
    assert_eq!(of_cluster, applications);
    let life = [
        "CreatePolicyStarted",
        "CreatePolicy",
        "DeletePolicyStarted",
        "DeletePolicy",
    ];
    assert_eq!(of_pgo, life);
}

/// What was told of a policy, once this was.
fn until_told(watch: &Watch, policy: &str, last: &str) -> Vec<String> {
    until(&format!("{last} of {policy}"), READY, || {
        let all = watch.all();
        let events = all.iter().map(|line| line["event"].clone());
        let of_it: Vec<Value> = events
            .filter(|event| event["policyname"] == policy)
            .collect();
        let all = types(&of_it);
        match all.iter().any(|one| one == last) {
            true => Ok(all),
            false => Err(format!("{all:?}")),
        }
    })
}

#[test]
fn a_policy_that_fails_leaves_nothing_and_its_text_is_neither_in_events_nor_in_logs() {
    let _turn = together();
    let watch = Watch::begin();
    let cluster = Cluster::ready("secretive");
    let wrong = "create table half(i int);\n  alter role postgres paswort 'Hunter-2-secret';\n";
    let policy = Policy::with("wrong", wrong);
    let failed = policy.apply(&cluster, &[]);
    assert!(!failed.to_string().contains("Hunter-2"), "{failed}");
    failed.failed(2, &["line 2, column 23", "42601"]);
    let half = in_postgres(&cluster, "select * from public.half");
    assert!(!half.status.success(), "{half}");
    let events = watch.until(&cluster.uid(), "ApplyPolicyFailure");
    assert_eq!(told(&events), ["ApplyPolicyStarted", "ApplyPolicyFailure"]);
    for event in watch.all() {
        assert!(!event.to_string().contains("Hunter-2"), "{event}");
    }
    let logs = kubectl(&["logs", &cluster.name, "-c", "database", "-n", &namespace()]).ok();
    assert!(!logs.out.contains("Hunter-2"), "the log of the pod");
    let object = cluster.object().expect("it is there").to_string();
    assert!(!object.contains("Hunter-2"), "{object}");
}

#[test]
fn a_policy_is_applied_on_a_schedule_as_a_user_of_the_cluster() {
    let _turn = together();
    let watch = Watch::begin();
    let cluster = Cluster::ready("scheduled");
    let policy = Policy::with(
        "hourly",
        "create table hourly as select current_user as who;\n",
    );
    let secret = format!("--secret={}-testuser-secret", cluster.name);
    let of_policy = format!("--policy={}", policy.name);
    let schedule = [
        "create",
        "schedule",
        &cluster.name,
        "--schedule=@every 5s",
        "--schedule-type=policy",
        &of_policy,
        "--database=userdb",
        &secret,
    ];
    let made = pgo(&schedule).ok();
    let name = format!("{}-policy-{}", cluster.name, policy.name);
    let said = format!("created schedule {name} for cluster {}\n", cluster.name);
    assert_eq!(made.out, said);
    // The second one finds the table of the first.
    let events = watch.until(&cluster.uid(), "ApplyPolicyFailure");
    let named = format!("--schedule-name={name}");
    pgo(&["delete", "schedule", &named, "--no-prompt"]).ok();
    let query = "\\connect userdb\nselect 'by ' || who from testuser.hourly";
    let rows = cluster.psql_as_superuser(query);
    assert!(
        rows.ok().out.contains("by testuser"),
        "the user's own schema"
    );
    let told = told(&events);
    let first: Vec<&str> = told.iter().map(String::as_str).take(3).collect();
    assert_eq!(
        first,
        ["ApplyPolicyStarted", "ApplyPolicy", "ApplyPolicyStarted"]
    );
}

#[test]
fn a_policy_and_its_application_can_be_asked_for_by_kubectl() {
    let _turn = together();
    let cluster = Cluster::ready("bykubectl");
    let policy = Policy::named("bykubectl");
    let object = |kind: &str, name: &str, spec: Value| {
        let metadata = json!({"name": name, "namespace": namespace()});
        json!({"apiVersion": "crunchydata.com/v1", "kind": kind, "metadata": metadata, "spec": spec})
    };
    let sql = json!({"sql": "create table bykubectl(i int)"});
    apply(&object("Pgpolicy", &policy.name, sql)).ok();
    let task = unique("apply");
    let nameless = json!({"tasktype": "applypolicy", "parameters": {"pg-cluster": cluster.name}});
    let refused = apply(&object("Pgtask", &task, nameless));
    assert!(refused.err.contains("parameters.policy"), "{refused}");
    let parameters = json!({"pg-cluster": cluster.name, "policy": policy.name});
    let spec = json!({"tasktype": "applypolicy", "parameters": parameters});
    apply(&object("Pgtask", &task, spec)).ok();
    let task_of = format!("pgtask/{task}");
    let waits = [
        "wait",
        &task_of,
        "--for=condition=Complete",
        "--timeout=120s",
        "-n",
    ];
    let namespace = namespace();
    kubectl(&[&waits[..], &[namespace.as_str()]].concat()).ok();
    let found = in_postgres(&cluster, "select count(*) from public.bykubectl");
    found.ok();
    policy.until_seen();
    kubectl(&["delete", "pgtask", &task, "-n", &namespace]).ok();
    kubectl(&[
        "delete",
        "pgpolicy",
        &policy.name,
        "-n",
        &namespace,
        "--timeout=60s",
    ])
    .ok();
}
