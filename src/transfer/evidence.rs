//! What the answers of both buckets have shown about their digests: whether an ETag is an MD5, and
//! whether a wrong body would be refused.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard};

use futures_util::TryStreamExt;
use tokio::sync::Mutex as Turn;
use tracing::{debug, info, warn};

use super::{Attempt, Engine};
use crate::config::{Config, Sse};
use crate::digest::{self, Md5Hasher};
use crate::error::{Error, ErrorKind, Result};
use crate::mutex::lock;
use crate::object::{Etag, MIB, ObjectId};
use crate::quirk::Quirk;
use crate::retry::Retrying;
use crate::shutdown::Halt;
use crate::store::pace::Paced;
use crate::store::{
    GetRequest, ListRequest, Listed, Md5, NewObject, Payload, Reads, Upload, Uploads,
};
use crate::transfer::layout::Guesses;

/// The most objects that are read to learn whether a source's ETags are MD5s.
const MOST_SAMPLES: usize = 8;
/// The most bytes that are read for it.
const MOST_SAMPLED_BYTES: u64 = 64 * MIB;
/// Tries for a call that only finds out what a store is like.
const TRIES: u32 = 3;

/// What is known, bucket by bucket.
#[derive(Debug, Default)]
pub struct StoreEvidence {
    /// No ETag at the destination is an MD5, since the configuration asks for SSE-KMS.
    kms: bool,
    known: Mutex<Known>,
    /// Held while a task finds out about a bucket: once is enough.
    asking: Turn<()>,
}

#[derive(Debug, Default)]
struct Known {
    /// At the destination: ETags of parts are no MD5s.
    opaque: BTreeSet<String>,
    /// At the source: an ETag was the MD5 of what was read.
    md5: BTreeSet<String>,
    /// At the destination: whether a body that differs from its Content-MD5 is refused.
    refuses: BTreeMap<String, bool>,
    /// At the destination: a part is refused unless its digest comes before it.
    digests_first: BTreeSet<String>,
    /// At the destination: this worker may not list parts. Not persisted: it may get the permission
    /// later.
    unlisted: BTreeSet<String>,
    /// At the source: guessed part sizes.
    guesses: BTreeMap<String, Guesses>,
}

impl StoreEvidence {
    /// Nothing is known yet, except what the configuration says.
    pub fn new(config: &Config) -> Self {
        let kms = matches!(config.destination.sse, Sse::Kms(_));
        Self { kms, ..Self::default() }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        lock(&self.known)
    }

    /// An ETag of this bucket was the MD5 of the bytes read.
    pub(super) fn note_md5(&self, bucket: &str) {
        let mut known = self.known();
        if !known.md5.contains(bucket) {
            known.md5.insert(bucket.to_owned());
        }
    }

    /// The guesses of the part sizes in this bucket.
    pub(super) fn guesses(&self, bucket: &str) -> Guesses {
        self.known().guesses.get(bucket).cloned().unwrap_or_default()
    }

    /// A guess has turned out right or wrong.
    pub(super) fn note_guess(&self, bucket: &str, part_size: u64, right: bool) {
        self.known().guesses.entry(bucket.to_owned()).or_default().note(part_size, right);
    }
}

impl Engine {
    /// Whether a bucket's answers do not show the MD5 of what it has stored.
    pub(super) fn is_opaque(&self, bucket: &str) -> bool {
        let own = self.destination.profile().has(bucket, Quirk::OwnEtags);
        own || self.evidence.kms || self.evidence.known().opaque.contains(bucket)
    }

    /// Whether a bucket wants the digest of a part before it.
    pub(super) fn wants_digests_first(&self, bucket: &str) -> bool {
        self.evidence.known().digests_first.contains(bucket)
    }

    pub(super) fn note_digests_first(&self, bucket: &str) {
        self.evidence.known().digests_first.insert(bucket.to_owned());
    }

    /// Whether this worker may not list the parts of an upload there.
    pub(super) fn may_not_list_parts(&self, bucket: &str) -> bool {
        self.evidence.known().unlisted.contains(bucket)
    }

    pub(super) fn note_opaque(&self, bucket: &str) {
        if self.evidence.known().opaque.insert(bucket.to_owned()) {
            info!(
                bucket,
                "the destination's ETags are not MD5s: each part is verified by a checksum that is sent before it"
            );
        }
    }
}

