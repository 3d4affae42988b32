//! What a service's answer means, by status and code.
//!
//! Pure: a table.

use crate::error::ErrorKind;

/// An error kind, and what to do about it if retrying is not enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CodeMeaning {
    pub(super) kind: ErrorKind,
    pub(super) advice: Option<&'static str>,
}

impl From<ErrorKind> for CodeMeaning {
    fn from(kind: ErrorKind) -> Self {
        Self { kind, advice: None }
    }
}

impl CodeMeaning {
    fn with(kind: ErrorKind, advice: &'static str) -> Self {
        Self { kind, advice: Some(advice) }
    }

    pub(super) fn no_credentials() -> Self {
        Self::with(
            ErrorKind::Unfit,
            "no AWS credentials were found: give the machine a role, set AWS_ACCESS_KEY_ID and \
             AWS_SECRET_ACCESS_KEY, or name a profile",
        )
    }

    pub(super) fn unfetched_credentials() -> Self {
        Self::with(
            ErrorKind::Unavailable,
            "the credentials could not be fetched: if this machine has no role, set \
             AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile",
        )
    }

    /// Whether the request was not sent because there was nothing to sign it with.
    pub(super) fn lacks_credentials(&self) -> bool {
        let of = [Self::no_credentials(), Self::unfetched_credentials()];
        self.advice.is_some() && of.iter().any(|lack| lack.advice == self.advice)
    }

    /// The other side's identity is not trusted.
    pub(super) fn untrusted(advice: &'static str) -> Self {
        Self::with(ErrorKind::Unfit, advice)
    }

    /// The TLS handshake was broken off.
    pub(super) fn broken_off(advice: &'static str) -> Self {
        Self::with(ErrorKind::Unavailable, advice)
    }

    pub(super) fn no_region() -> Self {
        Self::with(ErrorKind::Usage, "no region is known: set AWS_REGION or the key Region")
    }
}

/// The kind of request, as far as the meaning of an answer depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// Its answers have no body, and therefore no error code.
    Head,
    /// It stores something.
    Write,
    Other,
}

impl Request {
    /// From the operation's name, with which a call's description begins.
    pub(super) fn of(call: &str) -> Self {
        let name = call.split(' ').next().unwrap_or_default();
        match name {
            "HeadObject" | "HeadBucket" => Self::Head,
            "PutObject" | "UploadPart" | "CreateMultipartUpload" | "CompleteMultipartUpload" => {
                Self::Write
            }
            _ => Self::Other,
        }
    }
}

/// What an answer with this HTTP status, error code and text means. A known code decides, since
/// services send it with different statuses. The text decides for stores that use a code which
/// means something else. The status decides for the rest, including HEAD, whose answers have no
/// body and therefore no code.
pub(super) fn judge(request: Request, status: u16, code: &str, text: &str) -> CodeMeaning {
    // SQS error codes of the query protocol have this prefix.
    let code = code.strip_prefix("AWS.SimpleQueueService.").unwrap_or(code);
    if is_throttling(code) {
        return CodeMeaning::from(ErrorKind::Throttled);
    }
    if is_full(status, code, text) {
        return full();
    }
    if let Some(verdict) = misaddressed(code, text) {
        return verdict;
    }
    denial(code)
        .map(|advice| CodeMeaning::with(ErrorKind::Denied, advice))
        .or_else(|| unfitness(code).map(|advice| CodeMeaning::with(ErrorKind::Unfit, advice)))
        .or_else(|| by_code(request, code))
        .unwrap_or_else(|| by_status(request, status))
}

fn is_throttling(code: &str) -> bool {
    code.starts_with("SlowDown")
        || code.starts_with("Throttl")
        || code.starts_with("RequestThrottled")
        || code.starts_with("KMS.Throttling")
        || matches!(
            code,
            "KmsThrottled"
                | "ProvisionedThroughputExceededException"
                | "RequestLimitExceeded"
                | "TooManyRequests"
                | "TooManyRequestsException"
                | "BandwidthLimitExceeded"
                | "LimitExceededException"
                | "PriorRequestNotComplete"
                // SQS: about 120,000 messages of the queue are in flight; some will be deleted.
                | "OverLimit"
        )
}

