//! A local stand-in for AWS that we did not write: ministack. The tests install and start it.
//!
//! It is installed once, into a virtual environment in the build folder or in
//! `S3_MIGRATION_TEST_CACHE`. It keeps everything in memory, listens on loopback only, and ends
//! with the test binary, however that ends. Tests are never skipped: without Python they fail and
//! say so.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;

use crate::python::{cache, python_with};

/// Pinned, because the tests know how this version differs from AWS.
const VERSION: &str = "1.5.33";

/// It starts in about a second; this is enough even on a machine under load.
const START_LIMIT: Duration = Duration::from_secs(90);

/// The pause between health checks.
const HEALTH_POLL: Duration = Duration::from_millis(50);

/// The region of all tests, which is ministack's default.
pub const REGION: &str = "us-east-1";

/// The first of two separate accounts: ministack takes a 12-digit access key as the account's
/// number.
pub const ACCOUNT_A: &str = "111111111111";
/// The second account.
pub const ACCOUNT_B: &str = "222222222222";

/// Starts ministack with corrections, and ends it when the pipe to it closes. The system closes the
/// pipe however the test binary ends; statics are never dropped, and a killed process drops nothing.
///
/// ministack answers a request for a range of an old version with the whole object. Amazon S3
/// returns the range, and workers read the parts of a version that way
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html>).
///
/// Its CloudFormation refuses alarms on metric math, which AWS supports. They are created without
/// their metrics, so that stacks with such alarms can be created; no test looks at these alarms.
///
/// It checks a permission named after the call. AWS checks others: a batch needs the permission of
/// the single call
/// (<https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-api-permissions-reference.html>),
/// a PartiQL statement that of what it does, on the table that it names
/// (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ql-iam.html>), and tags and ACLs
/// in a write their own
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html>).
///
/// It listens without TLS; policies that require TLS are evaluated as if it had it.
const BOOTSTRAP: &str = "
import os, shutil, sys, threading
def watch():
    sys.stdin.buffer.read()
    shutil.rmtree(os.environ['TMPDIR'], ignore_errors=True)
    os._exit(0)
threading.Thread(target=watch, daemon=True).start()
from ministack.app import main
from ministack.services import s3
whole = s3._get_object
def ranged(bucket, key, headers, query=None):
    answer = whole(bucket, key, headers, query)
    asked = headers.get('range') if query and query.get('versionId') else None
    if answer[0] != 200 or not asked:
        return answer
    _, fields, body = answer
    part = s3._parse_range(asked, len(body))
    if part is None:
        return s3._error('InvalidRange', 'not satisfiable', 416, f'/{bucket}/{key}')
    fields['Content-Range'] = f'bytes {part[0]}-{part[1]}/{len(body)}'
    body = body[part[0]:part[1] + 1]
    for name in fields:
        if name.lower() == 'content-length':
            fields[name] = str(len(body))
    return 206, fields, body
s3._get_object = ranged
from ministack.services.cloudformation import provisioners
plain_alarm = provisioners._cw_metric_alarm_record
def alarm(name, props):
    if props.get('Metrics'):
        props = {**props, 'MetricName': 'math', 'Namespace': 'math'}
        del props['Metrics']
    return plain_alarm(name, props)
provisioners._cw_metric_alarm_record = alarm
from ministack.core import iam_actions
by_call = iam_actions.extract_iam_action
def permission(service, method, path, headers, body, query):
    named = by_call(service, method, path, headers, body, query)
    if service == 'sqs' and named and named.endswith('Batch'):
        return named[:-len('Batch')]
    if named in ('dynamodb:ExecuteStatement', 'dynamodb:BatchExecuteStatement'):
        for verb in ('INSERT', 'UPDATE', 'DELETE', 'SELECT'):
            if verb.encode() in body.upper():
                return 'dynamodb:PartiQL' + verb.capitalize()
    return named
iam_actions.extract_iam_action = permission
import json
by_table = iam_actions.dynamodb_resource_arns
def tables(body, region, account):
    data = json.loads(body or b'{}')
    texts = [data.get('Statement')] + [each.get('Statement') for each in data.get('Statements', [])]
    names = {text.split(chr(34))[1] for text in texts if text and chr(34) in text}
    if not names:
        return by_table(body, region, account)
    return [f'arn:aws:dynamodb:{region}:{account}:table/{name}' for name in names]
iam_actions.dynamodb_resource_arns = tables
by_source = iam_actions.s3_additional_checks
def further(method, path, headers, body, query):
    checks = by_source(method, path, headers, body, query)
    bucket = path.strip('/').split('/')
    for header, action in (('x-amz-tagging', 's3:PutObjectTagging'), ('x-amz-acl', 's3:PutObjectAcl')):
        if len(bucket) > 1 and headers.get(header):
            checks.append((action, 'arn:aws:s3:::' + '/'.join(bucket)))
    return checks
