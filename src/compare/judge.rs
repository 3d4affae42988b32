//! Decides what happens to a listed object.

use std::sync::Arc;
use std::time::SystemTime;

use super::comparison::Comparison;
use super::sent_notes::{Mark, Sent};
use super::{Matched, Verdict};
use crate::compare::difference::{self, Criteria};
use crate::digest;
use crate::filter::Filter;
use crate::filter::patterns::Patterns;
use crate::object::{ObjectId, Revision};
use crate::params::Pair;
use crate::record::RecordId;
use crate::store::Listed;

/// Storage classes whose objects must be restored before they can be read
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/restoring-objects.html>). A listing does
/// not show that S3 Intelligent-Tiering has archived an object: its copy fails by itself.
const ARCHIVES: [&str; 2] = ["GLACIER", "DEEP_ARCHIVE"];

/// What objects of one pair are judged by.
#[derive(Debug)]
pub(super) struct Judge {
    pub(super) pair: Pair,
    pub(super) ignore: Arc<Patterns>,
    pub(super) filter: Arc<Filter>,
    pub(super) criteria: Criteria,
    /// Which patterns have matched a key.
    matched: Arc<Matched>,
    /// What earlier comparisons have sent; `None`: ignored.
    pub(super) sent: Option<Arc<Sent>>,
    /// The longest key of the source whose copy's key is not too long.
    longest: usize,
    /// The prefix of the path that rules are matched against.
    path: String,
    /// Reads archived objects anyway: only Amazon S3 shows in a listing which of them are restored,
    /// and elsewhere an object of such a class may be readable like any other. An object that
    /// cannot be read fails by name.
    reads_archives: bool,
}

impl Judge {
    /// The judge of `pair` in this comparison.
    pub(super) fn of(comparison: &Comparison, pair: &Pair) -> Self {
        let outlet = comparison.outlet().filter(|outlet| !outlet.resend);
        let sent = outlet.and_then(|outlet| outlet.sent.clone());
        let terms = &comparison.terms;
        let (ignore, filter) = (Arc::clone(&terms.ignore), Arc::clone(&terms.filter));
        let judge = Self::new(pair, ignore, filter, terms.criteria, sent);
        let locked = terms.source.profile().has_locked_archives(&pair.src_bucket);
        Self { reads_archives: !locked, matched: Arc::clone(&terms.matched), ..judge }
    }

    fn new(
        pair: &Pair,
        ignore: Arc<Patterns>,
        filter: Arc<Filter>,
        criteria: Criteria,
        sent: Option<Arc<Sent>>,
    ) -> Self {
        let path = format!("{}/", pair.src_bucket);
        let longest = pair.longest_key();
        let (pair, matched, reads_archives) = (pair.clone(), Arc::default(), false);
        Self { pair, ignore, filter, criteria, matched, sent, longest, path, reads_archives }
    }

    /// The object with this key, and its copy.
    pub(super) fn ids(&self, key: &str) -> RecordId {
        let src = ObjectId::new(&self.pair.src_bucket, key);
        let des = self.pair.target(&src.key);
        RecordId { src, des }
    }

    /// `copied`: what is on record as copied, if versions are compared.
    pub(super) fn judge(
        &self,
        listed: Listed<'_>,
        copy: Option<Listed<'_>>,
        copied: Option<Option<&Revision>>,
    ) -> Verdict<'_> {
        if let Some(rule) = self.left_out(listed) {
            return Verdict::Ignored(rule);
        }
        if listed.key.len() > self.longest {
            return Verdict::KeyTooLong(self.pair.target_len(listed.key.len()));
        }
        let difference = difference::difference(self.criteria, listed, copy)
            .or_else(|| copied.and_then(|copied| difference::version_difference(listed, copied)));
        match difference {
            None => Verdict::AlreadyThere,
            Some(_) if !self.reads_archives && is_archived(listed) => Verdict::Archived,
            Some(difference) => Verdict::Copy(difference),
        }
    }

    /// The object's mark if an earlier comparison has sent it, whether or not its job still waits.
    pub(super) fn sent_before(&self, listed: Listed<'_>) -> Option<Mark> {
        let sent = self.sent.as_ref().filter(|sent| !sent.is_empty())?;
        let mark = self.mark(listed);
        sent.since(mark).map(|_| mark)
    }

    /// The rule or filter that leaves an object out.
    pub(super) fn left_out(&self, listed: Listed<'_>) -> Option<&str> {
        if self.pair.leaves_nothing_of(listed.key) {
            return Some("strip_prefix: nothing is left of its key");
        }
        if self.ignore.is_empty() && !self.filter.asks_path() {
            return self.filter.leaves_out("", Some(listed.size), listed.last_modified);
        }
        let mut path = String::with_capacity(self.path.len() + listed.key.len());
        path.push_str(&self.path);
        path.push_str(listed.key);
        self.matched.see(&path, &self.ignore, &self.filter.include);
        let bound = || self.filter.leaves_out(&path, Some(listed.size), listed.last_modified);
        self.ignore.matches(&path).or_else(bound)
    }

    /// The object's mark, which is kept for later comparisons.
    pub(super) fn mark(&self, listed: Listed<'_>) -> Mark {
        let Pair { src_bucket, des_bucket, .. } = &self.pair;
        let des_prefix = &*self.pair.naming();
        let time = listed.last_modified.and_then(|t| t.duration_since(SystemTime::UNIX_EPOCH).ok());
        let numbers = format!("{} {:?}", listed.size, time.map(|time| time.as_millis()));
        let (etag, version) = (listed.etag.unwrap_or(""), listed.version.unwrap_or(""));
        digest::lasting_id([
            src_bucket, des_bucket, des_prefix, listed.key, etag, version, &numbers,
        ])
    }
}