/// Ceph says QuotaExceeded, MinIO XMinioStorageFull and XMinioAdminBucketQuotaExceeded, others 507
/// (RFC 4918). Backblaze B2 says AccessDenied and mentions its caps only in the text.
fn is_full(status: u16, code: &str, text: &str) -> bool {
    let named = ["Quota", "StorageFull", "InsufficientStorage", "CapExceeded", "DiskFull"];
    let text = text.to_ascii_lowercase();
    let told =
        ["cap exceeded", "quota exceeded", "exceeded quota", "no space left", "disk is full"];
    status == 507
        || named.iter().any(|name| code.contains(name))
        || (matches!(status, 400..) && told.iter().any(|words| text.contains(words)))
}

fn full() -> CodeMeaning {
    CodeMeaning::with(
        ErrorKind::Full,
        "this store is full, or a quota is used up: make room or raise the quota",
    )
}

/// A bucket addressed in a way that the store does not support: in the path although it must be in
/// the host name (Alibaba's OSS, Tencent's COS), or at an address that is not its own.
fn misaddressed(code: &str, text: &str) -> Option<CodeMeaning> {
    let text = text.to_ascii_lowercase();
    if text.contains("must be addressed using the specified endpoint") {
        return Some(another_region());
    }
    let told = ["third level domain", "virtual host", "virtual-host", "path style", "path-style"];
    let named = code == "SecondLevelDomainForbidden" || code.contains("PathStyle");
    (named || told.iter().any(|words| text.contains(words))).then(|| {
        CodeMeaning::with(
            ErrorKind::Invalid,
            "this store does not accept the bucket's name in that place: set ForcePathStyle of \
             this side (False puts it into the host name, True into the path)",
        )
    })
}

fn another_region() -> CodeMeaning {
    CodeMeaning::with(
        ErrorKind::Invalid,
        "the bucket is in another region or at another endpoint: set Region and Endpoint of this \
         side",
    )
}

/// What to do if the service denies the caller access.
fn denial(code: &str) -> Option<&'static str> {
    Some(match code {
        "AccessDenied"
        | "AccessDeniedException"
        | "AllAccessDisabled"
        | "Forbidden"
        | "UnauthorizedOperation" => {
            "allow this call in the caller's IAM policy, and in the resource's policy"
        }
        "AccountProblem" | "OptInRequired" | "InvalidPayer" => {
            "the service refuses this account: check its billing and activation"
        }
        "KMS.DisabledException"
        | "KMS.InvalidStateException"
        | "KMS.NotFoundException"
        | "KMS.AccessDeniedException"
        | "KmsAccessDenied"
        | "KmsDisabled"
        | "KmsInvalidState"
        | "KmsNotFound"
        | "KmsOptInRequired"
        | "KmsInvalidKeyUsage"
        | "InvalidKeyId" => {
            "the KMS key cannot be used: enable it, and allow the caller kms:Decrypt and \
             kms:GenerateDataKey in its key policy"
        }
        _ => return None,
    })
}

/// What to do if the caller's credentials or account cannot be used at all.
fn unfitness(code: &str) -> Option<&'static str> {
    Some(match code {
        "InvalidAccessKeyId"
        | "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "InvalidSecurity"
        | "AuthFailure"
        | "NotSignedUp"
        | "MissingAuthenticationToken" => {
            "the access key is not known here: check the credentials, and that they belong to \
             this endpoint and partition (AWS Global and AWS China share no keys)"
        }
        "SignatureDoesNotMatch" | "InvalidSignatureException" | "IncompleteSignature" => {
            "the secret access key does not match the access key: check the credentials"
        }
        _ if is_skewed(code) => {
            "this machine's clock differs from the service's by more than 15 minutes: set the clock"
        }
        _ => return None,
    })
}

