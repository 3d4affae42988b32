//! Two accounts with everything a migration needs; runs the real program in them.

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aws_config::SdkConfig;
use aws_sdk_sqs::types::QueueAttributeName;
use aws_sdk_ssm::types::ParameterType;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use crate::ministack::{ACCOUNT_A, ACCOUNT_B, Ministack};
use crate::process::binary;
use crate::resources::{self, Queues};

pub use crate::local::{MIB, noise};

/// Far more than anything here takes, even on a machine under load; a test that waits longer fails.
pub const PATIENCE: Duration = Duration::from_secs(100);
/// The pause between polls.
const LOOK: Duration = Duration::from_millis(40);

/// Account A, which is the machine's, and account B. Queue, table and parameters are in A.
pub struct Stage {
    /// The stand-in for AWS.
    pub server: &'static Ministack,
    /// Clients of account A.
    pub a: SdkConfig,
    /// Clients of account B.
    pub b: SdkConfig,
    /// The source bucket.
    pub source: String,
    /// The destination bucket.
    pub destination: String,
    /// The queue of jobs and its dead letter queue.
    pub queues: Queues,
    /// The table of records.
    pub table: String,
    /// The parameter with account B's access key.
    pub credentials: String,
    /// `PackObjects`.
    pub pack_objects: u32,
    job_type: &'static str,
    bucket_list: String,
    ignore_list: String,
    folder: TempDir,
}

impl Stage {
    /// JobType PUT: the source is in A, the destination in B. A message becomes a dead letter after
    /// `max_receives` receipts.
    pub async fn put(max_receives: u32) -> Self {
        Self::new("PUT", max_receives, "").await
    }

    /// JobType GET: the source is in B, the destination in A.
    pub async fn get() -> Self {
        Self::new("GET", 5, "").await
    }

    /// JobType PUT with an ignore list.
    pub async fn ignoring(rules: &str) -> Self {
        Self::new("PUT", 5, rules).await
    }

    async fn new(job_type: &'static str, max_receives: u32, ignored: &str) -> Self {
        let server = Ministack::shared();
        let (a, b) = (server.sdk_config(ACCOUNT_A), server.sdk_config(ACCOUNT_B));
        let (from, to) = if job_type == "PUT" { (&a, &b) } else { (&b, &a) };
        let (source, destination) = (resources::bucket(from).await, resources::bucket(to).await);
        let pairs = json!([{"src_bucket": source, "src_prefix": "", "des_bucket": destination,
                            "des_prefix": "moved"}]);
        let keys = json!({"aws_access_key_id": ACCOUNT_B, "aws_secret_access_key": "test",
                          "region": "us-east-1"});
        let text = |text: String| {
            let a = &a;
            async move { resources::parameter(a, ParameterType::String, &text).await }
        };
        // Parameter Store refuses an empty text.
        let ignored = if ignored.is_empty() { "# nothing" } else { ignored };
        Self {
            server,
            pack_objects: 100,
            job_type,
            bucket_list: text(pairs.to_string()).await,
            ignore_list: text(ignored.to_owned()).await,
            credentials: resources::parameter(&a, ParameterType::SecureString, &keys.to_string())
                .await,
            queues: resources::queues(&a, max_receives).await,
            table: resources::table(&a).await,
            a,
            b,
            source,
            destination,
            folder: tempfile::tempdir().expect("a temporary folder"),
        }
    }

    /// The SDK configuration of the account that may read and write the source.
    pub fn at_source(&self) -> &SdkConfig {
        if self.job_type == "PUT" { &self.a } else { &self.b }
    }

    /// The same for the destination.
    pub fn at_destination(&self) -> &SdkConfig {
        if self.job_type == "PUT" { &self.b } else { &self.a }
    }

    /// The program's configuration file.
    fn ini(&self) -> PathBuf {
        let file = self.folder.path().join("s3_migration_config.ini");
        let Self { job_type, bucket_list, ignore_list, credentials, table, .. } = self;
        let text = format!(
            "[Basic]\nJobType = {job_type}\ntable_queue_name = {table}\n\
             sqs_queue_name = {}\nssm_parameter_bucket = {bucket_list}\n\
             ssm_parameter_credentials = {credentials}\n\
             ssm_parameter_ignore_list = {ignore_list}\n\
             Des_bucket_default = {}\nDes_prefix_default = arrived\n\
             [Mode]\nPackObjects = {}\n[Debug]\nLogFormat = text\n",
            self.queues.name, self.destination, self.pack_objects
        );
        // A program that has just started may be reading it, so it must never be empty.
        if std::fs::read_to_string(&file).ok().as_ref() != Some(&text) {
            std::fs::write(&file, text).expect("the ini can be written");
        }
        file
    }

