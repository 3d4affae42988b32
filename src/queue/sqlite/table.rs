//! The tables of the embedded queue: every statement on them, each inside its caller's transaction.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, ToSql, Transaction, params};

use super::SqliteQueue;
use crate::error::{Error, ErrorKind, Result};
use crate::queue::{DeadLetter, Depth, Message, Receipt, spent_reason};
use crate::sqlite::{Moment, millis};

/// The content of a receipt: the message and the lease.
#[derive(Clone, Copy)]
pub(super) struct Handle {
    pub(super) id: i64,
    pub(super) lease: i64,
}

impl Handle {
    fn receipt(self) -> Receipt {
        Receipt(format!("{}:{}", self.id, self.lease))
    }

    pub(super) fn parse(receipt: &Receipt) -> Result<Self> {
        let parse = |(id, lease): (&str, &str)| {
            Some(Self { id: id.parse().ok()?, lease: lease.parse().ok()? })
        };
        receipt.0.split_once(':').and_then(parse).ok_or_else(|| {
            Error::invalid(format!("`{}` is not a receipt of an embedded queue", receipt.0))
        })
    }
}

/// One message's lease as stored in the file.
pub(super) struct LeaseRow {
    visible_at: i64,
    pub(super) received_at: i64,
    pub(super) lease: Option<i64>,
    pub(super) receive_count: u32,
}

pub(super) fn row(
    tx: &Transaction<'_>,
    queue: &str,
    id: i64,
) -> rusqlite::Result<Option<LeaseRow>> {
    tx.prepare_cached(
        "SELECT visible_at, ifnull(received_at, 0), lease, receive_count FROM queue_message
         WHERE id = ?1 AND queue = ?2",
    )?
    .query_row(params![id, queue], |row| {
        Ok(LeaseRow {
            visible_at: row.get(0)?,
            received_at: row.get(1)?,
            lease: row.get(2)?,
            receive_count: row.get(3)?,
        })
    })
    .optional()
}

/// The message, if `handle` still holds it. Like SQS, this refuses a message that has become
/// visible, even if no one has received it since.
pub(super) fn held(
    tx: &Transaction<'_>,
    queue: &str,
    handle: Handle,
    now: i64,
) -> rusqlite::Result<Result<LeaseRow>> {
    Ok(match row(tx, queue, handle.id)? {
        None => Err(lost("it has been deleted")),
        Some(row) if row.lease != Some(handle.lease) => {
            Err(lost("it has been received again or released"))
        }
        Some(row) if row.visible_at <= now => Err(lost("its lease has run out")),
        Some(row) => Ok(row),
    })
}

pub(super) fn lost(why: &str) -> Error {
    Error::new(ErrorKind::LeaseLost, format!("the message is no longer held: {why}"))
}

/// The first millisecond at which a lease of `duration` from `now` has certainly ended: `now` was
/// rounded down, and the holder must not rely on its lease for longer than the file grants it.
pub(super) fn hidden_until(now: Moment, duration: Duration) -> i64 {
    now.millis.saturating_add(millis(duration)).saturating_add(1)
}

pub(super) fn any_due(connection: &Connection, queue: &str) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "SELECT 1 FROM queue_message WHERE queue = ?1 AND visible_at <= ?2 LIMIT 1",
        )?
        .exists(params![queue, Moment::now().millis])
}

/// Leases up to `max` messages, and moves messages that have come back too often to the dead
/// letters. Returned messages go first: an object that was started should not wait for millions
/// that were not.
pub(super) fn claim(
    tx: &Transaction<'_>,
    queue: &SqliteQueue,
    lease: i64,
    max: usize,
    visibility: Duration,
) -> rusqlite::Result<Vec<Message>> {
    let now = Moment::now();
    let mut update = tx.prepare_cached(
        "UPDATE queue_message SET visible_at = ?2, received_at = ?3, lease = ?4, receive_count = ?5
         WHERE id = ?1",
    )?;
    let mut messages = Vec::new();
    while messages.len() < max {
        let mut due = due(tx, RETURNED, &queue.name, now.millis, max - messages.len())?;
        if due.is_empty() {
            due = self::due(tx, NEW, &queue.name, 0, max - messages.len())?;
        }
        if due.is_empty() {
            break;
        }
        for (id, body, received) in due {
            if received >= queue.max_receive_count {
                entomb(tx, &queue.name, &body, &spent_reason(received), received)?;
                remove(tx, id)?;
                continue;
            }
            let receive_count = received + 1;
            let until = hidden_until(now, visibility);
            update.execute(params![id, until, now.millis, lease, receive_count])?;
            messages.push(Message {
                id: id.to_string(),
                receipt: Handle { id, lease }.receipt(),
                body,
                receive_count,
                deadline: now.instant + visibility,
            });
        }
    }
    Ok(messages)
}

