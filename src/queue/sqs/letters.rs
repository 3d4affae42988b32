//! Reads and removes dead letters.

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_sqs::types::{MessageSystemAttributeName, QueueAttributeName};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use super::lease_clock::whole_seconds;
use super::{REASON, SqsQueue, bare_code};
use crate::aws;
use crate::error::{Error, Result};
use crate::queue::{DeadLetter, LetterBox, MAX_BATCH, Receipt, spent_reason};

/// A poll that waits asks all servers of the queue, so an empty answer means an empty queue; one
/// that does not wait asks only some of them
/// (<https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-short-and-long-polling.html>).
const WAIT: i32 = 1;

impl SqsQueue {
    /// The URL of the dead letter queue, if there is one.
    pub(super) async fn dead_letters_url(&self) -> Result<Option<String>> {
        let attributes = self.attributes(&self.url, &[QueueAttributeName::RedrivePolicy]).await?;
        self.dead_letter_url(&attributes).await
    }

    /// The same as last looked up: letters that were read are there.
    async fn read_from(&self) -> Result<Option<String>> {
        let known = self.dead.lock().await.as_ref().map(|(_, url)| url.clone());
        match known {
            Some(url) => Ok(Some(url)),
            None => self.dead_letters_url().await,
        }
    }
}

#[async_trait]
impl LetterBox for SqsQueue {
    /// Up to ten.
    async fn dead_letters(
        &self,
        _after: Option<&DeadLetter>,
        hold: Duration,
    ) -> Result<Vec<DeadLetter>> {
        let Some(dead) = self.dead_letters_url().await? else { return Ok(Vec::new()) };
        let answer = self
            .client
            .receive_message()
            .queue_url(&dead)
            .max_number_of_messages(i32::try_from(MAX_BATCH).unwrap_or(1))
            .wait_time_seconds(WAIT)
            .visibility_timeout(whole_seconds(hold))
            .message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount)
            .message_attribute_names(REASON)
            .send()
            .await
            .map_err(|error| refused("ReceiveMessage", &dead, &error))?;
        Ok(answer.messages.unwrap_or_default().into_iter().filter_map(letter).collect())
    }

    async fn remove_letter(&self, letter: &DeadLetter) -> Result<()> {
        let Some(dead) = self.read_from().await? else { return Ok(()) };
        let handle = &letter.receipt.0;
        let deleted =
            self.client.delete_message().queue_url(&dead).receipt_handle(handle).send().await;
        match deleted {
            Ok(_) => Ok(()),
            Err(error) if bare_code(&error) == Some("ReceiptHandleIsInvalid") => Ok(()),
            Err(error) => Err(refused("DeleteMessage", &dead, &error)),
        }
    }

    async fn show_letter(&self, letter: &DeadLetter) -> Result<()> {
        let Some(dead) = self.read_from().await? else { return Ok(()) };
        self.client
            .change_message_visibility()
            .queue_url(&dead)
            .receipt_handle(&letter.receipt.0)
            .visibility_timeout(0)
            .send()
            .await
            .map_err(|error| refused("ChangeMessageVisibility", &dead, &error))?;
        Ok(())
    }
}

fn letter(raw: aws_sdk_sqs::types::Message) -> Option<DeadLetter> {
    let reason = raw.message_attributes.as_ref().and_then(|all| all.get(REASON));
    let reason = reason.and_then(|reason| reason.string_value.clone());
    let received = raw
        .attributes
        .as_ref()
        .and_then(|map| map.get(&MessageSystemAttributeName::ApproximateReceiveCount))
        .and_then(|count| count.parse().ok());
    Some(DeadLetter {
        id: raw.message_id.unwrap_or_default(),
        receipt: Receipt(raw.receipt_handle?),
        body: raw.body.unwrap_or_default(),
        // Amazon SQS adds nothing to a message that it moves itself.
        reason: reason.unwrap_or_else(|| spent_reason("too many")),
        receive_count: received.unwrap_or(1),
    })
}

fn refused<E>(call: &str, dead: &str, error: &SdkError<E, HttpResponse>) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    aws::error(format_args!("{call} {dead} (dead letters)"), error)
}
