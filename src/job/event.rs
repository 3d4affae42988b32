//! S3 events: notifications, and those of EventBridge. Reading is lenient: stores differ in what
//! they leave out, how they write names, and whether they encode keys.

use serde_json::{Value, json};

use super::event_names::Happened;
use super::parse::{Fields, not_a_job, object, sequencer, size};
use super::{Action, Apart, Incoming, Job, MessageRefusal, Routes, ascii_json};
use crate::format::escape::shown;
use crate::object::sequencer::Sequencer;
use crate::object::{NO_VERSION, ObjectId};

mod key_readings;

use key_readings::KeyReadings;

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
mod tests;
