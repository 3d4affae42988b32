//! Objects that a file names: each is looked up by itself, on both sides.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::{StreamExt, stream};
use tracing::error;

use super::closing::Closing;
use super::comparison::{Comparison, Gathered, Terms};
use super::one_pair::{Doubtful, Marked, OnePair};
use super::{ForecastCounts, Summary, Verdict};
use crate::compare::difference::Difference;
use crate::error::{Error, ErrorKind, Result};
use crate::object::{NO_VERSION, ObjectId, Revision};
use crate::params::Pair;
use crate::record::{Copy, RecordId};
use crate::retry::Retrying;
use crate::sources::{Feed, NamedObject, batch_manifest, key_file};
use crate::store::{Flaw, Listed, ObjectMeta, Odd, Reads};

impl NamedObject {
    /// Whether the object belongs to `pair`: in its bucket, if the file names one, and under its
    /// prefix.
    pub fn is_of(&self, pair: &Pair) -> bool {
        let bucket = self.bucket.as_ref().is_none_or(|bucket| *bucket == pair.src_bucket);
        let key = self.odd.as_deref().unwrap_or(self.key.as_str().as_bytes());
        bucket && key.starts_with(pair.src_prefix.as_bytes())
    }

    /// The object as one that cannot be copied because of its key.
    fn odd(&self) -> Option<Odd> {
        let key = self.odd.clone()?;
        Some(Odd { at: key.clone(), key, size: None, flaw: Flaw::NotUtf8 })
    }
}

/// A file that names objects.
#[derive(Clone, Debug)]
pub enum Names {
    /// A file of keys, one per line.
    Keys(PathBuf),
    /// A CSV manifest of S3 Batch Operations.
    Manifest(PathBuf),
}

impl Names {
    fn path(&self) -> &Path {
        match self {
            Self::Keys(path) | Self::Manifest(path) => path,
        }
    }

    /// The entries in their order.
    pub(super) fn read(&self) -> Feed<NamedObject> {
        match self {
            Self::Keys(path) => key_file::read(path),
            Self::Manifest(path) => batch_manifest::read(path),
        }
    }

    /// Reads the whole file before anything is sent. Fails with `Usage` if an entry cannot be read,
    /// or belongs to none of the pairs.
    ///
    /// The file is read more than once, so it must be a regular file: a pipe would be empty by
    /// then.
    pub async fn check(&self, pairs: &[Pair]) -> Result<()> {
        let is_pipe = |about: std::fs::Metadata| !about.is_file() && !about.is_dir();
        if tokio::fs::metadata(self.path()).await.is_ok_and(is_pipe) {
            let path = self.path().display();
            return Err(Error::usage(format!(
                "{path} is not a regular file, and is read twice: save it to a file"
            )));
        }
        let mut entries = self.read();
        while let Some(chunk) = entries.next().await? {
            let is_strange = |entry: &&NamedObject| !pairs.iter().any(|pair| entry.is_of(pair));
            if let Some(entry) = chunk.iter().find(is_strange) {
                let bucket = entry.bucket.as_ref().map(|bucket| format!("{bucket}/"));
                return Err(Error::usage(format!(
                    "{}, line {}: {}{} belongs to no pair of buckets: its bucket or its prefix \
                     differs",
                    self.path().display(),
                    entry.line,
                    bucket.unwrap_or_default(),
                    entry.key
                )));
            }
        }
        Ok(())
    }
}

/// What both sides say about an object.
struct Looked {
    entry: NamedObject,
    meta: Option<ObjectMeta>,
    copy: Option<ObjectMeta>,
    /// What is on record as copied, if versions are compared.
    copied: Option<Option<Revision>>,
    /// What is on record as written, if that is compared.
    written: Option<Copy>,
}

impl Comparison {
    async fn look_at(&self, pair: &Pair, entry: NamedObject) -> Result<Looked> {
        let src = ObjectId { bucket: pair.src_bucket.clone(), key: entry.key.clone() };
        let des = pair.target(&src.key);
        let (meta, copy) = tokio::try_join!(
            self.head(&self.terms.source, &src, entry.version.as_deref()),
            async {
                match pair.leaves_nothing_of(src.key.as_str()) {
                    true => Ok(None),
                    false => self.head(&self.terms.destination, &des, None).await,
                }
            },
        )?;
        let id = RecordId { src, des };
        let copied = self.copied(&id).await?;
        let written = match self.as_closing() {
            None => None,
            Some(closing) => self.written_of(closing, &id).await?,
        };
        Ok(Looked { entry, meta, copy, copied, written })
    }

    /// What is on record as copied, if versions are compared.
    pub(super) async fn copied(&self, id: &RecordId) -> Result<Option<Option<Revision>>> {
        let Some(records) = &self.terms.versions else { return Ok(None) };
        let records = Retrying::new(&**records, self.terms.max_retry, &self.cancel);
        let copied = records.copied(std::slice::from_ref(id)).await?;
        Ok(Some(copied.into_iter().next().flatten()))
    }

