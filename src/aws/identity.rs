//! The caller's identity: what AWS STS says about the signer of a request.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_credential_types::Credentials as Keys;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sdk_sts::Client;

use super::FALLBACK_REGION;
use super::clock::Clock;
use super::profiles::AwsProfile;
use super::role::{Role, RoleProvider};
use super::signer::{self, CredentialOrigin, ShownCredentials};
use super::stored_credentials::StoredCredentials;
use crate::aws;
use crate::aws::partition::is_aws_host;
use crate::error::{Error, Result};

/// An answer must begin within this.
pub(super) const READ_TIMEOUT: Duration = Duration::from_secs(15);

/// Whose credentials sign the requests.
#[derive(Clone, Copy, Debug)]
pub enum Who<'a> {
    /// Those that the SDK finds in its usual places.
    Chain,
    /// A profile's.
    Profile(&'a str),
    /// A stored key's.
    Stored(&'a StoredCredentials),
}

/// An identity.
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

/// The client configuration for `who`; `region` takes precedence over the region that is found.
async fn sdk_config(who: Who<'_>, region: Option<&str>) -> Result<SdkConfig> {
    let setup = aws::Setup { region, ..aws::Setup::default() };
    Ok(match who {
        Who::Chain => aws::load(setup).await?.sdk,
        Who::Profile(name) => {
            let profile = AwsProfile::named(name).await?;
            aws::load(aws::Setup { profile: Some(&profile), ..setup }).await?.sdk
        }
        Who::Stored(stored) => {
            let region = region.or(stored.region.as_deref()).unwrap_or(FALLBACK_REGION);
            let setup = aws::Setup { region: Some(region), skips_lookup: true, ..setup };
            let (key, secret) = (&stored.access_key_id, &stored.secret_access_key);
            let keys = Keys::new(key, secret, stored.session_token.clone(), None, "parameter");
            let provider = SharedCredentialsProvider::new(keys);
            aws::load(setup).await?.sdk.into_builder().credentials_provider(provider).build()
        }
    })
}

/// Describes the signer from what the credentials themselves say. `parameter`: the parameter that
/// holds stored ones.
pub async fn signer(who: Who<'_>, region: Option<&str>, parameter: &str) -> Option<String> {
    let origin = match who {
        Who::Chain => CredentialOrigin::Chain(super::profiles::ordinary()),
        Who::Profile(name) => CredentialOrigin::Profile(name.to_owned()),
        Who::Stored(_) => CredentialOrigin::Parameter(parameter.to_owned()),
    };
    let provider = sdk_config(who, region).await.ok()?.credentials_provider()?;
    let keys = provider.provide_credentials().await.ok()?;
    Some(signer::words(&origin, Some(&ShownCredentials::of(&keys)), None))
}

/// Who the caller is once it has assumed `role`: AssumeRole, and GetCallerIdentity by its session.
pub async fn caller_in_role(
    who: Who<'_>,
    role: &Role,
    region: Option<&str>,
    clock: &Clock,
) -> Result<Caller> {
    let sdk = sdk_config(who, region).await?;
    let session = RoleProvider::new(&sdk, sdk.credentials_provider(), None, role);
    session.begin().await?;
    let session = SharedCredentialsProvider::new(session);
    identity(&sdk.into_builder().credentials_provider(session).build(), clock).await
}

/// GetCallerIdentity, which needs no permission
/// (<https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html>). It is not
/// retried here. `clock` sees the answer.
pub async fn caller(who: Who<'_>, region: Option<&str>, clock: &Clock) -> Result<Caller> {
    identity(&sdk_config(who, region).await?, clock).await
}

async fn identity(sdk: &SdkConfig, clock: &Clock) -> Result<Caller> {
    let builder = aws_sdk_sts::config::Builder::from(sdk)
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

/// The region that the SDK's usual places give for this machine's own calls.
pub async fn region() -> Option<String> {
    let sdk = aws::load_sdk_config().await.ok()?;
    sdk.region().map(|region| region.as_ref().to_owned())
}

/// Whether STS knows the callers of an S3 endpoint: it is AWS, or a server whose own STS the usual
/// variables name. No other server's keys are shown to an STS.
pub fn has_sts(endpoint: Option<&str>) -> bool {
    let named = ["AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL"].into_iter();
    let named = named.filter_map(|name| std::env::var(name).ok().filter(|url| !url.is_empty()));
    knows(endpoint, named.collect::<Vec<_>>().first().map(String::as_str))
}

fn knows(endpoint: Option<&str>, sts: Option<&str>) -> bool {
    let Some(endpoint) = endpoint.map(host) else { return true };
    match sts.map(host) {
        None => is_aws_host(&endpoint),
        // The same server, or servers of the same machine.
        Some(sts) => sts == endpoint || (is_aws_host(&sts) && is_aws_host(&endpoint)),
    }
}

/// A URL's host, in lower case.
fn host(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let end = authority.rfind(':').filter(|at| !authority[*at..].contains(']'));
    authority[..end.unwrap_or(authority.len())].to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_foreign_key_is_shown_to_an_sts() {
        let local = Some("http://127.0.0.1:4566");
        for (endpoint, sts, expected) in [
            (None, None, true),
            (None, local, true),
            (Some("https://s3.cn-north-1.amazonaws.com.cn"), None, true),
            (Some("https://bucket.vpce-1.s3.eu-west-1.vpce.amazonaws.com:443/x"), None, true),
            (Some("https://oss.example"), None, false),
            (Some("https://oss.example/.amazonaws.com"), None, false),
            (Some("https://amazonaws.com.oss.example"), None, false),
            (Some("https://oss.example"), local, false),
            (Some("https://oss.example"), Some("https://sts.eu-west-1.amazonaws.com"), false),
            (Some("http://127.0.0.1:4567"), local, true),
            (Some("http://[::1]:9"), Some("http://[::1]:4566"), true),
        ] {
            assert_eq!(knows(endpoint, sts), expected, "{endpoint:?} {sts:?}");
        }
    }
}
