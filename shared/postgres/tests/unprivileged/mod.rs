//! PostgreSQL refuses to run as root; tests that need it run themselves again as somebody else.

use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    process::Command,
};

/// Runs `body` as a user that PostgreSQL accepts. `test` is the name of the calling test.
pub fn unprivileged(test: &str, body: impl AsyncFnOnce()) {
    if !nix::unistd::geteuid().is_root() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        return runtime.block_on(body());
    }
    let (user, group) = somebody();
    // The program itself may lie where only root may look.
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("test");
    fs::copy(std::env::current_exe().expect("a program"), &program).expect("copied");
    std::os::unix::fs::chown(folder.path(), Some(user), Some(group)).expect("given away");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("executable");
    let status = Command::new(&program)
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env("TMPDIR", folder.path())
        .current_dir(folder.path())
        .uid(user)
        .gid(group)
        .status()
        .expect("the test runs again");
    assert!(status.success(), "{test} failed as user {user}");
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
