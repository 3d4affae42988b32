//! A record as an item of the table: the original's attributes and the added ones.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_dynamodb::types::AttributeValue;
use md5::{Digest, Md5};

use crate::error::{Error, Result};
use crate::object::{NO_VERSION, ObjectId};
use crate::record::rules::{Column, Kind, Row, Value};
use crate::record::{JobStatus, Record, RecordId};

/// An error text is cut to this many bytes: an item is billed by the kibibyte.
const MAX_ERROR: usize = 1024;

/// An item as the SDK gives it.
pub(super) type Item = HashMap<String, AttributeValue>;

/// The partition key of the original: the source, byte for byte (`Display` would escape control
/// characters).
pub(super) fn primary_key(id: &RecordId) -> String {
    format!("{}/{}", id.src.bucket, id.src.key.as_str())
}

/// The partition key of a record whose primary key belongs to another destination of the same
/// source. The destination is hashed, because two keys of 1,024 bytes would not fit into the 2,048
/// bytes of a partition key.
pub(super) fn alternate_key(id: &RecordId) -> String {
    primary_key(id) + &alternate_suffix(&id.des)
}

fn alternate_suffix(des: &ObjectId) -> String {
    let digest = Md5::digest(format!("{}/{}", des.bucket, des.key.as_str()));
    format!(" -> {}", hex::encode(digest))
}

/// The attributes that name source and destination, next to the key.
pub(super) fn identity(id: &RecordId) -> [(&'static str, &str); 3] {
    [
        ("srcBucket", id.src.bucket.as_str()),
        ("desBucket", id.des.bucket.as_str()),
        ("desKey", id.des.key.as_str()),
    ]
}

/// Whether the item is the record of `id` and not of another destination of the same source.
pub(super) fn is_of(item: &Item, id: &RecordId) -> bool {
    text(item, "desBucket") == Some(id.des.bucket.as_str())
        && text(item, "desKey") == Some(id.des.key.as_str())
}

/// An attribute of type S.
pub(super) fn text<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    item.get(name)?.as_s().ok().map(String::as_str)
}

/// The text of a column. The original collects `instanceID`, `startTime_f` and `jobStatus` of all
/// attempts in sets of strings.
fn text_of(item: &Item, column: Column) -> Option<Value<'_>> {
    match item.get(column.name())? {
        AttributeValue::S(text) => Some(Value::text(text)),
        AttributeValue::Ss(all) if column == Column::Status => status_of(item, all),
        AttributeValue::Ss(all) => Some(Value::Text(Cow::Owned(all.join(", ")))),
        _ => None,
    }
}

/// The status that a set of the original says. The set has no order: once `DONE` is in it, the
/// progress tells whether another attempt has begun since, because a success sets it to 100 and
/// a beginning sets it to what is already there.
fn status_of<'a>(item: &Item, all: &'a [String]) -> Option<Value<'a>> {
    let done = JobStatus::Done.as_str();
    let progress = number(item, Column::Progress.name()).map(|percent| percent.as_secs());
    match all.iter().find(|status| *status == done) {
        Some(done) if progress.is_none_or(|percent| percent == 100) => Some(Value::text(done)),
        Some(_) => Some(Value::text(JobStatus::Running.as_str())),
        None => all.first().map(|status| Value::text(status)),
    }
}

/// An attribute of type N, never negative here, with up to nine decimals.
fn number(item: &Item, name: &str) -> Option<Duration> {
    let number = item.get(name)?.as_n().ok()?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let nanos: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    Some(Duration::new(whole.parse().ok()?, nanos.parse().ok()?))
}

/// Seconds with as many decimals as needed: nothing is lost in a round trip, and a whole number has
/// the original's form.
fn seconds(duration: Duration) -> String {
    match duration.subsec_nanos() {
        0 => duration.as_secs().to_string(),
        nanos => {
            let number = format!("{}.{nanos:09}", duration.as_secs());
            number.trim_end_matches('0').to_owned()
        }
    }
}

