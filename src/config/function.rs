//! The environment of a Lambda function: the names that the original's functions have, and the
//! memory that the function has.

use std::ffi::OsString;

use super::keys::{KEYS, Key};
use super::layers::{self, Layer};
use super::problem::{Problems, shown_name};
use super::words::{LogFormat, Words};

/// The size of the function in MiB
/// (<https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html>).
const MEMORY: &str = "AWS_LAMBDA_FUNCTION_MEMORY_SIZE";
/// Set if the function's logging is configured as JSON
/// (<https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-logformat.html>).
const LOG_FORMAT: &str = "AWS_LAMBDA_LOG_FORMAT";
/// The rest is for the program itself, the connections and the kernel.
const LEAST_MEMORY: u64 = 32;

/// What the original's functions call this key.
const RENAMED: &[(&str, &str)] = &[("sqs_queue", "sqs_queue_name")];

/// Variables of the original's functions that have no meaning here, and why.
const MEANINGLESS: &[(&str, &str)] = &[
    ("checkip_url", "the function does not look its own address up; records name its log stream"),
    ("aws_access_key_id", IN_PARAMETER),
    ("aws_secret_access_key", IN_PARAMETER),
    ("aws_access_key_region", IN_PARAMETER),
    ("Des_region", IN_PARAMETER),
];

const IN_PARAMETER: &str = "the other account's keys and region are read from the SecureString \
                            parameter that ssm_parameter_credentials names: remove it here";

/// What a function's environment says.
pub(super) struct FunctionEnvironment {
    /// What Lambda says of the function; an ini takes precedence.
    pub(super) below: Layer,
    /// What the variables set.
    pub(super) layer: Layer,
    /// Lines for the log: variables of the original that have no meaning here.
    pub(super) notices: Vec<String>,
}

/// Reads the variables. All that Lambda does not set itself are for this program, so a name that is
/// nearly a key's is taken for a slip.
pub(super) fn read<K, V>(
    variables: impl IntoIterator<Item = (K, V)>,
    problems: &mut Problems,
) -> FunctionEnvironment
where
    K: Into<OsString>,
    V: Into<OsString>,
{
    let (mut below, mut notices) = (Layer::default(), Vec::new());
    let mut passed: Vec<(OsString, OsString)> = Vec::new();
    for (name, value) in variables {
        let (name, value) = (name.into(), value.into());
        let Some(text) = name.to_str() else { continue };
        if text == MEMORY {
            let size = value.to_str().and_then(|size| size.parse::<u64>().ok());
            let share = size.map(|size| (size / 2).max(LEAST_MEMORY).to_string());
            below.add("Mode", "MaxMemory", share, MEMORY);
        } else if text == LOG_FORMAT {
            let json = (value == "JSON").then(|| LogFormat::Json.word().to_owned());
            below.add("Debug", "LogFormat", json, LOG_FORMAT);
        } else if let Some((name, why)) = MEANINGLESS.iter().find(|(name, _)| *name == text) {
            notices.push(format!("environment variable {name} has no meaning here: {why}"));
        } else if let Some((_, renamed)) = RENAMED.iter().find(|(old, _)| *old == text) {
            passed.push((OsString::from(renamed), value));
        } else {
            if let Some(meant) = slip(text) {
                let shown = shown_name(text).unwrap_or("of another name");
                let message = format!(
                    "is no key; perhaps {meant} is meant; if it is not for this program, remove it"
                );
                problems.add(format!("environment variable {shown}"), message);
            }
            passed.push((name, value));
        }
    }
    for (old, renamed) in RENAMED {
        let mut set = passed.iter().filter(|(name, _)| name == renamed).map(|(_, value)| value);
        if let (Some(one), Some(other)) = (set.next(), set.next())
            && one != other
        {
            let message = format!("says something else than {renamed}; set one of the two");
            problems.add(format!("environment variable {old}"), message);
        }
    }
    FunctionEnvironment { below, layer: layers::environment(passed, problems), notices }
}

