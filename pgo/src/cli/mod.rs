//! The command tree: one file per command with its arguments, what it asks and how it shows the answer.
//!
//! ```text
//! arguments ─► tree (clap) ─► later? ──► "not available in this version yet"
//!                               └─► command ─► settings ─► Api ─► output, exit status
//! ```

mod advice;
mod backup;
mod benchmark;
mod cancel;
mod completion;
mod create_cluster;
mod dead_letter;
mod delete_backup;
mod delete_cluster;
mod df;
mod direct;
mod drill;
mod explain;
mod failover;
mod failure;
mod files;
mod later;
mod load;
mod man;
mod policy;
mod prompt;
mod query;
mod reload;
mod report;
mod restart;
mod restore;
mod scale;
mod schedule;
mod select;
mod show_backup;
mod show_cluster;
mod show_workflow;
mod status;
mod test;
mod update_cluster;
mod upgrade;
mod version;
mod wait;
mod watch;

use std::{ffi::OsString, process::ExitCode};

use clap::{
    Arg, ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand,
    error::{ContextKind, ContextValue, ErrorKind},
};

use crate::{
    client::{Api, GlobalFlags, Settings},
    output::{self, Format},
};

use failure::Failure;
use report::Report;

/// Create and look after PostgreSQL clusters on Kubernetes.
///
/// The client talks to the apiserver of PGO. It finds it by PGO_APISERVER_URL, trusts it by PGO_CA_CERT, shows itself by
/// PGO_CLIENT_CERT and PGO_CLIENT_KEY, and logs in with PGOUSERNAME and PGOUSERPASS, or with the line user:password of the
/// file PGOUSER, ~/.pgouser or /etc/pgo/pgouser.
///
/// Exit status: 0 done; 1 the command line is wrong; 2 it was not done, or --output asks for a form that there is not; 255
/// the URL of the apiserver is not known.
/// Errors are on standard error.
#[derive(Parser)]
#[command(name = "pgo", disable_version_flag = true, subcommand_required = false)]
struct Cli {
    #[command(flatten)]
    global: GlobalFlags,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Create a cluster, a policy, or a schedule
    Create {
        #[command(subcommand)]
        what: Option<Create>,
    },
    /// Show clusters, backups, benchmarks, policies, schedules, how far operations are, or messages that nobody could handle
    Show {
        #[command(subcommand)]
        what: Option<Show>,
    },
    /// Delete clusters, backups, benchmarks, policies, schedules, or messages that nobody could handle
    Delete {
        #[command(subcommand)]
        what: Option<Delete>,
    },
    /// Publish messages that nobody could handle again
    Requeue {
        #[command(subcommand)]
        what: Option<Requeue>,
    },
    Apply(policy::Apply),
    Backup(backup::Arguments),
    Benchmark(Box<benchmark::Create>),
    Load(Box<load::Arguments>),
    Cancel(cancel::Arguments),
    Drill(drill::Arguments),
    Scale(scale::Up),
    #[command(name = "scaledown")]
    ScaleDown(scale::Down),
    Failover(failover::Arguments),
    /// Change settings of clusters
    Update {
        #[command(subcommand)]
        what: Option<Update>,
    },
    Reload(reload::Arguments),
    Restart(restart::Arguments),
    Restore(restore::Arguments),
    Test(test::Arguments),
    Df(df::Arguments),
    Ls(files::Ls),
    Cat(files::Cat),
    Upgrade(upgrade::Arguments),
    Version(version::Arguments),
    Status(status::Arguments),
    Watch(watch::Arguments),
    Explain(explain::Arguments),
    Completion(completion::Arguments),
}

#[derive(Subcommand)]
enum Create {
    Cluster(Box<create_cluster::Arguments>),
    Policy(policy::Create),
    Schedule(Box<schedule::Create>),
}

