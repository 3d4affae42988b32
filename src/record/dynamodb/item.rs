//! A record as an item of the table: the original's attributes and the added ones.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_dynamodb::types::AttributeValue;
use md5::{Digest, Md5};
use time::OffsetDateTime;

use crate::error::{Error, Result};
use crate::object::sequencer::Sequencer;
use crate::object::{Etag, NO_VERSION, ObjectId, Revision};
use crate::record::{JobStatus, Proven, Record, RecordId, Stamp, UploadRef};

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

/// Whether the item is the record of `id` and not of another destination of the same source.
pub(super) fn is_of(item: &Item, id: &RecordId) -> bool {
    text(item, "desBucket") == Some(id.des.bucket.as_str())
        && text(item, "desKey") == Some(id.des.key.as_str())
}

/// An attribute of type S.
pub(super) fn text<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    item.get(name)?.as_s().ok().map(String::as_str)
}

/// An attribute of type N that is a whole number.
pub(super) fn integer(item: &Item, name: &str) -> Option<u64> {
    number(item, name).map(|n| n.as_secs())
}

/// An attribute of type N that is a time: seconds since 1970.
pub(super) fn moment(item: &Item, name: &str) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(number(item, name)?)
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
pub(super) fn seconds(duration: Duration) -> String {
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

/// The form of the original's `startTime_f` and `endTime_f`, in UTC.
pub(super) fn readable(time: SystemTime) -> String {
    let t = OffsetDateTime::from(time);
    format!("{} {:02}:{:02}:{:02}", t.date(), t.hour(), t.minute(), t.second())
}

/// The version in its stored form.
pub(super) fn version(version: Option<&str>) -> &str {
    version.unwrap_or(NO_VERSION)
}

/// The content that was copied, if the copy succeeded.
pub(super) fn copied(item: &Item) -> Option<Revision> {
    let version = text(item, "versionId").map(str::to_owned);
    let done = status(item) == JobStatus::Done && !is_deleted(item);
    done.then(|| Revision::new(version, text(item, "sourceEtag").map(Etag::new)))
}

/// The status of an item. The original may have written another text: such an item has ended if it
/// has an end time.
pub(super) fn status(item: &Item) -> JobStatus {
    let otherwise = match item.contains_key("endTime") {
        true => JobStatus::Failed,
        false => JobStatus::Running,
    };
    text(item, "jobStatus").and_then(JobStatus::parse).unwrap_or(otherwise)
}

/// The value of the attribute `deleted`, if present.
pub(super) const DELETED: &str = "True";

/// Whether the last success was a deletion.
fn is_deleted(item: &Item) -> bool {
    text(item, "deleted") == Some(DELETED)
}

/// The latest event whose job succeeded.
pub(super) fn sequencer(item: &Item) -> Option<Sequencer> {
    text(item, "sequencer").and_then(Sequencer::parse)
}

/// How the copy was verified.
pub(super) fn proven(item: &Item) -> Option<Proven> {
    text(item, "proof").and_then(Proven::parse)
}

/// The ETag that the destination returned, if known.
pub(super) fn written(item: &Item) -> Option<Etag> {
    let etag = text(item, "sourceEtag").map(Etag::new);
    let kept = text(item, "desEtag").map(str::to_owned);
    let done = status(item) == JobStatus::Done;
    super::super::written(proven(item), etag.as_ref(), kept).filter(|_| done)
}

fn tries(item: &Item) -> u32 {
    integer(item, "tryTimes").and_then(|n| n.try_into().ok()).unwrap_or(0)
}

/// Which state of the record an item is.
pub(super) fn stamp(item: &Item) -> Stamp {
    Stamp { tries: tries(item), end_time: moment(item, "endTime") }
}

/// The upload that an item names.
pub(super) fn upload(item: &Item) -> Option<UploadRef> {
    let (id, part_size) = text(item, "uploadId").zip(integer(item, "partSize"))?;
    Some(UploadRef { id: id.to_owned(), part_size })
}

/// The upload that an item names, if it has not become an object.
pub(super) fn unfinished_upload(item: &Item) -> Option<UploadRef> {
    upload(item).filter(|_| status(item) != JobStatus::Done)
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
    let start_time = moment(item, "startTime");
    let upload_id = text(item, "uploadId");
    // The seal of another upload says nothing about this one.
    let sealed = upload_id.is_some() && text(item, "targetUploadId") == upload_id;
    let first_time = moment(item, "firstTime").or(start_time).unwrap_or(UNIX_EPOCH);
    let etag = text(item, "sourceEtag").map(Etag::new);
    Ok(Record {
        proven: proven(item),
        written: written(item),
        id: RecordId { src, des },
        size: integer(item, "Size").unwrap_or(0),
        version: text(item, "versionId").filter(|v| *v != NO_VERSION).map(str::to_owned),
        etag,
        upload: upload(item),
        target_etag: text(item, "targetEtag").filter(|_| sealed).map(Etag::new),
        status: status(item),
        instance: text(item, "instanceID").unwrap_or_default().to_owned(),
        lease: text(item, "lease").map(str::to_owned),
        tries: tries(item),
        first_time,
        start_time: start_time.unwrap_or(first_time),
        end_time: moment(item, "endTime"),
        spent: number(item, "totalSpentTime"),
        progress: integer(item, "lastTimeProgress").map_or(0, |n| n.min(100) as u8),
        last_error: text(item, "lastError").map(str::to_owned),
        sequencer: sequencer(item),
        deleted: is_deleted(item),
    })
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
        assert_eq!(readable(UNIX_EPOCH + Duration::from_secs(86_461)), "1970-01-02 00:01:01");
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
}
