//! What an EC2 instance has around it, on loopback: its metadata service (version 2 only) and its
//! autoscaling group, which records its calls.
//!
//! As AWS documents it
//! (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html>),
//! a PUT returns a token with a time to live, and every read must carry that token. A read without
//! one is refused and fails the test.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// The instance's id.
pub const INSTANCE: &str = "i-0123456789abcdef0";

const TOKEN: &str = "a-token-of-the-test";

/// The surroundings of one instance. Dropping this stops them.
pub struct Surroundings {
    url: String,
    state: Arc<Mutex<State>>,
    server: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    texts: HashMap<String, String>,
    readings: u64,
    without_token: Vec<String>,
    calls: Vec<String>,
    failing: Vec<String>,
    lost: Vec<String>,
    held: Vec<String>,
    /// Calls without an answer yet, each with the number of reads before it.
    waiting: Vec<(u64, u64)>,
}

/// Status and body of an answer.
type Answer = (&'static str, String);

impl Surroundings {
    /// An instance without an interruption notice.
    pub async fn begin() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let state = Arc::new(Mutex::new(State::default()));
        let server = tokio::spawn(serve(listener, Arc::clone(&state)));
        let surroundings = Self { url: format!("http://{address}"), state, server };
        surroundings.say("instance-id", INSTANCE);
        surroundings.say("autoscaling/target-lifecycle-state", "InService");
        surroundings
    }

    /// The URL for `AWS_EC2_METADATA_SERVICE_ENDPOINT` and `AWS_ENDPOINT_URL_AUTO_SCALING`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The environment variables by which a program finds them.
    pub fn environment(&self) -> [(&'static str, &str); 3] {
        [
            ("AWS_EC2_METADATA_DISABLED", "false"),
            ("AWS_EC2_METADATA_SERVICE_ENDPOINT", &self.url),
            ("AWS_ENDPOINT_URL_AUTO_SCALING", &self.url),
        ]
    }

    /// From now on `path`, below `/latest/meta-data/`, returns this.
    pub fn say(&self, path: &str, text: &str) {
        self.lock().texts.insert(path.to_owned(), text.to_owned());
    }

    /// From now on the metadata service has credentials of a role.
    pub fn lend_role(&self, key: &str, secret: &str) {
        let credentials = serde_json::json!({
            "Code": "Success", "Type": "AWS-HMAC", "LastUpdated": "2026-01-01T00:00:00Z",
            "AccessKeyId": key, "SecretAccessKey": secret, "Token": "a-session-token",
            "Expiration": "2126-01-01T00:00:00Z",
        });
        self.say("iam/security-credentials/", "worker");
        self.say("iam/security-credentials/worker", &credentials.to_string());
    }

    /// From now on the metadata service fails for every path with this prefix.
    pub fn fail(&self, path: &str) {
        self.lock().failing.push(path.to_owned());
    }

    /// From now on a call with this parameter (`Name=value`) is carried out, but its answer is lost.
    pub fn lose(&self, parameter: &str) {
        self.lock().lost.push(parameter.to_owned());
    }

    /// From now on a call with this parameter (`Name=value`) is never answered.
    pub fn hold(&self, parameter: &str) {
        self.lock().held.push(parameter.to_owned());
    }

    /// The number of reads since the oldest call that still waits for its answer; 0 if none does.
    pub fn readings_while_held(&self) -> u64 {
        let state = self.lock();
        state.waiting.iter().map(|(_, before)| state.readings - before).max().unwrap_or(0)
    }

    /// The number of reads.
    pub fn readings(&self) -> u64 {
        self.lock().readings
    }

    /// The calls of the autoscaling group: each with its parameters, in any order.
    pub fn calls(&self) -> Vec<String> {
        self.lock().calls.clone()
    }

    /// The number of these calls that had all these parameters.
    pub fn called(&self, action: &str, parameters: &[(&str, &str)]) -> usize {
        let has = |call: &str, name: &str, value: &str| {
            call.split('&').any(|pair| pair == format!("{name}={value}"))
        };
        let calls = self.calls().into_iter().filter(|call| has(call, "Action", action));
        calls.filter(|call| parameters.iter().all(|(name, value)| has(call, name, value))).count()
    }

    /// Each change of the instance's scale-in protection: whether it was protected.
    pub fn protections(&self) -> Vec<bool> {
        let calls = self.calls().into_iter();
        let calls = calls.filter(|call| call.contains("Action=SetInstanceProtection"));
        calls.map(|call| call.contains("ProtectedFromScaleIn=true")).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Surroundings {
    fn drop(&mut self) {
        self.server.abort();
        let without_token = std::mem::take(&mut self.lock().without_token);
        if !std::thread::panicking() {
            assert!(without_token.is_empty(), "read without a token: {without_token:?}");
        }
    }
}

async fn serve(listener: TcpListener, state: Arc<Mutex<State>>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        connections.spawn(connection(client, Arc::clone(&state)));
    }
}

/// Serves one request.
async fn connection(mut client: TcpStream, shared: Arc<Mutex<State>>) -> std::io::Result<()> {
    let mut request = Vec::new();
    let head = loop {
        if let Some(end) = request.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break String::from_utf8_lossy(&request[..end]).into_owned();
        }
        if client.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    };
    let header = |name: &str| {
        let lines = head.lines().filter_map(|line| line.split_once(':'));
        let mut found = lines.filter(|(key, _)| key.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.trim().to_owned())
    };
    let length: usize = header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    while request.len() < head.len() + 4 + length {
        if client.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    let body = String::from_utf8_lossy(&request[head.len() + 4..]).into_owned();
    let mut first = head.lines().next().unwrap_or_default().split(' ');
    let (method, path) = (first.next().unwrap_or_default(), first.next().unwrap_or_default());
    let answer = {
        let mut state = lock(&shared);
        match method {
            "PUT" if path == "/latest/api/token" => {
                Some(token(header("x-aws-ec2-metadata-token-ttl-seconds")))
            }
            "POST" => state.call(body),
            _ => Some(state.read(path, header("x-aws-ec2-metadata-token").as_deref())),
        }
    };
    let Some((status, text)) = answer else { return wait(client, &shared).await };
    let answer = format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\nx-aws-ec2-metadata-token-ttl-seconds: 21600\r\n\
         Content-Type: text/plain\r\nContent-Length: {}\r\n\r\n{text}",
        text.len()
    );
    client.write_all(answer.as_bytes()).await
}

/// Sends no answer, until the client gives up.
async fn wait(mut client: TcpStream, shared: &Mutex<State>) -> std::io::Result<()> {
    let number = lock(shared).begin_waiting();
    let mut rest = Vec::new();
    let gone = client.read_to_end(&mut rest).await;
    lock(shared).waiting.retain(|(waiting, _)| *waiting != number);
    gone.map(drop)
}

fn token(time_to_live: Option<String>) -> Answer {
    match time_to_live.and_then(|text| text.parse::<u32>().ok()) {
        Some(1..=21_600) => ("200 OK", TOKEN.to_owned()),
        _ => ("400 Bad Request", String::new()),
    }
}

impl State {
    fn read(&mut self, path: &str, token: Option<&str>) -> Answer {
        self.readings += 1;
        if token != Some(TOKEN) {
            self.without_token.push(path.to_owned());
            return ("401 Unauthorized", String::new());
        }
        let path = path.strip_prefix("/latest/meta-data/");
        if path.is_some_and(|path| self.failing.iter().any(|failing| path.starts_with(failing))) {
            return ("500 Internal Server Error", String::new());
        }
        let text = path.and_then(|path| self.texts.get(path));
        text.map_or(("404 Not Found", String::new()), |text| ("200 OK", text.clone()))
    }

    fn begin_waiting(&mut self) -> u64 {
        let number = self.calls.len() as u64;
        self.waiting.push((number, self.readings));
        number
    }

    /// `None`: the call gets no answer.
    fn call(&mut self, form: String) -> Option<Answer> {
        let has = |parameters: &[String]| {
            form.split('&').any(|pair| parameters.iter().any(|parameter| pair == parameter))
        };
        let (is_lost, is_held) = (has(&self.lost), has(&self.held));
        let pairs = form.split('&').filter_map(|pair| pair.split_once('='));
        let action = pairs.clone().find(|(name, _)| *name == "Action");
        let action = action.map(|(_, action)| action.to_owned()).unwrap_or_default();
        self.calls.push(form);
        if is_held {
            return None;
        }
        if is_lost {
            return Some(("500 Internal Server Error", String::new()));
        }
        let answer = format!(
            "<{action}Response xmlns=\"http://autoscaling.amazonaws.com/doc/2011-01-01/\">\
             <{action}Result/><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata>\
             </{action}Response>"
        );
        Some(("200 OK", answer))
    }
}
