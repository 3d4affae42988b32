//! What all AWS clients share: set-up, TLS, identity, stored credentials, error codes.
//!
//! The SDK's own retries are off everywhere, because `crate::retry` is the only retry loop: nested
//! loops multiply the tries and hide throttling from the one that must slow down.

use std::error::Error as StdError;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use crate::error::{Error, ErrorKind, Evidence, Result};
use crate::format::escape::shown;

pub mod clock;
pub mod dial;
mod error_codes;
pub mod http;
pub mod identity;
pub mod partition;
pub mod profiles;
pub mod role;
pub mod signer;
pub mod stored_credentials;
pub mod trust;

use error_codes::{CodeMeaning, Request, judge};
use profiles::AwsProfile;
use trust::{Bundle, Trust};

/// Covers everything a connection takes: trying the name's addresses one after another if the first
/// are dead (see `dial`), and TLS on a lossy intercontinental line.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// The region when none is named. Compatible stores ignore it, and AWS answers a request for
/// another region's bucket with that region's name.
pub const FALLBACK_REGION: &str = "us-east-1";

/// A longer pause is an outage; the retry policy decides about those.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(300);

/// The beginning of the SDK's multi-line message that none of its usual places has credentials: a line
/// for each place.
const EMPTY_CHAIN: &str = "no credentials found in chain";

/// Error texts are cut to this length: some services put whole requests into them.
const MAX_TEXT: usize = 400;

/// How much is shown of an answer that is not an S3 document.
const MAX_BEGINNING: usize = 160;

/// What takes precedence over the SDK's usual places.
#[derive(Clone, Debug, Default)]
pub struct Setup<'a> {
    /// Only this profile's credentials are used.
    pub profile: Option<&'a AwsProfile>,
    /// This region.
    pub region: Option<&'a str>,
    /// Trusted in addition to all others.
    pub bundle: Option<Arc<Bundle>>,
    /// No credentials are looked for, and no service is asked for a region: requests are not signed,
    /// or stored keys sign them.
    pub skips_lookup: bool,
}

/// The SDK's configuration from its usual places: environment, profile, container, instance role,
/// including `AWS_ENDPOINT_URL`, `AWS_ENDPOINT_URL_SQS` and the like.
pub async fn load_sdk_config() -> Result<SdkConfig> {
    load(Setup::default()).await.map(|loaded| loaded.sdk)
}

/// The loaded configuration.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// For the SDK's clients.
    pub sdk: SdkConfig,
    /// What its connections trust.
    pub trust: Trust,
}

/// The SDK's configuration: from `setup` first, then from the usual places. A profile that is
/// named, even by the environment, must exist; otherwise this is an error.
///
/// No read timeout is set, because a long poll and a part of 5 GiB need different ones: each client
/// sets its own.
pub async fn load(setup: Setup<'_>) -> Result<Loaded> {
    let ordinary = match setup.profile {
        Some(profile) => Some(profile.clone()),
        None => AwsProfile::ordinary().await?,
    };
    let of_profile = ordinary.as_ref().and_then(|profile| profile.bundle.clone());
    let trust = Trust::default().and(environments_bundle()?).and(of_profile).and(setup.bundle);
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts(None))
        .http_client(http::client(&trust));
    // Naming a profile also selects its region.
    let named = setup.profile.and_then(|profile| profile.region.clone());
    let mut region = setup.region.map(str::to_owned).or(named);
    if setup.skips_lookup {
        let of_profile = ordinary.and_then(|profile| profile.region);
        let known = region.or_else(environments_region).or(of_profile);
        region = Some(known.unwrap_or_else(|| FALLBACK_REGION.to_owned()));
    }
    if let Some(region) = region {
        loader = loader.region(Region::new(region));
    }
    if setup.skips_lookup || setup.profile.is_some() {
        loader = loader.no_credentials();
    }
    let Some(profile) = setup.profile else {
        return Ok(Loaded { sdk: loader.load().await, trust });
    };
    let sdk = loader.profile_name(&profile.name).load().await;
    let provider = profile.provider(&sdk);
    Ok(Loaded { sdk: sdk.into_builder().credentials_provider(provider).build(), trust })
}

fn environments_region() -> Option<String> {
    let value = |name: &&str| std::env::var(name).ok().filter(|value| !value.is_empty());
    ["AWS_REGION", "AWS_DEFAULT_REGION"].iter().find_map(value)
}

