//! How a queue is set up, and whether its calls are allowed, for `check`.

use std::time::Duration;

use aws_sdk_sqs::types::QueueAttributeName as Name;

use super::{Attributes, SqsQueue, max_receives, number};
use crate::error::Result;
use crate::queue::{DeadLetters, QueueCall, QueueFacts};

/// A receipt of nothing.
const NO_RECEIPT: &str = "s3-migration-check";

impl SqsQueue {
    /// Makes a call of this kind that cannot be carried out: a message of more than the 1 MiB that SQS
    /// takes, a batch of no messages, a receipt of nothing. What is refused for its content was
    /// allowed.
    pub async fn rehearse(&self, call: QueueCall) -> Result<()> {
        let (client, url) = (&self.client, &self.url);
        match call {
            QueueCall::Send => {
                let send = client.send_message().queue_url(url).message_body(too_large());
                let sent = send.send().await;
                sent.map(drop).map_err(|e| self.error("SendMessage", &e))
            }
            QueueCall::Receive => {
                // Hides nothing even if a service answers with messages.
                let receive = client.receive_message().queue_url(url).visibility_timeout(0);
                let received = receive.max_number_of_messages(0).send().await;
                received.map(drop).map_err(|e| self.error("ReceiveMessage", &e))
            }
            QueueCall::Delete => {
                let delete = client.delete_message().queue_url(url).receipt_handle(NO_RECEIPT);
                delete.send().await.map(drop).map_err(|e| self.error("DeleteMessage", &e))
            }
            QueueCall::Hide => {
                let hide = client.change_message_visibility().queue_url(url).visibility_timeout(0);
                let hidden = hide.receipt_handle(NO_RECEIPT).send().await;
                hidden.map(drop).map_err(|e| self.error("ChangeMessageVisibility", &e))
            }
        }
    }

    /// GetQueueAttributes of the queue.
    pub async fn facts(&self) -> Result<QueueFacts> {
        let wanted = [
            Name::QueueArn,
            Name::VisibilityTimeout,
            Name::MessageRetentionPeriod,
            Name::MaximumMessageSize,
            Name::RedrivePolicy,
        ];
        let attributes = self.attributes(&self.url, &wanted).await?;
        Ok(QueueFacts {
            arn: attributes.get(&Name::QueueArn).cloned(),
            visibility: seconds(&attributes, &Name::VisibilityTimeout),
            retention: seconds(&attributes, &Name::MessageRetentionPeriod),
            max_message: number(&attributes, &Name::MaximumMessageSize),
            max_receives: max_receives(&attributes),
        })
    }

    /// The dead letter queue: reads the redrive policy, looks up the URL (which fails with
    /// `NotFound` if the policy names a queue that is gone), reads the attributes. `None`: there is
    /// no such policy.
    pub async fn dead_letters(&self) -> Result<Option<DeadLetters>> {
        let attributes = self.attributes(&self.url, &[Name::RedrivePolicy]).await?;
        let Some(url) = self.dead_letter_url(&attributes).await? else { return Ok(None) };
        let wanted = [Name::QueueArn, Name::MessageRetentionPeriod];
        let attributes = self.attributes(&url, &wanted).await?;
        let arn = attributes.get(&Name::QueueArn).cloned();
        let retention = seconds(&attributes, &Name::MessageRetentionPeriod);
        Ok(Some(DeadLetters { arn, retention }))
    }
}

/// A test event, which workers would drop, of more than 1 MiB
/// (<https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html>).
fn too_large() -> String {
    let pad = "x".repeat(1024 * 1024);
    format!(r#"{{"Service":"Amazon S3","Event":"s3:TestEvent","pad":"{pad}"}}"#)
}

fn seconds(attributes: &Attributes, name: &Name) -> Option<Duration> {
    number(attributes, name).map(Duration::from_secs)
}
