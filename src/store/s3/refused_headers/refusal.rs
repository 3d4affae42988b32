//! What a refusal says about a request's headers.
//!
//! Pure: an error goes in.

use crate::error::{Error, ErrorKind};
use crate::quirk::Quirk;

/// A refusal: the status, the code, and the full text.
pub(super) struct HeaderRefusal {
    pub status: u16,
    pub code: String,
    /// In lower case.
    pub said: String,
}

impl HeaderRefusal {
    pub fn of(error: &Error) -> Option<Self> {
        let evidence = error.evidence().filter(|evidence| evidence.status != 0)?;
        let said = format!("{}: {}", evidence.code, evidence.text).to_ascii_lowercase();
        Some(Self { status: evidence.status, code: evidence.code.clone(), said })
    }
}

/// Whether the refusal may be about a header rather than about the object.
pub(super) fn is_about_a_header(refused: &HeaderRefusal) -> bool {
    refused.status == 501
        || matches!(
            refused.code.as_str(),
            "NotImplemented"
                | "InvalidArgument"
                | "InvalidRequest"
                | "InvalidStorageClass"
                | "InvalidTag"
                | "AccessControlListNotSupported"
                | "UnsupportedArgument"
                | "UnexpectedContent"
                | "NotSupported"
                | "XNotImplemented"
        )
}

/// Whether the refusal does not say which header it means.
pub(super) fn is_mute(refused: &HeaderRefusal) -> bool {
    names(refused).is_none() && !is_its_own(refused)
}

/// The header that the refusal names.
pub(super) fn names(refused: &HeaderRefusal) -> Option<Quirk> {
    let any = |words: &[&str]| words.iter().any(|word| refused.said.contains(word));
    if any(&["tagging", "x-amz-tag", "invalidtag"]) {
        Some(Quirk::NoTags)
    } else if any(&["storageclass", "storage class", "storage-class"]) {
        Some(Quirk::NoStorageClass)
    } else if any(&["x-amz-acl", "accesscontrollist", "canned acl", "acls ", " acl "]) {
        Some(Quirk::NoAcl)
    } else if any(&["website-redirect", "redirect-location"]) {
        Some(Quirk::NoWebsiteRedirect)
    } else if any(&["metadata", "x-amz-meta", "ascii", "utf-8"]) {
        Some(Quirk::EncodedMetadata)
    } else if refuses_md5(&refused.said) {
        Some(Quirk::NoContentMd5)
    } else {
        None
    }
}

/// Whether a refusal may be about metadata that is not ASCII: many stores and proxies sign
/// different bytes of it than they receive, or say only that the request is bad.
pub(super) fn may_be_about_metadata(error: &Error) -> bool {
    let Some(refused) = HeaderRefusal::of(error) else { return false };
    match refused.status {
        403 => refused.code == "SignatureDoesNotMatch",
        400 => is_about_a_header(&refused) || matches!(refused.code.as_str(), "" | "BadRequest"),
        status => status == 501,
    }
}

/// Whether a refusal, in lower case, says that Content-MD5 is unknown; not that it is wrong or
/// missing.
fn refuses_md5(said: &str) -> bool {
    let unknown = ["implemented", "support", "not allowed", "unknown", "unexpected"];
    said.contains("content-md5") && unknown.iter().any(|word| said.contains(word))
}

/// Whether a part was refused for its Content-MD5.
pub(in crate::store::s3) fn is_about_md5(error: &Error) -> bool {
    HeaderRefusal::of(error).is_some_and(|refused| {
        is_about_a_header(&refused) && names(&refused) == Some(Quirk::NoContentMd5)
    })
}

/// Whether the refusal is about this object's value, or about something missing.
pub(super) fn is_its_own(refused: &HeaderRefusal) -> bool {
    let is_tag = refused.code == "InvalidTag" && !refused.said.contains("support");
    is_tag || refused.said.contains("required")
}

/// Whether a refusal may be about a header of the request.
pub(in crate::store::s3) fn may_be(error: &Error) -> bool {
    error.kind() == ErrorKind::Invalid
        && HeaderRefusal::of(error).is_some_and(|refused| is_about_a_header(&refused))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Evidence;

    fn refused(status: u16, code: &str, text: &str) -> HeaderRefusal {
        let said = format!("{code}: {text}").to_ascii_lowercase();
        HeaderRefusal { status, code: code.to_owned(), said }
    }

    #[test]
    fn the_header_is_known_by_its_name() {
        for (code, text, expected) in [
            ("NotImplemented", "Header x-amz-tagging not implemented", Some(Quirk::NoTags)),
            ("InvalidStorageClass", "bad", Some(Quirk::NoStorageClass)),
            ("AccessControlListNotSupported", "", Some(Quirk::NoAcl)),
            ("NotImplemented", "x-amz-website-redirect-location", Some(Quirk::NoWebsiteRedirect)),
            ("NotImplemented", "Content-MD5 is not supported", Some(Quirk::NoContentMd5)),
            ("InvalidArgument", "Metadata must be US-ASCII", Some(Quirk::EncodedMetadata)),
            ("InvalidRequest", "Content-MD5 OR x-amz-checksum- HTTP header is required", None),
            ("NotImplemented", "A header you provided is not implemented", None),
        ] {
            assert_eq!(names(&refused(501, code, text)), expected, "{code} {text}");
        }
    }

    #[test]
    fn neither_the_key_nor_our_own_advice_is_what_the_store_has_said() {
        let message = "PutObject s3://b/x-amz-tagging (destination): NotImplemented: A header you \
                       provided (status 501, request 1); switch off what it cannot do (CopyTags, \
                       ACL, SSE, StorageClass, Checksum)";
        let evidence = Evidence {
            status: 501,
            code: "NotImplemented".to_owned(),
            text: "A header you provided".to_owned(),
            ..Evidence::default()
        };
        let refused = HeaderRefusal::of(&Error::invalid(message).with_evidence(evidence)).unwrap();
        assert_eq!(refused.said, "notimplemented: a header you provided");
        assert_eq!(names(&refused), None);
    }

    #[test]
    fn only_a_refusal_of_a_header_is_worth_another_try() {
        for (status, code, expected) in [
            (501, "", true),
            (400, "InvalidArgument", true),
            (400, "InvalidStorageClass", true),
            (400, "", false),
            (403, "AccessDenied", false),
            (400, "BadDigest", false),
            (503, "SlowDown", false),
        ] {
            assert_eq!(is_about_a_header(&refused(status, code, "")), expected, "{status} {code}");
        }
    }
}
