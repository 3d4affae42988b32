//! What a message asks for. Events name no destination: the bucket list decides, and where there is none,
//! the default place serves one source bucket. Which list that is may change while a worker runs.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Mutex as Turn;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Worker;
use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};
use crate::job::{Apart, Events, Heard, Incoming, Opened, Refusal, Routes, open};
use crate::object::ObjectId;
use crate::plan::filter::Filter;
use crate::plan::patterns::Patterns;
use crate::retry::{Policy, retry};
use crate::shown::shown;
use crate::state::NoteKey;
use crate::store::Listed;

/// A bucket list that was read is good for this long: a new pair's events wait no longer.
const GOOD_FOR: Duration = Duration::from_secs(300);

/// What is done with events.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Where their objects go.
    pub routes: Routes,
    /// What a comparison ignores, events ignore.
    pub ignore: Patterns,
    /// What it leaves out, they leave out.
    pub filter: Filter,
}

impl Rules {
    /// With the one place that the ini names, and no bucket list.
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

/// Where the rules for events stand.
#[async_trait]
pub trait RuleBook: Send + Sync + fmt::Debug {
    /// As they are now.
    async fn read(&self) -> Result<Rules>;
}

/// Rules that do not change.
#[async_trait]
impl RuleBook for Rules {
    async fn read(&self) -> Result<Rules> {
        Ok(self.clone())
    }
}

/// What a worker knows of events.
#[derive(Debug)]
pub(super) struct Listener {
    book: Arc<dyn RuleBook>,
    /// The rules as they were read, and until when they are good. One task reads at a time.
    rules: Turn<Option<(Arc<Rules>, Instant)>>,
    /// Whether the events of these buckets have encoded keys, as their objects have shown.
    encoded: Mutex<BTreeMap<String, bool>>,
    /// Which source bucket each default place serves.
    served: Turn<BTreeMap<String, String>>,
}

/// Why a message is not understood.
pub(super) enum Obstacle {
    /// It cannot be carried out.
    Refused(Refusal),
    /// Where its objects go is not known at present.
    NotNow(Error),
}

impl Listener {
    pub(super) fn new(book: Arc<dyn RuleBook>) -> Self {
        let (encoded, served) = (Mutex::default(), Turn::default());
        Self { book, rules: Turn::default(), encoded, served }
    }

    /// The rules, read anew from time to time. Old ones stay in use while they cannot be read.
    async fn rules(&self) -> Result<Arc<Rules>> {
        let mut known = self.rules.lock().await;
        if let Some((rules, good_until)) = known.as_ref()
            && Instant::now() < *good_until
        {
            return Ok(Arc::clone(rules));
        }
        let rules = match (self.book.read().await, known.as_ref()) {
            (Ok(rules), _) => Arc::new(rules),
            (Err(error), Some((rules, _))) => {
                warn!(
                    "the bucket list could not be read again, the last one stays in use: {error}"
                );
                Arc::clone(rules)
            }
            (Err(error), None) => return Err(error),
        };
        *known = Some((Arc::clone(&rules), Instant::now() + GOOD_FOR));
        Ok(rules)
    }

    fn encoded(&self) -> MutexGuard<'_, BTreeMap<String, bool>> {
        self.encoded.lock().unwrap_or_else(PoisonError::into_inner)
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

