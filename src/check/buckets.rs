//! The buckets and prefixes of both sides, and what is read there.

use std::sync::Arc;

use super::Check;
use crate::aws::clock::Clock;
use crate::check::findings::{CheckVerdict, Judged, Reached};
use crate::config::Credentials;
use crate::error::{Error, ErrorKind, Result};
use crate::object::{ByteRange, ObjectId, destination_prefix};
use crate::params::{Pair, ParameterStore};
use crate::quirk::Quirk;
use crate::store::s3::S3Store;
use crate::store::{GetRequest, ObjectMeta, Reads, Side};
use crate::wiring::{self, first};

/// A bucket, and the prefix of its keys.
pub(super) type Place = (String, String);

impl Check<'_> {
    /// Looks at all places of both sides, each once. `has_keys`: the stored credentials exist, or
    /// are not used.
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
            self.ways(&store, Side::Source);
        }
        if let Some(store) = self.store(parameters, Side::Destination, has_keys).await {
            for place in &destinations {
                self.destination(&store, place).await;
            }
            self.ways(&store, Side::Destination);
        }
    }

    /// Reports the store's quirks that the looks have shown; a warning if objects lose something by
    /// them.
    fn ways(&mut self, store: &S3Store, side: Side) {
        for (bucket, quirk, value) in store.profile().all() {
            let verdict = match quirk {
                Quirk::NoTags
                | Quirk::NoStorageClass
                | Quirk::OtherClasses
                | Quirk::NoAcl
                | Quirk::NoWebsiteRedirect
                | Quirk::NoUploadListing
                | Quirk::NoPartListing => CheckVerdict::Warning,
                _ => CheckVerdict::Ok,
            };
            let number = if value == 1 { String::new() } else { format!("={value}") };
            let said = format!("{} [{quirk}{number}]", quirk.meaning());
            let what = format!("{side} bucket {}, its quirks", bucket.escape_debug());
            self.say(what, (verdict, said), Reached::NotAsked);
        }
    }

    async fn store(
        &mut self,
        parameters: &Arc<dyn ParameterStore>,
        side: Side,
        has_keys: bool,
    ) -> Option<S3Store> {
        let who = wiring::credentials(self.config, side, false);
        let opened = match has_keys || who != Credentials::Ssm {
            true => wiring::store(self.config, parameters, side, false).await,
            false => Err(Error::usage("its credentials were not found")),
        };
        match opened {
            Ok(store) => Some(store),
            Err(error) => {
                let said = format!("not checked: {error}");
                self.say(side.to_string(), (CheckVerdict::Failed, said), Reached::NotAsked);
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
                let said = "there is no object to test reading with".to_owned();
                self.say(format!("{what}, read"), (CheckVerdict::Warning, said), Reached::NotAsked);
            }
        }
    }

    /// Looks whether the keys of a place can be listed, and at an object there; one that has bytes,
    /// if there is one among the first.
    pub(super) async fn list(
        &mut self,
        store: &S3Store,
        what: &str,
        (bucket, prefix): &Place,
    ) -> Option<Option<ObjectId>> {
        let clock = Clock::default();
        let found = first(|| store.an_object(bucket, prefix, &clock)).await;
        self.clocks.push(clock);
        let judge = |found: &Option<ObjectId>| match found {
            Some(_) => ok("listed"),
            None => ok("listed, no object there yet"),
        };
        self.look(format!("{what}, list"), "s3:ListBucket", found, judge)
    }

    /// Reads an object the way a migration would: its metadata, a byte, its tags, its version.
    async fn object(&mut self, store: &S3Store, what: &str, id: &ObjectId) {
        let read = read(store, id, None, self.roles.worker).await;
        let key = id.key.as_str();
        let archived = read.as_ref().err().filter(|e| e.kind() == ErrorKind::Archived);
        if let Some(error) = archived {
            let judged = (CheckVerdict::Warning, error.to_string());
            return self.say(format!("{what}, read"), judged, Reached::Yes);
        }
        let worker = self.roles.worker;
        let said = |meta: &ObjectMeta| match worker && meta.size == 0 {
            true => ok(&format!("{key:?}, which is empty: decryption is not tested")),
            false => ok(&format!("{key:?}")),
        };
        let Some(meta) = self.look(format!("{what}, read"), "s3:GetObject", read, said) else {
            return;
        };
        // A job either names a version or takes the current one without naming it; each needs its
        // own permissions.
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
        if let Err(error) = &tags
            && matches!(error.evidence().map_or(0, |e| e.status), 400 | 404 | 405 | 501)
        {
            // A migration goes on without tags.
            let said = format!("{error}; objects are copied without tags (CopyTags)");
            return self.say(format!("{what}, tags"), (CheckVerdict::Warning, said), Reached::Yes);
        }
        self.look(format!("{what}, tags"), "s3:GetObjectTagging", tags, said);
        if version.is_some() {
            let tags = first(|| store.tags(id, version)).await;
            let what = format!("{what}, tags of a version");
            self.look(what, "s3:GetObjectVersionTagging", tags, said);
        }
    }
}

pub(super) fn ok(said: &str) -> Judged {
    (CheckVerdict::Ok, said.to_owned())
}

/// HEAD, and for a worker also a GET of the first byte, if there is one: only a GET decrypts.
pub(super) async fn read(
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

pub(super) fn url((bucket, prefix): &Place) -> String {
    format!("s3://{bucket}/{prefix}")
}

/// Each place once, in the original order.
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
