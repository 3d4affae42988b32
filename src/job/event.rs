//! S3 events: notifications, and those of EventBridge. Reading is lenient: stores differ in what
//! they leave out, how they write names, and whether they encode keys.

use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::event_names::Happened;
use super::parse::{Fields, not_a_job, object, sequencer, size};
use super::{Action, Apart, Incoming, Job, MessageRefusal, Routes, ascii_json};
use crate::format::escape::shown;
use crate::object::sequencer::Sequencer;
use crate::object::{NO_VERSION, ObjectId};

/// The events of a message. Where their objects go is not decided yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Events {
    /// The events that may become jobs.
    pub heard: Vec<Heard>,
    /// The result for all other events.
    pub incoming: Incoming,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// What happened.
    pub happened: Happened,
    /// Its name, for the log.
    pub name: String,
    /// Its object, with the most likely reading of the key.
    pub src: ObjectId,
    /// Its object with the other reading of the key, if there are two.
    pub other: Option<ObjectId>,
    /// Whether `src` has the decoded key and `other` the literal one, or the reverse.
    pub is_decoded: bool,
    /// Size in bytes, if the event has it.
    pub size: Option<u64>,
    /// The version that the event names.
    pub version: Option<String>,
    /// Its position among the events of its object.
    pub sequencer: Option<Sequencer>,
    /// A message with only this event.
    pub body: String,
}

/// A notification with all its records
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html>).
/// An invalid record is refused separately.
pub(super) fn notification(fields: &Fields) -> Result<Events, MessageRefusal> {
    let Some(Value::Array(records)) = said(fields, "Records") else {
        return Err(not_a_job("Records is not a list"));
    };
    let mut events = Events::default();
    if records.is_empty() {
        events.incoming.dropped.push("an S3 event without a record".to_owned());
    }
    for (i, record) in records.iter().enumerate() {
        // It has only text and numbers, so it can be written.
        let body = ascii_json(&json!({"Records": [record]}));
        events.add(record_of(record, &format!("Records[{i}]")), body);
    }
    Ok(events)
}

fn record_of(record: &Value, path: &str) -> Result<EventReading, MessageRefusal> {
    let Value::Object(record) = record else {
        return Err(not_a_job(format!("{path} is not a JSON object")));
    };
    let name = text(record, "eventName", path)?;
    let happened = Happened::by_name(name);
    let sender = said(record, "eventSource").and_then(Value::as_str).unwrap_or_default();
    let about = child(record, "s3", path);
    told(happened, name, about, &format!("{path}.s3"), |key| KeyReadings::of(key, sender))
}

/// An S3 event from EventBridge
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html>).
pub(super) fn event_bridge(fields: &Fields, body: &str) -> Result<Events, MessageRefusal> {
    let sender = said(fields, "source").and_then(Value::as_str).unwrap_or_default();
    if !sender.eq_ignore_ascii_case("aws.s3") {
        return Err(not_a_job("an EventBridge event whose source is not aws.s3"));
    }
    let name = text(fields, "detail-type", "")?;
    let detail = child(fields, "detail", "");
    let deletion = detail.as_ref().ok().and_then(|detail| said(detail, "deletion-type"));
    let happened = Happened::by_detail(name, deletion.and_then(Value::as_str));
    let mut events = Events::default();
    // EventBridge does not encode keys.
    let event = told(happened, name, detail, "detail", KeyReadings::literal)?;
    events.add(Ok(event), body.to_owned());
    Ok(events)
}

/// The result of reading one event.
enum EventReading {
    Heard(Box<Heard>),
    /// It needs no job; the text says why.
    Dropped(String),
}

impl Events {
    fn add(&mut self, told: Result<EventReading, MessageRefusal>, body: String) {
        match told {
            Ok(EventReading::Heard(heard)) => self.heard.push(Heard { body, ..*heard }),
            Ok(EventReading::Dropped(why)) => self.incoming.dropped.push(why),
            Err(refusal) => self.incoming.apart.push(Apart { body, refusal }),
        }
    }