    /// The environment of a function, in the names of the original's.
    pub fn function_environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("JobType", self.job_type.to_owned()),
            ("table_queue_name", self.table.clone()),
            ("sqs_queue", self.queues.name.clone()),
            ("ssm_parameter_bucket", self.bucket_list.clone()),
            ("ssm_parameter_credentials", self.credentials.clone()),
            ("ssm_parameter_ignore_list", self.ignore_list.clone()),
            ("Des_bucket_default", self.destination.clone()),
            ("Des_prefix_default", "arrived".to_owned()),
            ("StorageClass", "STANDARD".to_owned()),
            ("MaxRetry", "20".to_owned()),
            ("MaxThread", "20".to_owned()),
        ]
    }

    /// The program as account A, with none of this process's environment.
    pub fn program(&self, args: &[&str]) -> Command {
        let mut program = program(args);
        program.arg("--config").arg(self.ini());
        program.envs(self.server.environment(ACCOUNT_A)).current_dir(self.folder.path());
        program
    }

    /// Runs a command until it ends.
    pub async fn run(&self, args: &[&str]) -> Ran {
        ran(self.program(args)).await
    }

    /// Starts a worker; `settings` are configuration keys, passed as environment variables.
    pub fn worker(&self, settings: &[(&str, &str)]) -> Worker {
        let mut program = self.program(&["worker"]);
        program.envs(settings.iter().copied());
        Worker::start(program)
    }

    /// The output of `status --json`.
    pub async fn status(&self) -> Value {
        let ran = self.run(&["status", "--json"]).await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        serde_json::from_str(&ran.stdout).expect("JSON")
    }

    /// Waits until the queue is empty and this many objects are on record as copied.
    pub async fn until_done(&self, objects: u64) {
        let what =
            format!("{objects} objects are copied and the queue {} is empty", self.queues.url);
        until(&what, async || {
            let empty = self.depth().await == (0, 0);
            (empty && self.records("DONE").await.len() as u64 == objects).then_some(())
        })
        .await;
    }

    /// Puts an object into the source.
    pub async fn put_source(&self, key: &str, body: &[u8]) {
        let put = resources::s3(self.at_source()).put_object().bucket(&self.source).key(key);
        put.body(body.to_vec().into()).send().await.expect("PutObject");
    }

    /// The bytes of an object at the destination, if it exists.
    pub async fn arrived(&self, key: &str) -> Option<Vec<u8>> {
        let client = resources::s3(self.at_destination());
        let answer = client.get_object().bucket(&self.destination).key(key).send().await.ok()?;
        Some(answer.body.collect().await.expect("a whole body").to_vec())
    }

    /// All keys at the destination, in order.
    pub async fn arrived_keys(&self) -> Vec<String> {
        let client = resources::s3(self.at_destination());
        let answer = client.list_objects_v2().bucket(&self.destination).send().await;
        let page = answer.expect("ListObjectsV2");
        page.contents().iter().filter_map(|object| object.key.clone()).collect()
    }

    /// Sends a message with this body.
    pub async fn send(&self, body: &str) {
        let client = aws_sdk_sqs::Client::new(&self.a);
        let sent = client.send_message().queue_url(&self.queues.url).message_body(body);
        sent.send().await.expect("SendMessage");
    }

    /// Sets the queue's own visibility timeout.
    pub async fn set_visibility(&self, seconds: u32) {
        let client = aws_sdk_sqs::Client::new(&self.a);
        let set = client.set_queue_attributes().queue_url(&self.queues.url);
        let set = set.attributes(QueueAttributeName::VisibilityTimeout, seconds.to_string());
        set.send().await.expect("SetQueueAttributes");
    }

    /// A folder without a configuration file.
    pub fn empty_folder(&self) -> PathBuf {
        let folder = self.folder.path().join("task");
        std::fs::create_dir_all(&folder).expect("a folder can be made");
        folder
    }

    /// The number of messages that can be received, and of those in flight.
    pub async fn depth(&self) -> (u64, u64) {
        use QueueAttributeName as Name;
        let client = aws_sdk_sqs::Client::new(&self.a);
        let names =
            [Name::ApproximateNumberOfMessages, Name::ApproximateNumberOfMessagesNotVisible];
        let asked = client.get_queue_attributes().queue_url(&self.queues.url);
        let answer = asked.set_attribute_names(Some(names.to_vec())).send().await;
        let counts = answer.expect("GetQueueAttributes").attributes.unwrap_or_default();
        let count = |name| counts[name].parse().expect("a count");
        (count(&names[0]), count(&names[1]))
    }

    /// Takes up to ten messages out of the queue; returns their bodies.
    pub async fn take(&self) -> Vec<String> {
        let client = aws_sdk_sqs::Client::new(&self.a);
        let receive = client.receive_message().queue_url(&self.queues.url);
        let answer = receive.max_number_of_messages(10).send().await.expect("ReceiveMessage");
        let mut bodies = Vec::new();
        for message in answer.messages.unwrap_or_default() {
            let delete = client.delete_message().queue_url(&self.queues.url);
            let delete = delete.set_receipt_handle(message.receipt_handle);
            delete.send().await.expect("DeleteMessage");
            bodies.extend(message.body);
        }
        bodies
    }

    /// Waits until the jobsender has left this many notes of what it has sent.
    pub async fn until_notes(&self, notes: usize) {
        until(&format!("{notes} notes"), async || {
            let client = aws_sdk_dynamodb::Client::new(&self.a);
            let answer = client.scan().table_name(&self.table).consistent_read(true).send().await;
            let items = answer.expect("Scan").items.unwrap_or_default().into_iter().map(plain);
            let is_note = |item: &Value| {
                item["Key"].as_str().is_some_and(|key| key.starts_with("note:sent:"))
            };
            (items.filter(is_note).count() >= notes).then_some(())
        })
        .await;
    }

    /// Waits for a dead letter and removes it; returns its body and its reason.
    pub async fn dead_letter(&self) -> (String, Option<String>) {
        let client = aws_sdk_sqs::Client::new(&self.a);
        until("a message is a dead letter", async || {
            let receive = client.receive_message().queue_url(&self.queues.dead_url);
            let answer = receive.message_attribute_names("All").send().await.expect("an answer");
            let letter = answer.messages.unwrap_or_default().pop()?;
            let delete = client.delete_message().queue_url(&self.queues.dead_url);
            let delete = delete.set_receipt_handle(letter.receipt_handle.clone());
            delete.send().await.expect("DeleteMessage");
            let reason = letter.message_attributes.and_then(|mut all| all.remove("reason"));
            Some((letter.body.unwrap_or_default(), reason.and_then(|reason| reason.string_value)))
        })
        .await
    }

    /// The records with this `jobStatus`, each as a JSON object without DynamoDB's types.
    pub async fn records(&self, status: &str) -> Vec<Value> {
        let client = aws_sdk_dynamodb::Client::new(&self.a);
        let answer = client.scan().table_name(&self.table).consistent_read(true).send().await;
        let items = answer.expect("Scan").items.unwrap_or_default().into_iter().map(plain);
        items.filter(|item| item["jobStatus"] == status).collect()
    }

    /// The only record of this source key.
    pub async fn record(&self, key: &str) -> Value {
        use aws_sdk_dynamodb::types::AttributeValue::S;
        let client = aws_sdk_dynamodb::Client::new(&self.a);
        let get = client.get_item().table_name(&self.table).consistent_read(true);
        let answer = get.key("Key", S(format!("{}/{key}", self.source))).send().await;
        plain(answer.expect("GetItem").item.unwrap_or_else(|| panic!("no record of {key}")))
    }

    /// The sizes of the parts of the only unfinished upload at the destination.
    pub async fn parts(&self) -> Vec<i64> {
        let client = resources::s3(self.at_destination());
        let bucket = &self.destination;
        let listed = client.list_multipart_uploads().bucket(bucket).send().await;
        let listed = listed.expect("ListMultipartUploads");
        let [upload] = listed.uploads() else { return Vec::new() };
        let parts = client.list_parts().bucket(bucket).set_key(upload.key.clone());
        let parts = parts.set_upload_id(upload.upload_id.clone()).send().await;
        // It may have been completed in the meantime.
        let parts = parts.map(|page| page.parts.unwrap_or_default()).unwrap_or_default();
        parts.iter().filter_map(|part| part.size).collect()
    }
}

