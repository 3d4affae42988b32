//! The calls at the source and at the destination, and who makes them.
//!
//! Pure: a statement follows from the side, and from who calls.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Scope, statement};
use crate::store::Side;

/// Whose permissions apply on a side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CallerKind {
    /// The machine's own role.
    #[default]
    Machine,
    /// The user whose credentials are stored, or whose profile is named.
    Other,
    /// Nobody's: requests are not signed.
    Nobody,
}

/// One side of a migration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SideScope {
    /// Who makes the requests there.
    pub asker: CallerKind,
    /// The partition of its buckets; empty: `aws`.
    pub partition: String,
    /// The buckets: names, or ARNs of access points.
    pub buckets: Vec<String>,
    /// ARNs of the customer managed keys that encrypt its objects.
    pub keys: Vec<String>,
}

/// The kind of work.
#[derive(Clone, Copy)]
pub(super) struct Duties {
    moves: bool,
    compares: bool,
}

impl Duties {
    pub(super) const WORKER: Self = Self { moves: true, compares: false };
    pub(super) const JOBSENDER: Self = Self { moves: false, compares: true };
    pub(super) const ALL: Self = Self { moves: true, compares: true };
}

/// What `asker` needs on the sides that it uses. The identifiers name the side only if it uses
/// both.
pub(super) fn statements(scope: &Scope, asker: CallerKind, work: Duties) -> Vec<Value> {
    let sides = [(Side::Source, &scope.source), (Side::Destination, &scope.destination)];
    let asked: Vec<_> = sides.into_iter().filter(|(_, of)| of.asker == asker).collect();
    let both = asked.len() > 1;
    let named = |side| match (both, side) {
        (false, _) => "",
        (true, Side::Source) => "Source",
        (true, Side::Destination) => "Destination",
    };
    let each = asked.into_iter().flat_map(|(side, of)| {
        let name = named(side);
        [
            filled(format!("{name}Buckets"), on_buckets(scope, side, work), of.bucket_arns()),
            filled(format!("{name}Objects"), on_objects(scope, side, work), of.object_arns()),
            filled(format!("{name}Keys"), on_keys(side, work), of.keys.clone()),
        ]
    });
    each.flatten().collect()
}

/// `None` if there are no actions or resources: IAM would refuse such a statement.
fn filled(sid: String, actions: BTreeSet<&'static str>, resources: Vec<String>) -> Option<Value> {
    let said = !actions.is_empty() && !resources.is_empty();
    said.then(|| statement(&sid, actions, resources))
}

/// ListBucket for the worker too: without it, S3 refuses a request for a missing key instead of
/// reporting it missing (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html>).
fn on_buckets(scope: &Scope, side: Side, work: Duties) -> BTreeSet<&'static str> {
    let versions = work.compares && side == Side::Source && scope.compares_versions;
    let uploads = work.moves && side == Side::Destination;
    chosen(&[
        (true, "s3:ListBucket"),
        (versions, "s3:ListBucketVersions"),
        (uploads, "s3:ListBucketMultipartUploads"),
    ])
}

/// The calls and their permissions:
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html>.
fn on_objects(scope: &Scope, side: Side, work: Duties) -> BTreeSet<&'static str> {
    let tags = scope.copies_tags && work.moves;
    match side {
        // A comparison of named keys asks for each object, and an inventory is itself an object.
        Side::Source => chosen(&[
            (true, "s3:GetObject"),
            (tags, "s3:GetObjectTagging"),
            (scope.reads_versions, "s3:GetObjectVersion"),
            (scope.reads_versions && tags, "s3:GetObjectVersionTagging"),
        ]),
        Side::Destination if !work.moves => chosen(&[(true, "s3:GetObject")]),
        Side::Destination => chosen(&[
            (true, "s3:AbortMultipartUpload"),
            (scope.deletes, "s3:DeleteObject"),
            (true, "s3:GetObject"),
            (true, "s3:ListMultipartUploadParts"),
            (true, "s3:PutObject"),
            (scope.sets_acl, "s3:PutObjectAcl"),
            (tags, "s3:PutObjectTagging"),
        ]),
    }
}

/// A multipart upload also needs to decrypt
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html#mpuAndPermissions>).
fn on_keys(side: Side, work: Duties) -> BTreeSet<&'static str> {
    let writes = side == Side::Destination && work.moves;
    chosen(&[(work.moves, "kms:Decrypt"), (writes, "kms:GenerateDataKey")])
}

fn chosen(actions: &[(bool, &'static str)]) -> BTreeSet<&'static str> {
    actions.iter().filter(|(needed, _)| *needed).map(|(_, action)| *action).collect()
}

impl SideScope {
    fn bucket_arns(&self) -> Vec<String> {
        self.distinct().into_iter().map(|bucket| self.arn(bucket)).collect()
    }

    /// Objects of an access point have an ARN of another form
    /// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-points-policies.html>).
    fn object_arns(&self) -> Vec<String> {
        let objects = |bucket: &str| match bucket.starts_with("arn:") {
            true => format!("{bucket}/object/*"),
            false => format!("{}/*", self.arn(bucket)),
        };
        self.distinct().into_iter().map(objects).collect()
    }

    fn distinct(&self) -> BTreeSet<&str> {
        self.buckets.iter().map(String::as_str).collect()
    }

    fn arn(&self, bucket: &str) -> String {
        let partition = if self.partition.is_empty() { "aws" } else { &self.partition };
        match bucket.starts_with("arn:") {
            true => bucket.to_owned(),
            false => format!("arn:{partition}:s3:::{bucket}"),
        }
    }
}
