//! Runs the real binary between two S3 endpoints of our own, each with its own access key. Folder and
//! environment hide the user's AWS set-up.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
};
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart, EncodingType};
use percent_encoding::percent_decode_str;
use s3_endpoint::{Endpoint, EndpointOptions, Gate};
use tempfile::TempDir;
use tokio::process::Command;

use crate::gate::Hold;
use crate::process::{Ended, Running, program, until};

/// One mebibyte in bytes.
pub const MIB: usize = 1024 * 1024;
/// The only bucket of the source, and of the destination.
pub const BUCKETS: [&str; 2] = ["from-here", "to-there"];
/// The URLs of both buckets.
pub const ALL: [&str; 2] = ["s3://from-here", "s3://to-there"];
/// The file of the embedded queue and records.
pub const SQLITE: &str = "s3_migration.sqlite";

/// The access key of each side.
pub const ACCESS_KEYS: [&str; 2] = ["AKIASOURCESIDE", "AKIADESTINATIONSIDE"];
/// The secrets, which no output may show.
pub const SECRETS: [&str; 2] = ["source+Secret/0123456789", "destination+Secret/9876543210"];
const PROFILES: [&str; 2] = ["source-side", "destination-side"];

/// One endpoint and a client for it.
pub struct Place {
    /// The server.
    pub endpoint: Endpoint,
    /// Signs with the endpoint's access key.
    pub client: Client,
    bucket: &'static str,
}

/// Two endpoints, a folder to work in, and the binary.
pub struct Local {
    /// The source.
    pub source: Place,
    /// The destination.
    pub destination: Place,
    folder: TempDir,
    settings: Vec<(String, String)>,
}

impl Local {
    /// Two empty buckets.
    pub async fn new() -> Self {
        Self::gated(None::<Arc<Hold>>).await
    }

    /// `gate` guards the destination.
    pub async fn gated(gate: Option<Arc<impl Gate>>) -> Self {
        Self::set_up(gate.map(|gate| gate as Arc<dyn Gate>), [false, false]).await
    }

    /// `true` for the source or the destination: that side's ETags are not MD5s.
    pub async fn with_own_etags(sides: [bool; 2]) -> Self {
        Self::set_up(None, sides).await
    }

    async fn set_up(gate: Option<Arc<dyn Gate>>, own_etags: [bool; 2]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("work")).unwrap();
        let source = Place::start(0, folder.path(), None, own_etags[0]).await;
        let destination = Place::start(1, folder.path(), gate, own_etags[1]).await;
        let mut local = Self { source, destination, folder, settings: Vec::new() };
        local.write_credentials(SECRETS, ACCESS_KEYS);
        for (side, at) in [("Source", 0), ("Destination", 1)] {
            local.set(&format!("{side}_Endpoint"), &local.places()[at].endpoint.url());
            local.set(&format!("{side}_Profile"), PROFILES[at]);
        }
        // Tests count requests, so no samples here; `tests/field/kept.rs` tests them.
        local.set("SampleRate", "0");
        // Secrets must not appear even at the most verbose level.
        local.set("LoggingLevel", "DEBUG");
        local
    }

    /// Sets a configuration key by its environment variable; the last value counts.
    pub fn set(&mut self, key: &str, value: &str) {
        self.settings.push((key.to_owned(), value.to_owned()));
    }

    /// Takes the bucket list from a file, and queue and records from [`SQLITE`], as `jobsender` and
    /// `worker` do without AWS.
    pub fn embedded(&mut self) {
        let [from, to] = BUCKETS;
        self.write("pairs.json", &format!(r#"[{{"src_bucket":"{from}","des_bucket":"{to}"}}]"#));
        self.set("Backend_Queue", "embedded");
        self.set("Backend_State", "embedded");
        self.set("bucket_para_file", "pairs.json");
        self.set("ssm_parameter_ignore_list", "");
    }

    fn places(&self) -> [&Place; 2] {
        [&self.source, &self.destination]
    }

    /// Writes other access keys into the binary's file; the endpoints keep theirs.
    pub fn write_credentials(&self, secrets: [&str; 2], access_keys: [&str; 2]) {
        let profiles = [0, 1].map(|at| {
            let (profile, key, secret) = (PROFILES[at], access_keys[at], secrets[at]);
            format!("[{profile}]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n")
        });
        std::fs::write(self.folder.path().join("credentials"), profiles.concat()).unwrap();
    }

    /// Like [`Self::write_credentials`], but with another secret or access key on one side.
    pub fn spoil_credentials(&self, side: usize, secret: Option<&str>, access_key: Option<&str>) {
        let (mut secrets, mut keys) = (SECRETS, ACCESS_KEYS);
        secrets[side] = secret.unwrap_or(secrets[side]);
        keys[side] = access_key.unwrap_or(keys[side]);
        self.write_credentials(secrets, keys);
    }

    /// The working directory of the binary.
    pub fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    /// The names of the files in it.
    pub fn files(&self) -> Vec<String> {
        files(&self.work())
    }

    /// Writes a file into it.
    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.work().join(name), text).unwrap();
    }

    /// The binary, not started yet.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program(self.folder.path(), &self.work());
        command.args(arguments).envs(self.settings.iter().map(|(key, value)| (key, value)));
        command
    }

    /// Starts the binary.
    pub fn spawn(&self, arguments: &[&str]) -> Running {
        Running::start(self.command(arguments))
    }

    /// Runs the binary until it ends.
    pub async fn run(&self, arguments: &[&str]) -> Ended {
        self.spawn(arguments).ended().await
    }

    /// Runs `run` on both buckets.
    pub async fn migrate(&self) -> Ended {
        self.run(&["run", ALL[0], ALL[1]]).await
    }

    /// Waits until the destination has received this many requests for `operation`.
    pub async fn asked(&self, operation: &str, times: u64) {
        let enough = async || self.destination.requests(operation) >= times;
        until(&format!("{times} {operation}"), enough).await;
    }

    /// Asserts that the binary has changed neither side and has left no file.
    pub async fn assert_untouched(&self, what: &str) {
        for place in self.places() {
            let stats = place.endpoint.stats();
            let reads = ["ListObjectsV2", "HeadObject", "GetObject"];
            let writes: Vec<_> = stats.keys().filter(|op| !reads.contains(&op.as_str())).collect();
            assert!(writes.is_empty(), "{what}: {writes:?}");
        }
        let inputs = ["s3_migration_config.ini", "pairs.json"];
        let left: Vec<_> =
            self.files().into_iter().filter(|f| !inputs.contains(&f.as_str())).collect();
        assert!(left.is_empty(), "{what} left {left:?}");
    }
}

