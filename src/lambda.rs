//! The binary as a function of AWS Lambda: serves invocations instead of a command line.
//!
//! Lambda starts a custom runtime's `bootstrap` with the address of its Runtime API in the
//! environment; the function's handler chooses what it is. Between two invocations the process is
//! frozen, so nothing here relies on running then.

use std::sync::Arc;
use std::time::Duration;

use lambda_runtime::{Context, Diagnostic, LambdaEvent, Runtime, service_fn};
use serde_json::Value;
use tracing::{Instrument, error, warn};

use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};
use crate::logging::{self, scope};

mod batch;
mod checkpoint;
mod clock;
mod jobsender;
mod kept;
mod queue;
mod worker;

use jobsender::JobsenderFunction;
use worker::WorkerFunction;

/// Set by Lambda for custom runtimes
/// (<https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>).
const RUNTIME_API: &str = "AWS_LAMBDA_RUNTIME_API";
/// The handler of the function's configuration.
const HANDLER: &str = "_HANDLER";

/// Whether this process was started by Lambda.
pub fn is_called() -> bool {
    std::env::var_os(RUNTIME_API).is_some_and(|address| !address.is_empty())
}

/// What the function is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Handler {
    /// Compares and sends.
    Jobsender,
    /// Takes batches of messages from a queue.
    Worker,
}

impl Handler {
    fn named(name: &str) -> Result<Self> {
        match name {
            "jobsender" => Ok(Self::Jobsender),
            "worker" => Ok(Self::Worker),
            other => Err(Error::usage(format!(
                "the function's handler is {other:?}; allowed: jobsender, worker"
            ))),
        }
    }
}

/// Serves invocations on `tokio` until Lambda ends the process.
///
/// This is no async function, so that the library holds the code of all that it calls: the binary
/// would otherwise compile most of it a second time.
pub fn serve_on(tokio: &tokio::runtime::Runtime) -> Result<()> {
    let handler = Handler::named(&std::env::var(HANDLER).unwrap_or_default())?;
    let (config, notices) = Config::load_in_function(std::env::vars_os())?;
    logging::start(&config.debug)?;
    notices.iter().for_each(|notice| warn!("{notice}"));
    tokio.block_on(serve(handler, config))
}

async fn serve(handler: Handler, config: Config) -> Result<()> {
    let function = Arc::new(match handler {
        Handler::Jobsender => Function::Jobsender(Box::new(JobsenderFunction::new(config)?)),
        Handler::Worker => Function::Worker(Box::new(WorkerFunction::new(config))),
    });
    let invoke = service_fn(move |event: LambdaEvent<Value>| {
        let function = Arc::clone(&function);
        async move {
            let request = scope::of_request(&event.context.request_id);
            let left = time_left(&event.context);
            let ended = function.invoke(event.payload, left).instrument(request.clone()).await;
            ended.map_err(|error| request.in_scope(|| diagnostic(&error)))
        }
    });
    let ended = Runtime::new(invoke).run().await;
    ended.map_err(|error| {
        Error::new(ErrorKind::Unavailable, format!("Lambda's Runtime API: {error}"))
    })
}

/// The function with all that it keeps.
enum Function {
    Jobsender(Box<JobsenderFunction>),
    Worker(Box<WorkerFunction>),
}

impl Function {
    async fn invoke(&self, event: Value, left: Duration) -> Result<Value> {
        match self {
            Self::Jobsender(jobsender) => jobsender.invoke(&event, left).await,
            Self::Worker(worker) => {
                let answer = worker.invoke(event, left).await?;
                serde_json::to_value(answer).map_err(|e| Error::invalid(e.to_string()))
            }
        }
    }
}

/// How long this invocation may take. Lambda gives the deadline by the clock of the day.
fn time_left(context: &Context) -> Duration {
    context.deadline().duration_since(std::time::SystemTime::now()).unwrap_or_default()
}

/// What Lambda records of a failed invocation.
fn diagnostic(error: &Error) -> Diagnostic {
    error!("the invocation failed: {error}");
    Diagnostic {
        error_type: format!("S3Migration.{:?}", error.kind()),
        error_message: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_handler_is_told_what_is_allowed() {
        assert_eq!(Handler::named("worker").unwrap(), Handler::Worker);
        for wrong in ["", "lambda_function_worker.lambda_handler", "Worker"] {
            let error = Handler::named(wrong).unwrap_err().to_string();
            assert!(error.contains("allowed: jobsender, worker"), "{error}");
        }
    }
}
