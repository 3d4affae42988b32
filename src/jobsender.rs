//! The jobsender: lists both sides in key order, merges them, and sends a job for what differs.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error};

use crate::error::{Error, Result};
use crate::job::{Job, PackLimits, Packer};
use crate::listing::Listing;
use crate::object::{MAX_KEY_BYTES, NO_VERSION, ObjectId, ObjectKey, destination_key};
use crate::params::Pair;
use crate::plan::compare::{self, Difference, Step};
use crate::plan::ignore::IgnoreList;
use crate::queue::{MAX_BATCH, Queue};
use crate::retry::{Policy, retry};
use crate::state::{RecordId, StateStore};
use crate::store::{ListRequest, Listed, ObjectStore};

/// Objects whose versions are looked up together: the keys of one BatchGetItem of Amazon DynamoDB.
const LOOKED_UP: usize = 100;

/// What was found and done for one pair.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Keys at the source.
    pub listed: u64,
    /// Their bytes.
    pub listed_bytes: u64,
    /// Objects that differ: sent, or under a dry run to be sent.
    pub to_copy: u64,
    /// Their bytes.
    pub to_copy_bytes: u64,
    /// Messages that the objects to copy were sent in.
    pub messages: u64,
    /// Of `to_copy`: those that the destination has with another size.
    pub size_differs: u64,
    /// Of `to_copy`: those that the destination has with the same size, but of another version, or
    /// of one that is on no record.
    pub version_differs: u64,
    /// Objects that the destination has with the same size.
    pub already_there: u64,
    /// Their bytes.
    pub already_there_bytes: u64,
    /// Objects that the ignore list leaves out.
    pub ignored: u64,
    /// Their bytes.
    pub ignored_bytes: u64,
    /// Objects whose key with the destination's prefix in front is longer than S3 takes; each is
    /// named in the log.
    pub key_too_long: u64,
    /// Keys under the pair's prefix that only the destination has; they are left alone.
    pub only_at_destination: u64,
}

impl Summary {
    /// Adds another pair's numbers.
    pub fn add(&mut self, other: &Self) {
        self.listed += other.listed;
        self.listed_bytes += other.listed_bytes;
        self.to_copy += other.to_copy;
        self.to_copy_bytes += other.to_copy_bytes;
        self.messages += other.messages;
        self.size_differs += other.size_differs;
        self.version_differs += other.version_differs;
        self.already_there += other.already_there;
        self.already_there_bytes += other.already_there_bytes;
        self.ignored += other.ignored;
        self.ignored_bytes += other.ignored_bytes;
        self.key_too_long += other.key_too_long;
        self.only_at_destination += other.only_at_destination;
    }

    /// Every listed key is accounted for.
    pub fn balances(&self) -> bool {
        self.listed == self.to_copy + self.already_there + self.ignored + self.key_too_long
    }
}

/// What happens to one listed object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// It is copied.
    Copy(Difference),
    /// It is at the destination with the same size, and where versions are compared, of the same
    /// version.
    AlreadyThere,
    /// This rule of the ignore list leaves it out.
    Ignored(&'a str),
    /// It cannot be copied: its key at the destination would have this many bytes.
    KeyTooLong(usize),
}

impl fmt::Display for Verdict<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Copy(difference) => write!(f, "copy, {}", difference.as_str()),
            Self::AlreadyThere => f.write_str("skip, already there with the same size"),
            Self::Ignored(rule) => write!(f, "skip, ignored by {rule}"),
            Self::KeyTooLong(bytes) => write!(
                f,
                "cannot be copied, its key with the destination's prefix has {bytes} bytes and S3 \
                 takes {MAX_KEY_BYTES}: choose a shorter prefix"
            ),
        }
    }
}

/// Takes what a comparison finds.
pub trait Finds: Send {
    /// Told of every listed object, in key order.
    fn found(&mut self, object: &ObjectId, listed: &Listed, verdict: &Verdict<'_>);
}

/// Takes no notice.
impl Finds for () {
    fn found(&mut self, _: &ObjectId, _: &Listed, _: &Verdict<'_>) {}
}

/// Compares bucket pairs, and sends what differs where it has a queue.
#[derive(Debug)]
pub struct Jobsender {
    /// Where the objects are.
    pub source: Arc<dyn ObjectStore>,
    /// Where they go.
    pub destination: Arc<dyn ObjectStore>,
    /// Where jobs go; `None` for a dry run or a closing comparison.
    pub queue: Option<Arc<dyn Queue>>,
    /// What shares a message.
    pub packs: PackLimits,
    /// Where it is on record which version was copied; `None`: versions are not compared.
    pub versions: Option<Arc<dyn StateStore>>,
    /// What is left out.
    pub ignore: IgnoreList,
    /// Tries for one call.
    pub max_retry: u32,
    /// Ends the comparison.
    pub cancel: CancellationToken,
}

impl Jobsender {
    /// One page of each side of each pair, so that a wrong name, address, key or permission shows
    /// before anything is sent.
    pub async fn probe(&self, pairs: &[Pair]) -> Result<()> {
        for pair in pairs {
            let [source, destination] = self.requests(pair).map(|(store, request)| async move {
                retry(Policy::probe(), &self.cancel, || store.list(&request)).await
            });
            let (source, destination) = tokio::join!(source, destination);
            source?;
            destination?;
        }
        Ok(())
    }

