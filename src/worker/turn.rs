//! How long the work on one message may take.

use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use crate::transfer::part_times::PartTimes;

/// How often the time that a part takes is looked at again.
const LOOK: Duration = Duration::from_secs(1);

/// The time for one message. In a function, everything is cut at a known moment; then
/// no part begins that could not end by then.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    limit: Duration,
    cut: Option<Instant>,
    /// The cut comes before the limit.
    is_cut: bool,
}

impl Turn {
    /// No longer than this, which is JobTimeout. What is running then has the grace time.
    pub fn of(job_timeout: Duration) -> Self {
        Self { limit: job_timeout, cut: None, is_cut: false }
    }

    /// The same, and everything is cut at `cut`.
    pub fn until(job_timeout: Duration, cut: Instant) -> Self {
        let left = cut.saturating_duration_since(Instant::now());
        Self { limit: job_timeout, cut: Some(cut), is_cut: left < job_timeout }
    }

    /// When everything is cut, if that is known.
    pub(super) fn cut(&self) -> Option<Instant> {
        self.cut
    }

    /// Waits until nothing may begin any more.
    pub(super) async fn over(&self, times: &PartTimes) {
        let Some(cut) = self.cut else { return sleep(self.limit).await };
        let stop = Instant::now().checked_add(self.limit).unwrap_or(cut);
        loop {
            let now = Instant::now();
            let end = stop.min(cut.checked_sub(times.next()).unwrap_or(now));
            if end <= now {
                return;
            }
            sleep_until(end.min(now + LOOK)).await;
        }
    }

    /// What is said of work that this turn was too short for.
    pub(super) fn unfinished(&self) -> String {
        match self.is_cut {
            true => "not finished within the time of this invocation".to_owned(),
            false => format!("not finished within JobTimeout of {} s", self.limit.as_secs()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// How long after its beginning a turn is over.
    async fn over_after(turn: Turn, times: &PartTimes) -> u64 {
        let begun = Instant::now();
        turn.over(times).await;
        begun.elapsed().as_secs()
    }

    /// Promise 7.
    #[tokio::test(start_paused = true)]
    async fn no_part_begins_that_would_be_cut() {
        let times = PartTimes::default();
        let cut = || Instant::now() + seconds(100);
        assert_eq!(over_after(Turn::of(seconds(300)), &times).await, 300);
        assert_eq!(over_after(Turn::until(seconds(300), cut()), &times).await, 100);
        times.note(seconds(16));
        assert_eq!(over_after(Turn::of(seconds(300)), &times).await, 300);
        assert_eq!(over_after(Turn::until(seconds(300), cut()), &times).await, 80);
        assert_eq!(over_after(Turn::until(seconds(50), cut()), &times).await, 50);
        times.note(seconds(200));
        assert_eq!(over_after(Turn::until(seconds(300), cut()), &times).await, 0);
    }

    /// Promise 7.
    #[tokio::test(start_paused = true)]
    async fn parts_that_become_slower_end_the_turn_earlier() {
        let times = PartTimes::default();
        let turn = Turn::until(seconds(300), Instant::now() + seconds(100));
        let slower = async {
            tokio::time::sleep(seconds(30)).await;
            times.note(seconds(40));
        };
        let (over, ()) = tokio::join!(over_after(turn, &times), slower);
        assert_eq!(over, 50);
    }
}