/// An item without DynamoDB's types.
fn plain(
    item: std::collections::HashMap<String, aws_sdk_dynamodb::types::AttributeValue>,
) -> Value {
    let text = |value: aws_sdk_dynamodb::types::AttributeValue| {
        value.as_s().or(value.as_n()).cloned().unwrap_or_default()
    };
    item.into_iter().map(|(name, value)| (name, Value::from(text(value)))).collect()
}

/// The real program, with none of this process's environment.
pub fn program(args: &[&str]) -> Command {
    let mut program = Command::new(binary());
    program.args(args).env_clear().stdin(Stdio::null()).kill_on_drop(true);
    program.stdout(Stdio::piped()).stderr(Stdio::piped());
    program
}

/// How a command ended.
#[derive(Debug)]
pub struct Ran {
    /// The exit status; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Everything it printed.
    pub stdout: String,
    /// Everything it logged.
    pub stderr: String,
}

/// Runs a program until it ends.
pub async fn ran(mut program: Command) -> Ran {
    let output = tokio::time::timeout(PATIENCE, program.output()).await;
    let output = output.expect("the command ends").expect("the program can be run");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// A running worker. Dropping it kills it.
pub struct Worker {
    child: Child,
    log: Arc<Mutex<String>>,
    /// Ends once the whole log has been read.
    reader: JoinHandle<()>,
}

impl Worker {
    /// Starts this program.
    pub fn start(mut program: Command) -> Self {
        let mut child = program.spawn().expect("the program can be run");
        let lines = BufReader::new(child.stderr.take().expect("stderr is piped"));
        let log = Arc::new(Mutex::new(String::new()));
        let writer = Arc::clone(&log);
        let reader = tokio::spawn(async move {
            let mut lines = lines.lines();
            while let Ok(Some(line)) = lines.next_line().await {
                *lock(&writer) += &format!("{line}\n");
            }
        });
        Self { child, log, reader }
    }

    /// Everything logged so far.
    pub fn log(&self) -> String {
        lock(&self.log).clone()
    }

    /// Waits until the log contains this text.
    pub async fn until_logged(&self, text: &str) {
        until(text, async || self.log().contains(text).then_some(())).await;
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id().expect("the worker runs")
    }

    /// Kills it with SIGKILL.
    pub async fn kill(&mut self) {
        self.child.kill().await.expect("the worker can be killed");
    }

    /// Sends SIGTERM and waits until the worker has noticed.
    pub async fn terminate(&self) {
        let id = self.id();
        let kill = format!("kill -TERM {id}");
        let sent = Command::new("sh").args(["-c", &kill]).status().await;
        assert!(sent.expect("sh can be run").success(), "{kill}");
        self.until_logged("SIGTERM").await;
    }

    /// Waits until the worker ends by itself and its whole log has been read.
    pub async fn ended(&mut self) -> ExitStatus {
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        let ended = ended.unwrap_or_else(|_| panic!("the worker goes on: {}", self.log()));
        if !self.reader.is_finished() {
            let read = tokio::time::timeout(PATIENCE, &mut self.reader).await;
            read.expect("the end of stderr").expect("stderr is read");
        }
        ended.expect("the worker can be waited for")
    }

    /// Whether it is running.
    pub fn lives(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log of a worker of the failed test:\n{}---", self.log());
        }
    }
}

fn lock(log: &Mutex<String>) -> MutexGuard<'_, String> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Polls until there is an answer; panics after too long a wait.
pub async fn until<T>(what: &str, look: impl AsyncFnMut() -> Option<T>) -> T {
    until_within(PATIENCE, what, look).await
}

/// The same with another limit, for what is slow by nature.
pub async fn until_within<T>(
    patience: Duration,
    what: &str,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(begun.elapsed() < patience, "waited in vain until: {what}");
        tokio::time::sleep(LOOK).await;
    }
}
