//! The closer look at one object: HEAD on both sides, tags, bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::sync::Semaphore;

use super::Verification;
use super::bytes::same_objects;
use super::evidence::{EtagsSaw, Evidence, Hidden, How, Opinion, Seen, etags};
use super::findings::Wrong;
use super::journal::Gain;
use super::one_pair::OnePair;
use crate::error::{Error, ErrorKind, Result};
use crate::object::{ObjectId, ObjectKey};
use crate::quirk::Quirk;
use crate::retry::Retrying;
use crate::store::{ObjectMeta, Reads};
use crate::transfer::preserved::Wanted;

/// Objects of one range that are looked at concurrently.
const AT_ONCE: usize = 16;
/// Objects of all ranges that are asked for by HEAD concurrently.
const HEADS: usize = 64;
/// Objects of all ranges that are read concurrently; each takes a few hundred KiB of memory.
const READS: usize = 8;
/// How many objects are asked for by HEAD before they are called missing. If the destination had
/// none of those, its listing is believed.
const UNLISTED: u64 = 1000;

/// An object to look at.
#[derive(Debug)]
pub(super) struct Ask {
    /// The key at the source.
    pub key: String,
    /// What the source lists.
    pub source: Seen,
    /// What the destination lists; `None`: nothing.
    pub copy: Option<Seen>,
    /// Its headers are compared.
    pub head: bool,
    /// Its bytes are compared.
    pub deep: bool,
}

/// What bounds the closer looks of a verification.
#[derive(Debug)]
pub(super) struct Looker {
    heads: Semaphore,
    reads: Semaphore,
    /// Objects that were asked for because the destination does not list them.
    asked: AtomicU64,
    /// The destination had one of them.
    hides: AtomicBool,
}

impl Looker {
    pub(super) fn new() -> Self {
        let (heads, reads) = (Semaphore::new(HEADS), Semaphore::new(READS));
        Self { heads, reads, asked: AtomicU64::new(0), hides: AtomicBool::new(false) }
    }

    /// Whether an object that the destination does not list is asked for by HEAD: some stores do
    /// not list all that they have.
    pub(super) fn asks_for_unlisted(&self) -> bool {
        self.asked.fetch_add(1, Ordering::Relaxed) < UNLISTED || self.hides.load(Ordering::Relaxed)
    }
}

/// What looking at an object has shown so far.
struct Shown {
    heads: Option<[ObjectMeta; 2]>,
    same_bytes: Option<bool>,
    hidden: Hidden,
    /// Why not everything that was asked could be looked at.
    trouble: Option<Error>,
}

impl OnePair {
    /// Looks at these objects, some at a time.
    pub(super) async fn look_at(self: &Arc<Self>, asks: Vec<Ask>) -> Result<Vec<Gain>> {
        let looks = asks.into_iter().map(|ask| {
            let pair = Arc::clone(self);
            async move { pair.look(ask).await }
        });
        // Collected, since a closure that borrows cannot be sent between threads.
        let looks: Vec<_> = looks.collect();
        stream::iter(looks).buffer_unordered(AT_ONCE).try_collect().await
    }

