//! The agent in a pod that does one operation: the program itself beside an instance that serves, and what it says of it.

use std::{
    fs,
    path::Path,
    process::{Output, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use pgo_postgres::Session;
use serde_json::Value;
use tokio::process::{Child, Command};

use crate::rig::{DEADLINE, Rig, program};

/// An instance that serves.
pub async fn served() -> Rig {
    let mut rig = Rig::new("hippo");
    rig.start().await;
    rig.until_primary().await;
    rig
}

/// The option that names a file or folder.
pub fn option(name: &str, path: &Path) -> String {
    format!("--{name}={}", path.display())
}

/// The program as its pod starts it, in one of its roles.
pub fn command(rig: &Rig, role: &str, answer: &Path) -> Command {
    let mut command = Command::new(program());
    command
        .arg(role)
        .arg(option("authority", &rig.settings.tls.join("ca.crt")))
        .arg(option("answer", answer))
        .env("PGO_CLUSTER", "hippo")
        .env("PGO_DATABASE_HOST", "localhost")
        .env("PGPORT", rig.settings.port.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// It runs to its end: its answer, or why there is none.
pub async fn said(mut command: Command, answer: &Path) -> Result<Value, String> {
    let _ = fs::remove_file(answer);
    let child = command.spawn().expect("the agent starts");
    let ended = tokio::time::timeout(DEADLINE, child.wait_with_output()).await;
    let output: Output = ended.expect("it ends in time").expect("it was waited for");
    for text in [&output.stdout, &output.stderr] {
        let text = String::from_utf8_lossy(text);
        assert!(!text.contains("secret"), "{text}");
    }
    let said = fs::read_to_string(answer).unwrap_or_default();
    match output.status.success() {
        true => Ok(serde_json::from_str(&said).expect("JSON")),
        false => Err(said),
    }
}

/// It is told to end, and does so without a word.
pub async fn ends_when_told(child: &mut Child, answer: &Path) {
    let pid = child.id().expect("it runs").cast_signed();
    kill(Pid::from_raw(pid), Signal::SIGTERM).expect("told");
    let status = tokio::time::timeout(DEADLINE, child.wait()).await;
    let status = status.expect("it ends in time").expect("waited for");
    assert_eq!(status.code(), Some(143));
    assert!(!answer.exists());
}

/// An order with further fields, or others.
pub fn extend(mut order: Value, further: &Value) -> Value {
    let (Value::Object(fields), Value::Object(further)) = (&mut order, further) else {
        panic!("objects");
    };
    fields.extend(further.clone());
    order
}

/// The values that a query gives.
pub async fn names(rig: &Rig, query: &str) -> Vec<String> {
    let session = Session::open(&rig.settings.socket(), "userdb").await;
    let session = session.expect("a session");
    session.names(query, DEADLINE).await.expect("an answer")
}

/// Runs statements in the database of users.
pub async fn execute(rig: &Rig, statements: &str) {
    let session = Session::open(&rig.settings.socket(), "userdb").await;
    let session = session.expect("a session");
    session
        .execute(statements, DEADLINE)
        .await
        .expect(statements);
}