/// The key that is meant by a variable that is none.
fn slip(name: &str) -> Option<&'static str> {
    let is_exact = |key: &Key| key.name == name || key.env_name().eq_ignore_ascii_case(name);
    if KEYS.iter().any(is_exact) {
        return None;
    }
    let plain = |text: &str| text.replace('_', "").to_lowercase();
    let wanted = plain(name);
    let distance = |key: &Key| strsim::osa_distance(&wanted, &plain(key.name));
    let mut names = RENAMED.iter().map(|(old, _)| *old);
    let renamed = names.find(|old| strsim::osa_distance(&wanted, &plain(old)) <= 1);
    let most = if wanted.len() > 5 { 2 } else { 0 };
    let known = KEYS.iter().filter(|key| key.env_by_name_alone());
    let near = known.filter(|key| distance(key) <= most);
    renamed.or_else(|| near.min_by_key(|key| distance(key)).map(|key| key.name))
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Count, JobType, LogFormat};
    use crate::object::MIB;

    fn load(variables: &[(&str, &str)]) -> crate::error::Result<(Config, Vec<String>)> {
        // The tests run in the folder of the shipped ini.
        Config::load_in_package(&[], variables.iter().copied())
    }

    /// Everything that the original's two functions have.
    const ORIGINAL: &[(&str, &str)] = &[
        ("table_queue_name", "a-table"),
        ("StorageClass", "STANDARD_IA"),
        ("checkip_url", "https://checkip.example"),
        ("Des_bucket_default", "foo-bucket"),
        ("Des_prefix_default", "my_prefix"),
        ("ssm_parameter_credentials", "s3_migration_credentials"),
        ("ssm_parameter_bucket", "s3_migration_bucket_para"),
        ("ssm_parameter_ignore_list", "s3_migrate_ignore_list"),
        ("sqs_queue", "a-queue"),
        ("JobType", "GET"),
        ("MaxRetry", "20"),
        ("MaxThread", "50"),
        ("MaxParallelFile", "1"),
        ("JobTimeout", "870"),
        ("JobsenderCompareVersionId", "False"),
        ("UpdateVersionId", "True"),
        ("GetObjectWithVersionId", "True"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "1024"),
        ("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001"),
        ("LD_LIBRARY_PATH", "/lib64"),
        ("PATH", "/usr/bin"),
        ("TZ", ":UTC"),
        ("_HANDLER", "worker"),
    ];

    #[test]
    fn the_originals_variables_are_understood() {
        let (config, notices) = load(ORIGINAL).unwrap();
        assert_eq!(config.basic.sqs_queue_name, "a-queue");
        assert_eq!(config.basic.table_queue_name, "a-table");
        assert_eq!(config.basic.des_prefix_default, "my_prefix");
        assert_eq!(config.basic.job_type, JobType::Get);
        assert_eq!(config.mode.max_thread, Count::Fixed(50));
        assert_eq!(config.mode.job_timeout.as_secs(), 870);
        assert!(config.mode.update_version_id && config.mode.get_object_with_version_id);
        assert_eq!(config.mode.max_memory, Some(512 * MIB));
        assert_eq!(notices.len(), 1, "{notices:?}");
        assert!(notices[0].contains("checkip_url has no meaning here"), "{notices:?}");
    }

    #[test]
    fn the_functions_size_is_the_least_of_what_is_said_about_memory() {
        let memory = |variables: &[(&str, &str)]| load(variables).unwrap().0.mode.max_memory;
        assert_eq!(memory(&[]), None);
        assert_eq!(memory(&[("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")]), Some(64 * MIB));
        let both = [("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"), ("MaxMemory", "100")];
        assert_eq!(memory(&both), Some(100 * MIB));
    }

    #[test]
    fn the_log_is_as_the_function_is_configured() {
        let format = |variables: &[(&str, &str)]| load(variables).unwrap().0.debug.log_format;
        assert_eq!(format(&[]), LogFormat::Auto);
        assert_eq!(format(&[("AWS_LAMBDA_LOG_FORMAT", "JSON")]), LogFormat::Json);
        assert_eq!(format(&[("AWS_LAMBDA_LOG_FORMAT", "Text")]), LogFormat::Auto);
        let both = [("AWS_LAMBDA_LOG_FORMAT", "JSON"), ("LogFormat", "text")];
        assert_eq!(format(&both), LogFormat::Text);
    }

    #[test]
    fn a_slip_is_no_stray_variable() {
        for (name, meant) in
            [("MaxThreads", "MaxThread"), ("jobtimeout", "JobTimeout"), ("sqs_queues", "sqs_queue")]
        {
            let error = load(&[(name, "5")]).unwrap_err().to_string();
            let wanted =
                format!("environment variable {name}: is no key; perhaps {meant} is meant");
            assert!(error.contains(&wanted), "{error}");
        }
        load(&[("RUST_BACKTRACE", "1"), ("NODE", "x"), ("MAX", "1")]).unwrap();
    }

    #[test]
    fn one_queue_by_two_names_must_be_the_same() {
        load(&[("sqs_queue", "a"), ("sqs_queue_name", "a")]).unwrap();
        let error = load(&[("sqs_queue", "a"), ("sqs_queue_name", "b")]).unwrap_err().to_string();
        assert!(error.contains("sqs_queue: says something else than sqs_queue_name"), "{error}");
    }

    #[test]
    fn keys_in_plain_variables_are_not_shown() {
        let given = [("aws_secret_access_key", "wJalrXUtnFEMI")];
        let (_, notices) = load(&given).unwrap();
        assert!(notices[0].contains("ssm_parameter_credentials"), "{notices:?}");
        assert!(!notices[0].contains("wJalr"), "{notices:?}");
    }
}
