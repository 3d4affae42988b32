//! Object storage by the S3 API: AWS itself and every compatible store.
//!
//! The SDK makes all calls except those that move bytes, list or read tags: `http` makes these when
//! it can.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::{RequestPayer, ServerSideEncryption};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;

use super::*;
use crate::aws;
use crate::aws::clock::Clock;
use crate::aws::signer::{self, CredentialOrigin};
use crate::config::{DestinationSide, Sse};
use crate::error::{Error, ErrorKind};
use crate::object::ObjectKey;
use crate::quirk::Quirk;

mod asked_sums;
pub mod connect;
mod convert;
mod credentials;
mod examine;
mod http;
pub mod key_encoding;
mod lengths;
mod listing;
pub mod listing_page;
pub mod listing_xml;
mod new_object;
mod objects;
mod raw_answer;
mod refused_headers;
mod upload_answers;
mod uploads;

use asked_sums::SumAsking;
use convert::crc64nvme_text;
use credentials::Renewed;
use http::Lean;
use lengths::{Got, IDENTITY};
use refused_headers::Given;

/// One S3 endpoint with the credentials of one side.
pub struct S3Store {
    pub(super) client: Client,
    pub(super) side: Side,
    /// What is known of the store's peculiarities.
    pub(super) profile: Profile,
    /// How its buckets write keys, as far as nothing differs from Amazon S3's way.
    readings: listing::KnownEncodings,
    /// Where its credentials come from.
    pub(super) origin: CredentialOrigin,
    /// The account of the credentials, if it could be determined.
    pub(super) account: Option<String>,
    /// The URL that requests go to, unless it is Amazon S3's own.
    pub(super) url: Option<String>,
    pub(super) writing: Writing,
    pub(super) request_payer: Option<RequestPayer>,
    /// Ask for the checksums that the store keeps of whole objects.
    pub(super) checksums: bool,
    /// The credentials that sign requests; `None` for unsigned requests.
    credentials: Option<Renewed>,
    /// How far this machine's clock is off, if the store has refused its time.
    clock: Clock,
    /// The short path for the most frequent calls; `None`: the SDK makes them too.
    lean: Option<Lean>,
    /// Storage classes that a bucket does not know, and what its objects get instead.
    classes: Mutex<HashMap<(String, String), Option<String>>>,
    /// The store has answered a request for checksums.
    told_sums: std::sync::atomic::AtomicBool,
    /// The store has accepted a body whose SHA-256 is not signed.
    unsigned: std::sync::atomic::AtomicBool,
    /// Headers that a bucket has accepted, or refused for some objects, by bucket and header.
    seen: Mutex<HashMap<String, refused_headers::SeenWords>>,
    /// How often a bucket has refused an object whichever headers were left out.
    vain: Mutex<HashMap<String, u32>>,
    /// How often a bucket has given no part sizes for an object that has some.
    untold: Mutex<HashMap<String, u32>>,
}

/// What every new object at a destination gets.
#[derive(Clone, Debug, Default)]
pub(super) struct Writing {
    acl: Option<String>,
    sse: Option<ServerSideEncryption>,
    kms_key: Option<String>,
}

impl From<&DestinationSide> for Writing {
    fn from(destination: &DestinationSide) -> Self {
        let (sse, kms_key) = match &destination.sse {
            Sse::BucketDefault => (None, None),
            Sse::Aes256 => (Some(ServerSideEncryption::Aes256), None),
            Sse::Kms(key) => (Some(ServerSideEncryption::AwsKms), key.clone()),
        };
        Self { acl: destination.acl.clone(), sse, kms_key }
    }
}

impl fmt::Debug for S3Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Store").field("side", &self.side).finish_non_exhaustive()
    }
}

