//! The configuration: ini and environment, read, checked and typed.
//!
//! `keys` is the one table of all keys; `layers` reads text and variables, `value` a single value,
//! `typed` makes the [`Config`] and finds contradictions, `problem` reports everything at once.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::quirk::Pins;

mod function;
pub mod keys;
mod layers;
mod listen;
mod load;
mod problem;
mod shipped;
mod single_node_ini;
mod size;
pub mod timetable;
mod typed;
mod value;
mod words;

use self::timetable::Timetable;
pub use crate::aws::role::Role;
use crate::aws::trust::Bundle;
use crate::filter::Filter;

pub use layers::Given;
pub use listen::listen_address;
pub use load::{DEFAULT_FILES, IGNORE_LIST_FILE};
pub use shipped::shipped_ini;
pub use size::size;
pub use value::{moment, money};
pub use words::{
    Checksum, Compare, Credentials, Encryption, HttpPath, JobType, ListOrder, LogFormat, LogLevel,
    PreserveEtag, QueueBackend, ReportFormat, StateBackend, Words,
};

/// Everything the ini and the environment can say, validated.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `[Basic]`
    pub basic: Basic,
    /// `[Mode]`
    pub mode: Mode,
    /// `[Filter]`
    pub filter: Filter,
    /// `[Debug]`
    pub debug: Debug,
    /// `[Source]`
    pub source: SourceSide,
    /// `[Destination]`
    pub destination: DestinationSide,
    /// `[Backend]`
    pub backend: Backend,
    /// `[Report]`
    pub report: ReportConfig,
    /// `[Instance]`
    pub instance: InstanceConfig,
    /// Limits of `[Source]` and `[Destination]`, and the budget of `[Mode]`.
    pub limits: LimitsConfig,
    /// The folder of the ini that was read; `None` if there was none.
    pub folder: Option<PathBuf>,
    /// The ini that was read.
    pub file: Option<PathBuf>,
}

/// `[Basic]`: names of the resources that the system uses.
#[derive(Clone, Debug, PartialEq)]
pub struct Basic {
    /// Which side the machine's own role works on.
    pub job_type: JobType,
    /// DynamoDB table.
    pub table_queue_name: String,
    /// SQS queue: its name or its URL.
    pub sqs_queue_name: String,
    /// Parameter with the bucket list.
    pub ssm_parameter_bucket: String,
    /// Parameter with the other account's credentials.
    pub ssm_parameter_credentials: String,
    /// Parameter with the ignore list; empty: none is read.
    pub ssm_parameter_ignore_list: String,
    /// Bucket for objects that arrive by S3 event; empty: they cannot.
    pub des_bucket_default: String,
    /// The prefix for them.
    pub des_prefix_default: String,
    /// File with the bucket list; if set, it is used instead of the parameter.
    pub bucket_para_file: Option<PathBuf>,
    /// File with the ignore list; if set, it is used instead of the parameter.
    pub ignore_list_file: Option<PathBuf>,
    /// Where a worker serves its metrics; `None`: nowhere.
    pub metrics_address: Option<SocketAddr>,
    /// The file with the token that a client must send.
    pub serve_token_file: Option<PathBuf>,
}

/// A count that may be left to the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// This many, at least 1.
    Fixed(usize),
    /// Chosen from the machine.
    Auto,
}

impl Count {
    /// The number, if one is given.
    pub fn fixed(self) -> Option<usize> {
        match self {
            Self::Fixed(count) => Some(count),
            Self::Auto => None,
        }
    }
}

/// The storage class of a new object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StorageClass {
    /// KEEP: the source's own.
    Keep,
    /// NONE: the store chooses.
    Unsent,
    /// This one.
    Named(String),
}

impl StorageClass {
    const KEEP: &'static str = "KEEP";
    const NONE: &'static str = "NONE";

