//! Decides the number of workers: the template's policies and the original's, as pure functions of what
//! CloudWatch shows.

/// The defaults of the template's parameters of the same names.
pub const TARGET_MINUTES: f64 = 15.0;
/// See `TARGET_MINUTES`.
pub const MESSAGES_PER_MINUTE: f64 = 60.0;
/// See `TARGET_MINUTES`.
pub const MAX_WORKERS: u32 = 10;

/// `DefaultInstanceWarmup` of the worker group, and of the step policies, seconds.
pub const WARMUP: u32 = 180;
/// Threshold of the alarm `FirstJob`, messages.
pub const FIRST_JOB: f64 = 1.0;
/// Threshold of the alarm `FloodComes`: work for each worker, in multiples of `TargetMinutes`.
pub const FLOOD: f64 = 2.0;
/// Threshold of the alarm `JobsLate`: age of the oldest message, in multiples of `TargetMinutes`.
pub const LATE: f64 = 2.0;
/// Workers that the policy `Late` adds.
pub const LATE_STEP: u32 = 1;
/// Steps of the policy `Flood`: distance above the threshold, and workers to add. If one worker is
/// running, they add all that are missing; if more are running, they add fewer, and target tracking
/// adds the rest.
pub const FLOOD_STEPS: [(f64, u32); 6] =
    [(0.0, 1), (1.0, 2), (3.0, 4), (7.0, 8), (15.0, 16), (31.0, 32)];

/// The alarms that target tracking makes, which cannot be configured: scale out after 3 minutes above
/// the target, scale in after 15 minutes more than a tenth below it
/// (<https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-scaling-target-tracking.html>: scaling
/// in is slower on purpose, "usually more than 10 %" under the target; the minutes are those of the
/// alarms that it makes).
const HIGH_DATAPOINTS: usize = 3;
const LOW_DATAPOINTS: usize = 15;
const LOW_SHARE: f64 = 0.9;
/// How fast it scales in is not published ("gradually"); assumed: a tenth of the capacity a minute, at
/// least one.
const LOW_STEP: u32 = 10;

/// What CloudWatch shows for one minute.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sample {
    /// `ApproximateNumberOfMessagesVisible`; 0 while the queue is not watched.
    pub visible: u32,
    /// `ApproximateNumberOfMessagesNotVisible`.
    pub hidden: u32,
    /// `NumberOfMessagesSent`.
    pub sent: u32,
    /// `ApproximateAgeOfOldestMessage`, seconds.
    pub age: u32,
    /// `GroupInServiceInstances`.
    pub running: u32,
    /// `GroupDesiredCapacity`.
    pub wanted: u32,
}

/// The state of the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its desired capacity.
    pub desired: u32,
    /// Instances in service whose warmup is over.
    pub warm: u32,
    /// Whether an instance is warming up, or not in service yet.
    pub warming: bool,
    /// Its smallest size.
    pub min: u32,
    /// Its largest size.
    pub max: u32,
}

/// The metric of an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// Minutes of work for each running worker, in multiples of the target.
    TimesTarget,
    /// The age of the oldest message if any waits, in multiples of the target.
    Late,
    /// Messages that wait while the desired capacity is 0.
    WithoutWorker,
    /// Messages that wait.
    Visible,
    /// 1 if nothing waits, nothing is in flight and there is more than one instance.
    Finished,
}

/// The effect of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adjustment {
    /// `ChangeInCapacity`, upwards.
    Add(u32),
    /// `PercentChangeInCapacity`, upwards.
    Percent(u32),
    /// `ExactCapacity`.
    Exactly(u32),
}

/// A step policy and its alarm, which compares with "at least".
#[derive(Clone, Debug)]
pub struct Steps {
    /// The metric.
    pub metric: Metric,
    /// A datapoint is the maximum of this many minutes.
    pub period: usize,
    /// The number of datapoints in a row.
    pub datapoints: usize,
    /// The threshold.
    pub threshold: f64,
    /// The steps: lower bounds above the threshold, in order, and their effects.
    pub steps: Vec<(f64, Adjustment)>,
}

/// All policies of a group.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The name in the tables.
    pub name: &'static str,
    /// `MinSize`.
    pub min: u32,
    /// The seconds in service after which an instance counts.
    pub warmup: u32,
    /// The target of target tracking: minutes of work for each worker.
    pub tracking: Option<f64>,
    /// Whether the last worker stays as long as messages arrive.
    pub held: bool,
    /// Step policies.
    pub steps: Vec<Steps>,
}

/// The template's policies, with its defaults.
pub fn template() -> Policy {
    let mut policy = without_flood_step();
    policy.name = "template";
    policy.steps.push(flood(FLOOD, &FLOOD_STEPS.map(|(from, more)| (from, Adjustment::Add(more)))));
    policy
}

/// The policy `Flood` with this threshold and these steps.
pub fn flood(threshold: f64, steps: &[(f64, Adjustment)]) -> Steps {
    let metric = Metric::TimesTarget;
    Steps { metric, period: 1, datapoints: 1, threshold, steps: steps.to_vec() }
}

/// The template's policies without `Flood`.
pub fn without_flood_step() -> Policy {
    let first = Steps {
        metric: Metric::WithoutWorker,
        period: 1,
        datapoints: 1,
        threshold: FIRST_JOB,
        steps: vec![(0.0, Adjustment::Add(1))],
    };
    let late = Steps {
        metric: Metric::Late,
        period: 1,
        datapoints: 1,
        threshold: LATE,
        steps: vec![(0.0, Adjustment::Add(LATE_STEP))],
    };
    Policy {
        name: "without the flood step",
        min: 0,
        warmup: WARMUP,
        tracking: Some(TARGET_MINUTES),
        held: true,
        steps: vec![first, late],
    }
}

