//! Distinguishes the forms of messages, and reads the plain job.

use serde_json::{Map, Value};

use super::{Events, Incoming, Job, MessageRefusal, Routes, event, pack};
use crate::format::escape::shown;
use crate::object::is_bucket_name;
use crate::object::sequencer::Sequencer;
use crate::object::{MAX_KEY_BYTES, NO_VERSION, ObjectId};

pub(super) type Fields = Map<String, Value>;

/// Maximum number of nested envelopes: EventBridge or S3 within SNS is one; more than a few is a
/// loop.
const MAX_ENVELOPES: usize = 3;

/// A message whose form is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// Jobs that name their destinations, or nothing to do.
    Incoming(Incoming),
    /// Events, which name no destinations.
    Events(Events),
}

/// Reads a message in any of the forms that a worker understands; `routes` decides where events go.
pub fn parse(body: &str, routes: &Routes) -> Result<Incoming, MessageRefusal> {
    match open(body)? {
        Opened::Incoming(incoming) => Ok(incoming),
        Opened::Events(events) => events.jobs(routes),
    }
}

/// Reads a message as far as possible without knowing where events go.
pub fn open(body: &str) -> Result<Opened, MessageRefusal> {
    opened(body, 0)
}

fn opened(body: &str, envelopes: usize) -> Result<Opened, MessageRefusal> {
    let body = body.trim_start_matches('\u{feff}');
    let value: Value = serde_json::from_str(body).map_err(|e| {
        not_a_job(format!("not valid JSON at line {} column {}", e.line(), e.column()))
    })?;
    let Value::Object(fields) = value else { return Err(not_a_job("not a JSON object")) };
    let has = |name: &str| fields.contains_key(name);
    if has(pack::VERSION_FIELD) {
        return pack::read(&fields).map(Opened::Incoming);
    }
    if has("Src_key") || has("Src_bucket") {
        let jobs = vec![job(&fields)?];
        return Ok(Opened::Incoming(Incoming { jobs, ..Incoming::default() }));
    }
    let said = |name: &str| event::said(&fields, name);
    let says = |name: &str| said(name).and_then(Value::as_str);
    if said("Records").is_some() {
        return event::notification(&fields).map(Opened::Events);
    }
    if said("detail-type").is_some() {
        return event::event_bridge(&fields, body).map(Opened::Events);
    }
    if says("Event").is_some_and(|event| event.ends_with("TestEvent")) {
        return Ok(Opened::Incoming(Incoming::nothing("s3:TestEvent")));
    }
    match (says("Type").unwrap_or_default(), says("Message")) {
        ("Notification", Some(_)) if envelopes == MAX_ENVELOPES => {
            Err(not_a_job("too many nested SNS envelopes"))
        }
        ("Notification", Some(inner)) => opened(inner, envelopes + 1),
        ("Notification", None) => {
            let is = if said("Message").is_some() { "not text" } else { "missing" };
            Err(not_a_job(format!("Message is {is}")))
        }
        (kind @ ("SubscriptionConfirmation" | "UnsubscribeConfirmation"), _) => {
            let notices = vec![subscription(kind, says("TopicArn").unwrap_or("without a name"))];
            Ok(Opened::Incoming(Incoming { notices, ..Incoming::default() }))
        }
        _ => Err(not_a_job("none of the known forms: no Src_bucket, Records, detail-type or Type")),
    }
}

/// What SNS asks the owner of the queue to do
/// (<https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html>). Its token is a
/// secret, and so is its URL, which contains the token.
fn subscription(kind: &str, topic: &str) -> String {
    let topic = shown(topic);
    match kind {
        "SubscriptionConfirmation" => format!(
            "SNS topic {topic} waits for its subscription to be confirmed and sends nothing until \
             then: subscribe this queue again from its own account (aws sns subscribe --topic-arn \
             ... --protocol sqs --notification-endpoint ARN_OF_THE_QUEUE), which needs no \
             confirmation"
        ),
        _ => format!(
            "the queue's subscription to SNS topic {topic} was deleted: it sends nothing any \
             more; if that was not intended, subscribe the queue again (aws sns subscribe)"
        ),
    }
}

/// The plain job; ignores other fields, except one that asks for anything but a copy.
fn job(fields: &Fields) -> Result<Job, MessageRefusal> {
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

pub(super) fn not_a_job(reason: impl Into<String>) -> MessageRefusal {
    MessageRefusal::NotAJob(reason.into())
}

/// The text in the field `name`; a refusal calls it `path`.
pub(super) fn text<'a>(
    fields: &'a Fields,
    name: &str,
    path: &str,
) -> Result<&'a str, MessageRefusal> {
    match fields.get(name) {
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(not_a_job(format!("{path} is not text"))),
        None => Err(not_a_job(format!("{path} is missing"))),
    }
}