    /// The words of the configuration: KEEP, NONE, and the classes that S3 knows
    /// (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html>).
    pub const WORDS: &'static [&'static str] = &[
        Self::KEEP,
        Self::NONE,
        "STANDARD",
        "STANDARD_IA",
        "ONEZONE_IA",
        "INTELLIGENT_TIERING",
        "GLACIER",
        "GLACIER_IR",
        "DEEP_ARCHIVE",
        "REDUCED_REDUNDANCY",
        "EXPRESS_ONEZONE",
        "OUTPOSTS",
        "SNOW",
        "FSX_OPENZFS",
        "FSX_ONTAP",
    ];

    /// What a word means; no word is the same as NONE.
    fn of_word(word: Option<&str>) -> Self {
        match word {
            Some(Self::KEEP) => Self::Keep,
            None | Some(Self::NONE) => Self::Unsent,
            Some(class) => Self::Named(class.to_owned()),
        }
    }

    /// The storage class to request for a new object whose source has this class.
    pub fn of(&self, source: Option<&str>) -> Option<String> {
        match self {
            Self::Keep => source.map(str::to_owned),
            Self::Unsent => None,
            Self::Named(class) => Some(class.clone()),
        }
    }

    /// The class of every new object; `None` if each keeps its own.
    pub fn of_all(&self) -> Option<String> {
        match self {
            Self::Keep => None,
            Self::Unsent => Some("STANDARD".to_owned()),
            Self::Named(class) => Some(class.clone()),
        }
    }
}

impl fmt::Display for StorageClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Keep => Self::KEEP,
            Self::Unsent => Self::NONE,
            Self::Named(class) => class,
        })
    }
}

/// `[Mode]`: how objects are moved.
#[derive(Clone, Debug, PartialEq)]
pub struct Mode {
    /// Storage class at the destination.
    pub storage_class: StorageClass,
    /// Of 1,000 copied objects, how many have their headers and metadata compared.
    pub sample_rate: u32,
    /// Up to this many bytes, an object is copied by one GET and one PUT.
    pub resumable_threshold: u64,
    /// Up to this many bytes, an object whose ETag is an MD5 is streamed by one GET and one PUT.
    pub stream_threshold: u64,
    /// Tries per call, at least 1.
    pub max_retry: u32,
    /// Parts of one object at once.
    pub max_thread: Count,
    /// Objects at once on one worker.
    pub max_parallel_file: Count,
    /// Most small objects that share one message; 1: every object has its own message.
    pub pack_objects: usize,
    /// Longest time on one message before unfinished work goes back to the queue.
    pub job_timeout: Duration,
    /// What is compared if both sides have an object.
    pub compare: Compare,
    /// Ranges of keys that are listed at once.
    pub list_concurrency: Count,
    /// The jobsender compares versions.
    pub jobsender_compare_version_id: bool,
    /// The worker looks up the version when a copy begins and checks it at the end.
    pub update_version_id: bool,
    /// The worker fetches the job's version, not the latest.
    pub get_object_with_version_id: bool,
    /// What an event reports as deleted at the source is deleted at the destination too.
    pub propagate_delete: bool,
    /// Functions leave larger objects to other workers, if there are some.
    pub lambda_max_bytes: Option<u64>,
    /// Bytes of object data in memory at once; `None`: a share of the machine's memory.
    pub max_memory: Option<u64>,
    /// How long a received message stays hidden unless its heartbeat renews it.
    pub visibility_timeout: Duration,
    /// An object that was uploaded in equal parts is written in the same parts.
    pub preserve_etag: bool,
    /// How every body is verified.
    pub checksum: Checksum,
    /// Headers and user metadata are copied.
    pub copy_metadata: bool,
    /// Tags are copied.
    pub copy_tags: bool,
    /// How long running parts may take to finish after a stop.
    pub grace_time: Duration,
}

/// `[Debug]`
#[derive(Clone, Debug, PartialEq)]
pub struct Debug {
    /// Abort existing uploads of an object instead of resuming.
    pub clean_unfinished_upload: bool,
    /// What is logged.
    pub logging_level: LogLevel,
    /// Credentials from local profiles instead of the instance role.
    pub local_profile_mode: bool,
    /// Check the whole object's ETag again, re-reading the parts that an earlier run sent.
    pub if_verify_md5_twice: bool,
    /// Bytes of a part; grows so that an object has at most 10,000 parts.
    pub chunk_size: u64,
    /// How calls that move bytes or list keys are made.
    pub http_path: HttpPath,
    /// The form of log lines.
    pub log_format: LogFormat,
    /// Also receives every line as text.
    pub log_file: Option<PathBuf>,
    /// How often the traffic is summed up in one line at INFO.
    pub log_interval: Duration,
    /// Every finished object has a line at INFO.
    pub log_objects: bool,
}

