//! A source and a destination of any two stores, and the real binary between them.

use std::path::PathBuf;

use s3_endpoint::{Endpoint, EndpointOptions};
use tempfile::TempDir;

use crate::client::Client;
use crate::rows::Row;
use crate::servers::{ACCESS_KEY, Servers};
use crate::tools::Missing;
use testkit::local::SECRETS;
use testkit::ministack::unique;
use testkit::process::{Ended, Running, program};

/// One bucket at one store.
pub struct Place {
    pub url: String,
    pub client: Client,
    pub bucket: String,
    secret: &'static str,
    _own: Option<Endpoint>,
}

/// Two places and a folder to work in.
pub struct Stage {
    pub source: Place,
    pub destination: Place,
    folder: TempDir,
    settings: Vec<(String, String)>,
}

impl Place {
    /// A new bucket at the store of this row.
    pub async fn at(
        servers: &Servers,
        row: &'static Row,
        folder: &TempDir,
    ) -> Result<Self, Missing> {
        let bucket = unique("interop");
        if row.name == "own" {
            let options = EndpointOptions {
                folder: folder.path().join(&bucket),
                access_key: ACCESS_KEY.to_owned(),
                secret_key: SECRETS[0].to_owned(),
                buckets: vec![bucket.clone()],
                ..EndpointOptions::default()
            };
            let own = Endpoint::start(options).await.expect("an endpoint of our own");
            let url = own.url();
            let address = url.trim_start_matches("http://").parse().expect("an address");
            let client = Client::new(address, ACCESS_KEY, SECRETS[0]);
            return Ok(Self { url, client, bucket, secret: SECRETS[0], _own: Some(own) });
        }
        let server = servers.get(row)?;
        server.client.create_bucket(&bucket).await;
        let (url, client) = (server.url(), server.client.clone());
        Ok(Self { url, client, bucket, secret: crate::servers::SECRET_KEY, _own: None })
    }

    /// Its address on the command line.
    pub fn name(&self) -> String {
        format!("s3://{}", self.bucket)
    }
}

impl Stage {
    pub async fn new(
        servers: &Servers,
        source: &'static Row,
        destination: &'static Row,
    ) -> Result<Self, Missing> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let source = Place::at(servers, source, &folder).await?;
        let destination = Place::at(servers, destination, &folder).await?;
        std::fs::create_dir(folder.path().join("work")).expect("a folder to work in");
        let mut stage = Self { source, destination, folder, settings: Vec::new() };
        stage.secrets([stage.source.secret, stage.destination.secret]);
        for (side, url) in
            [("Source", stage.source.url.clone()), ("Destination", stage.destination.url.clone())]
        {
            stage.set(&format!("{side}_Endpoint"), &url);
            stage.set(&format!("{side}_Profile"), side);
            stage.set(&format!("{side}_Region"), "us-east-1");
        }
        let list = serde_json::json!([{
            "src_bucket": stage.source.bucket, "src_prefix": "",
            "des_bucket": stage.destination.bucket, "des_prefix": "",
        }]);
        std::fs::write(stage.work().join("pairs.json"), list.to_string()).expect("a bucket list");
        stage.set("bucket_para_file", "pairs.json");
        stage.set("ssm_parameter_ignore_list", "");
        stage.set("Backend_Queue", "embedded");
        stage.set("Backend_State", "embedded");
        Ok(stage)
    }

    /// Writes the profiles of both sides, with these secrets.
    pub fn secrets(&self, secrets: [&str; 2]) {
        let profile = |(side, secret)| {
            format!(
                "[{side}]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {secret}\n"
            )
        };
        let profiles = ["Source", "Destination"].into_iter().zip(secrets).map(profile);
        let file = self.folder.path().join("credentials");
        std::fs::write(file, profiles.collect::<String>()).expect("the profiles can be written");
    }

    /// Sets a key of the configuration, or a variable of the environment; the last setting counts.
    pub fn set(&mut self, key: &str, value: &str) {
        self.settings.push((key.to_owned(), value.to_owned()));
    }

    /// The binary's working directory.
    pub fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    /// Starts the binary.
    pub fn spawn(&self, arguments: &[&str]) -> Running {
        let mut command = program(self.folder.path(), &self.work());
        command.args(arguments).envs(self.settings.iter().map(|(key, value)| (key, value)));
        Running::start(command)
    }

    /// Runs the binary to its end.
    pub async fn run(&self, arguments: &[&str]) -> Ended {
        self.spawn(arguments).ended().await
    }

    /// `run` of the two buckets, and its numbers.
    pub async fn migrate(&self) -> Ended {
        let (source, destination) = (self.source.name(), self.destination.name());
        self.run(&["run", &source, &destination, "--json"]).await
    }
}
