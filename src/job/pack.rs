//! The packed form: many small objects in one message.
//!
//! ```text
//! {"PackVersion":1,"Groups":[
//!   {"Src_bucket":"s","Src_common":"a/","Des_bucket":"d","Des_common":"p/a/",
//!    "Objects":[["1.jpg",123],["2.jpg",5,"version"]]}]}
//! ```
//!
//! An object's key is its group's common prefix followed by its own name, on both sides. The
//! version (`null` if there is none) may be followed by the sequencer of the event that brought the
//! job.
//!
//! Version 2 has groups of deletions as well:
//!
//! ```text
//! {"PackVersion":2,"Groups":[
//!   {"Action":"delete","Src_bucket":"s","Src_common":"a/","Des_bucket":"d","Des_common":"p/a/",
//!    "Objects":[["1.jpg",123,null,null,"etag"],["2.jpg",null,null,"0055AE"]]}]}
//! ```
//!
//! Their size and ETag are those seen at the destination; the version is the one permanently
//! deleted at the source. Messages with copies only are written in version 1, for older workers.
//!
//! A reader ignores unknown fields, so any change to the meaning of known ones needs a new version.

use serde::Serialize;
use serde_json::{Value, json};

use super::parse::{Fields, not_a_job, object, sequencer, size, text, version};
use super::{Action, Apart, Incoming, Job, MessageRefusal, SeenCopy, ascii_json};
use crate::object::Etag;
use crate::object::sequencer::Sequencer;

/// The newest version of the packed form that this program reads, and the one for deletions.
pub const PACK_VERSION: u64 = 2;

/// The version for copies.
const COPIES_ONLY: u64 = 1;

/// The `Action` of a group of deletions.
const DELETE: &str = "delete";

/// The field that identifies a packed message.
pub(super) const VERSION_FIELD: &str = "PackVersion";

#[derive(Serialize)]
struct Pack<'a> {
    #[serde(rename = "PackVersion")]
    version: u64,
    #[serde(rename = "Groups")]
    groups: Vec<PackGroup<'a>>,
}

#[derive(Serialize)]
struct PackGroup<'a> {
    #[serde(rename = "Action", skip_serializing_if = "Option::is_none")]
    action: Option<&'static str>,
    #[serde(rename = "Src_bucket")]
    src_bucket: &'a str,
    #[serde(rename = "Src_common")]
    src_common: &'a str,
    #[serde(rename = "Des_bucket")]
    des_bucket: &'a str,
    #[serde(rename = "Des_common")]
    des_common: &'a str,
    #[serde(rename = "Objects")]
    objects: Vec<Value>,
}

/// The message of all these jobs, in their order: JSON in pure ASCII.
pub fn pack(jobs: &[Job]) -> String {
    let groups = jobs.chunk_by(|a, b| Heads::of(a) == Heads::of(b)).map(group).collect();
    let version = if jobs.iter().any(Job::deletes) { PACK_VERSION } else { COPIES_ONLY };
    ascii_json(&Pack { version, groups })
}

/// A message and its number of objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    /// The message's text.
    pub body: String,
    /// Number of its objects.
    pub objects: usize,
}

/// As few messages as halving gives, in order, each of at most `max_bytes` bytes; a single job may
/// take more (at most 13 KiB, with the longest keys escaped). Deletions get messages of their own,
/// after those of the copies, so that older workers refuse nothing else.
pub fn pack_within(jobs: &[Job], max_bytes: usize) -> Vec<Packed> {
    let objects = jobs.len();
    if jobs.iter().any(Job::deletes) && !jobs.iter().all(Job::deletes) {
        let (deletions, copies): (Vec<Job>, Vec<Job>) =
            jobs.iter().cloned().partition(Job::deletes);
        let mut packs = pack_within(&copies, max_bytes);
        packs.extend(pack_within(&deletions, max_bytes));
        return packs;
    }
    let body = match jobs {
        [] => return Vec::new(),
        // A plain job, which every worker understands.
        [job] => job.to_message(),
        jobs => pack(jobs),
    };
    if objects == 1 || body.len() <= max_bytes {
        return vec![Packed { body, objects }];
    }
    let (first, second) = jobs.split_at(objects / 2);
    let mut packs = pack_within(first, max_bytes);
    packs.extend(pack_within(second, max_bytes));
    packs
}

