//! How long an object and a body are, even if an answer does not say.
//!
//! A missing size is never taken for 0. A body without a length is complete at its end (of chunks);
//! a HEAD, a range or the listing then says how long it must be.

use futures_util::stream::BoxStream;

use super::*;
use crate::quirk::Quirk;

/// Sent as `Accept-Encoding`, so that bytes arrive as they are stored: most stores would compress
/// an object for clients that accept gzip.
pub(super) const IDENTITY: &str = "identity";

/// Some stores would decompress it for clients that do not accept gzip: Google's
/// (<https://cloud.google.com/storage/docs/transcoding>), Cloudflare's.
pub(super) const GZIP: &str = "gzip";

/// The MD5 of nothing.
const EMPTY: &str = "d41d8cd98f00b204e9800998ecf8427e";

/// The answer to a GET, before the required length of its body is known.
pub(super) struct Got {
    pub(super) meta: ObjectMeta,
    /// Bytes of the body, if announced.
    pub(super) length: Option<u64>,
    pub(super) start: u64,
    /// Bytes of the whole object, if known.
    pub(super) whole: Option<u64>,
    pub(super) pieces: BoxStream<'static, Result<Bytes>>,
}

impl Got {
    fn answer(self, length: u64) -> GetAnswer {
        let Self { meta, start, whole, pieces, .. } = self;
        GetAnswer { meta, start, whole, body: Body::new(pieces, length) }
    }
}

