//! `verify`: an independent second look at both sides: listings, headers, checksums, bytes.
//!
//! It shares no decision with the copy. What it has in common with `compare` is how keys are listed:
//! in ranges, with a checked end. What is looked at, what counts as equal and what is left out are
//! decided here, and no record is read.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::compare::KeyOrigin;
use crate::config::StorageClass;
use crate::error::{ErrorKind, Result};
use crate::filter::Filter;
use crate::filter::patterns::Patterns;
use crate::format::human;
use crate::mutex::lock;
use crate::params::Pair;
use crate::store::Reads;

pub mod bytes;
pub mod counts;
pub mod evidence;
pub mod extent;
pub mod findings;
pub mod journal;
mod look;
mod one_pair;
mod one_range;

use counts::Counts;
use extent::Extent;
use findings::Example;
use journal::{Journal, PairState};

/// What is looked at, and how.
#[derive(Clone, Debug)]
pub struct Verification {
    /// The objects.
    pub source: Arc<dyn Reads>,
    /// Their copies.
    pub destination: Arc<dyn Reads>,
    /// Where the keys of either side come from.
    pub origins: [KeyOrigin; 2],
    /// Objects to leave out.
    pub ignore: Arc<Patterns>,
    /// Objects to look at.
    pub filter: Arc<Filter>,
    /// Of which objects the headers are compared.
    pub head: Extent,
    /// Of which objects the bytes are compared.
    pub deep: Extent,
    /// What copies keep in addition to their bytes.
    pub keeps: Keeps,
    /// The destination encrypts by SSE-KMS, so its ETags are no MD5s.
    pub kms: bool,
    /// How many ranges of keys are listed at once.
    pub at_once: usize,
    /// Tries for one call.
    pub max_retry: u32,
    /// How often a line tells how far it has come.
    pub log_interval: Duration,
}

/// What copies keep in addition to their bytes, as the configuration has it.
#[derive(Clone, Debug)]
pub struct Keeps {
    /// Headers and user metadata.
    pub metadata: bool,
    /// Tags.
    pub tags: bool,
    /// The storage class.
    pub class: StorageClass,
}

/// What was found.
#[derive(Debug)]
pub struct Verified {
    /// Each pair with its counts.
    pub pairs: Vec<PairState>,
    /// The first of what is not equal.
    pub examples: Vec<Example>,
    /// It was stopped before the end.
    pub interrupted: bool,
}

impl Verification {
    /// Looks at all pairs, one after the other, from where the journal stands. Whatever ends it,
    /// the checkpoint is written.
    pub async fn run(
        self,
        pairs: &[Pair],
        journal: Journal,
        cancel: &CancellationToken,
    ) -> Result<Verified> {
        let (interval, journal) = (self.log_interval, Arc::new(Mutex::new(journal)));
        let looked = Arc::new(self).look_at_all(pairs, &journal, cancel);
        let mut looked = std::pin::pin!(looked);
        let mut tick = tokio::time::interval(interval);
        let ended = loop {
            tokio::select! {
                ended = &mut looked => break ended,
                _ = tick.tick() => tell(&lock(&journal)),
            }
        };
        let mut journal = lock(&journal);
        journal.save()?;
        let interrupted = match ended {
            Err(error) if error.kind() == ErrorKind::Cancelled && cancel.is_cancelled() => true,
            ended => ended.map(|()| false)?,
        };
        let (pairs, examples) = (journal.pairs().to_vec(), journal.examples().to_vec());
        Ok(Verified { pairs, examples, interrupted })
    }

    async fn look_at_all(
        self: Arc<Self>,
        pairs: &[Pair],
        journal: &Arc<Mutex<Journal>>,
        cancel: &CancellationToken,
    ) -> Result<()> {
        let looker = Arc::new(look::Looker::new());
        for (at, pair) in pairs.iter().enumerate() {
            one_pair::look_at(&self, &looker, journal, (at, pair), cancel).await?;
        }
        Ok(())
    }
}

fn tell(journal: &Journal) {
    let mut all = Counts::default();
    journal.pairs().iter().for_each(|pair| all.add(&pair.counts));
    if all.source_objects + all.extra == 0 {
        return;
    }
    let (objects, equal) = (human::count(all.source_objects), human::count(all.equal));
    let (differing, missing) = (human::count(all.differing), human::count(all.missing));
    let extra = human::count(all.extra);
    info!(
        "looked at {objects} objects: {equal} equal, {differing} differing, {missing} missing, \
         {extra} extra"
    );
}

impl Verified {
    /// The counts of all pairs.
    pub fn total(&self) -> Counts {
        let mut all = Counts::default();
        self.pairs.iter().for_each(|pair| all.add(&pair.counts));
        all
    }

    /// Whether every key was listed and every object was looked at as was asked. If neither side of
    /// any pair has an object, nothing was looked at.
    pub fn is_whole(&self) -> bool {
        let total = self.total();
        let is_listed = self.pairs.iter().all(|pair| pair.left.is_empty());
        let seen = total.source_objects + total.extra > 0;
        is_listed && seen && !self.interrupted && total.not_looked_at + total.doubtful_ends == 0
    }

    /// Whether a checkpoint has anything left to go on with.
    pub fn is_over(&self) -> bool {
        !self.interrupted && self.pairs.iter().all(|pair| pair.left.is_empty())
    }
}