/// What precedes the part of the key that both sides share.
#[derive(PartialEq)]
struct Heads<'a> {
    deletes: bool,
    src_bucket: &'a str,
    src: &'a str,
    des_bucket: &'a str,
    des: &'a str,
}

impl<'a> Heads<'a> {
    fn of(job: &'a Job) -> Self {
        let (src, des) = (job.src.key.as_str(), job.des.key.as_str());
        let same = src.chars().rev().zip(des.chars().rev()).take_while(|(a, b)| a == b);
        let tail: usize = same.map(|(c, _)| c.len_utf8()).sum();
        Self {
            deletes: job.deletes(),
            src_bucket: &job.src.bucket,
            src: &src[..src.len() - tail],
            des_bucket: &job.des.bucket,
            des: &des[..des.len() - tail],
        }
    }
}

/// The group of these jobs: at least one, all with the same heads.
fn group(jobs: &[Job]) -> PackGroup<'_> {
    let heads = Heads::of(&jobs[0]);
    let tail = |job: &Job| job.src.key.as_str()[heads.src.len()..].to_owned();
    let mut common = tail(&jobs[0]);
    for job in jobs {
        let tail = tail(job);
        let same = common.chars().zip(tail.chars()).take_while(|(a, b)| a == b);
        common.truncate(same.map(|(c, _)| c.len_utf8()).sum());
    }
    let objects =
        jobs.iter().map(|job| entry(&job.src.key.as_str()[heads.src.len() + common.len()..], job));
    PackGroup {
        action: heads.deletes.then_some(DELETE),
        objects: objects.collect(),
        src_common: &jobs[0].src.key.as_str()[..heads.src.len() + common.len()],
        des_common: &jobs[0].des.key.as_str()[..heads.des.len() + common.len()],
        src_bucket: heads.src_bucket,
        des_bucket: heads.des_bucket,
    }
}

/// One object's entry: its name, then the other values without trailing empty ones.
fn entry(name: &str, job: &Job) -> Value {
    let seen = match &job.action {
        Action::Copy => None,
        Action::Delete(seen) => Some(seen.as_ref()),
    };
    let size = match seen {
        None => json!(job.size),
        Some(seen) => json!(seen.map(|seen| seen.size)),
    };
    let sequencer = job.sequencer.as_ref().map(Sequencer::as_str);
    let etag = seen.flatten().and_then(|seen| seen.etag.as_ref()).map(Etag::as_str);
    let mut fields = vec![json!(name), size, json!(job.version), json!(sequencer), json!(etag)];
    while fields.len() > 2 && fields.last().is_some_and(Value::is_null) {
        fields.pop();
    }
    Value::Array(fields)
}

/// Reads a packed message; refuses each invalid entry separately.
pub(super) fn read(fields: &Fields) -> Result<Incoming, MessageRefusal> {
    let version = match fields.get(VERSION_FIELD).and_then(Value::as_u64) {
        Some(known @ COPIES_ONLY..=PACK_VERSION) => known,
        Some(newer) if newer > PACK_VERSION => return Err(MessageRefusal::Newer(newer)),
        _ => return Err(not_a_job(format!("{VERSION_FIELD} is not a version"))),
    };
    let Some(Value::Array(groups)) = fields.get("Groups") else {
        return Err(not_a_job("Groups is not a list"));
    };
    let mut incoming = Incoming::default();
    for (i, group) in groups.iter().enumerate() {
        let alone = |group: &Value| ascii_json(&json!({VERSION_FIELD: version, "Groups": [group]}));
        let read = read_group(group, version, &format!("Groups[{i}]"), &mut incoming, alone);
        if let Err(refusal) = read {
            incoming.apart.push(Apart { body: alone(group), refusal });
        }
    }
    if incoming.jobs.is_empty() && incoming.apart.is_empty() {
        incoming.dropped.push("a packed message without an object".to_owned());
    }
    incoming.whole()
}

