//! The closing comparison: whether the destination lists what was written.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use futures_util::{StreamExt, stream};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::compare::difference::{EtagsSay, etags_say};
use crate::mutex::lock;
use crate::object::{Etag, ObjectId};
use crate::params::Pair;
use crate::quirk::Quirk;
use crate::record::{Copy, RecordStore};
use crate::retry::Retrying;
use crate::store::{Listed, Reads};

/// How many objects of a bucket pair are looked up by themselves before their ETags are said to
/// differ.
const LOOKED_AT: usize = 1000;
/// How many of them at once.
const AT_ONCE: usize = 16;

/// What both sides' listings and the records say about the ETags.
#[derive(Debug)]
pub(super) struct Closing {
    state: Arc<dyn RecordStore>,
    /// By source bucket, then by destination bucket.
    seen: Mutex<BySource>,
}

type BySource = BTreeMap<String, BTreeMap<String, EtagsOfPair>>;

/// What is seen of one bucket pair. Each pair is judged by its own ETags only.
#[derive(Debug, Default)]
struct EtagsOfPair {
    /// Objects whose ETags are equal on both sides.
    equal: u64,
    /// Objects that are on no record and whose ETags have the same form and differ.
    doubtful: u64,
    /// The first of those, at the source and at the destination.
    named: Vec<(ObjectId, ObjectId)>,
}

impl EtagsOfPair {
    fn doubt(&mut self, pair: &Pair, key: &str) {
        self.doubtful += 1;
        if self.named.len() < LOOKED_AT {
            let src = ObjectId::new(&pair.src_bucket, key);
            let des = pair.target(&src.key);
            self.named.push((src, des));
        }
    }
}

impl Closing {
    /// Compares with these records.
    pub(super) fn new(state: Arc<dyn RecordStore>) -> Self {
        Self { state, seen: Mutex::default() }
    }

    pub(super) fn state(&self) -> &Arc<dyn RecordStore> {
        &self.state
    }

    fn seen(&self) -> MutexGuard<'_, BySource> {
        lock(&self.seen)
    }

    /// Notes something about a bucket pair.
    fn note(&self, pair: &Pair, note: impl FnOnce(&mut EtagsOfPair)) {
        let mut seen = self.seen();
        let (src, des) = (&pair.src_bucket, &pair.des_bucket);
        if let Some(of_pair) = seen.get_mut(src).and_then(|of_source| of_source.get_mut(des)) {
            return note(of_pair);
        }
        note(seen.entry(src.clone()).or_default().entry(des.clone()).or_default());
    }

    /// Whether the destination lists something other than what was written. If there is no record
    /// of this content, its ETag may only look like the source's kind: [`Self::doubts`] decides.
    pub(super) fn differs(
        &self,
        pair: &Pair,
        source: Listed<'_>,
        copy: Listed<'_>,
        known: Option<&Copy>,
    ) -> bool {
        // A record of another content says nothing about this one.
        let listed = source.etag.map(Etag::new);
        let known = known.filter(|known| known.revision.etag == listed);
        let written = known.and_then(|known| known.written.as_ref());
        match etags_say(source.etag, copy.etag, written) {
            EtagsSay::Differ => true,
            EtagsSay::Equal => {
                let same = copy.etag.map(Etag::new) == listed;
                self.note(pair, |seen| seen.equal += u64::from(same));
                false
            }
            EtagsSay::MayDiffer => {
                self.note(pair, |seen| seen.doubt(pair, source.key));
                false
            }
            EtagsSay::Nothing => false,
        }
    }

    /// The objects that are on no record and do differ. An object is among them only if other
    /// objects of its bucket pair have equal ETags on both sides, so that both are of one kind, and
    /// if no encryption changes its own.
    pub(super) async fn doubts(
        &self,
        sides: [&dyn Reads; 2],
        max_retry: u32,
        cancel: &CancellationToken,
    ) -> Vec<ObjectId> {
        let seen = std::mem::take(&mut *self.seen());
        let pairs = seen.into_iter().flat_map(|(src, of_source)| {
            of_source.into_iter().map(move |(des, seen)| (src.clone(), des, seen))
        });
        let mut differ = Vec::new();
        for (src, des, EtagsOfPair { equal, doubtful, named }) in pairs {
            if doubtful == 0 {
                continue;
            }
            let [source, destination] = sides.map(|side| side.profile());
            let has_own =
                source.has(&src, Quirk::OwnEtags) || destination.has(&des, Quirk::OwnEtags);
            let place = format!("from bucket {} to {}", src.escape_debug(), des.escape_debug());
            if equal == 0 || has_own {
                info!(
                    objects = doubtful,
                    "no record names these objects, and ETags {place} are of different kinds: \
                     they are not compared"
                );
                continue;
            }
            let more = doubtful.saturating_sub(named.len() as u64);
            if more > 0 {
                warn!(
                    objects = more,
                    "no record names these objects, and their ETags {place} differ; there are too many to look at each"
                );
            }
            let looks = named.into_iter().map(|ids| async move {
                differs_after_all(sides, &ids, max_retry, cancel).await.then_some(ids.0)
            });
            let looked: Vec<_> = stream::iter(looks).buffered(AT_ONCE).collect().await;
            differ.extend(looked.into_iter().flatten());
        }
        differ
    }
}

/// Whether an object's ETags are digests on both sides, so that its bytes differ.
async fn differs_after_all(
    [source, destination]: [&dyn Reads; 2],
    (src, des): &(ObjectId, ObjectId),
    max_retry: u32,
    cancel: &CancellationToken,
) -> bool {
    for (store, id) in [(destination, des), (source, src)] {
        match Retrying::new(store, max_retry, cancel).head(id, None).await {
            Ok(meta) if meta.md5().is_none() && meta.multipart_digest().is_none() => {
                debug!(object = %id, "its ETag is not a digest: it is not compared");
                return false;
            }
            Ok(_) => {}
            Err(error) => debug!("an object whose ETag differs: {error}"),
        }
    }
    true
}
