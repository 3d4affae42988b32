//! A role that one side assumes: its sessions, from AWS STS, are that side's credentials.

use std::sync::Mutex;
use std::time::SystemTime;

use aws_config::retry::RetryConfig;
use aws_config::{Region, SdkConfig};
use aws_credential_types::Credentials as Keys;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use aws_sdk_sts::Client;

use super::identity::READ_TIMEOUT;
use crate::aws;
use crate::error::{Error, ErrorKind, Result};
use crate::mutex::lock;

/// The session's name in CloudTrail and in the ARN of the caller.
const SESSION: &str = "s3-migration";

/// Who must allow what, if STS refuses.
const DENIED: &str = "two policies must allow it: that of the caller, sts:AssumeRole on this role; and the trust \
                      policy of the role, this caller, with the ExternalId if it asks for one; `s3-migration \
                      check` prints both";

/// A role to assume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// Its ARN, `arn:PARTITION:iam::ACCOUNT:role/NAME`.
    pub arn: String,
    /// What its trust policy asks for, agreed with the owner of the role.
    pub external_id: Option<String>,
}

impl Role {
    /// Whether a text has the form of a role's ARN.
    pub fn is_arn(text: &str) -> bool {
        let parts: Vec<_> = text.splitn(6, ':').collect();
        let [arn, partition, iam, region, account, role] = parts[..] else { return false };
        let is_account = account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit());
        let is_named = role.strip_prefix("role/").is_some_and(|name| !name.is_empty());
        arn == "arn"
            && partition.starts_with("aws")
            && iam == "iam"
            && region.is_empty()
            && is_account
            && is_named
    }

    fn part(&self, at: usize) -> &str {
        self.arn.split(':').nth(at).unwrap_or_default()
    }

    /// The account that it belongs to.
    pub fn account(&self) -> &str {
        self.part(4)
    }

    /// The partition that it belongs to.
    pub fn partition(&self) -> &str {
        self.part(1)
    }
}

/// Assumes a role with other credentials, anew whenever it is asked.
#[derive(Debug)]
pub struct RoleProvider {
    client: Client,
    role: Role,
    /// A session that was begun to see whether it can be.
    ready: Mutex<Option<Keys>>,
}

impl RoleProvider {
    /// Sessions of `role` for `base`; `sdk` makes the calls.
    pub fn new(
        sdk: &SdkConfig,
        base: Option<SharedCredentialsProvider>,
        region: Option<String>,
        role: &Role,
    ) -> Self {
        let mut builder = aws_sdk_sts::config::Builder::from(sdk)
            .retry_config(RetryConfig::disabled())
            .timeout_config(aws::timeouts(Some(READ_TIMEOUT)));
        builder.set_credentials_provider(base);
        if let Some(region) = region {
            builder = builder.region(Region::new(region));
        }
        let (client, ready) = (Client::from_conf(builder.build()), Mutex::default());
        Self { client, role: role.clone(), ready }
    }

    /// Begins a session and keeps it for the first who asks. An error names the role and what to do.
    pub async fn begin(&self) -> Result<()> {
        let keys = self.assume().await?;
        *lock(&self.ready) = Some(keys);
        Ok(())
    }

    async fn assume(&self) -> Result<Keys> {
        let call = format!("AssumeRole {}", self.role.arn);
        let asked = self.client.assume_role().role_arn(&self.role.arn).role_session_name(SESSION);
        let asked = asked.set_external_id(self.role.external_id.clone());
        let answer = asked.send().await.map_err(|error| match aws::error(&call, &error) {
            error if error.kind() == ErrorKind::Denied => error.note(DENIED),
            error => error,
        })?;
        let Some(keys) = answer.credentials else {
            return Err(Error::invalid(format!("{call}: an answer without credentials")));
        };
        let session = Keys::builder()
            .access_key_id(keys.access_key_id)
            .secret_access_key(keys.secret_access_key)
            .session_token(keys.session_token)
            .account_id(self.role.account())
            .provider_name("AssumeRole");
        let mut session = session.build();
        *session.expiry_mut() = SystemTime::try_from(keys.expiration).ok();
        Ok(session)
    }

    async fn keys(&self) -> aws_credential_types::provider::Result {
        let ready = lock(&self.ready).take();
        match ready {
            Some(keys) => Ok(keys),
            None => self.assume().await.map_err(CredentialsError::provider_error),
        }
    }
}

impl ProvideCredentials for RoleProvider {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.keys())
    }
}