    /// What is listed, and where: the source's side and the destination's.
    fn requests(&self, pair: &Pair) -> [(&Arc<dyn ObjectStore>, ListRequest); 2] {
        let request = |bucket: &str, prefix: &str| ListRequest {
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
            ..ListRequest::default()
        };
        let source = ListRequest {
            versions: self.versions.is_some(),
            ..request(&pair.src_bucket, &pair.src_prefix)
        };
        let destination = request(&pair.des_bucket, &pair.copies_prefix());
        [(&self.source, source), (&self.destination, destination)]
    }

    /// Why nothing should be sent now: the queue still has jobs, which a comparison would send a
    /// second time.
    pub async fn filled_queue(&self) -> Result<Option<String>> {
        let Some(queue) = &self.queue else { return Ok(None) };
        let depth = retry(Policy::probe(), &self.cancel, || queue.depth()).await?;
        Ok((depth.waiting + depth.running > 0).then(|| {
            format!(
                "the queue still has {} messages waiting and {} running; a comparison now would \
                 send their objects a second time: wait until it is empty, or add --force (a job done twice does \
                 no harm, it costs requests)",
                depth.waiting, depth.running
            )
        }))
    }

    /// Compares one pair and sends what differs. An error means that the summary is not known: what
    /// has been sent by then stays sent, and the next comparison finds the rest.
    pub async fn compare(&self, pair: &Pair, finds: &mut dyn Finds) -> Result<Summary> {
        let policy = Policy::listing(self.max_retry);
        let [mut source, mut destination] = self
            .requests(pair)
            .map(|(store, request)| Listing::new(Arc::clone(store), request, policy, &self.cancel));
        let mut comparison = Comparison::new(self, pair, finds);
        let (mut left, mut right) = (source.next().await?, destination.next().await?);
        let target = |listed: &Listed| destination_key(&pair.des_prefix, &listed.key);
        loop {
            let mapped = left.as_ref().map(target);
            let step = compare::step(mapped.as_ref(), right.as_ref().map(|listed| &listed.key));
            let Some(step) = step else { break };
            if step == Step::DestinationOnly {
                comparison.summary.only_at_destination += 1;
                right = destination.next().await?;
                continue;
            }
            let copy = right.as_ref().filter(|_| step == Step::Both);
            if let (Some(listed), Some(target)) = (left.take(), mapped) {
                comparison.add(listed, target, copy).await?;
            }
            left = source.next().await?;
            if step == Step::Both {
                right = destination.next().await?;
            }
        }
        comparison.finish().await
    }
}

/// A listed object and what happens to it.
struct Judged<'a> {
    id: RecordId,
    listed: Listed,
    verdict: Verdict<'a>,
}

/// One comparison under way.
struct Comparison<'a> {
    jobsender: &'a Jobsender,
    pair: &'a Pair,
    finds: &'a mut dyn Finds,
    summary: Summary,
    /// In key order, waiting until their versions are looked up together.
    judged: Vec<Judged<'a>>,
    packer: Packer,
    batch: Vec<String>,
}

impl<'a> Comparison<'a> {
    fn new(jobsender: &'a Jobsender, pair: &'a Pair, finds: &'a mut dyn Finds) -> Self {
        Self {
            jobsender,
            pair,
            finds,
            summary: Summary::default(),
            judged: Vec::new(),
            packer: Packer::new(jobsender.packs),
            batch: Vec::with_capacity(MAX_BATCH),
        }
    }

    async fn add(
        &mut self,
        listed: Listed,
        target: ObjectKey,
        copy: Option<&Listed>,
    ) -> Result<()> {
        let src = ObjectId { bucket: self.pair.src_bucket.clone(), key: listed.key.clone() };
        let des = ObjectId { bucket: self.pair.des_bucket.clone(), key: target };
        let verdict = self.judge(&src, &listed, &des.key, copy);
        self.judged.push(Judged { id: RecordId { src, des }, listed, verdict });
        let together = if self.jobsender.versions.is_some() { LOOKED_UP } else { 1 };
        if self.judged.len() >= together {
            self.settle().await?;
        }
        Ok(())
    }

