//! Instances and the jobs on them, behaving like the product's worker.

use super::queue::{Message, Queue};

/// `MaxParallelFile`: the number of messages that a worker works on at once.
pub const PLACES: usize = 5;
/// `JobTimeout`, milliseconds: after it a job goes back to the queue and keeps its parts.
pub const JOB_TIMEOUT: u32 = 3_500_000;
/// `GraceTime`, seconds: after a notice a worker has this long, then it releases what is unfinished.
pub const GRACE: u32 = 30;
/// How long before its end a Spot instance gets its notice, seconds
/// (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html>).
const SPOT_NOTICE: u32 = 120;
/// From launch until the group counts an instance as in service, seconds (assumed).
const LAUNCH: u32 = 30;
/// From launch until the worker takes jobs, seconds (assumed, for an image with the program on it).
const BOOT: u32 = 90;
/// An idle worker gives up its scale-in protection after this, seconds (`src/ec2/notices.rs`).
const REST: u32 = 15;
/// From the group's decision until an idle instance is gone, seconds (assumed): the instance learns
/// of it from its metadata and completes the hook.
const ENDING: u32 = 15;
/// The work that an interrupted large object loses with its unfinished parts, milliseconds (assumed).
const PART: u32 = 5_000;
/// The minimum that is billed, seconds
/// (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/concepts.html>).
const BILLED: u32 = 60;

#[derive(Debug)]
struct Job {
    message: Message,
    /// The duration of this attempt, milliseconds.
    spent: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Starting or working.
    There,
    /// Takes no more jobs; releases the rest at this second, if it has not done so.
    Drains(u32),
}

/// One instance.
#[derive(Debug)]
struct Instance {
    launched: u32,
    state: State,
    gone: Option<u32>,
    idle_since: u32,
    jobs: Vec<Job>,
}

/// What the fleet has cost and done.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Account {
    /// Messages done.
    pub done: u32,
    /// The longest time from sending a message until it was done, seconds.
    pub oldest: u32,
    /// When the last message was done, seconds.
    pub last: u32,
    /// Billed instance seconds.
    pub billed: u32,
    /// Those of them in which the instance had no job.
    pub idle: u32,
    /// The largest number of instances.
    pub peak: u32,
    /// Messages that were released or lost, and started again.
    pub again: u32,
    /// Their work that had to be repeated, milliseconds.
    pub twice: u64,
}

/// All instances of the group.
#[derive(Debug, Default)]
pub struct Fleet {
    instances: Vec<Instance>,
    /// What the fleet has cost and done.
    pub account: Account,
}

impl Instance {
    fn is_there(&self) -> bool {
        self.state == State::There
    }

    fn in_service(&self, now: u32) -> bool {
        self.is_there() && now >= self.launched + LAUNCH
    }

    fn takes_jobs(&self, now: u32) -> bool {
        self.is_there() && now >= self.launched + BOOT
    }

    /// Whether the group may end it: a worker with a job, now or a moment ago, is protected.
    fn may_end(&self, now: u32) -> bool {
        self.is_there() && self.jobs.is_empty() && now >= self.idle_since + REST
    }
}

impl Fleet {
    /// Instances that are neither draining nor gone.
    pub fn size(&self) -> u32 {
        count(&self.instances, Instance::is_there)
    }

    /// Instances in service.
    pub fn running(&self, now: u32) -> u32 {
        count(&self.instances, |instance| instance.in_service(now))
    }

    /// Instances whose worker takes jobs.
    pub fn at_work(&self, now: u32) -> u32 {
        count(&self.instances, |instance| instance.takes_jobs(now))
    }

    /// Instances in service for at least `warmup` seconds.
    pub fn warm(&self, now: u32, warmup: u32) -> u32 {
        let warm =
            |instance: &Instance| instance.is_there() && now >= instance.launched + LAUNCH + warmup;
        count(&self.instances, warm)
    }

    /// Messages being worked on.
    pub fn in_work(&self) -> u32 {
        self.instances.iter().map(|instance| instance.jobs.len() as u32).sum()
    }

    /// When the oldest message being worked on was sent, seconds.
    pub fn oldest(&self) -> Option<u32> {
        let jobs = self.instances.iter().flat_map(|instance| &instance.jobs);
        jobs.map(|job| job.message.sent).min()
    }

