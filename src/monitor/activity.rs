//! What a process is doing, for those who look from outside: its phase, its pairs, what it holds,
//! what it waits for, why objects failed. Counted as it goes, in constant memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::monitor::spread::{SECONDS, SIZES, Spread};
use crate::mutex::lock;
use crate::object::ObjectId;

/// Pairs and reasons that are counted separately; the rest are counted together.
const MOST: usize = 40;
/// Objects that are named, and bytes of a name.
const MOST_HELD: usize = 8;
const LONGEST: usize = 160;
/// The name of what is counted together.
const OTHERS: &str = "others";

/// What is being done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Both sides are listed, and what differs is sent.
    Comparing,
    /// Objects are moved.
    #[default]
    Copying,
    /// Both sides are listed again.
    Closing,
}

/// Objects and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    /// Objects.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Amount {
    /// Adds one object.
    pub fn add(&mut self, bytes: u64) {
        self.plus(Self { objects: 1, bytes });
    }

    /// Adds others.
    pub fn plus(&mut self, other: Self) {
        self.objects = self.objects.saturating_add(other.objects);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

/// What has been done of one pair.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PairAmounts {
    /// Listed at the source.
    pub listed: Amount,
    /// Found to be copied.
    pub to_copy: Amount,
    /// Copied.
    pub copied: Amount,
    /// Failed for good.
    pub failed: Amount,
    /// Listed again by the closing comparison.
    pub checked: Amount,
}

impl PairAmounts {
    /// Adds others.
    pub fn plus(&mut self, other: Self) {
        self.listed.plus(other.listed);
        self.to_copy.plus(other.to_copy);
        self.copied.plus(other.copied);
        self.failed.plus(other.failed);
        self.checked.plus(other.checked);
    }
}

/// How often a reason led to a failure.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reason {
    /// Objects.
    pub objects: u64,
    /// The first of them, with its error.
    pub example: String,
}

/// An object that is being worked on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Its bucket and key at the source.
    pub object: String,
    /// Its bytes.
    pub bytes: u64,
}

/// A reading of all that.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Doing {
    /// What is being done.
    pub phase: Phase,
    /// All pairs have been listed.
    pub listed_all: bool,
    /// By source bucket and destination bucket.
    pub pairs: Vec<(String, String, PairAmounts)>,
    /// By reason.
    pub reasons: BTreeMap<String, Reason>,
    /// Objects in work; only some of them.
    pub holds: Vec<Held>,
    /// How many objects are in work.
    pub held: u64,
    /// Places that refuse everything, and why.
    pub waits: Vec<String>,
    /// The sizes of the objects that were copied: [`SIZES`].
    pub sizes: Spread,
    /// How long each of them took: [`SECONDS`].
    pub seconds: Spread,
}

impl Doing {
    /// Adds what another process, or one that has ended, has counted.
    pub fn plus(&mut self, other: &Self) {
        for (source, destination, amounts) in &other.pairs {
            let mut pairs = self.pairs.iter_mut();
            match pairs.find(|(from, to, _)| from == source && to == destination) {
                Some((.., own)) => own.plus(*amounts),
                None => self.pairs.push((source.clone(), destination.clone(), *amounts)),
            }
        }
        for (reason, other) in &other.reasons {
            let own = self.reasons.entry(reason.clone()).or_default();
            own.objects = own.objects.saturating_add(other.objects);
            if own.example.is_empty() {
                own.example.clone_from(&other.example);
            }
        }
        self.sizes.plus(&other.sizes);
        self.seconds.plus(&other.seconds);
    }

    /// The sum of all pairs.
    pub fn total(&self) -> PairAmounts {
        let mut total = PairAmounts::default();
        self.pairs.iter().for_each(|(.., amounts)| total.plus(*amounts));
        total
    }
}

/// Counts what a process does.
#[derive(Debug, Default)]
pub struct Activity(Mutex<Counted>);