fn is_archived(listed: Listed<'_>) -> bool {
    !listed.restored && listed.storage_class.is_some_and(|class| ARCHIVES.contains(&class))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::difference::Difference;
    use crate::config::Compare;
    use crate::object::MAX_KEY_BYTES;

    fn judge() -> Judge {
        let pair = Pair {
            src_bucket: "src".into(),
            src_prefix: String::new(),
            des_bucket: "des".into(),
            des_prefix: "p/".into(),
            strip: false,
        };
        let ignore = Arc::new(Patterns::parse("src/no/*").unwrap());
        let filter = Arc::new(Filter { max_size: Some(9), ..Filter::default() });
        Judge::new(&pair, ignore, filter, Criteria::only(Compare::Size), None)
    }

    /// Promise 1.
    #[test]
    fn what_is_left_out_comes_before_what_differs() {
        let judge = judge();
        let archived = Listed { storage_class: Some("GLACIER"), ..Listed::new("a", 1) };
        let restored = Listed { restored: true, ..archived };
        let long = "k".repeat(MAX_KEY_BYTES - 1);
        for (listed, copy, expected) in [
            (Listed::new("no/x", 1), None, Verdict::Ignored("src/no/*")),
            (Listed::new("x", 10), None, Verdict::Ignored("MaxSize")),
            (Listed::new(&long, 1), None, Verdict::KeyTooLong(MAX_KEY_BYTES + 1)),
            (archived, None, Verdict::Archived),
            (archived, Some(Listed::new("a", 1)), Verdict::AlreadyThere),
            (restored, None, Verdict::Copy(Difference::Missing)),
            (
                Listed::new("x", 1),
                Some(Listed::new("x", 2)),
                Verdict::Copy(Difference::SizeDiffers),
            ),
            (Listed::new("x", 1), Some(Listed::new("x", 1)), Verdict::AlreadyThere),
        ] {
            assert_eq!(judge.judge(listed, copy, None), expected, "{listed:?}");
        }
        let elsewhere = Judge { reads_archives: true, ..judge };
        let tried = elsewhere.judge(archived, None, None);
        assert_eq!(tried, Verdict::Copy(Difference::Missing), "its class says little there");
    }

    /// Promise 1.
    #[test]
    fn a_mark_is_that_of_one_content() {
        let judge = judge();
        let listed = Listed { etag: Some("e"), ..Listed::new("x", 1) };
        assert_eq!(judge.mark(listed), judge.mark(listed));
        for other in [
            Listed { etag: Some("f"), ..listed },
            Listed { version: Some("v"), ..listed },
            Listed { last_modified: Some(SystemTime::UNIX_EPOCH), ..listed },
            Listed { size: 2, ..listed },
            Listed { key: "y", ..listed },
            Listed { key: "xe", etag: None, ..listed },
        ] {
            assert_ne!(judge.mark(other), judge.mark(listed), "{other:?}");
        }
    }

    /// Promise 1.
    #[test]
    fn versions_count_where_they_are_compared() {
        let judge = judge();
        let listed = Listed { version: Some("v2"), ..Listed::new("x", 1) };
        let copied = Revision::new(Some("v1".into()), None);
        let verdict = |copied| judge.judge(listed, Some(Listed::new("x", 1)), copied);
        assert_eq!(verdict(None), Verdict::AlreadyThere);
        assert_eq!(verdict(Some(Some(&copied))), Verdict::Copy(Difference::VersionDiffers));
        assert_eq!(verdict(Some(None)), Verdict::Copy(Difference::VersionUnknown));
    }
}
