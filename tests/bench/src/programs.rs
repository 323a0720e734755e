//! The programs that are measured or help to measure.

use std::{
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, bail};
use serde_json::Value;

/// A setting that `.local/env` makes.
pub fn setting(name: &str) -> anyhow::Result<String> {
    std::env::var(name)
        .with_context(|| format!("{name} is not set; run make run and source .local/env"))
}

/// The namespace that clusters are made in.
pub fn namespace() -> anyhow::Result<String> {
    setting("PGO_NAMESPACE")
}

/// PGO's own.
pub fn operator() -> String {
    std::env::var("PGO_OPERATOR_NAMESPACE").unwrap_or_else(|_| "pgo".to_owned())
}

/// Runs a program to its end and returns its standard output.
pub fn run(program: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {program}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        bail!("{program} {} failed: {said}", arguments.join(" "));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// `kubectl` in the clusters' namespace.
pub fn kubectl(arguments: &[&str]) -> anyhow::Result<String> {
    let namespace = namespace()?;
    let mut all = vec!["--namespace", &namespace];
    all.extend(arguments);
    run("kubectl", &all)
}

/// `kubectl apply` of a manifest.
pub fn apply(manifest: &Value) -> anyhow::Result<()> {
    use std::io::Write as _;
    let mut child = Command::new("kubectl")
        .args(["apply", "--filename", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .context("cannot start kubectl")?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(manifest.to_string().as_bytes())?;
    }
    if !child.wait()?.success() {
        bail!("kubectl apply failed");
    }
    Ok(())
}

/// A program that runs beside; it ends with this value.
pub struct Beside(pub Child);

impl Beside {
    /// Starts it; its standard output can be read.
    pub fn start(program: &str, arguments: &[&str]) -> anyhow::Result<Self> {
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {program}"))?;
        Ok(Self(child))
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Cleans up, and says what was measured; where that failed, that and not what failed afterwards.
pub fn clean_up_after<T, U>(
    measured: anyhow::Result<T>,
    clean_up: impl FnOnce() -> anyhow::Result<U>,
) -> anyhow::Result<T> {
    let cleaned = clean_up();
    let measured = measured?;
    cleaned.context("cannot clean up after the measurement")?;
    Ok(measured)
}

/// Looks until something is there.
pub fn until<T>(
    what: &str,
    limit: Duration,
    pause: Duration,
    mut look: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let begun = Instant::now();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if begun.elapsed() > limit {
            bail!("{what}: not within {} s", limit.as_secs());
        }
        thread::sleep(pause);
    }
}

/// A name that no earlier run used.
pub fn unique(prefix: &str) -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    format!("{prefix}-{:x}", now.as_millis() % 0x1000_0000)
}

/// A duration in milliseconds.
pub fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
