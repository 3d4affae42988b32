//! Building the client of one side: endpoint, region, addressing and credentials.

use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_credential_types::Credentials as Keys;
use aws_credential_types::provider::ProvideCredentials as _;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{
    Builder, IdentityCache, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    SharedCredentialsProvider,
};
use aws_sdk_s3::types::RequestPayer;
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_types::service_config::ServiceConfigKey;
use tokio_util::sync::CancellationToken;

use super::credentials::Renewed;
use super::http::Lean;
use super::listing::KnownEncodings;
use super::{S3Store, Writing};
use crate::aws::clock::Clock;
use crate::aws::partition::is_aws_host;
use crate::aws::role::RoleProvider;
use crate::aws::signer::CredentialOrigin;
use crate::aws::stored_credentials::StoredProvider;
use crate::aws::trust::Trust;
use crate::aws::{self, FALLBACK_REGION, http, profiles};
use crate::config::{Config, Credentials, Endpoint, HttpPath};
use crate::error::{Error, Result};
use crate::retry::{Policy, retry};
use crate::store::Side;
use crate::store::profile::Profile;

impl S3Store {
    /// The store of the source side.
    pub async fn source(
        config: &Config,
        who: Credentials,
        stored: Option<StoredProvider>,
    ) -> Result<Self> {
        let mut store = connect(Side::Source, &config.source.endpoint, who, stored).await?;
        store.checksums = true;
        store.choose(config.debug.http_path);
        store.request_payer = config.source.request_payer.then_some(RequestPayer::Requester);
        Ok(store)
    }

    /// The store of the destination side.
    pub async fn destination(
        config: &Config,
        who: Credentials,
        stored: Option<StoredProvider>,
    ) -> Result<Self> {
        let endpoint = &config.destination.endpoint;
        let mut store = connect(Side::Destination, endpoint, who, stored).await?;
        store.choose(config.debug.http_path);
        store.writing = Writing::from(&config.destination);
        Ok(store)
    }

    /// Asks for the checksum that the store keeps of an object whenever it reads or heads one.
    pub fn asking_for_sums(mut self) -> Self {
        self.checksums = true;
        self
    }

    /// A store at `url` with a fixed key, as the demo has on each side. It ignores the environment
    /// and the profiles.
    pub async fn with_key(side: Side, url: &str, access_key: &str, secret_key: &str) -> Self {
        let region = Region::from_static(FALLBACK_REGION);
        let trust = Trust::default();
        let sdk = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .retry_config(RetryConfig::disabled())
            .timeout_config(aws::timeouts(None))
            .http_client(http::client(&trust))
            .region(region)
            .sleep_impl(TokioSleep::new())
            .build();
        let keys = Keys::new(access_key, secret_key, None, None, "fixed");
        let builder = base(&sdk).endpoint_url(url).force_path_style(true);
        let provider = Some(SharedCredentialsProvider::new(keys));
        let asked =
            ClientPlan { origin: CredentialOrigin::Fixed, url: Some(url.to_owned()), trust };
        Self::of(side, builder, provider.map(Renewed::new), asked)
    }

    /// The same store with all calls made by the SDK.
    pub fn by_sdk(mut self) -> Self {
        self.choose(HttpPath::Sdk);
        self
    }

    fn choose(&mut self, path: HttpPath) {
        match path {
            HttpPath::Lean => {}
            HttpPath::Sdk => self.lean = None,
        }
    }

    fn of(
        side: Side,
        mut builder: Builder,
        credentials: Option<Renewed>,
        asked: ClientPlan,
    ) -> Self {
        builder.set_credentials_provider(credentials.clone().map(SharedCredentialsProvider::new));
        // Credentials are kept in `Renewed`, which can discard them when they are refused.
        builder.set_identity_cache(IdentityCache::no_cache());
        let client = Client::from_conf(builder.build());
        let clock = Clock::default();
        Self {
            lean: Lean::new(credentials.clone(), asked.trust, clock.clone()),
            clock,
            credentials,
            client,
            side,
            profile: match is_amazon(asked.url.as_deref()) {
                true => Profile::of_amazon(side),
                false => Profile::new(side),
            },
            readings: KnownEncodings::default(),
            origin: asked.origin,
            account: None,
            url: asked.url,
            writing: Writing::default(),
            request_payer: None,
            checksums: false,
            classes: std::sync::Mutex::default(),
            seen: std::sync::Mutex::default(),
            told_sums: std::sync::atomic::AtomicBool::new(false),
            unsigned: std::sync::atomic::AtomicBool::new(false),
            vain: std::sync::Mutex::default(),
            untold: std::sync::Mutex::default(),
        }
    }
}

/// Whether a URL leads to Amazon S3: no URL, or one of its names, including VPC endpoints.
fn is_amazon(url: Option<&str>) -> bool {
    let Some(url) = url else { return true };
    let host = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = host.split(['/', ':']).next().unwrap_or_default().to_ascii_lowercase();
    is_aws_host(&host)
}