    async fn hear(
        &self,
        mut events: Events,
        cut: &CancellationToken,
    ) -> Result<Incoming, Obstacle> {
        let rules = self.listener.rules().await.map_err(Obstacle::NotNow)?;
        for mut heard in std::mem::take(&mut events.heard) {
            if !heard.is_wanted(&rules.routes) {
                events.heard.push(heard);
                continue;
            }
            self.read_key(&mut heard, cut).await;
            if let Some(why) = left_out(&heard, &rules) {
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

    /// Where a key can be read in two ways, the source is asked which of both it has, until that has
    /// shown how its events are written. Of what was deleted there is no telling.
    async fn read_key(&self, heard: &mut Heard, cut: &CancellationToken) {
        let Some(other) = heard.other.clone() else { return };
        let known = self.listener.encoded().get(&heard.src.bucket).copied();
        if let Some(encoded) = known {
            if encoded != heard.is_decoded {
                heard.reread();
            }
            return;
        }
        if !heard.is_of_something_there() {
            return;
        }
        let there = |id: ObjectId| async move {
            let policy = Policy::probe();
            let current = || async { self.engine.source.current(&id).await };
            retry(policy, cut, current).await.map(|meta| meta.is_some())
        };
        let (likely, unlikely) = tokio::join!(there(heard.src.clone()), there(other));
        // Where it cannot be told, the copy fails for the same reason and says so.
        let (likely, unlikely) = (likely.unwrap_or(true), unlikely.unwrap_or(true));
        if likely == unlikely {
            return;
        }
        if unlikely {
            heard.reread();
            let bucket = shown(&heard.src.bucket).to_string();
            let keys = if heard.is_decoded { "encoded" } else { "as they are, not encoded" };
            info!(bucket, "its events have keys {keys}, as its objects show");
        }
        self.listener.encoded().insert(heard.src.bucket.clone(), heard.is_decoded);
    }

    /// Why an event of `bucket` is refused, if it is: the default place serves another bucket already.
    /// Which one is on record, since the whole fleet serves it.
    async fn serves(
        &self,
        bucket: &str,
        routes: &Routes,
        cut: &CancellationToken,
    ) -> Result<Option<Refusal>> {
        let Some((des_bucket, des_prefix)) = routes.default_place() else { return Ok(None) };
        let name = format!("events:{des_bucket}/{des_prefix}");
        let mut served = self.listener.served.lock().await;
        if !served.contains_key(&name) {
            let first = match self.claim(&name, bucket, cut).await {
                Err(error) if error.kind() == ErrorKind::Denied => {
                    warn!(
                        "which bucket's events go to {} is not on record, so that workers may differ: \
                         {error}",
                        shown(des_bucket)
                    );
                    bucket.to_owned()
                }
                first => first?,
            };
            info!(
                "without a bucket list, events of bucket {} go to {}, and of no other bucket",
                shown(&first),
                shown(des_bucket)
            );
            served.insert(name.clone(), first);
        }
        let first = served.get(&name).filter(|first| *first != bucket);
        Ok(first.map(|first| Refusal::ServesAnother(bucket.to_owned(), first.clone())))
    }

    /// Puts `bucket` on record as the one that is served, unless another one is; which it is then.
    async fn claim(&self, name: &str, bucket: &str, cut: &CancellationToken) -> Result<String> {
        let (state, key) = (&self.engine.state, [NoteKey::new(name)]);
        let policy = Policy::probe();
        let text = bucket.as_bytes();
        if retry(policy, cut, || state.add_note(&key[0], text)).await? {
            return Ok(bucket.to_owned());
        }
        let notes = retry(policy, cut, || state.notes(&key)).await?;
        let first = notes.into_iter().flatten().next().unwrap_or_default();
        Ok(String::from_utf8(first).unwrap_or_default())
    }
}

/// Why a comparison would not have looked at the object, if it would not.
fn left_out(heard: &Heard, rules: &Rules) -> Option<String> {
    let path = format!("{}/{}", heard.src.bucket, heard.src.key.as_str());
    if let Some(rule) = rules.ignore.matches(&path) {
        return Some(format!("ignored by {}", shown(rule)));
    }
    let unsized_filter;
    let filter = match heard.size {
        Some(_) => &rules.filter,
        // Nothing is left out on a guess.
        None => {
            unsized_filter = Filter { min_size: None, max_size: None, ..rules.filter.clone() };
            &unsized_filter
        }
    };
    let bound = filter.leaves_out(&path, Listed::new("", heard.size.unwrap_or(0)))?;
    Some(format!("left out by {bound}"))
}
