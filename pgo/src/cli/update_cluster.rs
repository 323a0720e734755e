//! `pgo update cluster`.

use clap::Args;
use pgo_api::{Endpoint, PGO_VERSION, UpdateClusterRequest, UpdateClusterResponse};

use super::{
    Failure, Output, Report, boolean,
    create_cluster::{DRILLS, lines},
    prompt::{self, Answer},
    select::Selection,
};
use crate::{client::Api, output};

/// Say whether instances of clusters take over by themselves, make their volumes larger, or say which backups are tried
///
/// Volumes grow where their StorageClass allows it (allowVolumeExpansion), those of replicas too; they never get smaller.
/// kubectl wait pgcluster/CLUSTER --for=condition=UpToDate waits until they have.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    pub selection: Selection,
    /// Whether a replica takes over by itself when the primary is gone
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = boolean)]
    autofail: Option<bool>,
    /// Size that volumes are to have, such as 2Gi
    #[arg(long, value_name = "SIZE")]
    pvc_size: Option<String>,
    /// Which backups are restored for trial from now on: each, the newest one daily, or never
    #[arg(long, value_name = "POLICY", value_parser = DRILLS)]
    restore_drills: Option<String>,
    /// Do not ask before
    #[arg(long)]
    no_prompt: bool,
    #[command(flatten)]
    output: Output,
}

impl Arguments {
    /// Without the flag nothing would be said; in 4.1 that switched autofail off.
    pub fn check(&self) -> Result<(), Failure> {
        self.selection.requests()?;
        match (self.autofail, self.pvc_size.as_deref(), &self.restore_drills) {
            (None, None | Some(""), None) => Err(Failure::Usage(
                "say what to update: --autofail=true, --autofail=false, --pvc-size=SIZE or --restore-drills=POLICY"
                    .to_owned(),
            )),
            _ => Ok(()),
        }
    }
}

/// Asks the user, then the apiserver for all of them.
pub async fn run(arguments: &Arguments, api: &Api) -> Result<(), Failure> {
    if !arguments.no_prompt && prompt::confirm()? == Answer::No {
        output::note("Aborting...");
        return Ok(());
    }
    let request = UpdateClusterRequest {
        cluster_names: arguments.selection.names.clone(),
        selector: arguments.selection.selector.clone().unwrap_or_default(),
        client_version: PGO_VERSION.to_owned(),
        namespace: api.settings().namespace.clone(),
        all_flag: arguments.selection.all,
        autofail: arguments.autofail.unwrap_or_default(),
        keep_autofail: arguments.autofail.is_none(),
        pvc_size: arguments.pvc_size.clone().unwrap_or_default(),
        restore_drills: arguments.restore_drills.clone().unwrap_or_default(),
    };
    let answer = api.send(Endpoint::UpdateCluster, &request).await?;
    let answer: UpdateClusterResponse = answer.also_in_part();
    let mut report = Report::default();
    if arguments.output.is_json() {
        report.print_json(&answer);
    } else {
        report.print(&lines(&answer.results));
    }
    if let Some(why) = answer.outcome.failure() {
        report.problem(why);
    }
    report.end()
}
