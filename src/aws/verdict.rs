//! What a service's answer means: a table, without I/O.

use crate::error::ErrorKind;

/// A kind, and what to do about it where that is more than trying again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) kind: ErrorKind,
    pub(super) advice: Option<&'static str>,
}

impl From<ErrorKind> for Verdict {
    fn from(kind: ErrorKind) -> Self {
        Self { kind, advice: None }
    }
}

impl Verdict {
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
            "the credentials could not be fetched: where this machine has no role, set \
             AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile",
        )
    }

    pub(super) fn no_region() -> Self {
        Self::with(ErrorKind::Usage, "no region is known: set AWS_REGION or the key Region")
    }
}

/// What an answer with this HTTP status and error code means. The code decides where it is known,
/// since services answer with different statuses; the status decides for the rest, among them
/// HEAD, whose answers have no body and so no code.
pub(super) fn judge(status: u16, code: &str) -> Verdict {
    // The query protocol's names of SQS errors have this in front.
    let code = code.strip_prefix("AWS.SimpleQueueService.").unwrap_or(code);
    if is_throttling(code) {
        return Verdict::from(ErrorKind::Throttled);
    }
    denial(code)
        .map(|advice| Verdict::with(ErrorKind::Denied, advice))
        .or_else(|| unfitness(code).map(|advice| Verdict::with(ErrorKind::Unfit, advice)))
        .or_else(|| by_code(code))
        .unwrap_or_else(|| by_status(status, code))
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

/// What to do where the service refuses whoever asks.
fn denial(code: &str) -> Option<&'static str> {
    Some(match code {
        "AccessDenied"
        | "AccessDeniedException"
        | "AllAccessDisabled"
        | "Forbidden"
        | "UnauthorizedOperation" => {
            "allow this call in the IAM policy of whoever asks, and in the policy of the resource"
        }
        "AccountProblem" | "OptInRequired" | "InvalidPayer" => {
            "the service refuses this account: see its billing and activation"
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
            "the KMS key cannot be used: enable it, and allow kms:Decrypt and kms:GenerateDataKey \
             in its key policy to whoever asks"
        }
        _ => return None,
    })
}

/// What to do where whoever asks is not fit to ask anything.
fn unfitness(code: &str) -> Option<&'static str> {
    Some(match code {
        "InvalidAccessKeyId"
        | "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "InvalidSecurity"
        | "AuthFailure"
        | "NotSignedUp"
        | "MissingAuthenticationToken" => {
            "the access key is not known here: check the credentials, and that they belong to this \
             partition (AWS Global and AWS China know nothing of each other) and endpoint"
        }
        "SignatureDoesNotMatch" | "InvalidSignatureException" | "IncompleteSignature" => {
            "the secret access key does not fit the access key: check the credentials"
        }
        "RequestTimeTooSkewed" | "RequestInTheFuture" | "RequestExpired" => {
            "this machine's clock differs from the service's by more than 15 minutes: set the clock"
        }
        "InvalidToken" => "the session token is not valid: fetch new temporary credentials",
        _ => return None,
    })
}

