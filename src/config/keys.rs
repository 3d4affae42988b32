//! The one table of all sections and keys: it feeds the reader, the messages and the shipped ini.

use super::StorageClass;
use super::listen;
use super::timetable::{RateUnit, Timetable};
use super::words::{
    Checksum, Compare, Credentials, Encryption, HttpPath, JobType, ListOrder, LogFormat, LogLevel,
    PreserveEtag, QueueBackend, ReportFormat, StateBackend, Words,
};
use crate::object::MIB;
use crate::quirk::Quirk;
use Kind::{Bool, Choice, CountOrAuto, ParameterName, PathBesideIni, Text, Url};

/// What a key's value may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// True or False.
    Bool,
    /// A whole number from `min` to `max` in `unit` (empty: a count).
    Integer {
        /// The smallest value allowed.
        min: u64,
        /// The largest value allowed.
        max: u64,
        /// The unit, as in `5 MiB`.
        unit: &'static str,
    },
    /// A count from `min` to `max`, or `auto`.
    CountOrAuto {
        /// The smallest value allowed.
        min: u64,
        /// The largest value allowed.
        max: u64,
    },
    /// One of these words, in any case.
    Choice(&'static [&'static str]),
    /// Any text on one line.
    Text,
    /// The beginning of keys, byte for byte, or patterns of them.
    KeyText,
    /// A bucket's name.
    Bucket,
    /// The name of a parameter in Parameter Store, never the content itself.
    ParameterName,
    /// The URL of an endpoint.
    Url,
    /// An address to listen on.
    Address,
    /// A date, or a date and time.
    Moment,
    /// A limit of bytes or requests a second that may follow the clock.
    Timetable(RateUnit),
    /// An amount of money.
    Money,
    /// Names of a store's quirks, separated by commas.
    Quirks,
    /// A file, named relative to the working directory.
    Path,
    /// A file; in the ini, relative to the ini's folder.
    PathBesideIni,
}

/// One key of the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// The section, without brackets.
    pub section: &'static str,
    /// The key's name as the documentation spells it.
    pub name: &'static str,
    /// What its value may be.
    pub kind: Kind,
    /// The value if none is given, as the ini would spell it.
    pub default: &'static str,
    /// Whether the value may be empty, which means that it is not set.
    pub optional: bool,
    /// What it is for, in one line.
    pub meaning: &'static str,
}

/// One section of the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// The name, without brackets.
    pub name: &'static str,
    /// What its keys are about, in one line.
    pub meaning: &'static str,
}

/// All sections, in the order of the shipped ini.
pub static SECTIONS: &[Section] = &[
    Section { name: "Basic", meaning: "what the system works with" },
    Section { name: "Mode", meaning: "how objects are moved" },
    Section { name: "Filter", meaning: "what is looked at; the ignore list leaves more out" },
    Section { name: "Debug", meaning: "logging and rarely needed switches" },
    Section { name: "Source", meaning: "the side from which objects are read" },
    Section { name: "Destination", meaning: "the side to which objects are written" },
    Section { name: "Backend", meaning: "storage of jobs and records" },
    Section { name: "Report", meaning: "what is written when everything is done" },
    Section { name: "Instance", meaning: "the EC2 instance on which a worker runs, if any" },
];

/// Names that are ambiguous or too general for environment variables of their own: on some systems
/// every process has a variable `Path`. They are read only as `SECTION_KEY`.
const TOO_GENERAL: &[&str] = &["Path", "Queue", "State", "ACL", "SSE", "Include", "Compare"];

/// Canned ACLs (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/acl-overview.html>).
const CANNED_ACLS: &[&str] = &[
    "private",
    "public-read",
    "public-read-write",
    "authenticated-read",
    "aws-exec-read",
    "bucket-owner-read",
    "bucket-owner-full-control",
];

/// The largest part and the largest single PUT, 5 GiB in MiB
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>).
const MAX_PART_MIB: u64 = 5120;

/// The longest visibility timeout of Amazon SQS, 12 hours in seconds
/// (<https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html>).
const MAX_VISIBILITY_S: u64 = 43_200;

