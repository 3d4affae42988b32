//! A fleet in lines, for `status`.

use std::fmt::Write as _;

use super::{FailureView, Overview, PhaseView, WorkerView, left_in_words};
use crate::format::escape::shown;
use crate::format::human;
use crate::monitor::activity::Phase;

impl PhaseView {
    /// The phase's name.
    pub fn name(&self) -> &'static str {
        match self.phase {
            Phase::Comparing => "comparing",
            Phase::Copying => "copying",
            Phase::Closing => "closing",
        }
    }

    /// Objects, of how many.
    pub fn objects_in_words(&self) -> String {
        let objects = human::count(self.objects);
        match self.of_objects {
            Some(of) if of != self.objects => format!("{objects} of {}", human::count(of)),
            _ => objects,
        }
    }

    /// Objects, and how many percent of all that is.
    pub fn objects_in_percent(&self) -> String {
        let objects = human::count(self.objects);
        match self.of_objects {
            Some(of) if of > self.objects => {
                format!("{objects} ({:.0} %)", self.objects as f64 / of as f64 * 100.0)
            }
            _ => objects,
        }
    }

    /// What is left, if the phase is active; what became of it otherwise.
    pub fn left_in_words(&self) -> String {
        match (self.active, self.objects, self.of_objects) {
            (false, 0, _) => "not begun".to_owned(),
            (false, objects, Some(of)) if objects < of => "stands still".to_owned(),
            (false, ..) => "done".to_owned(),
            (true, ..) => format!("left: {}", left_in_words(self.seconds_left)),
        }
    }

    /// Objects and bytes a second.
    pub fn rate_in_words(&self) -> String {
        let bytes = human::bytes(self.bytes_per_second as u64);
        format!("{:.1}/s {bytes}/s", self.objects_per_second)
    }
}

impl WorkerView {
    /// What the process holds, in a few words.
    pub fn holds_in_words(&self) -> String {
        match (&self.holds[..], self.held) {
            (_, 0) | ([], _) => "-".to_owned(),
            ([first, ..], 1) => shown(&first.object).to_string(),
            ([first, ..], held) => format!("{} and {} more", shown(&first.object), held - 1),
        }
    }

    /// Its last sign of life.
    pub fn sign_in_words(&self) -> String {
        match self.lives {
            true => format!("{} s ago", self.silent_seconds),
            false => format!(
                "silent for {}",
                human::duration(std::time::Duration::from_secs(self.silent_seconds))
            ),
        }
    }
}

impl Overview {
    /// All of it.
    pub fn text(&self) -> String {
        let mut text = format!("{}\n", self.fleet);
        if let Some(why) = &self.paused {
            let _ = writeln!(text, "PAUSED    {}; to go on: s3-migration resume", shown(why));
        }
        for phase in &self.phases {
            let (objects, bytes) = (phase.objects_in_words(), human::bytes(phase.bytes));
            let (rate, left) = (phase.rate_in_words(), phase.left_in_words());
            let _ =
                writeln!(text, "{:<9} {objects} objects, {bytes}, {rate}, {left}", phase.name());
        }
        for pair in &self.pairs {
            let amounts = pair.amounts;
            let [copied, to_copy, failed] = [amounts.copied, amounts.to_copy, amounts.failed]
                .map(|amount| human::count(amount.objects));
            let _ = writeln!(
                text,
                "pair      {} -> {}: {copied} copied of {to_copy}, {failed} failed",
                shown(&pair.source),
                shown(&pair.destination)
            );
        }
        for worker in &self.workers {
            let rate = human::bytes(worker.bytes_per_second as u64);
            let _ = writeln!(
                text,
                "process   {} {}, {} copied, {rate}/s, holds {}",
                shown(&worker.name),
                worker.sign_in_words(),
                human::count(worker.copied),
                worker.holds_in_words()
            );
        }
        for why in &self.waiting_for {
            let _ = writeln!(text, "waits     {}", shown(why));
        }
        for FailureView { reason, objects, example } in &self.failures {
            let (objects, example) = (human::count(*objects), shown(example));
            let _ = writeln!(text, "failed    {objects}: {}, such as {example}", shown(reason));
        }
        let _ = write!(text, "spent     {}", self.spent_in_words());
        text
    }

    /// Requests, bytes and dollars so far.
    pub fn spent_in_words(&self) -> String {
        let total = &self.total;
        let requests = human::count(total.source_requests + total.destination_requests);
        let (read, sent) = (human::bytes(total.read_bytes), human::bytes(total.sent_bytes));
        format!(
            "{requests} requests, {read} read, {sent} sent, {:.2} {}",
            total.cost, total.currency
        )
    }
}