/// The service does not accept the request's time.
pub(super) fn is_skewed(code: &str) -> bool {
    matches!(code, "RequestTimeTooSkewed" | "RequestInTheFuture" | "RequestExpired")
}

/// Some stores report an expired session with the code for an unknown token.
pub(super) fn is_expired(code: &str) -> bool {
    matches!(
        code,
        "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired" | "InvalidToken"
    )
}

fn by_code(request: Request, code: &str) -> Option<CodeMeaning> {
    Some(match code {
        "RequestTimeout"
        | "RequestTimeoutException"
        | "InternalError"
        | "InternalFailure"
        | "InternalServerError"
        | "InternalServiceError"
        | "ServiceUnavailable"
        | "ServiceUnavailableException"
        | "ServerException"
        | "TransactionInProgressException"
        | "OperationAborted"
        | "ConditionalRequestConflict"
        | "ConnectionReset" => {
            // Some S3-compatible stores throttle with 503 ServiceUnavailable; slowing down is right
            // for an outage as well.
            match code.starts_with("ServiceUnavailable") {
                true => CodeMeaning::from(ErrorKind::Throttled),
                false => CodeMeaning::from(ErrorKind::Unavailable),
            }
        }
        // A job must not fail permanently because a token expired between two refreshes: the next
        // try asks the credentials provider again.
        _ if is_expired(code) => CodeMeaning::with(
            ErrorKind::Unavailable,
            "the session token has expired or is not valid: if it does not come from a role that \
             renews it, supply a new one",
        ),
        "NoSuchBucket" => CodeMeaning::with(
            ErrorKind::NotFound,
            "the bucket does not exist here: check its name, the region and the endpoint",
        ),
        "MethodNotAllowed" => not_allowed(request),
        "InvalidTag" | "InvalidTagError" => CodeMeaning::with(
            ErrorKind::Invalid,
            "the destination does not accept these tags: CopyTags = False leaves them out",
        ),
        "InvalidStorageClass" => CodeMeaning::with(
            ErrorKind::Invalid,
            "the destination does not support this storage class: set StorageClass = STANDARD, or \
             a class that it supports",
        ),
        "NotImplemented" => not_implemented(),
        "NoSuchKey"
        | "NoSuchVersion"
        | "NotFound"
        | "QueueDoesNotExist"
        | "NonExistentQueue"
        | "ResourceNotFoundException"
        | "ParameterNotFound"
        | "ParameterVersionNotFound" => CodeMeaning::from(ErrorKind::NotFound),
        "PreconditionFailed" => CodeMeaning::from(ErrorKind::SourceChanged),
        // Another worker sent a part again between the listing and the completion.
        "NoSuchUpload" | "InvalidPart" => CodeMeaning::from(ErrorKind::UploadGone),
        // Every range lies within the object with the required ETag, so the object has become
        // shorter.
        "InvalidRange" => CodeMeaning::from(ErrorKind::SourceChanged),
        "InvalidObjectState" => CodeMeaning::with(
            ErrorKind::Archived,
            "the object is in an archive class: restore it (s3:RestoreObject), then send it again",
        ),
        "BadDigest"
        | "InvalidDigest"
        | "IncompleteBody"
        | "XAmzContentSHA256Mismatch"
        | "XAmzContentChecksumMismatch" => CodeMeaning::from(ErrorKind::Damaged),
        "TemporaryRedirect" => CodeMeaning::from(ErrorKind::Unavailable),
        "PermanentRedirect"
        | "AuthorizationHeaderMalformed"
        | "IllegalLocationConstraintException" => another_region(),
        _ => return None,
    })
}

/// A version that is a delete marker supports only DELETE
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/DeleteMarker.html>).
fn not_allowed(request: Request) -> CodeMeaning {
    if request == Request::Write {
        return CodeMeaning::with(
            ErrorKind::Invalid,
            "a proxy or web server does not allow this write: check Endpoint and any proxy in \
             front of the store",
        );
    }
    CodeMeaning::with(
        ErrorKind::NotFound,
        "this is not allowed here: a version that is a delete marker has no object; if no version \
         was requested, check Endpoint",
    )
}

