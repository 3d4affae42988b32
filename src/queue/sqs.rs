//! Amazon SQS as the queue of jobs.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::retry::RetryConfig;
use aws_sdk_sqs::types::{MessageAttributeValue, MessageSystemAttributeName, QueueAttributeName};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use tokio::sync::Mutex;

use super::{Depth, LONGEST_KEPT, MAX_BATCH, Message, Queue, Receipt};
use crate::aws;
use crate::error::{Error, ErrorKind, Result};

mod batch;
mod examine;
mod lease_clock;
mod letters;
mod send;

use lease_clock::{LeaseClock, whole_seconds};

/// The longest poll SQS allows
/// (<https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ReceiveMessage.html>).
const LONGEST_POLL: Duration = Duration::from_secs(20);

/// An answer must begin within this time: the service answers within milliseconds, and waiting for
/// a lost answer must not use up a lease.
const READ_TIMEOUT: Duration = Duration::from_secs(15);

/// The same for a long poll, whose answer may take 20 s by design.
const POLL_TIMEOUT: Duration = Duration::from_secs(35);

/// A reason is cut to this many bytes, so that it fits next to the body.
const MAX_REASON: usize = 1024;

/// The message attribute that carries why a message is in the dead letter queue.
const REASON: &str = "reason";

/// A queue on Amazon SQS. It retries no call itself (see `crate::retry`), except for the refused
/// entries of a batch, which only the batch's answer names.
#[derive(Debug)]
pub struct SqsQueue {
    client: Client,
    /// Name or URL as configured, for messages.
    name: String,
    url: String,
    max_bytes: usize,
    max_receives: Option<u32>,
    clock: LeaseClock,
    /// The dead letter queue's ARN and URL as last looked up.
    dead: Mutex<Option<(String, String)>>,
}

impl SqsQueue {
    /// Finds the queue by its name or URL and reads its limits.
    pub async fn connect(config: &SdkConfig, name_or_url: &str) -> Result<Self> {
        if name_or_url.ends_with(".fifo") {
            return Err(Error::usage(format!(
                "sqs_queue_name {name_or_url}: a FIFO queue cannot be used, create a standard queue"
            )));
        }
        let client = Client::from_conf(
            aws_sdk_sqs::config::Builder::from(config)
                .retry_config(RetryConfig::disabled())
                .timeout_config(aws::timeouts(Some(READ_TIMEOUT)))
                .build(),
        );
        let url = match name_or_url.contains("://") {
            true => name_or_url.to_owned(),
            false => queue_url(&client, name_or_url, None).await?,
        };
        let mut queue = Self {
            client,
            name: name_or_url.to_owned(),
            url,
            max_bytes: batch::DEFAULT_MAX_BYTES,
            max_receives: None,
            clock: LeaseClock::since(Instant::now()),
            dead: Mutex::new(None),
        };
        let wanted = [QueueAttributeName::MaximumMessageSize, QueueAttributeName::RedrivePolicy];
        let attributes = queue.attributes(&queue.url, &wanted).await?;
        queue.max_receives = max_receives(&attributes);
        if let Some(bytes) = number(&attributes, &QueueAttributeName::MaximumMessageSize) {
            queue.max_bytes = usize::try_from(bytes).unwrap_or(batch::DEFAULT_MAX_BYTES);
        }
        Ok(queue)
    }

    /// The receipt of a message that somebody else has received for this process at about `asked`:
    /// Lambda's poller.
    pub fn receipt(&self, handle: &str, asked: Instant) -> Receipt {
        self.clock.receipt(handle, asked)
    }

    /// The handle that SQS gave for this receipt.
    pub fn handle(receipt: &Receipt) -> &str {
        LeaseClock::handle(receipt)
    }

