//! Decides which objects' tags are requested if the store does not say how many they have.
//!
//! Amazon S3 sends `x-amz-tagging-count` with every object that has tags and with no other
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html>), so there no count means
//! no tags. Other stores may never send it.
//!
//! Pure: what the store has shown so far is an argument.

use std::ops::ControlFlow;

/// The first objects of a bucket, this many, are always asked.
pub const FIRST: u64 = 20;

/// After them, one object in this many is asked.
pub const EVERY: u64 = 100;

/// What one source bucket has shown about its tags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Telling {
    /// It sends a count with objects that have tags.
    counts: bool,
    /// Objects without a count so far.
    untold: u64,
    /// Answers about them. Not the questions, since other objects go on while one is pending.
    answers: u64,
    /// Objects without a count that were not asked.
    passed: u64,
    /// An object without a count had tags.
    has_tags: bool,
    /// It refuses the request for tags.
    refuses: bool,
    /// Answers in a row that may have refused the request itself, or one object, or come from a
    /// proxy.
    vague: u32,
}

impl Telling {
    /// For a store that is known to send counts.
    pub fn counting() -> Self {
        Self { counts: true, ..Self::default() }
    }

    /// Whether the next object must be asked for its tags, given the count in its answer.
    pub fn asks(&mut self, count: Option<u32>) -> bool {
        match count {
            Some(count) => {
                self.counts = true;
                return count > 0;
            }
            None if self.counts || self.refuses => return false,
            None if self.has_tags => return true,
            None => {}
        }
        let turn = self.untold;
        self.untold += 1;
        let asks = self.answers < FIRST || turn.is_multiple_of(EVERY);
        if !asks {
            self.passed += 1;
        }
        asks
    }

    /// An object without a count was answered. `Break`: it has tags, so every further object is
    /// asked; holds the number of objects that were not asked before.
    pub fn answered(&mut self, tags: usize) -> ControlFlow<u64> {
        self.answers += 1;
        self.vague = 0;
        if tags == 0 || self.has_tags {
            return ControlFlow::Continue(());
        }
        self.has_tags = true;
        ControlFlow::Break(std::mem::take(&mut self.passed))
    }

    /// Whether objects here have tags without a count in their answers.
    pub fn has_uncounted(&mut self) -> bool {
        self.has_tags && !self.counts
    }

    /// The request was refused: no other object is asked.
    pub fn refused(&mut self) {
        self.refuses = true;
    }

    /// The request may have been refused: it was, if the next object is answered alike.
    pub fn refused_vaguely(&mut self) {
        self.vague += 1;
        self.refuses |= self.vague > 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_counts_is_believed() {
        let mut telling = Telling::default();
        assert!(telling.asks(Some(2)));
        assert!(!telling.asks(Some(0)));
        assert!(!telling.asks(None), "no count means none from then on");
        assert!(!Telling::counting().asks(None));
    }

    /// Promise 5.
    #[test]
    fn of_a_store_that_does_not_the_first_are_asked_and_then_a_few() {
        let mut telling = Telling::default();
        let mut asked = 0;
        for _ in 0..301 {
            if telling.asks(None) {
                asked += 1;
                assert_eq!(telling.answered(0), ControlFlow::Continue(()));
            }
        }
        assert_eq!(asked, FIRST + 3);
        assert_eq!(telling.answered(1), ControlFlow::Break(301 - FIRST - 3));
        assert!((0..50).all(|_| telling.asks(None)), "one had tags: all are asked");
        assert_eq!(telling.answered(1), ControlFlow::Continue(()));
    }

    #[test]
    fn while_the_first_are_being_asked_so_are_those_beside_them() {
        let mut telling = Telling::default();
        assert!((0..500).all(|_| telling.asks(None)), "no answer has come yet");
    }

    #[test]
    fn a_refusal_ends_the_questions() {
        let mut telling = Telling::default();
        assert!(telling.asks(None));
        telling.refused();
        assert!(!telling.asks(None));
        assert!(telling.asks(Some(1)), "what is counted is asked for all the same");
    }

    #[test]
    fn a_vague_refusal_is_one_if_another_object_is_answered_alike() {
        let mut telling = Telling::default();
        telling.refused_vaguely();
        assert!(telling.asks(None));
        assert_eq!(telling.answered(0), ControlFlow::Continue(()));
        telling.refused_vaguely();
        assert!(telling.asks(None), "one has been answered between them");
        telling.refused_vaguely();
        assert!(!telling.asks(None));
    }
}