    async fn written_of(&self, closing: &Closing, id: &RecordId) -> Result<Option<Copy>> {
        let state = Retrying::new(&**closing.state(), self.terms.max_retry, &self.cancel);
        let record = state.load(id).await?;
        Ok(record.and_then(|record| record.copy()))
    }

    async fn head(
        &self,
        store: &Arc<dyn Reads>,
        id: &ObjectId,
        version: Option<&str>,
    ) -> Result<Option<ObjectMeta>> {
        let store = Retrying::new(&**store, self.terms.max_retry, &self.cancel);
        let version = version.filter(|version| *version != NO_VERSION);
        match store.head(id, version).await {
            Ok(meta) => Ok(Some(meta)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl OnePair {
    /// Looks at the entries that belong to the pair, with a HEAD of each on both sides. Objects
    /// that are not at the source are named and counted. An entry that occurs twice counts as two.
    pub(super) async fn look_at_all(&self, entries: Feed<NamedObject>) -> Gathered {
        let mut gathered = Gathered::default();
        if let Err(error) = self.look_at_each(entries, &mut gathered.summary).await {
            self.cancel.cancel();
            gathered.error = Some(error);
        }
        gathered
    }

    async fn look_at_each(
        &self,
        mut entries: Feed<NamedObject>,
        summary: &mut Summary,
    ) -> Result<()> {
        let Terms { at_once, reach, .. } = &self.comparison.terms;
        let pair = &self.judge.pair;
        let mut outlook = self.outlook();
        while let Some(chunk) = entries.next().await? {
            let before = summary.listed;
            let (odd, own): (Vec<NamedObject>, Vec<NamedObject>) =
                chunk.into_iter().filter(|entry| entry.is_of(pair)).partition(|e| e.odd.is_some());
            let odd: Vec<Odd> = odd.iter().filter_map(NamedObject::odd).collect();
            self.account_for_odd(&odd, &[], summary);
            let own = own.into_iter();
            let looks = own.map(|entry| self.comparison.look_at(pair, entry)).collect::<Vec<_>>();
            let mut looked = stream::iter(looks).buffered((*at_once).max(1));
            let (mut jobs, mut doubtful) = (Vec::new(), Vec::new());
            while let Some(looked) = looked.next().await {
                jobs.extend(self.account_for(looked?, summary, outlook.as_mut(), &mut doubtful));
            }
            jobs.extend(self.settle(doubtful, summary, &mut outlook).await);
            reach.add(summary.listed - before);
            self.ship(jobs).await?;
        }
        self.add_outlook(outlook);
        Ok(())
    }

    fn account_for(
        &self,
        looked: Looked,
        summary: &mut Summary,
        outlook: Option<&mut ForecastCounts>,
        doubtful: &mut Vec<Doubtful>,
    ) -> Option<Marked> {
        let Looked { entry, meta, copy, copied, written } = looked;
        let Some(meta) = meta else {
            summary.listed += 1;
            summary.gone += 1;
            let src = ObjectId { bucket: self.judge.pair.src_bucket.clone(), key: entry.key };
            error!(object = %src, line = entry.line, "not at the source");
            return None;
        };
        let listed = listed(&entry, &meta);
        let copy = copy.as_ref().map(|copy| Listed { version: None, ..listed_as(&entry, copy) });
        let mut verdict = self.judge.judge(listed, copy, copied.as_ref().map(Option::as_ref));
        // If the entry names a version, another one may have been written since.
        let looks = verdict == Verdict::AlreadyThere && entry.version.is_none();
        if let (true, Some(copy), Some(closing)) = (looks, copy, self.comparison.as_closing())
            && closing.differs(&self.judge.pair, listed, copy, written.as_ref())
        {
            verdict = Verdict::Copy(Difference::WrittenDiffers);
        }
        if let Some(sent_before) = self.doubtful(listed, &verdict) {
            doubtful.push(sent_before);
            return None;
        }
        summary.count(listed, &verdict);
        if let Some(outlook) = outlook {
            outlook.count(listed, &verdict);
        }
        self.found(listed, &verdict)
    }
}

/// The source's answer, with the version that the file names.
fn listed<'a>(entry: &'a NamedObject, meta: &'a ObjectMeta) -> Listed<'a> {
    Listed {
        version: entry.version.as_deref().or(meta.version.as_deref()),
        ..listed_as(entry, meta)
    }
}

fn listed_as<'a>(entry: &'a NamedObject, meta: &'a ObjectMeta) -> Listed<'a> {
    Listed {
        key: entry.key.as_str(),
        size: meta.size,
        etag: Some(meta.etag.as_str()),
        last_modified: meta.last_modified,
        storage_class: meta.storage_class.as_deref(),
        version: None,
        restored: meta.restored,
    }
}
