//! The metrics of a process, and those of the fleets that it sees, for Prometheus.
//!
//! Names follow <https://prometheus.io/docs/practices/naming/>. A process counts for itself under
//! `s3_migration_`; what it only reads of the others is under `s3_migration_fleet_`, so that a sum
//! over all processes counts nothing twice.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use crate::limits::beat::Member;
use crate::monitor::Monitor;
use crate::monitor::activity::{Doing, Phase};
use crate::monitor::spread::{SECONDS, SIZES, Spread};
use crate::mutex::lock;
use crate::store::pace::throttle::Throttle;

mod fleet;

pub(super) use fleet::of_fleets;

/// The media type of [`text`]
/// (<https://prometheus.io/docs/specs/om/open_metrics_spec/#protocol-negotiation>).
pub(super) const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PREFIX: &str = "s3_migration";
const PHASES: [(Phase, &str); 3] =
    [(Phase::Comparing, "comparing"), (Phase::Copying, "copying"), (Phase::Closing, "closing")];
const SIDES: [&str; 2] = ["source", "destination"];

/// A process that counts what it does.
#[derive(Clone, Debug)]
pub struct Process {
    /// What it is.
    pub kind: Member,
    /// When it began.
    pub began: SystemTime,
    /// Its counters.
    pub monitor: Arc<Monitor>,
    /// What passes to and from source and destination.
    pub throttles: [Arc<Throttle>; 2],
}

/// The process, once it counts: a `jobsender` begins anew with each comparison, and `status` never
/// does.
pub type ProcessSlot = Arc<Mutex<Option<Process>>>;