    async fn look(&self, ask: Ask) -> Result<Gain> {
        let mut gain = Gain::default();
        let source = ObjectId::new(&self.pair.src_bucket, &ask.key);
        let ids = [&source, &self.pair.target(&ObjectKey::new(&ask.key))];
        let copy = match ask.copy.clone() {
            Some(copy) => copy,
            None => match self.unlisted(ids[1]).await? {
                Some(copy) => {
                    gain.counts.unlisted += 1;
                    copy
                }
                None => {
                    self.misses(&ask.key, ask.source.size, &mut gain);
                    return Ok(gain);
                }
            },
        };
        let shown = self.examine(&ask, &copy, ids, &mut gain).await?;
        let class = shown.heads.as_ref().and_then(|[source, _]| {
            // A store leaves STANDARD out.
            let class = source.storage_class.as_deref().or(Some("STANDARD"));
            self.verification.keeps.class.of(class)
        });
        let evidence = Evidence {
            listed: [&ask.source, &copy],
            heads: shown.heads.as_ref(),
            same_bytes: shown.same_bytes,
            hidden: shown.hidden,
            wanted: self.wanted(class.as_deref()),
        };
        match (evidence.judge(), shown.trouble) {
            // A difference that was seen stands, whatever else could not be seen.
            (Opinion::Differ(how, lost), trouble) if trouble.is_none() || how != [How::Etag] => {
                let lost = lost.into_iter().map(str::to_owned).collect();
                self.differs(&ask.key, &how, lost, &mut gain);
            }
            (_, Some(trouble)) => {
                gain.counts.not_looked_at += 1;
                let finding = self.finding(&ask.key, vec![trouble.to_string()]);
                gain.findings.push((Wrong::NotLookedAt, finding));
            }
            (opinion, None) => self.count(&ask.key, ask.source.size, opinion, &mut gain),
        }
        Ok(gain)
    }

    /// Asks for everything that was asked for. An error that is about the object is a trouble.
    async fn examine(
        &self,
        ask: &Ask,
        copy: &Seen,
        ids: [&ObjectId; 2],
        gain: &mut Gain,
    ) -> Result<Shown> {
        let mut shown = Shown { heads: None, same_bytes: None, hidden: self.hidden, trouble: None };
        let saw = etags(ask.source.etag.as_ref(), copy.etag.as_ref(), self.hidden);
        let mut sizes = [ask.source.size, copy.size];
        if ask.head || (saw == EtagsSaw::Different && !ask.deep) {
            match self.heads(ids, &mut shown.hidden).await {
                Ok(heads) => {
                    gain.counts.heads += 1;
                    sizes = [heads[0].size, heads[1].size];
                    shown.heads = Some(heads);
                }
                Err(error) => shown.trouble = Some(of_object(error)?),
            }
        }
        if ask.deep && sizes[0] == sizes[1] {
            let Verification { source, destination, max_retry, .. } = &*self.verification;
            let sides: [(&dyn Reads, _); 2] = [(&**source, ids[0]), (&**destination, ids[1])];
            let _room = self.looker.reads.acquire().await;
            match same_objects(sides, sizes[0], *max_retry, &self.cancel).await {
                Ok(same) => {
                    gain.counts.read += 1;
                    gain.counts.read_bytes += sizes[0];
                    shown.same_bytes = Some(same);
                }
                Err(error) => shown.trouble = Some(of_object(error)?),
            }
        }
        Ok(shown)
    }

    /// What both sides say about the object, with their tags counted.
    async fn heads(&self, ids: [&ObjectId; 2], hidden: &mut Hidden) -> Result<[ObjectMeta; 2]> {
        let Verification { source, destination, max_retry, keeps, .. } = &*self.verification;
        let sides =
            [&**source, &**destination].map(|store| Retrying::new(store, *max_retry, &self.cancel));
        let _room = self.looker.heads.acquire().await;
        let (one, other) = tokio::join!(sides[0].head(ids[0], None), sides[1].head(ids[1], None));
        let mut heads = [one?, other?];
        if keeps.tags && !destination.profile().has(&ids[1].bucket, Quirk::NoTags) {
            self.count_tags(&sides, ids, &mut heads).await?;
        }
        let [one, other] = &heads;
        let are_parts = one.etag.parts().is_some() && one.etag.parts() == other.etag.parts();
        if are_parts && one.etag != other.etag && one.sum.is_none() {
            // As many parts of other sizes have another digest, whatever the bytes.
            let firsts = tokio::join!(
                sides[0].parts_seen(ids[0], None, &one.etag),
                sides[1].parts_seen(ids[1], None, &other.etag),
            );
            if let (Ok(Some(one)), Ok(Some(other))) = firsts {
                hidden.parts |= one.first != other.first;
            }
        }
        Ok(heads)
    }

