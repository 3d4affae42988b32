//! The two addresses that commands take instead of the bucket list.

use clap::{Arg, Args};

/// One pair, instead of the bucket list. Commands that mean it in another way say so by [`says`].
#[derive(Debug, Args)]
pub struct PairArgs {
    /// Where the objects are, s3://BUCKET/PREFIX; without it, the bucket list is used
    #[arg(index = 1, value_name = "s3://SRC/PREFIX", requires = "destination")]
    source: Option<String>,
    /// Where their copies are, s3://BUCKET/PREFIX, as for run
    #[arg(index = 2, value_name = "s3://DST/PREFIX")]
    destination: Option<String>,
    /// The copies' keys are without the source's prefix, as run --strip-prefix makes them
    #[arg(long, requires = "source")]
    pub strip_prefix: bool,
}

impl PairArgs {
    /// Source and destination, if they are given.
    pub fn both(&self) -> Option<(&str, &str)> {
        self.source.as_deref().zip(self.destination.as_deref())
    }
}

/// The argument with this help.
pub(super) fn says(help: &'static str) -> impl FnOnce(Arg) -> Arg {
    move |arg| arg.help(help)
}
