//! Profiles of the AWS configuration files. A named profile is used alone; if it cannot be, that is
//! an error.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::{Region, SdkConfig};
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use aws_types::os_shim_internal::{Env, Fs};
use aws_types::service_config::ServiceConfigKey;

use super::trust::{self, Bundle};
use crate::error::{Error, ErrorKind, Result};

/// The profile used when none is named.
pub const DEFAULT: &str = "default";

/// The variable that names the profile used by default.
const VARIABLE: &str = "AWS_PROFILE";

/// The files, each with the variable that names another file instead.
const FILES: [(&str, &str); 2] =
    [("AWS_CONFIG_FILE", "~/.aws/config"), ("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials")];

/// A message lists at most this many names.
const MOST_NAMES: usize = 20;

/// A profile's settings, apart from its credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsProfile {
    /// Its name.
    pub name: String,
    /// Its region.
    pub region: Option<String>,
    /// The certificate authorities that it names.
    pub bundle: Option<Arc<Bundle>>,
    ignores_urls: bool,
}

impl AwsProfile {
    /// The profile of this name.
    pub async fn named(name: &str) -> Result<Self> {
        let set = profiles(Some(name)).await?;
        let bundles = |file: &str| read_bundle(name, file);
        Self::of(&set, name, bundles)?.ok_or_else(|| missing(name, &set, ""))
    }

    /// The profile among the SDK's usual places: the one that `AWS_PROFILE` names, which must
    /// exist, or else `default`, which need not.
    pub async fn ordinary() -> Result<Option<Self>> {
        let given = std::env::var(VARIABLE).ok().filter(|name| !name.is_empty());
        let set = match (profiles(given.as_deref()).await, &given) {
            // The user has not asked for these files.
            (Err(_), None) => return Ok(None),
            (set, _) => set?,
        };
        let name = given.as_deref().unwrap_or(DEFAULT);
        // As in the AWS CLI, the variable takes precedence over the profile.
        let is_set = std::env::var_os(trust::CA_BUNDLE).is_some_and(|file| !file.is_empty());
        let bundles = |file: &str| if is_set { Ok(None) } else { read_bundle(name, file) };
        match (Self::of(&set, name, bundles)?, &given) {
            (None, Some(_)) => Err(missing(name, &set, &format!(", which {VARIABLE} names,"))),
            (profile, _) => Ok(profile),
        }
    }

    fn of(
        set: &aws_config::profile::ProfileSet,
        name: &str,
        read: impl Fn(&str) -> Result<Option<Arc<Bundle>>>,
    ) -> Result<Option<Self>> {
        let Some(profile) = set.get_profile(name) else { return Ok(None) };
        let text = |key| profile.get(key).map(str::trim).filter(|value| !value.is_empty());
        let bundle = text("ca_bundle").map(read).transpose()?.flatten();
        let is_true = |value: &str| value.eq_ignore_ascii_case("true");
        Ok(Some(Self {
            name: name.to_owned(),
            region: text("region").map(str::to_owned),
            bundle,
            ignores_urls: text("ignore_configured_endpoint_urls").is_some_and(is_true),
        }))
    }

    /// The credentials that this profile describes: static keys, a role, a process, single sign-on.
    /// `sdk` makes the calls that this takes, such as those to STS.
    pub fn provider(&self, sdk: &SdkConfig) -> SharedCredentialsProvider {
        let region = sdk.region().cloned().unwrap_or(Region::from_static(super::FALLBACK_REGION));
        let mut config = ProviderConfig::without_region().with_region(Some(region));
        if let Some(client) = sdk.http_client() {
            config = config.with_http_client(client);
        }
        SharedCredentialsProvider::new(ProfileReader { name: self.name.clone(), config })
    }

    /// The profile's URL for S3, unless such URLs are to be ignored.
    pub fn s3_url(&self, sdk: &SdkConfig) -> Option<String> {
        let by_variable = std::env::var("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS").ok();
        let ignored = by_variable
            .map_or(self.ignores_urls, |value| value.trim().eq_ignore_ascii_case("true"));
        if ignored {
            return None;
        }
        // A variable that nobody sets: the profile was named, so it takes precedence over the
        // environment.
        let key = ServiceConfigKey::builder().service_id("S3").profile("endpoint_url");
        sdk.service_config()?.load_config(key.env("S3_MIGRATION_NO_VARIABLE").build().ok()?)
    }

    /// The error when its credentials cannot be obtained.
    pub fn failed(&self, error: &CredentialsError) -> Error {
        let said = super::texts(Some(error));
        let said =
            format!("profile {} (in {}) provides no credentials: {said}", self.name, files());
        match error {
            CredentialsError::CredentialsNotLoaded(_)
            | CredentialsError::InvalidConfiguration(_) => Error::usage(format!(
                "{said}; give it aws_access_key_id and aws_secret_access_key, or role_arn with \
                 source_profile, credential_process, or a single sign-on"
            )),
            // STS, or another service that was asked, did not answer.
            _ => Error::new(ErrorKind::Unavailable, said),
        }
    }
}

/// Reads the files again each time it is asked, since the keys in them are rotated.
#[derive(Debug)]
struct ProfileReader {
    name: String,
    config: ProviderConfig,
}

impl ProfileReader {
    async fn keys(&self) -> aws_credential_types::provider::Result {
        let builder = ProfileFileCredentialsProvider::builder().configure(&self.config);
        builder.profile_name(&self.name).build().provide_credentials().await
    }
}

impl ProvideCredentials for ProfileReader {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.keys())
    }
}

/// The name of the profile among the SDK's usual places.
pub fn ordinary() -> String {
    let given = std::env::var(VARIABLE).ok().filter(|name| !name.is_empty());
    given.unwrap_or_else(|| DEFAULT.to_owned())
}

async fn profiles(selected: Option<&str>) -> Result<aws_config::profile::ProfileSet> {
    let selected = selected.map(|name| name.to_owned().into());
    let (fs, env) = (Fs::real(), Env::real());
    aws_config::profile::load(&fs, &env, &Default::default(), selected).await.map_err(|error| {
        let said = super::texts(Some(&error));
        Error::usage(format!("the AWS configuration files cannot be read ({}): {said}", files()))
    })
}

fn read_bundle(profile: &str, file: &str) -> Result<Option<Arc<Bundle>>> {
    let path = match (file.strip_prefix("~/"), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) => Path::new(&home).join(rest),
        _ => PathBuf::from(file),
    };
    match Bundle::read(&path) {
        Ok(bundle) => Ok(Some(Arc::new(bundle))),
        Err(wrong) => Err(Error::usage(format!(
            "ca_bundle of profile {profile} (in {}): {} {wrong}; allowed: {}",
            files(),
            path.display(),
            trust::ALLOWED
        ))),
    }
}

fn missing(name: &str, set: &aws_config::profile::ProfileSet, by: &str) -> Error {
    let mut names: Vec<_> = set.profiles().map(|name| name.escape_debug().to_string()).collect();
    names.sort_unstable();
    let more = names.len().saturating_sub(MOST_NAMES);
    names.truncate(MOST_NAMES);
    let there = match names.is_empty() {
        true => "there is none".to_owned(),
        false => format!("there: {}", names.join(", ")),
    };
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let name = name.escape_debug();
    Error::usage(format!("profile {name}{by} is not in {} ({there}{more})", files()))
}

/// The files that profiles are read from, for messages.
fn files() -> String {
    let file =
        |(variable, usual): (&str, &str)| std::env::var(variable).unwrap_or(usual.to_owned());
    FILES.map(file).join(" and ")
}