#[derive(Subcommand)]
enum Show {
    Backup(show_backup::Arguments),
    Benchmark(benchmark::Show),
    Cluster(show_cluster::Arguments),
    Policy(policy::Show),
    Schedule(schedule::Show),
    Workflow(show_workflow::Arguments),
    #[command(name = "deadletter", visible_alias = "deadletters")]
    DeadLetter(dead_letter::Show),
}

#[derive(Subcommand)]
enum Delete {
    Backup(delete_backup::Arguments),
    Benchmark(benchmark::Delete),
    Cluster(delete_cluster::Arguments),
    Policy(policy::Delete),
    Schedule(schedule::Delete),
    #[command(name = "deadletter", visible_alias = "deadletters")]
    DeadLetter(dead_letter::Delete),
}

#[derive(Subcommand)]
enum Update {
    Cluster(update_cluster::Arguments),
}

#[derive(Subcommand)]
enum Requeue {
    #[command(name = "deadletter", visible_alias = "deadletters")]
    DeadLetter(dead_letter::Requeue),
}

/// The form of the output, for the commands that have a choice.
#[derive(Args, Clone, Copy, Debug)]
struct Output {
    /// Form of the output, instead of text
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<Format>,
}

impl Output {
    fn is_json(self) -> bool {
        self.output == Some(Format::Json)
    }
}

/// Reads a boolean flag's value as Go does.
fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("use true or false".to_owned()),
    }
}

/// The whole tree: what works, what comes later, and what only the build needs.
fn tree() -> clap::Command {
    later::add(available()).subcommand(man::command())
}

/// What works, for users.
fn available() -> clap::Command {
    with_go_switches(Cli::command())
}

/// Lets every switch take `=true` and `=false`, as 4.1's do.
fn with_go_switches(command: clap::Command) -> clap::Command {
    let switch = |argument: Arg| match argument.get_action() {
        ArgAction::SetTrue => argument
            .action(ArgAction::Set)
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .default_value("false")
            .hide_default_value(true)
            .hide_possible_values(true)
            .value_name("BOOL")
            .value_parser(boolean),
        _ => argument,
    };
    command.mut_args(switch).mut_subcommands(with_go_switches)
}

/// Does what the arguments say; the exit status.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    match execute(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn execute(arguments: impl IntoIterator<Item = OsString>) -> Result<(), Failure> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let matches = match tree().try_get_matches_from(&arguments) {
        Ok(matches) => matches,
        Err(error) => return of_clap(&without_what_comes_later(error, &arguments)),
    };
    let later = later::wanted(&matches);
    if !later.is_empty() {
        return Err(Failure::NotAvailable(later));
    }
    if let Some(folder) = man::wanted(&matches) {
        return man::write(folder);
    }
    completion::write_where_4_1_did()?;
    let cli = Cli::from_arg_matches(&matches).map_err(|error| usage(&error))?;
    let Some(command) = cli.command else {
        return help(&tree().render_help().to_string());
    };
    dispatch(command, &cli.global)
}

