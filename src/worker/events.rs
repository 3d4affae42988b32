//! Works out what a message asks for. Events name no destination: the bucket list decides. Without
//! a list, the default place serves one source bucket. The list may change while a worker runs.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Mutex as Turn;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Worker;
use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};
use crate::filter::Filter;
use crate::filter::patterns::Patterns;
use crate::format::escape::shown;
use crate::job::{Apart, Events, Heard, Incoming, MessageRefusal, Opened, Routes, open};
use crate::mutex::lock;
use crate::object::ObjectId;
use crate::record::NoteKey;
use crate::retry::Retrying;
use crate::store::Reads;

/// How long a bucket list stays valid after it was read.
const GOOD_FOR: Duration = Duration::from_secs(300);
/// But a list that was read longer ago than this refuses nothing: an operator who adds a pair
/// switches its events on afterwards, and these must not become dead letters meanwhile.
const FRESH: Duration = Duration::from_secs(5);

/// How events are handled.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Where their objects go.
    pub routes: Routes,
    /// Events ignore what a comparison ignores.
    pub ignore: Patterns,
    /// They leave out what it leaves out.
    pub filter: Filter,
}

impl Rules {
    /// Rules with the one place that the ini names, and no bucket list.
    pub fn without_list(config: &Config) -> Self {
        let routes = Routes {
            pairs: Vec::new(),
            bucket: config.basic.des_bucket_default.clone(),
            prefix: config.basic.des_prefix_default.clone(),
            deletions: config.mode.propagate_delete,
        };
        Self { routes, ..Self::default() }
    }
}

/// The source of the rules for events.
#[async_trait]
pub trait RuleBook: Send + Sync + fmt::Debug {
    /// Reads the current rules.
    async fn read(&self) -> Result<Rules>;
}

/// Rules that do not change.
#[async_trait]
impl RuleBook for Rules {
    async fn read(&self) -> Result<Rules> {
        Ok(self.clone())
    }
}

/// What a worker knows about events.
#[derive(Debug)]
pub(super) struct Listener {
    book: Arc<dyn RuleBook>,
    /// The rules as last read. One task reads at a time.
    rules: Turn<Option<KnownRules>>,
    /// How the events of each bucket write keys.
    writings: Mutex<BTreeMap<String, KeyWriting>>,
    /// Which source bucket each default place serves.
    served: Turn<BTreeMap<String, String>>,
}

/// Rules that were read.
#[derive(Debug)]
struct KnownRules {
    rules: Arc<Rules>,
    read: Instant,
    good_until: Instant,
}

/// How the events of a bucket write keys, as its objects have shown.
#[derive(Debug, Default)]
struct KeyWriting {
    encoded: Option<bool>,
    /// The reading that the last conclusive event showed, and its key.
    last: Option<(bool, String)>,
}

impl KeyWriting {
    /// The source has an event's object under this key only, which is the encoded or the literal
    /// reading. One event may mislead: its object may have been deleted, and another object may
    /// have the key's other reading. Two events with different keys do not agree by such an
    /// accident. Returns whether the answer has just become known.
    fn shows(&mut self, encoded: bool, key: &str) -> bool {
        self.encoded = self.encoded.filter(|known| *known == encoded);
        let before = self.last.replace((encoded, key.to_owned()));
        let agrees = before.is_some_and(|(before, other)| before == encoded && other != key);
        agrees && self.encoded.replace(encoded).is_none()
    }
}

/// Why a message is not understood.
#[derive(Debug)]
pub(super) enum Obstacle {
    /// It cannot be carried out.
    Refused(MessageRefusal),
    /// It is not known at present where its objects go.
    NotNow(Error),
}

impl Listener {
    pub(super) fn new(book: Arc<dyn RuleBook>) -> Self {
        let (writings, served) = (Mutex::default(), Turn::default());
        Self { book, rules: Turn::default(), writings, served }
    }

