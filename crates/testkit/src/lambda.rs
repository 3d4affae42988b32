//! Lambda around the binary: a Runtime API of our own, on loopback, that gives invocations with their
//! deadlines, kills a function that outlives one, and freezes it between two; and the poller that
//! brings a queue's messages to it.
//!
//! Both are as AWS documents them
//! (<https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>,
//! <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html>).

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::ministack::{REGION, unique};
use crate::process::signal;
use crate::stage::{PATIENCE, Stage, Worker};

/// The longest time of a function.
pub const LONGEST: Duration = Duration::from_secs(900);

/// How an invocation ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Invoked {
    /// The function's answer.
    Answer(Value),
    /// The error that it reported.
    Error(Value),
    /// It was killed at its deadline.
    Killed,
    /// The process ended by itself.
    Ended(Option<i32>),
}

impl Invoked {
    /// The answer of an invocation that succeeded.
    #[track_caller]
    pub fn answer(self) -> Value {
        match self {
            Self::Answer(answer) => answer,
            other => panic!("no answer: {other:?}"),
        }
    }

    /// The ids that a batch's answer names.
    #[track_caller]
    pub fn failures(self) -> Vec<String> {
        let answer = self.answer();
        let failures = answer["batchItemFailures"].as_array().cloned();
        let failures = failures.unwrap_or_else(|| panic!("no answer to a batch: {answer}"));
        let id = |failure: &Value| failure["itemIdentifier"].as_str().map(str::to_owned);
        failures.iter().map(|failure| id(failure).expect("an id")).collect()
    }
}

struct Waiting {
    id: String,
    event: String,
    deadline: SystemTime,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Waiting>,
    answers: BTreeMap<String, oneshot::Sender<Invoked>>,
}

struct Api {
    state: Mutex<State>,
    new: Notify,
    /// How often the next invocation was asked for.
    asked: watch::Sender<u64>,
}

impl Api {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn next(&self) -> Waiting {
        self.asked.send_modify(|asked| *asked += 1);
        loop {
            let new = self.new.notified();
            if let Some(waiting) = self.lock().waiting.pop_front() {
                return waiting;
            }
            new.await;
        }
    }

    async fn serve(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path().trim_start_matches("/2018-06-01/runtime/").to_owned();
        if path == "invocation/next" {
            return invocation(self.next().await);
        }
        let body = request.into_body().collect().await.map(|body| body.to_bytes());
        let body = serde_json::from_slice(&body.unwrap_or_default()).unwrap_or_default();
        let mut state = self.lock();
        match path.split('/').collect::<Vec<_>>()[..] {
            ["invocation", id, kind @ ("response" | "error")] => {
                let ended = match kind {
                    "response" => Invoked::Answer(body),
                    _ => Invoked::Error(body),
                };
                if let Some(answer) = state.answers.remove(id) {
                    let _ = answer.send(ended);
                }
            }
            _ => panic!("no such call: {path}"),
        }
        response(StatusCode::ACCEPTED, Bytes::from_static(b"{\"status\":\"OK\"}"))
    }
}

fn response(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response
}

fn invocation(Waiting { id, event, deadline }: Waiting) -> Response<Full<Bytes>> {
    let since = deadline.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    let mut response = response(StatusCode::OK, event.into());
    let arn = format!("arn:aws:lambda:{REGION}:111111111111:function:tested");
    for (name, value) in [
        ("lambda-runtime-aws-request-id", id),
        ("lambda-runtime-deadline-ms", since.as_millis().to_string()),
        ("lambda-runtime-invoked-function-arn", arn),
        ("lambda-runtime-trace-id", "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700".to_owned()),
    ] {
        response.headers_mut().insert(name, value.parse().expect("a header"));
    }
    response
}

/// A function: the binary and the Runtime API that it serves. Dropping it kills the process.
pub struct Function {
    api: Arc<Api>,
    server: JoinHandle<()>,
    process: tokio::sync::Mutex<Worker>,
    id: u32,
}

impl Drop for Function {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Function {
    /// Starts `program` as a function with this handler.
    pub async fn start(mut program: Command, handler: &str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (state, new, asked) = (Mutex::default(), Notify::new(), watch::Sender::new(0));
        let api = Arc::new(Api { state, new, asked });
        let server = tokio::spawn(serve(listener, Arc::clone(&api)));
        program.envs(environment(address, handler));
        let process = Worker::start(program);
        let id = process.id();
        Self { api, server, process: tokio::sync::Mutex::new(process), id }
    }

    /// Invokes it, and kills it if it has not answered by the deadline.
    pub async fn invoke(&self, event: &Value, within: Duration) -> Invoked {
        let (id, (answer, answered)) = (unique("request"), oneshot::channel());
        let deadline = SystemTime::now() + within;
        {
            let mut state = self.api.lock();
            state.waiting.push_back(Waiting { id: id.clone(), event: event.to_string(), deadline });
            state.answers.insert(id, answer);
        }
        self.api.new.notify_one();
        let mut process = self.process.lock().await;
        tokio::select! {
            biased;
            answered = answered => answered.expect("the function's answer"),
            ended = process.ended() => Invoked::Ended(ended.code()),
            () = tokio::time::sleep(within) => {
                process.kill().await;
                Invoked::Killed
            }
        }
    }

