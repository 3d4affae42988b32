//! What is left of a comparison that did not fit into one invocation, and who is at it: a board of
//! the records, so that two at a time do no harm.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::compare::Summary;
use crate::compare::ranges::Bounds;
use crate::error::{Error, ErrorKind, Result};
use crate::record::{Board, BoardChange, NoteKey, RecordStore};
use crate::retry::{Policy, retry};

/// The part with the invocation that compares.
const LEASE: &str = "lease";
/// The part with what is left.
const LEFT: &str = "left";
/// Clocks of two machines differ by less than this.
const SKEW: Duration = Duration::from_secs(30);

/// What one comparison has found for one pair.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PairCounts {
    pub(super) source: String,
    pub(super) destination: String,
    #[serde(flatten)]
    pub(super) summary: Summary,
}

/// A comparison that goes on in the next invocation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Checkpoint {
    /// Of the bucket list and all that decides what is sent: another one begins anew.
    pub(super) of: String,
    /// When the comparison began, in seconds since 1970.
    pub(super) began: u64,
    /// How many invocations have worked on it.
    pub(super) invocations: u64,
    /// The pairs that are compared, and the one that is being compared.
    pub(super) pairs: Vec<PairCounts>,
    /// The ranges that are left of the last of `pairs`.
    pub(super) ranges: Vec<Bounds>,
}

#[derive(Serialize, Deserialize)]
struct Lease {
    /// The request that has it.
    holder: String,
    /// Until when, in seconds since 1970.
    until: u64,
}

/// The place where invocations meet.
pub(super) struct Desk {
    state: Arc<dyn RecordStore>,
    key: NoteKey,
    holder: String,
    policy: Policy,
    cancel: CancellationToken,
}

/// What was found at the desk.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Another invocation compares.
    Busy,
    /// It is free, and this is left of the last comparison.
    Free(Option<Checkpoint>),
}

impl Desk {
    /// The desk of the jobsenders of this queue.
    pub(super) fn new(
        state: &Arc<dyn RecordStore>,
        queue: &str,
        max_retry: u32,
        cancel: &CancellationToken,
    ) -> Self {
        Self {
            state: Arc::clone(state),
            key: NoteKey::new(format_args!("jobsender:{queue}")),
            holder: format!("{:016x}", fastrand::u64(..)),
            policy: Policy::control(max_retry),
            cancel: cancel.clone(),
        }
    }

    /// Takes the desk for `time`, unless another invocation has it. Nobody holds it for longer than
    /// an invocation takes, so it needs no heartbeat.
    pub(super) async fn take(&self, time: Duration) -> Result<Found> {
        let board = self.ask(&BoardChange::default()).await?.unwrap_or_default();
        let before = board.get(LEASE);
        if parse::<Lease>(before).is_some_and(|lease| lease.until > now()) {
            return Ok(Found::Busy);
        }
        let until = now().saturating_add(time.saturating_add(SKEW).as_secs());
        let lease = Lease { holder: self.holder.clone(), until };
        let change = BoardChange {
            set: vec![(LEASE.to_owned(), text(&lease))],
            only_if: Some((LEASE.to_owned(), before.cloned())),
            ..BoardChange::default()
        };
        let taken = match self.ask(&change).await? {
            Some(board) => Some(board),
            // The answer may have been lost after the change was made.
            None => self.ask(&BoardChange::default()).await?.filter(|board| self.holds(board)),
        };
        Ok(taken.map_or(Found::Busy, |board| Found::Free(parse(board.get(LEFT)))))
    }

    /// Writes what is left, or that nothing is, and gives the desk back.
    pub(super) async fn leave(&self, left: Option<&Checkpoint>) -> Result<()> {
        let board = self.ask(&BoardChange::default()).await?.unwrap_or_default();
        if !self.holds(&board) {
            let message = "another invocation has begun to compare meanwhile";
            return Err(Error::new(ErrorKind::LeaseLost, message));
        }
        let mut change = BoardChange {
            remove: vec![LEASE.to_owned()],
            only_if: Some((LEASE.to_owned(), board.get(LEASE).cloned())),
            ..BoardChange::default()
        };
        match left {
            Some(left) => change.set.push((LEFT.to_owned(), text(left))),
            None => change.remove.push(LEFT.to_owned()),
        }
        self.ask(&change).await.map(drop)
    }

    /// Gives the desk back as it is, after a failure.
    pub(super) async fn release(&self) {
        let Ok(Some(board)) = self.ask(&BoardChange::default()).await else { return };
        if self.holds(&board) {
            let change = BoardChange {
                remove: vec![LEASE.to_owned()],
                only_if: Some((LEASE.to_owned(), board.get(LEASE).cloned())),
                ..BoardChange::default()
            };
            // Otherwise it is free when this invocation's time is over.
            let _ = self.ask(&change).await;
        }
    }

    fn holds(&self, board: &Board) -> bool {
        parse::<Lease>(board.get(LEASE)).is_some_and(|lease| lease.holder == self.holder)
    }

    async fn ask(&self, change: &BoardChange) -> Result<Option<Board>> {
        retry(self.policy, &self.cancel, || self.state.board(&self.key, change)).await
    }
}

/// What another version has written and this one cannot read is as if it were not there.
fn parse<T: for<'de> Deserialize<'de>>(text: Option<&Vec<u8>>) -> Option<T> {
    serde_json::from_slice(text?).ok()
}

fn text(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::sqlite::SqliteRecords;
    use crate::sqlite::Database;

    const MINUTE: Duration = Duration::from_secs(60);

    /// Promise 8.
    #[tokio::test]
    async fn one_invocation_at_a_time_continues_what_the_last_one_left() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path().join("file")).await.unwrap();
        let state: Arc<dyn RecordStore> = Arc::new(SqliteRecords::new(&database));
        let desk = || Desk::new(&state, "queue", 1, &CancellationToken::new());
        let (one, other) = (desk(), desk());
        assert_eq!(one.take(MINUTE).await.unwrap(), Found::Free(None));
        assert_eq!(other.take(MINUTE).await.unwrap(), Found::Busy);
        let bounds = Bounds { after: Some("a\n\u{fffd}\"".to_owned()), through: None };
        let summary = Summary { listed: 7, ..Summary::default() };
        let pair = PairCounts { source: "s3://a/".to_owned(), summary, ..PairCounts::default() };
        let left = Checkpoint { pairs: vec![pair], ranges: vec![bounds], ..Checkpoint::default() };
        one.leave(Some(&left)).await.unwrap();
        assert_eq!(other.take(MINUTE).await.unwrap(), Found::Free(Some(left.clone())));
        assert!(one.leave(None).await.is_err(), "it is no longer its desk");
        one.release().await;
        assert_eq!(desk().take(MINUTE).await.unwrap(), Found::Busy, "nor may it give it away");
        other.release().await;
        assert_eq!(one.take(MINUTE).await.unwrap(), Found::Free(Some(left)));
        one.leave(None).await.unwrap();
        assert_eq!(other.take(MINUTE).await.unwrap(), Found::Free(None));
    }
}