fn by_code(code: &str) -> Option<Verdict> {
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
            // 503 ServiceUnavailable is how some S3-compatible stores ask for patience; slowing
            // down is right for an outage as well.
            match code.starts_with("ServiceUnavailable") {
                true => Verdict::from(ErrorKind::Throttled),
                false => Verdict::from(ErrorKind::Unavailable),
            }
        }
        // A job must not fail for good because a token ran out between two refreshes: the next
        // try asks the credentials provider again.
        "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired" => Verdict::with(
            ErrorKind::Unavailable,
            "the session token has expired: where it does not come from a role that renews it, put \
             a new one in place",
        ),
        "NoSuchBucket" => Verdict::with(
            ErrorKind::NotFound,
            "there is no such bucket here: check its name, the region and the endpoint",
        ),
        "MethodNotAllowed" => deleted_version(),
        "NotImplemented" => not_implemented(),
        "NoSuchKey"
        | "NoSuchVersion"
        | "NotFound"
        | "QueueDoesNotExist"
        | "NonExistentQueue"
        | "ResourceNotFoundException"
        | "ParameterNotFound"
        | "ParameterVersionNotFound" => Verdict::from(ErrorKind::NotFound),
        "PreconditionFailed" => Verdict::from(ErrorKind::SourceChanged),
        // A part was sent again by another worker between the listing and the completion.
        "NoSuchUpload" | "InvalidPart" => Verdict::from(ErrorKind::UploadGone),
        // Every range lies within the object whose ETag is demanded: it has become shorter.
        "InvalidRange" => Verdict::from(ErrorKind::SourceChanged),
        "InvalidObjectState" => Verdict::with(
            ErrorKind::Archived,
            "the object is in an archive class: restore it (s3:RestoreObject), then send it again",
        ),
        "BadDigest"
        | "InvalidDigest"
        | "IncompleteBody"
        | "XAmzContentSHA256Mismatch"
        | "XAmzContentChecksumMismatch" => Verdict::from(ErrorKind::Damaged),
        "PermanentRedirect"
        | "TemporaryRedirect"
        | "AuthorizationHeaderMalformed"
        | "IllegalLocationConstraintException" => Verdict::with(
            ErrorKind::Invalid,
            "the bucket is in another region: set the key Region of this side",
        ),
        _ => return None,
    })
}

/// A version that is a delete marker has no method but DELETE
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/DeleteMarker.html>).
fn deleted_version() -> Verdict {
    Verdict::with(
        ErrorKind::NotFound,
        "this is not allowed here: a version that is a delete marker has no object; where no \
         version was asked for, check Endpoint",
    )
}

fn not_implemented() -> Verdict {
    Verdict::with(
        ErrorKind::Invalid,
        "the store does not know this call or one of its headers: leave out what it cannot do \
         (CopyTags, ACL, SSE, StorageClass, Checksum)",
    )
}

fn by_status(status: u16, code: &str) -> Verdict {
    match status {
        429 | 503 => Verdict::from(ErrorKind::Throttled),
        501 => not_implemented(),
        408 | 409 | 425 | 500.. => Verdict::from(ErrorKind::Unavailable),
        401 | 403 => Verdict::with(
            ErrorKind::Denied,
            "allow this call in the IAM policy of whoever asks, and in the policy of the resource",
        ),
        404 | 410 => Verdict::from(ErrorKind::NotFound),
        405 => deleted_version(),
        412 | 416 => Verdict::from(ErrorKind::SourceChanged),
        // A success that could not be read was cut short on its way.
        200..=299 => Verdict::from(ErrorKind::Unavailable),
        // The answer to a HEAD has no body and so no code; the usual reason is an expired token,
        // which passes.
        400 if code.is_empty() => Verdict::from(ErrorKind::Unavailable),
        _ => Verdict::from(ErrorKind::Invalid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ErrorKind::{
        Archived, Damaged, Denied, Invalid, NotFound, SourceChanged, Throttled, Unavailable, Unfit,
        UploadGone,
    };

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
            (403, "AccessDenied", Denied),
            (400, "AccessDeniedException", Denied),
            (403, "InvalidAccessKeyId", Unfit),
            (400, "UnrecognizedClientException", Unfit),
            (403, "SignatureDoesNotMatch", Unfit),
            (403, "RequestTimeTooSkewed", Unfit),
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
            (400, "", Unavailable),
            (400, "InvalidPart", UploadGone),
            (301, "PermanentRedirect", Invalid),
            (416, "InvalidRange", SourceChanged),
            (200, "", Unavailable),
            (200, "InternalError", Unavailable),
        ] {
            assert_eq!(judge(status, code).kind, expected, "{status} {code}");
        }
    }

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
            let advice = judge(403, code).advice.unwrap_or_default();
            assert!(advice.contains(word), "{code}: {advice}");
        }
    }
}
