//! The jobsender: lists both sides in key order, merges them, and sends a job for what differs.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error};

use crate::error::{Error, Result};
use crate::job::{Job, PackLimits, Packer};
use crate::listing::Listing;
use crate::object::{MAX_KEY_BYTES, ObjectId, ObjectKey, destination_key};
use crate::params::Pair;
use crate::plan::compare::{self, Difference, Step};
use crate::plan::ignore::IgnoreList;
use crate::queue::Queue;
use crate::retry::{Policy, retry};
use crate::store::{Listed, ObjectStore};

/// Messages that are collected before they are sent: what Amazon SQS takes in one request.
const BATCH: usize = 10;

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
    /// It is at the destination with the same size.
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
            // The very prefixes of the comparison: a policy may allow no others.
            let source = (&self.source, &pair.src_bucket, pair.src_prefix.clone());
            let there = pair.copies_prefix();
            for (store, bucket, prefix) in [source, (&self.destination, &pair.des_bucket, there)] {
                let request = crate::store::ListRequest {
                    bucket: bucket.clone(),
                    prefix,
                    ..crate::store::ListRequest::default()
                };
                retry(Policy::probe(), &self.cancel, || store.list(&request)).await?;
            }
        }
        Ok(())
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
        let mut summary = Summary::default();
        let mut packer = Packer::new(self.packs);
        let mut batch = Vec::with_capacity(BATCH);
        let policy = Policy::listing(self.max_retry);
        let there = pair.copies_prefix();
        let list = |store: &Arc<dyn ObjectStore>, bucket: &str, prefix: &str| {
            Listing::new(Arc::clone(store), bucket, prefix, policy, &self.cancel)
        };
        let mut source = list(&self.source, &pair.src_bucket, &pair.src_prefix);
        let mut destination = list(&self.destination, &pair.des_bucket, &there);
        let (mut left, mut right) = (source.next().await?, destination.next().await?);
        let target = |listed: &Listed| destination_key(&pair.des_prefix, &listed.key);
        loop {
            let mapped = left.as_ref().map(target);
            let step = compare::step(mapped.as_ref(), right.as_ref().map(|listed| &listed.key));
            let Some(step) = step else { break };
            if step == Step::DestinationOnly {
                summary.only_at_destination += 1;
                right = destination.next().await?;
                continue;
            }
            let copy = right.as_ref().filter(|_| step == Step::Both);
            if let (Some(listed), Some(target)) = (left.take(), mapped) {
                let src = ObjectId { bucket: pair.src_bucket.clone(), key: listed.key.clone() };
                let verdict = self.judge(&src, &listed, &target, copy);
                if let Verdict::KeyTooLong(_) = verdict {
                    error!(object = %src, "{verdict}");
                }
                finds.found(&src, &listed, &verdict);
                if count(&mut summary, &listed, &verdict) && self.queue.is_some() {
                    let des = ObjectId { bucket: pair.des_bucket.clone(), key: target };
                    batch.extend(packer.add(Job { src, des, size: listed.size, version: None }));
                }
            }
            if batch.len() >= BATCH {
                self.send(&mut batch, &mut summary).await?;
            }
            left = source.next().await?;
            if step == Step::Both {
                right = destination.next().await?;
            }
        }
        batch.extend(packer.finish());
        self.send(&mut batch, &mut summary).await?;
        match summary.balances() {
            true => Ok(summary),
            false => Err(Error::invalid(format!("the accounts do not balance: {summary:?}"))),
        }
    }

    fn judge(
        &self,
        src: &ObjectId,
        listed: &Listed,
        target: &ObjectKey,
        copy: Option<&Listed>,
    ) -> Verdict<'_> {
        let path = format!("{}/{}", src.bucket, src.key.as_str());
        if let Some(rule) = self.ignore.matches(&path) {
            return Verdict::Ignored(rule);
        }
        if target.as_str().len() > MAX_KEY_BYTES {
            return Verdict::KeyTooLong(target.as_str().len());
        }
        compare::difference(listed, copy).map_or(Verdict::AlreadyThere, Verdict::Copy)
    }

    async fn send(&self, batch: &mut Vec<String>, summary: &mut Summary) -> Result<()> {
        let Some(queue) = self.queue.as_ref().filter(|_| !batch.is_empty()) else { return Ok(()) };
        debug!(messages = batch.len(), "send");
        retry(Policy::control(self.max_retry), &self.cancel, || queue.send(batch)).await?;
        summary.messages += batch.len() as u64;
        batch.clear();
        Ok(())
    }
}

/// Adds one object to the accounts; whether it is copied.
fn count(summary: &mut Summary, listed: &Listed, verdict: &Verdict<'_>) -> bool {
    summary.listed += 1;
    summary.listed_bytes += listed.size;
    let (objects, bytes) = match verdict {
        Verdict::Copy(difference) => {
            summary.size_differs += u64::from(*difference == Difference::SizeDiffers);
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