/// The settings that both sides have.
#[derive(Clone, Debug, PartialEq)]
pub struct Endpoint {
    /// Behaviour that the user has declared for the store.
    pub quirks: Pins,
    /// URL of the S3 endpoint; `None`: AWS, or what the usual AWS variables say.
    pub url: Option<String>,
    /// Region; `None`: from the credentials parameter, the profile or the environment.
    pub region: Option<String>,
    /// The store lists keys in byte order.
    pub sorts_keys: bool,
    /// Bucket in the path instead of the host name; `None`: only if an endpoint is given.
    pub force_path_style: Option<bool>,
    /// Certificate authorities that are trusted in addition to the system's.
    pub ca_bundle: Option<Arc<Bundle>>,
    /// Name of the profile; always set with `Credentials::Profile`.
    pub profile: Option<String>,
    /// `None`: JobType decides for jobsender and worker; `run` takes the default chain.
    pub credentials: Option<Credentials>,
    /// The role that is assumed with these credentials; without any, with the default chain's.
    pub role: Option<Role>,
}

impl Endpoint {
    /// The profile for credentials, if they come from one.
    pub fn profile_name(&self) -> &str {
        self.profile.as_deref().unwrap_or(crate::aws::profiles::DEFAULT)
    }
}

/// `[Source]`
#[derive(Clone, Debug, PartialEq)]
pub struct SourceSide {
    /// The endpoint and its credentials.
    pub endpoint: Endpoint,
    /// Requests say that the requester pays.
    pub request_payer: bool,
}

/// What the whole fleet may do in a second, and in all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LimitsConfig {
    /// At the source.
    pub source: SideLimits,
    /// At the destination.
    pub destination: SideLimits,
    /// Bytes read before the fleet pauses.
    pub max_bytes: Option<u64>,
    /// Millionths of the currency spent before the fleet pauses.
    pub max_cost: Option<u64>,
    /// Prices; `None`: the shipped ones.
    pub price_file: Option<PathBuf>,
}

/// What the whole fleet may do on one side in a second.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SideLimits {
    /// Bytes.
    pub bandwidth: Timetable,
    /// Requests.
    pub requests: Timetable,
}

/// The encryption requested from the destination.
#[derive(Clone, Debug, PartialEq)]
pub enum Sse {
    /// The bucket's own default.
    BucketDefault,
    /// SSE-S3.
    Aes256,
    /// SSE-KMS with the key of this id, or with the account's own key if there is none.
    Kms(Option<String>),
}

/// `[Destination]`
#[derive(Clone, Debug, PartialEq)]
pub struct DestinationSide {
    /// The endpoint and its credentials.
    pub endpoint: Endpoint,
    /// Canned ACL for every new object.
    pub acl: Option<String>,
    /// Encryption.
    pub sse: Sse,
    /// Most parts of one upload.
    pub max_parts: u64,
}

/// `[Backend]`
#[derive(Clone, Debug, PartialEq)]
pub struct Backend {
    /// Which queue.
    pub queue: QueueBackend,
    /// Which table.
    pub state: StateBackend,
    /// The SQLite file of the embedded backends.
    pub path: PathBuf,
    /// Where listings are sorted; `None`: the system's temporary folder.
    pub temporary_folder: Option<PathBuf>,
    /// How often the embedded queue delivers a message before it becomes a dead letter (Amazon SQS
    /// keeps this in its redrive policy).
    pub max_receive_count: u32,
}

/// `[Report]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportConfig {
    /// Where reports are written; `None`: nowhere.
    pub to: Option<String>,
    /// How their lines are written.
    pub format: ReportFormat,
}

/// `[Instance]`: the EC2 instance that a worker runs on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceConfig {
    /// A notice of its end from the metadata service starts the drain.
    pub watch: bool,
    /// Its autoscaling group; `None`: it is in none.
    pub group: Option<String>,
    /// The group's hook for instances that it terminates; only with a group.
    pub lifecycle_hook: Option<String>,
}
