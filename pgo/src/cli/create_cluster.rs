//! `pgo create cluster`.

use std::sync::Arc;

use clap::Args;
use pgo_api::{
    CreateClusterRequest, CreateClusterResponse, Endpoint, LONGEST_SERIES, PGO_VERSION, Secret,
};

use super::{
    Failure, Output, Report,
    select::shows,
    wait::{Following, WaitFlags},
};
use crate::{client::Api, output::plain};

/// Create a cluster, or a series of them
///
/// The answer says that the work has begun. With --wait the command follows it and ends when the cluster answers, or
/// with the cause of its failure.
#[derive(Args)]
#[command(after_help = "Example:\n  pgo create cluster hippo --wait")]
pub struct Arguments {
    /// Name of the cluster; of a series, the part before the number
    #[arg(value_name = "CLUSTER", value_parser = name)]
    name: String,
    /// Image of PostgreSQL instead of crunchy-postgres
    #[arg(long, value_name = "IMAGE")]
    ccp_image: Option<String>,
    /// Tag of the image, instead of that in pgo.yaml
    #[arg(short = 'c', long, value_name = "TAG")]
    ccp_image_tag: Option<String>,
    /// ConfigMap with PostgreSQL's configuration files
    #[arg(long, value_name = "CONFIGMAP")]
    custom_config: Option<String>,
    /// Labels to put on the cluster: key=value[,key=value]
    #[arg(short, long, value_name = "LABELS")]
    labels: Option<String>,
    /// Label a node must have for the primary to run there: key=value
    #[arg(long, value_name = "LABEL")]
    node_label: Option<String>,
    /// Password of all initial users, instead of generated ones
    #[arg(short = 'w', long, value_name = "PASSWORD", allow_hyphen_values = true)]
    password: Option<String>,
    /// Whether pgBackRest archives WAL and makes backups: true or false, instead of what pgo.yaml says
    #[arg(long, value_name = "BOOL")]
    pgbackrest: Option<String>,
    /// Where pgBackRest keeps them: local, s3 or local,s3
    #[arg(long, value_name = "TYPE")]
    pgbackrest_storage_type: Option<String>,
    /// Whether a replica becomes the primary by itself when that is gone; needs replicas
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          default_value = "false", value_parser = super::boolean, action = clap::ArgAction::Set)]
    autofail: bool,
    /// Whether commits wait for a replica's answer, so that a failover loses none; needs replicas
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          default_value = "false", value_parser = super::boolean, action = clap::ArgAction::Set)]
    sync_replication: bool,
    /// For how many replicas' answers commits wait, whichever come first; 0 leaves it open
    #[arg(
        long,
        value_name = "NUMBER",
        default_value_t = 0,
        allow_negative_numbers = true
    )]
    sync_standbys: i64,
    /// Whether commits go on without the replicas they wait for where too few are there; what is acknowledged then may be lost
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          default_value = "false", value_parser = super::boolean, action = clap::ArgAction::Set)]
    sync_fallback: bool,
    /// Which backups are restored for trial: each, the newest one daily, or never; as pgo.yaml says unless given
    #[arg(long, value_name = "POLICY", value_parser = DRILLS)]
    restore_drills: Option<String>,
    /// Policies to apply when it is ready for the first time, a comma list, in this order
    #[arg(short = 'z', long, value_name = "POLICIES")]
    policies: Option<String>,
    /// Number of replicas
    #[arg(
        long,
        value_name = "NUMBER",
        default_value_t = 0,
        allow_negative_numbers = true
    )]
    replica_count: i64,
    /// Storage configuration of pgo.yaml for the replicas
    #[arg(long, value_name = "NAME")]
    replica_storage_config: Option<String>,
    /// Resource configuration of pgo.yaml
    #[arg(short, long, value_name = "NAME")]
    resources_config: Option<String>,
    /// Cluster whose users' Secrets are copied
    #[arg(short, long, value_name = "CLUSTER")]
    secret_from: Option<String>,
    /// Number of clusters to create, at most 200, numbered from 0 where it is more than one
    #[arg(short = 'e', long, value_name = "NUMBER", default_value_t = 1,
          value_parser = clap::value_parser!(i64).range(1..=LONGEST_SERIES))]
    series: i64,
    /// Type of the Service: ClusterIP, NodePort or LoadBalancer
    #[arg(long, value_name = "TYPE")]
    service_type: Option<String>,
    /// Storage configuration of pgo.yaml
    #[arg(long, value_name = "NAME")]
    storage_config: Option<String>,
    #[command(flatten)]
    wait: WaitFlags,
    #[command(flatten)]
    output: Output,
}