    async fn attributes(&self, url: &str, names: &[QueueAttributeName]) -> Result<Attributes> {
        let answer = self
            .client
            .get_queue_attributes()
            .queue_url(url)
            .set_attribute_names(Some(names.to_vec()))
            .send()
            .await
            .map_err(|e| self.error("GetQueueAttributes", &e))?;
        Ok(answer.attributes.unwrap_or_default())
    }

    /// The URL of the dead letter queue that the redrive policy among `attributes` names.
    async fn dead_letter_url(&self, attributes: &Attributes) -> Result<Option<String>> {
        let Some(policy) = attributes.get(&QueueAttributeName::RedrivePolicy) else {
            return Ok(None);
        };
        let policy: serde_json::Value = serde_json::from_str(policy).map_err(|e| {
            Error::invalid(format!("the redrive policy of queue {} is not JSON: {e}", self.name))
        })?;
        let Some(arn) = policy["deadLetterTargetArn"].as_str() else { return Ok(None) };
        let mut known = self.dead.lock().await;
        if let Some((known_arn, url)) = known.as_ref()
            && known_arn == arn
        {
            return Ok(Some(url.clone()));
        }
        // arn:partition:sqs:region:account:name
        let mut fields = arn.rsplitn(3, ':');
        let (name, account) = (fields.next().unwrap_or_default(), fields.next());
        let url = queue_url(&self.client, name, account).await?;
        *known = Some((arn.to_owned(), url.clone()));
        Ok(Some(url))
    }

    async fn change_visibility(&self, receipt: &Receipt, seconds: i32) -> Result<()> {
        self.client
            .change_message_visibility()
            .queue_url(&self.url)
            .receipt_handle(LeaseClock::handle(receipt))
            .visibility_timeout(seconds)
            .send()
            .await
            .map_err(|e| self.receipt_error("ChangeMessageVisibility", &e))?;
        Ok(())
    }

    /// One poll. The lease counts from before the request was sent, since nothing says when during
    /// the poll the message was taken.
    async fn poll(&self, max: i32, wait: Duration, visibility: i32) -> Result<Vec<Message>> {
        let asked = Instant::now();
        let patient =
            aws_sdk_sqs::config::Builder::new().timeout_config(aws::timeouts(Some(POLL_TIMEOUT)));
        let answer = self
            .client
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(max)
            .wait_time_seconds(whole_seconds(wait))
            .visibility_timeout(visibility)
            .message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount)
            .customize()
            .config_override(patient)
            .send()
            .await
            .map_err(|e| self.error("ReceiveMessage", &e))?;
        let deadline = asked + Duration::from_secs(visibility.unsigned_abs().into());
        let messages = answer.messages.unwrap_or_default().into_iter();
        Ok(messages.filter_map(|raw| self.message(raw, asked, deadline)).collect())
    }

    fn message(
        &self,
        raw: aws_sdk_sqs::types::Message,
        asked: Instant,
        deadline: Instant,
    ) -> Option<Message> {
        let count = raw
            .attributes
            .as_ref()
            .and_then(|map| map.get(&MessageSystemAttributeName::ApproximateReceiveCount))
            .and_then(|count| count.parse().ok());
        Some(Message {
            id: raw.message_id.unwrap_or_default(),
            receipt: self.clock.receipt(&raw.receipt_handle?, asked),
            body: raw.body.unwrap_or_default(),
            receive_count: count.unwrap_or(1),
            deadline,
        })
    }

    fn error<E>(&self, call: &str, error: &SdkError<E, HttpResponse>) -> Error
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        match aws::classify(error) {
            ErrorKind::NotFound => missing(&self.client, &self.name, error),
            _ => aws::error(format_args!("{call} {}", self.name), error),
        }
    }

    /// The error of a call that takes a receipt: if the receipt is no longer valid, the lease is
    /// lost. A standard queue answers `ReceiptHandleIsInvalid` or `MessageNotInflight`; an expired
    /// receipt and the end of the 12 hours both come as `InvalidParameterValue`.
    fn receipt_error<E>(&self, call: &str, failure: &SdkError<E, HttpResponse>) -> Error
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let text = failure.as_service_error().and_then(|e| e.message()).unwrap_or_default();
        let lost = match bare_code(failure) {
            Some("ReceiptHandleIsInvalid" | "MessageNotInflight") => true,
            Some("InvalidParameterValue") => {
                text.contains("expired") || text.contains("VisibilityTimeout")
            }
            _ => false,
        };
        let error = self.error(call, failure);
        match lost {
            true => Error::new(ErrorKind::LeaseLost, error.to_string()),
            false => error,
        }
    }
}

