//! `pgo show deadletter`, `pgo requeue deadletter`, `pgo delete deadletter`.

use clap::Args;
use pgo_api::{
    DeadLetterDetail, DeadLetterRequest, DeadLetterResponse, Endpoint, PGO_VERSION,
    ShowDeadLetterResponse,
};

use super::{
    Failure, Output, Report,
    prompt::{self, Answer},
};
use crate::{
    client::Api,
    output::{self, pad, plain},
};

/// Show messages that nobody could handle
///
/// A message on alltopic that is no event, or one that a service has failed on again and again, is kept by the event
/// service until somebody looks at it. Without ids all are shown, with the beginnings of their bodies; a body is shown whole
/// where its id is given. Exit status 2 where one that was named is not there.
#[derive(Args)]
pub struct Show {
    /// Ids of dead letters; all unless given
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    #[command(flatten)]
    output: Output,
}

/// Publish messages that nobody could handle to their topics again
///
/// Do so once what was wrong is mended: all readers of the topic get the message. One that fails again is a dead letter
/// again.
#[derive(Args)]
pub struct Requeue {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    output: Output,
}

/// Forget messages that nobody could handle
#[derive(Args)]
pub struct Delete {
    #[command(flatten)]
    which: Which,
    /// Do not ask before
    #[arg(long)]
    no_prompt: bool,
    #[command(flatten)]
    output: Output,
}

/// Ids, or all.
#[derive(Args)]
struct Which {
    /// Ids of dead letters
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// All that are there
    #[arg(long)]
    all: bool,
}

impl Which {
    fn check(&self) -> Result<(), Failure> {
        match (self.ids.is_empty(), self.all) {
            (true, false) => Err(Failure::Usage(
                "name one or more dead letters by their ids, or give --all".to_owned(),
            )),
            (false, true) => Err(Failure::Usage(
                "give either ids of dead letters, or --all; not both".to_owned(),
            )),
            _ => Ok(()),
        }
    }
}

impl Requeue {
    /// What the arguments themselves can get wrong.
    pub fn check(&self) -> Result<(), Failure> {
        self.which.check()
    }
}

impl Delete {
    /// What the arguments themselves can get wrong.
    pub fn check(&self) -> Result<(), Failure> {
        self.which.check()
    }
}

/// One request, one answer.
pub async fn show(arguments: &Show, api: &Api) -> Result<(), Failure> {
    let answer = api
        .send(Endpoint::ShowDeadLetter, &request(&arguments.ids, false))
        .await?;
    let answer: ShowDeadLetterResponse = answer.whole()?;
    let mut report = Report::default();
    match arguments.output.is_json() {
        true => report.print_json(&answer),
        false => report.print(&render(&answer, !arguments.ids.is_empty())),
    }
    let there = |id: &&String| answer.results.iter().any(|letter| letter.id == **id);
    let missing: Vec<&str> = arguments
        .ids
        .iter()
        .filter(|id| !there(id))
        .map(String::as_str)
        .collect();
    if !missing.is_empty() {
        report.problem(format!("not found: {}", missing.join(", ")));
    }
    report.end()
}

/// Asks for it and tells what was done; what was not is told at the end.
pub async fn requeue(arguments: &Requeue, api: &Api) -> Result<(), Failure> {
    let (which, json) = (&arguments.which, arguments.output.is_json());
    change(Endpoint::RequeueDeadLetter, which, json, api).await
}

/// Asks the user before.
pub async fn delete(arguments: &Delete, api: &Api) -> Result<(), Failure> {
    if !arguments.no_prompt && prompt::confirm()? == Answer::No {
        output::note("Aborting...");
        return Ok(());
    }
    let (which, json) = (&arguments.which, arguments.output.is_json());
    change(Endpoint::DeleteDeadLetter, which, json, api).await
}

async fn change(endpoint: Endpoint, which: &Which, json: bool, api: &Api) -> Result<(), Failure> {
    let answer = api.send(endpoint, &request(&which.ids, which.all)).await?;
    let answer: DeadLetterResponse = answer.also_in_part();
    let mut report = Report::default();
    if json {
        report.print_json(&answer);
    } else {
        let lines = answer.results.iter();
        let lines: String = lines.map(|line| format!("{}\n", plain(line))).collect();
        report.print(&lines);
    }
    if let Some(why) = answer.outcome.failure() {
        report.problem(why);
    }
    report.end()
}

fn request(ids: &[String], all: bool) -> DeadLetterRequest {
    DeadLetterRequest {
        ids: ids.to_vec(),
        all_flag: all,
        client_version: PGO_VERSION.to_owned(),
    }
}

fn render(answer: &ShowDeadLetterResponse, with_bodies: bool) -> String {
    let dropped = match answer.dropped {
        0 => String::new(),
        some => format!("\n{some} older ones had to go because there was no room.\n"),
    };
    if answer.results.is_empty() {
        return format!("No dead letters found.\n{dropped}");
    }
    let letters: String = answer
        .results
        .iter()
        .map(|one| letter(one, with_bodies))
        .collect();
    format!("{letters}{dropped}")
}

/// So many characters of a body are on the line of its letter.
const BEGINNING: usize = 60;

fn letter(letter: &DeadLetterDetail, with_body: bool) -> String {
    let line = |label: &str, text: &str| format!("\t{}: {}\n", pad(label, 8), plain(text));
    let attempts = letter.attempts.to_string();
    let body = match with_body {
        true => format!("\t{}:\n{}\n", pad("body", 8), text(&letter.body)),
        false => {
            let beginning: String = letter.body.chars().take(BEGINNING).collect();
            line("body", &format!("{beginning} ({} bytes)", letter.size))
        }
    };
    [
        format!("\ndead letter : {}\n", plain(&letter.id)),
        line("time", &letter.time),
        line("topic", &letter.topic),
        line("channel", &letter.channel),
        line("attempts", &attempts),
        line("reason", &letter.reason),
        body,
    ]
    .concat()
}

/// A body with its lines, each without control characters.
fn text(body: &str) -> String {
    let lines: Vec<String> = body.lines().map(plain).collect();
    lines.join("\n")
}
