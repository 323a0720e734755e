//! The programs of PostgreSQL that a dump needs, and what each is for.

use std::{
    borrow::Cow,
    collections::BTreeSet,
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    path::Path,
    process::Stdio,
};

use pgo_postgres::{
    client::Call,
    dump::{Beside, Format, Line, ask, is_whole, line, look},
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, BufWriter},
    process::{Child, ChildStdin},
};

use crate::operation::{
    Unfinished,
    programs::{Errors, Programs},
};

/// How much of the end of a text is looked at.
const END: u64 = 1024;

impl Programs<'_> {
    /// Runs one to its end.
    ///
    /// # Errors
    /// It cannot be started, fails, says that something went wrong, or all is to end.
    pub async fn run(&self, call: &Call) -> Result<(), Unfinished> {
        let child = self.start(call, &[], (Stdio::null(), Stdio::null()))?;
        self.until_done(call.program, child, async { Ok(()) }).await
    }

    /// What one prints.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub async fn output(&self, call: &Call) -> Result<String, Unfinished> {
        let mut child = self.start(call, &[], (Stdio::null(), Stdio::piped()))?;
        let mut output = child.stdout.take();
        let mut said = Vec::new();
        let read = async {
            match &mut output {
                Some(output) => output.read_to_end(&mut said).await.map(drop),
                None => Ok(()),
            }
        };
        self.until_done(call.program, child, read).await?;
        Ok(String::from_utf8_lossy(&said).into_owned())
    }

    /// The values that a query gives.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub async fn names(&self, of: &str, query: &str) -> Result<BTreeSet<String>, Unfinished> {
        let said = self.output(&ask(of, query)).await?;
        Ok(said.lines().map(str::to_owned).collect())
    }

    /// Runs one that reads a dump as text, `whole` as one transaction.
    ///
    /// # Errors
    /// As [`Self::run`], or the dump cannot be read.
    pub async fn feed(
        &self,
        call: &Call,
        (file, whole): (&Path, bool),
        beside: &mut Beside,
    ) -> Result<(), Unfinished> {
        let mut child = self.start(call, &[], (Stdio::piped(), Stdio::null()))?;
        let Some(input) = child.stdin.take() else {
            return Err(Unfinished::Failed(format!(
                "{} reads nothing",
                call.program
            )));
        };
        self.until_done(call.program, child, pass_on((file, whole), input, beside))
            .await
    }

    /// Waits for the end of a program, and of the work beside it. What it says is told before what the work says: that ends
    /// where the program does.
    async fn until_done(
        &self,
        program: &'static str,
        child: Child,
        work: impl Future<Output = std::io::Result<()>>,
    ) -> Result<(), Unfinished> {
        let mut errors = Errors::default();
        let hear = |text: &str| {
            if let Line::Error(said) = line(text) {
                tracing::warn!(program, said);
                errors.add(said);
            }
        };
        let (status, worked) = self.until_end(program, child, hear, work).await?;
        let failed = |why: String| Err(Unfinished::Failed(why));
        match (status, worked, errors.told()) {
            (Ok(status), Ok(()), None) if status.success() => Ok(()),
            (_, _, Some(errors)) => failed(errors),
            (Err(error), ..) => failed(format!("cannot wait for {program}: {error}")),
            (Ok(status), ..) if !status.success() => failed(format!("{program} failed ({status})")),
            (_, Err(error), _) => {
                failed(format!("what {program} works on cannot be read: {error}"))
            }
            (Ok(status), ..) => failed(format!("{program} ended ({status})")),
        }
    }

    /// Whether a dump is whole.
    ///
    /// # Errors
    /// It is not, or cannot be read.
    pub async fn check(&self, format: Format, all: bool, file: &Path) -> Result<(), Unfinished> {
        if let Some(call) = look(format, file) {
            return self.run(&call).await;
        }
        let end = last(file).map_err(|error| {
            Unfinished::Failed(format!("cannot read {}: {error}", file.display()))
        })?;
        match is_whole(&end, all) {
            true => Ok(()),
            false => Err(Unfinished::Failed(format!(
                "{} breaks off before its end",
                file.display()
            ))),
        }
    }
}

/// The end of a file.
fn last(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(END)))?;
    let mut end = Vec::new();
    file.read_to_end(&mut end)?;
    Ok(String::from_utf8_lossy(&end).into_owned())
}

/// Gives a program the lines of a dump. One that ends meanwhile says itself why. Where the lines end too soon there is no
/// `COMMIT`.
async fn pass_on(
    (file, whole): (&Path, bool),
    input: ChildStdin,
    beside: &mut Beside,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(tokio::fs::File::open(file).await?);
    let mut input = BufWriter::new(input);
    let mut line = Vec::new();
    let (begin, end) = match whole {
        true => ("BEGIN;\n", "COMMIT;\n"),
        false => ("", ""),
    };
    if input.write_all(begin.as_bytes()).await.is_err() {
        return Ok(());
    }
    loop {
        line.clear();
        if lines.read_until(b'\n', &mut line).await? == 0 {
            // Whether it was taken, its exit code says.
            let _ = input.write_all(end.as_bytes()).await;
            let _ = input.flush().await;
            return Ok(());
        }
        let text = String::from_utf8_lossy(&line);
        let written = match beside.line(text.trim_end_matches('\n')) {
            None => continue,
            // As it is, in whatever encoding.
            Some(Cow::Borrowed(_)) => input.write_all(&line).await,
            Some(Cow::Owned(other)) => input.write_all(format!("{other}\n").as_bytes()).await,
        };
        if written.is_err() {
            return Ok(());
        }
    }
}