/// Seconds since 1970.
pub(super) fn epoch(time: SystemTime) -> String {
    seconds(time.duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// The value of a flag that is set.
const YES: &str = "True";

/// A column's value as an attribute.
pub(super) fn attribute(column: Column, value: &Value<'_>) -> AttributeValue {
    let text = |text: &str| AttributeValue::S(text.to_owned());
    match value {
        Value::Text(error) if column == Column::LastError => {
            text(&error[..error.floor_char_boundary(MAX_ERROR)])
        }
        Value::Text(value) => text(value),
        Value::Yes => text(YES),
        Value::NoVersion => text(NO_VERSION),
        Value::Number(number) => AttributeValue::N(number.to_string()),
        Value::Time(time) => AttributeValue::N(epoch(*time)),
        Value::Span(span) => AttributeValue::N(seconds(*span)),
    }
}

/// The item's columns. An attribute of another type than ours counts as absent.
pub(super) fn row(item: &Item) -> Row<'_> {
    let mut row = Row::default();
    for column in Column::ALL {
        let name = column.name();
        *row.slot(column) = match column.kind() {
            Kind::Text => text_of(item, column),
            Kind::Version => text(item, name).map(|version| match version {
                NO_VERSION => Value::NoVersion,
                version => Value::text(version),
            }),
            Kind::Number => number(item, name).map(|number| Value::Number(number.as_secs())),
            Kind::Time => {
                number(item, name).and_then(|since| UNIX_EPOCH.checked_add(since)).map(Value::Time)
            }
            Kind::Span => number(item, name).map(Value::Span),
            Kind::Flag => (text(item, name) == Some(YES)).then_some(Value::Yes),
        };
    }
    row
}

/// Reads an item. Attributes that the original does not write may be missing; only the names are
/// required.
pub(super) fn record(item: &Item) -> Result<Record> {
    let key = text(item, "Key").unwrap_or_default();
    let demanded = |name| {
        text(item, name)
            .ok_or_else(|| Error::invalid(format!("the record {key:?} in the table has no {name}")))
    };
    let des = ObjectId::new(demanded("desBucket")?, demanded("desKey")?);
    let src = source(demanded("Key")?, text(item, "srcBucket"), &des)?;
    Ok(row(item).record(RecordId { src, des }))
}

/// The source that a partition key names. The bucket may be an access point's ARN, which contains a
/// `/`; therefore it is stored as an attribute. The original has no such attribute and no such
/// buckets.
pub(super) fn source(key: &str, bucket: Option<&str>, des: &ObjectId) -> Result<ObjectId> {
    let split = match bucket {
        Some(bucket) => {
            key.strip_prefix(bucket).and_then(|k| k.strip_prefix('/')).map(|k| (bucket, k))
        }
        None => key.split_once('/'),
    };
    let (bucket, key) = split
        .ok_or_else(|| Error::invalid(format!("a record's Key is not bucket/key: {key:?}")))?;
    let suffix = alternate_suffix(des);
    Ok(ObjectId::new(bucket, key.strip_suffix(suffix.as_str()).unwrap_or(key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(src: &str, des: &str) -> RecordId {
        RecordId { src: ObjectId::new("src", src), des: ObjectId::new("des", des) }
    }

    /// Promise 4.
    #[test]
    fn keys_fit_the_table_and_lead_back_to_the_source() {
        let long = id(&"ü".repeat(512), &"文".repeat(341));
        assert!(alternate_key(&long).len() <= 2048);
        assert_ne!(alternate_key(&id("k", "a")), alternate_key(&id("k", "b")));
        for id in [id("a//b", "x"), id("/lead", "y"), id("k\n", "z"), long] {
            for key in [primary_key(&id), alternate_key(&id)] {
                assert_eq!(source(&key, Some("src"), &id.des).ok(), Some(id.src.clone()));
                assert_eq!(source(&key, None, &id.des).ok(), Some(id.src.clone()));
            }
        }
        let point = "arn:aws:s3:eu-west-1:1:accesspoint/p";
        let src = source(&format!("{point}/k/l"), Some(point), &id("", "").des).ok();
        assert_eq!(src, Some(ObjectId::new(point, "k/l")));
    }

    #[test]
    fn times_come_back_to_the_nanosecond() {
        for (duration, expected) in [
            (Duration::from_secs(1_700_000_000), "1700000000"),
            (Duration::from_millis(1_500), "1.5"),
            (Duration::new(1_700_000_000, 1), "1700000000.000000001"),
        ] {
            assert_eq!(seconds(duration), expected);
            let item = Item::from([("n".to_owned(), AttributeValue::N(expected.to_owned()))]);
            assert_eq!(number(&item, "n"), Some(duration));
        }
    }

    #[test]
    fn a_record_of_the_original_can_be_read() {
        let s = |text: &str| AttributeValue::S(text.to_owned());
        let n = |number: &str| AttributeValue::N(number.to_owned());
        let item = Item::from(
            [
                ("Key", s("src/a/b")),
                ("desBucket", s("des")),
                ("desKey", s("p/a/b")),
                ("Size", n("7")),
                ("versionId", s("null")),
                ("firstTime", n("1580000000")),
                ("tryTimes", n("2")),
                ("endTime", n("1580000100")),
                ("jobStatus", s("ERR")),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        );
        let record = record(&item).expect("readable");
        assert_eq!(record.id, RecordId { src: ObjectId::new("src", "a/b"), ..id("", "p/a/b") });
        assert_eq!((record.size, record.tries, record.version), (7, 2, None));
        assert_eq!(record.status, JobStatus::Failed);
        assert_eq!(record.start_time, record.first_time);
    }

    #[test]
    fn sets_of_the_original_are_read() {
        for (statuses, progress, expected) in [
            (&["DONE"][..], Some("100"), JobStatus::Done),
            (&["DONE"], None, JobStatus::Done),
            (&["DONE", "ERR"], Some("100"), JobStatus::Done),
            (&["ERR", "DONE"], Some("100"), JobStatus::Done),
            // Another attempt has begun since.
            (&["DONE"], Some("40"), JobStatus::Running),
            (&["DONE", "ERR"], Some("0"), JobStatus::Running),
            (&["ERR"], Some("0"), JobStatus::Failed),
            (&["QUIT", "TIMEOUT"], Some("100"), JobStatus::Failed),
        ] {
            let set =
                |all: &[&str]| AttributeValue::Ss(all.iter().map(ToString::to_string).collect());
            let mut item: Item = [
                ("Key", AttributeValue::S("src/k".to_owned())),
                ("desBucket", AttributeValue::S("des".to_owned())),
                ("desKey", AttributeValue::S("k".to_owned())),
                ("endTime", AttributeValue::N("1580000100".to_owned())),
                ("instanceID", set(&["i-1", "i-2"])),
                ("startTime_f", set(&["Sun Jan 26 00:53:20 2020"])),
                ("jobStatus", set(statuses)),
            ]
            .map(|(name, value)| (name.to_owned(), value))
            .into();
            let progress = progress.map(|n| AttributeValue::N(n.to_owned()));
            item.extend(progress.map(|n| ("lastTimeProgress".to_owned(), n)));
            let record = record(&item).expect("readable");
            assert_eq!(record.status, expected, "{statuses:?}");
            assert_eq!(record.instance, "i-1, i-2");
        }
    }
}
