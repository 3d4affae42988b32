//! Credentials, certificates, clocks and connections.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::http::{Answer, Request};
use crate::stage::{RUN, Stage};
use crate::store::{MIB, Object};
use testkit::process::Ended;

const WAYS: [&str; 2] = ["lean", "sdk"];

/// A certificate of the tests; they are good from 2020 to 2120, `expired` to 2021. `authority` has signed
/// `good`, `name` and `expired`; `self` has signed itself, and is marked as an authority.
fn pem(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/field/certificates/{name}"))
}

/// What accepts TLS by such a certificate.
pub fn acceptor(name: &str) -> TlsAcceptor {
    let chain = CertificateDer::pem_file_iter(pem(&format!("{name}.pem"))).unwrap();
    let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_file(pem(&format!("{name}.key"))).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    TlsAcceptor::from(Arc::new(builder.with_single_cert(chain, key).unwrap()))
}

/// Whose key signed, of all requests that were signed; sorted, each once.
fn signers(stage: &Stage) -> Vec<String> {
    scopes(stage, |scope| scope[0].to_owned())
}

fn regions(stage: &Stage) -> Vec<String> {
    scopes(stage, |scope| scope[2].to_owned())
}

/// Key, day, region, service.
fn scopes(stage: &Stage, of: impl Fn(&[&str]) -> String) -> Vec<String> {
    let data = stage.store.data();
    let of_request = |request: &Request| {
        let header = request.header("authorization");
        let scope = header.split_once("Credential=")?.1.split(',').next()?.to_owned();
        Some(of(&scope.split('/').collect::<Vec<_>>()))
    };
    let mut all: Vec<_> = data.log.iter().filter_map(|(request, _)| of_request(request)).collect();
    all.sort();
    all.dedup();
    all
}

async fn staged() -> Stage {
    let stage = Stage::new().await;
    stage.store.put("small", Object::new("hello"));
    stage.store.put("large", Object::new(vec![7; 6 * MIB]));
    stage
}

/// A stage whose sides say this besides the endpoint.
async fn with_sides(lines: &str) -> Stage {
    let mut stage = staged().await;
    let side = format!("Endpoint = {}\n{lines}\n", stage.store.url);
    stage.replace_ini(&format!("[Source]\n{side}[Destination]\n{side}"));
    stage
}

fn profiles(stage: &mut Stage, credentials: &str, config: &str) {
    for (variable, file, text) in [
        ("AWS_SHARED_CREDENTIALS_FILE", "credentials", credentials),
        ("AWS_CONFIG_FILE", "config", config),
    ] {
        stage.write(file, text);
        let file = stage.work().join(file);
        stage.set(variable, file.to_str().unwrap());
    }
}

const TWO: &str = "[one]\naws_access_key_id = AKIDONE\naws_secret_access_key = one\n\
                   [two]\naws_access_key_id = AKIDTWO\naws_secret_access_key = two\n";

/// Promise 9.
#[tokio::test]
async fn a_named_profile_comes_before_the_environments_keys() {
    for way in WAYS {
        let mut stage = with_sides("Region = us-east-1\nProfile = two").await;
        profiles(&mut stage, TWO, "");
        stage.set("Debug_HttpPath", way);
        stage.migrate().await.with_status(0);
        assert_eq!(signers(&stage), ["AKIDTWO"], "{way}");
    }
    // Each side by its own.
    let mut stage = staged().await;
    let url = stage.store.url.clone();
    stage.replace_ini(&format!(
        "[Source]\nEndpoint = {url}\nProfile = one\n[Destination]\nEndpoint = {url}\nProfile = two\n"
    ));
    profiles(&mut stage, TWO, "");
    stage.migrate().await.with_status(0);
    let data = stage.store.data();
    for (request, _) in &data.log {
        let key = if request.bucket == crate::stage::FROM { "AKIDONE" } else { "AKIDTWO" };
        let signed = request.header("authorization");
        assert!(signed.contains(&format!("Credential={key}/")), "{} {signed}", request.target);
    }
}