impl S3Store {
    /// The `Accept-Encoding` for requests to a bucket.
    pub(super) fn encoding(&self, bucket: &str) -> &'static str {
        let google = self.url.as_deref().is_some_and(|url| url.contains(".googleapis.com"));
        match google || self.profile.has(bucket, Quirk::DecompressesGzip) {
            true => GZIP,
            false => IDENTITY,
        }
    }

    /// GetObject by the available path.
    pub(super) async fn get_any(&self, request: &GetRequest) -> Result<GetAnswer> {
        let bucket = &request.id.bucket;
        let encoding = self.encoding(bucket);
        let got = self.get_as(request, encoding).await?;
        match got.length {
            Some(length) => Ok(got.answer(length)),
            None if self.profile.has(bucket, Quirk::NoLengths) => {
                Box::pin(self.measured(request, got)).await
            }
            None => Box::pin(self.get_unaltered(request, encoding, got)).await,
        }
    }

    async fn get_as(&self, request: &GetRequest, encoding: &'static str) -> Result<Got> {
        let id = &request.id;
        let way = self.lean_way(&id.bucket, "GetObject", id).await?;
        let get = |mode| {
            let way = way.as_ref();
            async move {
                match way {
                    Some(way) => self.get_lean(way, request, encoding, mode).await,
                    None => Box::pin(self.get_by_sdk(request, encoding, mode)).await,
                }
            }
        };
        // A range has no checksum.
        self.with_checksum(&id.bucket, request.range.is_none(), get).await
    }

    /// A body without a length was changed in transit, or passed on by a proxy. If it has a length
    /// under the other encoding, those are the stored bytes.
    async fn get_unaltered(
        &self,
        request: &GetRequest,
        encoding: &'static str,
        got: Got,
    ) -> Result<GetAnswer> {
        let bucket = &request.id.bucket;
        drop(got);
        let other = if encoding == GZIP { IDENTITY } else { GZIP };
        let second = self.get_as(request, other).await?;
        let said = self.said("GetObject", &request.id);
        if let Some(length) = second.length {
            if other == GZIP {
                let evidence = format!("{said} has a length only with Accept-Encoding: gzip");
                self.profile.learn(bucket, Quirk::DecompressesGzip, evidence);
            }
            return Ok(second.answer(length));
        }
        drop(second);
        self.profile.learn(bucket, Quirk::NoLengths, format!("{said} has no Content-Length"));
        let got = self.get_as(request, encoding).await?;
        match got.length {
            Some(length) => Ok(got.answer(length)),
            None => self.measured(request, got).await,
        }
    }

    /// The answer with the length that its body must have, by what else is known about the object.
    async fn measured(&self, request: &GetRequest, mut got: Got) -> Result<GetAnswer> {
        let GetRequest { id, version, range, .. } = request;
        let size = match got.whole {
            Some(size) => size,
            None => self.told_size(id, version.as_deref(), &got.meta.etag).await?,
        };
        (got.meta.size, got.whole) = (size, Some(size));
        // Without Content-Range the body is the whole object, whatever was requested.
        let length = match range {
            Some(range) if got.start == range.start && got.start > 0 => {
                range.len.min(size.saturating_sub(range.start))
            }
            _ => size,
        };
        Ok(got.answer(length))
    }

    /// HeadObject; if its answer gives no size, other requests determine it.
    pub(super) async fn head_sized(
        &self,
        id: &ObjectId,
        version: Option<&str>,
    ) -> Result<ObjectMeta> {
        let (meta, size) = self.head_object(id, version).await?;
        let size = match size {
            // Some proxies turn a missing length into 0; no proxy stands in front of Amazon S3.
            Some(size)
                if size > 0
                    || self.profile.is_amazon()
                    || meta.etag.same_digest(&Etag::new(EMPTY)) =>
            {
                size
            }
            _ => self.size_by_range(id, version, &meta.etag).await?,
        };
        Ok(ObjectMeta { size, ..meta })
    }

    /// The size of the object with this ETag, as HEAD, a range or the listing gives it.
    async fn told_size(&self, id: &ObjectId, version: Option<&str>, etag: &Etag) -> Result<u64> {
        match self.head_object(id, version).await? {
            (meta, Some(size)) if size > 0 && meta.etag.same_digest(etag) => Ok(size),
            (meta, Some(size)) if size > 0 => Err(self.other(id, &meta.etag)),
            _ => self.size_by_range(id, version, etag).await,
        }
    }

    async fn size_by_range(
        &self,
        id: &ObjectId,
        version: Option<&str>,
        etag: &Etag,
    ) -> Result<u64> {
        let request = GetRequest {
            id: id.clone(),
            version: version.map(str::to_owned),
            range: Some(ByteRange { start: 0, len: 1 }),
            if_match: None,
        };
        let got = match self.get_as(&request, self.encoding(&id.bucket)).await {
            Ok(got) if !got.meta.etag.same_digest(etag) => {
                return Err(self.other(id, &got.meta.etag));
            }
            Ok(got) => got.whole,
            // An empty object has no first byte; nor does a store without ranges give one.
            Err(error) if error.kind() == ErrorKind::SourceChanged => {
                let request = GetRequest { range: None, ..request };
                let got = self.get_as(&request, self.encoding(&id.bucket)).await?;
                if !got.meta.etag.same_digest(etag) {
                    return Err(self.other(id, &got.meta.etag));
                }
                got.length
            }
            Err(error) => return Err(error),
        };
        match got {
            Some(size) => Ok(size),
            None => self.listed_size_of(id, etag).await,
        }
    }

    /// The size that the listing shows.
    async fn listed_size_of(&self, id: &ObjectId, etag: &Etag) -> Result<u64> {
        let (bucket, prefix) = (id.bucket.clone(), id.key.as_str().to_owned());
        let page =
            self.list_page(&ListRequest { bucket, prefix, ..ListRequest::default() }).await?;
        let found = page.iter().find(|listed| listed.key == id.key.as_str());
        let same = |listed: &Listed<'_>| {
            listed.etag.is_none_or(|listed| Etag::new(listed).same_digest(etag))
        };
        match found {
            Some(listed) if same(&listed) => Ok(listed.size),
            Some(listed) => Err(self.other(id, &Etag::new(listed.etag.unwrap_or_default()))),
            None => {
                let said = self.said("HeadObject", id);
                Err(Error::invalid(format!(
                    "{said}: neither HEAD, GET nor the listing gives its size"
                )))
            }
        }
    }

    fn other(&self, id: &ObjectId, etag: &Etag) -> Error {
        let message = format!("{}: the object's ETag is now {etag}", self.said("GetObject", id));
        Error::new(ErrorKind::SourceChanged, message)
    }
}
