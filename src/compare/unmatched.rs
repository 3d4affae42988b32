//! What was named and matches nothing: patterns, and sources that list no object.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::comparison::{Keys, Terms};
use super::{KeyOrigin, Summary};
use crate::filter::patterns::Patterns;
use crate::format::escape::shown;
use crate::format::likeness::nearest;
use crate::mutex::lock;
use crate::params::Pair;
use crate::retry::Retrying;
use crate::store::ListRequest;

/// How many keys are kept to find out what a pattern was meant as.
const SAMPLED: usize = 1000;
/// Pages that are asked for to find the prefix that was meant.
const MOST_PAGES: usize = 16;
/// How many names a message lists.
const NAMED: usize = 5;

/// Something that was named and matches nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unmatched {
    /// What it is.
    pub what: What,
    /// The pattern, or the source's address.
    pub name: String,
    /// What it may have been meant as: written like this, it matches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meant: Option<String>,
    /// What helps if that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// What matches nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// A source that lists no object.
    Source,
    /// A pattern of `--include`, or of Include.
    Include,
    /// A pattern of `--exclude`.
    Exclude,
    /// A line of the ignore list.
    Ignore,
}

impl Unmatched {
    /// Whether a comparison with this is no success. An ignore list may serve many buckets, so a
    /// line of it counts only if it was evidently meant to match.
    pub fn is_failure(&self) -> bool {
        self.what != What::Ignore || self.meant.is_some()
    }
}

impl fmt::Display for Unmatched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = shown(&self.name);
        match self.what {
            What::Source => write!(f, "{name} lists no object")?,
            What::Include => write!(f, "--include {name} matches no key")?,
            What::Exclude => write!(f, "--exclude {name} matches no key")?,
            What::Ignore => write!(f, "{name} in the ignore list matches no key")?,
        }
        match (&self.meant, &self.hint) {
            (Some(meant), _) => write!(f, "; perhaps {} is meant", shown(meant)),
            (None, Some(hint)) => write!(f, "; {}", shown(hint)),
            (None, None) => Ok(()),
        }
    }
}

/// Notes which patterns match a key, while keys are listed.
#[derive(Debug, Default)]
pub struct Matched {
    ignore: Marks,
    include: Marks,
    /// The patterns of the ignore list from this number on are those of `--exclude`.
    excludes_from: usize,
    buckets: Vec<String>,
    sample: Sample,
}

impl Matched {
    /// For these patterns over the keys of these pairs.
    pub fn new(
        ignore: &Patterns,
        excludes_from: usize,
        include: &Patterns,
        pairs: &[Pair],
    ) -> Self {
        let buckets: BTreeSet<&String> = pairs.iter().map(|pair| &pair.src_bucket).collect();
        Self {
            ignore: Marks::new(ignore),
            include: Marks::new(include),
            excludes_from,
            buckets: buckets.into_iter().cloned().collect(),
            sample: Sample::default(),
        }
    }

    /// Notes which patterns match `path`.
    pub(super) fn see(&self, path: &str, ignore: &Patterns, include: &Patterns) {
        let left = [self.ignore.see(path, ignore), self.include.see(path, include)];
        if left.contains(&true) {
            self.sample.see(path);
        }
    }

    /// The patterns that have matched no key.
    fn unmatched(&self, ignore: &Patterns, include: &Patterns) -> Vec<Unmatched> {
        let sample = lock(&self.sample.paths);
        let of = |marks: &Marks, patterns: &Patterns, what: &dyn Fn(usize) -> What| {
            let unseen = marks.unseen().filter_map(|at| Some((at, patterns.rules().get(at)?)));
            let named =
                unseen.map(|(at, pattern)| self.unmatched_pattern(what(at), pattern, &sample));
            named.collect::<Vec<_>>()
        };
        let excluded = |at| if at < self.excludes_from { What::Ignore } else { What::Exclude };
        let mut all = of(&self.include, include, &|_| What::Include);
        all.extend(of(&self.ignore, ignore, &excluded));
        all
    }

    fn unmatched_pattern(&self, what: What, pattern: &str, sample: &[String]) -> Unmatched {
        let meant = meant(pattern, &self.buckets, sample);
        let is_elsewhere = !self.buckets.iter().any(|bucket| may_begin_with(pattern, bucket));
        let hint = match self.buckets.first() {
            Some(bucket) if is_elsewhere => {
                Some(format!("a pattern begins with the bucket, as in {bucket}/*, or with *"))
            }
            _ => None,
        };
        Unmatched { what, name: pattern.to_owned(), hint: hint.filter(|_| meant.is_none()), meant }
    }
}

/// One mark for each pattern of a list.
#[derive(Debug, Default)]
struct Marks {
    seen: Vec<AtomicBool>,
    left: AtomicUsize,
}

