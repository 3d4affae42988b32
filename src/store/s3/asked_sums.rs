//! Asks for the checksums that a store keeps: this costs no request of its own, but a header that
//! some stores may refuse.

use std::sync::atomic::Ordering;

use aws_smithy_runtime_api::client::orchestrator::HttpRequest;

use super::*;
use crate::quirk::Quirk;

/// Whether a read asks for the checksum of its object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SumAsking {
    Asked,
    Not,
}

impl SumAsking {
    /// The header that asks.
    pub(super) const HEADER: &'static str = "x-amz-checksum-mode";

    pub(super) fn value(self) -> Option<&'static str> {
        (self == Self::Asked).then_some("ENABLED")
    }

    /// Adds the header to one of the SDK's requests. The SDK's own setter would make it compare
    /// bodies by itself and report damage at the source as a cut connection.
    pub(super) fn put_on(self, http: &mut HttpRequest) {
        if let Some(value) = self.value() {
            http.headers_mut().insert(Self::HEADER, value);
        }
    }
}

impl S3Store {
    /// Reads, and asks for a checksum if one is `wanted`. If the bucket refuses that, this read and
    /// all later ones go without it.
    pub(super) async fn with_checksum<T, F>(
        &self,
        bucket: &str,
        wanted: bool,
        read: impl Fn(SumAsking) -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        if !wanted || !self.checksums || self.profile.has(bucket, Quirk::NoChecksums) {
            return read(SumAsking::Not).await;
        }
        let refusal = match read(SumAsking::Asked).await {
            Err(error) if !self.told_sums.load(Ordering::Relaxed) && may_refuse(&error) => error,
            answer => {
                self.told_sums.fetch_or(answer.is_ok(), Ordering::Relaxed);
                return answer;
            }
        };
        let Ok(answer) = read(SumAsking::Not).await else { return Err(refusal) };
        self.profile.learn(bucket, Quirk::NoChecksums, refusal);
        Ok(answer)
    }
}

/// Whether a refusal may be about the request for a checksum.
fn may_refuse(error: &Error) -> bool {
    let Some(evidence) = error.evidence() else { return false };
    let said = evidence.text.to_ascii_lowercase();
    match evidence.status {
        400 => evidence.is_bare() || refused_headers::may_be(error) || said.contains("checksum"),
        status => status == 501,
    }
}
