//! Telling the forms of messages apart, and the plain job.

use serde_json::{Map, Value};

use super::{EventTarget, Incoming, Job, Refusal, event, pack};
use crate::object::{MAX_KEY_BYTES, NO_VERSION, ObjectId};
use crate::sequencer::Sequencer;

pub(super) type Fields = Map<String, Value>;

/// How many envelopes are opened: EventBridge or S3 within SNS is one; more than a few is a loop.
const MAX_ENVELOPES: usize = 3;

/// Reads the text of a message in any of the forms that a worker understands.
pub fn parse(body: &str, target: &EventTarget) -> Result<Incoming, Refusal> {
    opened(body, target, 0)
}

fn opened(body: &str, target: &EventTarget, envelopes: usize) -> Result<Incoming, Refusal> {
    let body = body.trim_start_matches('\u{feff}');
    let value: Value = serde_json::from_str(body).map_err(|e| {
        not_a_job(format!("not valid JSON at line {} column {}", e.line(), e.column()))
    })?;
    let Value::Object(fields) = value else { return Err(not_a_job("not a JSON object")) };
    let has = |name: &str| fields.contains_key(name);
    if has(pack::VERSION_FIELD) {
        return pack::read(&fields);
    }
    if has("Src_key") || has("Src_bucket") {
        return job(&fields).map(|job| Incoming { jobs: vec![job], dropped: Vec::new() });
    }
    if has("Records") {
        return event::notification(&fields, target);
    }
    if has("detail-type") {
        return event::event_bridge(&fields, target);
    }
    if fields.get("Event").and_then(Value::as_str) == Some("s3:TestEvent") {
        return Ok(Incoming { jobs: Vec::new(), dropped: vec!["s3:TestEvent".to_owned()] });
    }
    if fields.get("Type").and_then(Value::as_str) == Some("Notification") {
        return match (text(&fields, "Message", "Message"), envelopes) {
            (Ok(_), MAX_ENVELOPES) => Err(not_a_job("too many SNS envelopes in each other")),
            (Ok(inner), _) => opened(inner, target, envelopes + 1),
            (Err(refusal), _) => Err(refusal),
        };
    }
    Err(not_a_job("none of the known forms: no Src_bucket, Records, detail-type or Type"))
}

/// The plain job; further fields are ignored, but for one that would ask for anything else than a
/// copy.
fn job(fields: &Fields) -> Result<Job, Refusal> {
    if fields.get("Action").is_some_and(|action| action != "copy") {
        return Err(not_a_job("Action of a plain job is not \"copy\", deletions are packed"));
    }
    let place = |bucket: &str, key: &str| {
        object(text(fields, bucket, bucket)?, text(fields, key, key)?, bucket, key)
    };
    let (src, des) = (place("Src_bucket", "Src_key")?, place("Des_bucket", "Des_key")?);
    let size = size(fields.get("Size"), "Size")?;
    let version = version(fields.get("versionId"), "versionId")?;
    let sequencer = sequencer(fields.get("Sequencer"));
    Ok(Job { sequencer, ..Job::copy(src, des, size, version) })
}

pub(super) fn not_a_job(reason: impl Into<String>) -> Refusal {
    Refusal::NotAJob(reason.into())
}

/// The text in the field `name`; `path` is what a refusal calls it.
pub(super) fn text<'a>(fields: &'a Fields, name: &str, path: &str) -> Result<&'a str, Refusal> {
    match fields.get(name) {
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(not_a_job(format!("{path} is not text"))),
        None => Err(not_a_job(format!("{path} is missing"))),
    }
}

/// An object whose names are possible; `bucket_path` and `key_path` are what a refusal calls them.
pub(super) fn object(
    bucket: &str,
    key: &str,
    bucket_path: &str,
    key_path: &str,
) -> Result<ObjectId, Refusal> {
    for (name, path) in [(bucket, bucket_path), (key, key_path)] {
        if name.is_empty() {
            return Err(not_a_job(format!("{path} is empty")));
        }
    }
    if key.len() > MAX_KEY_BYTES {
        let len = key.len();
        return Err(not_a_job(format!(
            "{key_path} has {len} bytes, at most {MAX_KEY_BYTES} are possible"
        )));
    }
    Ok(ObjectId::new(bucket, key))
}

/// A number of bytes, also as text: other senders write it so.
pub(super) fn size(value: Option<&Value>, path: &str) -> Result<u64, Refusal> {
    let size = match value {
        None | Some(Value::Null) => return Err(not_a_job(format!("{path} is missing"))),
        Some(Value::String(text)) => text.parse().ok(),
        Some(value) => value.as_u64(),
    };
    // No object is near it, and no database has larger whole numbers.
    let size = size.filter(|size| i64::try_from(*size).is_ok());
    size.ok_or_else(|| not_a_job(format!("{path} is not a number of bytes")))
}

/// A version; missing, empty and `"null"` mean that there is none.
pub(super) fn version(value: Option<&Value>, path: &str) -> Result<Option<String>, Refusal> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.is_empty() || text == NO_VERSION => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(not_a_job(format!("{path} is not text"))),
    }
}