#[derive(Debug, Default)]
struct Counted {
    phase: Phase,
    listed_all: bool,
    pairs: BTreeMap<(String, String), PairAmounts>,
    reasons: BTreeMap<String, Reason>,
    holds: BTreeMap<u64, Held>,
    next: u64,
    waits: Vec<String>,
    sizes: Spread,
    seconds: Spread,
}

impl Activity {
    /// A phase begins.
    pub fn begin(&self, phase: Phase) {
        lock(&self.0).phase = phase;
    }

    /// All pairs have been listed.
    pub fn listed_all(&self) {
        lock(&self.0).listed_all = true;
    }

    /// An object was listed, to be copied or not. In the closing phase it is one that is checked.
    pub fn listed(&self, src: &ObjectId, des: &ObjectId, bytes: u64, to_copy: bool) {
        let mut counted = lock(&self.0);
        let closing = counted.phase == Phase::Closing;
        let pair = counted.pair(src, des);
        if closing {
            pair.checked.add(bytes);
            return;
        }
        pair.listed.add(bytes);
        if to_copy {
            pair.to_copy.add(bytes);
        }
    }

    /// An object was copied.
    pub fn copied(&self, src: &ObjectId, des: &ObjectId, bytes: u64) {
        lock(&self.0).pair(src, des).copied.add(bytes);
    }

    /// A copied object was this large and took this long.
    pub fn took(&self, bytes: u64, spent: Duration) {
        let mut counted = lock(&self.0);
        counted.sizes.add(SIZES, bytes as f64);
        counted.seconds.add(SECONDS, spent.as_secs_f64());
    }

    /// An object failed for good.
    pub fn failed(&self, src: &ObjectId, des: &ObjectId, bytes: u64, error: &Error) {
        let mut counted = lock(&self.0);
        counted.pair(src, des).failed.add(bytes);
        let mut reason = reason(error);
        if counted.reasons.len() >= MOST && !counted.reasons.contains_key(&reason) {
            reason = OTHERS.to_owned();
        }
        let counted = counted.reasons.entry(reason).or_default();
        counted.objects += 1;
        if counted.example.is_empty() {
            counted.example = shortened(&error.to_string());
        }
    }

    /// The places that refuse everything now, and why.
    pub fn waits(&self, waits: Vec<String>) {
        lock(&self.0).waits = waits.iter().map(|why| shortened(why)).collect();
    }

    /// Notes an object as in work, until the answer is dropped.
    pub fn hold(self: &Arc<Self>, src: &ObjectId, bytes: u64) -> Hold {
        let mut counted = lock(&self.0);
        let number = counted.next;
        counted.next += 1;
        counted.holds.insert(number, Held { object: shortened(&src.exact()), bytes });
        Hold { activity: Arc::clone(self), number }
    }

    /// All that now.
    pub fn now(&self) -> Doing {
        let counted = lock(&self.0);
        let pairs = counted.pairs.iter();
        // The oldest are those that somebody may ask about.
        let holds = counted.holds.values().take(MOST_HELD).cloned();
        Doing {
            phase: counted.phase,
            listed_all: counted.listed_all,
            pairs: pairs.map(|((from, to), all)| (from.clone(), to.clone(), *all)).collect(),
            reasons: counted.reasons.clone(),
            holds: holds.collect(),
            held: counted.holds.len() as u64,
            waits: counted.waits.clone(),
            sizes: counted.sizes.clone(),
            seconds: counted.seconds.clone(),
        }
    }
}

impl Counted {
    fn pair(&mut self, src: &ObjectId, des: &ObjectId) -> &mut PairAmounts {
        let mut pair = (src.bucket.clone(), des.bucket.clone());
        if self.pairs.len() >= MOST && !self.pairs.contains_key(&pair) {
            pair = (OTHERS.to_owned(), OTHERS.to_owned());
        }
        self.pairs.entry(pair).or_default()
    }
}