fn not_implemented() -> CodeMeaning {
    CodeMeaning::with(
        ErrorKind::Invalid,
        "the store does not support this call or one of its headers: switch off what it cannot do \
         (CopyTags, ACL, SSE, StorageClass, Checksum)",
    )
}

/// Statuses of a proxy or web server that rejects the request itself.
fn by_status(request: Request, status: u16) -> CodeMeaning {
    match status {
        429 | 503 => CodeMeaning::from(ErrorKind::Throttled),
        501 => not_implemented(),
        // 499: a proxy believes that its client has gone.
        // 307: a temporary redirect; the lean HTTP path follows it itself.
        307 | 408 | 409 | 425 | 499 | 500.. => CodeMeaning::from(ErrorKind::Unavailable),
        401 | 403 => CodeMeaning::with(
            ErrorKind::Denied,
            "allow this call in the caller's IAM policy, and in the resource's policy",
        ),
        404 | 410 => CodeMeaning::from(ErrorKind::NotFound),
        405 => not_allowed(request),
        412 | 416 => CodeMeaning::from(ErrorKind::SourceChanged),
        411 => CodeMeaning::with(
            ErrorKind::Invalid,
            "a proxy or web server demands the body's length in another form: check Endpoint and \
             any proxy in front of the store",
        ),
        413 => CodeMeaning::with(
            ErrorKind::Invalid,
            "the body is larger than a proxy or web server allows: lower ChunkSize and \
             ResumableThreshold, or allow larger bodies there",
        ),
        414 => CodeMeaning::with(
            ErrorKind::Invalid,
            "the key makes the URL longer than a proxy or web server allows",
        ),
        431 => CodeMeaning::with(
            ErrorKind::Invalid,
            "the metadata makes the headers larger than a proxy or web server allows: \
             CopyMetadata = False leaves it out",
        ),
        // A success that could not be read was cut short in transit.
        200..=299 => CodeMeaning::from(ErrorKind::Unavailable),
        _ => CodeMeaning::from(ErrorKind::Invalid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ErrorKind::{
        Archived, Damaged, Denied, Full, Invalid, NotFound, SourceChanged, Throttled, Unavailable,
        Unfit, UploadGone,
    };

    /// Promise 9.
    #[test]
    fn every_answer_has_one_meaning() {
        for (status, code, expected) in [
            (503, "SlowDown", Throttled),
            (503, "SlowDownWrite", Throttled),
            (503, "ServiceUnavailable", Throttled),
            (503, "", Throttled),
            (429, "", Throttled),
            (400, "ThrottlingException", Throttled),
            (400, "ProvisionedThroughputExceededException", Throttled),
            (400, "RequestLimitExceeded", Throttled),
            (403, "AWS.SimpleQueueService.OverLimit", Throttled),
            (500, "InternalError", Unavailable),
            (502, "", Unavailable),
            (400, "RequestTimeout", Unavailable),
            (408, "", Unavailable),
            (409, "OperationAborted", Unavailable),
            (400, "ExpiredToken", Unavailable),
            (400, "ExpiredTokenException", Unavailable),
            (403, "InvalidToken", Unavailable),
            (403, "AccessDenied", Denied),
            (400, "AccessDeniedException", Denied),
            (403, "InvalidAccessKeyId", Unfit),
            (400, "UnrecognizedClientException", Unfit),
            (403, "SignatureDoesNotMatch", Unfit),
            (403, "RequestTimeTooSkewed", Unfit),
            (400, "InvalidToken", Unavailable),
            (403, "QuotaExceeded", Full),
            (507, "", Full),
            (507, "XMinioStorageFull", Full),
            (400, "XMinioAdminBucketQuotaExceeded", Full),
            (499, "", Unavailable),
            (520, "", Unavailable),
            (400, "", Invalid),
            (413, "", Invalid),
            (400, "InvalidTag", Invalid),
            (400, "InvalidStorageClass", Invalid),
            (403, "SecondLevelDomainForbidden", Invalid),
            (400, "KMS.DisabledException", Denied),
            (401, "", Denied),
            (403, "", Denied),
            (404, "NoSuchKey", NotFound),
            (404, "NoSuchBucket", NotFound),
            (404, "", NotFound),
            (405, "MethodNotAllowed", NotFound),
            (405, "", NotFound),
            (501, "NotImplemented", Invalid),
            (501, "", Invalid),
            (400, "AWS.SimpleQueueService.NonExistentQueue", NotFound),
            (400, "QueueDoesNotExist", NotFound),
            (400, "ResourceNotFoundException", NotFound),
            (400, "ParameterNotFound", NotFound),
            (412, "PreconditionFailed", SourceChanged),
            (412, "", SourceChanged),
            (404, "NoSuchUpload", UploadGone),
            (403, "InvalidObjectState", Archived),
            (400, "BadDigest", Damaged),
            (400, "InvalidDigest", Damaged),
            (400, "IncompleteBody", Damaged),
            (400, "InvalidArgument", Invalid),
            (400, "EntityTooSmall", Invalid),
            (400, "InvalidPart", UploadGone),
            (301, "PermanentRedirect", Invalid),
            (416, "InvalidRange", SourceChanged),
            (200, "", Unavailable),
            (200, "InternalError", Unavailable),
        ] {
            let verdict = judge(Request::Other, status, code, "");
            assert_eq!(verdict.kind, expected, "{status} {code}");
        }
    }

    /// Promise 10.
    #[test]
    fn what_was_asked_and_what_is_told_decide_where_the_code_does_not() {
        for (request, status, code, text, kind, word) in [
            (Request::Write, 405, "", "", Invalid, "Endpoint"),
            (Request::Head, 405, "", "", NotFound, "delete marker"),
            (Request::Write, 413, "", "", Invalid, "ChunkSize"),
            (Request::Write, 414, "", "", Invalid, "key"),
            (Request::Write, 431, "", "", Invalid, "CopyMetadata"),
            (
                Request::Write,
                403,
                "AccessDenied",
                "Cannot upload files, storage cap exceeded.",
                Full,
                "quota",
            ),
            (
                Request::Other,
                403,
                "AccessDenied",
                "The bucket you are attempting to access must be addressed using the specified endpoint.",
                Invalid,
                "Endpoint",
            ),
            (Request::Other, 403, "PathStyleDomainForbidden", "", Invalid, "ForcePathStyle"),
            (
                Request::Other,
                400,
                "InvalidRequest",
                "Please use virtual hosted style",
                Invalid,
                "ForcePathStyle",
            ),
            (Request::Other, 400, "InvalidStorageClass", "", Invalid, "StorageClass = "),
            (Request::Other, 400, "InvalidTag", "", Invalid, "CopyTags"),
        ] {
            let verdict = judge(request, status, code, text);
            let advice = verdict.advice.unwrap_or_default();
            assert!(verdict.kind == kind && advice.contains(word), "{status} {code}: {verdict:?}");
        }
    }

    /// Promise 10.
    #[test]
    fn a_refusal_says_what_to_do() {
        for (code, word) in [
            ("AccessDenied", "IAM policy"),
            ("RequestTimeTooSkewed", "clock"),
            ("SignatureDoesNotMatch", "secret access key"),
            ("InvalidAccessKeyId", "partition"),
            ("InvalidObjectState", "restore"),
            ("KMS.DisabledException", "kms:Decrypt"),
            ("ExpiredToken", "expired"),
        ] {
            let advice = judge(Request::Other, 403, code, "").advice.unwrap_or_default();
            assert!(advice.contains(word), "{code}: {advice}");
        }
    }
}
