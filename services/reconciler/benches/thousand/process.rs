//! The processes that are started.

use std::{
    env,
    path::Path,
    process::{Command, Stdio},
};

use pgo_control_plane::{NAMESPACE, Process, free_port};

use crate::agents;

/// The agents.
pub fn agents(folder: &Path) -> anyhow::Result<Process> {
    let mut command = Command::new(env::current_exe()?);
    command
        .arg(agents::ARGUMENT)
        .arg(folder)
        .stdin(Stdio::piped());
    Process::start(command, &folder.join("agents.log"))
}

/// The reconciler, as the installer's manifest starts it, but for the broker: nothing is published.
pub fn reconciler(folder: &Path, kubeconfig: &Path) -> anyhow::Result<Process> {
    let program =
        env::var_os("RECONCILER").unwrap_or_else(|| env!("CARGO_BIN_EXE_pgo-reconciler").into());
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("KUBECONFIG", kubeconfig)
        .env("PGO_OPERATOR_NAMESPACE", "pgo")
        .env("PGO_INSTALLATION_NAME", "bench")
        .env("NAMESPACE", NAMESPACE)
        .env("MY_POD_NAME", "reconciler")
        .env("PGO_TLS_DIR", folder.join("reconciler.pgo"))
        .env("PGO_CA_DIR", folder.join("ca"))
        .env("DISABLE_EVENTING", "true")
        .env("EVENT_SERVICE", "127.0.0.1:1")
        .env("PGO_ADMIN_ADDR", format!("127.0.0.1:{}", free_port()?))
        .stdin(Stdio::null());
    // What somebody looks for in it: the allocator's settings, a profiler.
    for (name, value) in
        env::vars().filter(|(name, _)| name.starts_with("MALLOC_") || name.starts_with("LOG_"))
    {
        command.env(name, value);
    }
    Process::start(command, &folder.join("reconciler.log"))
}