/// The code without the prefix that the query protocol adds.
fn bare_code<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Option<&str> {
    aws::code(error)?.rsplit('.').next()
}

type Attributes = HashMap<QueueAttributeName, String>;

fn number(attributes: &Attributes, name: &QueueAttributeName) -> Option<u64> {
    attributes.get(name)?.parse().ok()
}

/// The redrive policy's maxReceiveCount, which some servers give as a string.
fn max_receives(attributes: &Attributes) -> Option<u32> {
    let policy = attributes.get(&QueueAttributeName::RedrivePolicy)?;
    let policy: serde_json::Value = serde_json::from_str(policy).ok()?;
    let count = &policy["maxReceiveCount"];
    let count = count.as_u64().or_else(|| count.as_str()?.parse().ok())?;
    count.try_into().ok()
}

async fn queue_url(client: &Client, name: &str, account: Option<&str>) -> Result<String> {
    let answer = client
        .get_queue_url()
        .queue_name(name)
        .set_queue_owner_aws_account_id(account.map(str::to_owned))
        .send()
        .await
        .map_err(|e| match aws::classify(&e) {
            ErrorKind::NotFound => missing(client, name, &e),
            _ => aws::error(format_args!("GetQueueUrl {name}"), &e),
        })?;
    answer.queue_url.ok_or_else(|| Error::invalid(format!("GetQueueUrl {name}: no URL came back")))
}

fn missing<E>(client: &Client, name: &str, error: &SdkError<E, HttpResponse>) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let region = client.config().region().map_or("unknown", |region| region.as_ref());
    aws::error(
        format_args!(
            "there is no SQS queue {name} in region {region}, create it as a standard queue with a \
             redrive policy to a dead letter queue, or set sqs_queue_name"
        ),
        error,
    )
}

/// The reason as a message attribute: never empty, without the characters that SQS refuses.
fn reason_attribute(reason: &str) -> Result<MessageAttributeValue> {
    let mut text: String = reason.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    text.truncate(text.floor_char_boundary(MAX_REASON));
    if text.trim().is_empty() {
        text = "not given".to_owned();
    }
    let value = MessageAttributeValue::builder().data_type("String").string_value(text).build();
    value.map_err(|e| Error::invalid(e.to_string()))
}

#[async_trait]
impl Queue for SqsQueue {
    async fn send(&self, bodies: &[String]) -> Result<()> {
        let ranges =
            batch::batches(bodies.iter().map(String::len), self.max_bytes).map_err(|long| {
                Error::invalid(format!(
                    "SendMessageBatch {}: message {} has {} bytes, the queue accepts {}",
                    self.name, long.index, long.bytes, self.max_bytes
                ))
            })?;
        for range in ranges {
            self.send_whole(bodies[range].iter().collect()).await?;
        }
        Ok(())
    }