const fn key(
    section: &'static str,
    name: &'static str,
    kind: Kind,
    default: &'static str,
    meaning: &'static str,
) -> Key {
    Key { section, name, kind, default, optional: default.is_empty(), meaning }
}

const fn optional(key: Key) -> Key {
    Key { optional: true, ..key }
}

const fn count(min: u64, max: u64) -> Kind {
    Kind::Integer { min, max, unit: "" }
}

const fn bytes() -> Kind {
    Kind::Integer { min: 0, max: u64::MAX, unit: "bytes" }
}

const fn mib(min: u64, max: u64) -> Kind {
    Kind::Integer { min, max, unit: "MiB" }
}

const fn seconds(min: u64, max: u64) -> Kind {
    Kind::Integer { min, max, unit: "s" }
}

/// All keys, in the order of the shipped ini.
#[rustfmt::skip]
pub static KEYS: &[Key] = &[
    key("Basic", "JobType", Choice(JobType::WORDS), "PUT",
        "PUT: the machine's role reads the source, the stored credentials write the destination; GET: the reverse"),
    key("Basic", "table_queue_name", Text, "s3_migration_file_list",
        "the DynamoDB table with one record per object"),
    key("Basic", "sqs_queue_name", Text, "s3_migration_file_list",
        "the SQS queue of the jobs, by its name or its URL"),
    key("Basic", "ssm_parameter_bucket", ParameterName, "s3_migration_bucket_para",
        "the parameter with the bucket list: [{\"src_bucket\",\"src_prefix\",\"des_bucket\",\"des_prefix\"}, ...]"),
    key("Basic", "ssm_parameter_credentials", ParameterName, "s3_migration_credentials",
        "the SecureString parameter with the other account's {\"aws_access_key_id\",\"aws_secret_access_key\",\"region\"}"),
    optional(key("Basic", "ssm_parameter_ignore_list", ParameterName, "s3_migrate_ignore_list",
        "the parameter with the ignore list; if it does not exist, s3_migration_ignore_list.txt next to this file is used")),
    key("Basic", "bucket_para_file", PathBesideIni, "",
        "a file with the bucket list, used instead of the parameter"),
    key("Basic", "ignore_list_file", PathBesideIni, "",
        "a file with the ignore list, used instead of the parameter"),
    key("Basic", "Des_bucket_default", Kind::Bucket, "",
        "the bucket for objects that arrive by S3 event if the bucket list is empty; it serves one source bucket; without a bucket list and without this key, events are refused"),
    key("Basic", "Des_prefix_default", Kind::KeyText, "",
        "the prefix in that bucket"),
    key("Basic", "MetricsAddress", Kind::Address, "",
        "where a worker serves /metrics, /healthz and /readyz; anything but loopback needs a token; empty: nowhere"),
    key("Basic", "ServeTokenFile", PathBesideIni, "",
        "a file with the token that --serve and MetricsAddress ask for, readable by this user only; the variable S3_MIGRATION_SERVE_TOKEN does the same; empty: none"),

    optional(key("Mode", "StorageClass", Choice(StorageClass::WORDS), "STANDARD",
        "the storage class at the destination; KEEP: the source's own; NONE or empty: none is sent, the store chooses")),
    key("Mode", "ResumableThreshold", mib(0, MAX_PART_MIB), "5",
        "up to this size an object is moved with one GET and one PUT, above it in parts that can be resumed"),
    key("Mode", "StreamThreshold", mib(0, MAX_PART_MIB), "8",
        "up to this size an object whose ETag is the MD5 of its bytes is streamed with one GET and one PUT, so that both sides' ETags are equal; if the connection breaks, it starts again; 0: only up to ResumableThreshold"),
    key("Mode", "MaxRetry", count(1, 1000), "20",
        "tries for one call to a service"),
    key("Mode", "MaxThread", CountOrAuto { min: 1, max: 1000 }, "20",
        "the most parts of one object at once; a store that is throttling gets fewer requests; auto: by the machine's memory"),
    key("Mode", "MaxParallelFile", CountOrAuto { min: 1, max: 1000 }, "5",
        "large objects, or messages with small ones, at once on one worker; MaxParallelFile x MaxThread parts and small objects are in flight at once; auto: by the machine's cores"),
    key("Mode", "PackObjects", count(1, 1000), "100",
        "the most objects of at most ResumableThreshold that share one message; 1: every object has its own message"),
    key("Mode", "JobTimeout", seconds(1, MAX_VISIBILITY_S), "3500",
        "the longest time on one message before its unfinished objects go back to the queue, keeping their parts"),
    key("Mode", "VisibilityTimeout", seconds(10, MAX_VISIBILITY_S), "60",
        "how long a message stays hidden after its worker's last sign of life"),
    key("Mode", "GraceTime", seconds(0, 3600), "30",
        "how long running parts may take to finish after a stop"),
    key("Mode", "MaxMemory", mib(16, 16_777_216), "",
        "the most object data held in memory; empty: half of the memory of the machine or its cgroup"),
    key("Mode", "PreserveEtag", Choice(PreserveEtag::WORDS), "auto",
        "auto: an object that was uploaded in equal parts is written in parts of the same size, so that both sides' ETags are equal"),
    key("Mode", "Checksum", Choice(Checksum::WORDS), "MD5",
        "the checksum with which the destination verifies every body; CRC64NVME needs a store that supports it, and is compared with the source's own"),
    key("Mode", "CopyMetadata", Bool, "True",
        "headers and user metadata travel with the object"),
    key("Mode", "CopyTags", Bool, "True",
        "tags travel with the object"),
    key("Mode", "SampleRate", count(0, 1000), "1",
        "how many of 1,000 copied objects are looked up again to compare headers, metadata, tags and class; the first 20 into each bucket always are; 0: none"),
    key("Mode", "Compare", Choice(Compare::WORDS), "size",
        "what the jobsender compares if both sides have an object; etag: the size, and the ETag if both sides' are of the same kind"),
    key("Mode", "ListConcurrency", CountOrAuto { min: 1, max: 1000 }, "auto",
        "ranges of keys that are listed at once, each with one request to each side; auto: 32 for each core, at most 64"),
    key("Mode", "JobsenderCompareVersionId", Bool, "False",
        "the jobsender compares each source object's version with the one on record as copied, too"),
    key("Mode", "UpdateVersionId", Bool, "False",
        "the worker looks the version up when a copy begins and checks it at the end"),
    key("Mode", "GetObjectWithVersionId", Bool, "False",
        "the worker fetches the job's version instead of the latest one"),
    optional(key("Mode", "MaxBytes", bytes(), "",
        "when the fleet has read this many bytes from the source, it pauses until the command resume; empty: no limit")),
    key("Mode", "MaxCost", Kind::Money, "",
        "when the requests and the transfer of both sides have cost this much by the price file, in its currency, the fleet pauses until the command resume; empty: no limit"),
    key("Mode", "PriceFile", PathBesideIni, "",
        "the prices for MaxCost and status, in the form of prices.json; empty: the shipped ones"),
    optional(key("Mode", "LambdaMaxBytes", bytes(), "",
        "a Lambda function leaves a larger object to a worker that is none, as long as one lives; empty: it leaves none")),
    key("Mode", "PropagateDelete", Bool, "False",
        "if an S3 event says that an object was deleted, and the source no longer has it, it is deleted at the destination too"),

    key("Filter", "Include", Kind::KeyText, "",
        "only objects whose bucket/key matches one of these patterns, separated by |; empty: all"),
    optional(key("Filter", "MinSize", bytes(), "",
        "only objects of at least this size")),
    optional(key("Filter", "MaxSize", bytes(), "",
        "only objects of at most this size")),
    key("Filter", "ModifiedAfter", Kind::Moment, "",
        "only objects written at this time or later"),
    key("Filter", "ModifiedBefore", Kind::Moment, "",
        "only objects written before this time"),

    key("Debug", "LoggingLevel", Choice(LogLevel::WORDS), "INFO",
        "what is logged; DEBUG: a line for every part"),
    key("Debug", "LogFormat", Choice(LogFormat::WORDS), "auto",
        "the form of log lines; auto: the journal under systemd, text on stderr elsewhere"),
    key("Debug", "LogFile", Kind::Path, "",
        "a file that also gets every log line as text, for a log agent; empty: none"),
    key("Debug", "LogInterval", seconds(1, 3600), "10",
        "how often the traffic is summed into one line at INFO"),
    key("Debug", "LogObjects", Bool, "False",
        "one line at INFO for every object that is copied or deleted, with its bytes, milliseconds and parts; at DEBUG there is one in any case"),
    key("Debug", "ChunkSize", mib(5, MAX_PART_MIB), "5",
        "the size of a part; grows by itself so that an object has at most 10,000 parts"),
    key("Debug", "CleanUnfinishedUpload", Bool, "False",
        "abort existing uploads of an object instead of resuming them"),
    key("Debug", "ifVerifyMD5Twice", Bool, "False",
        "check the finished object's ETag again, re-reading the parts that an earlier run sent"),
    key("Debug", "HttpPath", Choice(HttpPath::WORDS), "lean",
        "the client for calls that move bytes or list keys; sdk: the AWS SDK, slower, in case lean has trouble"),
    key("Debug", "LocalProfileMode", Bool, "False",
        "credentials of both sides come from local profiles: each side's Profile, otherwise the one named default"),

    key("Source", "Endpoint", Url, "",
        "the URL of the S3 endpoint; empty: Amazon S3"),
    key("Source", "CaBundle", PathBesideIni, "",
        "a file of certificates in PEM that are trusted in addition to the system's authorities, for a store with its own CA; AWS_CA_BUNDLE and the profile's ca_bundle do the same"),
    key("Source", "Region", Text, "",
        "the region; empty: from the stored credentials, the Profile or the environment, in this order"),
    key("Source", "ListOrder", Choice(ListOrder::WORDS), "bytes",
        "the order in which the store lists keys; any: directory buckets and stores that do not list in byte order, whose listing is sorted on disk first"),
    key("Source", "ForcePathStyle", Bool, "",
        "the bucket's name goes into the path instead of the host name; empty: only with an Endpoint"),
    key("Source", "Credentials", Choice(Credentials::WORDS), "",
        "default: the SDK's own chain; ssm: the stored credentials; empty: profile if Profile is set, otherwise as JobType says"),
    key("Source", "Profile", Text, "",
        "the local profile that credentials, region, endpoint_url and ca_bundle come from, before the environment"),
    key("Source", "RoleArn", Text, "",
        "the role to assume on this side, arn:aws:iam::ACCOUNT:role/NAME, with this side's Credentials or Profile; if neither is set, with this machine's own; empty: none"),
    key("Source", "ExternalId", Text, "",
        "the external id that the role's trust policy asks for; empty: none"),
    key("Source", "Quirks", Kind::Quirks, "",
        "how this store differs from Amazon S3, by the names of docs/stores.md, separated by commas: no-part-sizes; max-parts=1000; -own-etags: it does not differ in this"),
    optional(key("Source", "BandwidthLimit", Kind::Timetable(RateUnit::Bytes), "off",
        "the most bytes a second that the whole fleet reads from this side; the command limit changes it while it runs")),
    optional(key("Source", "RequestLimit", Kind::Timetable(RateUnit::Requests), "off",
        "the most requests a second that the whole fleet sends to this side")),
    key("Source", "RequestPayer", Bool, "False",
        "requests say that the requester pays"),
    key("Source", "NoSignRequest", Bool, "False",
        "requests are not signed, for public buckets; the same as Credentials = anonymous"),

    key("Destination", "Endpoint", Url, "",
        "the URL of the S3 endpoint; empty: Amazon S3"),
    key("Destination", "CaBundle", PathBesideIni, "",
        "a file of certificates in PEM that are trusted in addition to the system's authorities, for a store with its own CA; AWS_CA_BUNDLE and the profile's ca_bundle do the same"),
    key("Destination", "Region", Text, "",
        "the region; empty: from the stored credentials, the Profile or the environment, in this order"),
    key("Destination", "ListOrder", Choice(ListOrder::WORDS), "bytes",
        "the order in which the store lists keys; any: directory buckets and stores that do not list in byte order, whose listing is sorted on disk first"),
    key("Destination", "ForcePathStyle", Bool, "",
        "the bucket's name goes into the path instead of the host name; empty: only with an Endpoint"),
    key("Destination", "Credentials", Choice(Credentials::WORDS), "",
        "default: the SDK's own chain; ssm: the stored credentials; empty: profile if Profile is set, otherwise as JobType says"),
    key("Destination", "Profile", Text, "",
        "the local profile that credentials, region, endpoint_url and ca_bundle come from, before the environment"),
    key("Destination", "RoleArn", Text, "",
        "the role to assume on this side, arn:aws:iam::ACCOUNT:role/NAME, with this side's Credentials or Profile; if neither is set, with this machine's own; empty: none"),
    key("Destination", "ExternalId", Text, "",
        "the external id that the role's trust policy asks for; empty: none"),
    key("Destination", "Quirks", Kind::Quirks, "",
        "how this store differs from Amazon S3, by the names of docs/stores.md, separated by commas: no-tags; max-parts=1000; -own-etags: it does not differ in this"),
    optional(key("Destination", "BandwidthLimit", Kind::Timetable(RateUnit::Bytes), "off",
        "the most bytes a second that the whole fleet writes to this side; the command limit changes it while it runs")),
    optional(key("Destination", "RequestLimit", Kind::Timetable(RateUnit::Requests), "off",
        "the most requests a second that the whole fleet sends to this side")),
    key("Destination", "ACL", Choice(CANNED_ACLS), "",
        "the canned ACL of every new object; empty: none is sent"),
    key("Destination", "SSE", Choice(Encryption::WORDS), "",
        "the encryption to request; empty: the bucket's own default"),
    key("Destination", "KmsKeyId", Text, "",
        "the KMS key, with SSE = aws:kms; empty: the account's own for S3"),
    key("Destination", "MaxParts", count(2, 10_000), "10000",
        "the most parts of one upload; if a store says that it accepts fewer, its parts are made larger"),

    key("Backend", "Queue", Choice(QueueBackend::WORDS), "sqs",
        "the queue of the jobs; embedded: the SQLite file, for one machine"),
    key("Backend", "State", Choice(StateBackend::WORDS), "dynamodb",
        "the record of every object; embedded: the SQLite file, for one machine"),
    key("Backend", "Path", Kind::Path, "s3_migration.sqlite",
        "the SQLite file, relative to the working directory"),
    key("Backend", "TemporaryFolder", Kind::Path, "",
        "the folder in which listings and inventories that are not in byte order are sorted; it needs room for all their keys; empty: the system's folder for temporary files"),
    key("Backend", "MaxReceiveCount", count(1, 1000), "60",
        "how often a message is received before it becomes a dead letter; the redrive policy of an SQS queue can lower this"),

    key("Report", "ReportTo", Text, "",
        "a folder, or s3://BUCKET/PREFIX on the destination side, for reports: one of every object is written when a closing comparison finds nothing left to do, in a new folder below this one; empty: no report"),
    key("Report", "ReportFormat", Choice(ReportFormat::WORDS), "json",
        "how the lines of a report are written; csv: for spreadsheets"),

    key("Instance", "WatchInstance", Bool, "True",
        "the worker asks the instance metadata service, if there is one, and drains on a Spot interruption, a rebalance recommendation, and when its autoscaling group ends the instance"),
    key("Instance", "AutoScalingGroup", Text, "",
        "the autoscaling group of the instance; it does not scale the instance in while objects are being moved; empty: none"),
    key("Instance", "LifecycleHook", Text, "",
        "the group's lifecycle hook for termination, completed when the worker has drained; empty: none"),
];