/// Labels, by name.
type Labels = Vec<(&'static str, String)>;

/// A family of metrics with its values.
#[derive(Debug)]
struct Metric {
    name: &'static str,
    help: &'static str,
    unit: Option<Unit>,
    values: Values,
}

#[derive(Debug)]
enum Values {
    Counter(Vec<(Labels, u64)>),
    Amount(Vec<(Labels, f64)>),
    Gauge(Vec<(Labels, f64)>),
    Histogram { spread: Spread, bounds: &'static [f64] },
    Info(Labels),
}

impl Metric {
    fn new(name: &'static str, help: &'static str, values: Values) -> Self {
        Self { name, help, unit: None, values }
    }

    fn count(name: &'static str, help: &'static str, value: u64) -> Self {
        Self::new(name, help, Values::Counter(vec![(Vec::new(), value)]))
    }

    fn gauge(name: &'static str, help: &'static str, value: f64) -> Self {
        Self::new(name, help, Values::Gauge(vec![(Vec::new(), value)]))
    }

    fn in_unit(self, unit: Unit) -> Self {
        Self { unit: Some(unit), ..self }
    }

    fn kind(&self) -> MetricType {
        match self.values {
            Values::Counter(_) | Values::Amount(_) => MetricType::Counter,
            Values::Gauge(_) => MetricType::Gauge,
            Values::Histogram { .. } => MetricType::Histogram,
            Values::Info(_) => MetricType::Info,
        }
    }

    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        match &self.values {
            Values::Counter(values) => each(values, &mut encoder, |encoder, value| {
                encoder.encode_counter::<NoLabelSet, u64, f64>(value, None)
            }),
            Values::Amount(values) => each(values, &mut encoder, |encoder, value| {
                encoder.encode_counter::<NoLabelSet, f64, f64>(value, None)
            }),
            Values::Gauge(values) => {
                each(values, &mut encoder, |encoder, value| encoder.encode_gauge(value))
            }
            Values::Histogram { spread, bounds } => {
                let classes = spread.classes(bounds);
                let buckets: Vec<(f64, u64)> =
                    classes.map(|(bound, count)| (bound.unwrap_or(f64::INFINITY), count)).collect();
                encoder.encode_histogram::<NoLabelSet>(spread.sum, spread.count(), &buckets, None)
            }
            Values::Info(labels) => encoder.encode_info(labels),
        }
    }
}

fn each<T>(
    values: &[(Labels, T)],
    encoder: &mut MetricEncoder<'_>,
    one: impl Fn(&mut MetricEncoder<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    for (labels, value) in values {
        match labels.is_empty() {
            true => one(encoder, value)?,
            false => one(&mut encoder.encode_family(labels)?, value)?,
        }
    }
    Ok(())
}

/// All metrics at one moment.
#[derive(Debug)]
struct AtOnce(Vec<Metric>);

impl Collector for AtOnce {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for metric in &self.0 {
            let (name, help, unit) = (metric.name, metric.help, metric.unit.as_ref());
            metric.encode(encoder.encode_descriptor(name, help, unit, metric.kind())?)?;
        }
        Ok(())
    }
}

/// The text of `/metrics`.
pub(super) fn text(slot: &ProcessSlot, fleets: Vec<MetricOfFleets>) -> String {
    let process = lock(slot).clone();
    let mut metrics = vec![build(process.as_ref().map(|process| process.kind))];
    if let Some(process) = process {
        metrics.extend(of_process(&process));
    }
    metrics.extend(fleets.into_iter().map(|MetricOfFleets(metric)| metric));
    let mut registry = Registry::with_prefix(PREFIX);
    registry.register_collector(Box::new(AtOnce(metrics)));
    let mut text = String::new();
    // It fails only if the text does, which grows.
    encode(&mut text, &registry).unwrap_or_default();
    text
}

/// A metric of what this process reads of others.
#[derive(Debug)]
pub(super) struct MetricOfFleets(Metric);

fn build(kind: Option<Member>) -> Metric {
    let kind = match kind {
        None => "status",
        Some(Member::Worker) => "worker",
        Some(Member::Jobsender) => "jobsender",
        Some(Member::Run) => "run",
    };
    let labels = vec![("version", env!("CARGO_PKG_VERSION").to_owned()), ("kind", kind.to_owned())];
    Metric::new("build", "The program's version and what this process is", Values::Info(labels))
}

fn of_process(process: &Process) -> Vec<Metric> {
    let monitor = &process.monitor;
    let (counts, doing) = (monitor.counts(), monitor.activity().now());
    let passed = process.throttles.each_ref().map(|throttle| throttle.passed());
    let paused = process.throttles.iter().any(|throttle| throttle.is_paused());
    let by_side = |values: [u64; 2]| {
        let labels = SIDES.map(|side| vec![("side", side.to_owned())]);
        Values::Counter(labels.into_iter().zip(values).collect())
    };
    let began = process.began.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let proofs = [
        ("source", counts.proofs.source),
        ("transit", counts.proofs.transit),
        ("none", counts.proofs.none),
    ];
    let proofs = proofs.map(|(proof, objects)| (vec![("proof", proof.to_owned())], objects));
    let mut metrics = vec![
        Metric::gauge("start_time", "When this process began, since 1970", began.as_secs_f64())
            .in_unit(Unit::Seconds),
        Metric::count("objects_copied", "Objects that arrived and are on record", counts.done),
        Metric::count("copied", "Bytes of the objects that arrived", counts.done_bytes)
            .in_unit(Unit::Bytes),
        Metric::count("objects_failed", "Objects that failed for good", counts.failed),
        Metric::count("objects_deleted", "Objects deleted at the destination", counts.deleted),
        Metric::count(
            "objects_returned",
            "How often an object went back to the queue",
            counts.returned,
        ),
        Metric::new(
            "objects_proven",
            "Objects that arrived, by how their bytes are known to be right",
            Values::Counter(proofs.into()),
        ),
        Metric::new(
            "transferred",
            "Bytes of bodies read from the source and sent to the destination, also those moved again",
            by_side(passed.map(|passed| passed.bytes)),
        )
        .in_unit(Unit::Bytes),
        Metric::new("requests", "Requests to each side", by_side(passed.map(|p| p.requests()))),
        Metric::gauge("messages_in_work", "Messages in work", monitor.in_work() as f64),
        Metric::gauge("paused", "Whether nothing new begins", f64::from(u8::from(paused))),
    ];
    metrics.extend(of_activity(doing));
    metrics
}

fn of_activity(doing: Doing) -> Vec<Metric> {
    let total = doing.total();
    let phase = |(phase, name): (Phase, &str)| {
        (vec![("phase", name.to_owned())], f64::from(u8::from(doing.phase == phase)))
    };
    let phases = PHASES.map(phase).into();
    let reasons = doing.reasons.iter();
    let reasons = reasons.map(|(reason, of)| (vec![("reason", reason.clone())], of.objects));
    vec![
        Metric::count("objects_listed", "Objects listed at the source", total.listed.objects),
        Metric::count("objects_to_copy", "Objects found to be copied", total.to_copy.objects),
        Metric::count("to_copy", "Bytes of the objects found to be copied", total.to_copy.bytes)
            .in_unit(Unit::Bytes),
        Metric::count(
            "objects_checked",
            "Objects listed again by the closing comparison",
            total.checked.objects,
        ),
        Metric::new("phase", "What this process does: 1 for one of them", Values::Gauge(phases)),
        Metric::gauge("objects_in_work", "Objects in work", doing.held as f64),
        Metric::gauge(
            "places_waited_for",
            "Buckets that refuse everything at present",
            doing.waits.len() as f64,
        ),
        Metric::new(
            "failures",
            "Objects that failed for good, by the call and the answer",
            Values::Counter(reasons.collect()),
        ),
        Metric::new(
            "object_size",
            "How large the copied objects are",
            Values::Histogram { spread: doing.sizes, bounds: SIZES },
        )
        .in_unit(Unit::Bytes),
        Metric::new(
            "object_duration",
            "How long each copied object took, from its start to its end",
            Values::Histogram { spread: doing.seconds, bounds: SECONDS },
        )
        .in_unit(Unit::Seconds),
    ]
}

#[cfg(test)]
mod tests;