/// Who sends requests, and to which store.
struct ClientPlan {
    origin: CredentialOrigin,
    /// The URL, if that is not Amazon S3.
    url: Option<String>,
    trust: Trust,
}

/// Checksums only if an operation demands one: compatible stores refuse the newer headers and
/// trailers. We send Content-MD5 with every write ourselves.
fn base(sdk: &aws_config::SdkConfig) -> Builder {
    Builder::from(sdk)
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
}

async fn connect(
    side: Side,
    endpoint: &Endpoint,
    who: Credentials,
    stored: Option<StoredProvider>,
) -> Result<S3Store> {
    let named = match who {
        Credentials::Profile => {
            let found = profiles::AwsProfile::named(endpoint.profile_name()).await;
            Some(found.map_err(|error| error.context(format_args!("the {side}")))?)
        }
        Credentials::Default | Credentials::Ssm | Credentials::Anonymous => None,
    };
    let setup = aws::Setup {
        profile: named.as_ref(),
        region: endpoint.region.as_deref(),
        bundle: endpoint.ca_bundle.clone(),
        // Stored keys need none of the ordinary credentials.
        skips_lookup: matches!(who, Credentials::Anonymous | Credentials::Ssm),
    };
    let loaded = aws::load(setup).await?;
    let sdk = &loaded.sdk;
    let mut builder = base(sdk);
    let mut region = sdk.region().map(|region| region.as_ref().to_owned());
    let (origin, provider) = match who {
        Credentials::Default => {
            (CredentialOrigin::Chain(profiles::ordinary()), sdk.credentials_provider())
        }
        Credentials::Profile => (
            CredentialOrigin::Profile(endpoint.profile_name().to_owned()),
            sdk.credentials_provider(),
        ),
        Credentials::Anonymous => {
            builder = builder.allow_no_auth();
            (CredentialOrigin::Nobody, None)
        }
        Credentials::Ssm => {
            let stored = stored.ok_or_else(|| {
                Error::usage(format!(
                    "the {side}'s Credentials are ssm, but there is no Parameter Store"
                ))
            })?;
            // Read now, so that a missing or broken parameter shows before anything is moved; the
            // other account's region is not this machine's.
            let keys = stored.read().await?;
            region = endpoint.region.clone().or(keys.region);
            let origin = CredentialOrigin::Parameter(stored.name().to_owned());
            (origin, Some(SharedCredentialsProvider::new(stored)))
        }
    };
    let region = region.unwrap_or_else(|| FALLBACK_REGION.to_owned());
    builder = builder.region(Region::new(region.clone()));
    if let (Some(profile), Some(provider)) = (&named, &provider) {
        let keys =
            || async { provider.provide_credentials().await.map_err(|e| profile.failed(&e)) };
        let first = retry(Policy::probe(), &CancellationToken::new(), keys).await;
        first.map_err(|error| error.context(format_args!("the {side}")))?;
    }
    let (origin, provider) = match &endpoint.role {
        None => (origin, provider),
        Some(role) => {
            let session = RoleProvider::new(sdk, provider, Some(region), role);
            // Now, so that a role that cannot be assumed shows before anything is moved.
            let first = retry(Policy::probe(), &CancellationToken::new(), || session.begin()).await;
            first.map_err(|error| error.context(format_args!("the {side}'s role")))?;
            let origin = CredentialOrigin::Role(role.arn.clone());
            (origin, Some(SharedCredentialsProvider::new(session)))
        }
    };
    let url = url(endpoint, named.as_ref(), sdk);
    if let Some(url) = &url {
        builder = builder.endpoint_url(url);
    }
    // Most compatible stores have no host name per bucket.
    builder = builder.force_path_style(endpoint.force_path_style.unwrap_or(url.is_some()));
    let credentials = provider.map(Renewed::new);
    let asked = ClientPlan { origin, url, trust: loaded.trust };
    let mut store = S3Store::of(side, builder, credentials, asked);
    store.profile = store.profile.pinned(&endpoint.quirks);
    Ok(store)
}

/// The store's URL, unless it is Amazon S3: as the side says, as its profile says, or as the
/// ordinary places say.
fn url(
    endpoint: &Endpoint,
    named: Option<&profiles::AwsProfile>,
    sdk: &SdkConfig,
) -> Option<String> {
    let profiles = || named?.s3_url(sdk);
    endpoint.url.clone().or_else(profiles).or_else(|| {
        let key = ServiceConfigKey::builder().service_id("S3").profile("endpoint_url");
        let key = key.env("AWS_ENDPOINT_URL").build().ok();
        let of_s3 = key.and_then(|key| sdk.service_config()?.load_config(key));
        of_s3.or_else(|| sdk.endpoint_url().map(str::to_owned))
    })
}
