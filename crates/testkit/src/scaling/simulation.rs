//! Runs a policy on a trace, second by second of a simulated clock.

use super::fleet::{Account, Fleet};
use super::policy::{Group, Policy, Sample};
use super::queue::{Message, Queue};
use super::trace::{Arrival, Loss, Trace};

/// The time from the end of a minute until CloudWatch has its datapoint, seconds (assumed). Both
/// services send once a minute
/// (<https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/monitoring-using-cloudwatch.html>,
/// <https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-metrics.html>).
const LAG: u32 = 60;
/// CloudWatch stops watching a queue after this long without a call, seconds. Once the queue is used
/// again, it may take as long until CloudWatch watches it (the first page above).
const INACTIVE: u32 = 6 * 3600;
const WAKING: u32 = 15 * 60;
/// One seed, so that every run of a trace meets the same storms.
const SEED: u64 = 5;
/// A run ends once all is done and the fleet has had its final size for this long, seconds.
const QUIET: u32 = 600;
/// The longest run, seconds.
const HORIZON: u32 = 72 * 3600;

/// The result of a policy on a trace.
#[derive(Clone, Debug)]
pub struct Run {
    /// The policy's name.
    pub name: &'static str,
    /// What the fleet has cost and done.
    pub account: Account,
    /// When the first message was sent, seconds.
    pub first: u32,
    /// Workers left at the end.
    pub end: u32,
    /// Messages sent.
    pub sent: u32,
    /// Dead letters.
    pub dead: u32,
    /// How often the desired capacity changed direction.
    pub turns: u32,
    /// The run, minute by minute.
    pub minutes: Vec<Minute>,
}

/// One minute of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Minute {
    /// Messages waiting or in flight, at the end of the minute.
    pub messages: f64,
    /// Workers taking jobs, on average.
    pub workers: f64,
}

struct World<'a> {
    policy: &'a Policy,
    trace: &'a Trace,
    queue: Queue,
    fleet: Fleet,
    random: fastrand::Rng,
    desired: u32,
    arrived: usize,
    sent_before: u32,
    worked: u32,
    last_call: u32,
    watched_from: u32,
    shown: Vec<Sample>,
    run: Run,
    rising: Option<bool>,
}

/// Runs the trace until everything is done and the fleet has its final size.
pub fn play(policy: &Policy, trace: &Trace) -> Run {
    let mut world = World::new(policy, trace);
    let end = trace.arrivals.last().map_or(0, |arrival| arrival.at);
    let mut quiet = 0;
    for now in 0..HORIZON {
        world.second(now);
        let done = world.run.sent == world.fleet.account.done + world.queue.dead;
        let least = world.fleet.size() <= policy.min && world.desired <= policy.min;
        quiet = if now > end && done && least { quiet + 1 } else { 0 };
        if quiet == QUIET {
            break;
        }
    }
    let (account, dead, end) = (world.fleet.account, world.queue.dead, world.fleet.size());
    Run { account, dead, end, ..world.run }
}

impl<'a> World<'a> {
    fn new(policy: &'a Policy, trace: &'a Trace) -> Self {
        let run = Run {
            name: policy.name,
            account: Account::default(),
            end: 0,
            first: trace.arrivals.first().map_or(0, |arrival| arrival.at),
            sent: 0,
            dead: 0,
            turns: 0,
            minutes: Vec::new(),
        };
        Self {
            policy,
            trace,
            queue: Queue::default(),
            fleet: Fleet::default(),
            random: fastrand::Rng::with_seed(SEED),
            desired: policy.min,
            arrived: 0,
            sent_before: 0,
            worked: 0,
            last_call: 0,
            watched_from: 0,
            shown: Vec::new(),
            run,
            rising: None,
        }
    }

    fn second(&mut self, now: u32) {
        let trace = self.trace;
        let arrivals = trace.arrivals.get(self.arrived..).unwrap_or_default();
        for arrival in arrivals.iter().take_while(|arrival| arrival.at <= now) {
            self.arrive(*arrival);
        }
        for (_, loss) in self.trace.losses.iter().filter(|(at, _)| *at == now) {
            match loss {
                Loss::Reclaimed(share) => self.fleet.reclaim(*share, now, &mut self.random),
                Loss::Killed(share) => {
                    self.fleet.kill(*share, now, &mut self.queue, &mut self.random);
                }
            }
        }
        self.queue.tick(now);
        self.fleet.tick(now, &mut self.queue);
        if self.fleet.running(now) > 0 {
            self.called(now);
        }
        self.worked += self.fleet.at_work(now);
        if now % 60 == 59 {
            self.observe(now);
        }
        if now % 60 == (59 + LAG) % 60 {
            self.decide(now);
        }
        self.fleet.reconcile(self.desired, now);
    }

    fn arrive(&mut self, arrival: Arrival) {
        self.arrived += 1;
        self.called(arrival.at);
        for _ in 0..arrival.messages {
            let left = self.random.u32(self.trace.work.0..=self.trace.work.1);
            let (sent, resumes) = (arrival.at, self.trace.large);
            self.queue.send(Message { sent, left, resumes, receives: 0 });
        }
        self.run.sent += arrival.messages;
    }

    /// Notes that the queue is used: CloudWatch watches it, at once or after a while.
    fn called(&mut self, now: u32) {
        if now - self.last_call > INACTIVE {
            self.watched_from = now + WAKING;
        }
        self.last_call = now;
    }

    fn observe(&mut self, now: u32) {
        let oldest = self.queue.oldest().into_iter().chain(self.fleet.oldest()).min();
        let sample = Sample {
            sent: self.run.sent - self.sent_before,
            age: oldest.map_or(0, |sent| now - sent),
            visible: self.queue.visible(),
            hidden: self.fleet.in_work() + self.queue.leased(),
            running: self.fleet.running(now),
            wanted: self.desired,
        };
        self.sent_before = self.run.sent;
        let (messages, workers) = (sample.visible + sample.hidden, f64::from(self.worked) / 60.0);
        self.run.minutes.push(Minute { messages: f64::from(messages), workers });
        self.worked = 0;
        let watched = now >= self.watched_from && now - self.last_call <= INACTIVE;
        let unseen = Sample { visible: 0, hidden: 0, sent: 0, age: 0, ..sample };
        self.shown.push(if watched { sample } else { unseen });
    }

    fn decide(&mut self, now: u32) {
        let behind = (LAG / 60) as usize;
        let shown = &self.shown[..self.shown.len().saturating_sub(behind)];
        let (warm, size) = (self.fleet.warm(now, self.policy.warmup), self.fleet.size());
        let group = Group {
            desired: self.desired,
            warm,
            warming: warm < size || size < self.desired,
            min: self.policy.min,
            max: self.trace.max,
        };
        let decided = self.policy.decide(shown, group);
        if decided != self.desired {
            let rising = decided > self.desired;
            self.run.turns += u32::from(self.rising.is_some_and(|before| before != rising));
            self.rising = Some(rising);
            self.desired = decided;
        }
    }
}
