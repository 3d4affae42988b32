//! The bucket list: what is migrated where.

use std::borrow::Cow;

use serde::Deserialize;

use crate::aws::partition::Partition;
use crate::config::{Config, Credentials, Endpoint, Role};
use crate::error::{Error, Result};
use crate::object::{
    KeyNames, MAX_KEY_BYTES, ObjectId, ObjectKey, destination_key, destination_prefix,
    is_bucket_name,
};

/// One entry of the bucket list: everything under a prefix is copied to a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The bucket to read.
    pub src_bucket: String,
    /// Only keys that begin with this; empty: the whole bucket.
    pub src_prefix: String,
    /// The bucket to write.
    pub des_bucket: String,
    /// The prefix of every destination key, as [`destination_key`] takes it.
    pub des_prefix: String,
    /// Copies have their keys without `src_prefix`.
    pub strip: bool,
}

impl Pair {
    /// Whether the copies land in what the pair lists, if both sides are the same store: an object
    /// would be copied onto itself, or every run would find the copies of the last one.
    pub fn feeds_itself(&self) -> bool {
        let copies = self.copies_prefix();
        // Without its prefix, a key may begin with anything, even with the source's prefix again.
        let leads_back = self.strip && self.src_prefix.starts_with(&copies);
        self.src_bucket == self.des_bucket && (leads_back || copies.starts_with(&self.src_prefix))
    }

    /// Where the source's object `key` is copied to. Nothing else maps a key.
    pub fn target(&self, key: &ObjectKey) -> ObjectId {
        let stripped = key.as_str().strip_prefix(&*self.src_prefix).filter(|_| self.strip);
        let key = match stripped {
            Some(rest) => ObjectKey::new(destination_prefix(&self.des_prefix) + rest),
            None => destination_key(&self.des_prefix, key),
        };
        ObjectId { bucket: self.des_bucket.clone(), key }
    }

    /// The prefix of every copy's key.
    pub fn copies_prefix(&self) -> String {
        let kept = if self.strip { "" } else { &*self.src_prefix };
        destination_prefix(&self.des_prefix) + kept
    }

    /// How the copies' keys become the source's.
    pub fn names_of_copies(&self) -> KeyNames {
        let add = if self.strip { self.src_prefix.clone() } else { String::new() };
        KeyNames { cut: destination_prefix(&self.des_prefix).len(), add }
    }

    /// The length of a copy's key, from that of its source.
    pub fn target_len(&self, source: usize) -> usize {
        let KeyNames { cut, add } = self.names_of_copies();
        (source + cut).saturating_sub(add.len())
    }

    /// The longest key of the source whose copy's key is not too long.
    pub fn longest_key(&self) -> usize {
        let KeyNames { cut, add } = self.names_of_copies();
        (MAX_KEY_BYTES + add.len()).saturating_sub(cut).min(MAX_KEY_BYTES)
    }

    /// Whether a copy of this key would have none: the marker of the folder that is stripped.
    pub fn leaves_nothing_of(&self, key: &str) -> bool {
        self.strip && key == self.src_prefix && destination_prefix(&self.des_prefix).is_empty()
    }

    /// What copies are named by: the destination's prefix, and what is stripped.
    pub fn naming(&self) -> Cow<'_, str> {
        match self.strip {
            true => format!("{}\n{}", self.des_prefix, self.src_prefix).into(),
            false => (&*self.des_prefix).into(),
        }
    }

    /// What is wrong with the pair, in words for the user. `same_place`: both sides are the same
    /// store, so the pair could feed itself.
    pub fn problems(&self, same_place: bool) -> Vec<String> {
        let mut problems = Vec::new();
        for (field, bucket) in [("src_bucket", &self.src_bucket), ("des_bucket", &self.des_bucket)]
        {
            if bucket.is_empty() {
                problems.push(format!("{field} is empty"));
            } else if !is_bucket_name(bucket) {
                problems.push(format!("{field} {bucket:?} is not the name of a bucket"));
            }
        }
        if self.strip && !self.src_prefix.is_empty() && !self.src_prefix.ends_with('/') {
            problems.push(format!(
                "only a source prefix that ends with / can be stripped, {:?} does not",
                self.src_prefix
            ));
        }
        if problems.is_empty() && same_place && self.feeds_itself() {
            problems.push(format!(
                "the copies would land in the source: bucket {} with source prefix {:?} and \
                 destination prefix {:?}; choose a destination outside of the source prefix",
                self.src_bucket, self.src_prefix, self.des_prefix
            ));
        }
        problems
    }
}