    fn judge(
        &self,
        src: &ObjectId,
        listed: &Listed,
        target: &ObjectKey,
        copy: Option<&Listed>,
    ) -> Verdict<'a> {
        let path = format!("{}/{}", src.bucket, src.key.as_str());
        if let Some(rule) = self.jobsender.ignore.matches(&path) {
            return Verdict::Ignored(rule);
        }
        if target.as_str().len() > MAX_KEY_BYTES {
            return Verdict::KeyTooLong(target.as_str().len());
        }
        compare::difference(listed, copy).map_or(Verdict::AlreadyThere, Verdict::Copy)
    }

    /// Accounts for the objects judged so far, and sends what is to be copied of them.
    async fn settle(&mut self) -> Result<()> {
        self.compare_versions().await?;
        for Judged { id, listed, verdict } in std::mem::take(&mut self.judged) {
            if let Verdict::KeyTooLong(_) = verdict {
                error!(object = %id.src, "{verdict}");
            }
            self.finds.found(&id.src, &listed, &verdict);
            if count(&mut self.summary, &listed, &verdict) && self.jobsender.queue.is_some() {
                let version = listed.version.filter(|version| version != NO_VERSION);
                let job = Job::copy(id.src, id.des, listed.size, version);
                self.batch.extend(self.packer.add(job));
            }
            if self.batch.len() >= MAX_BATCH {
                self.send().await?;
            }
        }
        Ok(())
    }

    /// Looks up which versions were copied of what is there already.
    async fn compare_versions(&mut self) -> Result<()> {
        let Some(state) = &self.jobsender.versions else { return Ok(()) };
        let there = |judged: &&mut Judged<'_>| judged.verdict == Verdict::AlreadyThere;
        let mut there: Vec<_> = self.judged.iter_mut().filter(there).collect();
        if there.is_empty() {
            return Ok(());
        }
        let ids: Vec<RecordId> = there.iter().map(|judged| judged.id.clone()).collect();
        let policy = Policy::control(self.jobsender.max_retry);
        let copied = retry(policy, &self.jobsender.cancel, || state.copied(&ids)).await?;
        for (judged, copied) in there.iter_mut().zip(copied) {
            if let Some(difference) = compare::version_difference(&judged.listed, copied.as_ref()) {
                judged.verdict = Verdict::Copy(difference);
            }
        }
        Ok(())
    }

    async fn send(&mut self) -> Result<()> {
        let Some(queue) = self.jobsender.queue.as_ref().filter(|_| !self.batch.is_empty()) else {
            return Ok(());
        };
        let policy = Policy::control(self.jobsender.max_retry);
        // One request each: what has been sent is not sent again where a later one fails.
        for batch in self.batch.chunks(MAX_BATCH) {
            debug!(messages = batch.len(), "send");
            retry(policy, &self.jobsender.cancel, || queue.send(batch)).await?;
            self.summary.messages += batch.len() as u64;
        }
        self.batch.clear();
        Ok(())
    }

    async fn finish(mut self) -> Result<Summary> {
        self.settle().await?;
        self.batch.extend(self.packer.finish());
        self.send().await?;
        match self.summary.balances() {
            true => Ok(self.summary),
            false => {
                Err(Error::invalid(format!("the accounts do not balance: {:?}", self.summary)))
            }
        }
    }
}

/// Adds one object to the accounts; whether it is copied.
fn count(summary: &mut Summary, listed: &Listed, verdict: &Verdict<'_>) -> bool {
    summary.listed += 1;
    summary.listed_bytes += listed.size;
    let (objects, bytes) = match verdict {
        Verdict::Copy(difference) => {
            match difference {
                Difference::Missing => {}
                Difference::SizeDiffers => summary.size_differs += 1,
                Difference::VersionDiffers | Difference::VersionUnknown => {
                    summary.version_differs += 1;
                }
            }
            (&mut summary.to_copy, &mut summary.to_copy_bytes)
        }
        Verdict::AlreadyThere => (&mut summary.already_there, &mut summary.already_there_bytes),
        Verdict::Ignored(_) => (&mut summary.ignored, &mut summary.ignored_bytes),
        Verdict::KeyTooLong(_) => {
            summary.key_too_long += 1;
            return false;
        }
    };
    *objects += 1;
    *bytes += listed.size;
    matches!(verdict, Verdict::Copy(_))
}