impl S3Store {
    /// An error in the user's words: the call, the place and the side. For a refusal it also names
    /// the permission that is likely missing, and the identity that lacks it.
    fn error<E>(
        &self,
        call: &str,
        permission: &str,
        place: impl fmt::Display,
        error: SdkError<E, HttpResponse>,
    ) -> Error
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let region = error.raw_response().and_then(|raw| {
            let header = raw.headers().get("x-amz-bucket-region");
            region_hint(raw.status().as_u16(), header)
        });
        let unreached = match &error {
            SdkError::DispatchFailure(unsent) => unsent.is_io() || unsent.is_timeout(),
            SdkError::TimeoutError(_) => true,
            _ => false,
        };
        let said = self.said(call, place);
        match aws::own_cause(&error) {
            Some(own) => Error::new(own.kind(), format!("{said}: {own}")),
            None => {
                let expired = aws::code(&error).is_some_and(aws::is_expired);
                let skewed = skewed(&error);
                let expired = expired.then_some(None);
                let built = self.renewed(aws::error(said, &error), expired, skewed);
                self.advised(built, call, permission, region, unreached)
            }
        }
    }

    /// Why a HEAD was refused. Its answer has no body and so no code: a wrong clock or an unknown
    /// key looks like a missing permission. A GET of one byte needs the same permission and gives
    /// the reason.
    async fn head_reason(&self, id: &ObjectId, version: Option<&str>, error: Error) -> Error {
        let request = GetRequest {
            id: id.clone(),
            version: version.map(str::to_owned),
            range: Some(ByteRange { start: 0, len: 1 }),
            if_match: None,
        };
        match self.get(&request).await {
            // An empty object has no first byte.
            Err(reason) if reason.kind() != ErrorKind::SourceChanged => reason,
            Err(_) => error,
            // The refusal is over: other credentials have been fetched meanwhile.
            Ok(_) => error.of_kind(ErrorKind::Unavailable),
        }
    }

    /// Checks the ETag: a store that does not know If-Match answers with the current object.
    fn pinned(&self, pinned: &Etag, request: &GetRequest, answer: GetAnswer) -> Result<GetAnswer> {
        if *pinned == answer.meta.etag {
            return Ok(answer);
        }
        let (said, etag) = (self.said("GetObject", &request.id), &answer.meta.etag);
        let message = format!("{said}: the object's ETag is now {etag}");
        Err(Error::new(ErrorKind::SourceChanged, message))
    }

    /// Discards credentials that were refused. If others may be available, a refusal that would end
    /// this worker is worth another try; so is a refused time that can be corrected.
    fn renewed(&self, error: Error, expired: Expired<'_>, skewed: Skewed<'_>) -> Error {
        if skewed.is_some_and(|date| self.clock.refused(date)) {
            return error.of_kind(ErrorKind::Unavailable);
        }
        let Some(credentials) = &self.credentials else { return error };
        if let Some(signed_by) = expired {
            credentials.expired(signed_by);
            return error;
        }
        // If no store has answered, the cause may be a certificate, but not the credentials.
        let is_answered = error.evidence().is_some_and(|evidence| evidence.status != 0);
        let others = || if is_answered { credentials.refused() } else { credentials.is_between() };
        match error.kind() == ErrorKind::Unfit && others() {
            true => error.of_kind(ErrorKind::Unavailable),
            false => error,
        }
    }

    /// The identity that makes the requests, in words for an error.
    pub fn identity(&self) -> String {
        let seen = self.credentials.as_ref().and_then(Renewed::seen);
        signer::words(&self.origin, seen.as_ref(), self.account.as_deref())
    }

    /// What an error's message begins with.
    fn said(&self, call: &str, place: impl fmt::Display) -> String {
        format!("{call} s3://{place} ({})", self.side)
    }

    /// Adds to an error's message what to do about it.
    fn advised(
        &self,
        built: Error,
        call: &str,
        permission: &str,
        region: Option<String>,
        unreached: bool,
    ) -> Error {
        if built.code() == "NoSuchBucket" {
            return built.note(format_args!("the request went to {}", self.asked()));
        }
        match (built.kind(), region) {
            (ErrorKind::Unavailable, None) if unreached => {
                let asked = self.asked();
                built.note(format_args!(
                    "the request went to {asked}: check Endpoint (http or https?), Region and the \
                     network"
                ))
            }
            (_, Some(region)) => {
                built.note(format_args!("the bucket is in region {region}: set Region"))
            }
            (ErrorKind::Denied, None) => {
                let identity = self.identity();
                built.note(format_args!("{call} needs {permission}, signed with {identity}"))
            }
            (ErrorKind::Unfit, None) => built.note(format_args!("asked with {}", self.identity())),
            _ => built,
        }
    }

    /// The address that requests go to, for a message.
    fn asked(&self) -> &str {
        self.url.as_deref().unwrap_or("Amazon S3")
    }

    fn write_permission(&self, new: &NewObject) -> &'static str {
        match (self.writing.acl.is_some(), new.tags.is_empty()) {
            (false, true) => "s3:PutObject",
            (false, false) => "s3:PutObject and s3:PutObjectTagging",
            (true, true) => "s3:PutObject and s3:PutObjectAcl",
            (true, false) => "s3:PutObject, s3:PutObjectAcl and s3:PutObjectTagging",
        }
    }

    fn canned_acl(&self) -> Option<aws_sdk_s3::types::ObjectCannedAcl> {
        self.writing.acl.as_deref().map(Into::into)
    }

    /// The digests by which the store verifies a body: the base64 of its MD5 (RFC 1864) and of its
    /// CRC-64/NVME.
    fn digests(proof: Proof) -> (Option<String>, Option<String>) {
        let md5 = proof.md5.map(|md5| BASE64_STANDARD.encode(md5));
        (md5, proof.crc64nvme.map(crc64nvme_text))
    }
}

