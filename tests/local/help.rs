//! What the program says about itself: help with examples, chapters, manual pages, completions.

use testkit::local::Local;
use testkit::process::Ended;

const COMMANDS: [&str; 8] =
    ["run", "jobsender", "worker", "demo", "status", "verify", "report", "check"];

async fn shown(local: &Local, arguments: &[&str]) -> Ended {
    local.run(arguments).await.with_status(0)
}

#[tokio::test]
async fn every_command_shows_examples_and_its_exit_status() {
    let local = Local::new().await;
    // Help does not depend on an ini that may be wrong.
    local.write("s3_migration_config.ini", "nonsense");
    for command in COMMANDS {
        let help = shown(&local, &[command, "--help"]).await;
        for words in ["Examples:\n  s3-migration ", "Exit status: 0"] {
            assert!(help.stdout.contains(words), "{words}: {}", help.all());
        }
        let same = shown(&local, &["help", command]).await;
        assert_eq!(same.stdout.trim_end(), help.stdout.trim_end());
    }
}

#[tokio::test]
async fn help_shows_the_chapters_of_the_guide() {
    let local = Local::new().await;
    local.write("s3_migration_config.ini", "nonsense");
    let guide = std::fs::read_to_string("docs/guide.md").unwrap();
    let topics = shown(&local, &["help", "topics"]).await.stdout;
    let names: Vec<&str> = topics.lines().skip(1).map(str::trim).collect();
    assert_eq!(names.len(), guide.lines().filter(|line| line.starts_with("## ")).count());
    for name in names {
        let chapter = shown(&local, &["help", name]).await.stdout;
        assert!(chapter.lines().count() > 3, "{name}: {chapter}");
    }
    let chapter = shown(&local, &["help", "look", "before"]).await.stdout;
    assert!(chapter.starts_with("Look before you copy: the dry run\n"), "{chapter}");
    assert!(!chapter.contains("](") && !chapter.contains("```"), "{chapter}");
    let none = local.run(&["help", "nothing", "such"]).await.with_status(2);
    none.says(&["no command or topic nothing such", "help topics"]);
    let many = local.run(&["help", "what-is"]).await.with_status(2);
    many.says(&["what-is may mean what-is-compared"]);
    assert!(shown(&local, &["help"]).await.stdout.contains("Usage: s3-migration"));
}

#[tokio::test]
async fn manual_pages_and_completions_name_every_command() {
    let local = Local::new().await;
    let written = shown(&local, &["man", "man/man1"]).await;
    assert!(written.stdout.contains("manual pages in man/man1"), "{}", written.all());
    let page = |name: &str| {
        let path = local.work().join("man/man1").join(format!("{name}.1"));
        std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    };
    let whole = page("s3-migration");
    let scripts = ["bash", "zsh", "fish", "elvish", "powershell"];
    let mut completions = Vec::new();
    for shell in scripts {
        completions.push(shown(&local, &["completions", shell]).await.stdout);
    }
    for command in COMMANDS {
        let own = page(&format!("s3-migration-{command}"));
        assert!(own.contains(".TH ") && own.contains("Exit status"), "{own}");
        assert!(whole.contains(&format!("s3\\-migration\\-{command}")), "{command}: {whole}");
        assert!(completions.iter().all(|script| script.contains(command)), "{command}");
    }
    // The shell itself finds nothing wrong with it.
    local.write("completions.bash", &completions[0]);
    let bash = std::process::Command::new("bash")
        .args(["-c", "source ./completions.bash && complete -p s3-migration"])
        .current_dir(local.work())
        .output()
        .unwrap();
    assert!(bash.status.success(), "{}", String::from_utf8_lossy(&bash.stderr));
    local.run(&["man", "completions.bash/x"]).await.with_status(2);
}
