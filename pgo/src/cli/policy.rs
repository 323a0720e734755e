//! `pgo create policy`, `pgo show policy`, `pgo delete policy` and `pgo apply`.

use std::{fs, path::PathBuf};

use clap::Args;
use pgo_api::{
    ApplyPolicyRequest, ApplyPolicyResponse, CreatePolicyRequest, DeletePolicyRequest,
    DeletePolicyResponse, Endpoint, Outcome, PGO_VERSION, PolicyList, ShowPolicyRequest,
    ShowPolicyResponse,
};
use serde_json::Value;

use super::{
    Failure, Output, Report,
    create_cluster::lines,
    prompt::{self, Answer},
};
use crate::{client::Api, output};

/// Create a policy: SQL that is kept, to be applied to clusters
///
/// The SQL is that of a file here, or it is fetched from a URL whenever the policy is applied. Where both are given the file
/// goes.
#[derive(Args)]
#[command(after_help = "Example:\n  pgo create policy gold --in-file=gold.sql")]
pub struct Create {
    /// Name of the policy
    #[arg(value_name = "POLICY")]
    name: String,
    /// File with the SQL
    #[arg(short, long, value_name = "FILE")]
    in_file: Option<PathBuf>,
    /// Where the SQL is: http:// or https://
    #[arg(
        short,
        long,
        value_name = "URL",
        default_value = "",
        hide_default_value = true
    )]
    url: String,
}

/// Names of policies, or all.
#[derive(Args)]
struct Which {
    /// Names of policies
    #[arg(value_name = "POLICY")]
    names: Vec<String>,
    /// All policies of the namespace
    #[arg(long)]
    all: bool,
}

/// Show policies, with their SQL
#[derive(Args)]
pub struct Show {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    output: Output,
}

/// Delete policies
///
/// What they did to clusters stays.
#[derive(Args)]
pub struct Delete {
    #[command(flatten)]
    which: Which,
    /// Do not ask before
    #[arg(long)]
    no_prompt: bool,
}

/// Apply a policy to clusters
///
/// Its SQL runs in the primary of each cluster, in database postgres, as the superuser: all of it or nothing. It is told when it
/// has ended, and for an error in which line and column.
#[derive(Args)]
#[command(after_help = "Example:\n  pgo apply gold --selector=env=research --dry-run")]
pub struct Apply {
    /// Name of the policy
    #[arg(value_name = "POLICY")]
    name: String,
    /// Kubernetes label selector of the clusters
    #[arg(short, long, value_name = "SELECTOR")]
    selector: Option<String>,
    /// Only say which clusters it would be applied to
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    output: Output,
}

impl Which {
    fn check(&self) -> Result<(), Failure> {
        match (self.names.is_empty(), self.all) {
            (true, false) => Err(Failure::Usage(
                "name one or more policies, or give --all".to_owned(),
            )),
            (false, true) => Err(Failure::Usage(
                "give either names of policies or --all, not both".to_owned(),
            )),
            _ => Ok(()),
        }
    }

    /// The names to ask for, one after the other; 4.1 asks for all by this word.
    fn names(&self, all: &str) -> Vec<String> {
        match self.all {
            true => vec![all.to_owned()],
            false => self.names.clone(),
        }
    }
}

impl Create {
    /// What the arguments get wrong together.
    pub fn check(&self) -> Result<(), Failure> {
        match (&self.in_file, self.url.as_str()) {
            (None, "") => Err(Failure::Usage(
                "give the SQL by --in-file, or where it is by --url".to_owned(),
            )),
            _ => Ok(()),
        }
    }
}

impl Show {
    /// What the arguments get wrong together.
    pub fn check(&self) -> Result<(), Failure> {
        self.which.check()
    }
}

impl Delete {
    /// What the arguments get wrong together.
    pub fn check(&self) -> Result<(), Failure> {
        self.which.check()
    }
}

impl Apply {
    /// What the arguments get wrong together.
    pub fn check(&self) -> Result<(), Failure> {
        match self.selector.as_deref() {
            None | Some("") => Err(Failure::Usage(
                "give the clusters by --selector, such as --selector=name=hippo".to_owned(),
            )),
            Some(_) => Ok(()),
        }
    }
}

