//! The queue in an SQLite file, with the semantics of Amazon SQS, for any number of processes on
//! one machine.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use rusqlite::params;
use tokio::sync::Notify;

use self::table::{Handle, entomb, held, hidden_until, lost, remove, sweep};
use super::{DeadLetter, Depth, LetterBox, Message, Queue, Receipt};
use crate::error::Result;
use crate::sqlite::{Database, Moment, millis, write};

mod table;

/// How often a waiting receive checks the file for messages from other processes and for leases
/// that have ended: a fraction of the time that one object takes, and ten reads of one index page
/// per second while idle. It notices sends from this process at once.
const POLL: Duration = Duration::from_millis(100);

/// SQS hides a message for at most 12 hours from its receipt, in all
/// (<https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-visibility-timeout.html>).
const MAX_HIDDEN: Duration = Duration::from_secs(12 * 60 * 60);

/// Dead letters that are read at once.
const LETTERS: usize = 100;

/// A named queue; several may share one file.
#[derive(Clone, Debug)]
pub struct SqliteQueue {
    db: Database,
    name: Arc<str>,
    max_receive_count: u32,
    arrived: Arc<Notify>,
}

impl SqliteQueue {
    /// The queue `name` in `db`. A message that has been received `max_receive_count` times (at
    /// least 1) and comes back becomes a dead letter.
    pub async fn open(db: &Database, name: &str, max_receive_count: u32) -> Result<Self> {
        let queue = Self {
            db: db.clone(),
            name: name.into(),
            max_receive_count: max_receive_count.max(1),
            arrived: Arc::default(),
        };
        let name = queue.name.clone();
        queue
            .db
            .write(move |tx| {
                // No lease is longer than this. If one is, the clock has been set back, and there
                // is no telling how long the message would stay hidden.
                let now = Moment::now().millis;
                tx.execute(
                    "UPDATE queue_message SET visible_at = ?2 WHERE queue = ?1 AND visible_at > ?3",
                    params![name, now, now.saturating_add(millis(MAX_HIDDEN) + 1)],
                )
            })
            .await?;
        Ok(queue)
    }

    /// Deletes every message, waiting, running or dead.
    pub async fn clear(&self) -> Result<()> {
        let name = self.name.clone();
        self.db
            .write(move |tx| {
                tx.execute("DELETE FROM queue_message WHERE queue = ?1", [&name])?;
                tx.execute("DELETE FROM queue_dead WHERE queue = ?1", [&name])?;
                Ok(())
            })
            .await
    }

    /// Up to `limit` dead letters, the oldest first.
    pub async fn dead(&self, limit: usize) -> Result<Vec<DeadLetter>> {
        self.letters(0, limit).await
    }

    /// Up to `limit` dead letters after the one with this id, the oldest first.
    async fn letters(&self, after: i64, limit: usize) -> Result<Vec<DeadLetter>> {
        let (name, max_receive_count) = (self.name.clone(), self.max_receive_count);
        self.db
            .write(move |tx| {
                sweep(tx, &name, max_receive_count)?;
                table::letters(tx, &name, after, limit)
            })
            .await
    }

    /// The names of all queues in `db` that hold a message or a dead letter, in order.
    pub async fn names(db: &Database) -> Result<Vec<String>> {
        db.read(|tx| {
            tx.prepare_cached(
                "SELECT queue FROM queue_message UNION SELECT queue FROM queue_dead ORDER BY 1",
            )?
            .query_map([], |row| row.get(0))?
            .collect()
        })
        .await
    }

    /// Sends every dead letter again, as a message never received; returns their number.
    pub async fn redrive(&self) -> Result<u64> {
        let (name, max_receive_count) = (self.name.clone(), self.max_receive_count);
        let moved = self
            .db
            .write(move |tx| {
                sweep(tx, &name, max_receive_count)?;
                tx.execute(
                    "INSERT INTO queue_message (queue, body)
                     SELECT queue, body FROM queue_dead WHERE queue = ?1 ORDER BY id",
                    [&name],
                )?;
                tx.execute("DELETE FROM queue_dead WHERE queue = ?1", [&name])
            })
            .await?;
        self.arrived.notify_waiters();
        Ok(moved as u64)
    }

    /// Whether there is nothing to do, now or later; dead letters do not count.
    pub async fn is_empty(&self) -> Result<bool> {
        let (name, max_receive_count) = (self.name.clone(), self.max_receive_count);
        self.db.read(move |tx| table::is_empty(tx, &name, max_receive_count)).await
    }

    /// Takes the messages that are ready, without waiting.
    async fn claim(&self, max: usize, visibility: Duration) -> Result<Vec<Message>> {
        let (queue, visibility) = (self.clone(), visibility.min(MAX_HIDDEN));
        let claimed = self
            .db
            .run(move |connection| {
                if !table::any_due(connection, &queue.name)? {
                    return Ok(None);
                }
                let lease = fastrand::i64(..);
                let messages =
                    write(connection, |tx| table::claim(tx, &queue, lease, max, visibility))?;
                Ok(Some(Claimed { queue, lease, messages }))
            })
            .await?;
        Ok(claimed.map(Claimed::take).unwrap_or_default())
    }
}

#[async_trait]
impl Queue for SqliteQueue {
    async fn send(&self, bodies: &[String]) -> Result<()> {
        let (name, bodies) = (self.name.clone(), bodies.to_vec());
        self.db
            .write(move |tx| {
                let mut insert =
                    tx.prepare_cached("INSERT INTO queue_message (queue, body) VALUES (?1, ?2)")?;
                bodies.iter().try_for_each(|body| insert.execute(params![name, body]).map(drop))
            })
            .await?;
        self.arrived.notify_waiters();
        Ok(())
    }

