//! Turns the merged layers into the typed [`Config`], and finds contradictions between values.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ::config::{Map, Value, ValueKind};

use super::keys::{self, Key};
use super::problem::Problems;
use super::timetable::RateUnit;
use super::value::{Parsed, parse};
use super::*;
use crate::aws::trust::{self, Bundle};
use crate::filter::patterns::Patterns;
use crate::object::MIB;

/// Reads single values; a wrong value is noted, and the default is used instead.
pub(super) struct ValueReader<'a> {
    /// By section, then by key.
    sections: Map<String, Value>,
    problems: &'a mut Problems,
}

impl<'a> ValueReader<'a> {
    pub fn new(merged: ::config::Config, problems: &'a mut Problems) -> Self {
        Self { sections: merged.cache.into_table().unwrap_or_default(), problems }
    }

    fn key(section: &str, name: &str) -> &'static Key {
        keys::find(section, name).expect("the key is in the table")
    }

    /// The value as text and the place it came from.
    fn raw(&self, key: &Key) -> (String, String) {
        let section = self.sections.get(key.section).map(|section| &section.kind);
        let value = match section {
            Some(ValueKind::Table(values)) => values.get(key.name),
            _ => None,
        };
        let text = value.and_then(|v| v.clone().into_string().ok());
        let place = value.and_then(Value::origin).unwrap_or("default");
        (text.unwrap_or_else(|| key.default.to_owned()), place.to_owned())
    }

    fn parsed(&mut self, section: &str, name: &str) -> Parsed {
        let key = Self::key(section, name);
        let (text, place) = self.raw(key);
        parse(key, &text).unwrap_or_else(|wrong| {
            self.problems.add(place, wrong);
            parse(key, key.default).unwrap_or(Parsed::Unset)
        })
    }

    fn contradiction(&mut self, section: &str, name: &str, message: &str) {
        let (_, place) = self.raw(Self::key(section, name));
        self.problems.add(place, format!("[{section}] {name} {message}"));
    }

    fn optional_bool(&mut self, section: &str, name: &str) -> Option<bool> {
        match self.parsed(section, name) {
            Parsed::Bool(on) => Some(on),
            _ => None,
        }
    }

    fn bool(&mut self, section: &str, name: &str) -> bool {
        self.optional_bool(section, name).unwrap_or_default()
    }

    fn optional_integer(&mut self, section: &str, name: &str) -> Option<u64> {
        match self.parsed(section, name) {
            Parsed::Integer(n) => Some(n),
            _ => None,
        }
    }

    fn integer(&mut self, section: &str, name: &str) -> u64 {
        self.optional_integer(section, name).unwrap_or_default()
    }

    /// A count; the table's ranges fit every integer type used here.
    fn count<T: TryFrom<u64> + Default>(&mut self, section: &str, name: &str) -> T {
        T::try_from(self.integer(section, name)).unwrap_or_default()
    }

    fn count_or_auto(&mut self, section: &str, name: &str) -> Count {
        match self.parsed(section, name) {
            Parsed::Integer(n) => Count::Fixed(usize::try_from(n).unwrap_or(usize::MAX)),
            _ => Count::Auto,
        }
    }

    fn seconds(&mut self, section: &str, name: &str) -> Duration {
        Duration::from_secs(self.integer(section, name))
    }

    fn bytes_of_mib(&mut self, section: &str, name: &str) -> u64 {
        self.integer(section, name).saturating_mul(MIB)
    }

    fn moment(&mut self, section: &str, name: &str) -> Option<SystemTime> {
        match self.parsed(section, name) {
            Parsed::Moment(moment) => Some(moment),
            _ => None,
        }
    }

    /// A word in the spelling of the key's table; `None` if nothing is set.
    fn word(&mut self, section: &str, name: &str) -> Option<&'static str> {
        match self.parsed(section, name) {
            Parsed::Word(word) => Some(word),
            _ => None,
        }
    }

    /// What a word means; `None` if nothing is set.
    fn optional_choice<T: Words>(&mut self, section: &str, name: &str) -> Option<T> {
        let word = self.word(section, name)?;
        Some(T::of(word).expect("the key's words are those of its type"))
    }

    fn choice<T: Words>(&mut self, section: &str, name: &str) -> T {
        self.optional_choice(section, name).expect("the key is not optional")
    }

    fn optional_text(&mut self, section: &str, name: &str) -> Option<String> {
        match self.parsed(section, name) {
            Parsed::Text(text) => Some(text),
            _ => None,
        }
    }

    fn text(&mut self, section: &str, name: &str) -> String {
        self.optional_text(section, name).unwrap_or_default()
    }
}