impl Marks {
    fn new(patterns: &Patterns) -> Self {
        let mut first = HashMap::new();
        // Of equal patterns only the first is ever seen.
        let is_again =
            |(at, rule): (usize, &String)| *first.entry(rule.clone()).or_insert(at) != at;
        let seen: Vec<bool> = patterns.rules().iter().enumerate().map(is_again).collect();
        let left = seen.iter().filter(|seen| !**seen).count();
        let seen = seen.into_iter().map(AtomicBool::new).collect();
        Self { seen, left: AtomicUsize::new(left) }
    }

    /// Whether there are patterns left that have matched nothing.
    fn see(&self, path: &str, patterns: &Patterns) -> bool {
        if self.left.load(Ordering::Relaxed) == 0 {
            return false;
        }
        patterns.each_match(path, |at| {
            if self.seen.get(at).is_some_and(|seen| !seen.swap(true, Ordering::Relaxed)) {
                self.left.fetch_sub(1, Ordering::Relaxed);
            }
        });
        true
    }

    fn unseen(&self) -> impl Iterator<Item = usize> {
        let seen = self.seen.iter().enumerate();
        seen.filter(|(_, seen)| !seen.load(Ordering::Relaxed)).map(|(at, _)| at)
    }
}

/// Every n-th path, n growing so that there are never more than [`SAMPLED`].
#[derive(Debug, Default)]
struct Sample {
    count: AtomicU64,
    thinned: AtomicU64,
    paths: Mutex<Vec<String>>,
}

impl Sample {
    fn see(&self, path: &str) {
        let (count, thinned) =
            (self.count.fetch_add(1, Ordering::Relaxed), self.thinned.load(Ordering::Relaxed));
        if count & ((1 << thinned.min(63)) - 1) != 0 {
            return;
        }
        let mut paths = lock(&self.paths);
        if paths.len() >= SAMPLED {
            let mut keep = false;
            paths.retain(|_| {
                keep = !keep;
                keep
            });
            self.thinned.fetch_add(1, Ordering::Relaxed);
        }
        paths.push(path.to_owned());
    }
}

/// Whether a pattern can match a key of `bucket`.
fn may_begin_with(pattern: &str, bucket: &str) -> bool {
    let literal = pattern.split(['*', '?', '[']).next().unwrap_or_default();
    let path = format!("{bucket}/");
    let open = literal.len() < pattern.len();
    literal.starts_with(&path) || (open && path.starts_with(literal))
}

/// The pattern as it matches some of these paths: with the bucket in front, or with a `*`.
fn meant(pattern: &str, buckets: &[String], sample: &[String]) -> Option<String> {
    let bare = pattern.strip_prefix("s3://").unwrap_or(pattern);
    let key = bare.trim_start_matches('/');
    let mut written = vec![bare.to_owned()];
    written.extend(buckets.iter().map(|bucket| format!("{bucket}/{key}")));
    written.push(format!("*/{key}"));
    let ends = ["", "/*", "*"];
    let ways = ends.iter().flat_map(|end| written.iter().map(move |way| format!("{way}{end}")));
    ways.filter(|way| way != pattern).find(|way| {
        let one = Patterns::parse(way).unwrap_or_default();
        sample.iter().any(|path| one.matches(path).is_some())
    })
}

impl Terms {
    /// What was named and matches nothing, after a comparison of all pairs that ended with these
    /// summaries. Nothing is said if not all keys are known.
    pub async fn unmatched(
        &self,
        pairs: &[Pair],
        summaries: &[&Summary],
        cancel: &CancellationToken,
    ) -> Vec<Unmatched> {
        let is_known = |summary: &&Summary| summary.missing.is_empty();
        let mut all = Vec::new();
        for (pair, summary) in pairs.iter().zip(summaries) {
            if summary.listed == 0 && is_known(summary) {
                all.push(self.empty(pair, cancel).await);
            }
        }
        // Without any key no pattern could match.
        if all.len() < pairs.len() && summaries.iter().all(is_known) {
            all.extend(self.matched.unmatched(&self.ignore, &self.filter.include));
        }
        all
    }

    async fn empty(&self, pair: &Pair, cancel: &CancellationToken) -> Unmatched {
        let Pair { src_bucket, src_prefix, .. } = pair;
        let there = match &self.keys {
            Keys::All([KeyOrigin::Listing, _]) => self.names_near(pair, cancel).await,
            Keys::All(_) | Keys::Named(_) => Vec::new(),
        };
        let address = |prefix: &str| format!("s3://{src_bucket}/{prefix}");
        let meant = nearest(src_prefix, there.iter().map(String::as_str)).map(address);
        let names = there.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
        let more = if there.len() > NAMED { " and others" } else { "" };
        let hint =
            (meant.is_none() && !there.is_empty()).then(|| format!("there are {names}{more}"));
        Unmatched { what: What::Source, name: address(src_prefix), meant, hint }
    }