    /// Counts the tags that answers to HEAD do not count. Amazon S3 sends the count of those that
    /// the caller may see, if there are any.
    async fn count_tags(
        &self,
        sides: &[Retrying<'_, dyn Reads>; 2],
        ids: [&ObjectId; 2],
        heads: &mut [ObjectMeta; 2],
    ) -> Result<()> {
        for at in [0, 1] {
            let is_source_of_amazon = at == 0 && self.verification.source.profile().is_amazon();
            let is_needed = at == 0 || heads[0].tag_count.is_some_and(|tags| tags > 0);
            if heads[at].tag_count.is_some() || is_source_of_amazon || !is_needed {
                continue;
            }
            heads[at].tag_count = match sides[at].tags(ids[at], None).await {
                Ok(tags) => u32::try_from(tags.len()).ok(),
                Err(error) => of_object(error).map(|_| None)?,
            };
        }
        Ok(())
    }

    /// An object that the destination has and does not list.
    async fn unlisted(&self, id: &ObjectId) -> Result<Option<Seen>> {
        let Verification { destination, max_retry, .. } = &*self.verification;
        let store = Retrying::new(&**destination, *max_retry, &self.cancel);
        let _room = self.looker.heads.acquire().await;
        match store.current(id).await {
            Ok(Some(meta)) => {
                self.looker.hides.store(true, Ordering::Relaxed);
                Ok(Some(Seen { size: meta.size, etag: Some(meta.etag) }))
            }
            Ok(None) => Ok(None),
            // It is not listed, and that stands.
            Err(error) => of_object(error).map(|_| None),
        }
    }

    fn wanted<'a>(&self, class: Option<&'a str>) -> Wanted<'a> {
        let Verification { destination, keeps, .. } = &*self.verification;
        let knows = |quirk| !destination.profile().has(&self.pair.des_bucket, quirk);
        let classes = knows(Quirk::NoStorageClass) && knows(Quirk::OtherClasses);
        Wanted { metadata: keeps.metadata, tags: keeps.tags, class: class.filter(|_| classes) }
    }

    /// Counts the opinion on an object.
    pub(super) fn count(&self, key: &str, size: u64, opinion: Opinion, gain: &mut Gain) {
        match opinion {
            Opinion::Equal(ground) => gain.counts.count_equal(size, ground),
            Opinion::Differ(how, lost) => {
                let lost = lost.into_iter().map(str::to_owned).collect();
                self.differs(key, &how, lost, gain);
            }
        }
    }

    pub(super) fn differs(&self, key: &str, how: &[How], lost: Vec<String>, gain: &mut Gain) {
        gain.counts.count_differing(how);
        let how = how.iter().map(|how| how.as_str().to_owned()).collect();
        let mut finding = self.finding(key, how);
        finding.lost = lost;
        gain.findings.push((Wrong::Differing, finding));
    }

    pub(super) fn misses(&self, key: &str, size: u64, gain: &mut Gain) {
        gain.counts.missing += 1;
        gain.counts.missing_bytes += size;
        let finding = self.finding(key, vec![Wrong::Missing.as_str().to_owned()]);
        gain.findings.push((Wrong::Missing, finding));
    }
}

/// An error that concerns the object alone; any other ends the verification.
fn of_object(error: Error) -> Result<Error> {
    match error.kind() {
        ErrorKind::Cancelled | ErrorKind::Unfit | ErrorKind::Usage => Err(error),
        ErrorKind::Throttled
        | ErrorKind::Unavailable
        | ErrorKind::Damaged
        | ErrorKind::SourceChanged
        | ErrorKind::UploadGone
        | ErrorKind::LeaseLost
        | ErrorKind::NotFound
        | ErrorKind::Denied
        | ErrorKind::Full
        | ErrorKind::Archived
        | ErrorKind::Invalid => Ok(error),
    }
}