/// Promise 10.
#[tokio::test]
async fn a_refusal_names_the_key_that_really_signed() {
    let mut stage = with_sides("Profile = two").await;
    profiles(&mut stage, TWO, "");
    stage.store.answer(|_, _| Some(Answer::error(403, "AccessDenied", "no")));
    let ended = stage.migrate().await;
    assert!(ended.all().contains("profile two (key ...DTWO)"), "{}", ended.all());
    let stage = with_sides("Credentials = default").await;
    stage.store.answer(|_, _| Some(Answer::error(403, "AccessDenied", "no")));
    let ended = stage.migrate().await;
    let said = "the default credentials (the environment's AWS_ACCESS_KEY_ID, key ...IELD)";
    assert!(ended.all().contains(said), "{}", ended.all());
}

/// Promise 9.
#[tokio::test]
async fn a_profile_that_is_not_there_or_has_nothing_is_an_error_at_the_start() {
    let refused = async |lines: &str, variable: Option<&str>, words: &[&str]| {
        let mut stage = with_sides(lines).await;
        profiles(&mut stage, TWO, "[profile empty]\nregion = eu-west-1\n");
        if let Some(name) = variable {
            stage.set("AWS_PROFILE", name);
        }
        stage.migrate().await.with_status(2).says(words);
        assert_eq!(stage.store.data().log.len(), 0, "something was asked");
    };
    refused(
        "Profile = tow",
        None,
        &["profile tow is not in", "credentials (there: empty, one, two)", "source"],
    )
    .await;
    refused("Profile = empty", None, &["profile empty", "no credentials", "config"]).await;
    refused(
        "Credentials = default",
        Some("tow"),
        &["profile tow, which AWS_PROFILE names, is not in"],
    )
    .await;
    // Local profiles without a name: the one called default.
    let mut stage = with_sides("").await;
    profiles(&mut stage, TWO, "");
    stage.set("Debug_LocalProfileMode", "True");
    stage.migrate().await.with_status(2).says(&["profile default is not in"]);
}

#[tokio::test]
async fn the_region_of_a_profile_comes_before_the_environments_and_the_inis_before_both() {
    for (lines, expected) in
        [("Profile = two", "eu-west-1"), ("Profile = two\nRegion = eu-north-1", "eu-north-1")]
    {
        let mut stage = with_sides(lines).await;
        profiles(&mut stage, TWO, "[profile two]\nregion = eu-west-1\n");
        stage.set("AWS_REGION", "us-west-2");
        stage.migrate().await.with_status(0);
        assert_eq!(regions(&stage), [expected]);
    }
}

#[tokio::test]
async fn a_profiles_url_is_asked_unless_such_urls_are_to_be_ignored() {
    let mut stage = staged().await;
    let url = stage.store.url.clone();
    let services = format!("[services mine]\ns3 =\n  endpoint_url = {url}\n");
    let config = format!("[profile two]\nservices = mine\n{services}");
    profiles(&mut stage, TWO, &config);
    stage.replace_ini("[Source]\nProfile = two\n[Destination]\nProfile = two\n");
    // A named profile comes before the environment here, too.
    stage.set("AWS_ENDPOINT_URL", "http://127.0.0.1:9");
    stage.migrate().await.with_status(0);
    stage.store.assert_whole();
}

/// Promise 9.
#[tokio::test]
async fn anonymous_requests_are_signed_by_nobody_and_nothing_is_looked_for() {
    for (way, has_keys) in WAYS.into_iter().flat_map(|way| [(way, true), (way, false)]) {
        let mut stage = with_sides("Credentials = anonymous").await;
        stage.set("Debug_HttpPath", way);
        if has_keys {
            stage.set("AWS_SESSION_TOKEN", "token-of-the-environment");
        } else {
            stage.set("AWS_ACCESS_KEY_ID", "");
            stage.set("AWS_SECRET_ACCESS_KEY", "");
        }
        stage.migrate().await.with_status(0);
        stage.store.assert_whole();
        let data = stage.store.data();
        for (request, _) in &data.log {
            let all = format!("{request:?}");
            let signed = ["authorization", "AKIDFIELD", "x-amz-security-token", "X-Amz-Credential"];
            assert!(!signed.iter().any(|word| all.contains(word)), "{way}: {all}");
        }
    }
}

/// A run of both buckets over TLS.
async fn over_tls(certificate: &str, lines: &str, set: &[(&str, String)]) -> (Stage, Ended) {
    let mut stage = staged().await;
    let url = stage.store.behind_tls(certificate).await;
    let side = format!("Endpoint = {url}\nCredentials = default\n{lines}\n");
    stage.replace_ini(&format!("[Source]\n{side}[Destination]\n{side}"));
    set.iter().for_each(|(name, value)| stage.set(name, value));
    let ended = stage.migrate().await;
    (stage, ended)
}

