//! What decides how many workers there shall be: the template's policies and the original's, as pure
//! functions of what CloudWatch shows.

/// The parameters' defaults in the template: the same names.
pub const TARGET_MINUTES: f64 = 15.0;
/// See `TARGET_MINUTES`.
pub const MESSAGES_PER_MINUTE: f64 = 60.0;
/// See `TARGET_MINUTES`.
pub const MAX_WORKERS: u32 = 10;

/// `DefaultInstanceWarmup` of the worker group, and of the step policies, seconds.
pub const WARMUP: u32 = 180;
/// Threshold of the alarm `FirstJob`, messages.
pub const FIRST_JOB: f64 = 1.0;
/// Threshold of the alarm `FloodComes`: so many times `TargetMinutes` of work for each worker.
pub const FLOOD: f64 = 2.0;
/// Threshold of the alarm `JobsLate`: the oldest message is so many times `TargetMinutes` old.
pub const LATE: f64 = 2.0;
/// Workers that the policy `Late` adds.
pub const LATE_STEP: u32 = 1;
/// Steps of the policy `Flood`: from so much above the threshold, so many workers more. For one worker
/// they are what is missing; where more are running they are less than that, and the target tracking
/// brings the rest.
pub const FLOOD_STEPS: [(f64, u32); 6] =
    [(0.0, 1), (1.0, 2), (3.0, 4), (7.0, 8), (15.0, 16), (31.0, 32)];

/// Target tracking's own alarms, which nobody can set: scale out after 3 minutes above the target, in
/// after 15 below a tenth less than it
/// (<https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-scaling-target-tracking.html>: scale in
/// is slower on purpose, "usually more than 10 %" under the target; the counts are those of the alarms
/// that it makes).
const HIGH_DATAPOINTS: usize = 3;
const LOW_DATAPOINTS: usize = 15;
const LOW_SHARE: f64 = 0.9;
/// How fast it scales in is not published ("gradually"): a tenth of the capacity a minute is assumed,
/// at least one.
const LOW_STEP: u32 = 10;

/// What CloudWatch shows of one minute.
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

/// What the group knows of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its desired capacity.
    pub desired: u32,
    /// Instances in service whose warmup is over.
    pub warm: u32,
    /// Whether any is still warming up, or not yet in service.
    pub warming: bool,
    /// Its bounds.
    pub min: u32,
    /// See `min`.
    pub max: u32,
}

/// What an alarm looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// Minutes of work for each running worker, in multiples of the target.
    TimesTarget,
    /// The age of the oldest message while any waits, in multiples of the target.
    Late,
    /// Messages that wait while no worker is wanted.
    WithoutWorker,
    /// Messages that wait.
    Visible,
    /// 1 where nothing waits, nothing is in work and more than one instance is there.
    Finished,
}

/// What a step does.
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
    /// What is looked at.
    pub metric: Metric,
    /// A datapoint is the largest of so many minutes.
    pub period: usize,
    /// So many datapoints in a row.
    pub datapoints: usize,
    /// From here on.
    pub threshold: f64,
    /// Lower bounds above the threshold, rising, and what is done from there.
    pub steps: Vec<(f64, Adjustment)>,
}

/// All policies of a group.
#[derive(Clone, Debug)]
pub struct Policy {
    /// In the tables.
    pub name: &'static str,
    /// `MinSize`.
    pub min: u32,
    /// Seconds in service until an instance counts.
    pub warmup: u32,
    /// Target tracking on minutes of work for each worker.
    pub tracking: Option<f64>,
    /// Whether the last worker stays while messages come in.
    pub held: bool,
    /// Step policies.
    pub steps: Vec<Steps>,
}

/// The template's, with its defaults.
pub fn template() -> Policy {
    let mut policy = without_flood_step();
    policy.name = "template";
    policy.steps.push(flood(FLOOD, &FLOOD_STEPS.map(|(from, more)| (from, Adjustment::Add(more)))));
    policy
}

/// The policy `Flood` from `threshold` on, with these steps.
pub fn flood(threshold: f64, steps: &[(f64, Adjustment)]) -> Steps {
    let metric = Metric::TimesTarget;
    Steps { metric, period: 1, datapoints: 1, threshold, steps: steps.to_vec() }
}

/// The template's without `Flood`.
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

/// The original's, as its stack has them (aws-samples/amazon-s3-resumable-upload,
/// `cluster/cdk-cluster/cdk/cdk_ec2_stack.py`): at least two workers; from 100 messages one more, from 500
/// two more, by the largest of five minutes; when the queue has been empty for three times five minutes,
/// one worker, of which the group makes two. Its warmup is not set, so it is the default cooldown
/// (<https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_PutScalingPolicy.html>), 300 s.
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

/// Minutes of work for each running worker, of which there is at least one for the sake of the division.
pub fn minutes(sample: &Sample) -> f64 {
    f64::from(sample.visible) / f64::from(sample.running.max(1)) / MESSAGES_PER_MINUTE
}

/// What target tracking looks at, as the template's `Backlog` says: the same, but while messages come in,
/// the last worker stays, or each message of a trickle would start one anew.
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
    /// The desired capacity that follows from the minutes so far. An alarm that stays calls its policy
    /// once a minute
    /// (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-actions.html>); of
    /// several policies the largest capacity counts
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
        // What is still warming up counts as added, not as there: the same breach, minute after
        // minute, adds once
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

/// Target tracking. The calculation itself is not published: the capacity that has warmed up, times the
/// metric over the target, is what its documents describe.
fn track(samples: &[Sample], group: Group, target: f64, held: bool) -> Option<u32> {
    let backlog = |sample: &Sample| backlog(sample, target, held);
    let last = |count: usize| samples.get(samples.len().checked_sub(count)?..);
    let now = backlog(samples.last()?);
    let share = |capacity: u32| (f64::from(capacity) * now / target).ceil() as u32;
    if last(HIGH_DATAPOINTS)?.iter().all(|sample| backlog(sample) > target) {
        return Some(group.desired.max(share(group.warm.min(group.desired))));
    }
    let low = last(LOW_DATAPOINTS)?.iter().all(|sample| backlog(sample) < target * LOW_SHARE);
    // In only when every instance is warm
    // (https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-default-instance-warmup.html).
    if !low || group.warming {
        return None;
    }
    let gradual = group.desired.saturating_sub(group.desired.div_ceil(LOW_STEP));
    Some(share(group.desired).max(gradual).min(group.desired))
}
