//! A batch of messages as Lambda brings it, and the answer that says which are not done.

use std::collections::BTreeSet;

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent};
use serde_json::Value;

use crate::error::{Error, Result};

/// The attribute that counts receipts.
const RECEIVES: &str = "ApproximateReceiveCount";

/// One message of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) id: String,
    pub(super) handle: String,
    pub(super) body: String,
    pub(super) receives: u32,
}

/// The messages of one invocation; all come from one queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Batch {
    /// The queue's ARN.
    pub(super) queue: String,
    pub(super) records: Vec<Record>,
}

impl Batch {
    /// Reads an event of a queue.
    pub(super) fn parse(event: Value) -> Result<Self> {
        let refused = |why: String| {
            Error::invalid(format!(
                "{why}: the worker function takes the events of an SQS queue, from an event source \
                 mapping"
            ))
        };
        let event: SqsEvent = serde_json::from_value(event)
            .map_err(|error| refused(format!("the event is not understood ({error})")))?;
        let mut queues: Vec<String> = Vec::new();
        let mut records = Vec::with_capacity(event.records.len());
        for record in event.records {
            let receives = record.attributes.get(RECEIVES).and_then(|count| count.parse().ok());
            let whole = record.event_source_arn.zip(record.message_id);
            let whole = whole.zip(record.receipt_handle.zip(record.body));
            let Some(((queue, id), (handle, body))) = whole else {
                return Err(refused(
                    "a record of the event is not a message of a queue".to_owned(),
                ));
            };
            queues.push(queue);
            records.push(Record { id, handle, body, receives: receives.unwrap_or(1) });
        }
        queues.dedup();
        match <[String; 1]>::try_from(queues) {
            Ok([queue]) if queue_name(&queue).is_some() => Ok(Self { queue, records }),
            _ => Err(refused("the event has no messages of one queue".to_owned())),
        }
    }

    /// The queue's name.
    pub(super) fn queue_name(&self) -> &str {
        queue_name(&self.queue).unwrap_or_default()
    }

    /// The answer: every message that is not deleted is to come again.
    pub(super) fn answer(&self, deleted: &BTreeSet<String>) -> SqsBatchResponse {
        let left = self.records.iter().filter(|record| !deleted.contains(&record.handle));
        let mut answer = SqsBatchResponse::default();
        left.for_each(|record| answer.add_failure(record.id.as_str()));
        answer
    }
}

/// `arn:aws:sqs:region:account:name`
fn queue_name(arn: &str) -> Option<&str> {
    let mut fields = arn.splitn(6, ':');
    let is_queue = fields.next() == Some("arn") && fields.nth(1) == Some("sqs");
    fields.nth(2).filter(|name| is_queue && !name.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn record(id: &str, arn: &str) -> Value {
        json!({
            "messageId": id, "receiptHandle": format!("handle {id}"), "body": format!("body {id}"),
            "attributes": {"ApproximateReceiveCount": "3", "SenderId": "x"},
            "messageAttributes": {}, "md5OfBody": "x", "eventSource": "aws:sqs",
            "eventSourceARN": arn, "awsRegion": "us-east-1",
        })
    }

    const ARN: &str = "arn:aws-cn:sqs:cn-north-1:111122223333:a-queue";

    #[test]
    fn only_what_is_deleted_does_not_come_again() {
        let batch = json!({"Records": [record("1", ARN), record("2", ARN)]});
        let batch = Batch::parse(batch).unwrap();
        assert_eq!(batch.queue_name(), "a-queue");
        assert_eq!((batch.records.len(), batch.records[1].receives), (2, 3));
        let answer = batch.answer(&BTreeSet::from(["handle 1".to_owned()]));
        let answer = serde_json::to_value(answer).unwrap();
        assert_eq!(answer, json!({"batchItemFailures": [{"itemIdentifier": "2"}]}));
    }

    #[test]
    fn an_event_of_something_else_is_refused() {
        for event in [
            json!({}),
            json!([]),
            json!({"Records": []}),
            json!({"source": "aws.events", "detail-type": "Scheduled Event", "detail": {}}),
            json!({"Records": [{"eventSource": "aws:s3", "s3": {}}]}),
            json!({"Records": [record("1", ARN), record("2", "arn:aws:sqs:a:b:other")]}),
            json!({"Records": [record("1", "arn:aws:s3:::bucket")]}),
        ] {
            let error = Batch::parse(event).unwrap_err().to_string();
            assert!(error.contains("takes the events of an SQS queue"), "{error}");
        }
    }
}
