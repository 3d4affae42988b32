//! The table of what each server does in another way than Amazon S3. A row that is not what the server does
//! fails the server's case `row`, whether the server has become better or worse.

use crate::objects::{BELOW_PARENT, NO_PATHS};

/// What one server does not keep, or does otherwise.
#[derive(Debug)]
pub struct Row {
    pub name: &'static str,
    /// Keys of `objects::odd` that are refused, or come back as another; the longest ones by their first letters.
    pub loses_keys: &'static [&'static [&'static str]],
    /// Headers of `objects::HEADERS`, or `tags`, that are taken and forgotten.
    pub loses: &'static [&'static str],
    /// The same of an object in parts.
    pub loses_in_parts: &'static [&'static str],
    /// Whether an object with tags is refused.
    pub refuses_tags: bool,
    /// Whether buckets may keep versions.
    pub has_versions: bool,
    /// Whether an object in parts has the ETag that Amazon S3 gives it.
    pub has_s3_etags: bool,
    /// What HEAD with `partNumber=1` and `If-Match` answers, and whether that is the first part's size.
    pub part_head: (u16, bool),
}

impl Row {
    /// Whether it loses the key that rows know by this name.
    pub fn loses_key(&self, name: &str) -> bool {
        self.loses_keys.concat().contains(&name)
    }
}

/// The endpoint of the crate's own: what every server is measured against.
pub const OWN: Row = Row {
    name: "own",
    loses_keys: &[],
    loses: &[],
    loses_in_parts: &[],
    refuses_tags: false,
    has_versions: false,
    has_s3_etags: true,
    part_head: (206, true),
};

pub const VERSITYGW: Row = Row {
    name: "versitygw",
    // Keys are paths of files, and its listing is XML without an encoding.
    loses_keys: &[&NO_PATHS, &["control\u{1}\u{1f}", BELOW_PARENT, "nn"]],
    has_versions: true,
    ..OWN
};

pub const RCLONE: Row = Row {
    name: "rclone",
    // Keys are paths of files.
    loses_keys: &[&NO_PATHS, &[BELOW_PARENT, "nn"]],
    // The MD5 of the whole.
    has_s3_etags: false,
    ..OWN
};

pub const S3PROXY: Row = Row {
    name: "s3proxy",
    // Keys are paths of files in memory.
    loses_keys: &[&NO_PATHS, &[BELOW_PARENT]],
    refuses_tags: true,
    // The MD5 of the whole.
    has_s3_etags: false,
    part_head: (200, false),
    ..OWN
};

pub const MOTO: Row = Row {
    name: "moto",
    loses_keys: &[&["line\nfeed"]],
    has_versions: true,
    part_head: (412, false),
    ..OWN
};

pub const MINISTACK: Row = Row {
    name: "ministack",
    loses_in_parts: &["tags"],
    has_versions: true,
    part_head: (200, false),
    ..OWN
};

/// Every server that others wrote.
pub const ALL: [&Row; 5] = [&VERSITYGW, &RCLONE, &S3PROXY, &MOTO, &MINISTACK];
