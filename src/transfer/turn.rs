//! Which parts of an object may begin if its bytes are needed in order: with little memory, only as
//! many as can be kept until their turn comes. A part that could not be kept would be read again.

use tokio::sync::watch;

use super::memory::{MemoryBudget, Spare};

/// The room that a part has for its bytes until they are hashed with those of the whole.
#[derive(Debug)]
pub(super) enum Room {
    /// It may come early: its bytes are kept here.
    Early(Spare),
    /// Its turn has come: its bytes are kept in memory that it reserves for itself.
    Now,
    /// Its bytes are not kept.
    Nowhere,
}

impl Room {
    /// Whether the bytes are kept.
    pub(super) fn keeps(&self) -> bool {
        !matches!(self, Self::Nowhere)
    }

    /// What to reserve for a part of `len` bytes that passes through a window of this size.
    pub(super) fn window(&self, len: u64, window: u64) -> u64 {
        match self {
            Self::Now => len,
            Self::Early(_) | Self::Nowhere => len.min(window),
        }
    }

    /// Where the bytes are kept, if they are.
    pub(super) fn into_spare(self) -> Option<Spare> {
        match self {
            Self::Early(spare) => Some(spare),
            Self::Now => Some(Spare::none()),
            Self::Nowhere => None,
        }
    }
}

/// Whose turn it is among the parts of one object.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// The part that the hasher of the whole needs next; `None`: nobody waits for a turn.
    next: watch::Sender<Option<u32>>,
}

impl Turn {
    /// From now on the parts are sent in order, from this one, so that each turn comes.
    pub(super) fn begin(&self, next: u32) {
        self.next.send_replace(Some(next));
    }

    /// All parts before this one have been hashed.
    pub(super) fn advance(&self, next: u32) {
        self.next.send_modify(|now| *now = now.map(|_| next));
    }

    /// Some turn will not come: nobody waits any more.
    pub(super) fn end(&self) {
        self.next.send_replace(None);
    }

    /// Waits until part `number`, of `len` bytes, can be kept, or until nothing is gained by waiting.
    pub(super) async fn room(&self, number: u32, len: u64, budget: &MemoryBudget) -> Room {
        if let Some(spare) = budget.spare(len) {
            return Room::Early(spare);
        }
        let mut next = self.next.subscribe();
        if next.borrow().is_none() {
            return Room::Nowhere;
        }
        tokio::select! {
            biased;
            next = next.wait_for(|next| next.is_none_or(|next| next >= number)) => match next {
                Ok(next) if *next == Some(number) && len <= budget.largest_held() => Room::Now,
                _ => Room::Nowhere,
            },
            spare = budget.wait_for_spare(len) => Room::Early(spare),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::object::MIB;

    const LEN: u64 = 5 * MIB;

    /// Promise 6.
    #[tokio::test]
    async fn a_part_without_room_waits_for_its_turn() {
        let (turn, budget) = (Turn::default(), MemoryBudget::new(20 * MIB));
        let mut early = Vec::new();
        turn.begin(1);
        for number in 1..=2 {
            early.push(turn.room(number, LEN, &budget).await);
        }
        assert!(early.iter().all(|room| matches!(room, Room::Early(_))));
        let mut third = Box::pin(turn.room(3, LEN, &budget));
        assert!(third.as_mut().now_or_never().is_none());
        turn.advance(2);
        assert!(third.as_mut().now_or_never().is_none());
        turn.advance(3);
        assert!(matches!(third.await, Room::Now));
    }

    /// Promise 6.
    #[tokio::test]
    async fn a_part_without_room_takes_what_another_object_gives_back() {
        let (turn, budget) = (Turn::default(), MemoryBudget::new(20 * MIB));
        let other = budget.spare(10 * MIB).unwrap();
        turn.begin(1);
        let mut second = Box::pin(turn.room(2, LEN, &budget));
        assert!(second.as_mut().now_or_never().is_none());
        drop(other);
        assert!(matches!(second.await, Room::Early(_)));
    }

    /// Promise 6.
    #[tokio::test]
    async fn nobody_waits_for_a_turn_that_will_not_come() {
        let (turn, budget) = (Turn::default(), MemoryBudget::new(20 * MIB));
        let _other = budget.spare(10 * MIB).unwrap();
        assert!(matches!(turn.room(2, LEN, &budget).await, Room::Nowhere), "no order");
        turn.begin(1);
        let mut second = Box::pin(turn.room(2, LEN, &budget));
        assert!(second.as_mut().now_or_never().is_none());
        turn.end();
        assert!(matches!(second.await, Room::Nowhere));
        turn.begin(2);
        assert!(matches!(turn.room(1, LEN, &budget).await, Room::Nowhere), "hashed already");
        assert!(matches!(turn.room(2, 11 * MIB, &budget).await, Room::Nowhere), "too large");
    }
}
