//! PostgreSQL refuses to run as root; tests that need it run themselves again as somebody else. Each in a process of
//! its own: what one starts inherits nothing of the others.

use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::Path,
    process::Command,
};

/// Set for a test that runs again.
const INSIDE: &str = "PGO_TEST_UNPRIVILEGED";

/// Runs `body` as a user that PostgreSQL accepts. `test` is the name of the calling test. `programs` are put where that user
/// can run them; `body` finds each by the environment variable that is named.
pub fn unprivileged(test: &str, programs: &[(&str, &str)], body: impl AsyncFnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        return runtime.block_on(body());
    }
    let root = nix::unistd::geteuid().is_root();
    // The program itself may lie where only root may look.
    let folder = tempfile::tempdir().expect("a folder");
    let put = |name: &str, from: &Path| {
        let program = folder.path().join(name);
        put(from, &program);
        program
    };
    let there = programs
        .iter()
        .map(|(name, from)| (name, put(name, Path::new(from))));
    let own = std::env::current_exe().expect("a program");
    let mut again = Command::new(put("test", &own));
    again
        .envs(there)
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env("TMPDIR", folder.path())
        .env(INSIDE, "1")
        .current_dir(folder.path());
    if root {
        let (user, group) = somebody();
        std::os::unix::fs::chown(folder.path(), Some(user), Some(group)).expect("given away");
        again.uid(user).gid(group);
    }
    let status = loop {
        match again.status() {
            // Another test has started a program while the copy was written, and that one holds it for a moment.
            Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => {
                std::thread::yield_now();
            }
            status => break status.expect("the test runs again"),
        }
    };
    assert!(status.success(), "{test} failed");
}

/// Puts a program where it can be run. It is a hundred MB for each of many tests, so it is not copied where the same file can
/// have a second name and anybody may run it.
fn put(from: &Path, to: &Path) {
    // Not the link that leads to it.
    let from = fs::canonicalize(from).expect("a file");
    let mode = fs::metadata(&from).expect("a file").permissions().mode();
    if mode & 0o005 == 0o005 && fs::hard_link(&from, to).is_ok() {
        return;
    }
    fs::copy(from, to).expect("copied");
    fs::set_permissions(to, fs::Permissions::from_mode(0o755)).expect("executable");
}

/// The user `postgres` of this machine, else `nobody`'s usual number.
fn somebody() -> (u32, u32) {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let numbers = users.lines().find_map(|line| {
        let mut fields = line.strip_prefix("postgres:")?.split(':').skip(1);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    });
    numbers.unwrap_or((65534, 65534))
}
