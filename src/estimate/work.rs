//! What a migration has to do, in numbers that can be added.
//!
//! Pure: objects are added up as they are named.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::prices::STANDARD;
use super::requests::{CopyTally, Manner};

/// Pages of listings that are requested.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Lists {
    /// At the source.
    pub source: u64,
    /// At the destination.
    pub destination: u64,
}

/// Messages that carry the jobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Messages {
    /// With several small objects.
    pub packs: u64,
    /// With one object.
    pub singles: u64,
}

/// The workers and their network links.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Workers {
    /// How many.
    pub count: u32,
    /// Bandwidth of each worker, in bits a second in each direction; `None`: unknown.
    pub bits_per_second: Option<u64>,
    /// Requests that each worker has in flight: MaxParallelFile x MaxThread.
    pub connections: u32,
    /// MaxParallelFile: messages that each worker holds.
    pub messages: u32,
    /// VisibilityTimeout: a third of it passes between two heartbeats of a message.
    pub visibility: Duration,
    /// From a request to the end of its answer, without the time for its bytes.
    pub latency: Duration,
}

impl Default for Workers {
    /// One worker with the shipped configuration. S3 answers requests for small objects after 100
    /// to 200 ms
    /// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/optimizing-performance.html>).
    fn default() -> Self {
        Self {
            count: 1,
            bits_per_second: None,
            connections: 100,
            messages: 5,
            visibility: Duration::from_secs(60),
            latency: Duration::from_millis(200),
        }
    }
}

/// What a migration has to do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Work {
    /// How objects are copied.
    pub manner: Manner,
    /// StorageClass; `None` for KEEP: the source's class.
    pub storage_class: Option<String>,
    /// The objects to copy, by storage class at the source.
    pub copies: BTreeMap<String, CopyTally>,
    /// Listings of all comparisons: one for `jobsender`, two for `run`.
    pub lists: Lists,
    /// The messages that carry the jobs.
    pub messages: Messages,
    /// Objects to delete at the destination.
    pub deletes: u64,
    /// Objects whose versions are looked up in the records (JobsenderCompareVersionId).
    pub versions_compared: u64,
    /// The workers.
    pub workers: Workers,
}

impl Work {
    /// Counts an object to copy, as listed: size, storage class (`None` if the listing shows none:
    /// STANDARD), and the number of parts from its ETag.
    pub fn copy(&mut self, size: u64, class: Option<&str>, source_parts: Option<u32>) {
        let class = class.filter(|class| !class.is_empty()).unwrap_or(STANDARD);
        let manner = self.manner;
        // Look up first: the name is copied once per class, not per object.
        match self.copies.get_mut(class) {
            Some(tally) => tally.add(size, source_parts, manner),
            None => {
                self.copies.entry(class.to_owned()).or_default().add(size, source_parts, manner);
            }
        }
    }

    /// Adds the objects, lists and messages of another range or pair; the manner and the workers
    /// stay.
    pub fn merge(&mut self, other: &Self) {
        for (class, tally) in &other.copies {
            self.copies.entry(class.clone()).or_default().merge(tally);
        }
        self.lists.source += other.lists.source;
        self.lists.destination += other.lists.destination;
        self.messages.packs += other.messages.packs;
        self.messages.singles += other.messages.singles;
        self.deletes += other.deletes;
        self.versions_compared += other.versions_compared;
    }

    /// All copies together.
    pub fn total(&self) -> CopyTally {
        let mut total = CopyTally::default();
        self.copies.values().for_each(|tally| total.merge(tally));
        total
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::MIB;

    #[test]
    fn the_default_is_that_of_the_ini() {
        let ini = include_str!("../../s3_migration_config.ini");
        let value = |name: &str| {
            let line = ini.lines().find_map(|line| line.strip_prefix(&format!("{name} = ")));
            line.unwrap_or_else(|| panic!("no {name}"))
        };
        let number = |name| value(name).parse::<u64>().unwrap();
        let manner = Manner {
            threshold: number("ResumableThreshold") * MIB,
            stream: number("StreamThreshold") * MIB,
            chunk: number("ChunkSize") * MIB,
            preserve_etag: value("PreserveEtag") == "auto",
            update_version: value("UpdateVersionId") == "True",
            copy_tags: value("CopyTags") == "True",
        };
        assert_eq!(Manner::default(), manner);
        let workers = Workers::default();
        let connections = number("MaxParallelFile") * number("MaxThread");
        assert_eq!(u64::from(workers.connections), connections);
        assert_eq!(u64::from(workers.messages), number("MaxParallelFile"));
        assert_eq!(workers.visibility.as_secs(), number("VisibilityTimeout"));
    }

    #[test]
    fn ranges_add_up_to_the_whole() {
        let (mut whole, mut halves) = (Work::default(), [Work::default(), Work::default()]);
        for n in 0..200_u64 {
            let (size, class) = (fastrand::u64(..40 * MIB), [None, Some("GLACIER_IR")]);
            let class = class[(n % 2) as usize];
            let parts = (n % 3 == 0).then_some(2);
            for work in [&mut whole, &mut halves[(n / 2 % 2) as usize]] {
                work.copy(size, class, parts);
                work.lists.source += 1;
                work.lists.destination += 2;
                work.messages.packs += 3;
                work.messages.singles += 4;
                work.deletes += 5;
                work.versions_compared += 6;
            }
        }
        let [mut merged, other] = halves;
        merged.merge(&other);
        assert_eq!(merged, whole);
        let classes: Vec<&str> = whole.copies.keys().map(String::as_str).collect();
        assert_eq!(classes, ["GLACIER_IR", "STANDARD"]);
        assert_eq!(whole.total().small + whole.total().large, 200);
    }
}
