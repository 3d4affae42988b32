//! Groups jobs into messages.
//!
//! Pure: jobs go in and messages come out, so the limits are tested without a queue.

use super::{Job, Packed, pack_within};
use crate::object::MIB;
use crate::record::MAX_WRITTEN;

/// Maximum bytes of object data per message. Even at 1 MiB/s a worker finishes a pack of this size
/// in a fraction of the default JobTimeout, a crash repeats no more than this, and objects of up to
/// 3.8 MiB still go a hundred to a message.
pub const MAX_PACK_DATA: u64 = 384 * MIB;

/// Maximum bytes of a packed message: ten of them make one batch, which Amazon SQS accepts up to
/// 256 KiB in every region
/// (<https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html>),
/// and each is billed as one request, as every 64 KiB are.
const MAX_TEXT: usize = 25 * 1024;

/// Limits of one message.
#[derive(Clone, Copy, Debug)]
pub struct PackLimits {
    /// Maximum number of objects per message, at least 1.
    pub objects: usize,
    /// Size in bytes of the largest object that is packed; a larger one gets a message of its own.
    pub largest: u64,
}

/// Collects the small objects of one pair into messages. Holds at most the jobs of one message.
#[derive(Debug)]
pub struct Packer {
    limits: PackLimits,
    jobs: Vec<Job>,
    data: u64,
}

impl Packer {
    /// A packer without jobs.
    pub fn new(limits: PackLimits) -> Self {
        Self { limits, jobs: Vec::new(), data: 0 }
    }

    /// Takes a job; returns the messages that can be sent now. A large object's message is returned
    /// at once; small objects wait until their message is full.
    pub fn add(&mut self, job: Job) -> Vec<Packed> {
        if job.size > self.limits.largest || self.limits.objects <= 1 {
            return vec![Packed { body: job.to_message(), objects: 1 }];
        }
        let mut messages = Vec::new();
        if self.data.saturating_add(job.size) > MAX_PACK_DATA {
            // Cut at a whole number of record requests.
            // A worker records this many outcomes per request.
            let whole = self.jobs.len() - self.jobs.len() % MAX_WRITTEN;
            let cut = if whole == 0 { self.jobs.len() } else { whole };
            messages = self.take(cut);
            if self.data.saturating_add(job.size) > MAX_PACK_DATA {
                messages.extend(self.take(self.jobs.len()));
            }
        }
        self.data += job.size;
        self.jobs.push(job);
        if self.jobs.len() >= self.limits.objects {
            messages.extend(self.take(self.jobs.len()));
        }
        messages
    }

    /// The messages of the remaining jobs.
    pub fn finish(&mut self) -> Vec<Packed> {
        self.take(self.jobs.len())
    }

    fn take(&mut self, count: usize) -> Vec<Packed> {
        let taken: Vec<Job> = self.jobs.drain(..count).collect();
        self.data = self.jobs.iter().map(|job| job.size).sum();
        pack_within(&taken, MAX_TEXT)
    }
}