/// Parses a document as each of the answers about uploads, for the fuzzer; returns the errors.
pub fn read_upload_answers(document: &[u8]) -> Vec<Error> {
    upload_answers::read_all(document)
}

/// Set if a request's credentials were called expired: the key that had signed it, if known.
type Expired<'a> = Option<Option<&'a str>>;

/// Set if a request's time was refused: the `Date` of that answer.
type Skewed<'a> = Option<Option<&'a str>>;

fn skewed<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Skewed<'_> {
    let said = error.as_service_error()?;
    let is = aws::is_skewed(said.code().unwrap_or_default(), said.message().unwrap_or_default());
    is.then(|| error.raw_response()?.headers().get("date"))
}

fn time(time: Option<&DateTime>) -> Option<SystemTime> {
    time.and_then(|time| SystemTime::try_from(*time).ok())
}

/// The bucket's region, if the answer names a different one than was asked.
fn region_hint(status: u16, header: Option<&str>) -> Option<String> {
    header.filter(|_| matches!(status, 301 | 307 | 400)).map(str::to_owned)
}

/// The permission that a read needs.
fn read_permission(request: &GetRequest) -> &'static str {
    match request.version {
        Some(_) => "s3:GetObjectVersion",
        None => "s3:GetObject",
    }
}

#[async_trait]
impl Reads for S3Store {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    async fn list(&self, request: &ListRequest) -> Result<ListPage> {
        match request.versions {
            true => self.list_versions_page(request).await,
            false => self.list_page(request).await,
        }
    }

    async fn head(&self, id: &ObjectId, version: Option<&str>) -> Result<ObjectMeta> {
        match Box::pin(self.head_sized(id, version)).await {
            Err(error) if matches!(error.kind(), ErrorKind::Denied | ErrorKind::Invalid) => {
                Err(self.head_reason(id, version, error).await)
            }
            answer => answer,
        }
    }

    async fn parts_seen(
        &self,
        id: &ObjectId,
        version: Option<&str>,
        etag: &Etag,
    ) -> Result<Option<PartsSeen>> {
        self.parts_told(id, version, etag).await
    }

    async fn get(&self, request: &GetRequest) -> Result<GetAnswer> {
        let bucket = &request.id.bucket;
        let Some(pinned) = &request.if_match else { return self.get_any(request).await };
        let unconditional = GetRequest { if_match: None, ..request.clone() };
        if self.profile.has(bucket, Quirk::NoIfMatch) {
            return self.pinned(pinned, request, self.get_any(&unconditional).await?);
        }
        match self.get_any(request).await {
            Ok(answer) => self.pinned(pinned, request, answer),
            Err(error)
                if error.kind() == ErrorKind::SourceChanged || refused_headers::may_be(&error) =>
            {
                // Either the object was replaced, or the store does not know the header, or it
                // compares its own ETag with ours and never finds them equal (a weak one, or quoted
                // twice): in the last two cases the object is unchanged.
                let answer = match Box::pin(self.get_any(&unconditional)).await {
                    Ok(answer) if answer.meta.etag == *pinned => answer,
                    _ => return Err(error),
                };
                let evidence = format_args!("GetObject s3://{} answered: {error}", request.id);
                self.profile.learn(bucket, Quirk::NoIfMatch, evidence);
                Ok(answer)
            }
            Err(error) => Err(error),
        }
    }

