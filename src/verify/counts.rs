//! What a verification has counted, and what follows from it.
//!
//! Pure: numbers.

use serde::{Deserialize, Serialize};

use super::evidence::{Ground, How};

/// The counts of one pair. Every object of the source is in exactly one of `equal`, `differing`,
/// `missing` and `not_looked_at`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Objects at the source that no rule leaves out.
    pub source_objects: u64,
    /// Their bytes.
    pub source_bytes: u64,
    /// Equal, as far as they were looked at.
    pub equal: u64,
    /// Their bytes.
    pub equal_bytes: u64,
    /// The strongest evidence for each equal object.
    pub equal_by: EqualBy,
    /// On both sides, and different.
    pub differing: u64,
    /// In what they differ; an object may differ in several ways.
    pub differing_by: DifferingBy,
    /// Only at the source.
    pub missing: u64,
    /// Their bytes.
    pub missing_bytes: u64,
    /// Only at the destination.
    pub extra: u64,
    /// Their bytes.
    pub extra_bytes: u64,
    /// Could not be looked at as was asked.
    pub not_looked_at: u64,
    /// Left out by the ignore list or a filter.
    pub left_out: u64,
    /// At the destination, although it does not list them.
    pub unlisted: u64,
    /// Looked at by HEAD on both sides.
    pub heads: u64,
    /// Read on both sides.
    pub read: u64,
    /// Their bytes.
    pub read_bytes: u64,
    /// Listings whose end could not be checked, though nothing speaks against it.
    pub unchecked_ends: u64,
    /// Listings that may have ended early.
    pub doubtful_ends: u64,
}

/// Equal objects by the strongest evidence.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EqualBy {
    /// All bytes were read.
    pub bytes: u64,
    /// Stored checksums.
    pub checksum: u64,
    /// ETags of one kind.
    pub etag: u64,
    /// Only the size.
    pub size: u64,
}

/// Differing objects by what differs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DifferingBy {
    /// The size.
    pub size: u64,
    /// The ETag.
    pub etag: u64,
    /// A stored checksum.
    pub checksum: u64,
    /// The bytes.
    pub bytes: u64,
    /// Headers or user metadata.
    pub metadata: u64,
    /// The number of tags.
    pub tags: u64,
    /// The storage class.
    pub class: u64,
}

impl Counts {
    /// Adds other counts.
    pub fn add(&mut self, other: &Self) {
        for (sum, number) in self.all_mut().into_iter().zip(other.clone().all_mut()) {
            *sum += *number;
        }
    }

    /// Counts an equal object.
    pub fn count_equal(&mut self, bytes: u64, ground: Ground) {
        self.equal += 1;
        self.equal_bytes += bytes;
        let by = &mut self.equal_by;
        *match ground {
            Ground::Bytes => &mut by.bytes,
            Ground::Checksum => &mut by.checksum,
            Ground::Etag => &mut by.etag,
            Ground::Size => &mut by.size,
        } += 1;
    }

    /// Counts a differing object.
    pub fn count_differing(&mut self, how: &[How]) {
        self.differing += 1;
        let by = &mut self.differing_by;
        for how in how {
            *match how {
                How::Size => &mut by.size,
                How::Etag => &mut by.etag,
                How::Checksum => &mut by.checksum,
                How::Bytes => &mut by.bytes,
                How::Metadata => &mut by.metadata,
                How::Tags => &mut by.tags,
                How::Class => &mut by.class,
            } += 1;
        }
    }

    /// Whether anything differs. `one_way`: what only the destination has is no difference.
    pub fn differs(&self, one_way: bool) -> bool {
        self.differing + self.missing > 0 || (self.extra > 0 && !one_way)
    }

    /// Whether every object of the source is in one count.
    pub fn balances(&self) -> bool {
        self.source_objects == self.equal + self.differing + self.missing + self.not_looked_at
    }

    fn all_mut(&mut self) -> [&mut u64; 28] {
        let Self { equal_by, differing_by, .. } = self;
        [
            &mut self.source_objects,
            &mut self.source_bytes,
            &mut self.equal,
            &mut self.equal_bytes,
            &mut equal_by.bytes,
            &mut equal_by.checksum,
            &mut equal_by.etag,
            &mut equal_by.size,
            &mut self.differing,
            &mut differing_by.size,
            &mut differing_by.etag,
            &mut differing_by.checksum,
            &mut differing_by.bytes,
            &mut differing_by.metadata,
            &mut differing_by.tags,
            &mut differing_by.class,
            &mut self.missing,
            &mut self.missing_bytes,
            &mut self.extra,
            &mut self.extra_bytes,
            &mut self.not_looked_at,
            &mut self.left_out,
            &mut self.unlisted,
            &mut self.heads,
            &mut self.read,
            &mut self.read_bytes,
            &mut self.unchecked_ends,
            &mut self.doubtful_ends,
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_added() {
        let mut ones = Counts::default();
        ones.all_mut().into_iter().for_each(|number| *number = 1);
        let text = serde_json::to_string(&ones).unwrap();
        assert!(!text.contains(":0"), "a number is forgotten: {text}");
        let mut sum = ones.clone();
        sum.add(&ones);
        assert_eq!(serde_json::to_string(&sum).unwrap(), text.replace(":1", ":2"));
    }

    #[test]
    fn an_extra_object_is_a_difference_unless_one_way() {
        let mut counts = Counts { extra: 1, ..Counts::default() };
        assert!(counts.differs(false) && !counts.differs(true));
        counts.count_differing(&[How::Size, How::Tags]);
        assert!(counts.differs(true));
        assert!(!counts.balances());
        counts.source_objects = 1;
        assert!(counts.balances());
    }
}
