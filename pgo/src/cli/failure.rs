//! How a command ends that did not do what was asked.

use std::{io, process::ExitCode};

use pgo_api::texts;

use super::advice;
use crate::{client::ClientError, output};

/// Why, and so with which exit status.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The command line is wrong.
    #[error("{0}")]
    Usage(String),
    /// The output was asked for in a form that there is not.
    #[error("{0}")]
    Form(String),
    /// Commands or flags that are recognised, but do nothing yet.
    #[error("{}", .0.join(", "))]
    NotAvailable(Vec<String>),
    /// The apiserver could not be asked, or refused.
    #[error("{0}")]
    Client(#[from] ClientError),
    /// It was asked and the outcome is not what was wanted.
    #[error("{0}")]
    Failed(String),
    /// What was waited for did not come in time.
    #[error("{0}")]
    NotSeen(String),
    /// The operation whose end was waited for ended otherwise.
    #[error("{0}")]
    EndedOtherwise(String),
    /// Standard output; everything else was done.
    #[error("cannot write the output: {0}")]
    Output(io::Error),
}

impl Failure {
    /// Tells it on standard error; the exit status: 1 for the command line, 255 without a URL (as 4.1), 3 and 4 for
    /// what was waited for, else 2, also for a form of the output that there is not (as 4.1).
    pub fn report(&self) -> ExitCode {
        match self {
            Self::NotAvailable(wanted) => {
                for what in wanted {
                    output::note(&format!("Error: {}", texts::not_available(what)));
                }
            }
            // Whoever read the output has enough of it.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                return ExitCode::SUCCESS;
            }
            _ => {
                let words = self.to_string();
                output::note(&format!("Error: {words}"));
                if let Some(advice) = advice::of(&words) {
                    output::note(&advice);
                }
            }
        }
        ExitCode::from(match self {
            Self::Usage(_) | Self::NotAvailable(_) => 1,
            Self::Client(ClientError::NoUrl) => 255,
            Self::Form(_) | Self::Client(_) | Self::Failed(_) | Self::Output(_) => 2,
            Self::NotSeen(_) => 3,
            Self::EndedOtherwise(_) => 4,
        })
    }
}