impl Place {
    async fn start(
        side: usize,
        folder: &Path,
        gate: Option<Arc<dyn Gate>>,
        own_etags: bool,
    ) -> Self {
        let bucket = BUCKETS[side];
        let options = EndpointOptions {
            folder: folder.join(bucket),
            access_key: ACCESS_KEYS[side].to_owned(),
            secret_key: SECRETS[side].to_owned(),
            buckets: vec![bucket.to_owned()],
            gate,
            own_etags,
        };
        let endpoint = Endpoint::start(options).await.unwrap();
        let client = client(&endpoint.url(), ACCESS_KEYS[side], SECRETS[side]);
        Self { endpoint, client, bucket }
    }

    /// From now on the endpoint accepts only another access key, which this client uses too.
    pub fn rotate(&mut self, access_key: &str, secret: &str) {
        self.endpoint.rotate(access_key, secret);
        self.client = client(&self.endpoint.url(), access_key, secret);
    }

    /// Writes an object in one piece.
    pub async fn put(&self, key: &str, body: Vec<u8>) {
        let put = self.client.put_object().bucket(self.bucket).key(key).body(body.into());
        put.send().await.unwrap();
    }

    /// Uploads an object as these parts.
    pub async fn put_in_parts(&self, key: &str, parts: &[&[u8]]) {
        let create = self.client.create_multipart_upload().bucket(self.bucket).key(key);
        let upload = create.send().await.unwrap().upload_id.unwrap();
        let mut completed = Vec::new();
        for (number, part) in (1..).zip(parts) {
            let put = self.client.upload_part().bucket(self.bucket).key(key).upload_id(&upload);
            let put = put.part_number(number).body(part.to_vec().into()).send().await.unwrap();
            let part = CompletedPart::builder().part_number(number).set_e_tag(put.e_tag);
            completed.push(part.build());
        }
        let parts = CompletedMultipartUpload::builder().set_parts(Some(completed)).build();
        let complete = self.client.complete_multipart_upload().bucket(self.bucket).key(key);
        complete.upload_id(upload).multipart_upload(parts).send().await.unwrap();
    }

    /// The object's ETag, without its quotation marks.
    pub async fn etag(&self, key: &str) -> String {
        let head = self.client.head_object().bucket(self.bucket).key(key).send().await.unwrap();
        head.e_tag().unwrap().trim_matches('"').to_owned()
    }

    /// The bytes of an object, which must exist.
    pub async fn get(&self, key: &str) -> Vec<u8> {
        let get = self.client.get_object().bucket(self.bucket).key(key).send().await;
        let get = get.unwrap_or_else(|error| panic!("{key:?}: {error:?}"));
        get.body.collect().await.unwrap().to_vec()
    }

    /// All keys, in listing order.
    pub async fn keys(&self) -> Vec<String> {
        let list = self.client.list_objects_v2().bucket(self.bucket);
        let listing = list.encoding_type(EncodingType::Url).send().await.unwrap();
        let keys = listing.contents().iter().map(|object| object.key().unwrap().replace('+', " "));
        keys.map(|key| percent_decode_str(&key).decode_utf8().unwrap().into_owned()).collect()
    }

    /// The number of unfinished uploads.
    pub async fn uploads(&self) -> usize {
        let list = self.client.list_multipart_uploads().bucket(self.bucket);
        list.send().await.unwrap().uploads().len()
    }

    /// The parts of all unfinished uploads.
    pub async fn parts_left(&self) -> usize {
        let list = self.client.list_multipart_uploads().bucket(self.bucket);
        let mut parts = 0;
        for upload in list.send().await.unwrap().uploads() {
            let list = self.client.list_parts().bucket(self.bucket);
            let list = list.set_key(upload.key.clone()).set_upload_id(upload.upload_id.clone());
            parts += list.send().await.unwrap().parts().len();
        }
        parts
    }

    /// The number of requests for this operation.
    pub fn requests(&self, operation: &str) -> u64 {
        self.endpoint.stats().get(operation).map_or(0, |stats| stats.requests)
    }

    /// The number of requests by operation.
    pub fn all_requests(&self) -> BTreeMap<String, u64> {
        let stats = self.endpoint.stats().into_iter();
        stats.map(|(operation, stats)| (operation, stats.requests)).collect()
    }
}

/// The names in a folder, in order.
pub fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

/// Bytes with a long period; each seed gives other bytes.
pub fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; len];
    fastrand::Rng::with_seed(seed).fill(&mut bytes);
    bytes
}

fn client(url: &str, access_key: &str, secret_key: &str) -> Client {
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(url)
        .force_path_style(true)
        .credentials_provider(Credentials::new(access_key, secret_key, None, None, "test"))
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .retry_config(RetryConfig::disabled());
    Client::from_conf(config.build())
}
