//! The configuration as a user meets it: files, environment, and everything that can be wrong.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use s3_migration::config::keys::{KEYS, Kind};
use s3_migration::config::*;
use s3_migration::error::ErrorKind;

const NOBODY: [(&str, &str); 0] = [];
const MIB: u64 = 1024 * 1024;

fn shipped() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("s3_migration_config.ini");
    fs::read_to_string(file).unwrap()
}

fn read(text: &str) -> Config {
    Config::from_text("t.ini", text, NOBODY).unwrap()
}

fn read_env(env: &[(&str, &str)]) -> Config {
    Config::from_text("t.ini", "", env.iter().copied()).unwrap()
}

/// The problems, one a line, without the first line.
fn problems_with(text: &str, env: &[(&str, &str)]) -> Vec<String> {
    let error = Config::from_text("t.ini", text, env.iter().copied()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
    let message = error.to_string();
    let mut lines = message.lines().map(|l| l.trim().to_owned());
    let first = lines.next().unwrap();
    let lines: Vec<String> = lines.collect();
    let count =
        if lines.len() == 1 { "1 problem".into() } else { format!("{} problems", lines.len()) };
    assert_eq!(first, format!("configuration cannot be used: {count}"));
    lines
}

fn problems(text: &str) -> Vec<String> {
    problems_with(text, &[])
}

fn only_problem(text: &str) -> String {
    let mut all = problems(text);
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

/// Set `UPDATE_SHIPPED_INI` to write the file anew after a change of the table.
#[test]
fn the_shipped_ini_is_made_from_the_table() {
    if std::env::var_os("UPDATE_SHIPPED_INI").is_some() {
        fs::write("s3_migration_config.ini", shipped_ini()).unwrap();
    }
    assert_eq!(shipped(), shipped_ini());
}

#[test]
fn the_shipped_ini_says_the_defaults_and_every_key() {
    let text = shipped();
    assert_eq!(read(&text), Config::default());
    let unbroken = text.replace("\n#   ", " ");
    for key in KEYS {
        let line = format!("{} = {}", key.name, key.default);
        assert!(text.lines().any(|l| l == line.trim_end()), "{}", key.path());
        assert!(unbroken.contains(key.meaning), "{}", key.path());
        assert!(unbroken.contains(&key.allowed()), "{}", key.path());
    }
    assert!(text.lines().all(|line| line.chars().count() <= 100 && line.is_ascii()));
}

#[test]
fn the_defaults_are_those_of_the_contract() {
    let c = Config::default();
    assert_eq!(c.basic.job_type, JobType::Put);
    assert_eq!(c.basic.table_queue_name, "s3_migration_file_list");
    assert_eq!(c.basic.sqs_queue_name, "s3_migration_file_list");
    assert_eq!(c.basic.ssm_parameter_bucket, "s3_migration_bucket_para");
    assert_eq!(c.basic.ssm_parameter_credentials, "s3_migration_credentials");
    assert_eq!(c.basic.ssm_parameter_ignore_list, "s3_migrate_ignore_list");
    assert_eq!(
        (c.basic.des_bucket_default.as_str(), c.basic.des_prefix_default.as_str()),
        ("", "")
    );
    assert_eq!(c.mode.storage_class, StorageClass::Named("STANDARD".to_owned()));
    assert_eq!(c.mode.resumable_threshold, 5 * MIB);
    assert_eq!((c.mode.stream_threshold, c.destination.max_parts), (8 * MIB, 10_000));
    assert_eq!(c.mode.max_retry, 20);
    let at_once = (c.mode.max_thread, c.mode.max_parallel_file);
    assert_eq!(at_once, (Count::Fixed(20), Count::Fixed(5)));
    assert_eq!(c.mode.job_timeout, Duration::from_secs(3500));
    assert_eq!(c.mode.visibility_timeout, Duration::from_secs(60));
    assert_eq!(c.mode.grace_time, Duration::from_secs(30));
    assert_eq!(c.mode.max_memory, None);
    assert!(c.mode.copy_metadata && c.mode.copy_tags);
    assert!(!c.mode.jobsender_compare_version_id);
    assert!(!c.mode.update_version_id && !c.mode.get_object_with_version_id);
    assert!(!c.mode.propagate_delete);
    assert_eq!(c.debug.chunk_size, 5 * MIB);
    assert_eq!(c.debug.logging_level, LogLevel::Info);
    assert_eq!(c.debug.log_format, LogFormat::Auto);
    assert_eq!(c.debug.log_interval, Duration::from_secs(10));
    assert!(!c.debug.clean_unfinished_upload && !c.debug.if_verify_md5_twice);
    assert!(!c.debug.local_profile_mode);
    for side in [&c.source.endpoint, &c.destination.endpoint] {
        assert_eq!((&side.url, &side.region, &side.profile), (&None, &None, &None));
        assert_eq!((side.force_path_style, side.credentials), (None, None));
    }
    assert!(!c.source.request_payer);
    assert_eq!((c.destination.acl, c.destination.sse), (None, Sse::BucketDefault));
    assert_eq!((c.backend.queue, c.backend.state), (QueueBackend::Sqs, StateBackend::DynamoDb));
    assert_eq!(c.backend.path, PathBuf::from("s3_migration.sqlite"));
    assert_eq!(c.backend.max_receive_count, 60);
    assert_eq!(c.folder, None);
}

/// A value that is allowed and not the default.
fn other_value(key: &keys::Key) -> String {
    match key.kind {
        Kind::Bool if key.default == "True" => "False".into(),
        Kind::Bool => "True".into(),
        Kind::Integer { min, max, .. } if key.default == max.to_string() => min.to_string(),
        Kind::Integer { max, .. } => max.to_string(),
        Kind::CountOrAuto { .. } if key.default == "auto" => "7".into(),
        Kind::CountOrAuto { .. } => "auto".into(),
        Kind::Choice(words) => {
            words.iter().rev().find(|word| **word != key.default).unwrap().to_string()
        }
        Kind::Url => "https://s3.example".into(),
        Kind::Address => "127.0.0.1:9100".into(),
        Kind::Moment => "2026-01-31".into(),
        Kind::Timetable(_) => "08:00-18:00 500000, else off".into(),
        Kind::Money => "12.50".into(),
        Kind::Quirks => "no-tags, -own-etags, max-parts=1000".into(),
        _ if key.name == "RoleArn" => "arn:aws:iam::123456789012:role/path/other".into(),
        // It is read at once.
        _ if key.name == "CaBundle" => {
            concat!(env!("CARGO_MANIFEST_DIR"), "/tests/field/certificates/authority.pem").into()
        }
        _ => "other".into(),
    }
}

#[test]
fn every_key_of_the_table_changes_the_configuration() {
    for key in KEYS {
        let needed = match key.name {
            "Des_prefix_default" => "[Basic]\nDes_bucket_default = b\n",
            "KmsKeyId" => "[Destination]\nSSE = aws:kms\n",
            "ExternalId" => {
                &format!("[{}]\nRoleArn = arn:aws:iam::123456789012:role/r\n", key.section)
            }
            "LifecycleHook" => "[Instance]\nAutoScalingGroup = g\n",
            _ => "",
        };
        let line = format!("[{}]\n{} = {}\n", key.section, key.name, other_value(key));
        assert_ne!(read(&format!("{needed}{line}")), read(needed), "{}", key.path());
        let env = [(key.env_name(), other_value(key))];
        let by_env = Config::from_text("t.ini", needed, env).unwrap();
        assert_eq!(by_env, read(&format!("{needed}{line}")), "{}", key.path());
    }
}

#[test]
fn names_blanks_and_line_ends_are_read_generously() {
    let text = "\u{feff}# comment\r\n; another\r\n[basic]  \r\n  jobtype=get\r\n\tSQS_QUEUE_NAME : q=1\r\n\
                [MODE]\r\nMaxThread = 7\r\n  # indented\r\n[Basic]\r\nDes_bucket_default: b\r\n\
                [Source]\r\nEndpoint : http://h:9000/?a=b\r\nForcePathStyle = on";
    let c = read(text);
    assert_eq!(c.basic.job_type, JobType::Get);
    assert_eq!(c.basic.sqs_queue_name, "q=1");
    assert_eq!(c.mode.max_thread, Count::Fixed(7));
    assert_eq!(c.basic.des_bucket_default, "b");
    assert_eq!(c.source.endpoint.url.as_deref(), Some("http://h:9000/?a=b"));
    assert_eq!(c.source.endpoint.force_path_style, Some(true));
}

/// Promise 10.
#[test]
fn all_problems_come_at_once_in_the_order_of_the_lines() {
    let text = "JobType = PUT\n[Basic]\nJobTyp = GET\nJobType = POST\n[Mode\n[Mods]\nwhatever = 1\n\
                [Mode]\nMaxThread = 0\nChunkSize = 8\nMaxRetry = 3\nmaxretry = 4\nnonsense\n";
    assert_eq!(
        problems_with(text, &[("MaxParallelFile", "many"), ("Mode_CopyTags", "")]),
        [
            "t.ini:1: JobType comes before the first [Section]",
            "t.ini:3: unknown key JobTyp in [Basic]; perhaps JobType is meant",
            "t.ini:4: [Basic] JobType = POST; allowed: PUT, GET",
            "t.ini:5: the section's name is not closed; allowed: [Section] by itself",
            "t.ini:6: unknown section [Mods]; perhaps Mode is meant; allowed: Basic, Mode, \
             Filter, Debug, Source, Destination, Backend, Report, Instance",
            "t.ini:9: [Mode] MaxThread = 0 is out of range; allowed: a whole number from 1 to \
             1000, or auto",
            "t.ini:10: unknown key ChunkSize in [Mode]; it belongs to [Debug]",
            "t.ini:12: MaxRetry is already set on line 11",
            "t.ini:13: is not understood; allowed: [Section], key = value, a comment after # or ;",
            "environment variable MaxParallelFile: [Mode] MaxParallelFile = many; allowed: a whole \
             number from 1 to 1000, or auto",
            "environment variable Mode_CopyTags: [Mode] CopyTags is empty; allowed: True or False",
        ]
    );
}

#[test]
fn bytes_that_are_no_text_are_named_with_their_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.ini");
    fs::write(&file, b"[Basic]\nJobType = PUT\n# caf\xe9\n[Nope]\n").unwrap();
    let message = Config::load(Some(&file), NOBODY).unwrap_err().to_string();
    assert!(message.contains("c.ini:3: is not valid UTF-8"), "{message}");
    assert!(message.contains("c.ini:4: unknown section [Nope]"), "{message}");
}

/// Promise 10.
#[test]
fn pasted_secrets_are_never_repeated() {
    let secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
    let text = format!(
        "aws_secret_access_key = {secret}\n[Basic]\naws_secret_access_key = {secret}\n{secret}\n\
         {secret}=\n[{secret}]\n[Basic]\nssm_parameter_credentials = {{\"k\":\"{secret}\"}}\n\
         [Source]\nCredentials = {secret}\n[{secret}\n"
    );
    let all = problems_with(&text, &[("Source_Endpoint", &format!("https://x:{secret}@h"))]);
    assert_eq!(all.len(), 8, "{all:#?}");
    assert!(all.iter().all(|p| !p.contains("wJalr") && !p.contains("EXAMPLE")), "{all:#?}");
    assert!(all[1].contains("unknown key aws_secret_access_key in [Basic]"), "{all:#?}");
}

#[test]
fn the_environment_comes_before_the_file() {
    let text = "[Basic]\ntable_queue_name = file\nJobType = GET\n";
    let env = [("table_queue_name", "env"), ("sqs_queue_name", "q"), ("MaxThread", " 3 ")];
    let c = Config::from_text("t.ini", text, env).unwrap();
    assert_eq!(c.basic.table_queue_name, "env");
    assert_eq!(c.basic.sqs_queue_name, "q");
    assert_eq!(c.basic.job_type, JobType::Get);
    assert_eq!(c.mode.max_thread, Count::Fixed(3));
}

#[test]
fn stray_variables_are_not_taken_for_keys() {
    let c = read_env(&[
        ("PATH", "/bin"),
        ("Path", "C:\\bin"),
        ("REGION", "r"),
        ("Region", "r"),
        ("Profile", "p"),
        ("Endpoint", "nonsense"),
        ("Queue", "nonsense"),
        ("State", "nonsense"),
        ("MAXTHREAD", "nonsense"),
        ("jobtype", "nonsense"),
        ("SOURCE_DATE_EPOCH", "1"),
        ("AWS_REGION", "eu-west-1"),
    ]);
    assert_eq!(c, Config::default());
}

#[test]
fn section_and_key_name_a_variable_in_any_case() {
    let c = read_env(&[
        ("Source_Endpoint", "http://s:1"),
        ("DESTINATION_ENDPOINT", "http://d:2"),
        ("backend_path", "elsewhere/x.sqlite"),
        ("Backend_Queue", "Embedded"),
        ("MaxThread", "3"),
        ("MODE_MAXTHREAD", "4"),
    ]);
    assert_eq!(c.source.endpoint.url.as_deref(), Some("http://s:1"));
    assert_eq!(c.destination.endpoint.url.as_deref(), Some("http://d:2"));
    assert_eq!(c.backend.path, PathBuf::from("elsewhere/x.sqlite"));
    assert_eq!(c.backend.queue, QueueBackend::Embedded);
    assert_eq!(c.mode.max_thread, Count::Fixed(4));
    let twice = problems_with("", &[("MODE_MAXTHREAD", "4"), ("Mode_MaxThread", "5")]);
    assert_eq!(
        twice,
        ["environment variable Mode_MaxThread: MaxThread is set too, by environment variable \
          MODE_MAXTHREAD"]
    );
}

#[cfg(unix)]
#[test]
fn variables_need_not_be_text_unless_they_are_meant() {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;
    let bad = || OsString::from_vec(vec![b'x', 0xff]);
    let stray = [(bad(), bad()), ("LS_COLORS".into(), bad())];
    assert_eq!(Config::from_text("t.ini", "", stray).unwrap(), Config::default());
    let meant: [(OsString, OsString); 1] = [("MaxThread".into(), bad())];
    let message = Config::from_text("t.ini", "", meant).unwrap_err().to_string();
    assert!(message.contains("environment variable MaxThread: is not valid UTF-8"), "{message}");
}

#[test]
fn contradictions_are_refused() {
    for (text, expected) in [
        (
            "[Destination]\nKmsKeyId = k\nSSE = AES256",
            "t.ini:2: [Destination] KmsKeyId is used with SSE = aws:kms only",
        ),
        ("[Destination]\nKmsKeyId = k", "t.ini:2: [Destination] KmsKeyId is used with"),
        (
            "[Source]\nCredentials = ssm\nNoSignRequest = True",
            "t.ini:3: [Source] NoSignRequest = True contradicts Credentials",
        ),
        (
            "[Source]\nRequestPayer = True\nNoSignRequest = True",
            "t.ini:2: [Source] RequestPayer = True needs signed requests",
        ),
        (
            "[Source]\nProfile = p\nCredentials = default",
            "t.ini:2: [Source] Profile is not used with these Credentials",
        ),
        (
            "[Debug]\nLocalProfileMode = True\n[Destination]\nCredentials = ssm",
            "t.ini:4: [Destination] Credentials contradicts LocalProfileMode = True",
        ),
        (
            "[Basic]\nDes_prefix_default = p",
            "t.ini:2: [Basic] Des_prefix_default has no meaning without Des_bucket_default",
        ),
    ] {
        let problem = only_problem(text);
        assert!(problem.starts_with(expected), "{problem}");
    }
}

#[test]
fn credentials_follow_from_the_keys_that_imply_them() {
    let who = |text: &str| {
        let c = read(text);
        let of = |e: Endpoint| (e.credentials, e.profile);
        (of(c.source.endpoint), of(c.destination.endpoint))
    };
    let profile = |name: &str| (Some(Credentials::Profile), Some(name.to_owned()));
    let anonymous = (Some(Credentials::Anonymous), None);
    assert_eq!(who("[Source]\nNoSignRequest = True"), (anonymous.clone(), (None, None)));
    assert_eq!(who("[Source]\nCredentials = anonymous\nNoSignRequest = True").0, anonymous);
    assert_eq!(who("[Source]\nProfile = p"), (profile("p"), (None, None)));
    assert_eq!(who("[Destination]\nCredentials = profile").1, profile("default"));
    let local = "[Debug]\nLocalProfileMode = True\n";
    assert_eq!(who(local), (profile("default"), profile("default")));
    let mixed = format!("{local}[Source]\nNoSignRequest = True\n[Destination]\nProfile = china");
    assert_eq!(who(&mixed), (anonymous, profile("china")));
}

#[test]
fn words_become_types() {
    let class = |text: &str| read(&format!("[Mode]\nStorageClass = {text}")).mode.storage_class;
    assert_eq!(class("KEEP"), StorageClass::Keep);
    assert_eq!(class("none"), StorageClass::Unsent);
    assert_eq!(class(""), StorageClass::Unsent);
    assert_eq!(class("deep_archive"), StorageClass::Named("DEEP_ARCHIVE".to_owned()));
    assert_eq!(StorageClass::Keep.of(Some("GLACIER")).as_deref(), Some("GLACIER"));
    assert_eq!(StorageClass::Unsent.of(Some("GLACIER")), None);
    let sse = |text: &str| read(&format!("[Destination]\n{text}")).destination.sse;
    assert_eq!(sse("SSE = AES256"), Sse::Aes256);
    assert_eq!(sse("SSE = aws:kms"), Sse::Kms(None));
    assert_eq!(sse("SSE = aws:kms\nKmsKeyId = k"), Sse::Kms(Some("k".into())));
    assert_eq!(read("[Basic]\nssm_parameter_ignore_list =").basic.ssm_parameter_ignore_list, "");
    assert_eq!(read("[Mode]\nMaxMemory = 512").mode.max_memory, Some(512 * MIB));
}

#[test]
fn files_are_found_from_the_place_that_names_them() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.ini");
    let text = "[Basic]\nbucket_para_file = pairs.json\nignore_list_file = /abs/i.txt\n\
                [Backend]\nPath = q.sqlite\n";
    fs::write(&file, text).unwrap();
    let c = Config::load(Some(&file), NOBODY).unwrap();
    assert_eq!(c.folder.as_deref(), Some(folder.path()));
    assert_eq!(c.basic.bucket_para_file, Some(folder.path().join("pairs.json")));
    assert_eq!(c.basic.ignore_list_file, Some(PathBuf::from("/abs/i.txt")));
    assert_eq!(c.backend.path, PathBuf::from("q.sqlite"));
    let c = Config::load(Some(&file), [("bucket_para_file", "here.json")]).unwrap();
    assert_eq!(c.basic.bucket_para_file, Some(PathBuf::from("here.json")));
}

#[test]
fn a_named_file_that_is_missing_is_a_problem_among_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("missing.ini");
    let error = Config::load(Some(&file), [("JobType", "POST")]).unwrap_err();
    let message = error.to_string();
    assert_eq!(error.kind(), ErrorKind::Usage);
    assert!(message.starts_with("configuration cannot be used: 2 problems\n"), "{message}");
    assert!(message.contains("missing.ini: cannot be read: "), "{message}");
    assert!(message.contains("environment variable JobType: [Basic] JobType = POST"), "{message}");
}

#[test]
fn without_a_named_file_the_shipped_one_beside_us_is_read() {
    // Tests run in the package's folder, where the shipped ini is.
    let c = Config::load(None, NOBODY).unwrap();
    assert_eq!(c.folder, Some(PathBuf::from(".")));
    assert_eq!(c.file, Some(PathBuf::from("s3_migration_config.ini")));
    assert_eq!(Config { folder: None, file: None, ..c }, Config::default());
    let c = Config::load(None, [("bucket_para_file", "x")]).unwrap();
    assert_eq!(c.basic.bucket_para_file, Some(PathBuf::from("x")));
}