    /// Launches or ends instances until there are `desired`, unless jobs protect them.
    pub fn reconcile(&mut self, desired: u32, now: u32) {
        for _ in self.size()..desired {
            let there = State::There;
            let (idle_since, jobs) = (now + BOOT, Vec::new());
            self.instances.push(Instance {
                launched: now,
                state: there,
                gone: None,
                idle_since,
                jobs,
            });
        }
        for _ in desired..self.size() {
            let idle = self.instances.iter_mut().find(|instance| instance.may_end(now));
            let Some(idle) = idle else { break };
            idle.state = State::Drains(now);
            idle.gone = Some(now + ENDING);
        }
        self.account.peak = self.account.peak.max(self.size());
    }

    /// Gives a notice to some of the instances in service.
    pub fn reclaim(&mut self, share: f64, now: u32, random: &mut fastrand::Rng) {
        for at in self.chosen(share, now, random) {
            let instance = &mut self.instances[at];
            instance.state = State::Drains(now + GRACE);
            instance.gone = Some(now + SPOT_NOTICE);
        }
    }

    /// Takes some of the instances in service without notice.
    pub fn kill(&mut self, share: f64, now: u32, queue: &mut Queue, random: &mut fastrand::Rng) {
        for at in self.chosen(share, now, random) {
            let instance = &mut self.instances[at];
            instance.state = State::Drains(now);
            instance.gone = Some(now);
            for job in instance.jobs.drain(..) {
                queue.lose(self.account.interrupted(job), now);
            }
        }
    }

    fn chosen(&self, share: f64, now: u32, random: &mut fastrand::Rng) -> Vec<usize> {
        let running = (0..self.instances.len()).filter(|at| self.instances[*at].in_service(now));
        let mut running: Vec<usize> = running.collect();
        random.shuffle(&mut running);
        let number = (running.len() as f64 * share).ceil() as usize;
        running.truncate(number);
        running
    }

    /// Simulates one second.
    pub fn tick(&mut self, now: u32, queue: &mut Queue) {
        for instance in &mut self.instances {
            instance.work(now, queue, &mut self.account);
            if matches!(instance.state, State::Drains(until) if until <= now) {
                for job in instance.jobs.drain(..) {
                    queue.release(self.account.interrupted(job));
                }
            }
            self.account.billed += 1;
            self.account.idle += u32::from(instance.jobs.is_empty());
        }
        let account = &mut self.account;
        self.instances.retain(|instance| {
            let gone = instance.gone.is_some_and(|gone| gone <= now);
            if gone {
                account.billed += BILLED.saturating_sub(now - instance.launched);
            }
            !gone
        });
    }
}

impl Instance {
    /// Lets each slot work for a second, on several messages if they are short.
    fn work(&mut self, now: u32, queue: &mut Queue, account: &mut Account) {
        let mut places: Vec<Option<Job>> = self.jobs.drain(..).map(Some).collect();
        places.resize_with(PLACES, || None);
        for place in &mut places {
            let mut budget = 1000;
            while budget > 0 {
                if place.is_none() && self.takes_jobs(now) {
                    *place = queue.receive().map(|message| Job { message, spent: 0 });
                }
                let Some(job) = place else { break };
                let work = budget.min(job.message.left);
                job.message.left -= work;
                job.spent += work;
                budget -= work;
                if job.message.left == 0 {
                    account.finished(&job.message, now);
                    *place = None;
                } else if job.spent >= JOB_TIMEOUT {
                    queue.release(job.message.clone());
                    *place = None;
                }
            }
        }
        let busy = places.iter().any(Option::is_some);
        self.jobs.extend(places.into_iter().flatten());
        if busy {
            self.idle_since = now;
        }
    }
}

impl Account {
    fn finished(&mut self, message: &Message, now: u32) {
        self.done += 1;
        self.last = now;
        self.oldest = self.oldest.max(now - message.sent);
    }

    /// The remaining work of an interrupted job: a large object loses its unfinished parts, a small one
    /// everything.
    fn interrupted(&mut self, job: Job) -> Message {
        let lost = if job.message.resumes { job.spent.min(PART) } else { job.spent };
        self.again += 1;
        self.twice += u64::from(lost);
        Message { left: job.message.left + lost, ..job.message }
    }
}

fn count(instances: &[Instance], is: impl Fn(&Instance) -> bool) -> u32 {
    instances.iter().map(|instance| u32::from(is(instance))).sum()
}