/// The certificate authorities that the environment names.
fn environments_bundle() -> Result<Option<Arc<Bundle>>> {
    let named = std::env::var_os(trust::CA_BUNDLE).filter(|file| !file.is_empty());
    let Some(file) = named else { return Ok(None) };
    Bundle::read(Path::new(&file)).map(|bundle| Some(Arc::new(bundle))).map_err(|wrong| {
        let (variable, file) = (trust::CA_BUNDLE, Path::new(&file).display());
        Error::usage(format!(
            "environment variable {variable}: {file} {wrong}; allowed: {}",
            trust::ALLOWED
        ))
    })
}

/// The time limits of a client whose answers must begin within `read`.
pub fn timeouts(read: Option<Duration>) -> TimeoutConfig {
    let timeouts = TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT);
    match read {
        Some(read) => timeouts.read_timeout(read).build(),
        None => timeouts.build(),
    }
}

/// What a service's answer to `call` means, and what to do about it.
pub fn meaning(
    call: &str,
    status: u16,
    code: &str,
    text: &str,
) -> (ErrorKind, Option<&'static str>) {
    let CodeMeaning { kind, advice } = judge(Request::of(call), status, code, text);
    (kind, advice)
}

/// What a failed call means, without building the error.
pub fn classify<E>(error: &SdkError<E, HttpResponse>) -> ErrorKind
where
    E: ProvideErrorMetadata + StdError + 'static,
{
    verdict_of(Request::Other, error).kind
}

/// The pause that the service requested in its `Retry-After` header, if that is a number of
/// seconds.
pub fn retry_after<E>(error: &SdkError<E, HttpResponse>) -> Option<Duration> {
    pause(error.raw_response()?.headers().get("retry-after")?)
}

fn pause(header: &str) -> Option<Duration> {
    let seconds = header.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_RETRY_AFTER))
}

/// The service's own name for the error: `AccessDenied`, `QueueDoesNotExist`.
pub fn code<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Option<&str> {
    error.as_service_error().and_then(ProvideErrorMetadata::code)
}

/// Whether an error code says that the session has expired: new credentials must be fetched, even
/// if the current ones claim to be valid for longer.
pub fn is_expired(code: &str) -> bool {
    error_codes::is_expired(code)
}

/// Whether an error code and its text are about the time at which a request was signed.
pub fn is_skewed(code: &str, text: &str) -> bool {
    error_codes::is_skewed(code) || is_about_the_clock(text)
}

/// The whole error: `call` (such as `GetObject s3://bucket/key (source)`), the service's message,
/// what to do about it, its kind and the requested pause.
///
/// The SDK's error is not kept as the source: its text would show the answer's body and headers,
/// and with them signatures and session tokens.
pub fn error<E>(call: impl fmt::Display, error: &SdkError<E, HttpResponse>) -> Error
where
    E: ProvideErrorMetadata + StdError + 'static,
{
    let call = call.to_string();
    let mut verdict = verdict_of(Request::of(&call), error);
    if is_corrected(error) {
        verdict.kind = ErrorKind::Unavailable;
    }
    let status = error.raw_response().map_or(0, |raw| raw.status().as_u16());
    let text = error.as_service_error().and_then(ProvideErrorMetadata::message);
    let code = code(error).unwrap_or_default();
    let evidence = evidence(&call, status, code, text.unwrap_or_default());
    built(call, verdict, &describe(error))
        .with_retry_after(retry_after(error))
        .with_evidence(evidence)
}

/// Whether a request was refused for its time by an answer that gives the right time: the SDK signs
/// the client's next request with it.
fn is_corrected<E>(error: &SdkError<E, HttpResponse>) -> bool
where
    E: ProvideErrorMetadata,
{
    let Some(said) = error.as_service_error() else { return false };
    let (code, text) = (said.code().unwrap_or_default(), said.message().unwrap_or_default());
    let date = error.raw_response().and_then(|raw| raw.headers().get("date"));
    is_skewed(code, text) && date.is_some_and(clock::is_other)
}

fn evidence(call: &str, status: u16, code: &str, text: &str) -> Evidence {
    let call = call.split(' ').next().unwrap_or_default().to_owned();
    Evidence { status, code: code.to_owned(), text: one_line(text), call, place: None }
}

/// An error answer that the SDK has not parsed.
#[derive(Clone, Copy, Debug)]
pub struct ErrorAnswer<'a> {
    /// The HTTP status.
    pub status: u16,
    /// The service's name for the error; empty if the answer had none.
    pub code: &'a str,
    /// The service's message.
    pub text: &'a str,
    /// The answer's body; one line of it is shown if it is not an S3 document.
    pub body: &'a str,
    /// The request's id, for the service's support.
    pub request_id: Option<&'a str>,
    /// The `Retry-After` header.
    pub retry_after: Option<&'a str>,
}

