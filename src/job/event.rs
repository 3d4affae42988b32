//! The events of S3: notifications, and EventBridge's "Object Created" and "Object Deleted".

use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::message::{Fields, not_a_job, object, sequencer, size, text, version};
use super::{Action, EventTarget, Incoming, Job, Refusal};
use crate::object::{ObjectId, destination_key};

/// A notification with all its records
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html>).
/// One record that is not as it must be refuses the message: it is carried out whole or not at all.
pub(super) fn notification(fields: &Fields, target: &EventTarget) -> Result<Incoming, Refusal> {
    let Some(Value::Array(records)) = fields.get("Records") else {
        return Err(not_a_job("Records is not a list"));
    };
    let mut incoming = Incoming::default();
    if records.is_empty() {
        incoming.dropped.push("an S3 event without a record".to_owned());
    }
    for (i, record) in records.iter().enumerate() {
        let path = format!("Records[{i}]");
        let Value::Object(record) = record else {
            return Err(not_a_job(format!("{path} is not a JSON object")));
        };
        let name = text(record, "eventName", &format!("{path}.eventName"))?;
        let s3 = child(record, "s3", &path)?;
        let path = format!("{path}.s3");
        let told = Told { name, about: s3, path: &path, form: &NOTIFICATION };
        told.into(happened(name), target, &mut incoming)?;
    }
    Ok(incoming)
}

/// An event of S3 by way of EventBridge
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html>).
pub(super) fn event_bridge(fields: &Fields, target: &EventTarget) -> Result<Incoming, Refusal> {
    if fields.get("source").and_then(Value::as_str) != Some("aws.s3") {
        return Err(not_a_job("an EventBridge event whose source is not aws.s3"));
    }
    let name = text(fields, "detail-type", "detail-type")?;
    let Some(Value::Object(detail)) = fields.get("detail") else {
        return Err(not_a_job("detail is missing"));
    };
    let happened = match name {
        "Object Created" => Happened::Created,
        // A version that is named is deleted for good, unless it is the marker that hides the others.
        "Object Deleted" => {
            let marker = detail.get("deletion-type").and_then(Value::as_str);
            Happened::Deleted { for_good: marker != Some("Delete Marker Created") }
        }
        _ => Happened::Otherwise,
    };
    let mut incoming = Incoming::default();
    let told = Told { name, about: detail, path: "detail", form: &EVENT_BRIDGE };
    told.into(happened, target, &mut incoming)?;
    Ok(incoming)
}

/// What an event is about.
#[derive(Clone, Copy)]
enum Happened {
    Created,
    Deleted {
        /// A version is gone, if there are versions; else a delete marker came on top of them.
        for_good: bool,
    },
    Otherwise,
}

/// By the name of a notification
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-how-to-event-types-and-destinations.html>).
fn happened(name: &str) -> Happened {
    // MinIO and others write the name with the prefix that subscriptions have.
    let name = name.strip_prefix("s3:").unwrap_or(name);
    let (family, kind) = name.split_once(':').unwrap_or((name, ""));
    match family {
        "ObjectCreated" => Happened::Created,
        "ObjectRemoved" | "LifecycleExpiration" => {
            Happened::Deleted { for_good: kind != "DeleteMarkerCreated" }
        }
        _ => Happened::Otherwise,
    }
}

/// In what the two forms differ.
struct Form {
    version_field: &'static str,
    key: fn(&str) -> Option<String>,
}

/// Keys are encoded like a form's fields: `+` for a blank, and percent signs.
const NOTIFICATION: Form = Form {
    version_field: "versionId",
    key: |key| {
        let key = key.replace('+', " ");
        percent_decode_str(&key).decode_utf8().ok().map(|key| key.into_owned())
    },
};

/// Keys are not encoded.
const EVENT_BRIDGE: Form = Form { version_field: "version-id", key: |key| Some(key.to_owned()) };

/// One event and where its parts are.
struct Told<'a> {
    name: &'a str,
    /// What has `bucket` and `object`.
    about: &'a Fields,
    /// What a refusal calls it.
    path: &'a str,
    form: &'a Form,
}

impl Told<'_> {
    fn into(
        self,
        happened: Happened,
        target: &EventTarget,
        incoming: &mut Incoming,
    ) -> Result<(), Refusal> {
        match happened {
            Happened::Created => incoming.jobs.push(self.copy(target)?),
            Happened::Deleted { for_good } if target.deletions => {
                incoming.jobs.push(self.deletion(for_good, target)?);
            }
            Happened::Deleted { .. } => {
                incoming.dropped.push(self.dropped("deletions stay, PropagateDelete is False")?);
            }
            Happened::Otherwise => incoming.dropped.push(self.dropped("no new object")?),
        }
        Ok(())
    }
}

/// The object that `{"bucket": {"name"}, "object": {"key"}}` speaks of.
fn source(fields: &Fields, path: &str, form: &Form) -> Result<ObjectId, Refusal> {
    let bucket_path = format!("{path}.bucket.name");
    let bucket = text(child(fields, "bucket", path)?, "name", &bucket_path)?;
    let key_path = format!("{path}.object.key");
    let key = text(child(fields, "object", path)?, "key", &key_path)?;
    let Some(key) = (form.key)(key) else {
        return Err(not_a_job(format!("{key_path} is not UTF-8 when decoded")));
    };
    object(bucket, &key, &bucket_path, &key_path)
}