fn dispatch(command: Command, global: &GlobalFlags) -> Result<(), Failure> {
    check(&command)?;
    match command {
        Command::Create { what: None } => Err(no_resource("create")),
        Command::Show { what: None } => Err(no_resource("show")),
        Command::Delete { what: None } => Err(no_resource("delete")),
        Command::Requeue { what: None } => Err(no_resource("requeue")),
        Command::Update { what: None } => Err(no_resource("update")),
        Command::Create { what: Some(what) } => create(what, global),
        Command::Show { what: Some(what) } => show(&what, global),
        Command::Delete { what: Some(what) } => delete(what, global),
        Command::Requeue {
            what: Some(Requeue::DeadLetter(arguments)),
        } => requeue(&arguments, global),
        Command::Completion(arguments) => completion::run(&arguments),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Apply(arguments) => {
            asking(global, async |api| policy::apply(&arguments, &api).await)
        }
        Command::Backup(arguments) => asking(global, async |api| backup::run(arguments, api).await),
        Command::Benchmark(arguments) => {
            asking(global, async |api| benchmark::create(&arguments, api).await)
        }
        Command::Load(arguments) => asking(global, async |api| load::run(&arguments, api).await),
        Command::Drill(arguments) => asking(global, async |api| drill::run(arguments, api).await),
        Command::Cancel(arguments) => {
            asking(global, async |api| cancel::run(&arguments, &api).await)
        }
        Command::Scale(arguments) => asking(global, async |api| scale::up(&arguments, api).await),
        Command::ScaleDown(arguments) => scale_down(&arguments, global),
        Command::Failover(arguments) => failover(&arguments, global),
        Command::Update {
            what: Some(Update::Cluster(arguments)),
        } => update_cluster(&arguments, global),
        Command::Upgrade(arguments) => upgrade(arguments, global),
        Command::Reload(arguments) => reload(&arguments, global),
        Command::Restart(arguments) => restart(arguments, global),
        Command::Restore(arguments) => restore(&arguments, global),
        Command::Test(arguments) => asking(global, async |api| test::run(&arguments, &api).await),
        Command::Df(arguments) => asking(global, async |api| df::run(&arguments, &api).await),
        Command::Ls(arguments) => asking(global, async |api| files::ls(&arguments, &api).await),
        Command::Cat(arguments) => asking(global, async |api| files::cat(&arguments, &api).await),
        Command::Version(arguments) => {
            asking(global, async |api| version::run(&arguments, &api).await)
        }
        Command::Status(arguments) => {
            asking(global, async |api| status::run(&arguments, &api).await)
        }
        Command::Watch(arguments) => match arguments.direct()? {
            Some(direct) => in_runtime(watch::run_direct(direct, global.namespace.is_some())),
            None => asking(global, async |api| watch::run(arguments, api).await),
        },
    }
}

fn create(what: Create, global: &GlobalFlags) -> Result<(), Failure> {
    asking(global, async |api| match what {
        Create::Cluster(arguments) => create_cluster::run(*arguments, api).await,
        Create::Policy(arguments) => policy::create(&arguments, &api).await,
        Create::Schedule(arguments) => schedule::create(&arguments, &api).await,
    })
}

fn show(what: &Show, global: &GlobalFlags) -> Result<(), Failure> {
    asking(global, async |api| match what {
        Show::Backup(arguments) => show_backup::run(arguments, &api).await,
        Show::Benchmark(arguments) => benchmark::show(arguments, &api).await,
        Show::Cluster(arguments) => show_cluster::run(arguments, &api).await,
        Show::Policy(arguments) => policy::show(arguments, &api).await,
        Show::Schedule(arguments) => schedule::show(arguments, &api).await,
        Show::Workflow(arguments) => show_workflow::run(arguments, &api).await,
        Show::DeadLetter(arguments) => dead_letter::show(arguments, &api).await,
    })
}

fn delete(what: Delete, global: &GlobalFlags) -> Result<(), Failure> {
    asking(global, async |api| match what {
        Delete::Backup(arguments) => delete_backup::run(&arguments, &api).await,
        Delete::Benchmark(arguments) => benchmark::delete(&arguments, &api).await,
        Delete::Cluster(arguments) => delete_cluster::run(arguments, api).await,
        Delete::Policy(arguments) => policy::delete(&arguments, &api).await,
        Delete::Schedule(arguments) => schedule::delete(&arguments, &api).await,
        Delete::DeadLetter(arguments) => dead_letter::delete(&arguments, &api).await,
    })
}

fn requeue(arguments: &dead_letter::Requeue, global: &GlobalFlags) -> Result<(), Failure> {
    asking(global, async |api| {
        dead_letter::requeue(arguments, &api).await
    })
}

fn upgrade(arguments: upgrade::Arguments, global: &GlobalFlags) -> Result<(), Failure> {
    asking(global, async |api| upgrade::run(arguments, api).await)
}

