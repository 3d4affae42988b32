//! The queue: messages that wait, and those that come back when nobody prolongs their lease.

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
    /// Work that is left, milliseconds of one of a worker's places.
    pub left: u32,
    /// Whether what has been done of it stays done: a large object keeps its parts.
    pub resumes: bool,
    /// How often it was received.
    pub receives: u32,
}

/// All messages that nobody is working on.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: VecDeque<Message>,
    lost: Vec<(u32, Message)>,
    /// Dead letters.
    pub dead: u32,
}

impl Queue {
    /// A new message.
    pub fn send(&mut self, message: Message) {
        self.waiting.push_back(message);
    }

    /// A message for a worker. One that has been received too often is a dead letter.
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

    /// Given back by a worker that ends: visible at once.
    pub fn release(&mut self, message: Message) {
        self.waiting.push_front(message);
    }

    /// The worker is gone without a word: visible when the lease has ended.
    pub fn lose(&mut self, message: Message, now: u32) {
        self.lost.push((now + LEASE, message));
    }

    /// Lets leases end.
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

    /// When the oldest that can be received was sent, seconds: what came back is in front.
    pub fn oldest(&self) -> Option<u32> {
        self.waiting.front().map(|message| message.sent)
    }

    /// Messages whose worker is gone.
    pub fn leased(&self) -> u32 {
        u32::try_from(self.lost.len()).unwrap_or(u32::MAX)
    }
}
