//! The queue: messages that wait, and those that return once nobody renews their lease.

use std::collections::VecDeque;

/// `VisibilityTimeout` of the template, seconds.
pub const LEASE: u32 = 60;
/// `MaxReceiveCount` of the template.
pub const MAX_RECEIVES: u32 = 60;

/// One job.
#[derive(Clone, Debug)]
pub struct Message {
    /// When it was sent, seconds.
    pub sent: u32,
    /// Remaining work, milliseconds of one of a worker's slots.
    pub left: u32,
    /// Whether finished work stays done: a large object keeps its parts.
    pub resumes: bool,
    /// The number of receipts.
    pub receives: u32,
}

/// All messages that no worker is working on.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: VecDeque<Message>,
    lost: Vec<(u32, Message)>,
    /// Dead letters.
    pub dead: u32,
}

impl Queue {
    /// Adds a new message.
    pub fn send(&mut self, message: Message) {
        self.waiting.push_back(message);
    }

    /// Hands a message to a worker. One that was received too often becomes a dead letter instead.
    pub fn receive(&mut self) -> Option<Message> {
        loop {
            let mut message = self.waiting.pop_front()?;
            message.receives += 1;
            if message.receives <= MAX_RECEIVES {
                return Some(message);
            }
            self.dead += 1;
        }
    }

    /// Takes back a message from a worker that is ending: it is visible at once.
    pub fn release(&mut self, message: Message) {
        self.waiting.push_front(message);
    }

    /// Takes over a message whose worker has vanished: it is visible once its lease has ended.
    pub fn lose(&mut self, message: Message, now: u32) {
        self.lost.push((now + LEASE, message));
    }

    /// Ends leases that are due.
    pub fn tick(&mut self, now: u32) {
        let (back, still): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.lost).into_iter().partition(|(until, _)| *until <= now);
        self.lost = still;
        back.into_iter().for_each(|(_, message)| self.waiting.push_front(message));
    }

    /// Messages that can be received.
    pub fn visible(&self) -> u32 {
        u32::try_from(self.waiting.len()).unwrap_or(u32::MAX)
    }

    /// When the oldest message that can be received was sent, seconds; returned ones come first.
    pub fn oldest(&self) -> Option<u32> {
        self.waiting.front().map(|message| message.sent)
    }

    /// Messages whose worker has vanished.
    pub fn leased(&self) -> u32 {
        u32::try_from(self.lost.len()).unwrap_or(u32::MAX)
    }
}
