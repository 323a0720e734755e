//! The programs of PostgreSQL that a job needs: what they print, and why one fails.

use std::process::Stdio;

use pgo_postgres::{
    client::Call,
    job::{error, place},
};
use tokio::io::AsyncReadExt as _;

use crate::operation::{
    Unfinished,
    programs::{Errors, Programs},
};

/// How much of what one prints is read, in bytes.
const MOST: u64 = 1 << 20;

impl Programs<'_> {
    /// Runs one to its end, with these variables; what it printed.
    ///
    /// # Errors
    /// It cannot be started, fails, or all is to end.
    pub async fn printed(
        &self,
        call: &Call,
        variables: &[(&'static str, String)],
        input: Stdio,
    ) -> Result<String, Unfinished> {
        let program = call.program;
        let mut child = self.start(call, variables, (input, Stdio::piped()))?;
        let (mut errors, mut at) = (Errors::default(), None);
        let hear = |line: &str| {
            at = at.take().or_else(|| place(line).map(str::to_owned));
            if let Some(said) = error(line) {
                errors.add(said);
            }
        };
        let output = child.stdout.take();
        let mut printed = Vec::new();
        let read = async {
            match output {
                Some(output) => output.take(MOST).read_to_end(&mut printed).await.map(drop),
                None => Ok(()),
            }
        };
        let (status, read) = self.until_end(program, child, hear, read).await?;
        let failed = |why: String| Err(Unfinished::Failed(why));
        let status = match status {
            Ok(status) => status,
            Err(error) => return failed(format!("cannot wait for {program}: {error}")),
        };
        if !status.success() {
            let told = errors.told();
            let told = told.unwrap_or_else(|| format!("{program} failed ({status})"));
            return failed(match at {
                Some(place) => format!("line {place}: {told}"),
                None => told,
            });
        }
        match read {
            Ok(()) => Ok(String::from_utf8_lossy(&printed).into_owned()),
            Err(error) => failed(format!("what {program} prints cannot be read: {error}")),
        }
    }
}
