//! The rules of a record are said once, as data. A backend that carries them out in its own way
//! (Amazon DynamoDB evaluates expressions) must come to the same records.

use std::cell::Cell;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use s3_migration::error::ErrorKind;
use s3_migration::object::Etag;
use s3_migration::object::sequencer::Sequencer;
use s3_migration::record::rules::{Carried, Change, Row};
use s3_migration::record::{
    JobStatus, Order, Outcome, Proven, RecordId, RecordStore, Seal, Stamp, Start, UploadRef,
};
use tokio::runtime::Handle;

use super::{end, id, seal, start};

/// What the state of the record was when an attempt whose order matters began.
#[derive(Clone, Copy, Debug)]
enum Seen {
    Now,
    Nothing,
    Earlier,
}

#[derive(Clone, Debug)]
enum Step {
    Begin {
        token: u8,
        etag: u8,
        upload: u8,
        sequencer: Option<u8>,
    },
    Seal {
        token: u8,
        known: bool,
    },
    Finish {
        token: Option<u8>,
        etag: Option<u8>,
        status: JobStatus,
        order: Option<(Seen, u8)>,
    },
    Delete {
        order: Option<(Seen, u8)>,
    },
    /// The last one again: its answer was lost.
    Repeat,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let status =
        || prop::sample::select(vec![JobStatus::Running, JobStatus::Done, JobStatus::Failed]);
    let seen = || prop::sample::select(vec![Seen::Now, Seen::Now, Seen::Nothing, Seen::Earlier]);
    let order = move || prop::option::of((seen(), 0..3u8));
    let step = prop_oneof![
        3 => (0..3u8, 0..2u8, 0..2u8, prop::option::of(0..3u8)).prop_map(
            |(token, etag, upload, sequencer)| Step::Begin { token, etag, upload, sequencer }),
        1 => (0..3u8, any::<bool>()).prop_map(|(token, known)| Step::Seal { token, known }),
        4 => (prop::option::of(0..3u8), prop::option::of(0..2u8), status(), order()).prop_map(
            |(token, etag, status, order)| Step::Finish { token, etag, status, order }),
        1 => order().prop_map(|order| Step::Delete { order }),
        2 => Just(Step::Repeat),
    ];
    vec(step, 1..12)
}

/// A change with all that it says.
enum Made {
    Begin(Start),
    Seal(Seal),
    Finish(Outcome),
}

fn token(token: u8) -> String {
    format!("t{token}")
}

fn etag(etag: u8) -> Etag {
    Etag::new(format!("etag-{etag}"))
}

fn sequencer(digit: u8) -> Option<Sequencer> {
    Sequencer::parse(&format!("A{digit}"))
}

fn order(order: Option<(Seen, u8)>, row: Option<&Row<'_>>) -> Option<Order> {
    let (seen, digit) = order?;
    let now = row.map(|row| row.record(id("")).stamp());
    let seen = match seen {
        Seen::Now => now,
        Seen::Nothing => None,
        Seen::Earlier => now.map(|now| Stamp { tries: now.tries.saturating_sub(1), ..now }),
    };
    Some(Order { sequencer: sequencer(digit), seen })
}

/// The change of `step`, the `second` of a sequence, with `row` on record.
fn made(step: &Step, id: &RecordId, second: u64, row: Option<&Row<'_>>) -> Option<Made> {
    Some(match *step {
        Step::Begin { token: lease, etag: own, upload, sequencer: digit } => {
            let begun = start("", &token(lease), second);
            let digests_first = upload % 2 == 0;
            let upload = UploadRef { id: format!("upload {upload}"), ..begun.upload };
            let sequencer = digit.and_then(sequencer);
            let etag = etag(own);
            let id = id.clone();
            Made::Begin(Start { id, etag, upload, digests_first, sequencer, ..begun })
        }
        // Without a record there is nothing to seal; the backends do not agree on what to answer.
        Step::Seal { .. } if row.is_none() => return None,
        Step::Seal { token: lease, known } => {
            let sealed = seal("", &token(lease));
            let target_etag = sealed.target_etag.filter(|_| known);
            Made::Seal(Seal { id: id.clone(), target_etag, ..sealed })
        }
        Step::Finish { token: lease, etag: own, status, order: ordered } => {
            let lease = lease.map(token);
            let ended = end("", lease.as_deref(), second, second + 5);
            let proven = own.map(|_| Proven::Transit);
            let error = (status != JobStatus::Done).then(|| "why".to_owned());
            let (etag, order) = (own.map(etag), order(ordered, row));
            Made::Finish(Outcome { id: id.clone(), etag, status, error, proven, order, ..ended })
        }
        Step::Delete { order: ordered } => {
            let ended = end("", None, second, second + 5);
            let (order, version) = (order(ordered, row), None);
            let ended = Outcome { id: id.clone(), etag: None, deleted: true, ..ended };
            Made::Finish(Outcome { size: 0, version, order, ..ended })
        }
        Step::Repeat => return None,
    })
}

/// Carries the change out by the rules alone.
fn carry_out(made: &Made, row: &mut Option<Row<'static>>) -> Result<Option<UploadRef>, ErrorKind> {
    let change = match made {
        Made::Begin(start) => Change::Begin(start),
        Made::Seal(seal) => Change::Seal(seal),
        Made::Finish(outcome) => Change::Finish(outcome),
    };
    let mut changed = row.take();
    let carried = change.carry_out(&mut changed);
    *row = changed.map(Row::into_owned);
    match carried {
        Carried::Out(dropped) => Ok(dropped),
        Carried::Repeated => Ok(None),
        Carried::Fenced => Err(ErrorKind::LeaseLost),
    }
}

async fn put(store: &dyn RecordStore, made: &Made) -> Result<Option<UploadRef>, ErrorKind> {
    let answer = match made {
        Made::Begin(start) => store.begin(start).await.map(|()| None),
        Made::Seal(seal) => store.seal(seal).await.map(|()| None),
        Made::Finish(outcome) => {
            let answers = store.finish_each(std::slice::from_ref(outcome)).await;
            answers.into_iter().next().expect("an answer")
        }
    };
    answer.map_err(|error| error.kind())
}

/// Promise 2.
pub async fn any_sequence_of_changes_leaves_what_the_rules_say(store: &dyn RecordStore) {
    let config = Config { cases: 60, failure_persistence: None, ..Config::default() };
    let sequences = Cell::new(0);
    let check = |steps: Vec<Step>| {
        sequences.set(sequences.get() + 1);
        let id = id(&format!("sequence {}", sequences.get()));
        Handle::current().block_on(async {
            let (mut row, mut last) = (None, None);
            for (step, second) in steps.iter().zip((0..).step_by(10)) {
                last = made(step, &id, second, row.as_ref()).or(last);
                let Some(made) = &last else { continue };
                let (expected, answer) = (carry_out(made, &mut row), put(store, made).await);
                prop_assert_eq!(answer, expected, "at second {}", second);
                let record = store.load(&id).await.unwrap();
                let expected = row.as_ref().map(|row| row.record(id.clone()));
                prop_assert_eq!(record, expected, "at second {}", second);
            }
            Ok(())
        })
    };
    tokio::task::block_in_place(|| TestRunner::new(config).run(&steps(), check)).unwrap();
}
