//! The scripts of `pgo completion`, as the shells that they are for read them.

use std::process::Command;

use crate::fake::{pgo, run};

#[test]
fn each_shell_takes_the_script_that_is_for_it() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let script = folder.path().join(shell);
        let ran = run(&mut pgo(&["completion", shell]));
        assert_eq!(ran.code, Some(0), "{ran:?}");
        // Read as a whole, and not run; a fault is told on standard error.
        let reads = |text: &str| {
            std::fs::write(&script, text).unwrap();
            let read = Command::new(shell).arg("-n").arg(&script).output();
            let read = read.unwrap_or_else(|error| {
                panic!("{shell}: {error}; deploy/local/packages.sh installs it")
            });
            let said = String::from_utf8_lossy(&read.stderr).into_owned();
            (read.status.success() && said.is_empty(), said)
        };
        let (is_read, said) = reads(&ran.stdout);
        assert!(is_read, "{shell}: {said}");
        let unfinished = format!("{}\nif true\n", ran.stdout);
        assert!(!reads(&unfinished).0, "{shell} reads the whole script");
    }
}