    async fn tags(&self, id: &ObjectId, version: Option<&str>) -> Result<Vec<(String, String)>> {
        self.object_tags(id, version).await
    }

    async fn current(&self, id: &ObjectId) -> Result<Option<ObjectMeta>> {
        let head = match self.head(id, None).await {
            Err(error) if error.kind() == ErrorKind::NotFound => self.missing(id).await,
            answer => answer.map(Some),
        };
        head.map_err(|error| match error.kind() {
            ErrorKind::Denied => error.note(format_args!(
                "without s3:ListBucket on {}, a missing key is refused in the same way",
                id.bucket
            )),
            _ => error,
        })
    }
}

#[async_trait]
impl Writes for S3Store {
    async fn put(
        &self,
        id: &ObjectId,
        new: &NewObject,
        body: Bytes,
        proof: Proof,
    ) -> Result<Written> {
        let way = self.lean_way(&id.bucket, "PutObject", id).await?;
        let (way, body) = (way.as_ref(), &body);
        let put = |given: Given| async move {
            match way {
                Some(way) => self.put_lean(way, id, &given, body.clone(), proof).await,
                None => Box::pin(self.put_by_sdk(id, &given, body.clone(), proof)).await,
            }
        };
        self.written_as_taken(&id.bucket, new, true, put).await
    }

    async fn put_streamed(
        &self,
        id: &ObjectId,
        new: &NewObject,
        body: Body,
        md5: Option<Md5>,
    ) -> Result<Written> {
        let way = self.lean_way(&id.bucket, "PutObject", id).await?;
        let put = |given: Given| async move {
            match way {
                Some(way) => self.put_streamed_lean(&way, id, &given, body, md5).await,
                None => Box::pin(self.put_streamed_by_sdk(id, &given, body, md5)).await,
            }
        };
        match self.written_as_known(&id.bucket, new, put).await {
            // The body is used up; another try brings a new one.
            Err(error) if Box::pin(self.learns_header(id, new, &error)).await => {
                Err(error.of_kind(ErrorKind::Unavailable))
            }
            written => written,
        }
    }

    async fn delete(&self, id: &ObjectId) -> Result<()> {
        self.delete_object(id).await
    }
}

#[async_trait]
impl Uploads for S3Store {
    async fn create_upload(&self, target: &ObjectId, new: &NewObject) -> Result<Created> {
        let begin = |given: Given| async move { self.begin_upload(target, &given).await };
        self.written_as_taken(&target.bucket, new, false, begin).await
    }

    async fn upload_part(&self, upload: &Upload, number: u32, payload: Payload) -> Result<Written> {
        let target = &upload.target;
        match self.lean_way(&target.bucket, "UploadPart", target).await? {
            Some(way) => self.part_lean(&way, upload, number, payload).await,
            None => Box::pin(self.part_by_sdk(upload, number, payload)).await,
        }
    }

    async fn list_parts(&self, upload: &Upload) -> Result<Vec<Part>> {
        self.parts_of(upload).await
    }

    async fn list_uploads(&self, target: &ObjectId) -> Result<Vec<ListedUpload>> {
        self.uploads_of(target).await
    }

    async fn uploads_below(
        &self,
        place: &ObjectId,
        after: Option<&UploadMarker>,
    ) -> Result<UploadsPage> {
        let page = self.uploads_page(place, after.cloned()).await?;
        let listed = |found: upload_answers::Unfinished| {
            let target = ObjectId::new(&place.bucket, found.key);
            let upload = Upload { target, id: found.id };
            ListedUpload { upload, initiated: found.initiated, class: found.class }
        };
        Ok(UploadsPage { uploads: page.uploads.into_iter().map(listed).collect(), next: page.next })
    }

    async fn complete_upload(
        &self,
        upload: &Upload,
        parts: &[Part],
        crc64nvme: Option<u64>,
    ) -> Result<Written> {
        self.complete(upload, parts, crc64nvme).await
    }

    async fn abort_upload(&self, upload: &Upload) -> Result<()> {
        self.abort(upload).await
    }
}
