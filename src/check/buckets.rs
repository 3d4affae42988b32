//! What is read and what is written, by calls that leave nothing behind.

use std::sync::Arc;

use bytes::Bytes;

use super::Check;
use crate::aws::clock::Clock;
use crate::config::Credentials;
use crate::error::{Error, ErrorKind, Result};
use crate::object::{ByteRange, ObjectId, destination_prefix};
use crate::params::{Pair, ParameterStore};
use crate::plan::checks::{Judged, Reached, Verdict};
use crate::plan::digest;
use crate::services::{self, first};
use crate::store::s3::S3Store;
use crate::store::{Created, GetRequest, NewObject, ObjectMeta, ObjectStore, Payload, Proof, Side};

/// What the test writes.
const TEXT: &[u8] = b"s3-migration check";

/// A bucket, and what the keys there begin with.
type Place = (String, String);

impl Check<'_> {
    /// All places of both sides, each once.
    /// `has_keys`: the stored credentials are there, or not used.
    pub(super) async fn buckets(
        &mut self,
        parameters: &Arc<dyn ParameterStore>,
        pairs: &[Pair],
        has_keys: bool,
    ) {
        let sources = pairs.iter().map(|pair| (pair.src_bucket.clone(), pair.src_prefix.clone()));
        let sources = distinct(sources);
        let basic = &self.config.basic;
        let default =
            (basic.des_bucket_default.clone(), destination_prefix(&basic.des_prefix_default));
        let default = Some(default).filter(|(bucket, _)| !bucket.is_empty());
        let copies = pairs.iter().map(|pair| (pair.des_bucket.clone(), pair.copies_prefix()));
        let destinations = distinct(copies.chain(default));
        self.scope.source.buckets = names(&sources);
        self.scope.destination.buckets = names(&destinations);
        if let Some(store) = self.store(parameters, Side::Source, has_keys).await {
            for place in &sources {
                self.source(&store, place).await;
            }
        }
        if let Some(store) = self.store(parameters, Side::Destination, has_keys).await {
            for place in &destinations {
                self.destination(&store, place).await;
            }
        }
    }

    async fn store(
        &mut self,
        parameters: &Arc<dyn ParameterStore>,
        side: Side,
        has_keys: bool,
    ) -> Option<S3Store> {
        let who = services::credentials(self.config, side, false);
        let opened = match has_keys || who != Credentials::Ssm {
            true => services::store(self.config, parameters, side, false).await,
            false => Err(Error::usage("the credentials for it were not found")),
        };
        match opened {
            Ok(store) => Some(store),
            Err(error) => {
                let said = format!("not looked at: {error}");
                self.say(side.to_string(), (Verdict::Failed, said), Reached::NotAsked);
                None
            }
        }
    }

    async fn source(&mut self, store: &S3Store, place: &Place) {
        let what = format!("source {}", url(place));
        let Some(found) = self.list(store, &what, place).await else { return };
        if self.roles.jobsender && self.scope.compares_versions {
            let listed = first(|| store.lists_versions(&place.0, &place.1)).await;
            let what = format!("{what}, versions");
            self.look(what, "s3:ListBucketVersions", listed, |()| ok("listed"));
        }
        match found {
            Some(id) => self.object(store, &what, &id).await,
            None => {
                let said = "nothing is there that reading could be tried on".to_owned();
                self.say(format!("{what}, read"), (Verdict::Warning, said), Reached::NotAsked);
            }
        }
    }

    /// Whether the keys of a place are listed: the first of them.
    async fn list(
        &mut self,
        store: &S3Store,
        what: &str,
        (bucket, prefix): &Place,
    ) -> Option<Option<ObjectId>> {
        let clock = Clock::default();
        let found = first(|| store.first_object(bucket, prefix, &clock)).await;
        self.clocks.push(clock);
        let judge = |found: &Option<ObjectId>| match found {
            Some(_) => ok("listed"),
            None => ok("listed, nothing there yet"),
        };
        self.look(format!("{what}, list"), "s3:ListBucket", found, judge)
    }

    /// The first object as it would be read: what is known of it, a byte, its tags, its version.
    async fn object(&mut self, store: &S3Store, what: &str, id: &ObjectId) {
        let read = read(store, id, None, self.roles.worker).await;
        let key = id.key.as_str();
        let archived = read.as_ref().err().filter(|e| e.kind() == ErrorKind::Archived);
        if let Some(error) = archived {
            let judged = (Verdict::Warning, error.to_string());
            return self.say(format!("{what}, read"), judged, Reached::Yes);
        }
        let said = |_: &ObjectMeta| ok(&format!("{key:?}"));
        let Some(meta) = self.look(format!("{what}, read"), "s3:GetObject", read, said) else {
            return;
        };
        // A job names a version, or the current one by none; either has its permissions.
        let version = meta.version.as_deref().filter(|_| self.scope.reads_versions);
        if let Some(version) = version {
            let read = self::read(store, id, Some(version), self.roles.worker).await;
            let said = |_: &ObjectMeta| ok(&format!("{key:?} by its version"));
            self.look(format!("{what}, read a version"), "s3:GetObjectVersion", read, said);
        }
        if !self.scope.copies_tags || !self.roles.worker {
            return;
        }
        let tags = first(|| store.tags(id, None)).await;
        let said = |_: &Vec<_>| ok(&format!("those of {key:?}"));
        self.look(format!("{what}, tags"), "s3:GetObjectTagging", tags, said);
        if version.is_some() {
            let tags = first(|| store.tags(id, version)).await;
            let what = format!("{what}, tags of a version");
            self.look(what, "s3:GetObjectVersionTagging", tags, said);
        }
    }

    async fn destination(&mut self, store: &S3Store, place: &Place) {
        let what = format!("destination {}", url(place));
        if self.list(store, &what, place).await.is_none() {
            return;
        }
        let id = test_key(place);
        // As the copies are looked at: a missing key may be told only to whom may read.
        let current = first(|| store.current(&id)).await;
        let there = |meta: &Option<ObjectMeta>| match meta {
            None => ok("a missing object is told to be missing"),
            Some(_) => (Verdict::Warning, format!("{} is there, left by whom?", id.key.as_str())),
        };
        self.look(format!("{what}, read"), "s3:GetObject", current, there);
        if self.roles.worker {
            self.upload(store, &what, &id).await;
            self.whole(store, &what, &id).await;
        }
    }

    /// An upload in parts: begun, found, filled, looked at, aborted.
    async fn upload(&mut self, store: &S3Store, what: &str, id: &ObjectId) {
        let created = store.create_upload(id, &self.new_object()).await;
        let action = match (self.scope.sets_acl, self.scope.copies_tags) {
            (true, true) => "s3:PutObject, s3:PutObjectAcl and s3:PutObjectTagging",
            (true, false) => "s3:PutObject and s3:PutObjectAcl",
            (false, true) => "s3:PutObject and s3:PutObjectTagging",
            (false, false) => "s3:PutObject",
        };
        let begun = |_: &Created| ok("an upload begun");
        let what = |part: &str| format!("{what}, {part}");
        let Some(created) = self.look(what("write"), action, created, begun) else { return };
        let upload = &created.upload;
        let proof = self.proof();
        let part = || async {
            let payload = Payload::Held { bytes: Bytes::from_static(TEXT), proof };
            store.upload_part(upload, 1, payload).await
        };
        let written = first(part).await;
        self.look(what("write a part"), "s3:PutObject", written, |_| ok("stored and verified"));
        let parts = first(|| store.list_parts(upload)).await;
        let listed = |parts: &Vec<_>| match parts.len() {
            0 => (Verdict::Warning, "the part that was sent is not among them".to_owned()),
            _ => ok("the part is there"),
        };
        self.look(what("list parts"), "s3:ListMultipartUploadParts", parts, listed);
        let uploads = first(|| store.list_uploads(id)).await;
        let found = |uploads: &Vec<_>| match uploads.len() {
            0 => (Verdict::Warning, "the upload is not among them".to_owned()),
            _ => ok("the upload is there"),
        };
        self.look(what("list uploads"), "s3:ListBucketMultipartUploads", uploads, found);
        let aborted = first(|| store.abort_upload(upload)).await.map_err(|error| {
            error.note(format_args!("the upload {} of {} is left", upload.id, id.key.as_str()))
        });
        let gone = |_: &()| ok("the upload is gone again");
        self.look(what("abort"), "s3:AbortMultipartUpload", aborted, gone);
    }

    /// A whole small object, where it can be removed without a trace, or where removing must be tried.
    async fn whole(&mut self, store: &S3Store, what: &str, id: &ObjectId) {
        let what = |done: &str| format!("{what}, {done}");
        let keeps = first(|| store.keeps_versions(&id.bucket)).await;
        if !self.scope.deletes && !matches!(keeps, Ok(false)) {
            let why = match keeps {
                Ok(_) => "the bucket keeps versions of what is removed",
                Err(_) => "whether the bucket keeps what is removed cannot be told",
            };
            let said = format!("not tried, since {why}; an upload takes the same permission");
            return self.say(what("write an object"), (Verdict::Ok, said), Reached::NotAsked);
        }
        // Who may not remove it must not write it.
        let removable = first(|| store.delete(id)).await;
        if let (Err(error), false) = (&removable, self.scope.deletes)
            && error.kind() == ErrorKind::Denied
        {
            let said = "not tried, since it could not be removed again, which a migration need not";
            let judged = (Verdict::Ok, said.to_owned());
            return self.say(what("write an object"), judged, Reached::Yes);
        }
        let may = |_: &()| ok("what is not there is removed");
        if self.look(what("delete"), "s3:DeleteObject", removable, may).is_none() {
            return;
        }
        let (new, proof) = (self.new_object(), self.proof());
        let put = first(|| store.put(id, &new, Bytes::from_static(TEXT), proof)).await;
        let wrote = |_: &_| ok("stored and verified");
        if self.look(what("write an object"), "s3:PutObject", put, wrote).is_none() {
            return;
        }
        let read = read(store, id, None, self.roles.worker).await;
        self.look(what("read it back"), "s3:GetObject", read, |_| ok("it is there"));
        let removed = first(|| store.delete(id)).await;
        let removed = removed.map_err(|e| e.note(format_args!("{} is left", id.key.as_str())));
        self.look(what("remove it"), "s3:DeleteObject", removed, |()| ok("it is gone again"));
    }

    /// With what a copy is given: who may not set an ACL or tags is refused here already.
    fn new_object(&self) -> NewObject {
        let tag = ("s3-migration".to_owned(), "check".to_owned());
        let tags = if self.scope.copies_tags { vec![tag] } else { Vec::new() };
        NewObject {
            storage_class: self.config.mode.storage_class.clone(),
            tags,
            ..NewObject::default()
        }
    }

    fn proof(&self) -> Proof {
        let wanted = self.config.mode.checksum;
        Proof {
            md5: wanted.md5.then(|| digest::md5(TEXT)),
            crc64nvme: wanted.crc64nvme.then(|| digest::crc64nvme(TEXT)),
        }
    }
}