impl ErrorAnswer<'_> {
    /// Like [`error`], for an answer that we parsed ourselves.
    pub fn error(&self, call: impl fmt::Display) -> Error {
        let code = one_line(if self.code.is_empty() { "no error code" } else { self.code });
        let said = match one_line(self.text) {
            text if text.is_empty() => format!("{code}{}", foreign(self.code, self.body)),
            text => format!("{code}: {text}"),
        };
        let id = self.request_id.map(|id| format!(", request {}", one_line(id)));
        let said = format!("{said} (status {}{})", self.status, id.unwrap_or_default());
        let call = call.to_string();
        let verdict = judge(Request::of(&call), self.status, self.code, self.text);
        let evidence = evidence(&call, self.status, self.code, self.text);
        built(call, verdict, &said)
            .with_retry_after(self.retry_after.and_then(pause))
            .with_evidence(evidence)
    }
}

/// The beginning of an answer that does not come from S3: a proxy's page, or another server's.
fn foreign(code: &str, body: &str) -> String {
    let body = body.trim();
    if !code.is_empty() || body.is_empty() {
        return String::new();
    }
    format!(
        ", the answer is not an S3 document, it begins with {}; {RIGHT_ENDPOINT}",
        beginning(body)
    )
}

/// What to ask the user if an answer does not come from a store.
pub const RIGHT_ENDPOINT: &str = "is Endpoint right (http or https)?";

/// The beginning of a text from outside: on one line, quoted, and cut.
pub fn beginning(text: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let cut: String = words.chars().take(MAX_BEGINNING).collect();
    let dots = if cut.len() < words.len() { " ..." } else { "" };
    format!("\"{}{dots}\"", cut.escape_debug())
}