    /// The jobs of these events, for every destination that `routes` gives.
    pub fn jobs(self, routes: &Routes) -> Result<Incoming, MessageRefusal> {
        let mut incoming = self.incoming;
        for heard in self.heard {
            if !heard.is_wanted(routes) {
                incoming.dropped.push(
                    heard.dropped("deletions are not propagated, since PropagateDelete is False"),
                );
                continue;
            }
            match heard.jobs(routes) {
                Ok(jobs) if jobs.is_empty() => {
                    let why = "no pair of the bucket list has a prefix that the key begins with";
                    incoming.dropped.push(heard.dropped(why));
                }
                Ok(jobs) => incoming.jobs.extend(jobs),
                Err(refusal) => incoming.apart.push(Apart { body: heard.body, refusal }),
            }
        }
        incoming.whole()
    }
}

impl Heard {
    /// Whether the event needs a job.
    pub fn is_wanted(&self, routes: &Routes) -> bool {
        match self.happened {
            Happened::Created => true,
            Happened::Deleted { .. } => routes.deletions,
            Happened::Otherwise => false,
        }
    }

    /// Whether its object was at the source when the event happened.
    pub fn is_of_something_there(&self) -> bool {
        self.happened == Happened::Created
    }

    /// Switches to the other reading of the key, if there is one.
    pub fn reread(&mut self) {
        if let Some(other) = &mut self.other {
            std::mem::swap(&mut self.src, other);
            self.is_decoded = !self.is_decoded;
        }
    }

    /// The log text that says why nothing is done about the event.
    pub fn dropped(&self, why: &str) -> String {
        format!("{} of {}: {why}", shown(&self.name), self.src)
    }

    fn jobs(&self, routes: &Routes) -> Result<Vec<Job>, MessageRefusal> {
        let job = |des: ObjectId| {
            let des = object(&des.bucket, des.key.as_str(), "Des_bucket", "Des_key")?;
            let copy =
                Job::copy(self.src.clone(), des, self.size.unwrap_or(0), self.version.clone());
            let sequencer = self.sequencer.clone();
            Ok(match self.happened {
                Happened::Deleted { for_good } => Job {
                    action: Action::Delete(None),
                    // A deletion has no size.
                    size: 0,
                    version: self.version.clone().filter(|_| for_good),
                    sequencer,
                    ..copy
                },
                Happened::Created | Happened::Otherwise => Job { sequencer, ..copy },
            })
        };
        routes.of(&self.src)?.into_iter().map(job).collect()
    }
}

/// Reads an event whose bucket and object are in `about`.
fn told(
    happened: Happened,
    name: &str,
    about: Result<&Fields, MessageRefusal>,
    path: &str,
    readings: impl Fn(&str) -> KeyReadings,
) -> Result<EventReading, MessageRefusal> {
    if happened == Happened::Otherwise {
        let id = about.ok().and_then(|about| place(about, path, &readings).ok());
        let of = id.map(|(id, _)| format!(" of {id}")).unwrap_or_default();
        return Ok(EventReading::Dropped(format!("{}{of}: no new object", shown(name))));
    }
    let about = about?;
    let (src, KeyReadings { other, is_decoded, .. }) = place(about, path, &readings)?;
    let other = other.map(|key| ObjectId::new(&*src.bucket, key));
    let object = child(about, "object", path)?;
    let deletes = matches!(happened, Happened::Deleted { .. });
    Ok(EventReading::Heard(Box::new(Heard {
        happened,
        name: name.to_owned(),
        src,
        other,
        is_decoded,
        size: if deletes { None } else { size_of(object, &format!("{path}.object.size"))? },
        version: version_of(object, &format!("{path}.object"))?,
        sequencer: sequencer(said(object, "sequencer")),
        body: String::new(),
    })))
}