/// Which backups can be restored for trial.
pub(super) const DRILLS: [&str; 3] = ["each", "daily", "never"];

/// 4.1's client lets these characters through; the apiserver looks closer.
fn name(text: &str) -> Result<String, &'static str> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-".contains(c);
    match !text.is_empty() && text.chars().all(allowed) {
        true => Ok(text.to_owned()),
        false => Err("Cluster name specified is not valid name - must be lowercase alphanumeric"),
    }
}

impl Arguments {
    fn request(&self, api: &Api) -> CreateClusterRequest {
        let text = |given: &Option<String>| given.clone().unwrap_or_default();
        CreateClusterRequest {
            name: self.name.clone(),
            namespace: api.settings().namespace.clone(),
            node_label: text(&self.node_label),
            password: Secret::from(text(&self.password)),
            secret_from: text(&self.secret_from),
            user_labels: text(&self.labels),
            policies: text(&self.policies),
            ccp_image: text(&self.ccp_image),
            ccp_image_tag: text(&self.ccp_image_tag),
            series: self.series,
            autofail_flag: self.autofail,
            sync_replication: self.sync_replication,
            sync_standbys: self.sync_standbys,
            sync_fallback: self.sync_fallback,
            restore_drills: text(&self.restore_drills),
            replica_count: self.replica_count,
            service_type: text(&self.service_type),
            backrest_flag: text(&self.pgbackrest),
            backrest_storage_type: text(&self.pgbackrest_storage_type),
            pgbouncer_user: "pgbouncer".to_owned(),
            custom_config: text(&self.custom_config),
            storage_config: text(&self.storage_config),
            replica_storage_config: text(&self.replica_storage_config),
            container_resources: text(&self.resources_config),
            client_version: PGO_VERSION.to_owned(),
            ..CreateClusterRequest::default()
        }
    }
}

/// Asks, and follows what was begun where that is wanted, also where it is only a part.
pub async fn run(arguments: Arguments, api: Arc<Api>) -> Result<(), Failure> {
    let json = arguments.output.is_json();
    // From before the request on, so that no step is missed.
    let following = Following::begin(&arguments.wait, &api, json).await;
    let request = arguments.request(&api);
    let answer = api.send::<CreateClusterResponse>(Endpoint::CreateCluster, &request);
    let created = answer.await?.also_in_part();
    let results = created.results.as_deref().unwrap_or_default();
    let mut report = Report::default();
    if shows(&created.outcome, results) {
        match json {
            true => report.print_json(&created),
            false => report.print(&lines(results)),
        }
    }
    let names = behind(CREATED, results);
    match created.outcome.failure() {
        Some(why) => report.problem(why),
        None if count(&names) < request.series => report.problem(shortfall(&request, results)),
        None => {}
    }
    let operations = behind(WORKFLOW, results);
    if let Some(following) = following {
        following.until_ready(names, operations, &mut report).await;
    }
    report.end()
}

/// Results of 4.1: the name of a cluster is behind this one.
const CREATED: &str = "created Pgcluster ";
/// And the id of its operation behind this one.
const WORKFLOW: &str = "workflow id ";

fn count(names: &[String]) -> i64 {
    i64::try_from(names.len()).unwrap_or(i64::MAX)
}

/// What is said of an answer that is no refusal and yet tells of fewer clusters than were asked for. 4.1's apiserver
/// puts the text of an error in the place of a cluster it could not create.
fn shortfall(request: &CreateClusterRequest, results: &[String]) -> String {
    let done = |result: &&String| result.starts_with(CREATED) || result.starts_with(WORKFLOW);
    let created = count(&behind(CREATED, results));
    let why: Vec<&str> = results
        .iter()
        .filter(|result| !done(result))
        .map(String::as_str)
        .collect();
    let what = match (created, request.series) {
        (0, _) => "nothing was created".to_owned(),
        (some, all) => format!("{some} of {all} clusters were created"),
    };
    match why.is_empty() {
        true => format!("{what}, and the apiserver does not say why; its log may"),
        false => format!("{what}: {}", why.join("; ")),
    }
}

/// What is behind a text in each result that begins with it.
pub fn behind(start: &str, results: &[String]) -> Vec<String> {
    let found = results
        .iter()
        .filter_map(|result| result.strip_prefix(start));
    found.map(str::to_owned).collect()
}

/// One line per result.
pub fn lines(results: &[String]) -> String {
    results
        .iter()
        .map(|result| format!("{}\n", plain(result)))
        .collect()
}