    /// Waits until it has asked for its invocation number `count`, from 1.
    pub async fn until_asked(&self, count: u64) {
        let mut asked = self.api.asked.subscribe();
        let waited = tokio::time::timeout(PATIENCE, asked.wait_for(|asked| *asked >= count)).await;
        assert!(waited.is_ok(), "the function does not ask for invocation {count}");
    }

    /// Stops the process, as Lambda does between two invocations.
    pub fn freeze(&self) {
        signal("STOP", &self.id.to_string());
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        signal("CONT", &self.id.to_string());
    }

    /// Ends it without notice, as Lambda may at any time.
    pub fn strike(&self) {
        signal("KILL", &self.id.to_string());
    }

    /// Waits until the process ends by itself; returns its exit status and its log.
    pub async fn ended(&self) -> (Option<i32>, String) {
        let mut process = self.process.lock().await;
        let ended = process.ended().await;
        (ended.code(), process.log())
    }

    /// Everything logged so far. Not while it is invoked.
    pub async fn log(&self) -> String {
        self.process.lock().await.log()
    }
}

/// What Lambda sets
/// (<https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html>).
fn environment(api: SocketAddr, handler: &str) -> [(&'static str, String); 8] {
    let stream = format!("2026/01/01/[$LATEST]{}", unique("stream").replace('-', "0"));
    [
        ("AWS_LAMBDA_RUNTIME_API", api.to_string()),
        ("_HANDLER", handler.to_owned()),
        ("AWS_LAMBDA_FUNCTION_NAME", "tested".to_owned()),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".to_owned()),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "1024".to_owned()),
        ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/tested".to_owned()),
        ("AWS_LAMBDA_LOG_STREAM_NAME", stream),
        ("TZ", ":UTC".to_owned()),
    ]
}

async fn serve(listener: TcpListener, api: Arc<Api>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let api = Arc::clone(&api);
        connections.spawn(async move {
            let service = service_fn(move |request| {
                let api = Arc::clone(&api);
                async move { Ok::<_, std::convert::Infallible>(api.serve(request).await) }
            });
            let io = TokioIo::new(stream);
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(io, service).await;
        });
    }
}

/// A message that the poller has received.
#[derive(Clone, Debug)]
pub struct Polled {
    /// Its id.
    pub id: String,
    /// The receipt's handle.
    pub handle: String,
    /// How often it has been received.
    pub receives: u32,
    record: Value,
}

impl Stage {
    /// A function of account A, set up by its environment alone, as the original's are.
    pub async fn function(&self, handler: &str, settings: &[(&str, &str)]) -> Function {
        let mut program = crate::stage::program(&[]);
        program.envs(self.server.environment(crate::ministack::ACCOUNT_A));
        program.envs(self.function_environment()).current_dir(self.empty_folder());
        program.envs(settings.iter().copied());
        Function::start(program, handler).await
    }

    /// Receives up to `most` messages as Lambda's poller does: hidden for the longest time of a
    /// function.
    pub async fn poll(&self, most: i32) -> Vec<Polled> {
        let client = aws_sdk_sqs::Client::new(&self.a);
        let receive = client.receive_message().queue_url(&self.queues.url);
        let receive = receive.max_number_of_messages(most).visibility_timeout(900);
        let receive = receive.wait_time_seconds(1);
        let receive = receive
            .message_system_attribute_names(aws_sdk_sqs::types::MessageSystemAttributeName::All);
        let answer = receive.send().await.expect("ReceiveMessage");
        let arn = format!("arn:aws:sqs:{REGION}:111111111111:{}", self.queues.name);
        let polled = |message: aws_sdk_sqs::types::Message| {
            let attributes = message.attributes.unwrap_or_default();
            let attributes: BTreeMap<String, String> =
                attributes.into_iter().map(|(name, value)| (name.to_string(), value)).collect();
            let receives = attributes["ApproximateReceiveCount"].parse().expect("a count");
            let id = message.message_id.expect("an id");
            let handle = message.receipt_handle.expect("a handle");
            let record = json!({
                "messageId": id, "receiptHandle": handle, "body": message.body,
                "attributes": attributes, "messageAttributes": {}, "eventSource": "aws:sqs",
                "eventSourceARN": arn, "awsRegion": REGION,
            });
            Polled { id, handle, receives, record }
        };
        answer.messages.unwrap_or_default().into_iter().map(polled).collect()
    }

    /// Polls until there are messages.
    pub async fn polled(&self, most: i32) -> Vec<Polled> {
        crate::stage::until("messages can be received", async || {
            let polled = self.poll(most).await;
            (!polled.is_empty()).then_some(polled)
        })
        .await
    }

    /// Invokes the worker function with these messages, and deletes those that its answer does not
    /// name; if it fails, none.
    pub async fn bring(
        &self,
        function: &Function,
        messages: &[Polled],
        within: Duration,
    ) -> Invoked {
        let invoked = function.invoke(&event(messages), within).await;
        if matches!(invoked, Invoked::Answer(_)) {
            let failures = invoked.clone().failures();
            let client = aws_sdk_sqs::Client::new(&self.a);
            for message in messages.iter().filter(|message| !failures.contains(&message.id)) {
                let delete = client.delete_message().queue_url(&self.queues.url);
                // It may be gone already.
                let _ = delete.receipt_handle(&message.handle).send().await;
            }
        }
        invoked
    }
}

/// The event that brings these messages.
pub fn event(messages: &[Polled]) -> Value {
    json!({"Records": messages.iter().map(|message| &message.record).collect::<Vec<_>>()})
}