    /// The rules, read again from time to time. The old ones stay in use while they cannot be read.
    async fn rules(&self) -> Result<Arc<Rules>> {
        let mut known = self.rules.lock().await;
        if let Some(known) = known.as_ref().filter(|known| Instant::now() < known.good_until) {
            return Ok(Arc::clone(&known.rules));
        }
        match (self.book.read().await, known.as_mut()) {
            (Ok(rules), _) => Ok(keep(&mut known, rules)),
            (Err(error), Some(last)) => {
                warn!(
                    "the bucket list could not be read again, the last one stays in use: {error}"
                );
                last.good_until = Instant::now() + GOOD_FOR;
                Ok(Arc::clone(&last.rules))
            }
            (Err(error), None) => Err(error),
        }
    }

    /// The rules as they were at most [`FRESH`] ago, or an error.
    async fn fresh_rules(&self) -> Result<Arc<Rules>> {
        let mut known = self.rules.lock().await;
        match known.as_ref() {
            Some(known) if known.read.elapsed() < FRESH => Ok(Arc::clone(&known.rules)),
            _ => Ok(keep(&mut known, self.book.read().await?)),
        }
    }

    fn writings(&self) -> MutexGuard<'_, BTreeMap<String, KeyWriting>> {
        lock(&self.writings)
    }

    /// Whether this bucket's events have encoded keys; `None` if that is not known.
    fn encoded(&self, bucket: &str) -> Option<bool> {
        self.writings().get(bucket)?.encoded
    }
}

impl Worker {
    /// Reads a message, and finds out where the objects of its events go.
    pub(super) async fn understand(
        &self,
        body: &str,
        cut: &CancellationToken,
    ) -> Result<Incoming, Obstacle> {
        match open(body).map_err(Obstacle::Refused)? {
            Opened::Incoming(incoming) => Ok(incoming),
            Opened::Events(events) if events.heard.is_empty() => {
                events.jobs(&Routes::default()).map_err(Obstacle::Refused)
            }
            Opened::Events(events) => self.hear(events, cut).await,
        }
    }

    /// A message is refused for lack of a place only by fresh rules.
    async fn hear(&self, events: Events, cut: &CancellationToken) -> Result<Incoming, Obstacle> {
        let rules = self.listener.rules().await.map_err(Obstacle::NotNow)?;
        let heard = self.route(events.clone(), &rules, cut).await;
        if !lacks_a_place(&heard) {
            return heard;
        }
        let fresh = self.listener.fresh_rules().await.map_err(Obstacle::NotNow)?;
        match Arc::ptr_eq(&rules, &fresh) {
            true => heard,
            false => self.route(events, &fresh, cut).await,
        }
    }

    async fn route(
        &self,
        mut events: Events,
        rules: &Rules,
        cut: &CancellationToken,
    ) -> Result<Incoming, Obstacle> {
        for mut heard in std::mem::take(&mut events.heard) {
            if !heard.is_wanted(&rules.routes) {
                events.heard.push(heard);
                continue;
            }
            self.read_key(&mut heard, cut).await;
            if let Some(why) = left_out(&heard, rules) {
                events.incoming.dropped.push(heard.dropped(&why));
                continue;
            }
            match self
                .serves(&heard.src.bucket, &rules.routes, cut)
                .await
                .map_err(Obstacle::NotNow)?
            {
                None => events.heard.push(heard),
                Some(refusal) => events.incoming.apart.push(Apart { body: heard.body, refusal }),
            }
        }
        events.jobs(&rules.routes).map_err(Obstacle::Refused)
    }

