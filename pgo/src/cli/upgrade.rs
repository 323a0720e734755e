//! `pgo upgrade`.

use std::sync::Arc;

use clap::Args;
use pgo_api::{AskedUpgrade, CreateUpgradeRequest, CreateUpgradeResponse, Endpoint, PGO_VERSION};

use super::{
    Failure, Output, Report,
    create_cluster::lines,
    select::{Place, Selected, Selection, each, shows},
    wait::{CLUSTERS, Following, Tally, WaitFlags, Work},
};
use crate::client::Api;

/// Upgrade clusters to a later minor version of PostgreSQL
///
/// With --all these are all clusters of all namespaces that you may use, or of the one that --namespace names.
///
/// Replicas get the new image one after another, each caught up before the next, the primary comes last. An image that
/// cannot be used is refused before anything is changed; at the first failure the upgrade stops and the cluster goes on.
#[derive(Args)]
#[command(mut_arg("all", |all| all.help("All clusters that you may use, of all namespaces or of that of --namespace")))]
pub struct Arguments {
    #[command(flatten)]
    pub selection: Selection,
    /// Tag of the PostgreSQL image, instead of the installation's (CCP_IMAGE_TAG of the installer)
    #[arg(
        long,
        value_name = "TAG",
        default_value = "",
        hide_default_value = true
    )]
    ccp_image_tag: String,
    #[command(flatten)]
    wait: WaitFlags,
    #[command(flatten)]
    output: Output,
}

/// Asks the apiserver; refusals are told when all were asked.
pub async fn run(arguments: Arguments, api: Arc<Api>) -> Result<(), Failure> {
    let requests = arguments.selection.requests()?;
    let named = arguments.selection.names.len();
    let json = arguments.output.is_json();
    let namespace = namespace(&arguments.selection, &api);
    let within = namespace.as_deref().unwrap_or_default();
    let following = Following::begin_in((CLUSTERS, within), &arguments.wait, &api, json).await;
    let (mut results, mut upgrades) = (Vec::new(), Vec::<AskedUpgrade>::new());
    let mut report = Report::default();
    let ask = async |selected: &Selected| {
        let request = request(&arguments, selected, namespace.as_deref());
        api.send(Endpoint::Upgrade, &request).await
    };
    let take = |report: &mut Report, _: &Selected, answer: CreateUpgradeResponse| {
        if !json {
            report.print(&lines(&answer.results));
            if answer.results.is_empty() && answer.outcome.failure().is_none() {
                report.print(&lines(std::slice::from_ref(&answer.outcome.msg)));
            }
        }
        results.extend(answer.results);
        upgrades.extend(answer.upgrades);
    };
    let outcome = each(requests, &mut report, ask, take).await;
    // Those that had it have a text, too.
    let had_it = results.len().saturating_sub(upgrades.len());
    let not_begun = match named {
        0 if outcome.failure().is_some() => NotBegun::Some,
        _ => NotBegun::These(named.saturating_sub(results.len())),
    };
    if json && shows(&outcome, &results) {
        report.print_json(&CreateUpgradeResponse {
            results,
            upgrades: upgrades.clone(),
            outcome,
        });
    }
    if let Some(following) = following {
        let asked = upgrades.into_iter();
        let place = |cluster, of: String| Place {
            namespace: namespace.is_none().then_some(of),
            name: cluster,
        };
        let asked = asked.map(|one| (place(one.cluster, one.namespace), one.operation));
        let asked = asked.collect();
        let tally = following.until_done(Work::Upgrade, asked, &mut report);
        let summary = summary(tally.await, had_it, not_begun);
        if let Some(summary) = summary.filter(|_| !json) {
            report.print(&format!("{summary}\n"));
        }
    }
    report.end()
}

/// Clusters that were refused or not asked for.
#[derive(Clone, Copy)]
enum NotBegun {
    /// So many.
    These(usize),
    /// Of all, or of those with a label; the answer says why, not how many.
    Some,
}

/// How it went with several clusters, in one line; nothing for one.
fn summary(tally: Tally, had_it: usize, not_begun: NotBegun) -> Option<String> {
    let Tally { done, failed, left } = tally;
    let (not_begun, some_not_begun) = match not_begun {
        NotBegun::These(count) => (count, false),
        NotBegun::Some => (0, true),
    };
    let clusters = done + failed + left + had_it + not_begun + usize::from(some_not_begun);
    if clusters < 2 {
        return None;
    }
    let counted = [
        (failed, "failed"),
        (left, "not over"),
        (had_it, "had it already"),
        (not_begun, "not begun"),
    ];
    let mut parts = vec![format!("{done} upgraded")];
    let there = counted.iter().filter(|(count, _)| *count > 0);
    parts.extend(there.map(|(count, what)| format!("{count} {what}")));
    parts.extend(some_not_begun.then(|| "some not begun".to_owned()));
    Some(parts.join(", "))
}

/// The namespace to look in; none: all that the user may use. What is set for all commands narrows no `--all`, only the flag
/// of this one does.
fn namespace(selection: &Selection, api: &Api) -> Option<String> {
    let settings = api.settings();
    match selection.all {
        true => settings.namespace_flag.clone(),
        false => Some(settings.namespace.clone()),
    }
}

fn request(
    arguments: &Arguments,
    selected: &Selected,
    namespace: Option<&str>,
) -> CreateUpgradeRequest {
    CreateUpgradeRequest {
        args: selected.args(),
        selector: selected.selector.clone(),
        namespace: namespace.unwrap_or_default().to_owned(),
        all_namespaces: namespace.is_none(),
        ccp_image_tag: arguments.ccp_image_tag.clone(),
        client_version: PGO_VERSION.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_says_how_it_went_with_several_and_nothing_of_one() {
        let of = |done, failed, left| Tally { done, failed, left };
        let none = NotBegun::These(0);
        let texts = [
            (summary(of(1, 0, 0), 0, none), None),
            (summary(of(0, 0, 0), 1, none), None),
            (summary(of(2, 0, 0), 0, none), Some("2 upgraded")),
            (
                summary(of(3, 1, 0), 2, none),
                Some("3 upgraded, 1 failed, 2 had it already"),
            ),
            (
                summary(of(0, 0, 1), 0, NotBegun::These(1)),
                Some("0 upgraded, 1 not over, 1 not begun"),
            ),
            (
                summary(of(1, 0, 0), 0, NotBegun::Some),
                Some("1 upgraded, some not begun"),
            ),
        ];
        for (text, expected) in texts {
            assert_eq!(text.as_deref(), expected);
        }
    }
}