/// These jobs in as few messages as the text limit allows; a single job is not packed.
pub fn messages(jobs: &[Job]) -> Vec<String> {
    pack_within(jobs, MAX_TEXT).into_iter().map(|packed| packed.body).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Routes, parse};
    use super::*;
    use crate::object::ObjectId;

    const LIMITS: PackLimits = PackLimits { objects: 100, largest: 5 * MIB };

    fn jobs(sizes: impl IntoIterator<Item = u64>) -> Vec<Job> {
        let job = |(n, size)| {
            let key = format!("k{n:05}");
            let (src, des) = (ObjectId::new("s", key.as_str()), ObjectId::new("d", key));
            Job::copy(src, des, size, None)
        };
        (0..).zip(sizes).map(job).collect()
    }

    /// The jobs of each message that `jobs` produce.
    fn packed(limits: PackLimits, jobs: &[Job]) -> Vec<Vec<Job>> {
        let mut packer = Packer::new(limits);
        let mut all: Vec<Packed> = jobs.iter().flat_map(|job| packer.add(job.clone())).collect();
        all.extend(packer.finish());
        assert!(all.iter().all(|message| message.body.len() <= MAX_TEXT));
        let parsed = |packed: &Packed| {
            let jobs = parse(&packed.body, &Routes::default()).unwrap().jobs;
            assert_eq!(jobs.len(), packed.objects);
            jobs
        };
        all.iter().map(parsed).collect()
    }

    fn counts(limits: PackLimits, sizes: impl IntoIterator<Item = u64>) -> Vec<usize> {
        packed(limits, &jobs(sizes)).iter().map(Vec::len).collect()
    }

    /// Promise 1.
    #[test]
    fn small_objects_fill_messages_and_large_ones_have_their_own() {
        assert_eq!(counts(LIMITS, [1; 250]), [100, 100, 50]);
        assert_eq!(counts(LIMITS, [5 * MIB, 5 * MIB + 1]), [1, 1]);
        assert_eq!(counts(LIMITS, []), [0; 0]);
        assert_eq!(counts(PackLimits { objects: 1, ..LIMITS }, [1; 3]), [1, 1, 1]);
        // A large object does not wait for small ones.
        let mixed = jobs([1, 6 * MIB, 2]);
        let sent = packed(LIMITS, &mixed);
        assert_eq!(sent, [vec![mixed[1].clone()], vec![mixed[0].clone(), mixed[2].clone()]]);
    }

    /// Promise 1.
    #[test]
    fn a_message_of_one_object_is_a_plain_job() {
        let job = jobs([7]).remove(0);
        let mut packer = Packer::new(LIMITS);
        assert_eq!(packer.add(job.clone()), []);
        assert_eq!(packer.finish(), [Packed { body: job.to_message(), objects: 1 }]);
    }

    #[test]
    fn the_data_of_one_message_is_bounded_and_cut_where_records_end() {
        // 76 objects of 5 MiB fit.
        assert_eq!(counts(LIMITS, [5 * MIB; 160]), [75, 75, 10]);
        // If fewer objects fit than one record request takes, those that fit are sent.
        let limits = PackLimits { largest: 100 * MIB, ..LIMITS };
        assert_eq!(counts(limits, [100 * MIB; 7]), [3, 3, 1]);
        let largest = u64::MAX >> 1;
        let limits = PackLimits { largest, ..LIMITS };
        assert_eq!(counts(limits, [largest, largest, 1]), [1, 1, 1]);
        // The rest of a cut may still be too much together with the next object.
        let limits = PackLimits { largest: 300 * MIB, ..LIMITS };
        let sizes = [1; 25].into_iter().chain([300 * MIB, 300 * MIB]);
        assert_eq!(counts(limits, sizes), [25, 1, 1]);
    }

    /// Promise 1.
    #[test]
    fn long_keys_make_smaller_messages_in_whole_records() {
        let long = |n: usize| {
            let key = format!("{n:03}{}", "k".repeat(700));
            let (src, des) = (ObjectId::new("s", key.as_str()), ObjectId::new("d", key));
            Job::copy(src, des, 1, None)
        };
        let jobs: Vec<Job> = (0..100).map(long).collect();
        let sent = packed(LIMITS, &jobs);
        assert_eq!(sent.iter().map(Vec::len).collect::<Vec<_>>(), [25; 4]);
        assert_eq!(sent.concat(), jobs);
    }

    /// Promise 1.
    #[test]
    fn every_job_is_in_one_message_once() {
        for seed in 0..200 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let sizes: Vec<u64> = (0..rng.usize(..400)).map(|_| rng.u64(..8 * MIB)).collect();
            let limits = PackLimits { objects: rng.usize(1..130), ..LIMITS };
            let jobs = jobs(sizes);
            let sent = packed(limits, &jobs);
            for pack in sent.iter().filter(|pack| pack.len() > 1) {
                assert!(pack.len() <= limits.objects, "seed {seed}");
                assert!(pack.iter().all(|job| job.size <= limits.largest), "seed {seed}");
                assert!(
                    pack.iter().map(|job| job.size).sum::<u64>() <= MAX_PACK_DATA,
                    "seed {seed}"
                );
            }
            let mut all = sent.concat();
            all.sort_by(|a, b| a.src.cmp(&b.src));
            assert_eq!(all, jobs, "seed {seed}");
        }
    }
}