/// The original's policies, as in its stack (aws-samples/amazon-s3-resumable-upload,
/// `cluster/cdk-cluster/cdk/cdk_ec2_stack.py`). At least two workers; one more from 100 messages on, two
/// more from 500 on, by the maximum of five minutes. After the queue has been empty for three times five
/// minutes: one worker, which the group raises to two. The stack sets no warmup, so that is the default
/// cooldown (<https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_PutScalingPolicy.html>), 300 s.
pub fn original() -> Policy {
    let more = Steps {
        metric: Metric::Visible,
        period: 5,
        datapoints: 1,
        threshold: 100.0,
        steps: vec![(0.0, Adjustment::Add(1)), (400.0, Adjustment::Add(2))],
    };
    let fewer = Steps {
        metric: Metric::Finished,
        period: 1,
        datapoints: 15,
        threshold: 1.0,
        steps: vec![(0.0, Adjustment::Exactly(1))],
    };
    Policy {
        name: "original",
        min: 2,
        warmup: 300,
        tracking: None,
        held: false,
        steps: vec![more, fewer],
    }
}

/// Minutes of work for each running worker; none counts as one, to avoid a division by zero.
pub fn minutes(sample: &Sample) -> f64 {
    f64::from(sample.visible) / f64::from(sample.running.max(1)) / MESSAGES_PER_MINUTE
}

/// The metric of target tracking, the template's `Backlog`: the same, except that the last worker stays
/// as long as messages arrive. Otherwise each message of a trickle would launch a worker.
pub fn backlog(sample: &Sample, target: f64, held: bool) -> f64 {
    let minutes = minutes(sample);
    let held = held && sample.sent > 0 && sample.running <= 1 && minutes < target;
    if held { target } else { minutes }
}

impl Metric {
    fn of(self, sample: &Sample, target: f64) -> f64 {
        match self {
            Self::TimesTarget => minutes(sample) / target,
            Self::Late if sample.visible > 0 => f64::from(sample.age) / 60.0 / target,
            Self::Late => 0.0,
            Self::WithoutWorker if sample.wanted == 0 => f64::from(sample.visible),
            Self::WithoutWorker => 0.0,
            Self::Visible => f64::from(sample.visible),
            Self::Finished => {
                let empty = sample.visible + sample.hidden == 0;
                f64::from(u8::from(empty && sample.running > 1))
            }
        }
    }
}

impl Policy {
    /// The desired capacity, given the minutes so far. An alarm calls its policy once a minute as long as
    /// it lasts
    /// (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-actions.html>); if several
    /// policies apply, the largest capacity counts
    /// (<https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-scale-based-on-demand.html>).
    pub fn decide(&self, samples: &[Sample], group: Group) -> u32 {
        let target = self.tracking.unwrap_or(TARGET_MINUTES);
        let steps = self.steps.iter().filter_map(|steps| steps.decide(samples, group, target));
        let tracked = self.tracking.and_then(|target| track(samples, group, target, self.held));
        let decided = steps.chain(tracked).max().unwrap_or(group.desired);
        decided.clamp(group.min, group.max)
    }
}

impl Steps {
    fn decide(&self, samples: &[Sample], group: Group, target: f64) -> Option<u32> {
        let needed = self.period * self.datapoints;
        let recent = samples.get(samples.len().checked_sub(needed)?..)?;
        let largest = |minutes: &[Sample]| {
            minutes.iter().map(|sample| self.metric.of(sample, target)).fold(0.0, f64::max)
        };
        let datapoints: Vec<f64> = recent.chunks(self.period).map(largest).collect();
        let above = datapoints.last()? - self.threshold;
        if datapoints.iter().any(|value| *value < self.threshold) {
            return None;
        }
        let (_, adjustment) = self.steps.iter().rev().find(|(from, _)| above >= *from)?;
        // Instances that are warming up count as added: a breach that lasts for minutes adds only once
        // (https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-scaling-simple-step.html).
        let there = group.warm.min(group.desired);
        match *adjustment {
            Adjustment::Add(more) => Some(group.desired.max(there + more)),
            Adjustment::Percent(more) => Some(group.desired.max(there + there * more / 100)),
            Adjustment::Exactly(_) if group.warming => None,
            Adjustment::Exactly(number) => Some(number),
        }
    }
}

/// Target tracking. The exact calculation is not published; its documents describe the warm capacity
/// multiplied by the metric and divided by the target.
fn track(samples: &[Sample], group: Group, target: f64, held: bool) -> Option<u32> {
    let backlog = |sample: &Sample| backlog(sample, target, held);
    let last = |count: usize| samples.get(samples.len().checked_sub(count)?..);
    let now = backlog(samples.last()?);
    let share = |capacity: u32| (f64::from(capacity) * now / target).ceil() as u32;
    if last(HIGH_DATAPOINTS)?.iter().all(|sample| backlog(sample) > target) {
        return Some(group.desired.max(share(group.warm.min(group.desired))));
    }
    let low = last(LOW_DATAPOINTS)?.iter().all(|sample| backlog(sample) < target * LOW_SHARE);
    // Scales in only if every instance is warm
    // (https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-default-instance-warmup.html).
    if !low || group.warming {
        return None;
    }
    let gradual = group.desired.saturating_sub(group.desired.div_ceil(LOW_STEP));
    Some(share(group.desired).max(gradual).min(group.desired))
}