/// An object in work.
#[derive(Debug)]
pub struct Hold {
    activity: Arc<Activity>,
    number: u64,
}

impl Drop for Hold {
    fn drop(&mut self) {
        lock(&self.activity.0).holds.remove(&self.number);
    }
}

/// What failures of one kind have in common.
fn reason(error: &Error) -> String {
    let kind = error.kind();
    match error.evidence().filter(|evidence| !evidence.call.is_empty()) {
        Some(evidence) => {
            let side = evidence.place.as_ref().map_or("", |place| place.side);
            let words = [evidence.call.as_str(), side, evidence.code.as_str()];
            let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
            let status =
                if evidence.status == 0 { String::new() } else { format!(" {}", evidence.status) };
            format!("{}{status}", words.join(" "))
        }
        None => format!("{kind:?}").to_lowercase(),
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}...", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{ErrorKind, Evidence};

    fn ids(pair: usize) -> (ObjectId, ObjectId) {
        (ObjectId::new(format!("from-{pair:03}"), "k"), ObjectId::new("to", "k"))
    }

    #[test]
    fn pairs_are_counted_by_phase() {
        let activity = Activity::default();
        let (src, des) = ids(1);
        activity.begin(Phase::Comparing);
        activity.listed(&src, &des, 10, true);
        activity.listed(&src, &des, 5, false);
        activity.listed_all();
        activity.begin(Phase::Copying);
        activity.copied(&src, &des, 10);
        activity.begin(Phase::Closing);
        activity.listed(&src, &des, 10, true);
        let now = activity.now();
        let amount = |objects, bytes| Amount { objects, bytes };
        let expected = PairAmounts {
            listed: amount(2, 15),
            to_copy: amount(1, 10),
            copied: amount(1, 10),
            failed: amount(0, 0),
            checked: amount(1, 10),
        };
        assert_eq!(now.total(), expected);
        assert!(now.listed_all && now.phase == Phase::Closing);
        let mut sum = now.clone();
        sum.plus(&now);
        assert_eq!((sum.pairs.len(), sum.total().listed), (1, amount(4, 30)));
    }

    #[test]
    fn reasons_are_grouped_and_bounded() {
        let activity = Activity::default();
        let (src, des) = ids(1);
        let denied = |key: &str| {
            let evidence = Evidence {
                status: 403,
                code: "AccessDenied".to_owned(),
                call: "GetObject".to_owned(),
                ..Evidence::default()
            };
            Error::new(ErrorKind::Denied, format!("{key}: denied")).with_evidence(evidence)
        };
        activity.failed(&src, &des, 1, &denied("a"));
        activity.failed(&src, &des, 1, &denied("b"));
        activity.failed(&src, &des, 1, &Error::invalid("x".repeat(1000)));
        let reasons = activity.now().reasons;
        let refused = &reasons["GetObject AccessDenied 403"];
        assert_eq!((refused.objects, refused.example.as_str()), (2, "a: denied"));
        assert_eq!(reasons["invalid"].example.len(), LONGEST + 3);
        for pair in 0..2 * MOST {
            let (src, des) = ids(pair);
            activity.copied(&src, &des, 1);
        }
        let now = activity.now();
        assert_eq!((now.pairs.len(), now.total().copied.objects), (MOST + 1, 2 * MOST as u64));
    }

    #[test]
    fn what_is_held_is_named_until_it_is_let_go() {
        let activity = Arc::new(Activity::default());
        let (src, _) = ids(1);
        let held: Vec<Hold> = (0..20).map(|_| activity.hold(&src, 7)).collect();
        let now = activity.now();
        assert_eq!((now.holds.len(), now.held), (MOST_HELD, 20));
        assert_eq!(now.holds[0], Held { object: src.exact(), bytes: 7 });
        drop(held);
        assert_eq!(activity.now().held, 0);
    }
}
