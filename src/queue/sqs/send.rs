//! Sends a batch until the queue has confirmed all of it.

use std::time::Duration;

use aws_sdk_sqs::types::SendMessageBatchRequestEntry;

use super::SqsQueue;
use crate::error::{Error, ErrorKind, Result};

/// How often one batch is sent, with what was refused of it, before `send` gives up: after about
/// eight seconds on average, sixteen at most, with the pauses below.
const SEND_ROUNDS: u32 = 10;

/// The first and the longest pause before refused entries are sent again.
const SEND_PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

impl SqsQueue {
    /// Sends one batch and the refused entries again, until none is left.
    pub(super) async fn send_whole(&self, mut left: Vec<&String>) -> Result<()> {
        let mut round = 0;
        loop {
            let (refused, why) = self.send_batch(left).await?;
            if refused.is_empty() {
                return Ok(());
            }
            round += 1;
            if round == SEND_ROUNDS {
                return Err(why);
            }
            tokio::time::sleep(send_pause(round)).await;
            left = refused;
        }
    }

    /// Sends one batch; returns the entries worth sending again.
    async fn send_batch<'a>(&self, bodies: Vec<&'a String>) -> Result<(Vec<&'a String>, Error)> {
        let entry = |(index, body): (usize, &&String)| {
            let entry = SendMessageBatchRequestEntry::builder();
            entry.id(index.to_string()).message_body(body.as_str()).build()
        };
        let entries: Result<Vec<_>, _> = bodies.iter().enumerate().map(entry).collect();
        let entries = entries.map_err(|e| Error::invalid(e.to_string()))?;
        let answer = self
            .client
            .send_message_batch()
            .queue_url(&self.url)
            .set_entries(Some(entries))
            .send()
            .await
            .map_err(|e| self.error("SendMessageBatch", &e))?;
        // Only entries that the answer confirms are sent; one that it does not mention is not.
        let confirmed: Vec<usize> =
            answer.successful().iter().filter_map(|done| done.id().parse().ok()).collect();
        let left = bodies.into_iter().enumerate().filter(|(i, _)| !confirmed.contains(i));
        let mut refusal = self.refusal(ErrorKind::Unavailable, "not confirmed", None);
        for failed in answer.failed() {
            refusal = self.refusal(
                match failed.sender_fault() {
                    true => ErrorKind::Invalid,
                    false => ErrorKind::Unavailable,
                },
                failed.code(),
                failed.message(),
            );
            if failed.sender_fault() {
                return Err(refusal);
            }
        }
        Ok((left.map(|(_, body)| body).collect(), refusal))
    }

    fn refusal(&self, kind: ErrorKind, code: &str, text: Option<&str>) -> Error {
        let text = text.map(|text| format!(": {text}")).unwrap_or_default();
        Error::new(kind, format!("SendMessageBatch {}: entry refused: {code}{text}", self.name))
    }
}

/// The pause before refused entries are sent again: full jitter under a doubling bound.
fn send_pause(round: u32) -> Duration {
    let (first, last) = SEND_PAUSE;
    let bound = first.saturating_mul(1 << round.min(16)).min(last);
    bound.mul_f64(fastrand::f64())
}
