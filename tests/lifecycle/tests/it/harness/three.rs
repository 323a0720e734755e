//! A cluster of three instances, of which each may become primary.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    Cluster,
    kubernetes::{apply, get, text},
    namespace, until,
    until::seen,
};

/// How long it may take until all is as before a fault: an instance may have to be copied anew on a busy machine.
const WHOLE: Duration = Duration::from_secs(180);

impl Cluster {
    /// One with two replicas that may take over, and vote; with this in its spec, too.
    pub fn of_three(prefix: &str, spec: &Value) -> Self {
        let cluster = Self::named(prefix);
        let mut wanted = json!({"replicas": "2"});
        for (name, value) in spec.as_object().into_iter().flatten() {
            wanted[name] = value.clone();
        }
        let mut manifest = cluster.manifest(wanted);
        manifest["metadata"]["labels"]["autofail"] = json!("true");
        apply(&manifest).ok();
        cluster.until_ready();
        cluster.until_all_stream("its creation");
        cluster
    }

    /// The primary and the replicas, as the status says.
    pub fn roles(&self) -> (String, Vec<String>) {
        let object = self.object().expect("it is there");
        let instances = object["status"]["instances"].as_array().cloned();
        let names = instances
            .unwrap_or_default()
            .into_iter()
            .map(|one| text(&one, "/name"));
        let primary = text(&object, "/status/currentPrimary");
        let replicas = names.filter(|name| *name != primary).collect();
        (primary, replicas)
    }

    /// Who is primary and how many vote, by the Lease. The status follows it a moment later.
    pub fn recorded(&self) -> (String, usize) {
        let lease = get("lease", &self.name, &namespace()).unwrap_or_default();
        let record = &lease["metadata"]["annotations"]["pgo.crunchydata.com/record"];
        let record: Value = serde_json::from_str(record.as_str().unwrap_or("{}")).expect("JSON");
        let voters = record["voters"].as_array().map_or(0, Vec::len);
        (text(&lease, "/spec/holderIdentity"), voters)
    }

    /// The changes of the primary after a term, by the Lease, which keeps the last ones; the newest one last.
    pub fn takeovers_after(&self, term: u64) -> Vec<Value> {
        let lease = get("lease", &self.name, &namespace()).unwrap_or_default();
        let said = &lease["metadata"]["annotations"]["pgo.crunchydata.com/takeovers"];
        let all = serde_json::from_str::<Vec<Value>>(said.as_str().unwrap_or("[]"));
        let mut all = all.expect("JSON");
        all.retain(|one| one["term"].as_u64() > Some(term));
        all
    }

    /// Waits until one serves, two stream from it on the same timeline, and both vote.
    pub fn until_all_stream(&self, after: &str) {
        until(
            &format!("all instances as before, after {after}"),
            WHOLE,
            || {
                let object = self.object().ok_or("it is not there")?;
                let instances = object["status"]["instances"]
                    .as_array()
                    .cloned()
                    .unwrap_or_default();
                let primary = text(&object, "/status/currentPrimary");
                let of_primary = instances.iter().find(|one| one["name"] == primary.as_str());
                let timeline = of_primary
                    .map(|one| one["timeline"].clone())
                    .unwrap_or_default();
                let streaming = instances.iter().filter(|one| {
                    one["role"] == "replica"
                        && one["streaming"] == true
                        && one["ready"] == true
                        && one["timeline"] == timeline
                });
                let (streaming, (holder, voters)) = (streaming.count(), self.recorded());
                let serves =
                    of_primary.is_some_and(|one| one["role"] == "primary" && one["ready"] == true);
                seen(
                    serves
                        && streaming == 2
                        && holder == primary
                        && instances.len() == 3
                        && voters == 2,
                    || {
                        format!(
                            "{streaming} stream, {voters} vote, {holder} has the Lease: {}",
                            object["status"]["instances"]
                        )
                    },
                )
            },
        );
    }
}