/// The whole configuration, even if problems were found; the caller checks those.
pub(super) fn config(reader: &mut ValueReader<'_>, folder: Option<PathBuf>) -> Config {
    let debug = debug(reader);
    let config = Config {
        basic: basic(reader),
        mode: mode(reader),
        source: source(reader, debug.local_profile_mode),
        destination: destination(reader, debug.local_profile_mode),
        backend: backend(reader),
        report: ReportConfig {
            to: reader.optional_text("Report", "ReportTo"),
            format: reader.choice("Report", "ReportFormat"),
        },
        instance: instance(reader),
        filter: filter(reader),
        limits: limits(reader),
        debug,
        folder,
        file: None,
    };
    if config.basic.des_bucket_default.is_empty() && !config.basic.des_prefix_default.is_empty() {
        let message = "has no meaning without Des_bucket_default";
        reader.contradiction("Basic", "Des_prefix_default", message);
    }
    config
}

fn basic(reader: &mut ValueReader<'_>) -> Basic {
    Basic {
        job_type: reader.choice("Basic", "JobType"),
        table_queue_name: reader.text("Basic", "table_queue_name"),
        sqs_queue_name: reader.text("Basic", "sqs_queue_name"),
        ssm_parameter_bucket: reader.text("Basic", "ssm_parameter_bucket"),
        ssm_parameter_credentials: reader.text("Basic", "ssm_parameter_credentials"),
        ssm_parameter_ignore_list: reader.text("Basic", "ssm_parameter_ignore_list"),
        des_bucket_default: reader.text("Basic", "Des_bucket_default"),
        des_prefix_default: reader.text("Basic", "Des_prefix_default"),
        bucket_para_file: reader.optional_text("Basic", "bucket_para_file").map(PathBuf::from),
        ignore_list_file: reader.optional_text("Basic", "ignore_list_file").map(PathBuf::from),
        metrics_address: reader
            .optional_text("Basic", "MetricsAddress")
            .and_then(|text| listen_address(&text)),
        serve_token_file: reader.optional_text("Basic", "ServeTokenFile").map(PathBuf::from),
    }
}

fn mode(reader: &mut ValueReader<'_>) -> Mode {
    Mode {
        storage_class: StorageClass::of_word(reader.word("Mode", "StorageClass")),
        resumable_threshold: reader.bytes_of_mib("Mode", "ResumableThreshold"),
        stream_threshold: reader.bytes_of_mib("Mode", "StreamThreshold"),
        max_retry: reader.count("Mode", "MaxRetry"),
        max_thread: reader.count_or_auto("Mode", "MaxThread"),
        max_parallel_file: reader.count_or_auto("Mode", "MaxParallelFile"),
        pack_objects: reader.count("Mode", "PackObjects"),
        job_timeout: reader.seconds("Mode", "JobTimeout"),
        sample_rate: reader.count("Mode", "SampleRate"),
        compare: reader.choice("Mode", "Compare"),
        list_concurrency: reader.count_or_auto("Mode", "ListConcurrency"),
        jobsender_compare_version_id: reader.bool("Mode", "JobsenderCompareVersionId"),
        update_version_id: reader.bool("Mode", "UpdateVersionId"),
        get_object_with_version_id: reader.bool("Mode", "GetObjectWithVersionId"),
        propagate_delete: reader.bool("Mode", "PropagateDelete"),
        lambda_max_bytes: reader.optional_integer("Mode", "LambdaMaxBytes"),
        max_memory: reader.optional_integer("Mode", "MaxMemory").map(|n| n.saturating_mul(MIB)),
        visibility_timeout: reader.seconds("Mode", "VisibilityTimeout"),
        preserve_etag: reader.choice::<PreserveEtag>("Mode", "PreserveEtag") == PreserveEtag::Auto,
        checksum: reader.choice("Mode", "Checksum"),
        copy_metadata: reader.bool("Mode", "CopyMetadata"),
        copy_tags: reader.bool("Mode", "CopyTags"),
        grace_time: reader.seconds("Mode", "GraceTime"),
    }
}