fn read_group(
    group: &Value,
    pack_version: u64,
    path: &str,
    incoming: &mut Incoming,
    alone: impl Fn(&Value) -> String,
) -> Result<(), MessageRefusal> {
    let Value::Object(group) = group else {
        return Err(not_a_job(format!("{path} is not a JSON object")));
    };
    let deletes = match group.get("Action") {
        None => false,
        Some(action) if action == DELETE && pack_version > COPIES_ONLY => true,
        Some(_) => return Err(not_a_job(format!("{path}.Action is unknown to this version"))),
    };
    let field = |name: &str| text(group, name, &format!("{path}.{name}"));
    let (src_bucket, des_bucket) = (field("Src_bucket")?, field("Des_bucket")?);
    let (src_common, des_common) = (field("Src_common")?, field("Des_common")?);
    let Some(Value::Array(objects)) = group.get("Objects") else {
        return Err(not_a_job(format!("{path}.Objects is not a list")));
    };
    let job = |entry: &Value, path: String| {
        let Some(Value::String(name)) = entry.get(0) else {
            return Err(not_a_job(format!("{path} has no name")));
        };
        let place = |bucket: &str, common: &str, side: &str| {
            let key = format!("{common}{name}");
            object(bucket, &key, &format!("{path} {side}_bucket"), &format!("{path} {side}_key"))
        };
        let src = place(src_bucket, src_common, "Src")?;
        let des = place(des_bucket, des_common, "Des")?;
        let (action, size) = match deletes {
            true => (Action::Delete(seen(entry, &path)?), 0),
            false => (Action::Copy, size(entry.get(1), &format!("{path} Size"))?),
        };
        let version = version(entry.get(2), &format!("{path} versionId"))?;
        let sequencer = sequencer(entry.get(3));
        Ok(Job { action, src, des, size, version, sequencer })
    };
    for (i, entry) in objects.iter().enumerate() {
        match job(entry, format!("{path}.Objects[{i}]")) {
            Ok(job) => incoming.jobs.push(job),
            Err(refusal) => {
                let mut group = group.clone();
                group.insert("Objects".to_owned(), json!([entry]));
                incoming.apart.push(Apart { body: alone(&Value::Object(group)), refusal });
            }
        }
    }
    Ok(())
}

/// What a comparison saw of an object to delete; an event has no size.
fn seen(entry: &Value, path: &str) -> Result<Option<SeenCopy>, MessageRefusal> {
    let listed = entry.get(1).filter(|size| !size.is_null());
    if listed.is_none() {
        return Ok(None);
    }
    let size = size(listed, &format!("{path} Size"))?;
    let etag = match entry.get(4) {
        None | Some(Value::Null) => None,
        Some(Value::String(etag)) => Some(Etag::new(etag)),
        // Without the ETag, an object that has been replaced since would be deleted.
        Some(_) => return Err(not_a_job(format!("{path} ETag is not text"))),
    };
    Ok(Some(SeenCopy { size, etag }))
}

#[cfg(test)]
mod tests {
    use super::super::{Routes, parse};
    use super::*;
    use crate::object::{ObjectId, ObjectKey, destination_key};

    fn read(body: &str) -> Result<Incoming, MessageRefusal> {
        parse(body, &Routes::default())
    }

    fn a_job(src: &str, des: &str, size: u64, version: Option<&str>) -> Job {
        let (src, des) = (ObjectId::new("s", src), ObjectId::new("d", des));
        Job::copy(src, des, size, version.map(str::to_owned))
    }

    fn a_deletion(key: &str, seen: Option<(u64, Option<&str>)>) -> Job {
        let seen = seen.map(|(size, etag)| SeenCopy { size, etag: etag.map(Etag::new) });
        Job { action: Action::Delete(seen), ..a_job(key, key, 0, None) }
    }

    #[test]
    fn what_is_common_is_said_once() {
        let jobs =
            [a_job("a/1.jpg", "p/a/1.jpg", 123, None), a_job("a/2.jpg", "p/a/2.jpg", 5, Some("v"))];
        assert_eq!(
            pack(&jobs),
            concat!(
                r#"{"PackVersion":1,"Groups":[{"Src_bucket":"s","Src_common":"a/","#,
                r#""Des_bucket":"d","Des_common":"p/a/","Objects":[["1.jpg",123],["2.jpg",5,"v"]]}]}"#
            )
        );
        assert_eq!(read(&pack(&jobs)).unwrap().jobs, jobs);
    }