/// Like [`error`], from the cause of a request that was never sent or was not answered.
pub fn unanswered(call: impl fmt::Display, cause: &(dyn StdError + 'static)) -> Error {
    let call = call.to_string();
    let evidence = evidence(&call, 0, "", "");
    built(call, unsent(Some(cause), ErrorKind::Unavailable), &texts(Some(cause)))
        .with_evidence(evidence)
}

/// Our own error among the causes: why a body that we sent failed.
pub fn own_cause<E>(error: &SdkError<E, HttpResponse>) -> Option<&Error>
where
    E: StdError + 'static,
{
    own_error(StdError::source(error))
}

/// Our own error among these causes. A failure to fetch credentials does not count: it is not a
/// body's.
pub fn own_error<'a>(first: Option<&'a (dyn StdError + 'static)>) -> Option<&'a Error> {
    if is_of_credentials(first) {
        return None;
    }
    chain(first).find_map(|cause| cause.downcast_ref::<Error>())
}

/// Whether the request was not sent for lack of credentials.
pub fn is_of_credentials(first: Option<&(dyn StdError + 'static)>) -> bool {
    chain(first).any(|cause| cause.is::<CredentialsError>())
}

fn built(call: impl fmt::Display, verdict: CodeMeaning, said: &str) -> Error {
    let message = match verdict.advice {
        // What to do first; which places the SDK tried matters only to some.
        Some(advice) if verdict.lacks_credentials() => format!("{call}: {advice} ({said})"),
        Some(advice) => format!("{call}: {said}; {advice}"),
        None => format!("{call}: {said}"),
    };
    Error::new(verdict.kind, message)
}

fn verdict_of<E>(request: Request, error: &SdkError<E, HttpResponse>) -> CodeMeaning
where
    E: ProvideErrorMetadata + StdError + 'static,
{
    match error {
        SdkError::TimeoutError(_) => CodeMeaning::from(ErrorKind::Unavailable),
        SdkError::ConstructionFailure(_) => unsent(StdError::source(error), ErrorKind::Invalid),
        SdkError::DispatchFailure(_) => unsent(StdError::source(error), ErrorKind::Unavailable),
        SdkError::ServiceError(answer) => {
            let (status, error) = (answer.raw().status().as_u16(), answer.err());
            let text = error.message().unwrap_or_default();
            let code = match is_about_the_clock(text) {
                true => "RequestTimeTooSkewed",
                false => error.code().unwrap_or_default(),
            };
            judge(request, status, code, text)
        }
        // An answer that could not be read: a 2xx was cut short; for anything else the status
        // decides.
        SdkError::ResponseError(answer) if answer.raw().status().is_success() => {
            CodeMeaning::from(ErrorKind::Unavailable)
        }
        SdkError::ResponseError(answer) => judge(request, answer.raw().status().as_u16(), "", ""),
        _ => CodeMeaning::from(ErrorKind::Unavailable),
    }
}

/// SQS, DynamoDB and SSM report a skewed clock under the code for a wrong signature, and say so
/// only in the text
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-troubleshooting.html>).
fn is_about_the_clock(text: &str) -> bool {
    text.starts_with("Signature expired:") || text.starts_with("Signature not yet current:")
}

/// A request that was never sent, for lack of credentials, a region or a connection.
fn unsent(source: Option<&(dyn StdError + 'static)>, otherwise: ErrorKind) -> CodeMeaning {
    match trust::failed(source) {
        Some(failed) if failed.is_certificate => return CodeMeaning::untrusted(failed.advice),
        Some(failed) => return CodeMeaning::broken_off(failed.advice),
        None => {}
    }
    for cause in chain(source) {
        match cause.downcast_ref::<CredentialsError>() {
            Some(
                CredentialsError::CredentialsNotLoaded(_)
                | CredentialsError::InvalidConfiguration(_),
            ) => return CodeMeaning::no_credentials(),
            // The metadata service or STS did not answer, which is temporary.
            Some(_) => return CodeMeaning::unfetched_credentials(),
            None => {}
        }
        let text = cause.to_string();
        if text.contains("no identity resolver") {
            return CodeMeaning::no_credentials();
        }
        if text.contains("Missing Region") {
            return CodeMeaning::no_region();
        }
    }
    CodeMeaning::from(otherwise)
}

fn chain<'a>(
    first: Option<&'a (dyn StdError + 'static)>,
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(first, |&cause| cause.source())
}

/// The failure in one line.
fn describe<E>(error: &SdkError<E, HttpResponse>) -> String
where
    E: ProvideErrorMetadata + StdError + 'static,
{
    let answer = match error {
        SdkError::ServiceError(answer) => {
            let code = answer.err().code().unwrap_or("no error code");
            match answer.err().message().map(one_line) {
                Some(text) if !text.is_empty() => format!("{code}: {text}"),
                _ => {
                    let body = answer.raw().body().bytes().unwrap_or_default();
                    let code_given = answer.err().code().unwrap_or_default();
                    format!("{code}{}", foreign(code_given, &String::from_utf8_lossy(body)))
                }
            }
        }
        SdkError::ResponseError(_) => format!("unreadable answer: {}", causes(error)),
        SdkError::TimeoutError(_) => format!("timed out: {}", causes(error)),
        _ => causes(error),
    };
    match error.raw_response() {
        Some(raw) => format!("{answer} (status {}{})", raw.status().as_u16(), request_id(raw)),
        None => answer,
    }
}

fn request_id(raw: &HttpResponse) -> String {
    let headers = ["x-amz-request-id", "x-amzn-requestid", "x-amzn-request-id"];
    match headers.into_iter().find_map(|name| raw.headers().get(name)) {
        Some(id) => format!(", request {}", one_line(id)),
        None => String::new(),
    }
}

/// The texts of the causes, outermost first, each once.
fn causes<E: StdError + 'static>(error: &SdkError<E, HttpResponse>) -> String {
    texts(StdError::source(error))
}

pub(crate) fn texts(first: Option<&(dyn StdError + 'static)>) -> String {
    let mut texts: Vec<String> = Vec::new();
    let flat = |text: String| match text.contains(EMPTY_CHAIN) {
        true => text.lines().map(str::trim).collect::<Vec<_>>().join(" "),
        false => text,
    };
    for text in chain(first).map(|cause| one_line(&flat(cause.to_string()))) {
        if !texts.iter().any(|earlier| earlier.contains(&text)) {
            texts.push(text);
        }
    }
    if texts.is_empty() {
        return "the request could not be sent".to_owned();
    }
    one_line(&texts.join(": "))
}

/// The first line, cut to [`MAX_TEXT`] characters. A signature error of the JSON services continues
/// with the canonical request, session token included; that must not reach a log.
fn one_line(text: &str) -> String {
    let line = text.trim().lines().next().unwrap_or_default();
    let line: String = line.chars().filter(|c| !c.is_control()).take(MAX_TEXT).collect();
    shown(&line).to_string()
}

#[cfg(test)]
pub(crate) mod scripted;
#[cfg(test)]
mod tests;