fn limits(reader: &mut ValueReader<'_>) -> LimitsConfig {
    LimitsConfig {
        source: side_limits(reader, "Source"),
        destination: side_limits(reader, "Destination"),
        max_bytes: reader.optional_integer("Mode", "MaxBytes"),
        max_cost: reader.optional_integer("Mode", "MaxCost"),
        price_file: reader.optional_text("Mode", "PriceFile").map(PathBuf::from),
    }
}

/// The texts have been checked; a wrong one is noted, and there is no limit.
fn side_limits(reader: &mut ValueReader<'_>, section: &str) -> SideLimits {
    let mut timetable =
        |name: &str, unit| Timetable::parse(&reader.text(section, name), unit).unwrap_or_default();
    SideLimits {
        bandwidth: timetable("BandwidthLimit", RateUnit::Bytes),
        requests: timetable("RequestLimit", RateUnit::Requests),
    }
}

fn filter(reader: &mut ValueReader<'_>) -> Filter {
    let include = reader.text("Filter", "Include");
    let patterns: Vec<_> = include.split('|').map(str::trim).collect();
    let include = Patterns::parse(&patterns.join("\n")).unwrap_or_else(|error| {
        reader.contradiction("Filter", "Include", &format!("cannot be used: {error}"));
        Patterns::default()
    });
    let filter = Filter {
        include,
        min_size: reader.optional_integer("Filter", "MinSize"),
        max_size: reader.optional_integer("Filter", "MaxSize"),
        modified_after: reader.moment("Filter", "ModifiedAfter"),
        modified_before: reader.moment("Filter", "ModifiedBefore"),
    };
    for (name, wrong) in filter.contradictions() {
        reader.contradiction("Filter", name, wrong);
    }
    filter
}

fn debug(reader: &mut ValueReader<'_>) -> Debug {
    Debug {
        clean_unfinished_upload: reader.bool("Debug", "CleanUnfinishedUpload"),
        logging_level: reader.choice("Debug", "LoggingLevel"),
        local_profile_mode: reader.bool("Debug", "LocalProfileMode"),
        if_verify_md5_twice: reader.bool("Debug", "ifVerifyMD5Twice"),
        chunk_size: reader.bytes_of_mib("Debug", "ChunkSize"),
        http_path: reader.choice("Debug", "HttpPath"),
        log_format: reader.choice("Debug", "LogFormat"),
        log_file: reader.optional_text("Debug", "LogFile").map(PathBuf::from),
        log_interval: reader.seconds("Debug", "LogInterval"),
        log_objects: reader.bool("Debug", "LogObjects"),
    }
}

fn source(reader: &mut ValueReader<'_>, local_profiles: bool) -> SourceSide {
    let unsigned = reader.bool("Source", "NoSignRequest");
    let side = SourceSide {
        endpoint: endpoint(reader, "Source", local_profiles, unsigned),
        request_payer: reader.bool("Source", "RequestPayer"),
    };
    if side.request_payer && side.endpoint.credentials == Some(Credentials::Anonymous) {
        let message = "= True needs signed requests: the signer pays";
        reader.contradiction("Source", "RequestPayer", message);
    }
    side
}

fn destination(reader: &mut ValueReader<'_>, local_profiles: bool) -> DestinationSide {
    let key_id = reader.optional_text("Destination", "KmsKeyId");
    let encryption = reader.optional_choice("Destination", "SSE");
    if key_id.is_some() && encryption != Some(Encryption::Kms) {
        let message = "is used with SSE = aws:kms only";
        reader.contradiction("Destination", "KmsKeyId", message);
    }
    let sse = match encryption {
        None => Sse::BucketDefault,
        Some(Encryption::Aes256) => Sse::Aes256,
        Some(Encryption::Kms) => Sse::Kms(key_id),
    };
    DestinationSide {
        endpoint: endpoint(reader, "Destination", local_profiles, false),
        acl: reader.word("Destination", "ACL").map(str::to_owned),
        sse,
        max_parts: reader.count("Destination", "MaxParts"),
    }
}

