//! The binary in a folder of its own, between the two buckets of one store.

use std::path::PathBuf;

use tempfile::TempDir;

use crate::store::Store;
use testkit::process::{Ended, Running, program};

/// The source's bucket.
pub const FROM: &str = "from-here";
/// The destination's.
pub const TO: &str = "to-there";
/// `run` of both.
pub const RUN: [&str; 3] = ["run", "s3://from-here", "s3://to-there"];
/// Both ways of calling; they must behave alike.
pub const PATHS: [&str; 2] = ["lean", "sdk"];

/// A stage whose binary calls in this way.
pub async fn stage_by(path: &str) -> Stage {
    let mut stage = Stage::new().await;
    stage.set("HttpPath", path);
    stage
}

/// A store, a folder and the binary.
pub struct Stage {
    pub store: Store,
    folder: TempDir,
    environment: Vec<(String, String)>,
    ini: String,
}

impl Stage {
    /// Both sides are the store's, with a key that it does not look at; few tries for a call.
    pub async fn new() -> Self {
        let store = Store::start().await;
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("work")).unwrap();
        let side = format!("Endpoint = {}\nRegion = us-east-1\nCredentials = default\n", store.url);
        let ini = format!("[Source]\n{side}[Destination]\n{side}");
        let mut stage = Self { store, folder, environment: Vec::new(), ini };
        stage.set("AWS_ACCESS_KEY_ID", "AKIDFIELD");
        stage.set("AWS_SECRET_ACCESS_KEY", "field-secret");
        stage.set("Mode_MaxRetry", "2");
        stage
    }

    /// Sets a variable of the binary's environment; the last setting counts.
    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Puts lines after the ini's sections `[Source]` and `[Destination]`.
    pub fn ini(&mut self, lines: &str) {
        self.ini += lines;
    }

    /// Another ini.
    pub fn replace_ini(&mut self, text: &str) {
        text.clone_into(&mut self.ini);
    }

    /// The working directory of the binary.
    pub fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    /// Writes a file there.
    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.work().join(name), text).unwrap();
    }

    /// Starts the binary.
    pub fn spawn(&self, arguments: &[&str]) -> Running {
        self.write("field.ini", &self.ini);
        let mut command = program(self.folder.path(), &self.work());
        command.args(["--config", "field.ini"]).args(arguments);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        Running::start(command)
    }

    /// Runs the binary to its end.
    pub async fn run(&self, arguments: &[&str]) -> Ended {
        self.spawn(arguments).ended().await
    }

    /// `run` of both buckets.
    pub async fn migrate(&self) -> Ended {
        self.run(&RUN).await
    }
}
