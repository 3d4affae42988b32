//! Manual pages and completions, made of the command line itself.

use std::io;
use std::path::Path;

use clap::{CommandFactory as _, Parser as _};
use clap_complete::Shell;

use super::Cli;
use crate::error::{Error, Result};

/// The name of the program.
const NAME: &str = "s3-migration";

/// The completions for a shell.
pub fn completions(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), NAME, &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// Writes a page for the program and one for each command to `folder`; returns how many.
pub fn manual(folder: &Path) -> Result<usize> {
    let cannot = |error: io::Error| {
        Error::usage(format!("{} cannot be written: {error}", folder.display())).with_source(error)
    };
    std::fs::create_dir_all(folder).map_err(cannot)?;
    let mut command = Cli::command();
    command.build();
    let shown = command.get_subcommands().filter(|of| !of.is_hide_set());
    let commands = shown.map(|of| (format!("{NAME}-{}", of.get_name()), of.clone()));
    let pages: Vec<_> = commands.chain([(NAME.to_owned(), command.clone())]).collect();
    for (name, command) in &pages {
        let mut page = Vec::new();
        let man = clap_mangen::Man::new(command.clone()).title(name.as_str()).section("1");
        man.render(&mut page).map_err(cannot)?;
        std::fs::write(folder.join(format!("{name}.1")), page).map_err(cannot)?;
    }
    Ok(pages.len())
}

/// The help of a command; `None` if there is none of this name.
pub fn help_of(name: &str) -> Option<String> {
    Cli::command().find_subcommand(name)?;
    // As `--help` shows it.
    let help = Cli::try_parse_from([NAME, name, "--help"]).err()?;
    Some(help.to_string())
}

/// The help of the program.
pub fn help() -> String {
    Cli::command().render_long_help().to_string()
}
