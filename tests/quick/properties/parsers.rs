//! Every parser that reads what others wrote, and what must hold whatever it is given. The fuzz
//! targets in `fuzz/` are these functions.

use s3_migration::aws::stored_credentials::StoredCredentials;
use s3_migration::config::Config;
use s3_migration::filter::patterns::Patterns;
use s3_migration::format::escape::is_plain;
use s3_migration::job::{Incoming, Job, MessageRefusal, PACK_VERSION, Routes, pack, parse};
use s3_migration::object::MAX_KEY_BYTES;
use s3_migration::params::{Pair, parse_pairs};
use s3_migration::store::s3::key_encoding::KeyReading;
use s3_migration::store::s3::listing_xml;
use s3_migration::store::s3::read_upload_answers;

/// What no error may repeat; the inputs have it where secrets stand.
pub const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCY";

/// A message of the queue: a job, a pack, an S3 event, in any envelope, or something else.
pub fn message(text: &str) {
    let (bucket, prefix) = ("default-bucket".to_owned(), "arrived".to_owned());
    let target = Routes { bucket, prefix, deletions: true, ..Routes::default() };
    match parse(text, &target) {
        Ok(incoming) => {
            assert_parts_stand_alone(&incoming, &target);
            incoming.jobs.iter().for_each(assert_can_be_carried_out);
            // What is sent on is what came.
            for job in &incoming.jobs {
                let again = parse(&job.to_message(), &target).expect("a job of ours");
                assert_eq!(again.jobs, std::slice::from_ref(job));
            }
            if !incoming.jobs.is_empty() {
                let again = parse(&pack(&incoming.jobs), &target).expect("a pack of ours");
                assert_eq!(again.jobs, incoming.jobs);
            }
            for said in incoming.dropped.iter().chain(&incoming.notices) {
                assert_is_one_line(said);
            }
        }
        Err(refusal) => {
            assert_is_one_line(&refusal.to_string());
            if let MessageRefusal::Newer(version) = refusal {
                assert!(version > PACK_VERSION);
            }
        }
    }
    // Without a destination events are refused, and nothing else changes.
    let nowhere = parse(text, &Routes { deletions: true, ..Routes::default() });
    if let Ok(incoming) = nowhere
        && incoming.apart.iter().all(|apart| apart.refusal != MessageRefusal::NoDestination)
    {
        assert_eq!(parse(text, &target), Ok(incoming));
    }
    let pair = |src_bucket: &str, src_prefix: &str, des_bucket: &str| Pair {
        src_bucket: src_bucket.to_owned(),
        src_prefix: src_prefix.to_owned(),
        des_bucket: des_bucket.to_owned(),
        des_prefix: "to".to_owned(),
        strip: false,
    };
    let pairs = vec![pair("src", "", "one"), pair("src", "a", "two")];
    let listed = Routes { pairs, ..target };
    if let Ok(incoming) = parse(text, &listed) {
        incoming.jobs.iter().for_each(assert_can_be_carried_out);
        assert_parts_stand_alone(&incoming, &listed);
    }
}

/// What of a message is refused is refused by itself for good, and takes nothing else along.
fn assert_parts_stand_alone(incoming: &Incoming, routes: &Routes) {
    for apart in &incoming.apart {
        assert_is_one_line(&apart.refusal.to_string());
        assert!(apart.body.bytes().all(|b| (b' '..=b'~').contains(&b)), "{apart:?}");
        assert!(parse(&apart.body, routes).is_err(), "{apart:?}");
    }
}

fn assert_can_be_carried_out(job: &Job) {
    for id in [&job.src, &job.des] {
        let key = id.key.as_str();
        assert!(!id.bucket.is_empty() && !key.is_empty() && key.len() <= MAX_KEY_BYTES, "{job:?}");
    }
    assert_ne!(job.version.as_deref(), Some("null"));
    assert!(job.to_message().bytes().all(|b| (b' '..=b'~').contains(&b)), "{job:?}");
}

/// The configuration's ini.
pub fn ini(text: &str) {
    if let Err(error) = Config::from_text("the.ini", text, [("", ""); 0]) {
        let shown = error.to_string();
        assert_shows_no_secret(&shown);
        assert!(!shown.is_empty());
    }
}

/// The ignore list, and a path that it is asked about.
pub fn ignore_list(text: &str) {
    let Ok(list) = Patterns::parse(text) else { return };
    for path in ["bucket/key", "", text] {
        if let Some(rule) = list.matches(path) {
            assert!(text.contains(rule), "{rule:?} is no line of {text:?}");
            assert!(!list.is_empty());
        }
    }
    // A line that is not a comment and has no pattern in it matches itself.
    for line in text.strip_prefix('\u{feff}').unwrap_or(text).lines() {
        let plain = !line.is_empty() && line.chars().all(|c| c.is_alphanumeric() || c == '/');
        assert!(!plain || list.matches(line).is_some(), "{line:?}");
    }
}

/// The bucket list.
pub fn bucket_list(text: &str) {
    match parse_pairs("the list", text, true) {
        Ok(pairs) => {
            for pair in pairs {
                assert_eq!(pair.problems(true), [""; 0]);
                assert!(pair.src_bucket != pair.des_bucket || !pair.feeds_itself());
            }
        }
        Err(error) => assert!(error.to_string().starts_with("the list: ")),
    }
}

/// The stored credentials.
pub fn credentials(text: &str) {
    match StoredCredentials::parse("the parameter", text) {
        Ok(keys) => {
            assert!(!keys.access_key_id.is_empty() && !keys.secret_access_key.is_empty());
            let shown = format!("{keys:?}");
            let secret = &keys.secret_access_key;
            assert!(secret.len() < 12 || !shown.contains(secret), "{shown}");
        }
        Err(error) => {
            let shown = format!("{error} {error:?}");
            assert_shows_no_secret(&shown);
            assert_is_one_line(&error.to_string());
        }
    }
}

/// Answers about uploads.
pub fn upload_answers(text: &str) {
    for error in read_upload_answers(text.as_bytes()) {
        assert_is_one_line(&error.to_string());
    }
}

/// Control characters would break a log line, or a terminal; others would turn it around.
fn assert_is_one_line(text: &str) {
    assert!(text.chars().all(is_plain), "{text:?}");
}

/// Also no piece of it that would help.
fn assert_shows_no_secret(shown: &str) {
    assert!(!shown.contains(&SECRET[..8]) && !shown.contains(&SECRET[14..24]), "{shown}");
}

/// A page of a listing, as a store answers it.
pub fn listing(document: &[u8]) {
    let Ok(mut page) = listing_xml::read(document) else { return };
    assert!(page.objects.len() + page.objects.odd.len() <= page.shown as usize, "{page:?}");
    let (raw, codes) = (page.objects.clone(), page.encoded && page.has_codes);
    let readings =
        [KeyReading::Form, KeyReading::PlusIsLiteral, KeyReading::Plain, KeyReading::Twice];
    for reading in readings {
        page.objects = raw.clone();
        let read = page.decoded(reading);
        // Whatever is shown is an object or is odd, under every reading.
        let (objects, odd) = (raw.len() + raw.odd.len(), read.len() + read.odd.len());
        assert_eq!(objects, odd, "{reading:?}");
        assert!(codes || read == raw);
        assert!(read.iter().all(|listed| !listed.key.is_empty()));
        read.odd.iter().for_each(|odd| assert_is_one_line(&odd.to_string()));
    }
}