fn named(certificate: &str) -> String {
    format!("CaBundle = {}", pem(certificate).display())
}

/// Promise 9.
#[tokio::test]
async fn an_authority_that_is_named_is_trusted_on_both_ways() {
    let (authority, own) = (named("authority.pem"), named("self.pem"));
    let variable = ("AWS_CA_BUNDLE", pem("authority.pem").display().to_string());
    for way in WAYS {
        let way = ("Debug_HttpPath", way.to_owned());
        for (certificate, lines, variable) in [
            ("good", authority.as_str(), None),
            ("good", "", Some(variable.clone())),
            // One for each side's sake, and one for the other's.
            ("good", own.as_str(), Some(variable.clone())),
            ("self", own.as_str(), None),
        ] {
            let set: Vec<_> = variable.into_iter().chain([way.clone()]).collect();
            let (stage, ended) = over_tls(certificate, lines, &set).await;
            ended.with_status(0);
            stage.store.assert_whole();
        }
    }
}

#[tokio::test]
async fn a_bundle_may_be_long_and_written_on_another_system() {
    let mut stage = staged().await;
    let url = stage.store.behind_tls("good").await;
    let text = |name| std::fs::read_to_string(pem(name)).unwrap();
    let bundle = format!("# ours\n{}\n# theirs\n{}", text("stranger.pem"), text("authority.pem"));
    stage.write("bundle.pem", &bundle.replace('\n', "\r\n"));
    let side = format!("Endpoint = {url}\nProfile = two\n");
    stage.replace_ini(&format!("[Source]\n{side}[Destination]\n{side}"));
    let bundle = stage.work().join("bundle.pem");
    let config = format!("[profile two]\nca_bundle = {}\n", bundle.display());
    profiles(&mut stage, TWO, &config);
    stage.migrate().await.with_status(0);
    stage.store.assert_whole();
}

#[tokio::test]
async fn a_server_that_cannot_be_trusted_is_refused_at_once_with_the_cure() {
    for way in WAYS {
        let way = [("Debug_HttpPath", way.to_owned())];
        for (certificate, bundle, words) in [
            ("good", "stranger.pem", ["name the CA's file", "CaBundle", "AWS_CA_BUNDLE"]),
            ("expired", "authority.pem", ["has expired", "renew", "clock"]),
            ("name", "authority.pem", ["for another name", "Endpoint", "ForcePathStyle"]),
        ] {
            let (stage, ended) = over_tls(certificate, &named(bundle), &way).await;
            let ended = ended.with_status(3);
            for word in words {
                assert!(ended.all().contains(word), "no {word:?}: {}", ended.all());
            }
            assert_eq!(stage.store.data().log.len(), 0);
        }
    }
}

#[tokio::test]
async fn a_server_without_tls_is_told_from_a_line_that_fails() {
    let mut stage = staged().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let side = format!("Endpoint = {url}\nCredentials = default\n");
    stage.replace_ini(&format!("[Source]\n{side}[Destination]\n{side}"));
    let server = async {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ =
                stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
            // Until the other side has read it.
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
    };
    let ended = tokio::select! {
        ended = stage.migrate() => ended.with_status(3),
        () = server => unreachable!("it serves for ever"),
    };
    assert!(ended.all().contains("is Endpoint right (http or https)?"), "{}", ended.all());
}

/// TLS records that end a handshake: alerts (RFC 8446, section 6), one that nobody can read, and what is none.
const BROKEN: [&[u8]; 5] = [
    // internal_error, handshake_failure, bad_record_mac
    &[21, 3, 3, 0, 2, 2, 80],
    &[21, 3, 3, 0, 2, 2, 40],
    &[21, 3, 3, 0, 2, 2, 20],
    &[22, 3, 3, 0, 4, 255, 255, 255, 255],
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
];

