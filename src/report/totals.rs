//! The numbers of a report, added up as its lines are written.
//!
//! Pure: the numbers follow from the records.

use std::collections::BTreeMap;
use std::time::SystemTime;

use super::line::LineOutcome;
use super::reasons::Reasons;
use super::timeline::Timeline;
use crate::estimate::histogram::Histogram;
use crate::estimate::work::Work;
use crate::object::Etag;
use crate::record::{Proven, Record};

/// At most this many workers by name; the rest are counted together.
const MOST_WORKERS: usize = 1000;
/// What the others are called.
const OTHER_WORKERS: &str = "others";
/// At most this many pairs of buckets by name.
const MOST_ROUTES: usize = 100;
/// What the others are called.
const OTHER_ROUTES: [&str; 2] = ["others", "others"];

/// Objects and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// Objects.
    pub objects: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Amount {
    fn add(&mut self, bytes: u64) {
        self.objects += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

/// The numbers. They take the same memory for one object and for a billion.
#[derive(Clone, Debug, Default)]
pub struct ReportTotals {
    outcomes: BTreeMap<LineOutcome, Amount>,
    proofs: BTreeMap<Option<Proven>, Amount>,
    workers: BTreeMap<String, Amount>,
    routes: BTreeMap<[String; 2], Amount>,
    /// Failures by reason.
    pub reasons: Reasons,
    /// Sizes of what was copied.
    pub sizes: Histogram,
    /// What was copied when.
    pub timeline: Timeline,
    /// Objects that took more than one attempt.
    pub repeated: u64,
    /// Attempts at all objects.
    pub attempts: u64,
    /// The earliest start and the latest end.
    pub span: Option<(SystemTime, SystemTime)>,
    /// What was copied, as an estimate of requests and costs counts it.
    pub work: Work,
}

impl ReportTotals {
    /// Nothing yet; `work`: how objects are copied.
    pub fn new(work: Work) -> Self {
        Self { work, ..Self::default() }
    }

    /// Adds an object.
    pub fn add(&mut self, record: &Record) {
        let outcome = LineOutcome::of(record);
        self.outcomes.entry(outcome).or_default().add(record.size);
        self.attempts += u64::from(record.tries);
        self.repeated += u64::from(record.tries > 1);
        self.span(record);
        self.route(record);
        match outcome {
            LineOutcome::Copied => self.copied(record),
            LineOutcome::Deleted => self.work.deletes += 1,
            LineOutcome::Failed => {
                self.reasons.add(&record.id, record.size, record.last_error.as_deref());
            }
            LineOutcome::Unfinished => {}
        }
    }

    fn route(&mut self, record: &Record) {
        let [src, des] = [&record.id.src.bucket, &record.id.des.bucket];
        let is_this = |route: &&[String; 2]| route[0] == *src && route[1] == *des;
        let is_full = self.routes.len() >= MOST_ROUTES;
        // Look up first: names are copied once per route, not per object.
        match self.routes.iter_mut().find(|(route, _)| is_this(route)) {
            Some((_, amount)) => amount.add(record.size),
            None => {
                let route = match is_full {
                    true => OTHER_ROUTES.map(str::to_owned),
                    false => [src.clone(), des.clone()],
                };
                self.routes.entry(route).or_default().add(record.size);
            }
        }
    }

    fn span(&mut self, record: &Record) {
        let (begin, end) = (record.first_time, record.end_time.unwrap_or(record.start_time));
        let known = self.span.unwrap_or((begin, end));
        self.span = Some((known.0.min(begin), known.1.max(end)));
    }

    fn copied(&mut self, record: &Record) {
        self.proofs.entry(record.proven).or_default().add(record.size);
        self.sizes.add(record.size);
        self.work.copy(record.size, None, record.etag.as_ref().and_then(Etag::parts));
        if let Some(end) = record.end_time {
            self.timeline.add(end, record.size);
        }
        // Look up first: a name is copied once per worker, not per object.
        let is_full = self.workers.len() >= MOST_WORKERS;
        match self.workers.get_mut(&record.instance) {
            Some(amount) => amount.add(record.size),
            None => {
                let name = if is_full { OTHER_WORKERS } else { &record.instance };
                self.workers.entry(name.to_owned()).or_default().add(record.size);
            }
        }
    }

    /// From which bucket to which, with the objects on record, the most first.
    pub fn routes(&self) -> Vec<(&[String; 2], Amount)> {
        let mut routes: Vec<_> = self.routes.iter().map(|(route, sum)| (route, *sum)).collect();
        routes.sort_by_key(|(_, amount)| std::cmp::Reverse(amount.objects));
        routes
    }

    /// The objects that ended like this.
    pub fn of(&self, outcome: LineOutcome) -> Amount {
        self.outcomes.get(&outcome).copied().unwrap_or_default()
    }

    /// The copies that are proven like this; `None`: it is not on record how.
    pub fn proven(&self, proven: Option<Proven>) -> Amount {
        self.proofs.get(&proven).copied().unwrap_or_default()
    }

    /// All workers, those that copied most objects first.
    pub fn workers(&self) -> Vec<(&str, Amount)> {
        let mut workers: Vec<_> = self.workers.iter().map(|(name, of)| (&**name, *of)).collect();
        workers.sort_by_key(|(_, amount)| std::cmp::Reverse(amount.objects));
        workers
    }

    /// All objects in the report.
    pub fn objects(&self) -> u64 {
        self.outcomes.values().map(|amount| amount.objects).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::JobStatus;
    use crate::report::line::tests::record;

    #[test]
    fn every_object_is_in_one_outcome_and_every_copy_in_one_proof_and_worker() {
        let mut totals = ReportTotals::default();
        for n in 0..MOST_WORKERS + 10 {
            let proven = [None, Some(Proven::Transit)][n % 2];
            totals.add(&Record { proven, instance: format!("w{n}"), ..record("k") });
        }
        let failed = Record { status: JobStatus::Failed, tries: 3, ..record("f") };
        totals.add(&failed);
        totals.add(&Record { deleted: true, ..record("d") });
        totals.add(&Record { status: JobStatus::Running, end_time: None, ..record("r") });
        let copies = MOST_WORKERS as u64 + 10;
        assert_eq!(totals.objects(), copies + 3);
        let counted = LineOutcome::ALL.map(|outcome| totals.of(outcome).objects);
        assert_eq!(counted, [copies, 1, 1, 1]);
        assert_eq!(totals.proven(None).objects, copies / 2);
        assert_eq!(totals.proven(Some(Proven::Transit)).objects, copies / 2);
        let workers = totals.workers();
        assert_eq!(workers.iter().map(|(_, amount)| amount.objects).sum::<u64>(), copies);
        assert_eq!((workers.len(), workers[0].0), (MOST_WORKERS + 1, OTHER_WORKERS));
        assert_eq!((totals.repeated, totals.sizes.objects()), (1, copies));
    }
}
