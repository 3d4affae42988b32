//! The binary as a process: start it, signal it, read its output, wait for it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::sync::watch;

use crate::local::SECRETS;

/// Longer than anything here takes: whatever has not come by then never will.
pub const BOUND: Duration = Duration::from_secs(90);
/// The pause between polls.
const LOOK: Duration = Duration::from_millis(20);

/// How the binary ended.
#[derive(Debug)]
pub struct Ended {
    /// The exit status; `None` if a signal ended it.
    pub status: Option<i32>,
    /// Everything it printed.
    pub stdout: String,
    /// Everything it logged.
    pub stderr: String,
}

impl Ended {
    /// All output, for the message of an assertion.
    pub fn all(&self) -> String {
        format!("status {:?}\n{}\n{}", self.status, self.stdout, self.stderr)
    }

    /// Asserts the exit status.
    #[track_caller]
    pub fn with_status(self, status: i32) -> Self {
        assert_eq!(self.status, Some(status), "{}", self.all());
        self
    }

    /// Asserts that a failed command says a single line, with each of these words in it.
    #[track_caller]
    pub fn says(&self, words: &[&str]) {
        let last = self.stderr.lines().rfind(|line| line.starts_with("s3-migration: "));
        let last = last.unwrap_or_else(|| panic!("no last word: {}", self.all()));
        for word in words {
            assert!(last.contains(word), "no {word:?} in: {last}");
        }
        assert_eq!(self.stdout, "", "a failed command has no result");
    }

    /// The JSON result of a command with `--json`.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {}", self.all()))
    }
}

/// The path of the binary. Cargo passes it to the tests and benchmarks of the binary's package.
pub fn binary() -> PathBuf {
    let file = std::env::var_os("CARGO_BIN_EXE_s3-migration");
    file.expect("cargo sets CARGO_BIN_EXE_s3-migration: start the tests by cargo").into()
}

/// The binary with an environment without any identity.
pub fn program(home: &Path, folder: &Path) -> Command {
    let mut command = Command::new(binary());
    command.current_dir(folder).env_clear().kill_on_drop(true);
    command.env("TMPDIR", home);
    command.env("HOME", home).env("AWS_EC2_METADATA_DISABLED", "true");
    command.env("AWS_SHARED_CREDENTIALS_FILE", home.join("credentials"));
    command.env("AWS_CONFIG_FILE", home.join("no-config"));
    command
}

/// A running binary, whose output is read as it comes.
pub struct Running {
    child: Child,
    stdout: watch::Receiver<Said>,
    stderr: watch::Receiver<Said>,
}

/// The output so far, and whether it has ended.
#[derive(Clone, Default)]
struct Said {
    bytes: Vec<u8>,
    over: bool,
}

impl Said {
    fn text(&self) -> String {
        String::from_utf8(self.bytes.clone()).unwrap()
    }
}

impl Running {
    /// Starts it with an empty stdin.
    pub fn start(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdout = collect(child.stdout.take().unwrap());
        let stderr = collect(child.stderr.take().unwrap());
        Self { child, stdout, stderr }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id().expect("it is running")
    }

    /// Waits until `text` is on stdout.
    pub async fn prints(&mut self, text: &str) {
        said(&mut self.stdout, text).await;
    }

    /// Waits until `text` is on stderr.
    pub async fn logs(&mut self, text: &str) {
        said(&mut self.stderr, text).await;
    }

    /// What is on stderr so far.
    pub fn logged(&self) -> String {
        self.stderr.borrow().text()
    }

    /// Sends a signal such as `TERM`.
    pub fn signal(&self, name: &str) {
        signal(name, &self.id().to_string());
    }

    /// Kills it with SIGKILL and waits until it is dead.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Waits until it ends. Asserts that its output shows no secret.
    pub async fn ended(mut self) -> Ended {
        let ended = tokio::time::timeout(BOUND, self.child.wait()).await;
        let Ok(status) = ended else {
            let said = (self.stdout.borrow().text(), self.stderr.borrow().text());
            panic!("it does not end: {}\n{}", said.0, said.1);
        };
        let mut texts = [String::new(), String::new()];
        for (text, stream) in texts.iter_mut().zip([&mut self.stdout, &mut self.stderr]) {
            *text = stream.wait_for(|said| said.over).await.unwrap().text();
        }
        let [stdout, stderr] = texts;
        for secret in SECRETS {
            assert!(!stdout.contains(secret) && !stderr.contains(secret), "{stdout}\n{stderr}");
        }
        Ended { status: status.unwrap().code(), stdout, stderr }
    }
}

async fn said(stream: &mut watch::Receiver<Said>, text: &str) {
    let there = |said: &Said| said.over || said.text().contains(text);
    let found = tokio::time::timeout(BOUND, stream.wait_for(there)).await;
    let said = found.map(|said| said.unwrap().text()).unwrap_or_default();
    assert!(said.contains(text), "{text:?} was never said: {said}");
}

fn collect(mut stream: impl AsyncRead + Unpin + Send + 'static) -> watch::Receiver<Said> {
    let (sender, receiver) = watch::channel(Said::default());
    tokio::spawn(async move {
        let mut piece = [0; 4096];
        loop {
            match stream.read(&mut piece).await {
                Ok(0) | Err(_) => break,
                Ok(len) => sender.send_modify(|said| said.bytes.extend(&piece[..len])),
            }
        }
        sender.send_modify(|said| said.over = true);
    });
    receiver
}

/// Sends a signal to a process, or to a process group if the id is negative.
pub fn signal(name: &str, target: &str) {
    let script = format!("kill -s {name} -- {target}");
    assert!(std::process::Command::new("sh").args(["-c", &script]).status().unwrap().success());
}

/// Whether the calling test has its process to itself, so that the process's memory is the test's. If
/// not, this runs the test again in its own process, where it must pass.
pub fn is_alone(test: &str) -> bool {
    const ALONE: &str = "S3_MIGRATION_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let mut again = std::process::Command::new(std::env::current_exe().unwrap());
    again.args(["--exact", test, "--nocapture"]).env(ALONE, "1");
    let ended = again.output().unwrap();
    let said = [ended.stdout, ended.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    // If the name matched no test, the process would succeed too.
    let has_passed = ended.status.success() && said[0].contains("1 passed");
    assert!(has_passed, "{test} in a process of its own: {}\n{}", said[0], said[1]);
    false
}

/// Polls until `reached` returns true.
pub async fn until(what: &str, reached: impl AsyncFn() -> bool) {
    let looking = async {
        while !reached().await {
            tokio::time::sleep(LOOK).await;
        }
    };
    assert!(tokio::time::timeout(BOUND, looking).await.is_ok(), "never reached: {what}");
}
