//! PID 1 in each PostgreSQL pod: brings PostgreSQL up, keeps it up, and tells how it is.
//!
//! One program in nine roles:
//!
//! ```text
//! agent install   in the init container: puts itself into a folder that both containers see
//! agent probe     in a pod of its own: tells which PostgreSQL an image holds                        probe
//! agent drill     in a pod of its own: restores a backup, checks and reads it, and tells what it found        drill
//! agent dump      in a pod of its own: makes a dump, or restores one                                dump
//! agent job       in a pod of its own: measures by pgbench, or loads a file into a table               job
//! agent           process 1: reaps, forwards signals, and ends PostgreSQL if its child dies         init
//! └─ agent run    all the rest                                                                      run
//!    ├─ pgbackrest server, where WAL is archived                                                      backrest
//!    ├─ agent guard   ends PostgreSQL when its authority ends, whatever `agent run` does then         ha::guard
//!    └─ postgres
//! agent repository   the same for the backups of a cluster, in a pod of its own; process 1 starts it    repository
//! └─ pgbackrest server; pgbackrest backup, on order
//! ```
//!
//! What `agent run` does is a row of stages; which one comes next is decided by [`progress`], without I/O, and
//! done by [`supervise`]. Which way it goes is the protocol's to say ([`ha`]). At any time one way can turn into the other,
//! while the agent goes on:
//!
//! ```text
//! Lock ─► Decide ─► Inspect ─┬─► Initialise ─► Configure ─► Start ─► Await ─► Promote ─► SetUp ─► Publish ─► Serve
//! volume  Lease              │   initdb        files        postgres SELECT 1  ends      roles    Endpoint-  until it
//!            ▲               │                                          │     recovery           Slice      ends, or
//!            │               └─► Clone, Rewind ─► Configure ─► Start ─► Await ─► Stream                      another
//!            │                   from the primary                                  │                         leads
//!            └─────────────────────────────────────────────────────────────────────┴───────────────────────────┘
//! ```
//!
//! One that is made from a backup goes `Inspect ─► Restore ─► Configure ─► Start ─► Await ─► Replay`, and from there to `Promote`
//! once the Lease is given to it ([`restoration`]).
//!
//! Each change of the [`state::State`] goes to those who watch over gRPC ([`grpc`]).

pub mod backrest;
pub mod checkpoint;
pub mod cli;
pub mod drill;
pub mod dump;
pub mod endpoint;
pub mod files;
pub mod fill;
pub mod grpc;
pub mod ha;
pub mod init;
pub mod inspection;
pub mod install;
pub mod job;
pub mod lock;
pub mod operation;
pub mod orders;
pub mod policy;
pub mod prepare;
pub mod primary;
pub mod probe;
pub mod processes;
pub mod progress;
pub mod repository;
pub mod restoration;
pub mod run;
pub mod server;
pub mod state;
pub mod store;
pub mod supervise;
pub mod watch;

use std::process::ExitCode;

use cli::{Cli, Role};

/// Does what the role asks for until it ends; the exit code that is left says how.
pub fn run(cli: Cli) -> ExitCode {
    let result = match cli.role {
        None => init::main(),
        Some(Role::Run(settings)) => run::main(settings).map(|()| ExitCode::SUCCESS),
        Some(Role::Repository(settings)) => repository::main(*settings).map(|()| ExitCode::SUCCESS),
        Some(Role::Guard(settings)) => {
            ha::guard::main(&settings);
            Ok(ExitCode::SUCCESS)
        }
        Some(Role::Dump(settings)) => dump::main(&settings),
        Some(Role::Install(settings)) => install::main(&settings).map(|()| ExitCode::SUCCESS),
        Some(Role::Probe(settings)) => probe::main(&settings).map(|()| ExitCode::SUCCESS),
        Some(Role::Job(settings)) => job::main(&settings),
        Some(Role::Drill(settings)) => drill::main(*settings).map(|()| ExitCode::SUCCESS),
    };
    result.unwrap_or_else(|error| {
        // Logging may be what failed.
        eprintln!("agent: {error:#}");
        ExitCode::FAILURE
    })
}