    /// Promise 2.
    #[test]
    fn deletions_are_packed_in_a_version_that_older_workers_refuse() {
        let event = Job { sequencer: Sequencer::parse("0a10"), ..a_deletion("x/3", None) };
        let jobs = [
            a_deletion("x/1", Some((7, Some("e")))),
            a_deletion("x/2", Some((0, None))),
            Job { version: Some("v".to_owned()), ..event.clone() },
        ];
        assert_eq!(
            pack(&jobs),
            concat!(
                r#"{"PackVersion":2,"Groups":[{"Action":"delete","Src_bucket":"s","Src_common":"x/","#,
                r#""Des_bucket":"d","Des_common":"x/","Objects":[["1",7,null,null,"e"],["2",0],"#,
                r#"["3",null,"v","0A1"]]}]}"#
            )
        );
        assert_eq!(read(&pack(&jobs)).unwrap().jobs, jobs);
        // Single deletions too: older workers would copy a plain job.
        for job in [&jobs[0], &event] {
            assert!(job.to_message().starts_with(r#"{"PackVersion":2,"#));
            assert_eq!(read(&job.to_message()).unwrap().jobs, std::slice::from_ref(job));
        }
    }

    #[test]
    fn copies_and_deletions_have_messages_of_their_own() {
        let copy = a_job("1", "1", 5, None);
        let jobs = [copy.clone(), a_deletion("2", None), copy.clone(), a_deletion("3", None)];
        let packs = pack_within(&jobs, 4096);
        assert!(packs[0].body.starts_with(r#"{"PackVersion":1,"#), "{packs:?}");
        assert_eq!(packs.len(), 2);
        assert_eq!(read(&packs[0].body).unwrap().jobs, [copy.clone(), copy]);
        assert_eq!(read(&packs[1].body).unwrap().jobs, [jobs[1].clone(), jobs[3].clone()]);
        assert_eq!(read(&pack(&jobs)).unwrap().jobs, jobs, "one message may have both");
    }

    /// Promise 2.
    #[test]
    fn an_action_that_is_not_known_is_never_taken_for_a_copy() {
        let group = |version: u64, action: &str| {
            format!(
                r#"{{"PackVersion":{version},"Groups":[{{"Action":{action},"Src_bucket":"s",
                    "Src_common":"","Des_bucket":"d","Des_common":"","Objects":[["k",1]]}}]}}"#
            )
        };
        for (version, action) in [(1, "\"delete\""), (2, "\"move\""), (2, "null"), (2, "1")] {
            let refusal = read(&group(version, action)).unwrap_err().to_string();
            assert!(refusal.contains("Groups[0].Action is unknown"), "{refusal}");
        }
        assert!(read(&group(2, "\"delete\"")).is_ok());
        let etag = group(2, "\"delete\"").replace(r#"["k",1]"#, r#"["k",1,null,null,5]"#);
        assert!(read(&etag).unwrap_err().to_string().contains("ETag is not text"));
    }

    /// Keys that break naive splitting: empty segments, repeated parts, wide characters, controls.
    fn odd_key(rng: &mut fastrand::Rng) -> String {
        let pieces = [
            "a",
            "/",
            "//",
            "..",
            " ",
            "+",
            "%2F",
            "\u{fc}",
            "\u{6587}",
            "\u{1f600}",
            "\u{1}",
            "\n",
            "\"",
            "\\",
            "\u{7f}",
            "\u{fffe}",
            "same/",
            "b/",
        ];
        (0..rng.usize(1..12)).map(|_| pieces[rng.usize(..pieces.len())]).collect()
    }

    fn odd_job(rng: &mut fastrand::Rng) -> Job {
        let key = odd_key(rng);
        let des = match rng.u8(..4) {
            0 => odd_key(rng),
            1 => destination_key("a/same", &ObjectKey::new(&*key)).as_str().to_owned(),
            2 => destination_key("a", &ObjectKey::new(&*key)).as_str().to_owned(),
            _ => key.clone(),
        };
        let version = ["v1", "null2", "\u{fc}"][rng.usize(..3)];
        let mut job = a_job(&key, &des, rng.u64(..1 << 63), rng.bool().then_some(version));
        job.src.bucket = ["s", "t"][rng.usize(..2)].to_owned();
        job.sequencer = rng.bool().then(|| Sequencer::parse("00A1")).flatten();
        if rng.u8(..4) == 0 {
            let etag = rng.bool().then(|| Etag::new("e"));
            let size = std::mem::take(&mut job.size);
            job.action = Action::Delete(rng.bool().then_some(SeenCopy { size, etag }));
        }
        job
    }

