//! `--query` of a command: shows what a cluster has that the command could be about, and changes nothing.

use pgo_api::{Endpoint, PGO_VERSION, Response, StatusQuery};

use super::{Failure, Output, Report};
use crate::client::Api;

/// Asks what `cluster` has, and shows it: as JSON, or as `render` says.
pub async fn show<R: Response>(
    (api, endpoint): (&Api, Endpoint),
    cluster: &str,
    form: Output,
    render: impl FnOnce(&R) -> String,
) -> Result<(), Failure> {
    let query = StatusQuery {
        version: PGO_VERSION.to_owned(),
        namespace: api.settings().namespace.clone(),
    };
    let answer = api.get_of(endpoint, cluster, &query.to_query()).await?;
    let answer: R = answer.whole()?;
    let mut report = Report::default();
    match form.is_json() {
        true => report.print_json(&answer),
        false => report.print(&render(&answer)),
    }
    report.end()
}
