//! What a new object gets in addition to its bytes: as the SDK takes it, and as headers.

use std::borrow::Cow;

use super::convert::tagging;
use super::refused_headers::Given;
use super::*;

/// Sets `Expires` as the original text: the SDK's own setter takes only well-formed dates, S3 takes
/// any.
macro_rules! with_expires {
    ($request:expr, $new:expr) => {{
        let expires = $new.headers.expires.clone();
        $request.customize().mutate_request(move |http| {
            if let Some(expires) = &expires {
                http.headers_mut().insert("expires", expires.clone());
            }
        })
    }};
}

/// The headers, class, tags and encryption that PutObject and CreateMultipartUpload share.
macro_rules! with_new_object {
    ($request:expr, $store:expr, $given:expr) => {{
        let (new, writing) = (&$given.new, &$store.writing);
        let headers = &new.headers;
        $request
            .set_content_type(headers.content_type.clone())
            .set_content_encoding(headers.content_encoding.clone())
            .set_content_language(headers.content_language.clone())
            .set_content_disposition(headers.content_disposition.clone())
            .set_cache_control(headers.cache_control.clone())
            .set_website_redirect_location(headers.website_redirect.clone())
            .set_metadata(Some(headers.user.clone().into_iter().collect()))
            .set_storage_class(new.storage_class.as_deref().map(Into::into))
            .set_tagging($crate::store::s3::convert::tagging(&new.tags))
            .set_acl($store.canned_acl().filter(|_| $given.acl))
            .set_server_side_encryption(writing.sse.clone())
            .set_ssekms_key_id(writing.kms_key.clone())
    }};
}

pub(super) use {with_expires, with_new_object};

/// Headers of a request: names and values. Most names are constants.
pub(super) type HeaderList = Vec<(Cow<'static, str>, String)>;

impl S3Store {
    /// The headers of a PutObject, as the SDK sends them.
    pub(super) fn new_object_headers(&self, given: &Given) -> HeaderList {
        let (Given { new, acl, .. }, writing) = (given, &self.writing);
        let headers = &new.headers;
        // The SDK sends this type if none is given.
        let content_type = headers.content_type.as_deref().unwrap_or("application/octet-stream");
        let tags = tagging(&new.tags);
        let sse = writing.sse.as_ref().map(ServerSideEncryption::as_str);
        let named = [
            ("content-type", Some(content_type)),
            ("content-encoding", headers.content_encoding.as_deref()),
            ("content-language", headers.content_language.as_deref()),
            ("content-disposition", headers.content_disposition.as_deref()),
            ("cache-control", headers.cache_control.as_deref()),
            ("expires", headers.expires.as_deref()),
            ("x-amz-website-redirect-location", headers.website_redirect.as_deref()),
            ("x-amz-storage-class", new.storage_class.as_deref()),
            ("x-amz-tagging", tags.as_deref()),
            ("x-amz-acl", writing.acl.as_deref().filter(|_| *acl)),
            ("x-amz-server-side-encryption", sse),
            ("x-amz-server-side-encryption-aws-kms-key-id", writing.kms_key.as_deref()),
        ];
        let named = named.into_iter().filter_map(|(name, value)| Some((name.into(), value?)));
        let user = headers.user.iter();
        let user = user.map(|(name, value)| (format!("x-amz-meta-{name}").into(), value.as_str()));
        named.chain(user).map(|(name, value)| (name, value.to_owned())).collect()
    }
}
