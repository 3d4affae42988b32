use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::error::ErrorMetadata;

use super::*;

type Failure = SdkError<ErrorMetadata, HttpResponse>;

fn answer(
    status: u16,
    code: &str,
    text: &str,
    headers: &[(&'static str, &'static str)],
) -> Failure {
    let status = StatusCode::try_from(status).expect("a valid status");
    let mut raw = HttpResponse::new(status, SdkBody::empty());
    for &(name, value) in headers {
        raw.headers_mut().insert(name, value);
    }
    SdkError::service_error(ErrorMetadata::builder().code(code).message(text).build(), raw)
}

/// Promise 10.
#[test]
fn the_message_names_the_call_the_answer_and_the_remedy() {
    let failure = answer(403, "AccessDenied", "Access Denied", &[("x-amz-request-id", "R1")]);
    let error = error("GetObject s3://b/k (source)", &failure);
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert_eq!(
        error.to_string(),
        "GetObject s3://b/k (source): AccessDenied: Access Denied (status 403, request R1); allow \
         this call in the caller's IAM policy, and in the resource's policy"
    );
    assert_eq!(code(&failure), Some("AccessDenied"));
}

/// Promise 9.
#[test]
fn the_pause_that_the_service_asks_for_is_kept_within_bounds() {
    let pause = |value| {
        let failure = answer(503, "SlowDown", "", &[("retry-after", value)]);
        error("PutObject", &failure).retry_after()
    };
    assert_eq!(pause("7"), Some(Duration::from_secs(7)));
    assert_eq!(pause("99999999999"), Some(LONGEST_RETRY_AFTER));
    assert_eq!(pause("soon"), None);
    assert_eq!(pause("-1"), None);
}

/// Promise 10.
#[test]
fn what_a_signature_error_repeats_of_the_request_is_not_shown() {
    let text = "The request signature we calculated does not match\n\nThe Canonical String \
                should have been\nx-amz-security-token:SECRET";
    let failure = answer(400, "InvalidSignatureException", text, &[]);
    let error = error("UpdateItem", &failure);
    let shown = format!("{error} {error:?} {:?}", std::error::Error::source(&error));
    assert!(shown.contains("does not match") && !shown.contains("SECRET"), "{shown}");
}

#[test]
fn a_clock_that_is_off_is_told_from_a_wrong_secret() {
    for text in [
        "Signature expired: 20260101T000000Z is now earlier than 20260101T005500Z",
        "Signature not yet current: 20260101T020000Z is still later than 20260101T010500Z",
    ] {
        let error = error("SendMessage", &answer(400, "InvalidSignatureException", text, &[]));
        assert_eq!(error.kind(), ErrorKind::Unfit);
        assert!(error.to_string().ends_with("set the clock"), "{error}");
    }
}

#[test]
fn a_clock_that_the_answer_corrects_is_worth_another_try() {
    let text = "The difference between the request time and the current time is too large.";
    let refused = |date| answer(403, "RequestTimeTooSkewed", text, &[("date", date)]);
    let error = error("SendMessage", &refused("Sun, 06 Nov 1994 08:49:37 GMT"));
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let now = aws_smithy_types::DateTime::from(std::time::SystemTime::now());
    let now = now.fmt(aws_smithy_types::date_time::Format::HttpDate).unwrap();
    let refused = refused(Box::leak(now.into_boxed_str()));
    assert_eq!(super::error("SendMessage", &refused).kind(), ErrorKind::Unfit);
}

/// Promise 10.
#[test]
fn a_request_that_never_left_tells_why() {
    let dispatch = |source: Box<dyn StdError + Send + Sync>| -> Failure {
        SdkError::dispatch_failure(ConnectorError::other(source, None))
    };
    let missing = dispatch(CredentialsError::not_loaded("no providers in chain").into());
    assert_eq!(classify(&missing), ErrorKind::Unfit);
    assert!(error("x", &missing).to_string().contains("AWS_ACCESS_KEY_ID"));

    let silent = dispatch(CredentialsError::provider_error("503 from STS").into());
    assert_eq!(classify(&silent), ErrorKind::Unavailable);
    assert!(error("x", &silent).to_string().contains("no role"));

    let tls = |error: rustls::Error| dispatch(std::io::Error::other(error).into());
    for (error, kind) in [
        (rustls::CertificateError::Expired.into(), ErrorKind::Unfit),
        (
            rustls::Error::AlertReceived(rustls::AlertDescription::InternalError),
            ErrorKind::Unavailable,
        ),
        (rustls::InvalidMessage::InvalidContentType.into(), ErrorKind::Unavailable),
        (rustls::PeerIncompatible::NoCipherSuitesInCommon.into(), ErrorKind::Unavailable),
    ] {
        let failed = tls(error);
        assert_eq!(classify(&failed), kind);
        assert!(super::error("x", &failed).to_string().contains("the server"));
    }

    // A missing parameter is not a missing object.
    let parameter = Error::new(ErrorKind::NotFound, "there is no parameter p");
    let unread = dispatch(CredentialsError::provider_error(parameter).into());
    assert!(own_cause(&unread).is_none());
    assert_eq!(classify(&unread), ErrorKind::Unavailable);
    assert!(error("x", &unread).to_string().contains("no parameter p"));

    let refused: Failure = SdkError::dispatch_failure(ConnectorError::io("refused".into()));
    assert_eq!(classify(&refused), ErrorKind::Unavailable);
    assert!(error("x", &refused).to_string().contains("refused"));

    let region: Failure = SdkError::construction_failure("Invalid Configuration: Missing Region");
    assert_eq!(classify(&region), ErrorKind::Usage);
    let input: Failure = SdkError::construction_failure("input was incomplete");
    assert_eq!(classify(&input), ErrorKind::Invalid);
    assert_eq!(classify(&Failure::timeout_error("30 s")), ErrorKind::Unavailable);
}

#[test]
fn an_answer_that_cannot_be_read_speaks_by_its_status() {
    let unreadable = |status: u16| -> Failure {
        let status = StatusCode::try_from(status).expect("a valid status");
        SdkError::response_error("truncated", HttpResponse::new(status, SdkBody::empty()))
    };
    assert_eq!(classify(&unreadable(200)), ErrorKind::Unavailable);
    assert_eq!(classify(&unreadable(502)), ErrorKind::Unavailable);
    assert_eq!(classify(&unreadable(503)), ErrorKind::Throttled);
    assert_eq!(classify(&unreadable(403)), ErrorKind::Denied);
}

/// Promise 9.
#[tokio::test]
async fn the_sdk_does_not_try_again_by_itself() {
    let config =
        load(Setup { region: Some("eu-central-1"), ..Setup::default() }).await.unwrap().sdk;
    assert_eq!(config.retry_config().map(RetryConfig::max_attempts), Some(1));
    assert_eq!(config.region().map(Region::as_ref), Some("eu-central-1"));
}
