//! Events as AWS and other stores send them, read and routed.

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
    for (kind, expected) in [("Permanently Deleted", Some("v2")), ("Delete Marker Created", None)] {
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
        ("/s3/bucket/name", json!("a\nb"), "Records[1].s3.bucket.name is not the name of a bucket"),
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
