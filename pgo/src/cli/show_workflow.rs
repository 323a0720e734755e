//! `pgo show workflow`.

use clap::Args;
use pgo_api::{Endpoint, ShowWorkflowResponse};

use super::{Failure, Output, query};
use crate::{
    client::Api,
    output::{pad, plain},
};

/// Width of 4.1's first column.
const WIDTH: usize = 20;

/// Show how far an operation is
///
/// By the id that the request for it was answered with: the parameters of its task, 4.1's steps with their times among them,
/// and whether it is waiting, running, completed or failed, and why.
#[derive(Args)]
pub struct Arguments {
    /// Id of the operation
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    output: Output,
}

/// Asks for it and shows it.
pub async fn run(arguments: &Arguments, api: &Api) -> Result<(), Failure> {
    let asks = (api, Endpoint::ShowWorkflow);
    query::show(asks, &arguments.id, arguments.output, render).await
}

fn render(answer: &ShowWorkflowResponse) -> String {
    let shown = &answer.results;
    let line = |key: &str, value: &str| {
        let line = format!("{}{}", pad(&plain(key), WIDTH), plain(value));
        format!("{}\n", line.trim_end())
    };
    let mut text = line("parameter", "value");
    text.push_str(&line("---------", "-----"));
    for (key, value) in shown.parameters.iter().flatten() {
        text.push_str(&line(key, value));
    }
    for (key, value) in [
        ("state", &shown.state),
        ("cause", &shown.cause),
        ("started", &shown.started),
        ("finished", &shown.finished),
    ] {
        if !value.is_empty() {
            text.push_str(&line(key, value));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use pgo_api::ShowWorkflowDetail;

    use super::*;

    #[test]
    fn parameters_are_shown_with_the_state_behind_them() {
        let parameters = [
            ("pg-cluster", "hippo"),
            ("task submitted", "2026-11-22.13.20.00"),
        ];
        let parameters = parameters.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let answer = ShowWorkflowResponse {
            results: ShowWorkflowDetail {
                cluster_name: "hippo".to_owned(),
                parameters: Some(parameters.into()),
                state: "failed".to_owned(),
                cause: "no\nvolume".to_owned(),
                ..ShowWorkflowDetail::default()
            },
            ..ShowWorkflowResponse::default()
        };
        assert_eq!(
            render(&answer),
            "parameter           value\n\
             ---------           -----\n\
             pg-cluster          hippo\n\
             task submitted      2026-11-22.13.20.00\n\
             state               failed\n\
             cause               no volume\n"
        );
    }
}