/// Whether a bucket name means the same bucket on both sides, as far as the configuration shows.
/// Each AWS partition has its own bucket names, so two sides on AWS are the same place only if they
/// are known to share a partition or the credentials.
pub fn same_place(config: &Config) -> bool {
    let (source, destination) = (&config.source.endpoint, &config.destination.endpoint);
    match (&source.url, &destination.url) {
        (Some(a), Some(b)) => a.trim_end_matches('/').eq_ignore_ascii_case(b.trim_end_matches('/')),
        (None, None) => match (partition(source), partition(destination)) {
            (Some(a), Some(b)) => a == b,
            _ => {
                source.credentials == destination.credentials
                    && source.profile == destination.profile
                    && matches!(
                        source.credentials,
                        Some(Credentials::Default | Credentials::Ssm | Credentials::Profile)
                    )
            }
        },
        _ => false,
    }
}

/// The name of a side's partition, as far as the configuration shows.
fn partition(side: &Endpoint) -> Option<&str> {
    let by_region = side.region.as_deref().map(|region| Partition::of_region(region).name);
    by_region.or_else(|| side.role.as_ref().map(Role::partition))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with src_bucket and des_bucket")]
struct PairEntry {
    src_bucket: String,
    src_prefix: Option<String>,
    des_bucket: String,
    des_prefix: Option<String>,
    #[serde(default)]
    strip_prefix: bool,
}

/// Reads `[{"src_bucket", "src_prefix", "des_bucket", "des_prefix", "strip_prefix"}, ...]`. All but the
/// buckets are optional, and the list may be empty: then only events bring jobs. `name`: the source of the
/// text, for errors; `same_place`: both sides are the same store, so a pair could feed itself.
pub fn parse_pairs(name: &str, text: &str, same_place: bool) -> Result<Vec<Pair>> {
    let text = text.trim_start_matches('\u{feff}');
    let entries: Vec<PairEntry> = serde_json::from_str(text).map_err(|e| {
        let entry = failing_entry(text).map(|n| format!("entry {n}: ")).unwrap_or_default();
        Error::usage(format!("{name}: {entry}{e}"))
    })?;
    let mut pairs = Vec::with_capacity(entries.len());
    let mut problems = Vec::new();
    for (i, entry) in entries.into_iter().enumerate() {
        let pair = pair(entry);
        let wrong = pair.problems(same_place);
        problems.extend(wrong.into_iter().map(|p| format!("{name}: entry {}: {p}", i + 1)));
        pairs.push(pair);
    }
    if problems.is_empty() { Ok(pairs) } else { Err(Error::usage(problems.join("\n"))) }
}

fn pair(entry: PairEntry) -> Pair {
    let src_prefix = entry.src_prefix.filter(|prefix| prefix != "/").unwrap_or_default();
    Pair {
        src_bucket: entry.src_bucket,
        src_prefix,
        des_bucket: entry.des_bucket,
        des_prefix: entry.des_prefix.unwrap_or_default(),
        strip: entry.strip_prefix,
    }
}

/// The number, from 1, of the first invalid entry.
fn failing_entry(text: &str) -> Option<usize> {
    let entries: Vec<serde_json::Value> = serde_json::from_str(text).ok()?;
    entries.into_iter().position(|e| serde_json::from_value::<PairEntry>(e).is_err()).map(|i| i + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn wrong(text: &str) -> String {
        let error = parse_pairs("bucket list x", text, true).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
        error.to_string()
    }

    fn a_pair(src_bucket: &str, src_prefix: &str, des_bucket: &str, des_prefix: &str) -> Pair {
        Pair {
            src_bucket: src_bucket.into(),
            src_prefix: src_prefix.into(),
            des_bucket: des_bucket.into(),
            des_prefix: des_prefix.into(),
            strip: false,
        }
    }

    #[test]
    fn the_list_of_the_original_is_read() {
        let text = r#"[{"src_bucket": "g1", "src_prefix": "your_prefix",
                        "des_bucket": "c1", "des_prefix": "prefix_1"},
                       {"src_bucket": "g2", "src_prefix": "/", "des_bucket": "c2", "des_prefix": "/"},
                       {"src_bucket": "g3", "des_bucket": "c3", "src_prefix": null}]"#;
        assert_eq!(
            parse_pairs("x", text, true).unwrap(),
            [
                a_pair("g1", "your_prefix", "c1", "prefix_1"),
                a_pair("g2", "", "c2", "/"),
                a_pair("g3", "", "c3", ""),
            ]
        );
    }

    #[test]
    fn errors_name_the_list_the_entry_and_the_place() {
        let two =
            |second: &str| format!("[{{\"src_bucket\":\"a\",\"des_bucket\":\"b\"}},\n{second}]");
        let typo = wrong(&two(r#"{"src_bukcet":"a","des_bucket":"b"}"#));
        assert!(typo.starts_with("bucket list x: entry 2: unknown field `src_bukcet`"), "{typo}");
        assert!(typo.contains("line 2 column"), "{typo}");
        let missing = wrong(&two(r#"{"src_bucket":"a"}"#));
        assert!(missing.contains("entry 2: missing field `des_bucket`"), "{missing}");
        let syntax = wrong("[{\"src_bucket\": \"a\",]");
        assert!(syntax.starts_with("bucket list x: ") && syntax.contains("line 1"), "{syntax}");
        assert_eq!(parse_pairs("x", " [] ", true).unwrap(), []);
        assert!(wrong("{}").contains("expected a sequence"));
        assert!(
            wrong("[5]").contains("entry 1: invalid type: integer `5`, expected an object with")
        );
    }

    #[test]
    fn every_entry_with_a_problem_is_named() {
        let text = r#"[{"src_bucket":"","des_bucket":"b"},
                       {"src_bucket":"s3://a","des_bucket":"b c"},
                       {"src_bucket":"a","des_bucket":"b"}]"#;
        assert_eq!(
            wrong(text).lines().collect::<Vec<_>>(),
            [
                "bucket list x: entry 1: src_bucket is empty",
                "bucket list x: entry 2: src_bucket \"s3://a\" is not the name of a bucket",
                "bucket list x: entry 2: des_bucket \"b c\" is not the name of a bucket",
            ]
        );
    }

    #[test]
    fn a_prefix_is_stripped_as_a_folder() {
        let text = r#"[{"src_bucket":"a","src_prefix":"x/","des_bucket":"b","des_prefix":"y",
                        "strip_prefix":true}]"#;
        let pair = parse_pairs("x", text, false).unwrap().remove(0);
        for (key, copy) in [("x/1.jpg", "y/1.jpg"), ("x/", "y/"), ("x/x/1", "y/x/1")] {
            assert_eq!(pair.target(&ObjectKey::new(key)).key.as_str(), copy);
            assert_eq!(pair.target_len(key.len()), copy.len());
        }
        assert_eq!((pair.copies_prefix(), pair.longest_key()), ("y/".to_owned(), MAX_KEY_BYTES));
        let bare = Pair { des_prefix: String::new(), ..pair };
        assert!(bare.leaves_nothing_of("x/") && !bare.leaves_nothing_of("x/1"));
        assert_eq!(bare.target(&ObjectKey::new("x/1")).key.as_str(), "1");
        assert!(wrong(&text.replace("x/", "x")).contains("ends with / can be stripped"));
    }

    #[test]
    fn a_pair_must_not_feed_itself() {
        for (pair, feeds) in [
            (a_pair("b", "", "b", ""), true),
            (a_pair("b", "", "b", "copy"), true),
            (a_pair("b", "a/", "b", "a"), true),
            (a_pair("b", "a/", "b", "a/deeper"), true),
            (a_pair("b", "a/", "b", "/"), true),
            (a_pair("b", "a", "b", "ab"), true),
            (a_pair("b", "a/", "b", "c"), false),
            (a_pair("b", "a/b", "b", "a"), false),
            (a_pair("b", "aa", "b", "a"), false),
            (a_pair("b", "", "c", ""), false),
        ] {
            assert_eq!(pair.feeds_itself(), feeds, "{pair:?}");
        }
        let stripped = |pair: Pair| Pair { strip: true, ..pair }.feeds_itself();
        assert!(stripped(a_pair("b", "a/", "b", "")), "a/a/k becomes a/k");
        assert!(stripped(a_pair("b", "a/b/", "b", "a")), "a/b/b/k becomes a/b/k");
        assert!(stripped(a_pair("b", "a/", "b", "a/c")));
        assert!(!stripped(a_pair("b", "a/", "b", "c")));
        let text = r#"[{"src_bucket":"b","des_bucket":"b","des_prefix":"copy"}]"#;
        assert!(wrong(text).contains("entry 1: the copies would land in the source"));
        assert!(parse_pairs("x", text, false).is_ok());
    }

    #[test]
    fn equal_names_mean_one_bucket_only_in_one_place() {
        let config = |ini: &str| Config::from_text("t", ini, [("", ""); 0]).unwrap();
        for (ini, same) in [
            ("", false),
            ("[Source]\nEndpoint=http://a:1/\n[Destination]\nEndpoint=http://A:1", true),
            ("[Source]\nEndpoint=http://a:1\n[Destination]\nEndpoint=http://a:2", false),
            ("[Source]\nEndpoint=http://a:1", false),
            ("[Source]\nRegion=us-east-1\n[Destination]\nRegion=eu-west-1", true),
            ("[Source]\nRegion=us-east-1\n[Destination]\nRegion=cn-north-1", false),
            ("[Source]\nCredentials=default\n[Destination]\nCredentials=default", true),
            ("[Source]\nCredentials=default\n[Destination]\nCredentials=ssm", false),
            ("[Source]\nProfile=a\n[Destination]\nProfile=b", false),
            (
                "[Source]\nRoleArn=arn:aws:iam::111111111111:role/r\n\
                 [Destination]\nRegion=eu-west-1",
                true,
            ),
        ] {
            assert_eq!(same_place(&config(ini)), same, "{ini}");
        }
    }
}