/// The key with this name in this section, in any case.
pub fn find(section: &str, name: &str) -> Option<&'static Key> {
    KEYS.iter()
        .find(|k| k.section.eq_ignore_ascii_case(section) && k.name.eq_ignore_ascii_case(name))
}

/// The section with this name, in any case.
pub fn find_section(name: &str) -> Option<&'static Section> {
    SECTIONS.iter().find(|s| s.name.eq_ignore_ascii_case(name))
}

impl Key {
    /// The value's place in the layered configuration: `section.key`.
    pub fn path(&self) -> String {
        format!("{}.{}", self.section, self.name)
    }

    /// The environment variable that always means this key: `SECTION_KEY`, in any case.
    pub fn env_name(&self) -> String {
        format!("{}_{}", self.section, self.name)
    }

    /// Whether the key's name alone, in exactly this spelling, is also an environment variable for
    /// it.
    pub fn env_by_name_alone(&self) -> bool {
        let same_name = KEYS.iter().filter(|k| k.name.eq_ignore_ascii_case(self.name)).count();
        same_name == 1 && !TOO_GENERAL.contains(&self.name)
    }

    /// The bytes of one unit, if the value is a size.
    pub fn size_unit(&self) -> Option<u64> {
        match self.kind {
            Kind::Integer { unit: "MiB", .. } => Some(MIB),
            Kind::Integer { unit: "bytes", .. } => Some(1),
            _ => None,
        }
    }

