//! `pgo generate man`: the manual pages, which are part of the sources.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use clap::{Arg, ArgMatches, Command, value_parser};
use clap_mangen::Man;

use super::Failure;

/// The command, hidden: it is for who builds PGO.
pub fn command() -> Command {
    let folder = Arg::new("folder")
        .required(true)
        .value_name("FOLDER")
        .value_parser(value_parser!(PathBuf))
        .help("Folder to write them to");
    let man = Command::new("man").about("Write the manual pages, one per command");
    Command::new("generate")
        .hide(true)
        .about("Write what is generated from this program")
        .subcommand_required(true)
        .subcommand(man.arg(folder))
}

/// The folder, if it was asked for.
pub fn wanted(matches: &ArgMatches) -> Option<&Path> {
    let generate = matches.subcommand_matches("generate")?;
    let man = generate.subcommand_matches("man")?;
    man.get_one::<PathBuf>("folder").map(PathBuf::as_path)
}

/// Writes `pgo.1`, `pgo-create.1`, ….
pub fn write(folder: &Path) -> Result<(), Failure> {
    let mut tree = super::available().disable_help_subcommand(true);
    tree.build();
    fs::create_dir_all(folder)
        .and_then(|()| pages(&tree, folder))
        .map_err(|error| {
            Failure::Failed(format!(
                "cannot write the manual pages to {}: {error}",
                folder.display()
            ))
        })
}

fn pages(command: &Command, folder: &Path) -> io::Result<()> {
    Man::new(command.clone())
        .source(format!("PGO {}", pgo_api::PGO_VERSION))
        .manual("PGO")
        .generate_to(folder)?;
    command
        .get_subcommands()
        .try_for_each(|inner| pages(inner, folder))
}
