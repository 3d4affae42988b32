//! The closing comparison: whether the destination lists what was written.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use crate::object::{Etag, ObjectId, ObjectKey, destination_key};
use crate::params::Pair;
use crate::plan::compare::{EtagsSay, etags_say};
use crate::retry::{Policy, retry};
use crate::state::{Copy, StateStore};
use crate::store::profile::Quirk;
use crate::store::{Listed, ObjectStore};

/// Objects that are looked at by themselves before their ETags are said to differ.
const LOOKED_AT: usize = 20;

/// What both sides' listings and the records say of the ETags.
#[derive(Debug)]
pub struct Closing {
    state: Arc<dyn StateStore>,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// Objects whose ETags are equal on both sides.
    equal: u64,
    /// Objects that are on no record and whose ETags are of one form and differ.
    doubtful: u64,
    /// The first of those, at the source and at the destination.
    named: Vec<(ObjectId, ObjectId)>,
}

impl Closing {
    /// With what is on record.
    pub fn new(state: Arc<dyn StateStore>) -> Self {
        Self { state, seen: Mutex::default() }
    }

    pub(super) fn state(&self) -> &Arc<dyn StateStore> {
        &self.state
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the destination lists something else than was written. Where nothing is on record of
    /// this content, its ETag may only look like the source's kind: [`Self::doubts`] decides.
    pub(super) fn differs(
        &self,
        pair: &Pair,
        source: Listed<'_>,
        copy: Listed<'_>,
        known: Option<&Copy>,
    ) -> bool {
        // A record of another content says nothing of this one.
        let listed = source.etag.map(Etag::new);
        let known = known.filter(|known| known.revision.etag == listed);
        let written = known.and_then(|known| known.written.as_ref());
        match etags_say(source.etag, copy.etag, written) {
            EtagsSay::Differ => true,
            EtagsSay::Equal => {
                let same = copy.etag.map(Etag::new) == listed;
                self.seen().equal += u64::from(same);
                false
            }
            EtagsSay::MayDiffer => {
                let mut seen = self.seen();
                seen.doubtful += 1;
                if seen.named.len() < LOOKED_AT {
                    let key = ObjectKey::new(source.key);
                    let des = destination_key(&pair.des_prefix, &key);
                    let des = ObjectId { bucket: pair.des_bucket.clone(), key: des };
                    seen.named.push((ObjectId { bucket: pair.src_bucket.clone(), key }, des));
                }
                false
            }
            EtagsSay::Nothing => false,
        }
    }

    /// How many of the objects that are on no record differ after all, and the first of them: where other
    /// objects' ETags are equal on both sides, so that both are of one kind, and no encryption makes
    /// them another.
    pub async fn doubts(
        &self,
        sides: [&dyn ObjectStore; 2],
        max_retry: u32,
        cancel: &CancellationToken,
    ) -> (u64, Vec<ObjectId>) {
        let Seen { equal, doubtful, named } = std::mem::take(&mut *self.seen());
        if doubtful == 0 {
            return (0, Vec::new());
        }
        if equal == 0 {
            info!(
                objects = doubtful,
                "on no record, and no ETag is equal on both sides: ETags are not compared"
            );
            return (0, Vec::new());
        }
        let [source, destination] = sides;
        for (src, des) in &named {
            let own =
                |store: &dyn ObjectStore, bucket| store.profile().has(bucket, Quirk::OwnEtags);
            if own(source, &src.bucket) || own(destination, &des.bucket) {
                return (0, Vec::new());
            }
            for (store, id) in [(destination, des), (source, src)] {
                let head = || async { store.head(id, None).await };
                match retry(Policy::control(max_retry), cancel, head).await {
                    Ok(meta) if meta.md5().is_none() && meta.multipart_digest().is_none() => {
                        info!(object = %id, "its ETag is no digest: ETags are not compared");
                        return (0, Vec::new());
                    }
                    Ok(_) => {}
                    Err(error) => debug!("an object whose ETag differs: {error}"),
                }
            }
        }
        (doubtful, named.into_iter().map(|(src, _)| src).collect())
    }
}