    /// The prefixes in the nearest folder above the pair's prefix that has any; none if it cannot
    /// be listed.
    async fn names_near(&self, pair: &Pair, cancel: &CancellationToken) -> Vec<String> {
        let mut prefix = pair.src_prefix.as_str();
        while !prefix.is_empty() {
            prefix = prefix.trim_end_matches('/');
            prefix = prefix.rfind('/').map_or("", |at| &prefix[..=at]);
            let names = self.names_below(pair, prefix, cancel).await;
            if !names.is_empty() {
                return names.into_iter().collect();
            }
        }
        Vec::new()
    }

    async fn names_below(
        &self,
        pair: &Pair,
        folder: &str,
        cancel: &CancellationToken,
    ) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        let mut after = None;
        for _ in 0..MOST_PAGES {
            let [(store, request), _] = self.requests(pair);
            let request = ListRequest {
                prefix: folder.to_owned(),
                start_after: after.take(),
                versions: false,
                ..request
            };
            // A hint is worth no patience.
            let page = Retrying::probing(&**store, cancel).list(&request).await;
            let Ok(page) = page else { break };
            let keys =
                (0..).map_while(|at| page.get(at)).map(|listed| name_below(folder, listed.key));
            let before = names.len();
            names.extend(keys.map(str::to_owned));
            let Some(last) = names.last().filter(|_| names.len() > before) else { break };
            // After all keys of the last folder: no key in UTF-8 has this byte.
            after = Some([last.as_bytes(), &[0xff]].concat());
            if !last.ends_with('/') {
                after = Some(last.as_bytes().to_vec());
            }
        }
        names
    }
}

/// `folder` and the next level of `key`, up to its `/`.
fn name_below<'a>(folder: &str, key: &'a str) -> &'a str {
    let rest = key.get(folder.len()..).unwrap_or_default();
    rest.find('/').map_or(key, |at| &key[..=folder.len() + at])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unmatched(include: &str, ignore: &str, excludes_from: usize, keys: &[&str]) -> Vec<String> {
        let (include, ignore) =
            (Patterns::parse(include).unwrap(), Patterns::parse(ignore).unwrap());
        let pair = Pair {
            src_bucket: "from".into(),
            src_prefix: String::new(),
            des_bucket: "to".into(),
            des_prefix: String::new(),
            strip: false,
        };
        let matched = Matched::new(&ignore, excludes_from, &include, &[pair]);
        keys.iter().for_each(|key| matched.see(&format!("from/{key}"), &ignore, &include));
        matched.unmatched(&ignore, &include).iter().map(ToString::to_string).collect()
    }

    /// Promise 0.
    #[test]
    fn a_pattern_that_matches_nothing_is_said_with_what_was_meant() {
        let keys = ["photos/1.jpg", "photos/old/2.jpg", "x.tmp", "logs/a"];
        assert_eq!(unmatched("from/*\n*.jpg\n*/photos/*", "*.tmp\n*/logs/a", 0, &keys), [""; 0]);
        for (pattern, expected) in [
            ("photos/*", "perhaps from/photos/* is meant"),
            ("/photos/*.jpg", "perhaps from/photos/*.jpg is meant"),
            ("s3://from/photos/*", "perhaps from/photos/* is meant"),
            ("from/photos", "perhaps from/photos/* is meant"),
            ("from/photos/", "perhaps from/photos/* is meant"),
            ("old/2.jpg", "perhaps */old/2.jpg is meant"),
            ("elsewhere/*", "a pattern begins with the bucket, as in from/*, or with *"),
        ] {
            let said = format!("--include {pattern} matches no key; {expected}");
            assert_eq!(unmatched(pattern, "", 0, &keys), [said]);
        }
        assert_eq!(unmatched("from/none*", "", 0, &keys), ["--include from/none* matches no key"]);
        assert_eq!(
            unmatched("", "*.bak\n*.bak\nlogs/*", 2, &keys),
            [
                "*.bak in the ignore list matches no key",
                "--exclude logs/* matches no key; perhaps from/logs/* is meant"
            ]
        );
    }

    #[test]
    fn a_sample_of_many_keys_stays_small() {
        let sample = Sample::default();
        (0..10_000).for_each(|n| sample.see(&n.to_string()));
        let paths = lock(&sample.paths);
        assert!(paths.len() <= SAMPLED && paths.len() > SAMPLED / 4, "{}", paths.len());
    }

    #[test]
    fn names_are_those_of_one_level() {
        for (folder, key, name) in
            [("", "a/b/c", "a/"), ("a/", "a/b/c", "a/b/"), ("a/", "a/b", "a/b"), ("", "/x", "/")]
        {
            assert_eq!(name_below(folder, key), name);
        }
    }
}