    async fn receive(
        &self,
        max: usize,
        wait: Duration,
        visibility: Duration,
    ) -> Result<Vec<Message>> {
        let begun = tokio::time::Instant::now();
        loop {
            // Listen before looking, so that no send falls between the two.
            let arrived = self.arrived.notified();
            tokio::pin!(arrived);
            arrived.as_mut().enable();
            let messages = self.claim(max, visibility).await?;
            let left = wait.saturating_sub(begun.elapsed());
            if !messages.is_empty() || max == 0 || left.is_zero() {
                return Ok(messages);
            }
            let _ = tokio::time::timeout(left.min(POLL), arrived).await;
        }
    }

    async fn extend(&self, receipt: &Receipt, by: Duration) -> Result<Instant> {
        let (name, handle) = (self.name.clone(), Handle::parse(receipt)?);
        self.db
            .write(move |tx| {
                let now = Moment::now();
                let held = match held(tx, &name, handle, now.millis)? {
                    Ok(held) => held,
                    Err(lost) => return Ok(Err(lost)),
                };
                let until = hidden_until(now, by);
                if until > hidden_until(Moment { millis: held.received_at, ..now }, MAX_HIDDEN) {
                    return Ok(Err(lost("it cannot be hidden for more than 12 hours in all")));
                }
                tx.prepare_cached("UPDATE queue_message SET visible_at = ?2 WHERE id = ?1")?
                    .execute(params![handle.id, until])?;
                Ok(Ok(now.instant + by))
            })
            .await?
    }

    async fn delete(&self, receipt: &Receipt) -> Result<()> {
        let (name, handle) = (self.name.clone(), Handle::parse(receipt)?);
        self.db
            .write(move |tx| match table::row(tx, &name, handle.id)? {
                None => Ok(Ok(())),
                Some(row) if row.lease == Some(handle.lease) => remove(tx, handle.id).map(Ok),
                Some(_) => Ok(Err(lost("it has been received again or released"))),
            })
            .await?
    }

    async fn release(&self, receipt: &Receipt, delay: Duration) -> Result<()> {
        let (name, handle) = (self.name.clone(), Handle::parse(receipt)?);
        self.db
            .write(move |tx| {
                let now = Moment::now().millis;
                if let Err(lost) = held(tx, &name, handle, now)? {
                    return Ok(Err(lost));
                }
                tx.prepare_cached(
                    "UPDATE queue_message SET visible_at = ?2, lease = NULL, received_at = NULL
                     WHERE id = ?1",
                )?
                .execute(params![handle.id, now + millis(delay.min(MAX_HIDDEN))])?;
                Ok(Ok(()))
            })
            .await??;
        self.arrived.notify_waiters();
        Ok(())
    }

    async fn bury(&self, message: &Message, body: &str, reason: &str) -> Result<bool> {
        let (name, handle) = (self.name.clone(), Handle::parse(&message.receipt)?);
        let (body, reason) = (body.to_owned(), reason.to_owned());
        self.db
            .write(move |tx| match table::row(tx, &name, handle.id)? {
                Some(row) if row.lease == Some(handle.lease) => {
                    entomb(tx, &name, &body, &reason, row.receive_count)?;
                    remove(tx, handle.id)?;
                    Ok(Ok(true))
                }
                _ => Ok(Err(lost("it has been received again, released or deleted"))),
            })
            .await?
    }

    fn max_receives(&self) -> Option<u32> {
        Some(self.max_receive_count)
    }

    async fn keeps(&self) -> Result<Option<Duration>> {
        Ok(None)
    }

    async fn depth(&self) -> Result<Depth> {
        let (name, max_receive_count) = (self.name.clone(), self.max_receive_count);
        self.db.read(move |tx| table::depth(tx, &name, max_receive_count)).await
    }
}

#[async_trait]
impl LetterBox for SqliteQueue {
    async fn dead_letters(
        &self,
        after: Option<&DeadLetter>,
        _hold: Duration,
    ) -> Result<Vec<DeadLetter>> {
        let after = after.and_then(|letter| letter.id.parse().ok()).unwrap_or(0);
        self.letters(after, LETTERS).await
    }

    async fn remove_letter(&self, letter: &DeadLetter) -> Result<()> {
        let (name, id) = (self.name.clone(), letter.id.clone());
        self.db
            .write(move |tx| {
                tx.prepare_cached("DELETE FROM queue_dead WHERE id = ?1 AND queue = ?2")?
                    .execute(params![id, name])
                    .map(drop)
            })
            .await
    }

    async fn show_letter(&self, _: &DeadLetter) -> Result<()> {
        Ok(())
    }
}

/// Messages on their way to the caller of `receive`. If that future is dropped, they go back as if
/// never received, instead of staying hidden until their leases end.
struct Claimed {
    queue: SqliteQueue,
    lease: i64,
    messages: Vec<Message>,
}

impl Claimed {
    fn take(mut self) -> Vec<Message> {
        std::mem::take(&mut self.messages)
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        if self.messages.is_empty() {
            return;
        }
        let ids: Vec<String> = self.messages.drain(..).map(|message| message.id).collect();
        let (lease, arrived) = (self.lease, self.queue.arrived.clone());
        self.queue.db.post(move |connection| {
            // If this fails, the leases end by themselves.
            let undone = write(connection, |tx| {
                let mut undo = tx.prepare_cached(
                    "UPDATE queue_message SET visible_at = ?3, lease = NULL, received_at = NULL,
                         receive_count = receive_count - 1
                     WHERE id = ?1 AND lease = ?2",
                )?;
                let now = Moment::now().millis;
                ids.iter().try_for_each(|id| undo.execute(params![id, lease, now]).map(drop))
            });
            if undone.is_ok() {
                arrived.notify_waiters();
            }
        });
    }
}