impl Attempt<'_> {
    /// Whether the source's plain ETags are MD5s, as far as is known.
    pub(super) fn source_tells_md5(&self) -> bool {
        !self.engine.source.profile().has(&self.job.src.bucket, Quirk::OwnEtags)
    }

    /// Whether an object is damaged whose bytes twice had another MD5 than its ETag. It is, unless
    /// the bucket has ETags of its own kind, which other objects show: if the ETag of one is its
    /// MD5, the bucket has MD5s; if others can be read and none is an MD5, it has not.
    pub(super) async fn is_damaged_at_source(&self) -> Result<bool> {
        let (engine, object) = (self.engine, &self.job.src);
        let bucket = &object.bucket;
        let is_known = || engine.evidence.known().md5.contains(bucket);
        if is_known() {
            return Ok(true);
        }
        let _turn = engine.evidence.asking.lock().await;
        if !self.source_tells_md5() || is_known() {
            return Ok(self.source_tells_md5());
        }
        let mut others = 0;
        for (key, size) in self.samples().await? {
            match self.sample(&ObjectId { bucket: bucket.clone(), key }, size).await {
                Ok(Some(true)) => {
                    engine.evidence.note_md5(bucket);
                    return Ok(true);
                }
                Ok(Some(false)) => others += 1,
                Ok(None) => {}
                Err(error) if error.kind() == ErrorKind::Cancelled => return Err(error),
                Err(error) => {
                    debug!("could not read an object to see whether ETags are MD5s: {error}")
                }
            }
        }
        if others > 0 {
            let evidence = format_args!(
                "two readings of {object} are equal, but its ETag is not their MD5; nor are those \
                 of {others} others"
            );
            engine.source.profile().learn(bucket, Quirk::OwnEtags, evidence);
        }
        Ok(others == 0)
    }

    /// Some other objects of the bucket whose ETags look like MD5s, small ones first.
    async fn samples(&self) -> Result<Vec<(crate::object::ObjectKey, u64)>> {
        let object = &self.job.src;
        let (folder, _) = object.key.as_str().rsplit_once('/').unwrap_or_default();
        let mut found = Vec::new();
        for prefix in ["", folder] {
            let bucket = object.bucket.clone();
            let request = ListRequest { bucket, prefix: prefix.to_owned(), ..Default::default() };
            let page = match self.at_source().with_tries(TRIES).list(&request).await {
                Ok(page) => page,
                Err(error) if error.kind() == ErrorKind::Cancelled => return Err(error),
                // Then nothing is learned.
                Err(_) => continue,
            };
            let is_sample = |listed: &Listed<'_>| {
                let etag = listed.etag.map(Etag::new);
                listed.size > 0
                    && listed.key != object.key.as_str()
                    && etag.is_some_and(|etag| etag.looks_like_md5())
            };
            let rows = page.iter().filter(is_sample);
            found.extend(rows.map(|row| (crate::object::ObjectKey::new(row.key), row.size)));
            if !found.is_empty() {
                break;
            }
        }
        found.sort_by_key(|(_, size)| *size);
        let mut bytes = 0;
        found.retain(|(_, size)| {
            bytes += size;
            bytes <= MOST_SAMPLED_BYTES
        });
        found.truncate(MOST_SAMPLES);
        Ok(found)
    }

    /// Whether an object's ETag is the MD5 of its bytes; `None` if it cannot be one.
    async fn sample(&self, id: &ObjectId, size: u64) -> Result<Option<bool>> {
        let request = GetRequest { id: id.clone(), version: None, range: None, if_match: None };
        let read = || async {
            let answer = self.engine.source.get(&request).await?;
            let Some(md5) = answer.meta.md5() else { return Ok(None) };
            Ok(Some(hashed(answer.body).await? == md5))
        };
        self.at_source().with_tries(TRIES).data(size, read).await
    }

    /// Finds out what the destination is like, using this object's key.
    pub(super) fn asker(&self) -> Asker<'_> {
        Asker { engine: self.engine, target: &self.job.des, halt: self.halt }
    }

    /// Whether the destination refuses a body that differs from its Content-MD5.
    pub(super) async fn refuses_wrong_bodies(&self) -> Result<bool> {
        self.asker().refuses_wrong_bodies().await
    }

    /// Whether the ETag of an object of `size` bytes that was accepted is of the store's own kind.
    pub(super) async fn has_own_etags(&self, etag: &Etag, md5: Md5, size: u64) -> Result<bool> {
        self.asker().has_own_etags(etag, md5, Some(size)).await
    }

    /// The error for an object whose bytes do not match its own digest.
    pub(super) fn damaged_at_source(&self, digest: &str) -> Error {
        Error::invalid(format!(
            "{}: damaged at the source: two readings gave the same bytes, and these do not match \
             its {digest}; nothing was written: repair the object at the source, then send it \
             again",
            self.job.src
        ))
    }
}

/// Finds out what a destination is like, using the key of one object.
pub(super) struct Asker<'a> {
    pub engine: &'a Engine,
    pub target: &'a ObjectId,
    pub halt: &'a Halt,
}