/// When an event happened. One that cannot be read tells nothing, and refuses nothing.
pub(super) fn sequencer(value: Option<&Value>) -> Option<Sequencer> {
    value.and_then(Value::as_str).and_then(Sequencer::parse)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn plain() -> Value {
        json!({"Src_bucket": "s", "Src_key": "a//b +%2F", "Des_bucket": "d", "Des_key": "p/a//b +%2F",
               "Size": 7, "versionId": "null"})
    }

    fn read(value: &Value) -> Result<Vec<Job>, String> {
        let incoming = parse(&value.to_string(), &EventTarget::default());
        incoming.map(|i| i.jobs).map_err(|refusal| refusal.to_string())
    }

    fn with(field: &str, value: Value) -> Value {
        let mut job = plain();
        job[field] = value;
        job
    }

    #[test]
    fn a_job_is_read_as_it_is() {
        let (src, des) = (ObjectId::new("s", "a//b +%2F"), ObjectId::new("d", "p/a//b +%2F"));
        let expected = Job::copy(src, des, 7, None);
        for message in [
            plain(),
            with("Size", json!("7")),
            with("Further", json!([1])),
            with("versionId", json!(null)),
            with("versionId", json!("")),
            with("Action", json!("copy")),
            with("Sequencer", json!("no number")),
        ] {
            assert_eq!(read(&message).unwrap(), std::slice::from_ref(&expected), "{message}");
        }
        let version = read(&with("versionId", json!("v1"))).unwrap().remove(0).version;
        assert_eq!(version.as_deref(), Some("v1"));
        let ordered = Job { sequencer: Sequencer::parse("0055AE"), ..expected.clone() };
        for job in [expected, ordered] {
            let again = parse(&job.to_message(), &EventTarget::default()).unwrap();
            assert_eq!(again, Incoming { jobs: vec![job], dropped: vec![] });
        }
    }

    #[test]
    fn a_refusal_names_the_field() {
        for (message, expected) in [
            (with("Src_bucket", json!("")), "Src_bucket is empty"),
            (with("Src_key", json!("")), "Src_key is empty"),
            (with("Des_bucket", json!(5)), "Des_bucket is not text"),
            (with("Des_key", json!("\u{e9}".repeat(513))), "Des_key has 1026 bytes, at most 1024"),
            (with("Size", json!(-1)), "Size is not a number of bytes"),
            (with("Size", json!(1.5)), "Size is not a number of bytes"),
            (with("Size", json!("7 B")), "Size is not a number of bytes"),
            (with("Size", json!(null)), "Size is missing"),
            (with("versionId", json!(1)), "versionId is not text"),
            (with("Action", json!("delete")), "Action of a plain job is not"),
            (json!({"Src_key": "k"}), "Src_bucket is missing"),
            (json!({"Src_bucket": "s", "Src_key": "k"}), "Des_bucket is missing"),
        ] {
            let refusal = read(&message).unwrap_err();
            assert!(refusal.starts_with(&format!("not a job: {expected}")), "{refusal}");
        }
        assert!(read(&with("Src_key", json!("k".repeat(1024)))).is_ok());
    }

    #[test]
    fn anything_else_is_refused_with_a_reason_and_not_repeated() {
        let target = EventTarget { bucket: "d".into(), ..EventTarget::default() };
        for (body, expected) in [
            ("", "not valid JSON at line 1"),
            ("hello secret", "not valid JSON at line 1"),
            ("[]", "not a JSON object"),
            ("\"secret\"", "not a JSON object"),
            ("{}", "none of the known forms"),
            (r#"{"secret":1}"#, "none of the known forms"),
            (
                r#"{"Type":"SubscriptionConfirmation","Message":"secret"}"#,
                "none of the known forms",
            ),
            (r#"{"Type":"Notification"}"#, "Message is missing"),
            (r#"{"Type":"Notification","Message":"secret"}"#, "not valid JSON"),
            (r#"{"Src_bucket":"\ud800"}"#, "not valid JSON"),
        ] {
            let refusal = parse(body, &target).unwrap_err();
            assert!(
                matches!(&refusal, Refusal::NotAJob(r) if r.starts_with(expected)),
                "{refusal}"
            );
            assert!(!refusal.to_string().contains("secret"), "{refusal}");
        }
    }

    #[test]
    fn sns_envelopes_are_opened_but_not_without_end() {
        let sns = |message: String| json!({"Type": "Notification", "Message": message}).to_string();
        let target = EventTarget::default();
        let expected = parse(&plain().to_string(), &target).unwrap();
        let mut body = plain().to_string();
        for _ in 0..MAX_ENVELOPES {
            body = sns(body);
            assert_eq!(parse(&body, &target).unwrap(), expected);
        }
        assert!(matches!(parse(&sns(body), &target), Err(Refusal::NotAJob(_))));
    }

    #[test]
    fn a_test_event_is_dropped() {
        let body = r#"{"Service":"Amazon S3","Event":"s3:TestEvent","Bucket":"b","Time":"t"}"#;
        let incoming = parse(body, &EventTarget::default()).unwrap();
        assert_eq!(incoming, Incoming { jobs: vec![], dropped: vec!["s3:TestEvent".into()] });
    }
}
