//! `pgo`, the command-line client of PGO.

mod cli;
mod client;
mod output;

fn main() -> std::process::ExitCode {
    cli::run(std::env::args_os())
}