// A load balancer that restarts, and a line that bends a record.
#[tokio::test]
async fn tls_that_is_broken_off_is_tried_again() {
    for (way, broken) in WAYS.into_iter().flat_map(|way| BROKEN.map(|broken| (way, broken))) {
        let mut stage = staged().await;
        let url = stage.store.behind_tls("good").await;
        let behind = url.trim_start_matches("https://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let side = format!("Endpoint = {url}\nCredentials = default\n{}\n", named("authority.pem"));
        stage.replace_ini(&format!("[Source]\n{side}[Destination]\n{side}"));
        stage.set("Debug_HttpPath", way);
        let server = async {
            let mut connections = tokio::task::JoinSet::new();
            // The first is of either side.
            for broken in [Some(broken)].into_iter().chain(std::iter::repeat(None)) {
                let (mut stream, _) = listener.accept().await.unwrap();
                let behind = behind.clone();
                connections.spawn(async move {
                    if let Some(broken) = broken {
                        // The ClientHello, so that the line is not reset while it is on its way.
                        let _ = stream.read(&mut [0; 4096]).await;
                        let _ = stream.write_all(broken).await;
                        let _ = stream.shutdown().await;
                        let _ = stream.read_to_end(&mut Vec::new()).await;
                        return;
                    }
                    let mut store = tokio::net::TcpStream::connect(behind).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut stream, &mut store).await;
                });
            }
        };
        let ended = tokio::select! {
            ended = stage.migrate() => ended,
            () = server => unreachable!("it serves for ever"),
        };
        ended.with_status(0);
        stage.store.assert_whole();
    }
}

#[tokio::test]
async fn a_bundle_that_cannot_be_used_is_an_error_of_the_configuration() {
    let key = pem("good.key").display().to_string();
    let folder = pem("").display().to_string();
    for (file, wrong) in [
        ("gone.pem", "does not exist"),
        (key.as_str(), "holds no certificate"),
        (folder.as_str(), "is a folder"),
        ("some.der", "DER"),
    ] {
        let mut stage = with_sides(&format!("CaBundle = {file}")).await;
        std::fs::write(stage.work().join("some.der"), [0x30, 0x82, 1, 2]).unwrap();
        stage.migrate().await.with_status(2);
        let ended = stage.run(&RUN).await;
        for word in ["field.ini:3", "CaBundle", wrong, "PEM"] {
            assert!(ended.stderr.contains(word), "no {word:?}: {}", ended.all());
        }
        stage.replace_ini("");
        stage.set("AWS_CA_BUNDLE", file);
        let ended = stage.migrate().await.with_status(2);
        let words = ["environment variable AWS_CA_BUNDLE", wrong, "PEM"];
        assert!(words.iter().all(|word| ended.stderr.contains(word)), "{}", ended.all());
        assert_eq!(stage.store.data().log.len(), 0);
    }
    let mut stage = with_sides("Profile = two").await;
    profiles(&mut stage, TWO, "[profile two]\nca_bundle = gone.pem\n");
    let ended = stage.migrate().await.with_status(2);
    ended.says(&["ca_bundle of profile two", "gone.pem", "does not exist", "PEM"]);
}

/// The store's time, by which it takes a request's for wrong after 15 minutes, as Amazon S3 does.
fn strict(stage: &Stage, ahead: Duration) {
    stage.store.answer(move |request, _| {
        let said = request.header("x-amz-date");
        // To the hour: the tests' differences are days.
        let hour = |late: u64| {
            let now = SystemTime::now() + ahead - Duration::from_secs(late);
            let digits = humantime::format_rfc3339_seconds(now).to_string();
            digits.replace(['-', ':'], "")[..11].to_owned()
        };
        if [0, 300].into_iter().any(|late| said.starts_with(&hour(late))) {
            return None;
        }
        let mut answer = Answer::error(403, "RequestTimeTooSkewed", "the time is too different");
        answer.set("Date", http_date(SystemTime::now() + ahead));
        if request.method == "HEAD" {
            answer.body.clear();
        }
        Some(answer)
    });
}

fn http_date(time: SystemTime) -> String {
    let time = time::OffsetDateTime::from(time);
    let format = time::format_description::well_known::Rfc2822;
    time.format(&format).unwrap().replace("+0000", "GMT")
}

/// Promise 9.
#[tokio::test]
async fn a_clock_that_is_a_day_behind_is_corrected_on_both_ways() {
    for way in WAYS {
        let mut stage = staged().await;
        stage.set("Debug_HttpPath", way);
        strict(&stage, Duration::from_secs(24 * 3600));
        let ended = stage.migrate().await.with_status(0);
        stage.store.assert_whole();
        assert!(ended.stderr.contains("set the clock"), "{way}: {}", ended.all());
    }
}