fn endpoint(
    reader: &mut ValueReader<'_>,
    section: &str,
    local_profiles: bool,
    unsigned: bool,
) -> Endpoint {
    let mut profile = reader.optional_text(section, "Profile");
    let credentials = credentials(reader, section, profile.is_some(), local_profiles, unsigned);
    if credentials == Some(Credentials::Profile) {
        // The profile that AWS tools use if none is named.
        profile = profile.or_else(|| Some("default".to_owned()));
    }
    let quirks = reader.text(section, "Quirks");
    Endpoint {
        quirks: Pins::parse(&quirks).unwrap_or_default(),
        url: reader.optional_text(section, "Endpoint"),
        region: reader.optional_text(section, "Region"),
        ca_bundle: bundle(reader, section),
        sorts_keys: reader.choice::<ListOrder>(section, "ListOrder") == ListOrder::Bytes,
        force_path_style: reader.optional_bool(section, "ForcePathStyle"),
        profile,
        credentials,
        role: role(reader, section, credentials),
    }
}

fn role(
    reader: &mut ValueReader<'_>,
    section: &str,
    credentials: Option<Credentials>,
) -> Option<Role> {
    let external_id = reader.optional_text(section, "ExternalId");
    let Some(arn) = reader.optional_text(section, "RoleArn") else {
        if external_id.is_some() {
            reader.contradiction(section, "ExternalId", "has no meaning without RoleArn");
        }
        return None;
    };
    if !Role::is_arn(&arn) {
        let message = "is not the ARN of a role; allowed: arn:aws:iam::123456789012:role/NAME";
        reader.contradiction(section, "RoleArn", message);
    }
    if credentials == Some(Credentials::Anonymous) {
        let message = "needs credentials to assume it with; allowed with it: default, ssm, profile";
        reader.contradiction(section, "RoleArn", message);
    }
    Some(Role { arn, external_id })
}

/// Read at once, so that a bad file shows before anything is touched.
fn bundle(reader: &mut ValueReader<'_>, section: &str) -> Option<Arc<Bundle>> {
    let file = reader.optional_text(section, "CaBundle").map(PathBuf::from)?;
    match Bundle::read(&file) {
        Ok(bundle) => Some(Arc::new(bundle)),
        Err(wrong) => {
            let message = format!("= {} {wrong}; allowed: {}", file.display(), trust::ALLOWED);
            reader.contradiction(section, "CaBundle", &message);
            None
        }
    }
}

/// Three keys and a switch affect the credentials; they must agree.
fn credentials(
    reader: &mut ValueReader<'_>,
    section: &str,
    has_profile: bool,
    local_profiles: bool,
    unsigned: bool,
) -> Option<Credentials> {
    let given = reader.optional_choice(section, "Credentials");
    if unsigned && given.is_some_and(|c| c != Credentials::Anonymous) {
        let message = "= True contradicts Credentials; allowed with it: anonymous, or empty";
        reader.contradiction(section, "NoSignRequest", message);
    }
    let given = if unsigned { Some(Credentials::Anonymous) } else { given };
    if has_profile && given.is_some_and(|c| c != Credentials::Profile) {
        let message = "is not used with these Credentials; allowed with it: profile, or empty";
        reader.contradiction(section, "Profile", message);
    }
    let elsewhere = matches!(given, Some(Credentials::Default | Credentials::Ssm));
    if local_profiles && elsewhere {
        let message = "contradicts LocalProfileMode = True; allowed with it: profile, anonymous";
        reader.contradiction(section, "Credentials", message);
    }
    let implied = (has_profile || local_profiles).then_some(Credentials::Profile);
    given.or(implied)
}

fn backend(reader: &mut ValueReader<'_>) -> Backend {
    Backend {
        queue: reader.choice("Backend", "Queue"),
        state: reader.choice("Backend", "State"),
        path: PathBuf::from(reader.text("Backend", "Path")),
        temporary_folder: reader.optional_text("Backend", "TemporaryFolder").map(PathBuf::from),
        max_receive_count: reader.count("Backend", "MaxReceiveCount"),
    }
}

fn instance(reader: &mut ValueReader<'_>) -> InstanceConfig {
    let instance = InstanceConfig {
        watch: reader.bool("Instance", "WatchInstance"),
        group: reader.optional_text("Instance", "AutoScalingGroup"),
        lifecycle_hook: reader.optional_text("Instance", "LifecycleHook"),
    };
    if instance.lifecycle_hook.is_some() && instance.group.is_none() {
        let message = "has no meaning without AutoScalingGroup";
        reader.contradiction("Instance", "LifecycleHook", message);
    }
    instance
}
