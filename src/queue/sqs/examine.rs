//! How a queue is set up, for `check`.

use std::time::Duration;

use aws_sdk_sqs::types::QueueAttributeName as Name;

use super::{Attributes, SqsQueue, max_receives, number};
use crate::error::Result;
use crate::queue::{DeadLetters, QueueFacts};

impl SqsQueue {
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

fn seconds(attributes: &Attributes, name: &Name) -> Option<Duration> {
    number(attributes, name).map(Duration::from_secs)
}
