//! Decides what happens to a message once its objects have ended.
//!
//! Pure: the ends of the objects are arguments, so every end of a message is a row of a table.

use super::job_end::JobEnd;

/// The end of a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Settlement {
    /// Every job is done: delete it.
    Delete,
    /// Its one object failed for good: make it a dead letter.
    Bury,
    /// Give it back as it is, which counts as one of its receipts.
    Release,
    /// Send the remaining jobs, given by index, as new messages before this one is deleted.
    SendOn {
        /// In as few messages as they fit into.
        together: Vec<usize>,
        /// One message each.
        apart: Vec<usize>,
    },
}

/// Decides the end of a message. `gained`: this turn has brought parts of an object to the
/// destination; `last`: the message must not be given back, since it would become a dead letter.
///
///
/// A turn that gained something does not count against the remaining objects: they go on as new
/// messages, with all their receipts ahead of them. Every such division leaves less to do.
pub(super) fn settle(ended: &[JobEnd], gained: bool, last: bool) -> Settlement {
    let done = |ended: &JobEnd| matches!(ended, JobEnd::Done(_));
    if ended.iter().all(done) {
        return Settlement::Delete;
    }
    let gained = gained || ended.iter().any(done);
    let failed = ended.iter().any(|ended| matches!(ended, JobEnd::Failed(_)));
    // A place that refuses everything costs no object a receipt.
    let back = ended.iter().any(|ended| matches!(ended, JobEnd::Back(_)));
    match ended {
        [JobEnd::Failed(_)] => return Settlement::Bury,
        [JobEnd::Again(_)] if !last => return Settlement::Release,
        _ if !gained && !failed && !last && !back => return Settlement::Release,
        _ => {}
    }
    let (mut together, mut apart) = (Vec::new(), Vec::new());
    for (at, ended) in ended.iter().enumerate() {
        match ended {
            JobEnd::Done(_) => {}
            JobEnd::Back(_) => together.push(at),
            JobEnd::Stopped(_) if gained || failed || back => together.push(at),
            // If nothing made progress, one of the stopped objects may hold the others up: each
            // goes by itself.
            JobEnd::Stopped(_) | JobEnd::Again(_) | JobEnd::Failed(_) => apart.push(at),
        }
    }
    Settlement::SendOn { together, apart }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::transfer::Done;

    /// One letter each: done, stopped, again, failed, back.
    fn ended(letters: &str) -> Vec<JobEnd> {
        let one = |letter| match letter {
            'd' => JobEnd::Done(Done::Deleted),
            's' => JobEnd::Stopped(Error::cancelled()),
            'a' => JobEnd::Again(Error::cancelled()),
            'b' => JobEnd::Back(Error::cancelled()),
            _ => JobEnd::Failed(Error::cancelled()),
        };
        letters.chars().map(one).collect()
    }

    fn on(together: &[usize], apart: &[usize]) -> Settlement {
        Settlement::SendOn { together: together.to_vec(), apart: apart.to_vec() }
    }

    /// Promises 0, 1, 9.
    #[test]
    fn one_object_by_itself() {
        for (letters, gained, last, expected) in [
            ("d", false, true, Settlement::Delete),
            ("f", true, false, Settlement::Bury),
            ("a", false, false, Settlement::Release),
            ("a", true, false, Settlement::Release),
            // The fault is not its own: it must not become a dead letter without a recorded
            // failure.
            ("a", true, true, on(&[], &[0])),
            ("s", false, false, Settlement::Release),
            // It made progress, or was stopped through no fault of its own at its last receipt.
            ("s", true, false, on(&[0], &[])),
            ("s", false, true, on(&[], &[0])),
            // A fault that is no object's own costs no receipt.
            ("b", false, false, on(&[0], &[])),
            ("b", false, true, on(&[0], &[])),
        ] {
            assert_eq!(
                settle(&ended(letters), gained, last),
                expected,
                "{letters} {gained} {last}"
            );
        }
    }

    /// Promises 0, 1, 9.
    #[test]
    fn several_objects() {
        for (letters, gained, last, expected) in [
            ("dddd", false, false, Settlement::Delete),
            // Nothing made progress: it stays as it was, until its receipts are used up.
            ("ssas", false, false, Settlement::Release),
            ("ssas", false, true, on(&[], &[0, 1, 2, 3])),
            // Objects that failed or had trouble go one by one, objects that were only stopped
            // together.
            ("dfas", false, false, on(&[3], &[1, 2])),
            ("ffff", false, false, on(&[], &[0, 1, 2, 3])),
            ("dsss", false, true, on(&[1, 2, 3], &[])),
            ("ssss", true, false, on(&[0, 1, 2, 3], &[])),
            ("bbsb", false, false, on(&[0, 1, 2, 3], &[])),
            ("dbfa", false, false, on(&[1], &[2, 3])),
        ] {
            assert_eq!(
                settle(&ended(letters), gained, last),
                expected,
                "{letters} {gained} {last}"
            );
        }
    }
}
