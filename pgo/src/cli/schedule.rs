//! `pgo create schedule`, `pgo show schedule`, `pgo delete schedule`.

use clap::Args;
use pgo_api::{
    CreateScheduleRequest, CreateScheduleResponse, DeleteScheduleResponse, Endpoint,
    SelectScheduleRequest, ShowScheduleResponse,
};

use super::{
    Failure, Output, Report,
    create_cluster::lines,
    prompt::{self, Answer},
};
use crate::{client::Api, output};

/// Create a schedule: something that is done again and again
///
/// The times are those of UTC where none is named: a schedule may begin with TZ=Europe/Berlin, and be @daily and the like. There
/// is one schedule per cluster and type of backup; it goes with the cluster.
#[derive(Args)]
#[command(
    after_help = "Example:\n  pgo create schedule hippo --schedule=\"0 1 * * *\" --schedule-type=pgbackrest --pgbackrest-backup-type=full"
)]
pub struct Create {
    /// Name of the cluster
    #[arg(value_name = "CLUSTER")]
    cluster: Option<String>,
    /// Kubernetes label selector instead of a name
    #[arg(short, long, value_name = "SELECTOR")]
    selector: Option<String>,
    /// When it is due: minute, hour, day of month, month, day of week
    #[arg(
        long,
        value_name = "CRON",
        default_value = "",
        hide_default_value = true
    )]
    schedule: String,
    /// What is done: pgbackrest, pgbasebackup or policy
    #[arg(
        long,
        value_name = "TYPE",
        default_value = "",
        hide_default_value = true
    )]
    schedule_type: String,
    /// Type of the backup: full, diff or incr
    #[arg(
        long,
        value_name = "TYPE",
        default_value = "",
        hide_default_value = true
    )]
    pgbackrest_backup_type: String,
    /// Where pgBackRest keeps it: local, s3 or local,s3
    #[arg(
        long,
        value_name = "TYPE",
        default_value = "",
        hide_default_value = true
    )]
    pgbackrest_storage_type: String,
    /// Claim that the copies by pg_basebackup go to; made where it is not there
    #[arg(
        long,
        value_name = "CLAIM",
        default_value = "",
        hide_default_value = true
    )]
    pvc_name: String,
    /// Accepted, and without effect, as in 4.1
    #[arg(short = 'c', long, value_name = "TAG", hide = true)]
    ccp_image_tag: Option<String>,
    /// Options for the program
    #[arg(
        long,
        value_name = "OPTIONS",
        default_value = "",
        hide = true,
        allow_hyphen_values = true
    )]
    schedule_opts: String,
    /// Policy that is applied
    #[arg(
        long,
        value_name = "POLICY",
        default_value = "",
        hide_default_value = true
    )]
    policy: String,
    /// Database that it is applied to
    #[arg(
        long,
        value_name = "DATABASE",
        default_value = "",
        hide_default_value = true
    )]
    database: String,
    /// Secret with the user who applies it
    #[arg(
        long,
        value_name = "SECRET",
        default_value = "",
        hide_default_value = true
    )]
    secret: String,
}

/// Show schedules, when they ran last and when they are due next
#[derive(Args)]
pub struct Show {
    #[command(flatten)]
    which: Which,
    /// Accepted, and without effect, as in 4.1
    #[arg(long, hide = true)]
    no_prompt: bool,
    #[command(flatten)]
    output: Output,
}

/// Delete schedules
///
/// What they have begun goes on.
#[derive(Args)]
pub struct Delete {
    #[command(flatten)]
    which: Which,
    /// Do not ask before
    #[arg(long)]
    no_prompt: bool,
}

/// Schedules of clusters, or one.
#[derive(Args)]
struct Which {
    /// Name of the cluster whose schedules are meant
    #[arg(value_name = "CLUSTER")]
    cluster: Option<String>,
    /// Kubernetes label selector of clusters whose schedules are meant
    #[arg(short, long, value_name = "SELECTOR")]
    selector: Option<String>,
    /// Name of the one schedule that is meant
    #[arg(long, value_name = "NAME")]
    schedule_name: Option<String>,
}

impl Which {
    fn check(&self) -> Result<(), Failure> {
        let given = [&self.cluster, &self.selector, &self.schedule_name];
        match given.into_iter().flatten().filter(|one| !one.is_empty()).count() {
            0 => Err(Failure::Usage(
                "name a cluster, or give --selector or --schedule-name".to_owned(),
            )),
            1 => Ok(()),
            _ => Err(Failure::Usage(
                "give either the name of a cluster, or --selector, or --schedule-name; not more than one of these"
                    .to_owned(),
            )),
        }
    }