impl Asker<'_> {
    /// Whether the destination refuses a body that differs from its Content-MD5. Asked once per
    /// bucket, if nothing else shows that it has verified anything: a part with a wrong digest is
    /// sent to an upload, which is then aborted.
    pub(super) async fn refuses_wrong_bodies(&self) -> Result<bool> {
        let (engine, bucket) = (self.engine, &self.target.bucket);
        let known = || engine.evidence.known().refuses.get(bucket).copied();
        if let Some(known) = known() {
            return Ok(known);
        }
        let _turn = engine.evidence.asking.lock().await;
        if let Some(known) = known() {
            return Ok(known);
        }
        if engine.destination.profile().has(bucket, Quirk::NoContentMd5) {
            return Ok(false);
        }
        let refuses = match self.ask_with_wrong_body().await {
            Ok(refuses) => refuses,
            Err(error) if error.kind() == ErrorKind::Cancelled => return Err(error),
            Err(error) => {
                debug!("could not find out whether Content-MD5 is verified: {error}");
                return Ok(false);
            }
        };
        engine.evidence.known().refuses.insert(bucket.clone(), refuses);
        if !refuses {
            let evidence = "a part with a wrong one was accepted";
            engine.destination.profile().learn(bucket, Quirk::IgnoresContentMd5, evidence);
        }
        Ok(refuses)
    }

    /// ListParts was refused. Tries it on a new upload, to learn whether only that call is refused
    /// to this worker, or every call.
    pub(super) async fn refuses_part_listing(&self) -> Result<bool> {
        let (engine, bucket) = (self.engine, &self.target.bucket);
        let _turn = engine.evidence.asking.lock().await;
        if engine.may_not_list_parts(bucket) {
            return Ok(true);
        }
        let upload = self.begin().await?;
        let listed = self.destination().list_parts(&upload).await;
        self.abort(&upload).await?;
        let refusal = match listed {
            Ok(_) => return Ok(false),
            Err(error) if error.kind() == ErrorKind::Denied => error,
            Err(error) => return Err(error),
        };
        if engine.evidence.known().unlisted.insert(bucket.clone()) {
            warn!(bucket, "no permission to list parts there, so no upload is resumed: {refusal}");
        }
        Ok(true)
    }

    async fn ask_with_wrong_body(&self) -> Result<bool> {
        let upload = self.begin().await?;
        let send = || async {
            let proof = digest::md5(b"another body").into();
            let payload = Payload::Held { bytes: bytes::Bytes::from_static(b"a body"), proof };
            match self.engine.destination.upload_part(&upload, 1, payload).await {
                Ok(_) => Ok(false),
                Err(error) if error.kind() == ErrorKind::Damaged => Ok(true),
                Err(error) => Err(error),
            }
        };
        let asked = self.destination().control(send).await;
        self.abort(&upload).await?;
        asked
    }

    fn destination(&self) -> Retrying<'_, Paced> {
        self.engine.at_destination(&self.halt.abort).with_tries(TRIES)
    }

    /// Begins an upload for such a test.
    async fn begin(&self) -> Result<Upload> {
        let new = NewObject::default();
        Ok(self.destination().create_upload(self.target, &new).await?.upload)
    }

    async fn abort(&self, upload: &Upload) -> Result<()> {
        self.destination().abort_upload(upload).await
    }

    /// The destination has accepted a body twice and answered another ETag than its MD5. Its ETags
    /// are its own if it would have refused a wrong body, or if it gives the same bytes back.
    /// Otherwise, this is damage.
    pub(super) async fn has_own_etags(
        &self,
        etag: &Etag,
        md5: Md5,
        size: Option<u64>,
    ) -> Result<bool> {
        let (engine, target) = (self.engine, self.target);
        let refuses = self.refuses_wrong_bodies().await?;
        let comes_back = match size {
            Some(size) if !refuses => self.reads_back(md5, size).await?,
            _ => false,
        };
        if !refuses && !comes_back {
            return Ok(false);
        }
        let expected = digest::single_etag(&md5);
        let why = match refuses {
            true => "and would have refused any other body because of Content-MD5",
            false => "and gave the same bytes back",
        };
        let evidence = format_args!("{target}: it answered {etag} to a body of {expected}, {why}");
        engine.destination.profile().learn(&target.bucket, Quirk::OwnEtags, evidence);
        Ok(true)
    }

    /// Reads the destination's object, and returns whether it has this MD5. If it may not be read,
    /// it has not.
    async fn reads_back(&self, md5: Md5, size: u64) -> Result<bool> {
        let id = self.target.clone();
        let request = GetRequest { id, version: None, range: None, if_match: None };
        let read = || async {
            let answer = self.engine.destination.get(&request).await?;
            Ok(hashed(answer.body).await? == md5)
        };
        match self.destination().data(size, read).await {
            Err(error) if error.kind() == ErrorKind::Cancelled => Err(error),
            Err(error) => {
                debug!("what was written could not be read back: {error}");
                Ok(false)
            }
            read => read,
        }
    }
}

/// The MD5 of a body, which is read to its end.
async fn hashed(mut body: crate::store::Body) -> Result<Md5> {
    let mut hasher = Md5Hasher::default();
    while let Some(chunk) = body.try_next().await? {
        hasher.update(&chunk);
    }
    Ok(hasher.finish())
}
