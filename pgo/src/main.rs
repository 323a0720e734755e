//! `pgo`, the command-line client of PGO.

// These macros panic where nobody reads any more; `output` has what to use instead.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod cli;
mod client;
mod output;

fn main() -> std::process::ExitCode {
    cli::run(std::env::args_os())
}