fn ok(said: &str) -> Judged {
    (Verdict::Ok, said.to_owned())
}

/// HEAD, and for a worker a GET of the first byte where there is one: only that decrypts.
async fn read(
    store: &S3Store,
    id: &ObjectId,
    version: Option<&str>,
    byte: bool,
) -> Result<ObjectMeta> {
    let meta = first(|| store.head(id, version)).await?;
    if byte && meta.size > 0 {
        let request = GetRequest {
            id: id.clone(),
            version: version.map(str::to_owned),
            range: Some(ByteRange { start: 0, len: 1 }),
            if_match: None,
        };
        first(|| store.get(&request)).await?;
    }
    Ok(meta)
}

/// A key that nobody has.
fn test_key((bucket, prefix): &Place) -> ObjectId {
    ObjectId::new(bucket, format!("{prefix}.s3-migration-check-{:016x}", fastrand::u64(..)))
}

fn url((bucket, prefix): &Place) -> String {
    format!("s3://{bucket}/{prefix}")
}

/// Each place once, in order.
fn distinct(all: impl Iterator<Item = Place>) -> Vec<Place> {
    let mut places = Vec::new();
    for place in all {
        if !places.contains(&place) {
            places.push(place);
        }
    }
    places
}

fn names(places: &[Place]) -> Vec<String> {
    places.iter().map(|(bucket, _)| bucket.clone()).collect()
}
