//! `help`, `completions` and `man`: what the program says about itself. They need no configuration.

use std::fmt::Write as _;

use super::{Exit, print};
use crate::cli::pages::{completions, help, help_of, manual};
use crate::cli::topics::{Topic, meant, plain, topics};
use crate::cli::{CompletionsArgs, HelpArgs, ManArgs};
use crate::error::{Error, Result};

/// Shows a command's help, a chapter of the guide, or what there is.
pub(super) fn show(args: &HelpArgs) -> Result<Exit> {
    let asked = args.topic.join(" ");
    let text = match asked.as_str() {
        "" => format!("{}\n{}", help(), list()),
        "topics" => list(),
        _ => match (help_of(&asked), meant(&asked).as_slice()) {
            (Some(help), _) => help,
            (None, [topic]) => plain(topic.text),
            (None, []) => {
                return Err(Error::usage(format!(
                    "there is no command or topic {asked}; s3-migration help topics lists them"
                )));
            }
            (None, several) => {
                let names: Vec<String> = several.iter().map(Topic::name).collect();
                let names = names.join(", ");
                return Err(Error::usage(format!("{asked} may mean {names}: name one of them")));
            }
        },
    };
    print(false, &(), || text.trim_end().to_owned())?;
    Ok(Exit::Done)
}

/// The chapters of the guide, by name.
fn list() -> String {
    let mut text = "Topics, for s3-migration help TOPIC; a part of the name will do:\n".to_owned();
    for topic in topics() {
        let _ = writeln!(text, "  {}", topic.name());
    }
    text
}

/// Prints the completions for a shell.
pub(super) fn complete(args: &CompletionsArgs) -> Result<Exit> {
    print(false, &(), || completions(args.shell).trim_end().to_owned())?;
    Ok(Exit::Done)
}

/// Writes the manual pages.
pub(super) fn write_manual(args: &ManArgs) -> Result<Exit> {
    let pages = manual(&args.folder)?;
    print(false, &(), || format!("{pages} manual pages in {}", args.folder.display()))?;
    Ok(Exit::Done)
}