/// An object, if its names are valid; refusals call them `bucket_path` and `key_path`.
pub(super) fn object(
    bucket: &str,
    key: &str,
    bucket_path: &str,
    key_path: &str,
) -> Result<ObjectId, MessageRefusal> {
    for (name, path) in [(bucket, bucket_path), (key, key_path)] {
        if name.is_empty() {
            return Err(not_a_job(format!("{path} is empty")));
        }
    }
    if !is_bucket_name(bucket) {
        return Err(not_a_job(format!("{bucket_path} is not the name of a bucket")));
    }
    if key.len() > MAX_KEY_BYTES {
        let len = key.len();
        return Err(not_a_job(format!(
            "{key_path} has {len} bytes, at most {MAX_KEY_BYTES} are allowed"
        )));
    }
    Ok(ObjectId::new(bucket, key))
}

/// A number of bytes, also as text, as some senders write it.
pub(super) fn size(value: Option<&Value>, path: &str) -> Result<u64, MessageRefusal> {
    let size = match value {
        None | Some(Value::Null) => return Err(not_a_job(format!("{path} is missing"))),
        Some(Value::String(text)) => text.parse().ok(),
        Some(value) => value.as_u64(),
    };
    // No object comes near this limit, and no database stores larger integers.
    let size = size.filter(|size| i64::try_from(*size).is_ok());
    size.ok_or_else(|| not_a_job(format!("{path} is not a number of bytes")))
}

/// A version; missing, empty and `"null"` mean that there is none.
pub(super) fn version(value: Option<&Value>, path: &str) -> Result<Option<String>, MessageRefusal> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.is_empty() || text == NO_VERSION => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(not_a_job(format!("{path} is not text"))),
    }
}

/// The position of an event. An unreadable one is ignored; it does not refuse the message.
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
        let incoming = parse(&value.to_string(), &Routes::default());
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
            let again = parse(&job.to_message(), &Routes::default()).unwrap();
            assert_eq!(again, Incoming { jobs: vec![job], ..Incoming::default() });
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

    /// Promise 1.
    #[test]
    fn anything_else_is_refused_with_a_reason_and_not_repeated() {
        let target = Routes { bucket: "d".into(), ..Routes::default() };
        for (body, expected) in [
            ("", "not valid JSON at line 1"),
            ("hello secret", "not valid JSON at line 1"),
            ("[]", "not a JSON object"),
            ("\"secret\"", "not a JSON object"),
            ("{}", "none of the known forms"),
            (r#"{"secret":1}"#, "none of the known forms"),
            (r#"{"Type":"Secret","Message":"secret"}"#, "none of the known forms"),
            (r#"{"Src_bucket":"s e","Src_key":"secret"}"#, "Src_bucket is not the name"),
            (r#"{"Type":"Notification"}"#, "Message is missing"),
            (r#"{"Type":"Notification","Message":"secret"}"#, "not valid JSON"),
            (r#"{"Src_bucket":"\ud800"}"#, "not valid JSON"),
        ] {
            let refusal = parse(body, &target).unwrap_err();
            assert!(
                matches!(&refusal, MessageRefusal::NotAJob(r) if r.starts_with(expected)),
                "{refusal}"
            );
            assert!(!refusal.to_string().contains("secret"), "{refusal}");
        }
    }

    #[test]
    fn sns_envelopes_are_opened_but_not_without_end() {
        let sns = |message: String| json!({"Type": "Notification", "Message": message}).to_string();
        let target = Routes::default();
        let expected = parse(&plain().to_string(), &target).unwrap();
        let mut body = plain().to_string();
        for _ in 0..MAX_ENVELOPES {
            body = sns(body);
            assert_eq!(parse(&body, &target).unwrap(), expected);
        }
        assert!(matches!(parse(&sns(body), &target), Err(MessageRefusal::NotAJob(_))));
    }

    #[test]
    fn a_test_event_is_dropped() {
        let body = r#"{"Service":"Amazon S3","Event":"s3:TestEvent","Bucket":"b","Time":"t"}"#;
        let sns = json!({"Type": "Notification", "Message": body}).to_string();
        for body in [body, &sns] {
            let incoming = parse(body, &Routes::default()).unwrap();
            assert_eq!(incoming, Incoming::nothing("s3:TestEvent"));
        }
    }

    #[test]
    fn what_sns_asks_is_said_without_its_token() {
        for (kind, expected) in [
            ("SubscriptionConfirmation", "waits for its subscription to be confirmed"),
            ("UnsubscribeConfirmation", "was deleted"),
        ] {
            let message = json!({
                "Type": kind, "TopicArn": "arn:aws:sns:us-east-1:1:t\n\u{202e}", "Token": "SECRET",
                "Message": "You have chosen", "SubscribeURL": "https://sns/?Token=SECRET"});
            let incoming = parse(&message.to_string(), &Routes::default()).unwrap();
            let [notice] = incoming.notices.as_slice() else { panic!("{incoming:?}") };
            assert!(notice.contains(expected), "{notice}");
            assert!(notice.contains("arn:aws:sns:us-east-1:1:t\\n\\u{202e}"), "{notice}");
            assert!(!notice.contains("SECRET"), "{notice}");
            assert_eq!(
                incoming,
                Incoming { notices: incoming.notices.clone(), ..Incoming::default() }
            );
        }
    }
}
