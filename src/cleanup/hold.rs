//! Whether a worker may be filling an upload at this moment.
//!
//! Pure: the record, the time and the state of the queue are arguments.

use std::time::{Duration, SystemTime};

use super::Standing;
use crate::record::{JobStatus, Record};

/// Clocks of two machines that sign requests differ by less: the services refuse more.
const SKEW: Duration = Duration::from_secs(15 * 60);

/// Until when a worker may hold an upload.
#[derive(Clone, Copy, Debug)]
pub struct Hold {
    /// The longest time for which an attempt goes on.
    longest: Duration,
    /// No message is leased: the queue says so exactly.
    nobody_works: bool,
}

impl Hold {
    /// For workers that stop after `job_timeout`, and finish running parts within `grace`. An object
    /// of which no part has arrived by then gets the same time again.
    pub fn new(job_timeout: Duration, grace: Duration, nobody_works: bool) -> Self {
        let longest = job_timeout.saturating_mul(2).saturating_add(grace).saturating_add(SKEW);
        Self { longest, nobody_works }
    }

    /// What becomes of the job on record.
    pub(super) fn standing(&self, record: &Record, now: SystemTime) -> Standing {
        match (record.status, record.end_time) {
            (JobStatus::Failed | JobStatus::Done, _) => Standing::Failed,
            (JobStatus::Running, None) if !self.nobody_works => {
                // Ahead of this machine's clock: it has just begun.
                let age = now.duration_since(record.start_time).unwrap_or_default();
                if age < self.longest { Standing::Held } else { Standing::Waiting }
            }
            (JobStatus::Running, _) => Standing::Waiting,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::object::ObjectId;
    use crate::record::RecordId;

    fn record(status: JobStatus, start: u64, end: Option<u64>) -> Record {
        let at = |second| UNIX_EPOCH + Duration::from_secs(second);
        Record {
            id: RecordId::of(&ObjectId::new("s", "k"), &ObjectId::new("d", "k")),
            size: 1,
            version: None,
            etag: None,
            upload: None,
            target_etag: None,
            status,
            instance: String::new(),
            lease: None,
            tries: 1,
            first_time: at(start),
            start_time: at(start),
            end_time: end.map(at),
            spent: None,
            progress: 0,
            last_error: None,
            sequencer: None,
            deleted: false,
            proven: None,
            written: None,
            redriven: None,
            redrives: 0,
            digests_first: false,
        }
    }

    /// Promise 7.
    #[test]
    fn what_a_worker_may_be_filling_is_held() {
        let now = UNIX_EPOCH + Duration::from_secs(100_000);
        let hold = Hold::new(Duration::from_secs(3600), Duration::from_secs(100), false);
        let longest = 2 * 3600 + 100 + 900;
        for (status, start, end, expected) in [
            (JobStatus::Running, 99_999, None, Standing::Held),
            (JobStatus::Running, 100_000 - longest + 1, None, Standing::Held),
            (JobStatus::Running, 100_000 - longest, None, Standing::Waiting),
            (JobStatus::Running, 100_500, None, Standing::Held),
            (JobStatus::Running, 99_000, Some(99_999), Standing::Waiting),
            (JobStatus::Failed, 99_000, Some(99_999), Standing::Failed),
        ] {
            let standing = hold.standing(&record(status, start, end), now);
            assert_eq!(standing, expected, "{status:?} {start} {end:?}");
        }
        let idle = Hold { nobody_works: true, ..hold };
        let begun = record(JobStatus::Running, 99_999, None);
        assert_eq!(idle.standing(&begun, now), Standing::Waiting);
    }
}