    /// The allowed values, for messages and the shipped ini.
    pub fn allowed(&self) -> String {
        let allowed = match self.kind {
            Kind::Bool => "True or False".to_owned(),
            Kind::Integer { min, max, unit: "" } => format!("a whole number from {min} to {max}"),
            Kind::Integer { min, max, unit } if self.size_unit().is_some() => {
                format!("a whole number from {min} to {max} ({unit}), or a size like 64M or 5G")
            }
            Kind::Integer { min, max, unit } => {
                format!("a whole number from {min} to {max} ({unit})")
            }
            Kind::CountOrAuto { min, max } => {
                format!("a whole number from {min} to {max}, or auto")
            }
            Kind::Choice(words) => words.join(", "),
            Kind::Text | Kind::KeyText => "text".to_owned(),
            Kind::Bucket => "the name of a bucket, without s3:// and prefix".to_owned(),
            Kind::ParameterName => "the name of a parameter".to_owned(),
            Kind::Url => "a URL that begins with http:// or https://".to_owned(),
            Kind::Address => listen::ALLOWED.to_owned(),
            Kind::Moment => {
                "a day like 2026-01-31, or a time like 2026-01-31T23:59:59Z (UTC)".to_owned()
            }
            Kind::Timetable(unit) => Timetable::allowed(unit).to_owned(),
            Kind::Money => "an amount like 250 or 12.50".to_owned(),
            Kind::Quirks => {
                let names: Vec<_> = Quirk::ALL.into_iter().map(Quirk::name).collect();
                names.join(", ")
            }
            Kind::Path => "a file".to_owned(),
            Kind::PathBesideIni => "a file, relative to this one's folder".to_owned(),
        };
        if self.optional { format!("{allowed}; or empty") } else { allowed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_a_section_and_a_name_of_its_own() {
        for (i, key) in KEYS.iter().enumerate() {
            assert!(find_section(key.section).is_some(), "{}", key.path());
            assert!(std::ptr::eq(find(key.section, key.name).unwrap(), &KEYS[i]), "{}", key.path());
        }
    }

    #[test]
    fn ambiguous_and_general_names_are_no_environment_variables_by_themselves() {
        let alone = |section, name| find(section, name).unwrap().env_by_name_alone();
        for name in ["Endpoint", "Region", "ForcePathStyle", "Credentials", "Profile"] {
            assert!(!alone("Source", name), "{name}");
            assert!(!alone("Destination", name), "{name}");
        }
        for name in ["Path", "Queue", "State"] {
            assert!(!alone("Backend", name), "{name}");
        }
        assert!(alone("Basic", "table_queue_name"));
        assert!(alone("Source", "NoSignRequest"));
        assert!(alone("Destination", "KmsKeyId"));
    }
}
