//! `pgo version`.

use clap::Args;
use pgo_api::{Endpoint, PGO_VERSION, VersionResponse};
use serde::Serialize;

use super::{Failure, Output, Report};
use crate::{
    client::{Answer, Api},
    output::plain,
};

/// Show the version of the client and of the apiserver
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    output: Output,
}

#[derive(Serialize)]
struct Versions {
    #[serde(rename = "ClientVersion")]
    client: &'static str,
    #[serde(flatten)]
    apiserver: VersionResponse,
}

/// Text: the client's version is printed also where the apiserver cannot be asked.
pub async fn run(arguments: &Arguments, api: &Api) -> Result<(), Failure> {
    let json = arguments.output.is_json();
    let mut report = Report::default();
    if !json {
        report.print(&format!("pgo client version {PGO_VERSION}\n"));
    }
    let answer = api.get::<VersionResponse>(Endpoint::Version, "").await;
    match answer.and_then(Answer::whole) {
        Ok(apiserver) if json => report.print_json(&Versions {
            client: PGO_VERSION,
            apiserver,
        }),
        Ok(apiserver) => {
            let version = plain(&apiserver.version);
            report.print(&format!("pgo-apiserver version {version}\n"));
        }
        Err(error) => report.problem(error),
    }
    report.end()
}