    /// Promise 4.
    #[test]
    fn packing_and_reading_gives_the_same_jobs() {
        for seed in 0..2000 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let jobs: Vec<Job> = (0..rng.usize(1..20)).map(|_| odd_job(&mut rng)).collect();
            let message = pack(&jobs);
            assert!(message.bytes().all(|b| (b' '..=b'~').contains(&b)), "seed {seed}");
            assert_eq!(read(&message).unwrap().jobs, jobs, "seed {seed}");
            let single = read(&jobs[0].to_message()).unwrap().jobs;
            assert_eq!(single, jobs[..1], "seed {seed}");
        }
    }

    #[test]
    fn packs_stay_within_their_size() {
        let jobs: Vec<Job> =
            (0..1000).map(|i| a_job(&format!("k{i}"), &format!("p/k{i}"), i, None)).collect();
        let packs = pack_within(&jobs, 4096);
        assert!(packs.len() > 1 && packs.iter().all(|p| p.body.len() <= 4096));
        let all: Vec<Job> = packs.iter().flat_map(|p| read(&p.body).unwrap().jobs).collect();
        assert_eq!(all, jobs);
        assert_eq!(pack_within(&jobs[..3], 1).len(), 3);
        assert!(pack_within(&[], 1).is_empty());
        let longest = "\u{1}".repeat(1024);
        assert!(pack(&[a_job(&longest, &"\u{2}".repeat(1024), 1, None)]).len() < 13 * 1024);
    }

    #[test]
    fn a_newer_form_is_refused_as_such() {
        let newer = r#"{"PackVersion":3,"Groups":"in another form"}"#;
        assert_eq!(read(newer), Err(MessageRefusal::Newer(3)));
        for version in ["0", "-1", "\"1\"", "1.5", "null"] {
            let body = format!("{{\"PackVersion\":{version},\"Groups\":[]}}");
            assert!(matches!(read(&body), Err(MessageRefusal::NotAJob(_))), "{version}");
        }
    }

    #[test]
    fn one_bad_entry_goes_by_itself_and_is_named() {
        let body = |objects: &str, common: &str| {
            format!(
                r#"{{"PackVersion":1,"Groups":[{{"Src_bucket":"s","Src_common":"","Des_bucket":"d",
                    "Des_common":"{common}","Objects":[["k",1],{objects}]}}]}}"#
            )
        };
        let long = "k".repeat(1024);
        for (objects, expected) in [
            ("[\"k\"]", "Groups[0].Objects[1] Size is missing"),
            ("[\"k\",\"x\"]", "Groups[0].Objects[1] Size is not a number"),
            ("[\"k\",1,2]", "Groups[0].Objects[1] versionId is not text"),
            ("[]", "Groups[0].Objects[1] has no name"),
            ("\"k\"", "Groups[0].Objects[1] has no name"),
            ("[\"\",1]", "Groups[0].Objects[1] Src_key is empty"),
            (&format!("[\"{long}\",1]"), "Groups[0].Objects[1] Des_key has 1026 bytes"),
        ] {
            let incoming = read(&body(objects, "p/")).unwrap();
            assert_eq!(incoming.jobs, [a_job("k", "p/k", 1, None)]);
            let [apart] = incoming.apart.as_slice() else { panic!("{incoming:?}") };
            let refusal = apart.refusal.to_string();
            assert!(refusal.contains(expected), "{refusal}");
            let alone = read(&apart.body).unwrap_err().to_string();
            assert_eq!(alone, refusal.replace("Objects[1]", "Objects[0]"));
        }
        let groups = r#"{"PackVersion":1,"Groups":[{"Objects":[]},{"Src_bucket":"s","Src_common":"",
            "Des_bucket":"d","Des_common":"","Objects":[["k",1]]},5]}"#;
        let incoming = read(groups).unwrap();
        assert_eq!((incoming.jobs.len(), incoming.apart.len()), (1, 2));
        for apart in incoming.apart {
            assert!(read(&apart.body).is_err(), "{apart:?}");
        }
        assert_eq!(read(&body("[\"l\",2,\"v\",\"later field\"]", "p/")).unwrap().jobs.len(), 2);
        assert!(read(r#"{"PackVersion":1}"#).is_err());
        assert!(read(r#"{"PackVersion":1,"Groups":[{}]}"#).is_err());
        let empty = read(r#"{"PackVersion":1,"Groups":[]}"#).unwrap();
        assert_eq!((empty.jobs.len(), empty.dropped.len()), (0, 1));
    }
}
