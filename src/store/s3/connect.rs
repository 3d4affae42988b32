//! Building the client of one side: endpoint, region, addressing and who asks.

use std::sync::Arc;

use aws_credential_types::Credentials as Keys;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{
    Builder, IdentityCache, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    SharedCredentialsProvider,
};
use aws_sdk_s3::types::RequestPayer;

use super::lean::Lean;
use super::listing::Readings;
use super::renew::Renewed;
use super::{S3Store, Writing};
use crate::aws;
use crate::config::{Config, Credentials, Endpoint, HttpPath};
use crate::error::{Error, Result};
use crate::params::{ParameterStore, StoredCredentials, load_stored};
use crate::store::Side;
use crate::store::profile::Profile;

/// Where nothing says otherwise: compatible stores ignore the region, and AWS answers a request
/// for another region's bucket with that region's name.
const FALLBACK_REGION: &str = "us-east-1";
/// How a profile is called where none is named.
const DEFAULT_PROFILE: &str = "default";

/// The parameter with the other account's credentials.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Where it is kept.
    pub parameters: Arc<dyn ParameterStore>,
    /// Its name.
    pub name: String,
}

impl Stored {
    async fn read(&self) -> Result<StoredCredentials> {
        load_stored(&self.name, &*self.parameters).await
    }

    /// They do not say when they end: they are read again every quarter of an hour (see `renew`), so that
    /// a rotated key is taken up, and stay in use where that cannot be done.
    async fn keys(&self) -> aws_credential_types::provider::Result {
        let stored = self.read().await.map_err(CredentialsError::provider_error)?;
        let StoredCredentials { access_key_id, secret_access_key, session_token, .. } = stored;
        Ok(Keys::new(access_key_id, secret_access_key, session_token, None, "parameter"))
    }
}

impl ProvideCredentials for Stored {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.keys())
    }
}

impl S3Store {
    /// The side that is read.
    pub async fn source(config: &Config, who: Credentials, stored: Option<Stored>) -> Result<Self> {
        let mut store = connect(Side::Source, &config.source.endpoint, who, stored).await?;
        store.checksums = config.mode.checksum.crc64nvme;
        store.choose(config.debug.http_path);
        store.request_payer = config.source.request_payer.then_some(RequestPayer::Requester);
        Ok(store)
    }

    /// The side that is written.
    pub async fn destination(
        config: &Config,
        who: Credentials,
        stored: Option<Stored>,
    ) -> Result<Self> {
        let endpoint = &config.destination.endpoint;
        let mut store = connect(Side::Destination, endpoint, who, stored).await?;
        store.choose(config.debug.http_path);
        store.writing = Writing::from(&config.destination);
        Ok(store)
    }

    /// A store at `url` with a fixed key, as the demo has one on each side.
    pub async fn with_key(side: Side, url: &str, access_key: &str, secret_key: &str) -> Self {
        let sdk = aws::load_sdk_config(None, Some(FALLBACK_REGION)).await;
        let keys = Keys::new(access_key, secret_key, None, None, "fixed");
        let builder = base(&sdk).endpoint_url(url).force_path_style(true);
        let provider = Some(SharedCredentialsProvider::new(keys));
        Self::of(side, builder, provider, "a fixed key".to_owned(), Some(url.to_owned()))
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
        provider: Option<SharedCredentialsProvider>,
        identity: String,
        url: Option<String>,
    ) -> Self {
        let credentials = provider.map(Renewed::new);
        builder.set_credentials_provider(credentials.clone().map(SharedCredentialsProvider::new));
        // They are kept here, where they can be given up when they are refused.
        builder.set_identity_cache(IdentityCache::no_cache());
        let client = Client::from_conf(builder.build());
        Self {
            lean: Lean::new(credentials.clone()),
            credentials,
            client,
            side,
            profile: match is_amazon(url.as_deref()) {
                true => Profile::of_amazon(side),
                false => Profile::new(side),
            },
            readings: Readings::default(),
            identity,
            url,
            writing: Writing::default(),
            request_payer: None,
            checksums: false,
            classes: std::sync::Mutex::default(),
            seen: std::sync::Mutex::default(),
            unsigned: std::sync::atomic::AtomicBool::new(false),
            vain: std::sync::Mutex::default(),
            untold: std::sync::Mutex::default(),
        }
    }
}

/// Whether a URL leads to Amazon S3: none, or one of its names, VPC endpoints among them.
fn is_amazon(url: Option<&str>) -> bool {
    let Some(url) = url else { return true };
    let host = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = host.split(['/', ':']).next().unwrap_or_default().to_ascii_lowercase();
    [".amazonaws.com", ".amazonaws.com.cn", ".amazonaws.eu"].iter().any(|end| host.ends_with(end))
}

/// Checksums only where an operation demands one: compatible stores refuse the newer headers and
/// trailers. Content-MD5 is sent with every write by ourselves.
fn base(sdk: &aws_config::SdkConfig) -> Builder {
    Builder::from(sdk)
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
}

async fn connect(
    side: Side,
    endpoint: &Endpoint,
    who: Credentials,
    stored: Option<Stored>,
) -> Result<S3Store> {
    let profile = match who {
        Credentials::Profile => Some(endpoint.profile.as_deref().unwrap_or(DEFAULT_PROFILE)),
        Credentials::Default | Credentials::Ssm | Credentials::Anonymous => None,
    };
    let sdk = aws::load_sdk_config(profile, endpoint.region.as_deref()).await;
    let mut builder = base(&sdk);
    let mut provider = sdk.credentials_provider();
    let mut region = sdk.region().map(|region| region.as_ref().to_owned());
    let identity = match who {
        Credentials::Default => "the default credentials".to_owned(),
        Credentials::Profile => format!("profile {}", profile.unwrap_or(DEFAULT_PROFILE)),
        Credentials::Anonymous => {
            builder = builder.allow_no_auth();
            provider = None;
            "unsigned requests".to_owned()
        }
        Credentials::Ssm => {
            let stored = stored.ok_or_else(|| {
                Error::usage(format!("the {side}'s credentials are ssm, but there is no SSM"))
            })?;
            // Read now, so that a missing or broken parameter shows before anything is moved; the
            // other account's region is not this machine's.
            let keys = stored.read().await?;
            region = endpoint.region.clone().or(keys.region);
            let identity = format!("the credentials in parameter {}", stored.name);
            provider = Some(SharedCredentialsProvider::new(stored));
            identity
        }
    };
    let region = region.unwrap_or_else(|| FALLBACK_REGION.to_owned());
    builder = builder.region(Region::new(region));
    if let Some(url) = &endpoint.url {
        builder = builder.endpoint_url(url);
    }
    let url = endpoint.url.clone().or_else(|| sdk.endpoint_url().map(str::to_owned));
    // Most compatible stores have no host name for each bucket.
    builder = builder.force_path_style(endpoint.force_path_style.unwrap_or(url.is_some()));
    let mut store = S3Store::of(side, builder, provider, identity, url);
    store.profile = store.profile.pinned(&endpoint.quirks);
    Ok(store)
}
