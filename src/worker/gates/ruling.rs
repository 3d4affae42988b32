//! Whose fault a refusal is: the object's own, or that of a place that refuses everything. Asks the
//! place with a neutral call, and compares with what other objects get.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;
use tracing::info;

use super::{Gates, name_of, places, tried};
use crate::error::{Asked, Error, ErrorKind};
use crate::job::Job;
use crate::mutex::lock;
use crate::store::{ListRequest, Reads, Side};
use crate::worker::blame::{self, Blame, Neutral, Ruling};

/// The result of a neutral call holds this long: a thousand odd objects do not cost a thousand
/// calls.
const NEUTRAL_HOLDS: Duration = Duration::from_secs(10);
/// A neutral call that takes longer counts as unanswered.
const NEUTRAL_LIMIT: Duration = Duration::from_secs(30);
/// A refused object waits this long to see what others get.
const HOLD: Duration = Duration::from_secs(5);
/// How often it looks meanwhile.
const LOOK: Duration = Duration::from_millis(50);
/// Beyond this number suspects are forgotten, which costs each of them another try.
const MOST_SUSPECTS: usize = 10_000;

/// Whose fault a refusal is.
#[derive(Debug)]
pub(in crate::worker) enum Ruled {
    /// The object's own: it keeps its usual meaning.
    Own(Error),
    /// Not the object's.
    Back(Error),
    /// The object's own, unless all others get the same: none was tried meanwhile.
    Alone(Error),
    /// This worker's: it would do no better with any other object.
    Unfit(Error),
}

/// The place of a refusal, and the text that refusals of one kind share.
fn refusal(error: &Error) -> Option<(Asked, String)> {
    let evidence = error.evidence()?;
    let what = format!("{} {} {}", evidence.call, evidence.status, evidence.code);
    Some((evidence.place.clone()?, what))
}

impl Gates {
    /// Decides whose fault it is that `job` was refused. `probe`: the job was to show whether its
    /// places accept objects again.
    pub(in crate::worker) async fn rule(
        &self,
        error: Error,
        job: &Job,
        probe: bool,
        stopping: impl Fn() -> bool,
    ) -> Ruled {
        let about = blame::about(&error);
        if about == blame::About::Object {
            if probe {
                self.probe_over(job);
            }
            return Ruled::Own(error);
        }
        let place = match error.evidence().and_then(|evidence| evidence.place.clone()) {
            Some(place) => place,
            None => match self.silent_one(job).await {
                Some(place) => place,
                None => {
                    self.probe_over(job);
                    return Ruled::Own(error);
                }
            },
        };
        if !probe && self.with(&place, |gate| gate.breaker.is_closed()).is_some() {
            return Ruled::Back(error);
        }
        // Keys are rotated, and places go silent, at any moment.
        let changes = matches!(about, blame::About::Silence | blame::About::Asker);
        let neutral = self.neutral(&place, changes).await;
        let blame = blame::rule(about, neutral);
        if probe {
            for other in places(job).iter().filter(|other| **other != place) {
                self.give_up(other, job);
            }
            self.failed(&place, &error);
        }
        match blame {
            Blame::Asker => {
                self.close(&place, blame, &error);
                Ruled::Unfit(error)
            }
            Blame::Place | Blame::Room | Blame::Side => {
                self.close(&place, blame, &error);
                Ruled::Back(error)
            }
            Blame::Object => Ruled::Own(error),
            Blame::Unless | Blame::Passing => {
                match self.among_others(error, &place, job, stopping).await {
                    Ruled::Own(error) if about == blame::About::Asker && self.is_new(job) => {
                        Ruled::Back(error)
                    }
                    ruled => ruled,
                }
            }
        }
    }

    /// Whether this is the first time that `job` was refused as if the key were wrong. The
    /// credentials may have been rotated between the refusal and the neutral call: only a job that
    /// is refused again is itself at fault.
    fn is_new(&self, job: &Job) -> bool {
        let mut suspects = lock(&self.suspects);
        if suspects.len() >= MOST_SUSPECTS {
            suspects.clear();
        }
        suspects.insert(name_of(job))
    }

    /// The side that does not answer, for an error that does not name its place.
    async fn silent_one(&self, job: &Job) -> Option<Asked> {
        for place in places(job) {
            if self.neutral(&place, true).await != Neutral::Answered {
                return Some(place);
            }
        }
        None
    }