fn scale_down(arguments: &scale::Down, global: &GlobalFlags) -> Result<(), Failure> {
    asking(global, async |api| scale::down(arguments, api).await)
}

fn reload(arguments: &reload::Arguments, global: &GlobalFlags) -> Result<(), Failure> {
    asking(global, async |api| reload::run(arguments, &api).await)
}

fn restart(arguments: restart::Arguments, global: &GlobalFlags) -> Result<(), Failure> {
    asking(global, async |api| restart::run(arguments, api).await)
}

fn restore(arguments: &restore::Arguments, global: &GlobalFlags) -> Result<(), Failure> {
    asking(global, async |api| restore::run(arguments, api).await)
}

fn failover(arguments: &failover::Arguments, global: &GlobalFlags) -> Result<(), Failure> {
    asking(global, async |api| failover::run(arguments, api).await)
}

fn update_cluster(
    arguments: &update_cluster::Arguments,
    global: &GlobalFlags,
) -> Result<(), Failure> {
    asking(global, async |api| {
        update_cluster::run(arguments, &api).await
    })
}

/// What the arguments themselves can get wrong, before anything else is looked at.
fn check(command: &Command) -> Result<(), Failure> {
    let selection = match command {
        Command::Create {
            what: Some(Create::Schedule(arguments)),
        } => return arguments.check(),
        Command::Backup(arguments) => return arguments.check(),
        Command::Benchmark(arguments) => return arguments.check(),
        Command::Show {
            what: Some(Show::Benchmark(arguments)),
        } => return arguments.check(),
        Command::Drill(arguments) => &arguments.selection,
        Command::Load(arguments) => &arguments.selection,
        Command::Show {
            what: Some(Show::Backup(arguments)),
        } => return arguments.check(),
        Command::Show {
            what: Some(Show::Schedule(arguments)),
        } => return arguments.check(),
        Command::Show {
            what: Some(Show::Cluster(arguments)),
        } => &arguments.selection,
        Command::Delete { what: Some(what) } => return check_deletion(what),
        Command::Test(arguments) => &arguments.selection,
        Command::Df(arguments) => &arguments.selection,
        Command::Upgrade(arguments) => &arguments.selection,
        Command::Reload(arguments) => &arguments.selection,
        Command::Restart(arguments) => return arguments.check(),
        Command::Scale(arguments) => return arguments.check(),
        Command::ScaleDown(arguments) => return arguments.check(),
        Command::Failover(arguments) => return arguments.check(),
        Command::Restore(arguments) => return arguments.check(),
        Command::Apply(arguments) => return arguments.check(),
        Command::Create {
            what: Some(Create::Policy(arguments)),
        } => return arguments.check(),
        Command::Show {
            what: Some(Show::Policy(arguments)),
        } => return arguments.check(),
        Command::Watch(arguments) => return arguments.check(),
        Command::Update {
            what: Some(Update::Cluster(arguments)),
        } => return arguments.check(),
        Command::Requeue {
            what: Some(Requeue::DeadLetter(arguments)),
        } => return arguments.check(),
        _ => return Ok(()),
    };
    selection.requests().map(|_| ())
}

fn check_deletion(what: &Delete) -> Result<(), Failure> {
    match what {
        Delete::Backup(arguments) => arguments.check(),
        Delete::Benchmark(arguments) => arguments.check(),
        Delete::Cluster(arguments) => arguments.selection.requests().map(|_| ()),
        Delete::Policy(arguments) => arguments.check(),
        Delete::Schedule(arguments) => arguments.check(),
        Delete::DeadLetter(arguments) => arguments.check(),
    }
}

/// Finds the apiserver and runs a command against it.
fn asking(
    global: &GlobalFlags,
    command: impl AsyncFnOnce(std::sync::Arc<Api>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let settings = Settings::resolve(global, &|name| std::env::var_os(name))?;
    let api = std::sync::Arc::new(Api::new(settings)?);
    in_runtime(command(api))
}

/// Runs what waits for others.
fn in_runtime(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Failed(format!("cannot begin to wait for answers: {error}")))?;
    let result = runtime.block_on(work);
    // A name that is still being resolved must not hold up the end.
    runtime.shutdown_background();
    result
}