    async fn receive(
        &self,
        max: usize,
        wait: Duration,
        visibility: Duration,
    ) -> Result<Vec<Message>> {
        let max = i32::try_from(max.clamp(1, MAX_BATCH)).unwrap_or(1);
        let seconds = lease_clock::visibility_seconds(visibility);
        // The time of a poll counts against the lease of the messages that it returns, so each poll
        // is short compared with the lease, and repeated.
        let slice = (visibility / 3).clamp(Duration::from_secs(1), LONGEST_POLL);
        let until = Instant::now() + wait;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let messages = self.poll(max, left.min(slice), seconds).await?;
            if !messages.is_empty() || Instant::now() >= until {
                return Ok(messages);
            }
        }
    }

    async fn extend(&self, receipt: &Receipt, by: Duration) -> Result<Instant> {
        let asked = Instant::now();
        let Some(seconds) = self.clock.extension(receipt, asked, by) else {
            return Err(Error::new(
                ErrorKind::LeaseLost,
                format!(
                    "ChangeMessageVisibility {}: the message has been held for the 12 hours that \
                     SQS allows, it goes back to the queue",
                    self.name
                ),
            ));
        };
        self.change_visibility(receipt, seconds).await?;
        Ok(asked + Duration::from_secs(seconds.unsigned_abs().into()))
    }

    async fn delete(&self, receipt: &Receipt) -> Result<()> {
        let handle = LeaseClock::handle(receipt);
        let deleted =
            self.client.delete_message().queue_url(&self.url).receipt_handle(handle).send().await;
        match deleted {
            Ok(_) => Ok(()),
            // A standard queue accepts the receipt of a message that is gone; a compatible server
            // may answer this instead, and does not distinguish a stale receipt from a used one.
            Err(e) if bare_code(&e) == Some("ReceiptHandleIsInvalid") => Ok(()),
            Err(e) => Err(self.receipt_error("DeleteMessage", &e)),
        }
    }

    async fn release(&self, receipt: &Receipt, delay: Duration) -> Result<()> {
        let seconds = match delay.is_zero() {
            true => 0,
            false => self.clock.extension(receipt, Instant::now(), delay).unwrap_or(0),
        };
        self.change_visibility(receipt, seconds).await
    }

    async fn bury(&self, message: &Message, body: &str, reason: &str) -> Result<bool> {
        let Some(dead) = self.dead_letters_url().await? else { return Ok(false) };
        self.client
            .send_message()
            .queue_url(&dead)
            .message_body(body)
            .message_attributes(REASON, reason_attribute(reason)?)
            .send()
            .await
            .map_err(|e| aws::error(format_args!("SendMessage {dead} (dead letters)"), &e))?;
        self.delete(&message.receipt).await?;
        Ok(true)
    }

    fn max_receives(&self) -> Option<u32> {
        self.max_receives
    }

    async fn keeps(&self) -> Result<Option<Duration>> {
        let period = QueueAttributeName::MessageRetentionPeriod;
        let attributes = self.attributes(&self.url, std::slice::from_ref(&period)).await?;
        let seconds = number(&attributes, &period);
        Ok(Some(seconds.map_or(LONGEST_KEPT, Duration::from_secs)))
    }

    async fn depth(&self) -> Result<Depth> {
        use QueueAttributeName as Name;
        let counts = [
            Name::ApproximateNumberOfMessages,
            Name::ApproximateNumberOfMessagesDelayed,
            Name::ApproximateNumberOfMessagesNotVisible,
            Name::RedrivePolicy,
        ];
        let count = |attributes: &Attributes, name| number(attributes, name).unwrap_or(0);
        let main = self.attributes(&self.url, &counts).await?;
        let dead = async {
            let Some(url) = self.dead_letter_url(&main).await? else { return Ok::<_, Error>(None) };
            let dead = self.attributes(&url, &counts[..3]).await?;
            Ok(Some(counts[..3].iter().map(|name| count(&dead, name)).sum()))
        };
        Ok(Depth {
            waiting: count(&main, &counts[0]) + count(&main, &counts[1]),
            running: count(&main, &counts[2]),
            dead: match dead.await {
                Err(e) if matches!(e.kind(), ErrorKind::Denied | ErrorKind::NotFound) => None,
                other => other?,
            },
        })
    }
}

#[cfg(test)]
mod tests;