    fn request(&self, api: &Api) -> SelectScheduleRequest {
        let text = |given: &Option<String>| given.clone().unwrap_or_default();
        SelectScheduleRequest {
            namespace: api.settings().namespace.clone(),
            schedule_name: text(&self.schedule_name),
            cluster_name: text(&self.cluster),
            selector: text(&self.selector),
        }
    }
}

impl Create {
    /// What is missing for the type; whether the times can be is for the apiserver to say.
    pub fn check(&self) -> Result<(), Failure> {
        let wrong = |text: &str| Err(Failure::Usage(text.to_owned()));
        let given = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
        match (given(&self.cluster), given(&self.selector)) {
            (false, false) => return wrong("name a cluster, or give --selector"),
            (true, true) => return wrong("give either the name of a cluster, or --selector"),
            _ => {}
        }
        if self.schedule.is_empty() {
            return wrong("--schedule is required, such as --schedule=\"0 1 * * *\"");
        }
        match self.schedule_type.as_str() {
            "pgbackrest" => match self.pgbackrest_backup_type.as_str() {
                "full" | "diff" | "incr" => Ok(()),
                _ => wrong(
                    "--pgbackrest-backup-type is required for pgbackrest schedules: full, diff or incr",
                ),
            },
            "pgbasebackup" if self.pvc_name.is_empty() => {
                wrong("--pvc-name is required for pgbasebackup schedules")
            }
            "policy" if self.policy.is_empty() => {
                wrong("Policy name required for policy schedules")
            }
            "policy" if self.database.is_empty() => {
                wrong("Database name required for policy schedules")
            }
            "pgbasebackup" | "policy" => Ok(()),
            _ => wrong("--schedule-type is required: pgbackrest, pgbasebackup or policy"),
        }
    }

    fn request(&self, api: &Api) -> CreateScheduleRequest {
        let text = |given: &Option<String>| given.clone().unwrap_or_default();
        CreateScheduleRequest {
            cluster_name: text(&self.cluster),
            namespace: api.settings().namespace.clone(),
            schedule: self.schedule.clone(),
            schedule_type: self.schedule_type.clone(),
            selector: text(&self.selector),
            backrest_type: self.pgbackrest_backup_type.clone(),
            backrest_storage_type: self.pgbackrest_storage_type.clone(),
            pvc_name: self.pvc_name.clone(),
            schedule_options: self.schedule_opts.clone(),
            policy_name: self.policy.clone(),
            database: self.database.clone(),
            secret: self.secret.clone(),
            ..CreateScheduleRequest::default()
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

/// One request, one answer, which may be of a part.
pub async fn create(arguments: &Create, api: &Api) -> Result<(), Failure> {
    let request = arguments.request(api);
    let answer = api.send(Endpoint::CreateSchedule, &request).await?;
    let answer: CreateScheduleResponse = answer.also_in_part();
    let mut report = Report::default();
    report.print(&lines(&answer.results));
    match answer.outcome.failure() {
        Some(why) => report.problem(why),
        None if answer.results.is_empty() => {
            report.print("No clusters found.\n");
            if let Some(cluster) = &arguments.cluster {
                let namespace = &api.settings().namespace;
                report.problem(format!("not found in namespace {namespace}: {cluster}"));
            }
        }
        None => {}
    }
    report.end()
}

/// One request, one answer.
pub async fn show(arguments: &Show, api: &Api) -> Result<(), Failure> {
    let request = arguments.which.request(api);
    let answer = api.send(Endpoint::ShowSchedule, &request).await?;
    let answer: ShowScheduleResponse = answer.whole()?;
    let mut report = Report::default();
    if arguments.output.is_json() {
        report.print_json(&answer);
    } else {
        report.print(&render(&answer.results));
    }
    if answer.results.is_empty() && !request.schedule_name.is_empty() {
        report.problem(format!(
            "no schedule {} in namespace {}",
            request.schedule_name, request.namespace
        ));
    }
    report.end()
}

/// Each with its lines.
fn render(results: &[String]) -> String {
    match results {
        [] => "No schedules found.\n".to_owned(),
        some => some
            .iter()
            .map(|schedule| format!("{}\n", output::lines(schedule)))
            .collect(),
    }
}

/// Asks the user, then the apiserver.
pub async fn delete(arguments: &Delete, api: &Api) -> Result<(), Failure> {
    if !arguments.no_prompt && prompt::confirm()? == Answer::No {
        output::note("Aborting...");
        return Ok(());
    }
    let request = arguments.which.request(api);
    let answer = api.send(Endpoint::DeleteSchedule, &request).await?;
    let answer: DeleteScheduleResponse = answer.also_in_part();
    let mut report = Report::default();
    report.print(&lines(&answer.results));
    match answer.outcome.failure() {
        Some(why) => report.problem(why),
        None if answer.results.is_empty() => report.print("No schedules found.\n"),
        None => {}
    }
    report.end()
}