    /// If a key can be read in two ways, asks the source which of the two it has. If that is
    /// inconclusive, as for a deleted object, the bucket's earlier objects decide. Amazon S3
    /// encodes keys and is not asked.
    async fn read_key(&self, heard: &mut Heard, cut: &CancellationToken) {
        if heard.other.is_none() || self.engine.source.profile().is_amazon() {
            return;
        }
        let known = self.listener.encoded(&heard.src.bucket);
        if known.is_some_and(|encoded| encoded != heard.is_decoded) {
            heard.reread();
        }
        let Some(other) = heard.other.clone() else { return };
        if !heard.is_of_something_there() {
            return;
        }
        let there = |id: ObjectId| async move {
            let source = Retrying::probing(&*self.engine.source, cut);
            source.current(&id).await.map(|meta| meta.is_some())
        };
        let told = match known {
            None => tokio::join!(there(heard.src.clone()), there(other)),
            Some(_) => match there(heard.src.clone()).await {
                // The same as before in this bucket: nothing new.
                Ok(true) => return,
                likely => (likely, there(other).await),
            },
        };
        // If the source cannot say, the copy fails for the same reason and reports it.
        let (Ok(likely), Ok(unlikely)) = told else { return };
        if likely == unlikely {
            return;
        }
        if unlikely {
            heard.reread();
        }
        let (bucket, key) = (&heard.src.bucket, heard.src.key.as_str());
        let mut writings = self.listener.writings();
        let is_news = writings.entry(bucket.clone()).or_default().shows(heard.is_decoded, key);
        if unlikely && is_news {
            let bucket = shown(bucket).to_string();
            let keys = if heard.is_decoded { "encoded" } else { "as they are, not encoded" };
            info!(bucket, "its events carry keys {keys}: a lookup of its objects showed this");
        }
    }

    /// Why an event of `bucket` is refused, if it is: the default place already serves another
    /// bucket. The record says which one, since the whole fleet serves it.
    async fn serves(
        &self,
        bucket: &str,
        routes: &Routes,
        cut: &CancellationToken,
    ) -> Result<Option<MessageRefusal>> {
        let Some((des_bucket, des_prefix)) = routes.default_place() else { return Ok(None) };
        let name = format!("events:{des_bucket}/{des_prefix}");
        let mut served = self.listener.served.lock().await;
        if !served.contains_key(&name) {
            let first = match self.claim(&name, bucket, cut).await {
                Err(error) if error.kind() == ErrorKind::Denied => {
                    warn!(
                        "no record says which bucket's events go to {}, so workers may disagree: \
                         {error}",
                        shown(des_bucket)
                    );
                    bucket.to_owned()
                }
                first => first?,
            };
            info!(
                "without a bucket list, events of bucket {} go to {}, those of other buckets are \
                 refused",
                shown(&first),
                shown(des_bucket)
            );
            served.insert(name.clone(), first);
        }
        let first = served.get(&name).filter(|first| *first != bucket);
        Ok(first.map(|first| MessageRefusal::ServesAnother(bucket.to_owned(), first.clone())))
    }

    /// Records `bucket` as the one that is served, unless another one already is; returns the one
    /// served.
    async fn claim(&self, name: &str, bucket: &str, cut: &CancellationToken) -> Result<String> {
        let state = Retrying::probing(&*self.engine.notes, cut);
        let key = [NoteKey::new(name)];
        if state.add_note(&key[0], bucket.as_bytes()).await? {
            return Ok(bucket.to_owned());
        }
        let notes = state.notes(&key).await?;
        let first = notes.into_iter().flatten().next().unwrap_or_default();
        Ok(String::from_utf8(first).unwrap_or_default())
    }
}

fn keep(known: &mut Option<KnownRules>, rules: Rules) -> Arc<Rules> {
    let (rules, read) = (Arc::new(rules), Instant::now());
    *known = Some(KnownRules { rules: Arc::clone(&rules), read, good_until: read + GOOD_FOR });
    rules
}

/// Whether the rules have no place for some of its events.
fn lacks_a_place(heard: &Result<Incoming, Obstacle>) -> bool {
    match heard {
        Ok(incoming) => incoming.apart.iter().any(|apart| apart.refusal.is_by_rules()),
        Err(Obstacle::Refused(refusal)) => refusal.is_by_rules(),
        Err(Obstacle::NotNow(_)) => false,
    }
}

/// Why a comparison would leave the object out, if it would.
fn left_out(heard: &Heard, rules: &Rules) -> Option<String> {
    let path = format!("{}/{}", heard.src.bucket, heard.src.key.as_str());
    if let Some(rule) = rules.ignore.matches(&path) {
        return Some(format!("ignored by {}", shown(rule)));
    }
    let bound = rules.filter.leaves_out(&path, heard.size, None)?;
    Some(format!("left out by {bound}"))
}

#[cfg(test)]
mod tests;