const RETURNED: &str = "SELECT id, body, receive_count FROM queue_message
    WHERE queue = ?1 AND visible_at BETWEEN 1 AND ?2 ORDER BY visible_at, id LIMIT ?3";
const NEW: &str = "SELECT id, body, receive_count FROM queue_message
    WHERE queue = ?1 AND visible_at = ?2 ORDER BY id LIMIT ?3";

fn due(
    tx: &Transaction<'_>,
    select: &str,
    queue: &str,
    visible_at: i64,
    limit: usize,
) -> rusqlite::Result<Vec<(i64, String, u32)>> {
    tx.prepare_cached(select)?
        .query_map(params![queue, visible_at, count(limit)], |row| row.try_into())?
        .collect()
}

/// Moves every message that has come back too often to the dead letters.
pub(super) fn sweep(
    tx: &Transaction<'_>,
    queue: &str,
    max_receive_count: u32,
) -> rusqlite::Result<()> {
    let now = Moment::now().millis;
    let spent: Vec<_> = due(tx, RETURNED, queue, now, usize::MAX)?
        .into_iter()
        .filter(|(_, _, received)| *received >= max_receive_count)
        .collect();
    spent.into_iter().try_for_each(|(id, body, received)| {
        entomb(tx, queue, &body, &spent_reason(received), received)?;
        remove(tx, id)
    })
}

pub(super) fn entomb(
    tx: &Transaction<'_>,
    queue: &str,
    body: &str,
    reason: &str,
    receive_count: u32,
) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "INSERT INTO queue_dead (queue, body, reason, receive_count, died_at)
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![queue, body, reason, receive_count, Moment::now().millis])
    .map(drop)
}

/// Up to `limit` dead letters after the one with this id, in order.
pub(super) fn letters(
    tx: &Transaction<'_>,
    queue: &str,
    after: i64,
    limit: usize,
) -> rusqlite::Result<Vec<DeadLetter>> {
    let mut select = tx.prepare_cached(
        "SELECT id, body, reason, receive_count FROM queue_dead
         WHERE queue = ?1 AND id > ?2 ORDER BY id LIMIT ?3",
    )?;
    let letters = select.query_map(params![queue, after, count(limit)], |row| {
        Ok(DeadLetter {
            id: row.get::<_, i64>(0)?.to_string(),
            receipt: Receipt(String::new()),
            body: row.get(1)?,
            reason: row.get(2)?,
            receive_count: row.get(3)?,
        })
    })?;
    letters.collect()
}

pub(super) fn remove(tx: &Transaction<'_>, id: i64) -> rusqlite::Result<()> {
    tx.prepare_cached("DELETE FROM queue_message WHERE id = ?1")?.execute([id]).map(drop)
}

pub(super) fn count(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// Whether every message is dead, in the sense of [`depth`]; stops at the first that is not.
pub(super) fn is_empty(
    tx: &Transaction<'_>,
    queue: &str,
    max_receive_count: u32,
) -> rusqlite::Result<bool> {
    tx.prepare_cached(
        "SELECT NOT EXISTS (SELECT 1 FROM queue_message WHERE queue = ?1
             AND NOT (visible_at BETWEEN 1 AND ?2 AND receive_count >= ?3))",
    )?
    .query_one(rusqlite::params![queue, Moment::now().millis, max_receive_count], |row| row.get(0))
}

/// Counts the messages. One that has come back too often counts as dead already, though only the
/// next receive moves it.
pub(super) fn depth(
    tx: &Transaction<'_>,
    queue: &str,
    max_receive_count: u32,
) -> rusqlite::Result<Depth> {
    let now = Moment::now().millis;
    let count = |sql: &str, params: &[&dyn ToSql]| -> rusqlite::Result<u64> {
        let count: i64 = tx.prepare_cached(sql)?.query_one(params, |row| row.get(0))?;
        Ok(count.unsigned_abs())
    };
    let all = count("SELECT count(*) FROM queue_message WHERE queue = ?1", &[&queue])?;
    let running = count(
        "SELECT count(*) FROM queue_message
         WHERE queue = ?1 AND visible_at > ?2 AND lease IS NOT NULL",
        &[&queue, &now],
    )?;
    let spent = count(
        "SELECT count(*) FROM queue_message
         WHERE queue = ?1 AND visible_at BETWEEN 1 AND ?2 AND receive_count >= ?3",
        &[&queue, &now, &max_receive_count],
    )?;
    let dead = count("SELECT count(*) FROM queue_dead WHERE queue = ?1", &[&queue])?;
    Ok(Depth { waiting: all - running - spent, running, dead: Some(dead + spent) })
}
