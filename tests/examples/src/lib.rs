//! The consumers of docs/examples for tests: each with its packages as somebody who copies it has them, from the registry and
//! by the lock file beside it. They are had once and kept for all clones on the machine.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::{
    collections::hash_map::DefaultHasher,
    env, fs,
    hash::{Hash as _, Hasher as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use rustix::fs::{FlockOperation, flock};

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/examples")
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| {
        panic!("cannot start {command:?}: {error}; deploy/local/packages.sh installs what the tests need")
    });
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success(),
        "{command:?} failed; the packages come from the registries, over the network:\n{said}"
    );
}

/// A folder for the packages that these files name, filled once and kept for all clones on the machine.
fn packages(language: &str, files: &[&str], fill: impl FnOnce(&Path)) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    for file in files {
        fs::read(examples().join(language).join(file))
            .unwrap()
            .hash(&mut hasher);
    }
    let cache = env::var_os("PGO_CACHE").map_or_else(
        || PathBuf::from(env::var_os("HOME").unwrap()).join(".cache/pgo"),
        PathBuf::from,
    );
    let kept = cache
        .join("examples")
        .join(format!("{language}-{:016x}", hasher.finish()));
    fs::create_dir_all(&kept).unwrap();
    // Only one fills it; who was interrupted has left no mark.
    let lock = fs::File::create(kept.join("lock")).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    if !kept.join("complete").exists() {
        fill(&kept);
        fs::write(kept.join("complete"), "").unwrap();
    }
    kept
}

/// The one in Python, without its arguments.
///
/// # Panics
/// Its packages are not there and cannot be had.
#[must_use]
pub fn python() -> Command {
    let files = ["requirements-build.txt", "requirements.txt"];
    let kept = packages("python", &files, |folder| {
        run(Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(folder.join("venv")));
        for file in files {
            run(Command::new(folder.join("venv/bin/pip"))
                .args([
                    "install",
                    "--quiet",
                    "--require-hashes",
                    "--no-build-isolation",
                ])
                .arg("--requirement")
                .arg(examples().join("python").join(file)));
        }
    });
    let mut command = Command::new(kept.join("venv/bin/python"));
    command.arg(examples().join("python/consume_events.py"));
    command
}

/// The one in JavaScript, without its arguments.
///
/// # Panics
/// Its packages are not there and cannot be had.
#[must_use]
pub fn javascript() -> Command {
    let kept = packages(
        "javascript",
        &["package.json", "package-lock.json"],
        |folder| {
            for file in ["package.json", "package-lock.json"] {
                fs::copy(examples().join("javascript").join(file), folder.join(file)).unwrap();
            }
            run(Command::new("npm").current_dir(folder).args([
                "ci",
                "--omit=optional",
                "--ignore-scripts",
                "--no-audit",
                "--no-fund",
            ]));
        },
    );
    let mut command = Command::new("node");
    command
        .arg(examples().join("javascript/consume_events.js"))
        // It lies beside its packages where somebody uses it.
        .env("NODE_PATH", kept.join("node_modules"));
    command
}

/// The one in Rust, without its arguments. Cargo builds it with the tests of a package that has it as an example of this
/// name.
///
/// # Panics
/// It was not built.
#[must_use]
pub fn rust(example: &str) -> Command {
    let tests = env::current_exe().unwrap();
    let built = tests.parent().unwrap().with_file_name("examples");
    let program = built.join(example);
    assert!(
        program.is_file(),
        "no {}: cargo test builds it for the whole package, and with --test it does not",
        program.display()
    );
    Command::new(program)
}
