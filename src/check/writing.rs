//! What is written: an upload that is then aborted, and an object that is then removed.

use bytes::Bytes;

use super::Check;
use super::buckets::{Place, ok, read, url};
use crate::check::findings::{CheckVerdict, Reached};
use crate::digest;
use crate::error::{Error, ErrorKind};
use crate::object::ObjectId;
use crate::quirk::Quirk;
use crate::store::s3::S3Store;
use crate::store::{
    Created, NewObject, ObjectMeta, Payload, Proof, Reads, Upload, Uploads, Writes,
};
use crate::wiring::first;

/// What the test writes.
const TEXT: &[u8] = b"s3-migration check";

impl Check<'_> {
    pub(super) async fn destination(&mut self, store: &S3Store, place: &Place) {
        let what = format!("destination {}", url(place));
        let Some(found) = self.list(store, &what, place).await else { return };
        let id = test_key(place);
        // With the call that looks at copies.
        let current = first(|| store.current(&id)).await;
        let there = |meta: &Option<ObjectMeta>| match meta {
            None => ok("a missing object is reported as missing"),
            Some(_) => (
                CheckVerdict::Warning,
                format!("{} exists, although this check did not write it", id.key.as_str()),
            ),
        };
        self.look(format!("{what}, look"), "s3:GetObject", current, there);
        if let Some(found) = found {
            let head = first(|| store.head(&found, None)).await;
            let said = |_: &ObjectMeta| ok(&format!("{:?}", found.key.as_str()));
            self.look(format!("{what}, read"), "s3:GetObject", head, said);
        }
        if self.roles.worker && self.upload(store, &what, &id).await.is_some() {
            self.whole(store, &what, &id).await;
        }
    }

    /// A multipart upload: created, filled, listed, and aborted.
    async fn upload(&mut self, store: &S3Store, what: &str, id: &ObjectId) -> Option<()> {
        let what = |part: &str| format!("{what}, {part}");
        // If aborting is not allowed, no upload may be begun. Aborting one that does not exist
        // succeeds.
        let nobodys = Upload { target: id.clone(), id: "s3-migration-check".to_owned() };
        if let Err(error) = first(|| store.abort_upload(&nobodys)).await
            && error.kind() == ErrorKind::Denied
        {
            let error = error.note("nothing is written, since it could not be removed");
            return self.look(what("abort"), "s3:AbortMultipartUpload", Err(error), |()| ok(""));
        }
        let created = store.create_upload(id, &self.new_object()).await;
        let action = match (self.scope.sets_acl, self.scope.copies_tags) {
            (true, true) => "s3:PutObject, s3:PutObjectAcl and s3:PutObjectTagging",
            (true, false) => "s3:PutObject and s3:PutObjectAcl",
            (false, true) => "s3:PutObject and s3:PutObjectTagging",
            (false, false) => "s3:PutObject",
        };
        let begun = |_: &Created| ok("an upload was created");
        let upload = self.look(what("write"), action, created, begun)?.upload;
        let proof = self.proof();
        let part = || async {
            let payload = Payload::Held { bytes: Bytes::from_static(TEXT), proof };
            store.upload_part(&upload, 1, payload).await
        };
        let written = first(part).await;
        self.look(what("write a part"), "s3:PutObject", written, |_| ok("stored and verified"));
        let parts = first(|| store.list_parts(&upload)).await;
        let listed = |parts: &Vec<_>| match parts.len() {
            0 => (CheckVerdict::Warning, "the part that was sent is not among them".to_owned()),
            _ => ok("the part is there"),
        };
        match parts {
            Err(error) if is_unknown(&error) => {
                let said = format!("{error}; {}", Quirk::NoPartListing.meaning());
                self.say(what("list parts"), (CheckVerdict::Warning, said), Reached::Yes);
            }
            parts => {
                self.look(what("list parts"), "s3:ListMultipartUploadParts", parts, listed);
            }
        }
        let uploads = first(|| store.list_uploads(id)).await;
        let found = |uploads: &Vec<_>| match uploads.len() {
            0 => (CheckVerdict::Warning, "the upload is not among them".to_owned()),
            _ => ok("the upload is there"),
        };
        match uploads {
            Err(error) if is_unknown(&error) => {
                let said = format!("{error}; {}", Quirk::NoUploadListing.meaning());
                self.say(what("list uploads"), (CheckVerdict::Warning, said), Reached::Yes);
            }
            uploads => {
                let action = "s3:ListBucketMultipartUploads";
                self.look(what("list uploads"), action, uploads, found);
            }
        }
        let aborted = first(|| store.abort_upload(&upload)).await.map_err(|error| {
            error.note(format_args!(
                "the upload {} of {} remains: abort it",
                upload.id,
                id.key.as_str()
            ))
        });
        let gone = |_: &()| ok("the upload was removed");
        self.look(what("abort"), "s3:AbortMultipartUpload", aborted, gone)
    }

    /// Writes a whole small object, if it can be removed without a trace.
    async fn whole(&mut self, store: &S3Store, what: &str, id: &ObjectId) {
        let what = |done: &str| format!("{what}, {done}");
        let keeps = first(|| store.keeps_versions(&id.bucket)).await;
        if !matches!(keeps, Ok(false)) {
            let why = match keeps {
                Ok(_) => "the bucket keeps versions of what is removed",
                Err(_) => "it is unknown whether the bucket keeps versions of what is removed",
            };
            return self.untried(what("write an object"), why);
        }
        // If removing is not allowed, nothing may be written.
        let removable = first(|| store.delete(id)).await;
        if let (Err(error), false) = (&removable, self.scope.deletes)
            && error.kind() == ErrorKind::Denied
        {
            return self.untried(what("write an object"), "it could not be removed again");
        }
        let may = |_: &()| ok("deleting a missing object is allowed");
        if self.look(what("delete"), "s3:DeleteObject", removable, may).is_none() {
            return;
        }
        // In the store's default class: an archive would charge for months.
        let new = NewObject { storage_class: None, ..self.new_object() };
        let proof = self.proof();
        let put = first(|| store.put(id, &new, Bytes::from_static(TEXT), proof)).await;
        let wrote = |_: &_| ok("stored and verified");
        if self.look(what("write an object"), "s3:PutObject", put, wrote).is_none() {
            return;
        }
        let read = read(store, id, None, true).await;
        self.look(what("read it back"), "s3:GetObject", read, |_| ok("it is there"));
        let removed = first(|| store.delete(id)).await;
        let removed = removed.map_err(|e| e.note(format_args!("{} is left", id.key.as_str())));
        self.look(what("remove it"), "s3:DeleteObject", removed, |()| ok("it was removed"));
    }

    /// Reports that writing was not tried. An upload needs the same permissions, but deleting needs
    /// its own.
    fn untried(&mut self, what: String, why: &str) {
        let judged = match self.scope.deletes {
            false => ok(&format!("not tried, since {why}; the upload needed the same permission")),
            true => (
                CheckVerdict::Warning,
                format!("not tried, nor is s3:DeleteObject, which is needed: {why}"),
            ),
        };
        self.say(what, judged, Reached::NotAsked);
    }

    /// With the settings of a copy: a caller who may not set an ACL or tags is refused already
    /// here.
    fn new_object(&self) -> NewObject {
        let tag = ("s3-migration".to_owned(), "check".to_owned());
        let tags = if self.scope.copies_tags { vec![tag] } else { Vec::new() };
        NewObject {
            storage_class: self.config.mode.storage_class.of(None),
            tags,
            ..NewObject::default()
        }
    }

    fn proof(&self) -> Proof {
        let wanted = self.config.mode.checksum;
        Proof {
            md5: wanted.has_md5().then(|| digest::md5(TEXT)),
            crc64nvme: wanted.has_crc64nvme().then(|| digest::crc64nvme(TEXT)),
        }
    }
}

/// Whether the store does not support the call. A worker does without it.
fn is_unknown(error: &Error) -> bool {
    matches!(error.evidence().map_or(0, |evidence| evidence.status), 405 | 501)
}

/// An unused key.
fn test_key((bucket, prefix): &Place) -> ObjectId {
    ObjectId::new(bucket, format!("{prefix}.s3-migration-check-{:016x}", fastrand::u64(..)))
}