/// An error about a command that there is not suggests only those that work.
fn without_what_comes_later(error: clap::Error, arguments: &[OsString]) -> clap::Error {
    match error.kind() {
        ErrorKind::InvalidSubcommand => {
            let of_those_that_work = available().try_get_matches_from(arguments);
            of_those_that_work.err().unwrap_or(error)
        }
        _ => error,
    }
}

/// Help that was asked for is printed; all else is a wrong command line.
fn of_clap(error: &clap::Error) -> Result<(), Failure> {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let text = error.render().to_string();
            match later::of_help(&text) {
                Some(path) => Err(Failure::NotAvailable(vec![path.to_owned()])),
                None => help(&text),
            }
        }
        _ => Err(usage(error)),
    }
}

fn help(text: &str) -> Result<(), Failure> {
    output::print(&format!("{}\n", text.trim_end())).map_err(Failure::Output)
}

fn usage(error: &clap::Error) -> Failure {
    let text = error.render().to_string();
    let text = text
        .strip_prefix("error: ")
        .unwrap_or(&text)
        .trim_end()
        .to_owned();
    let about = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(argument)) => std::slice::from_ref(argument),
        Some(ContextValue::Strings(arguments)) => arguments,
        _ => &[],
    };
    let is_about = |argument: &str| about.iter().any(|one| one == argument);
    match error.kind() {
        ErrorKind::InvalidValue if is_about("--output <FORMAT>") => Failure::Form(text),
        ErrorKind::MissingRequiredArgument if is_about("<TOPIC>") => Failure::Usage(
            "topic is required; name one, such as alltopic: pgo watch --help lists them".to_owned(),
        ),
        _ => Failure::Usage(text),
    }
}

/// That a type is missing, in 4.1's words and layout, which is another for `create`; of the types those that work.
fn no_resource(verb: &str) -> Failure {
    let (before, bullet) = match verb {
        "create" => ("  ", "\n    * "),
        _ => ("\n", "\n\t* "),
    };
    let tree = tree();
    let known = tree.find_subcommand(verb).into_iter();
    let types: String = known
        .flat_map(clap::Command::get_subcommands)
        .filter(|command| !command.is_hide_set())
        .map(|command| format!("{bullet}{}", command.get_name()))
        .collect();
    Failure::Usage(format!(
        "You must specify the type of resource to {verb}.{before}Valid resource types include:{types}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_sound() {
        tree().debug_assert();
    }

    #[test]
    fn a_command_that_comes_later_is_not_suggested() {
        let why = |line: &str| {
            let arguments = line.split(' ').map(OsString::from);
            execute(arguments).unwrap_err().to_string()
        };
        let told = why("pgo create pgousr");
        assert!(
            told.contains("pgousr") && !told.contains("pgouser"),
            "{told}"
        );
        assert!(why("pgo create clustr").contains("'cluster'"));
    }

    #[test]
    fn every_command_and_flag_that_works_has_help() {
        fn check(command: &clap::Command, path: &str) {
            let path = format!("{path} {}", command.get_name());
            for argument in command.get_arguments().filter(|a| !a.is_hide_set()) {
                assert!(
                    argument.get_help().is_some(),
                    "{path}: {}",
                    argument.get_id()
                );
            }
            for inner in command.get_subcommands().filter(|c| !c.is_hide_set()) {
                assert!(inner.get_about().is_some(), "{path} {}", inner.get_name());
                check(inner, &path);
            }
        }
        check(&tree(), "");
    }

    #[test]
    fn booleans_are_those_of_go() {
        assert_eq!(boolean("T"), Ok(true));
        assert_eq!(boolean("0"), Ok(false));
        assert!(boolean("yes").is_err());
    }
}
