//! What stands below the options in each command's help: examples, and the exit status.
//!
//! Pure: texts, and nothing else.

/// Examples, a line each, and what the exit status means.
macro_rules! after {
    ($name:ident, $examples:literal, $status:literal) => {
        #[doc = "Below the options."]
        pub const $name: &str = concat!("Examples:\n", $examples, "\n\n", $status);
    };
}

after!(
    ALL,
    "  s3-migration demo\n  \
       s3-migration run s3://source-bucket/photos s3://destination-bucket/archive --dry-run\n  \
       s3-migration help topics",
    "Exit status: 0 done, 1 finished but not everything arrived, 2 unusable arguments or \
     configuration, 3 a service could not be reached or refused; verify, run and jobsender have \
     others: see their help"
);
after!(
    RUN,
    "  s3-migration run s3://source-bucket s3://destination-bucket\n  \
       s3-migration run s3://source-bucket/photos s3://destination-bucket/archive --dry-run\n  \
       s3-migration run s3://source-bucket s3://destination-bucket --include '*.jpg' --report reports\n  \
       s3-migration run s3://from s3://to --source-profile old --destination-endpoint https://minio.example.com",
    "Exit status: 0 done, 1 finished but not everything arrived, 2 unusable arguments or \
     configuration, 3 a service could not be reached or refused, 5 a source lists no object, or a \
     pattern matches no key"
);
after!(
    JOBSENDER,
    "  s3-migration jobsender --dry-run\n  \
       s3-migration jobsender --every 1h\n  \
       s3-migration jobsender --report s3://destination-bucket/reports",
    "Exit status: 0 done, 1 finished but not everything arrived, 2 unusable arguments or \
     configuration, 3 a service could not be reached or refused, 5 a source lists no object, or a \
     pattern matches no key"
);
after!(
    WORKER,
    "  s3-migration worker\n  \
       s3-migration --config /etc/s3-migration/s3_migration_config.ini worker",
    "Exit status: 0 stopped by a signal, 2 unusable arguments or configuration, 3 a service could \
     not be reached or refused"
);
after!(
    DEMO,
    "  s3-migration demo\n  \
       s3-migration demo /usr/share/doc",
    "Exit status: 0 every byte arrived, 1 not everything did, 2 unusable arguments, 3 the demo's \
     own endpoints could not be reached"
);
after!(
    STATUS,
    "  s3-migration status\n  \
       s3-migration status --watch\n  \
       s3-migration status --fleet\n  \
       s3-migration status --serve 127.0.0.1:8080\n  \
       s3-migration status --json",
    "Exit status: 0 done, 2 unusable arguments or configuration, 3 a service could not be reached \
     or refused"
);
after!(
    PAUSE,
    "  s3-migration pause\n\n\
     It meets the fleet of the configuration and the runs of this folder. In force within seconds for \
     a run, within a minute for a fleet; parts on their way finish. It stays until: s3-migration resume",
    "Exit status: 0 done, 2 unusable arguments or configuration, 3 a service could not be reached \
     or refused"
);
after!(
    RESUME,
    "  s3-migration resume",
    "Exit status: 0 done, 2 unusable arguments or configuration, 3 a service could not be reached \
     or refused"
);
after!(
    VERIFY,
    "  s3-migration verify s3://source-bucket s3://destination-bucket\n  \
       s3-migration verify s3://source-bucket s3://destination-bucket --head all --deep 1000 --output findings\n  \
       s3-migration verify --one-way --checkpoint verify.json",
    "Exit status: 0 equal, 1 different, 2 unusable arguments or configuration, 3 a service could \
     not be reached or refused, 4 nothing differs, but not everything could be looked at"
);
after!(
    REPORT,
    "  s3-migration report --output reports\n  \
       s3-migration report --output s3://destination-bucket/reports --format csv\n  \
       s3-migration report s3://source-bucket/photos s3://destination-bucket --output reports --since 2026-01-31\n  \
       s3-migration report --check reports",
    "Exit status: 0 written, or nothing was altered, 1 --check: something was altered, 2 unusable \
     arguments or configuration, 3 a service could not be reached or refused"
);
after!(
    CHECK,
    "  s3-migration check\n  \
       s3-migration check --role worker\n  \
       s3-migration check --json",
    "Exit status: 0 nothing failed, 1 something failed, 2 unusable arguments or configuration, 3 no \
     service could be reached, or none accepted these credentials"
);
after!(
    HELP,
    "  s3-migration help run\n  \
       s3-migration help topics\n  \
       s3-migration help dry",
    "Exit status: 0 shown, 2 there is no such command or topic"
);
after!(
    COMPLETIONS,
    "  s3-migration completions bash > ~/.local/share/bash-completion/completions/s3-migration\n  \
       s3-migration completions zsh > ~/.zfunc/_s3-migration\n  \
       s3-migration completions fish > ~/.config/fish/completions/s3-migration.fish",
    "Exit status: 0 done, 2 unusable arguments"
);
after!(
    MAN,
    "  s3-migration man ~/.local/share/man/man1\n  \
       s3-migration man man && man -l man/s3-migration-run.1",
    "Exit status: 0 done, 2 unusable arguments, or a folder that cannot be written"
);

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use crate::cli::Cli;

    /// The words of an example up to a redirection, another command or an explanation.
    fn words(example: &str) -> Vec<String> {
        let example = example.trim().split("  ").next().unwrap_or_default();
        let example = example.split([">", "&&"][usize::from(example.contains("&&"))]).next();
        let quoted = example.unwrap_or_default().trim().split('\'').enumerate();
        let words = quoted.flat_map(|(at, text)| match at % 2 {
            0 => text.split_whitespace().map(str::to_owned).collect::<Vec<String>>(),
            _ => vec![text.to_owned()],
        });
        words.collect()
    }

    #[test]
    fn every_command_has_examples_that_it_understands() {
        let command = Cli::command();
        let shown = command.get_subcommands().filter(|command| !command.is_hide_set());
        let mut examples = 0;
        for of in std::iter::once(&command).chain(shown) {
            let after = of.get_after_help().map(ToString::to_string).unwrap_or_default();
            let lines = after.lines().filter(|line| line.starts_with("  s3-migration"));
            let lines: Vec<&str> = lines.collect();
            assert!(!lines.is_empty(), "{} has no example", of.get_name());
            for line in lines {
                Cli::try_parse_from(words(line)).unwrap_or_else(|e| panic!("{line}: {e}"));
                examples += 1;
            }
            assert!(after.contains("Exit status: 0"), "{after}");
        }
        assert!(examples > 25, "{examples}");
    }
}
after!(
    FAILED,
    "  s3-migration failed --summary\n  \
       s3-migration failed --reason denied-at-destination --export denied.jsonl\n  \
       s3-migration failed --redrive --reason denied\n  \
       s3-migration failed --prefix s3://my-bucket/photos/ --failed-list keys.txt",
    "Failures are looked for in the queue and the table of the configuration; in a folder with the \
     SQLite file of a run, in that file.\n\n\
     Exit status: 0 done, whatever was found, 1 stopped before the end, 2 unusable arguments or \
     configuration, 3 a service could not be reached or refused"
);
after!(
    CLEANUP,
    "  s3-migration cleanup\n  \
       s3-migration cleanup --abort --older-than 7d\n  \
       s3-migration cleanup s3://from s3://to/archive --json",
    "An upload is held while a worker may be filling it, waiting if its job is to be tried again, \
     failed if it failed for good, and unknown if no record names it. Held and unknown ones are \
     never aborted.\n\n\
     Exit status: 0 done, 1 stopped before the end or something could not be aborted, 2 unusable \
     arguments or configuration, 3 a service could not be reached or refused"
);