/// The object that `{"bucket": {"name"}, "object": {"key"}}` names.
fn place(
    about: &Fields,
    path: &str,
    readings: impl Fn(&str) -> KeyReadings,
) -> Result<(ObjectId, KeyReadings), MessageRefusal> {
    let (bucket_path, key_path) = (format!("{path}.bucket"), format!("{path}.object"));
    let bucket = text(child(about, "bucket", path)?, "name", &bucket_path)?;
    let readings = readings(text(child(about, "object", path)?, "key", &key_path)?);
    let (bucket_path, key_path) = (format!("{bucket_path}.name"), format!("{key_path}.key"));
    let id = object(bucket, &readings.first, &bucket_path, &key_path)?;
    Ok((id, readings))
}

/// The possible readings of a key.
struct KeyReadings {
    first: String,
    other: Option<String>,
    is_decoded: bool,
}

impl KeyReadings {
    fn literal(key: &str) -> Self {
        Self { first: key.to_owned(), other: None, is_decoded: false }
    }

    /// Depends on the key and on the sender. Amazon S3, MinIO and most others encode keys like form
    /// fields: `+` for a space, and percent-encoding. Ceph does not, and called itself `aws:s3` for
    /// a long time (<https://docs.ceph.com/en/nautilus/radosgw/notifications/#events>), so in doubt
    /// the source is asked which of the two keys it has.
    fn of(key: &str, sender: &str) -> Self {
        let sender = sender.to_ascii_lowercase();
        let is_literal = ["ceph", "noobaa"].iter().any(|name| sender.contains(name));
        // An encoder would have encoded these characters.
        let is_raw = !key.bytes().all(|b| b.is_ascii_graphic()) || !has_whole_escapes(key);
        if is_raw {
            return Self::literal(key);
        }
        let blanks = key.replace('+', " ");
        // Keys are UTF-8, so a key that does not decode to UTF-8 was not encoded: `100%ff`.
        let Ok(decoded) = percent_decode_str(&blanks).decode_utf8() else {
            return Self::literal(key);
        };
        let decoded = decoded.into_owned();
        match (decoded == key, is_literal) {
            (true, _) => Self { is_decoded: !is_literal, ..Self::literal(key) },
            (false, true) => Self { other: Some(decoded), ..Self::literal(key) },
            (false, false) => {
                Self { first: decoded, other: Some(key.to_owned()), is_decoded: true }
            }
        }
    }
}

/// Whether two hexadecimal digits follow every percent sign.
fn has_whole_escapes(key: &str) -> bool {
    let digits = |rest: &[u8]| rest.len() >= 2 && rest[..2].iter().all(u8::is_ascii_hexdigit);
    let bytes = key.as_bytes();
    (0..bytes.len()).filter(|at| bytes[*at] == b'%').all(|at| digits(&bytes[at + 1..]))
}

/// MinIO omits a size of 0; if the size is missing, the source's answer decides.
fn size_of(object: &Fields, path: &str) -> Result<Option<u64>, MessageRefusal> {
    let said = said(object, "size").filter(|said| !said.is_null() && *said != "");
    let Some(said) = said else { return Ok(None) };
    // `9.0` counts as a whole number.
    let whole = said.as_f64().filter(|n| !said.is_u64() && n.fract() == 0.0);
    let whole = whole.map(|n| Value::from(format!("{n:.0}")));
    size(whole.as_ref().or(Some(said)), path).map(Some)
}

/// `versionId` in a notification, `version-id` from EventBridge. Some stores send numbers.
fn version_of(object: &Fields, path: &str) -> Result<Option<String>, MessageRefusal> {
    match said(object, "versionId").or_else(|| said(object, "version-id")) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Number(number)) => Ok(Some(number.to_string())),
        Some(Value::String(text)) if text.is_empty() || text == NO_VERSION => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(not_a_job(format!("{path}.versionId is not text"))),
    }
}

