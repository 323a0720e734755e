//! `pgo version`.

use clap::Args;
use pgo_api::{Endpoint, PGO_VERSION, VersionResponse};
use serde::Serialize;

use super::{Failure, Output};
use crate::{client::Api, output};

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
    if !json {
        output::print(&format!("pgo client version {PGO_VERSION}\n"))?;
    }
    let apiserver: VersionResponse = api.get(Endpoint::Version, "").await?;
    if json {
        return Ok(output::print_json(&Versions {
            client: PGO_VERSION,
            apiserver,
        })?);
    }
    Ok(output::print(&format!(
        "pgo-apiserver version {}\n",
        apiserver.version
    ))?)
}
