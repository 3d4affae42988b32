//! Records outcomes, many to a request. If a temporary fault keeps some of a batch off the record,
//! only these are tried again.

use std::sync::Mutex;

use crate::error::{Error, Next};
use crate::mutex::{into_inner, lock};
use crate::record::{Attempts, Outcome, Recorded};
use crate::retry::Retrying;

/// Records `outcomes`; returns one answer for each, in order.
pub(super) async fn record(
    state: Retrying<'_, dyn Attempts>,
    outcomes: &[Outcome],
) -> Vec<Recorded> {
    let answers = Mutex::new(outcomes.iter().map(|_| None).collect::<Vec<Option<Recorded>>>());
    let tried = state
        .control(|| async {
            // Computed again for each try, since a try may have been dropped midway.
            let left: Vec<usize> = unanswered(&lock(&answers));
            let asked: Vec<Outcome> = left.iter().map(|at| outcomes[*at].clone()).collect();
            let mut passing = None;
            for (at, answer) in left.into_iter().zip(state.inner.finish_each(&asked).await) {
                match answer {
                    Err(error) if error.kind().next() == Next::Retry => passing = Some(error),
                    answer => lock(&answers)[at] = Some(answer),
                }
            }
            passing.map_or(Ok(()), Err)
        })
        .await;
    let why =
        tried.err().unwrap_or_else(|| Error::invalid("the records' table or file did not answer"));
    let answers = into_inner(answers);
    answers.into_iter().map(|answer| answer.unwrap_or_else(|| Err(why.another()))).collect()
}

fn unanswered(answers: &[Option<Recorded>]) -> Vec<usize> {
    (0..answers.len()).filter(|at| answers[*at].is_none()).collect()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use async_trait::async_trait;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::error::{ErrorKind, Result};
    use crate::object::ObjectId;
    use crate::record::{JobStatus, Record, RecordId, Seal, Start};
    use crate::retry::Policy;

    const POLICY: Policy = Policy {
        tries: 3,
        patient: true,
        outlasts: Duration::ZERO,
        base: Duration::from_micros(1),
        cap: Duration::from_micros(10),
        timeout: Duration::from_secs(60),
    };

    /// Refuses each key this many times with this kind of error, and keeps what it was asked.
    #[derive(Debug, Default)]
    struct Moody {
        refusals: Mutex<Vec<(&'static str, ErrorKind, u32)>>,
        asked: Mutex<Vec<Vec<String>>>,
    }

    #[async_trait]
    impl Attempts for Moody {
        async fn finish_each(&self, outcomes: &[Outcome]) -> Vec<Recorded> {
            let keys: Vec<String> =
                outcomes.iter().map(|outcome| outcome.id.src.key.as_str().to_owned()).collect();
            lock(&self.asked).push(keys.clone());
            let mut refusals = lock(&self.refusals);
            let mut answer = |key: &String| match refusals
                .iter_mut()
                .find(|(name, _, left)| name == key && *left > 0)
            {
                Some((_, kind, left)) => {
                    *left -= 1;
                    Err(Error::new(*kind, "refused"))
                }
                None => Ok(None),
            };
            keys.iter().map(&mut answer).collect()
        }

        async fn load(&self, _: &RecordId) -> Result<Option<Record>> {
            unreachable!("only outcomes are put on record")
        }
        async fn begin(&self, _: &Start) -> Result<()> {
            unreachable!("only outcomes are put on record")
        }
        async fn seal(&self, _: &Seal) -> Result<()> {
            unreachable!("only outcomes are put on record")
        }
    }

    fn outcome(key: &str) -> Outcome {
        Outcome {
            id: RecordId { src: ObjectId::new("s", key), des: ObjectId::new("d", key) },
            size: 1,
            version: None,
            etag: None,
            status: JobStatus::Done,
            instance: "i".to_owned(),
            lease: None,
            start_time: SystemTime::UNIX_EPOCH,
            end_time: SystemTime::UNIX_EPOCH,
            error: None,
            deleted: false,
            proven: None,
            written: None,
            order: None,
        }
    }

    /// Promise 1.
    #[tokio::test]
    async fn only_what_is_not_on_record_is_tried_again() {
        let store = Moody::default();
        *lock(&store.refusals) = vec![
            ("b", ErrorKind::Throttled, 2),
            ("c", ErrorKind::LeaseLost, 9),
            ("d", ErrorKind::Unavailable, 9),
        ];
        let outcomes = ["a", "b", "c", "d"].map(outcome);
        let cancel = CancellationToken::new();
        let answers =
            record(Retrying::by(&store as &dyn Attempts, POLICY, &cancel), &outcomes).await;
        let kinds: Vec<_> =
            answers.into_iter().map(|answer| answer.err().map(|error| error.kind())).collect();
        let expected = [None, None, Some(ErrorKind::LeaseLost), Some(ErrorKind::Unavailable)];
        assert_eq!(kinds, expected, "each with its own answer");
        assert_eq!(
            lock(&store.asked)[..3],
            [vec!["a", "b", "c", "d"], vec!["b", "d"], vec!["b", "d"]]
        );
    }

    #[tokio::test]
    async fn a_lost_lease_ends_the_recording() {
        let (store, cancel) = (Moody::default(), CancellationToken::new());
        cancel.cancel();
        let state = Retrying::by(&store as &dyn Attempts, POLICY, &cancel);
        let answers = record(state, &["a", "b"].map(outcome)).await;
        assert!(answers.into_iter().all(|a| a.is_err_and(|e| e.kind() == ErrorKind::Cancelled)));
    }
}
