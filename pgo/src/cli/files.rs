//! `pgo ls` and `pgo cat`.

use std::io::{IsTerminal as _, stdout};

use clap::Args;
use pgo_api::{Endpoint, FilesRequest, FilesResponse};

use super::{Failure, Output, Report};
use crate::{client::Api, output};

/// List files of the primary of a cluster
///
/// Below its data volume (/pgdata) and the cluster's configuration (/pgconf); a path that does not begin with / is below the
/// data directory. Links that lead elsewhere are not followed.
#[derive(Args)]
pub struct Ls {
    #[command(flatten)]
    what: Arguments,
}

/// Show text files of the primary of a cluster
///
/// Below its data volume (/pgdata) and the cluster's configuration (/pgconf); a path that does not begin with / is below the
/// data directory. Files of more than 1 MiB, files that are no text, and files that hold passwords or private keys are not
/// shown.
#[derive(Args)]
pub struct Cat {
    #[command(flatten)]
    what: Arguments,
}

#[derive(Args)]
struct Arguments {
    /// Name of the cluster
    cluster: String,
    /// Paths
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<String>,
    #[command(flatten)]
    output: Output,
}

/// Asks for the files and prints them.
pub async fn ls(arguments: &Ls, api: &Api) -> Result<(), Failure> {
    show(Endpoint::Ls, &arguments.what, api).await
}

/// Asks for their texts and prints them.
pub async fn cat(arguments: &Cat, api: &Api) -> Result<(), Failure> {
    show(Endpoint::Cat, &arguments.what, api).await
}

async fn show(endpoint: Endpoint, arguments: &Arguments, api: &Api) -> Result<(), Failure> {
    let cluster = std::iter::once(&arguments.cluster);
    let request = FilesRequest {
        namespace: api.settings().namespace.clone(),
        args: cluster.chain(&arguments.paths).cloned().collect(),
    };
    let answer = api.send(endpoint, &request).await?;
    let answer: FilesResponse = answer.whole()?;
    let mut report = Report::default();
    if arguments.output.is_json() {
        report.print_json(&answer);
        return report.end();
    }
    // A file is what it is; a terminal must not obey it.
    let is_terminal = stdout().is_terminal();
    for text in &answer.results {
        report.print(&match is_terminal {
            true => format!("{}\n", output::lines(text)),
            false => format!("{text}\n"),
        });
    }
    report.end()
}
