//! The programs a user has: `pgo`, `kubectl`, `curl`, `psql`.

use std::{
    fmt,
    io::{Read, Write as _},
    process::{Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

/// No command of a test may take longer.
const LIMIT: Duration = Duration::from_secs(200);

/// A setting that `.local/env` makes.
///
/// # Panics
/// Where it is missing.
pub fn setting(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set; run `make run` and source .local/env before these tests")
    })
}

/// A command that has ended.
pub struct Ran {
    /// Command and arguments.
    pub line: String,
    /// Its exit status.
    pub status: ExitStatus,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` ended with {}\n--- standard output:\n{}\n--- standard error:\n{}",
            self.line, self.status, self.out, self.err
        )
    }
}

impl Ran {
    /// The exit status as a number; -1 where a signal ended it.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or(-1)
    }

    /// The same, having succeeded.
    ///
    /// # Panics
    /// Where it has not.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert!(self.status.success(), "{self}");
        self
    }

    /// The same, having failed with this exit status and a text on standard error that has all of `words`.
    ///
    /// # Panics
    /// Where it has not.
    #[track_caller]
    pub fn failed(self, code: i32, words: &[&str]) -> Self {
        assert_eq!(self.code(), code, "{self}");
        for word in words {
            assert!(self.err.contains(word), "{word:?} is not said by {self}");
        }
        self
    }

    /// Standard output as JSON.
    ///
    /// # Panics
    /// Where it is none.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out)
            .unwrap_or_else(|error| panic!("{error}: no JSON from {self}"))
    }
}

/// `pgo` with these arguments.
pub fn pgo(arguments: &[&str]) -> Ran {
    run(program("pgo", arguments), "")
}

/// `kubectl` with these arguments.
pub fn kubectl(arguments: &[&str]) -> Ran {
    run(program("kubectl", arguments), "")
}

/// A command with arguments, in the environment of the tests.
pub fn program(name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(name);
    command.args(arguments);
    command
}

/// Runs it with this standard input, to its end or for [`LIMIT`].
///
/// # Panics
/// Where it cannot be started or does not end.
pub fn run(mut command: Command, input: &str) -> Ran {
    let line = format!("{command:?}").replace('"', "");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| {
            panic!("cannot start {line}: {error}; source .local/env before these tests")
        });
    let mut stdin = child.stdin.take().expect("its standard input");
    // A command that does not read its input is no failure of the test.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let out = collect(child.stdout.take().expect("its standard output"));
    let err = collect(child.stderr.take().expect("its standard error"));
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("its exit status") {
            break status;
        }
        if begun.elapsed() > LIMIT {
            let _ = child.kill();
            let _ = child.wait();
            panic!("{line} did not end within {} s", LIMIT.as_secs());
        }
        thread::sleep(Duration::from_millis(5));
    };
    Ran {
        line,
        status,
        out: out.join().expect("its output"),
        err: err.join().expect("its output"),
    }
}

fn collect(mut from: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
