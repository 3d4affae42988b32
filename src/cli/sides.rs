//! Options that set keys of the configuration: those of each side, `-v` and `-q`.

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};

use crate::config::Given;

/// An option, and the key that it sets.
struct SideOption {
    name: &'static str,
    /// With its dashes, for messages.
    option: &'static str,
    section: &'static str,
    key: &'static str,
    /// The value's name in the help; empty: the option stands for True.
    value: &'static str,
    help: &'static str,
}

/// Options of one side, from the key, the value's name and the help of each.
macro_rules! options {
    ($($section:literal $side:literal: [$($name:literal $key:literal $value:literal $help:literal,)+])+) => {
        &[$($(SideOption {
            name: concat!($side, "-", $name),
            option: concat!("--", $side, "-", $name),
            section: $section,
            key: $key,
            value: $value,
            help: $help,
        },)+)+]
    };
}

static OPTIONS: &[SideOption] = options! {
    "Source" "source": [
        "profile" "Profile" "NAME" "Read with this profile of the AWS configuration files",
        "endpoint" "Endpoint" "URL" "Read from this S3 endpoint instead of Amazon S3",
        "region" "Region" "REGION" "The source's region",
        "role" "RoleArn" "ARN" "Read as this role, assumed with this side's credentials",
        "external-id" "ExternalId" "ID" "The external id that the role asks for",
        "credentials" "Credentials" "KIND" "Read with these credentials: default, ssm, profile, anonymous",
        "ca-bundle" "CaBundle" "FILE" "Trust these certificate authorities too, in PEM",
        "force-path-style" "ForcePathStyle" "" "Put the bucket into the path instead of the host name",
        "no-sign-request" "NoSignRequest" "" "Do not sign requests, for public buckets",
        "request-payer" "RequestPayer" "" "Say that the requester pays",
    ]
    "Destination" "destination": [
        "profile" "Profile" "NAME" "Write with this profile of the AWS configuration files",
        "endpoint" "Endpoint" "URL" "Write to this S3 endpoint instead of Amazon S3",
        "region" "Region" "REGION" "The destination's region",
        "role" "RoleArn" "ARN" "Write as this role, assumed with this side's credentials",
        "external-id" "ExternalId" "ID" "The external id that the role asks for",
        "credentials" "Credentials" "KIND" "Write with these credentials: default, ssm, profile, anonymous",
        "ca-bundle" "CaBundle" "FILE" "Trust these certificate authorities too, in PEM",
        "force-path-style" "ForcePathStyle" "" "Put the bucket into the path instead of the host name",
    ]
};

/// What the command line says about each side. It overrides the ini and the environment.
#[derive(Clone, Debug, Default)]
pub struct SidesArgs {
    /// The keys that it sets.
    pub given: Vec<Given>,
}

impl Args for SidesArgs {
    fn augment_args(command: Command) -> Command {
        let arg = |option: &SideOption| {
            let arg = Arg::new(option.name).long(option.name).help(option.help);
            let arg = arg.help_heading("Each side (instead of an ini)");
            match option.value {
                // An address that follows is not its value.
                "" => arg
                    .num_args(0..=1)
                    .require_equals(true)
                    .default_missing_value("True")
                    .value_name("True|False"),
                value => arg.value_name(value),
            }
        };
        command.args(OPTIONS.iter().map(arg))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for SidesArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = OPTIONS.iter().filter_map(|option| {
            let value = matches.get_one::<String>(option.name)?.clone();
            let SideOption { section, key: name, option, .. } = *option;
            Some(Given { section, name, value, option })
        });
        Ok(Self { given: given.collect() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// How much is said.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct LoudnessArgs {
    /// Log every part and every retry: LoggingLevel DEBUG
    #[arg(short, long, global = true, conflicts_with = "quiet")]
    pub verbose: bool,
    /// Log warnings and errors only, and show no progress: LoggingLevel WARNING
    #[arg(short, long, global = true)]
    pub quiet: bool,
}

impl LoudnessArgs {
    /// The key that it sets, if any.
    pub fn given(self) -> Option<Given> {
        let (option, level) = match self {
            Self { verbose: true, .. } => ("--verbose", "DEBUG"),
            Self { quiet: true, .. } => ("--quiet", "WARNING"),
            _ => return None,
        };
        Some(Given { section: "Debug", name: "LoggingLevel", value: level.to_owned(), option })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys::find;

    #[test]
    fn every_option_sets_a_key() {
        for option in OPTIONS {
            assert!(find(option.section, option.key).is_some(), "{}", option.option);
        }
    }
}