impl Told<'_> {
    /// Where the object is, and where it goes.
    fn places(&self, target: &EventTarget) -> Result<(ObjectId, ObjectId), Refusal> {
        if target.bucket.is_empty() {
            return Err(Refusal::NoDestination);
        }
        let src = source(self.about, self.path, self.form)?;
        let des_key = destination_key(&target.prefix, &src.key);
        let des = object(&target.bucket, des_key.as_str(), "Des_bucket", "Des_key")?;
        Ok((src, des))
    }

    fn copy(&self, target: &EventTarget) -> Result<Job, Refusal> {
        let (src, des) = self.places(target)?;
        let object = child(self.about, "object", self.path)?;
        let size = size(object.get("size"), &format!("{}.object.size", self.path))?;
        let sequencer = sequencer(object.get("sequencer"));
        Ok(Job { sequencer, ..Job::copy(src, des, size, self.version(object)?) })
    }

    /// A deletion has no size.
    fn deletion(&self, for_good: bool, target: &EventTarget) -> Result<Job, Refusal> {
        let (src, des) = self.places(target)?;
        let object = child(self.about, "object", self.path)?;
        let (action, size) = (Action::Delete(None), 0);
        let version = self.version(object)?.filter(|_| for_good);
        Ok(Job { action, src, des, size, version, sequencer: sequencer(object.get("sequencer")) })
    }

    fn version(&self, object: &Fields) -> Result<Option<String>, Refusal> {
        let field = self.form.version_field;
        version(object.get(field), &format!("{}.object.{field}", self.path))
    }

    /// Why nothing is done about it.
    fn dropped(&self, why: &str) -> Result<String, Refusal> {
        let id = source(self.about, self.path, self.form)?;
        let name = self.name.chars().map(|c| if c.is_control() { '?' } else { c });
        Ok(format!("{} of {id}: {why}", name.collect::<String>()))
    }
}

fn child<'a>(fields: &'a Fields, name: &str, path: &str) -> Result<&'a Fields, Refusal> {
    match fields.get(name) {
        Some(Value::Object(child)) => Ok(child),
        _ => Err(not_a_job(format!("{path}.{name} is missing"))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::parse;
    use super::*;
    use crate::sequencer::Sequencer;

    fn target() -> EventTarget {
        EventTarget { bucket: "d".into(), prefix: "p".into(), deletions: false }
    }

    fn deleting() -> EventTarget {
        EventTarget { deletions: true, ..target() }
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

    fn read(message: &Value) -> Result<Incoming, Refusal> {
        parse(&message.to_string(), &target())
    }

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
            dropped: vec![],
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
                "ObjectRemoved:DeleteMarkerCreated of s/a b: deletions stay, PropagateDelete is False",
                "ObjectTagging:Put of s/t: no new object"
            ]
        );
        let empty = read(&json!({"Records": []})).unwrap();
        assert_eq!((empty.jobs.len(), empty.dropped.len()), (0, 1));
    }

    // Lifecycle rules delete as users do. What names a version has deleted that one for good.
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

    #[test]
    fn event_bridge_keys_are_not_encoded() {
        let incoming = read(&bridge("Object Created", "red flower+%2F.jpg")).unwrap();
        assert_eq!(incoming.jobs, [a_job("red flower+%2F.jpg", Some("v2"))]);
        let incoming = read(&bridge("Object Deleted", "k")).unwrap();
        assert_eq!(
            incoming.dropped,
            ["Object Deleted of s/k: deletions stay, PropagateDelete is False"]
        );
        assert!(incoming.jobs.is_empty());
        let mut other = bridge("Object Created", "k");
        other["source"] = json!("aws.ec2");
        assert!(matches!(read(&other), Err(Refusal::NotAJob(_))));
    }

    #[test]
    fn without_a_destination_events_are_refused() {
        let nowhere = EventTarget::default();
        let message = json!({"Records": [record("ObjectCreated:Put", "k", json!(null))]});
        assert_eq!(parse(&message.to_string(), &nowhere), Err(Refusal::NoDestination));
        let message = bridge("Object Created", "k").to_string();
        assert_eq!(parse(&message, &nowhere), Err(Refusal::NoDestination));
        let removed = json!({"Records": [record("ObjectRemoved:Delete", "k", json!(null))]});
        assert!(parse(&removed.to_string(), &nowhere).is_ok());
        let nowhere = EventTarget { deletions: true, ..nowhere };
        assert_eq!(parse(&removed.to_string(), &nowhere), Err(Refusal::NoDestination));
    }

    #[test]
    fn one_bad_record_refuses_the_message_and_is_named() {
        let good = record("ObjectCreated:Put", "k", json!(null));
        for (path, value, expected) in [
            ("/s3/object/key", json!("%ff"), "Records[1].s3.object.key is not UTF-8"),
            ("/s3/object/key", json!(""), "Records[1].s3.object.key is empty"),
            ("/s3/object/size", json!("x"), "Records[1].s3.object.size is not a number"),
            ("/s3/object", json!(1), "Records[1].s3.object is missing"),
            ("/s3/bucket/name", json!(null), "Records[1].s3.bucket.name is not text"),
            ("/s3", json!(null), "Records[1].s3 is missing"),
            ("/eventName", json!(null), "Records[1].eventName is not text"),
            ("/s3/object/key", json!("k".repeat(1024)), "Des_key has 1026 bytes"),
        ] {
            let mut bad = good.clone();
            *bad.pointer_mut(path).unwrap() = value;
            let refusal = read(&json!({"Records": [good, bad]})).unwrap_err().to_string();
            assert!(refusal.contains(expected), "{refusal}");
        }
        assert!(read(&json!({"Records": {}})).is_err());
    }
}
