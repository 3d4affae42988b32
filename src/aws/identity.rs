//! Who asks: what AWS STS calls whoever signs a request.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_credential_types::Credentials as Keys;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_sts::Client;

use super::clock::Clock;
use crate::aws;
use crate::error::{Error, Result};
use crate::params::StoredCredentials;

/// An answer must begin within this.
const READ_TIMEOUT: Duration = Duration::from_secs(15);
/// The region of whoever names none, as for S3.
const FALLBACK_REGION: &str = "us-east-1";

/// Whose requests.
#[derive(Clone, Copy, Debug)]
pub enum Who<'a> {
    /// What the SDK finds in the ordinary places.
    Chain,
    /// A profile's.
    Profile(&'a str),
    /// A stored key's.
    Stored(&'a StoredCredentials),
}

/// Who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The account's 12 digits.
    pub account: String,
    /// The ARN of the user, or of the role's session.
    pub arn: String,
}

impl Caller {
    /// The partition that the account is in.
    pub fn partition(&self) -> &str {
        self.arn.split(':').nth(1).unwrap_or_default()
    }
}

/// The clients' configuration of `who`; `region` in front of the region that is found.
async fn sdk_config(who: Who<'_>, region: Option<&str>) -> SdkConfig {
    match who {
        Who::Chain => aws::load_sdk_config(None, region).await,
        Who::Profile(name) => aws::load_sdk_config(Some(name), region).await,
        Who::Stored(stored) => {
            let region = region.or(stored.region.as_deref()).unwrap_or(FALLBACK_REGION);
            let sdk = aws::load_sdk_config(None, Some(region)).await;
            let (key, secret) = (&stored.access_key_id, &stored.secret_access_key);
            let keys = Keys::new(key, secret, stored.session_token.clone(), None, "parameter");
            let provider = SharedCredentialsProvider::new(keys);
            sdk.into_builder().credentials_provider(provider).build()
        }
    }
}

/// GetCallerIdentity, which needs no permission
/// (<https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html>). Not tried again
/// here. `clock` sees the answer.
pub async fn caller(who: Who<'_>, region: Option<&str>, clock: &Clock) -> Result<Caller> {
    let sdk = sdk_config(who, region).await;
    let builder = aws_sdk_sts::config::Builder::from(&sdk)
        .retry_config(RetryConfig::disabled())
        .timeout_config(aws::timeouts(Some(READ_TIMEOUT)))
        .interceptor(clock.clone());
    let asked = Client::from_conf(builder.build()).get_caller_identity().send().await;
    let answer = asked.map_err(|e| aws::error("GetCallerIdentity", &e))?;
    match (answer.account, answer.arn) {
        (Some(account), Some(arn)) => Ok(Caller { account, arn }),
        _ => Err(Error::invalid("GetCallerIdentity: an answer without account and ARN")),
    }
}

/// The region that the ordinary places give to this machine's own calls.
pub async fn region() -> Option<String> {
    let sdk = aws::load_sdk_config(None, None).await;
    sdk.region().map(|region| region.as_ref().to_owned())
}

/// Whether an S3 endpoint belongs to somebody whom STS knows: to AWS, or to a server whose STS the
/// ordinary variables name.
pub fn has_sts(endpoint: Option<&str>) -> bool {
    let names = ["AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL"];
    let named = names.iter().any(|name| std::env::var_os(name).is_some_and(|url| !url.is_empty()));
    named || endpoint.is_none_or(|url| url.contains(".amazonaws.com"))
}