iam_actions.s3_additional_checks = further
from ministack.core import iam_evaluator
iam_evaluator.EvalContext.secure_transport = property(lambda self: True, lambda self, plain: None)
if os.environ.get('FUNCTIONS') == 'true':
    at = os.environ['BIND_HOST'] + ':' + os.environ['GATEWAY_PORT']
    os.environ['AWS_ENDPOINT_URL'] = 'http://' + at
    plain_source = provisioners._lambda_esm_create
    def source(name, props, stack):
        scaling = {key: int(value) for key, value in props.get('ScalingConfig', {}).items()}
        return plain_source(name, {**props, 'ScalingConfig': scaling}, stack)
    provisioners._RESOURCE_HANDLERS['AWS::Lambda::EventSourceMapping']['create'] = source
main()
";

/// A running server. Dropping it stops it.
#[derive(Debug)]
pub struct Ministack {
    child: Child,
    address: SocketAddr,
}

impl Ministack {
    /// The server that all tests of this binary share, without authorization. Tests stay apart by
    /// using [`unique`] names.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Ministack> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(&[]))
    }

    /// A separate server; with `("AUTH", "true")`, for example, it enforces signatures and IAM.
    pub fn start(settings: &[(&str, &str)]) -> Self {
        let python = python_with("ministack", VERSION, "import ministack.app");
        let mut last = String::new();
        // Another process may take a free port before it is used.
        for _ in 0..5 {
            match launch(&python, settings) {
                Ok(server) => return server,
                Err(why) => last = why,
            }
        }
        panic!("ministack {VERSION} did not start: {last}");
    }

    /// The endpoint of every service.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The configuration of SDK clients that act as `account`.
    pub fn sdk_config(&self, account: &str) -> SdkConfig {
        self.sdk_config_with(account, "test")
    }

    /// The configuration of SDK clients with this access key.
    pub fn sdk_config_with(&self, key: &str, secret: &str) -> SdkConfig {
        let credentials = Credentials::new(key, secret, None, None, "tests");
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(REGION))
            .endpoint_url(self.endpoint())
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .retry_config(aws_config::retry::RetryConfig::disabled())
            .build()
    }

    /// The environment variables with which the real binary acts as `account`.
    pub fn environment(&self, account: &str) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT_URL", self.endpoint()),
            ("AWS_ACCESS_KEY_ID", account.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
            ("AWS_REGION", REGION.to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ]
    }
}

impl Drop for Ministack {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// A name that no other test uses.
pub fn unique(prefix: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{prefix}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

fn launch(python: &Path, settings: &[(&str, &str)]) -> Result<Ministack, String> {
    let run = cache().join(unique("run"));
    fs::create_dir_all(&run).map_err(|e| format!("{}: {e}", run.display()))?;
    let log_path = run.join("log");
    let log = File::create(&log_path).map_err(|e| format!("{}: {e}", log_path.display()))?;
    let address = free_address();
    let child = Command::new(python)
        .args(["-c", BOOTSTRAP])
        .env_remove("AWS_ACCESS_KEY_ID")
        .env_remove("AWS_SECRET_ACCESS_KEY")
        .env_remove("AWS_SESSION_TOKEN")
        .env("BIND_HOST", address.ip().to_string())
        .env("GATEWAY_PORT", address.port().to_string())
        .env("PERSIST_STATE", "0")
        .env("S3_PERSIST", "0")
        .env("STATE_DIR", run.join("state"))
        .env("S3_DATA_DIR", run.join("s3"))
        // They would listen on fixed ports.
        .env("SFTP_ENABLED", "0")
        .env("IOT_MTLS_ENABLED", "0")
        .env("LOG_LEVEL", "WARNING")
        .env("TMPDIR", &run)
        .envs(settings.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .map_err(|e| format!("{}: {e}", python.display()))?;
    let mut server = Ministack { child, address };
    let started = Instant::now();
    while !healthy(address) {
        let ended = server.child.try_wait().map_err(|e| e.to_string())?;
        if ended.is_some() || started.elapsed() > START_LIMIT {
            let log = fs::read_to_string(&log_path).unwrap_or_default();
            return Err(format!("ended as {ended:?}, its log: {log}"));
        }
        thread::sleep(HEALTH_POLL);
    }
    Ok(server)
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port on loopback");
    listener.local_addr().expect("a bound socket has an address")
}

fn healthy(address: SocketAddr) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(
            b"GET /_ministack/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        )?;
        let mut start = [0; 12];
        stream.read_exact(&mut start)?;
        Ok(start.ends_with(b" 200"))
    };
    ask().unwrap_or(false)
}
