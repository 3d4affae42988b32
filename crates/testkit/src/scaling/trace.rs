//! When messages arrive in the queue, and when EC2 takes instances away.

use std::ops::Range;

use super::policy::MAX_WORKERS;

/// Messages that are sent at the same time.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// When, seconds.
    pub at: u32,
    /// The number of messages.
    pub messages: u32,
}

/// What EC2 does to the instances in service.
#[derive(Clone, Copy, Debug)]
pub enum Loss {
    /// Reclaims a share of them, with two minutes' notice.
    Reclaimed(f64),
    /// Takes a share of them without notice.
    Killed(f64),
}

/// A day in the life of a cluster.
#[derive(Clone, Debug)]
pub struct Trace {
    /// The name of its picture; the tests use it too.
    pub name: &'static str,
    /// The name in the tables.
    pub title: &'static str,
    /// In order of time.
    pub arrivals: Vec<Arrival>,
    /// The least and the most work of a message, milliseconds of one of a worker's slots.
    pub work: (u32, u32),
    /// Whether the messages are large objects, which keep their parts when interrupted.
    pub large: bool,
    /// In order of time, seconds.
    pub losses: Vec<(u32, Loss)>,
    /// `MaxWorkers`.
    pub max: u32,
}

const MINUTE: u32 = 60;
const HOUR: u32 = 3600;
/// Five slots work through 60 of these messages a minute.
const USUAL: (u32, u32) = (2500, 7500);

/// All traces.
pub fn all() -> Vec<Trace> {
    vec![
        flood(),
        wide_flood(),
        rising(),
        trickle(),
        giants(),
        storms(),
        giant_storms(),
        day(),
        slower(),
        faster(),
    ]
}

fn at_once(messages: u32) -> Vec<Arrival> {
    vec![Arrival { at: MINUTE, messages }]
}

fn plain(name: &'static str, title: &'static str, arrivals: Vec<Arrival>) -> Trace {
    Trace { name, title, arrivals, work: USUAL, large: false, losses: Vec::new(), max: MAX_WORKERS }
}

fn flood() -> Trace {
    plain("flood", "Flood: 100,000 messages at once", at_once(100_000))
}

fn wide_flood() -> Trace {
    let title = "The same flood, `MaxWorkers` 40";
    Trace { max: 40, ..plain("wide_flood", title, at_once(100_000)) }
}

/// This many messages a minute, evenly, from one minute to another.
fn evenly(minutes: Range<u32>, every: u32, messages: u32) -> impl Iterator<Item = Arrival> {
    let times = (minutes.start * MINUTE..minutes.end * MINUTE).step_by(every as usize);
    times.map(move |at| Arrival { at, messages })
}

fn rising() -> Trace {
    let title = "A jobsender that sends 2,000 messages a minute for 50 minutes, `MaxWorkers` 40";
    Trace { max: 40, ..plain("rising", title, evenly(1..51, 3, 100).collect()) }
}

fn trickle() -> Trace {
    let arrivals = (0..6 * 60).map(|minute| {
        // Three a minute on average, at irregular times.
        Arrival { at: minute * MINUTE + minute * 37 % 60, messages: 1 + minute * 7 % 5 }
    });
    plain("trickle", "Trickle: three messages a minute for six hours", arrivals.collect())
}

fn giants() -> Trace {
    let title = "Giants: 40 objects of an hour each";
    Trace { work: (3_600_000, 3_600_000), large: true, ..plain("giants", title, at_once(40)) }
}

/// Takes half of the fleet this many times, every fourth time without notice.
fn halved(times: u32, every: u32) -> Vec<(u32, Loss)> {
    let loss = |storm| if storm % 4 == 0 { Loss::Killed(0.5) } else { Loss::Reclaimed(0.5) };
    (1..=times).map(|storm| (storm * every, loss(storm))).collect()
}

fn storms() -> Trace {
    let title = "Spot storms: a flood of 100,000, every 20 minutes half of the fleet is taken, each fourth \
                 time without a notice";
    Trace { losses: halved(8, 20 * MINUTE), ..plain("storms", title, at_once(100_000)) }
}

fn giant_storms() -> Trace {
    let title = "The same storms over 40 objects of an hour each";
    let losses = halved(8, 20 * MINUTE);
    Trace { name: "giant_storms", title, losses, ..giants() }
}

fn day() -> Trace {
    let mut arrivals = vec![Arrival { at: 8 * HOUR, messages: 20_000 }];
    arrivals.extend(evenly(12 * 60..13 * 60, 12, 1));
    arrivals.extend(evenly(13 * 60..14 * 60, 3, 10));
    arrivals.extend(evenly(14 * 60..16 * 60, 12, 1));
    let title = "Day: silence, 20,000 messages at 8, then events: 5 a minute from 12 to 16, but 200 a minute \
                 from 13 to 14; silence";
    plain("day", title, arrivals)
}

fn slower() -> Trace {
    let title = "Wrong setting: a worker does 15 messages a minute, not 60 (5,000 at once)";
    Trace { work: (10_000, 30_000), ..plain("slower", title, at_once(5000)) }
}

fn faster() -> Trace {
    let title = "Wrong setting: a worker does 240 messages a minute, not 60 (5,000 at once)";
    Trace { work: (625, 1875), ..plain("faster", title, at_once(5000)) }
}