/// Reads the file, then asks.
pub async fn create(arguments: &Create, api: &Api) -> Result<(), Failure> {
    let sql = match &arguments.in_file {
        None => String::new(),
        Some(file) => fs::read_to_string(file).map_err(|error| {
            let why = format!("cannot read {}: {error}", file.display());
            Failure::Failed(why)
        })?,
    };
    let request = CreatePolicyRequest {
        name: arguments.name.clone(),
        url: arguments.url.clone(),
        sql,
        namespace: api.settings().namespace.clone(),
        client_version: PGO_VERSION.to_owned(),
    };
    let answer = api.send(Endpoint::CreatePolicy, &request).await?;
    let _: Outcome = answer.whole()?;
    let mut report = Report::default();
    report.print("Created policy.\n");
    report.end()
}

/// One request per name.
pub async fn show(arguments: &Show, api: &Api) -> Result<(), Failure> {
    let mut report = Report::default();
    let namespace = &api.settings().namespace;
    let mut missing = Vec::new();
    for name in arguments.which.names("") {
        let request = ShowPolicyRequest {
            namespace: namespace.clone(),
            all: arguments.which.all,
            client_version: PGO_VERSION.to_owned(),
            policy_name: name.clone(),
            ..ShowPolicyRequest::default()
        };
        let answer = api.send(Endpoint::ShowPolicy, &request).await?;
        let answer: ShowPolicyResponse = answer.whole()?;
        let found = answer.policy_list.items.iter().flatten().next();
        if found.is_none() && !arguments.which.all {
            missing.push(name);
        }
        match arguments.output.is_json() {
            true => report.print_json(&answer),
            false => report.print(&render(&answer.policy_list)),
        }
    }
    if !missing.is_empty() {
        report.problem(format!(
            "not found in namespace {namespace}: {}",
            missing.join(", ")
        ));
    }
    report.end()
}

fn render(list: &PolicyList) -> String {
    let items = list.items.as_deref().unwrap_or_default();
    if items.is_empty() {
        return "No policies found.\n".to_owned();
    }
    let one = |policy: &Value| {
        let spec = |key: &str| policy["spec"][key].as_str().unwrap_or_default();
        let name = policy["metadata"]["name"].as_str().unwrap_or_default();
        output::lines(&format!(
            "\npolicy : {name}\n\turl : {}\n\tstatus : {}\n\tsql : {}\n",
            spec("url"),
            spec("status"),
            spec("sql")
        ))
    };
    items.iter().map(one).collect()
}

/// Asks the user, then the apiserver for each name; refusals are told when all were asked.
pub async fn delete(arguments: &Delete, api: &Api) -> Result<(), Failure> {
    if !arguments.no_prompt && prompt::confirm()? == Answer::No {
        output::note("Aborting...");
        return Ok(());
    }
    let mut report = Report::default();
    for name in arguments.which.names("all") {
        let request = DeletePolicyRequest {
            namespace: api.settings().namespace.clone(),
            all: arguments.which.all,
            client_version: PGO_VERSION.to_owned(),
            policy_name: name,
            ..DeletePolicyRequest::default()
        };
        let answer = api.send(Endpoint::DeletePolicy, &request).await?;
        let answer: DeletePolicyResponse = answer.also_in_part();
        report.print(&lines(&answer.results));
        if let Some(why) = answer.outcome.failure() {
            report.problem(why);
        }
    }
    report.end()
}

/// One request, one answer, which may be of a part.
pub async fn apply(arguments: &Apply, api: &Api) -> Result<(), Failure> {
    let request = ApplyPolicyRequest {
        name: arguments.name.clone(),
        selector: arguments.selector.clone().unwrap_or_default(),
        dry_run: arguments.dry_run,
        namespace: api.settings().namespace.clone(),
        client_version: PGO_VERSION.to_owned(),
    };
    let answer = api.send(Endpoint::ApplyPolicy, &request).await?;
    let answer: ApplyPolicyResponse = answer.also_in_part();
    let mut report = Report::default();
    let failure = answer.outcome.failure();
    if arguments.output.is_json() {
        report.print_json(&answer);
    } else if failure.is_none() || !answer.name.is_empty() {
        report.print(&applied(&answer.name, arguments.dry_run));
    }
    if !answer.before.is_empty() && !arguments.output.is_json() {
        output::note(&output::plain(&format!(
            "pgo: {} had been applied before to: {}",
            arguments.name,
            answer.before.join(", ")
        )));
    }
    if let Some(why) = failure {
        report.problem(why);
    }
    report.end()
}

fn applied(names: &[String], dry_run: bool) -> String {
    let mut text = match dry_run {
        true => "The label would have been applied on the following:\n".to_owned(),
        false => String::new(),
    };
    if names.is_empty() {
        text.push_str("No clusters found.\n");
    }
    for name in names {
        let name = output::plain(name);
        text.push_str(&format!("Applied policy on {name}\n"));
    }
    text
}
