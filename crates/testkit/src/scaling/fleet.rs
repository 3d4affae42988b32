//! Instances, and the jobs on them, as the product's worker behaves.

use super::queue::{Message, Queue};

/// `MaxParallelFile`: messages that a worker has in work at once.
pub const PLACES: usize = 5;
/// `JobTimeout`, milliseconds: then a job goes back to the queue, keeping its parts.
pub const JOB_TIMEOUT: u32 = 3_500_000;
/// `GraceTime`: what is not finished so long after a notice is given back, seconds.
pub const GRACE: u32 = 30;
/// A Spot instance is told so long before it is taken, seconds
/// (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html>).
const SPOT_NOTICE: u32 = 120;
/// From the launch until the group counts an instance as in service, seconds (assumed).
const LAUNCH: u32 = 30;
/// From the launch until the worker takes jobs, seconds (assumed; an image that has the program).
const BOOT: u32 = 90;
/// An idle worker gives up its scale-in protection after this, seconds (`src/ec2/notices.rs`).
const REST: u32 = 15;
/// From the group's decision until an idle instance is gone: it hears of it from its metadata and
/// completes the hook, seconds (assumed).
const ENDING: u32 = 15;
/// What an interrupted large object loses: the parts that were under way, milliseconds (assumed).
const PART: u32 = 5_000;
/// Billed at least, seconds
/// (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/concepts.html>).
const BILLED: u32 = 60;

#[derive(Debug)]
struct Job {
    message: Message,
    /// Milliseconds in this attempt.
    spent: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Started, or at work.
    There,
    /// Takes no more jobs; the rest is given back at this second, or was.
    Drains(u32),
}

/// One machine.
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
    /// The longest time from sending a message to its end, seconds.
    pub oldest: u32,
    /// When the last one was done, seconds.
    pub last: u32,
    /// Billed seconds of instances.
    pub billed: u32,
    /// Of these, those with no job in work.
    pub idle: u32,
    /// Most instances at once.
    pub peak: u32,
    /// Messages that were given back or lost, and begun again.
    pub again: u32,
    /// Work of these that had to be done twice, milliseconds.
    pub twice: u64,
}

/// All machines of the group.
#[derive(Debug, Default)]
pub struct Fleet {
    instances: Vec<Instance>,
    /// What it has cost and done.
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

    /// Whether its group may end it: a worker that has, or had just now, a job is protected.
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

    /// Messages in work.
    pub fn in_work(&self) -> u32 {
        self.instances.iter().map(|instance| instance.jobs.len() as u32).sum()
    }

    /// When the oldest message in work was sent, seconds.
    pub fn oldest(&self) -> Option<u32> {
        let jobs = self.instances.iter().flat_map(|instance| &instance.jobs);
        jobs.map(|job| job.message.sent).min()
    }

    /// Launches and ends until there are `desired`, as far as no job is in the way.
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

    /// EC2 tells some of those in service that they will be taken.
    pub fn reclaim(&mut self, share: f64, now: u32, random: &mut fastrand::Rng) {
        for at in self.chosen(share, now, random) {
            let instance = &mut self.instances[at];
            instance.state = State::Drains(now + GRACE);
            instance.gone = Some(now + SPOT_NOTICE);
        }
    }

    /// Some of those in service are gone, without a notice.
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

    /// One second of work.
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
    /// Each place works for a second, on several messages where they are short.
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

    /// What is left of a job that was interrupted: of a large object the parts under way are lost, of a
    /// small one everything.
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