/// The field of this name, in any case: some services on the way change it.
pub(super) fn said<'a>(fields: &'a Fields, name: &str) -> Option<&'a Value> {
    fields.get(name).or_else(|| {
        fields.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    })
}

fn text<'a>(fields: &'a Fields, name: &str, path: &str) -> Result<&'a str, MessageRefusal> {
    let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match said(fields, name) {
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(not_a_job(format!("{path} is not text"))),
        None => Err(not_a_job(format!("{path} is missing"))),
    }
}

fn child<'a>(fields: &'a Fields, name: &str, path: &str) -> Result<&'a Fields, MessageRefusal> {
    let dot = if path.is_empty() { "" } else { "." };
    match said(fields, name) {
        Some(Value::Object(child)) => Ok(child),
        _ => Err(not_a_job(format!("{path}{dot}{name} is missing"))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{Opened, open, parse};
    use super::*;
    use crate::params::Pair;

    fn target() -> Routes {
        Routes { bucket: "d".into(), prefix: "p".into(), ..Routes::default() }
    }

    fn deleting() -> Routes {
        Routes { deletions: true, ..target() }
    }

    fn record(event: &str, key: &str, version: Value) -> Value {
        json!({"eventVersion": "2.1", "eventSource": "aws:s3", "eventName": event,
               "s3": {"bucket": {"name": "s", "arn": "arn:aws:s3:::s"},
                      "object": {"key": key, "size": 9, "eTag": "e", "versionId": version,
                                 "sequencer": "00A0"}}})
    }

    fn a_job(key: &str, version: Option<&str>) -> Job {
        let (src, des) = (ObjectId::new("s", key), ObjectId::new("d", format!("p/{key}")));
        let sequencer = Sequencer::parse("00A");
        Job { sequencer, ..Job::copy(src, des, 9, version.map(str::to_owned)) }
    }

    fn a_deletion(key: &str, version: Option<&str>) -> Job {
        Job { action: Action::Delete(None), size: 0, ..a_job(key, version) }
    }

    fn read(message: &Value) -> Result<Incoming, MessageRefusal> {
        parse(&message.to_string(), &target())
    }

    /// Promise 1.
    #[test]
    fn every_record_is_a_job_with_its_key_decoded_and_its_version() {
        let message = json!({"Records": [
            record("ObjectCreated:Put", "red+flower%2B%252F.jpg", json!("v1")),
            record("s3:ObjectCreated:CompleteMultipartUpload", "%C3%BC%2F%E6%96%87%0A", json!(null)),
            record("ObjectCreated:Copy", "a//b", json!("null")),
        ]});
        let expected = Incoming {
            jobs: vec![
                a_job("red flower+%2F.jpg", Some("v1")),
                a_job("\u{fc}/\u{6587}\n", None),
                a_job("a//b", None),
            ],
            ..Incoming::default()
        };
        assert_eq!(read(&message).unwrap(), expected);
        let sns = json!({"Type": "Notification", "Message": message.to_string()});
        assert_eq!(read(&sns).unwrap(), expected);
    }

    #[test]
    fn events_that_make_no_object_are_dropped_with_a_reason() {
        let message = json!({"Records": [
            record("ObjectRemoved:DeleteMarkerCreated", "a+b", json!(null)),
            record("ObjectCreated:Put", "k", json!(null)),
            record("ObjectTagging:Put", "t", json!(null)),
        ]});
        let incoming = read(&message).unwrap();
        assert_eq!(incoming.jobs, [a_job("k", None)]);
        assert_eq!(
            incoming.dropped,
            [
                "ObjectTagging:Put of s/t: no new object",
                "ObjectRemoved:DeleteMarkerCreated of s/a b: deletions are not propagated, since PropagateDelete is False"
            ]
        );
        let empty = read(&json!({"Records": []})).unwrap();
        assert_eq!((empty.jobs.len(), empty.dropped.len()), (0, 1));
    }

    // Lifecycle rules delete as users do. An event that names a version has permanently deleted it.
    /// Promise 2.
    #[test]
    fn deletions_are_jobs_where_they_are_propagated() {
        for (name, version, expected) in [
            ("ObjectRemoved:Delete", json!(null), None),
            ("s3:ObjectRemoved:Delete", json!("v1"), Some("v1")),
            ("ObjectRemoved:DeleteMarkerCreated", json!("marker"), None),
            ("LifecycleExpiration:Delete", json!("v1"), Some("v1")),
            ("LifecycleExpiration:DeleteMarkerCreated", json!("marker"), None),
        ] {
            let mut event = record(name, "a+b", version);
            event["s3"]["object"].as_object_mut().unwrap().remove("size");
            let created = record("ObjectCreated:Put", "a+b", json!(null));
            let message = json!({"Records": [event, created]}).to_string();
            let jobs = parse(&message, &deleting()).unwrap().jobs;
            assert_eq!(jobs, [a_deletion("a b", expected), a_job("a b", None)], "{name}");
        }
        for (kind, expected) in
            [("Permanently Deleted", Some("v2")), ("Delete Marker Created", None)]
        {
            let mut event = bridge("Object Deleted", "a+b");
            event["detail"]["deletion-type"] = json!(kind);
            let jobs = parse(&event.to_string(), &deleting()).unwrap().jobs;
            assert_eq!(jobs, [a_deletion("a+b", expected)], "{kind}");
        }
        let tagged = json!({"Records": [record("ObjectTagging:Delete", "t", json!(null))]});
        let incoming = parse(&tagged.to_string(), &deleting()).unwrap();
        assert_eq!(incoming.dropped, ["ObjectTagging:Delete of s/t: no new object"]);
    }

    #[test]
    fn an_event_without_a_sequencer_is_a_job_without_order() {
        for sequencer in [json!(null), json!(""), json!("no number"), json!(7)] {
            let mut event = record("ObjectCreated:Put", "k", json!(null));
            event["s3"]["object"]["sequencer"] = sequencer;
            let jobs = read(&json!({"Records": [event]})).unwrap().jobs;
            assert_eq!(jobs, [Job { sequencer: None, ..a_job("k", None) }]);
        }
    }

    fn bridge(kind: &str, key: &str) -> Value {
        json!({"version": "0", "detail-type": kind, "source": "aws.s3", "detail": {
            "bucket": {"name": "s"},
            "object": {"key": key, "size": 9, "etag": "e", "version-id": "v2", "sequencer": "00a"}}})
    }

    /// Promise 4.
    #[test]
    fn event_bridge_keys_are_not_encoded() {
        let incoming = read(&bridge("Object Created", "red flower+%2F.jpg")).unwrap();
        assert_eq!(incoming.jobs, [a_job("red flower+%2F.jpg", Some("v2"))]);
        let incoming = read(&bridge("Object Deleted", "k")).unwrap();
        assert_eq!(
            incoming.dropped,
            ["Object Deleted of s/k: deletions are not propagated, since PropagateDelete is False"]
        );
        assert!(incoming.jobs.is_empty());
        let mut other = bridge("Object Created", "k");
        other["source"] = json!("aws.ec2");
        assert!(matches!(read(&other), Err(MessageRefusal::NotAJob(_))));
    }

    #[test]
    fn without_a_destination_events_are_refused() {
        let nowhere = Routes::default();
        let message = json!({"Records": [record("ObjectCreated:Put", "k", json!(null))]});
        assert_eq!(parse(&message.to_string(), &nowhere), Err(MessageRefusal::NoDestination));
        let message = bridge("Object Created", "k").to_string();
        assert_eq!(parse(&message, &nowhere), Err(MessageRefusal::NoDestination));
        let removed = json!({"Records": [record("ObjectRemoved:Delete", "k", json!(null))]});
        assert!(parse(&removed.to_string(), &nowhere).is_ok());
        let nowhere = Routes { deletions: true, ..nowhere };
        assert_eq!(parse(&removed.to_string(), &nowhere), Err(MessageRefusal::NoDestination));
    }

    /// Promise 1.
    #[test]
    fn one_bad_record_goes_by_itself_and_is_named() {
        let good = record("ObjectCreated:Put", "k", json!(null));
        for (path, value, expected) in [
            ("/s3/object/key", json!(""), "Records[1].s3.object.key is empty"),
            ("/s3/object/size", json!("x"), "Records[1].s3.object.size is not a number"),
            ("/s3/object/size", json!(-1), "Records[1].s3.object.size is not a number"),
            ("/s3/object", json!(1), "Records[1].s3.object is missing"),
            ("/s3/bucket/name", json!(null), "Records[1].s3.bucket.name is not text"),
            (
                "/s3/bucket/name",
                json!("a\nb"),
                "Records[1].s3.bucket.name is not the name of a bucket",
            ),
            ("/s3", json!(null), "Records[1].s3 is missing"),
            ("/eventName", json!(null), "Records[1].eventName is not text"),
            ("/s3/object/key", json!("k".repeat(1024)), "Des_key has 1026 bytes"),
        ] {
            let mut bad = good.clone();
            *bad.pointer_mut(path).unwrap() = value;
            let incoming = read(&json!({"Records": [good, bad, good]})).unwrap();
            assert_eq!(incoming.jobs, [a_job("k", None), a_job("k", None)]);
            let [apart] = incoming.apart.as_slice() else { panic!("{incoming:?}") };
            let refusal = apart.refusal.to_string();
            assert!(refusal.contains(expected), "{refusal}");
            // On its own it is refused as a whole, for the same reason.
            let alone = parse(&apart.body, &target()).unwrap_err().to_string();
            assert_eq!(alone, refusal.replace("Records[1]", "Records[0]"));
            assert!(apart.body.is_ascii());
        }
        assert!(read(&json!({"Records": {}})).is_err());
        let both = read(&json!({"Records": [5, {}]})).unwrap();
        assert_eq!((both.jobs.len(), both.apart.len()), (0, 2));
    }

    // Fields that MinIO, Ceph and others omit, add, or write differently.
    /// Promise 1.
    #[test]
    fn odd_forms_of_one_event_are_read() {
        let plain = |size| Job { size, ..a_job("k", None) };
        let with = |path: &str, value: Value| {
            let mut event = record("ObjectCreated:Put", "k", json!(null));
            *event.pointer_mut(path).unwrap() = value;
            event
        };
        let without = |name: &str| {
            let mut event = record("ObjectCreated:Put", "k", json!(null));
            event["s3"]["object"].as_object_mut().unwrap().remove(name);
            event
        };
        for (event, expected) in [
            (without("size"), plain(0)),
            (with("/s3/object/size", json!(null)), plain(0)),
            (with("/s3/object/size", json!("")), plain(0)),
            (with("/s3/object/size", json!("9")), plain(9)),
            (with("/s3/object/size", json!(9.0)), plain(9)),
            (without("versionId"), plain(9)),
            (with("/s3/object/versionId", json!("")), plain(9)),
            (with("/s3/object/versionId", json!(7)), a_job("k", Some("7"))),
            (without("eTag"), plain(9)),
            (with("/s3/object/eTag", json!("\"e\"")), plain(9)),
            (without("sequencer"), Job { sequencer: None, ..plain(9) }),
            (with("/eventSource", json!("another:s3")), plain(9)),
            (with("/eventSource", json!(null)), plain(9)),
            (with("/eventName", json!("s3:ObjectCreated:Post")), plain(9)),
            (with("/eventName", json!("ObjectRestore:Completed")), plain(9)),
        ] {
            let message = json!({"EventName": "x", "Key": "s/k", "Records": [event]});
            assert_eq!(read(&message).unwrap().jobs, [expected], "{message}");
        }
        let lower = r#"{"records":[{"eventname":"s3:ObjectCreated:Put","s3":{"bucket":{"name":"s"},
            "object":{"key":"k","Size":9,"sequencer":"00A0"}}}]}"#;
        assert_eq!(parse(lower, &target()).unwrap().jobs, [plain(9)]);
        let unknown = json!({"Records": [{"eventName": "Brand:New\n"}]});
        assert_eq!(read(&unknown).unwrap().dropped, ["Brand:New\\n: no new object"]);
    }

    // A key with one reading has only that; a key with two has both, the likelier for its store
    // first.
    /// Promise 4.
    #[test]
    fn keys_are_read_as_their_stores_write_them() {
        for (sender, key, first, other) in [
            ("aws:s3", "k", "k", None),
            ("aws:s3", "a+b", "a b", Some("a+b")),
            ("aws:s3", "a%2Bb", "a+b", Some("a%2Bb")),
            ("minio:s3", "a%2Fb", "a/b", Some("a%2Fb")),
            ("", "a+b", "a b", Some("a+b")),
            // No encoder produces these.
            ("aws:s3", "50% off", "50% off", None),
            ("aws:s3", "50%off", "50%off", None),
            ("aws:s3", "100%", "100%", None),
            ("aws:s3", "%4", "%4", None),
            ("aws:s3", "100%ff+.txt", "100%ff+.txt", None),
            ("ceph:s3", "100%ff", "100%ff", None),
            ("aws:s3", "\u{fc}%41", "\u{fc}%41", None),
            ("aws:s3", "a\nb+", "a\nb+", None),
            ("ceph:s3", "k", "k", None),
            ("ceph:s3", "a+b", "a+b", Some("a b")),
            ("ceph:s3", "%41", "%41", Some("A")),
            ("noobaa:s3", "a+b", "a+b", Some("a b")),
        ] {
            let mut event = record("ObjectCreated:Put", key, json!(null));
            event["eventSource"] = json!(sender);
            let message = json!({"Records": [event]}).to_string();
            let Ok(Opened::Events(events)) = open(&message) else { panic!("{message}") };
            let [heard] = events.heard.as_slice() else { panic!("{message}") };
            let other = other.map(|key| ObjectId::new("s", key));
            assert_eq!(heard.src, ObjectId::new("s", first), "{sender} {key}");
            assert_eq!(heard.other, other, "{sender} {key}");
            let mut again = heard.clone();
            again.reread();
            assert_eq!(other.is_some(), again != *heard, "{sender} {key}");
            again.reread();
            assert_eq!(again, *heard);
        }
    }

    /// Promise 1.
    #[test]
    fn an_event_goes_to_every_place_that_a_comparison_would_copy_to() {
        let pair = |src: &str, prefix: &str, des: &str| Pair {
            src_bucket: src.into(),
            src_prefix: prefix.into(),
            des_bucket: des.into(),
            des_prefix: String::new(),
            strip: false,
        };
        let pairs = vec![pair("s", "a/", "d1"), pair("s", "a/b", "d2")];
        let routes = Routes { pairs, ..target() };
        let event = |bucket: &str, key: &str| {
            let mut event = record("ObjectCreated:Put", key, json!(null));
            event["s3"]["bucket"]["name"] = json!(bucket);
            event
        };
        let all = [event("s", "a/b"), event("s", "a/c"), event("s", "else"), event("other", "a/b")];
        let incoming = parse(&json!({"Records": all}).to_string(), &routes).unwrap();
        let places: Vec<String> = incoming.jobs.iter().map(|job| job.des.to_string()).collect();
        assert_eq!(places, ["d1/a/b", "d2/a/b", "d1/a/c"]);
        assert!(incoming.dropped[0].contains("of s/else: no pair"), "{incoming:?}");
        assert_eq!(incoming.apart[0].refusal, MessageRefusal::NotListed("other".into()));
    }
}
