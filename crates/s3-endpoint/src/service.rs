//! Which function answers which S3 operation. s3s answers all others with NotImplemented.

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures_util::stream;
use s3s::dto::*;
use s3s::{S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};

use crate::blob::{Blob, Folder, StoreError};
use crate::checksum::Said;
use crate::guard::Stats;
use crate::index::Index;

/// The state that all operations share.
#[derive(Clone)]
pub(super) struct Store {
    pub(super) index: Arc<Index>,
    pub(super) folder: Arc<Folder>,
    pub(super) stats: Arc<Stats>,
}

/// An incoming body, and what its sender declared about it.
pub(super) struct Incoming {
    pub(super) body: Option<StreamingBlob>,
    pub(super) length: Option<i64>,
    pub(super) md5: Option<String>,
    pub(super) crc: Said,
}

impl Store {
    /// Stores a body and checks it against its declared length, digest and checksum; returns the
    /// checksum.
    pub(super) async fn receive(
        &self,
        operation: &str,
        incoming: Incoming,
    ) -> S3Result<(Blob, Option<String>)> {
        let length = incoming.length.ok_or_else(|| s3_error!(MissingContentLength))?;
        let md5 = incoming.md5.map(|text| content_md5(&text)).transpose()?;
        let stored = match incoming.body {
            Some(body) => self.folder.store(body).await,
            None => self.folder.store(stream::empty()).await,
        };
        let blob = stored.map_err(not_stored)?;
        self.stats.bytes_in(operation, blob.len);
        if u64::try_from(length) != Ok(blob.len) {
            return Err(s3_error!(IncompleteBody));
        }
        if md5.is_some_and(|md5| md5 != blob.md5) {
            return Err(s3_error!(BadDigest));
        }
        let crc = incoming.crc.check(&blob)?;
        Ok((blob, crc))
    }
}

fn content_md5(text: &str) -> S3Result<[u8; 16]> {
    let bytes = BASE64.decode(text).map_err(|e| s3_error!(e, InvalidDigest))?;
    bytes.try_into().map_err(|_| s3_error!(InvalidDigest))
}

fn not_stored(error: StoreError) -> S3Error {
    match error {
        // The type of this error is private to s3s; its text is all there is.
        StoreError::Body(error) if error.to_string().ends_with("Sha256Mismatch") => {
            S3Error::with_source(S3ErrorCode::BadDigest, error)
        }
        StoreError::Body(error) => S3Error::with_source(S3ErrorCode::IncompleteBody, error),
        StoreError::File(error) => S3Error::internal_error(error),
    }
}

/// Refuses requests for versions, which this endpoint does not keep; `null` names the object of an
/// unversioned bucket.
pub(super) fn unversioned(version: Option<&str>) -> S3Result<()> {
    match version {
        None | Some("null") => Ok(()),
        Some(_) => Err(s3_error!(NoSuchVersion)),
    }
}

type Answer<T> = S3Result<S3Response<T>>;

#[async_trait]
impl S3 for Store {
    async fn create_bucket(&self, r: S3Request<CreateBucketInput>) -> Answer<CreateBucketOutput> {
        if !self.index.create(&r.input.bucket) {
            return Err(s3_error!(BucketAlreadyOwnedByYou));
        }
        let location = Some(format!("/{}", r.input.bucket));
        Ok(S3Response::new(CreateBucketOutput { location }))
    }

    async fn head_bucket(&self, r: S3Request<HeadBucketInput>) -> Answer<HeadBucketOutput> {
        self.index.read(&r.input.bucket, |_| Ok(()))?;
        Ok(S3Response::new(HeadBucketOutput::default()))
    }

    async fn list_buckets(&self, _: S3Request<ListBucketsInput>) -> Answer<ListBucketsOutput> {
        let named = |(name, created)| Bucket {
            name: Some(name),
            creation_date: Some(created),
            ..Bucket::default()
        };
        let buckets = Some(self.index.buckets().into_iter().map(named).collect());
        Ok(S3Response::new(ListBucketsOutput { buckets, ..ListBucketsOutput::default() }))
    }

    async fn list_objects_v2(
        &self,
        r: S3Request<ListObjectsV2Input>,
    ) -> Answer<ListObjectsV2Output> {
        self.list(r.input).map(S3Response::new)
    }

    async fn head_object(&self, r: S3Request<HeadObjectInput>) -> Answer<HeadObjectOutput> {
        self.head(r.input)
    }

    async fn get_object(&self, r: S3Request<GetObjectInput>) -> Answer<GetObjectOutput> {
        self.get(r.input)
    }

    async fn put_object(&self, r: S3Request<PutObjectInput>) -> Answer<PutObjectOutput> {
        let crc = Said::new(&r.headers, r.trailing_headers);
        self.put(r.input, &r.headers, crc).await.map(S3Response::new)
    }

    async fn delete_object(&self, r: S3Request<DeleteObjectInput>) -> Answer<DeleteObjectOutput> {
        self.delete(&r.input.bucket, &r.input.key)?;
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn delete_objects(
        &self,
        r: S3Request<DeleteObjectsInput>,
    ) -> Answer<DeleteObjectsOutput> {
        self.delete_all(r.input).map(S3Response::new)
    }

    async fn get_object_tagging(
        &self,
        r: S3Request<GetObjectTaggingInput>,
    ) -> Answer<GetObjectTaggingOutput> {
        self.tagging(r.input).map(S3Response::new)
    }

    async fn create_multipart_upload(
        &self,
        r: S3Request<CreateMultipartUploadInput>,
    ) -> Answer<CreateMultipartUploadOutput> {
        self.begin(r.input, &r.headers).map(S3Response::new)
    }

    async fn upload_part(&self, r: S3Request<UploadPartInput>) -> Answer<UploadPartOutput> {
        let crc = Said::new(&r.headers, r.trailing_headers);
        self.part(r.input, crc).await.map(S3Response::new)
    }

    async fn list_parts(&self, r: S3Request<ListPartsInput>) -> Answer<ListPartsOutput> {
        self.list_parts(r.input).map(S3Response::new)
    }

    async fn list_multipart_uploads(
        &self,
        r: S3Request<ListMultipartUploadsInput>,
    ) -> Answer<ListMultipartUploadsOutput> {
        self.list_uploads(r.input).map(S3Response::new)
    }

    async fn complete_multipart_upload(
        &self,
        r: S3Request<CompleteMultipartUploadInput>,
    ) -> Answer<CompleteMultipartUploadOutput> {
        self.complete(r.input).map(S3Response::new)
    }

    async fn abort_multipart_upload(
        &self,
        r: S3Request<AbortMultipartUploadInput>,
    ) -> Answer<AbortMultipartUploadOutput> {
        self.abort(r.input)?;
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// hyper cuts a plain body at its length, but a framed one may decode to another length.
    #[tokio::test]
    async fn a_body_of_another_length_stores_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store {
            index: Arc::new(Index::new([])),
            folder: Arc::new(Folder::open(folder.path().to_owned(), false).unwrap()),
            stats: Arc::default(),
        };
        for (length, code) in [(None, "MissingContentLength"), (Some(3), "IncompleteBody")] {
            let body = Some(StreamingBlob::from(s3s::Body::from("body".to_owned())));
            let incoming = Incoming { body, length, md5: None, crc: Said::default() };
            let error = store.receive("PutObject", incoming).await.map(drop).unwrap_err();
            assert_eq!(error.code().as_str(), code);
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
