//! The programs of PostgreSQL that a dump needs, from their start to their end.

use std::{
    borrow::Cow,
    collections::BTreeSet,
    fs::File,
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use pgo_postgres::{
    Installation,
    dump::{Beside, Call, Format, Line, Server, ask, is_whole, line, look, password_line},
};
use pgo_telemetry::CancellationToken;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, BufWriter},
    process::{Child, ChildStdin, Command},
    time::timeout,
};
use zeroize::Zeroizing;

use super::DumpError;
use crate::server::follow;

/// How long a program that is to end may take for that.
const PATIENCE: Duration = Duration::from_secs(5);

/// So many of its errors are told; the first says most.
const ERRORS: usize = 5;

/// How much of each is told, in bytes: Kubernetes takes 4096 of all.
const LONGEST: usize = 512;

/// How much of the end of a text is looked at.
const END: u64 = 1024;

/// What runs them.
pub struct Programs<'a> {
    installation: &'a Installation,
    variables: Vec<(&'static str, String)>,
    stop: &'a CancellationToken,
    /// Holds the file with the password.
    secrets: TempDir,
}

impl<'a> Programs<'a> {
    /// For a server that this password opens.
    ///
    /// # Errors
    /// The password cannot be read, or not be put where libpq reads it.
    pub fn new(
        installation: &'a Installation,
        server: Server,
        password: &Path,
        stop: &'a CancellationToken,
    ) -> Result<Self, String> {
        let read = std::fs::read_to_string(password).map(Zeroizing::new);
        let read = read.map_err(|error| format!("cannot read {}: {error}", password.display()))?;
        let secrets = tempfile::tempdir()
            .map_err(|error| format!("cannot make a folder for the password: {error}"))?;
        let path = secrets.path().join("pgpass");
        let line = Zeroizing::new(password_line(&read));
        // libpq takes no file that others can read.
        let made = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path);
        let written = made.and_then(|mut file| file.write_all(line.as_bytes()));
        written.map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        let server = Server {
            passwords: path,
            ..server
        };
        Ok(Self {
            installation,
            variables: server.variables(),
            stop,
            secrets,
        })
    }

    /// For those that no password opens a server to.
    ///
    /// # Errors
    /// There is no room for what they need beside them.
    pub fn without_password(
        installation: &'a Installation,
        stop: &'a CancellationToken,
    ) -> Result<Self, String> {
        let secrets = tempfile::tempdir();
        let secrets = secrets.map_err(|error| format!("cannot make a folder: {error}"))?;
        Ok(Self {
            installation,
            // What they say is read by a program.
            variables: vec![("LC_ALL", "C".to_owned())],
            stop,
            secrets,
        })
    }

    /// Runs one to its end.
    ///
    /// # Errors
    /// It cannot be started, fails, says that something went wrong, or all is to end.
    pub async fn run(&self, call: &Call) -> Result<(), DumpError> {
        let child = self.start(call, Stdio::null(), Stdio::null())?;
        self.until_end(call.program, child, async { Ok(()) }).await
    }

    /// What one prints.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub async fn output(&self, call: &Call) -> Result<String, DumpError> {
        let mut child = self.start(call, Stdio::null(), Stdio::piped())?;
        let mut output = child.stdout.take();
        let mut said = Vec::new();
        let read = async {
            match &mut output {
                Some(output) => output.read_to_end(&mut said).await.map(drop),
                None => Ok(()),
            }
        };
        self.until_end(call.program, child, read).await?;
        Ok(String::from_utf8_lossy(&said).into_owned())
    }

    /// The values that a query gives.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub async fn names(&self, of: &str, query: &str) -> Result<BTreeSet<String>, DumpError> {
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
    ) -> Result<(), DumpError> {
        let mut child = self.start(call, Stdio::piped(), Stdio::null())?;
        let Some(input) = child.stdin.take() else {
            return Err(DumpError::Failed(format!("{} reads nothing", call.program)));
        };
        self.until_end(call.program, child, pass_on((file, whole), input, beside))
            .await
    }

    /// Waits for the end of a program, and of the work beside it. What it says is told before what the work says: that ends
    /// where the program does.
    async fn until_end(
        &self,
        program: &'static str,
        mut child: Child,
        work: impl Future<Output = std::io::Result<()>>,
    ) -> Result<(), DumpError> {
        let (mut errors, mut more) = (Vec::new(), 0_u32);
        let output = child.stderr.take();
        let hear = async {
            let Some(output) = output else { return };
            follow(output, |text| match line(text) {
                Line::Error(mut said) if errors.len() < ERRORS => {
                    said.truncate(said.floor_char_boundary(LONGEST));
                    tracing::warn!(program, said);
                    errors.push(said);
                }
                Line::Error(_) => more += 1,
                Line::Other => {}
            })
            .await;
        };
        let ended = tokio::select! {
            () = self.stop.cancelled() => None,
            ended = async { tokio::join!(hear, work, child.wait()) } => Some(ended),
        };
        let Some(((), worked, status)) = ended else {
            end(&mut child).await;
            return Err(DumpError::Ended);
        };
        let failed = |why: String| Err(DumpError::Failed(why));
        match (status, worked, errors.is_empty()) {
            (Ok(status), Ok(()), true) if status.success() => Ok(()),
            (_, _, false) => {
                if more > 0 {
                    errors.push(format!("and {more} more"));
                }
                failed(errors.join("; "))
            }
            (Err(error), ..) => failed(format!("cannot wait for {program}: {error}")),
            (Ok(status), ..) if !status.success() => failed(format!("{program} failed ({status})")),
            (_, Err(error), _) => {
                failed(format!("what {program} works on cannot be read: {error}"))
            }
            (Ok(status), ..) => failed(format!("{program} ended ({status})")),
        }
    }

    fn start(&self, call: &Call, input: Stdio, output: Stdio) -> Result<Child, DumpError> {
        let program = self.installation.program(call.program);
        let started = Command::new(&program)
            .args(&call.arguments)
            .envs(self.variables.iter().cloned())
            .stdin(input)
            .stdout(output)
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn();
        started.map_err(|error| {
            DumpError::Failed(format!(
                "cannot run {}: {error}; does the image hold PostgreSQL's client programs?",
                program.display()
            ))
        })
    }

    /// A file beside the password, which goes with it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.secrets.path().join(name)
    }

    /// Whether a dump is whole.
    ///
    /// # Errors
    /// It is not, or cannot be read.
    pub async fn check(&self, format: Format, all: bool, file: &Path) -> Result<(), DumpError> {
        if let Some(call) = look(format, file) {
            return self.run(&call).await;
        }
        let end = last(file).map_err(|error| {
            DumpError::Failed(format!("cannot read {}: {error}", file.display()))
        })?;
        match is_whole(&end, all) {
            true => Ok(()),
            false => Err(DumpError::Failed(format!(
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

/// Ends a program with everything that it has started.
async fn end(child: &mut Child) {
    let group = child.id().map(u32::cast_signed).map(Pid::from_raw);
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        if let Some(group) = group {
            // That all are gone already is what is wanted.
            let _ = killpg(group, signal);
        }
        if timeout(PATIENCE, child.wait()).await.is_ok() && signal == Signal::SIGKILL {
            return;
        }
    }
}