    /// Compares a refusal with what the other objects get.
    async fn among_others(
        &self,
        error: Error,
        place: &Asked,
        job: &Job,
        stopping: impl Fn() -> bool,
    ) -> Ruled {
        let Some(evidence) = error.evidence().cloned() else { return Ruled::Own(error) };
        let answered = || self.both.side(place).answered(&place.bucket, &evidence.call);
        let Some((_, what)) = refusal(&error) else { return Ruled::Own(error) };
        let is_silence = blame::about(&error) == blame::About::Silence;
        let closes_as = if is_silence { Blame::Passing } else { Blame::Unless };
        let (before, now) = (answered(), self.now());
        let [source, destination] = tried(job);
        let this = if place.side == Side::Source.name() { source } else { destination };
        let ruling = self.with(place, |gate| {
            let between = before > gate.answered;
            gate.answered = before;
            let ruling = gate.breaker.refused((&what, closes_as), this, between, now);
            (ruling, gate.acquittals)
        });
        let (ruling, acquittals) = ruling;
        match ruling {
            Ruling::Record => return Ruled::Own(error),
            Ruling::Back => {
                self.note_closed(place, &error);
                return Ruled::Back(error);
            }
            Ruling::Hold => {}
        }
        // Silence is retried by rules of its own: it is not held up, since no failure is recorded
        // yet.
        if is_silence {
            return Ruled::Own(match error.kind() {
                // It was retried for as long as a throttled bucket is, and the bucket answers.
                ErrorKind::Throttled => error.of_kind(ErrorKind::Invalid).note(format_args!(
                    "{place} answers other requests: it has trouble with this object alone"
                )),
                _ => error,
            });
        }
        let until = Instant::now() + HOLD;
        while Instant::now() < until {
            let (closed, others) = self.with(place, |gate| {
                let closed = gate.breaker.is_closed().is_some();
                (closed, gate.acquittals != acquittals)
            });
            if others || answered() != before {
                return Ruled::Own(error);
            }
            if stopping() || closed {
                return Ruled::Back(error);
            }
            tokio::time::sleep(LOOK).await;
        }
        Ruled::Alone(error)
    }

    /// The row has just closed the place: logs it once.
    fn note_closed(&self, place: &Asked, error: &Error) {
        let why = error.to_string();
        let first = self.with(place, |gate| {
            let first = gate.breaker.is_closed().filter(|_| gate.why.is_empty());
            gate.why.clone_from(&why);
            first
        });
        if let Some((blame, ..)) = first {
            self.say_closed(place, blame, &why);
        }
    }

    /// Whether enough probes were refused like this object that one which was accepted before
    /// should be tried again.
    pub(in crate::worker) fn is_doubtful(&self, error: &Error) -> bool {
        let place = error.evidence().and_then(|evidence| evidence.place.as_ref());
        place.is_some_and(|place| self.with(place, |gate| gate.breaker.is_doubtful()))
    }

    /// An object that was accepted before was accepted again: objects refused like this are
    /// themselves at fault.
    pub(in crate::worker) fn acquit(&self, error: &Error) {
        let Some((place, what)) = refusal(error) else { return };
        let until = self.now() + NEUTRAL_HOLDS;
        let was_closed = self.with(&place, |gate| {
            gate.why.clear();
            let was_closed = gate.breaker.is_closed().is_some();
            gate.breaker.acquit(&what, until);
            gate.acquittals += 1;
            was_closed
        });
        if was_closed {
            info!(
                "{place} accepts other objects, so objects that it refuses with this error are recorded as failed ({error})"
            );
        }
    }

    /// An object that was accepted before was refused like this one: the place refuses everything.
    pub(in crate::worker) fn condemn(&self, error: &Error) {
        if let Some((place, _)) = refusal(error) {
            self.close(&place, Blame::Unless, error);
        }
    }

    /// Makes a neutral call to each place that has not been proven yet, before its first object is
    /// tried. Returns an error if this worker is at fault.
    pub(in crate::worker) async fn prove(&self, places: &BTreeSet<Asked>) -> Result<(), Error> {
        let unproven = places.iter().filter(|place| {
            self.with(place, |gate| !gate.proven && gate.breaker.is_closed().is_none())
        });
        let asked = unproven.map(async |place| (place, self.ask(place).await));
        for (place, (neutral, error)) in join_all(asked).await {
            let blame = match (neutral, &error) {
                (Neutral::Asker, Some(error)) => return Err(error.another()),
                (Neutral::Place, Some(_)) => Blame::Place,
                (Neutral::Silent, Some(_)) => Blame::Side,
                _ => {
                    self.with(place, |gate| gate.proven = true);
                    continue;
                }
            };
            if let Some(error) = &error {
                self.close(place, blame, error);
            }
        }
        Ok(())
    }

    /// Lists the bucket with the credentials that were refused, unless that was done after this
    /// call began, or recently. `anew`: a recent good answer does not count.
    async fn neutral(&self, place: &Asked, anew: bool) -> Neutral {
        let began = Instant::now();
        let _one = self.asking.lock().await;
        let known = self.with(place, |gate| gate.neutral).filter(|(at, neutral)| {
            let fresh = at.elapsed() < NEUTRAL_HOLDS && !(anew && *neutral == Neutral::Answered);
            *at >= began || fresh
        });
        match known {
            Some((_, neutral)) => neutral,
            None => self.ask(place).await.0,
        }
    }

    /// The neutral call.
    pub(super) async fn ask(&self, place: &Asked) -> (Neutral, Option<Error>) {
        let at = Instant::now();
        let request = ListRequest {
            bucket: place.bucket.clone(),
            max_keys: Some(1),
            ..ListRequest::default()
        };
        let asked = self.both.side(place).list(&request);
        let answer = match tokio::time::timeout(NEUTRAL_LIMIT, asked).await {
            Ok(answer) => answer.map(drop),
            Err(_) => {
                let message =
                    format!("{place} gave no answer within {} s", NEUTRAL_LIMIT.as_secs());
                Err(Error::new(ErrorKind::Unavailable, message))
            }
        };
        let neutral = blame::neutral(answer.as_ref().copied());
        self.with(place, |gate| gate.neutral = Some((at, neutral)));
        (neutral, answer.err())
    }
}
