//! The metrics of fleets: what `status --fleet` says, as numbers.
//!
//! Pure: the fleets are arguments.

use prometheus_client::registry::Unit;

use super::{Labels, Metric, MetricOfFleets, SIDES, Values};
use crate::overview::{Overview, PhaseView};

/// The metrics of all fleets; `None`: they cannot be seen at present.
pub(in crate::serve) fn of_fleets(fleets: Option<&[Overview]>) -> Vec<MetricOfFleets> {
    let seen = f64::from(u8::from(fleets.is_some()));
    let mut metrics = vec![Metric::gauge(
        "fleet_seen",
        "Whether the counters of the fleets could be read within the last minutes",
        seen,
    )];
    if let Some(fleets) = fleets {
        metrics.extend(of_all(fleets));
    }
    metrics.into_iter().map(MetricOfFleets).collect()
}

fn of_all(fleets: &[Overview]) -> Vec<Metric> {
    let gauges = |one: &dyn Fn(&Overview) -> f64| {
        Values::Gauge(fleets.iter().map(|fleet| (named(fleet, None), one(fleet))).collect())
    };
    let paused = |fleet: &Overview| f64::from(u8::from(fleet.paused.is_some()));
    let living =
        |fleet: &Overview| fleet.workers.iter().filter(|worker| worker.lives).count() as f64;
    let costs = fleets.iter().map(|fleet| {
        let labels = named(fleet, Some(("currency", fleet.total.currency.as_str())));
        (labels, fleet.total.cost)
    });
    let mut metrics = of_totals(fleets);
    metrics.extend([
        Metric::new(
            "fleet_cost",
            "What requests and transfer have cost, by the price file",
            Values::Amount(costs.collect()),
        ),
        Metric::new(
            "fleet_processes",
            "Processes that have given a sign of life lately",
            gauges(&living),
        ),
        Metric::new("fleet_paused", "Whether nothing new begins", gauges(&paused)),
        Metric::new(
            "fleet_phase_objects",
            "Objects of each phase so far",
            phases(fleets, &|phase| Some(phase.objects as f64)),
        ),
        Metric::new(
            "fleet_phase_expected_objects",
            "Objects of each phase in all, if that is known",
            phases(fleets, &|phase| phase.of_objects.map(|of| of as f64)),
        ),
        Metric::new(
            "fleet_phase_active",
            "Whether some process is in this phase",
            phases(fleets, &|phase| Some(f64::from(u8::from(phase.active)))),
        ),
        Metric::new(
            "fleet_time_left",
            "The longest time that is left, if it is known",
            phases(fleets, &|phase| phase.seconds_left.map(|[_, most]| most as f64)),
        )
        .in_unit(Unit::Seconds),
    ]);
    metrics
}

fn of_totals(fleets: &[Overview]) -> Vec<Metric> {
    let counters = |one: &dyn Fn(&Overview) -> u64| {
        Values::Counter(fleets.iter().map(|fleet| (named(fleet, None), one(fleet))).collect())
    };
    let sides = |both: &dyn Fn(&Overview) -> [u64; 2]| {
        let of_one = |fleet: &Overview| {
            let labels = SIDES.map(|side| named(fleet, Some(("side", side))));
            labels.into_iter().zip(both(fleet)).collect::<Vec<_>>()
        };
        Values::Counter(fleets.iter().flat_map(of_one).collect())
    };
    vec![
        Metric::new("fleet_objects_copied", "Objects that arrived", counters(&|fleet| fleet.total.copied)),
        Metric::new("fleet_copied", "Bytes of the objects that arrived", counters(&|fleet| fleet.total.copied_bytes))
            .in_unit(Unit::Bytes),
        Metric::new("fleet_objects_failed", "Objects that failed for good", counters(&|fleet| fleet.total.failed)),
        Metric::new("fleet_objects_deleted", "Objects deleted at the destination", counters(&|fleet| fleet.total.deleted)),
        Metric::new(
            "fleet_transferred",
            "Bytes of bodies read from the source and sent to the destination, also those moved again",
            sides(&|fleet| [fleet.total.read_bytes, fleet.total.sent_bytes]),
        )
        .in_unit(Unit::Bytes),
        Metric::new(
            "fleet_requests",
            "Requests to each side",
            sides(&|fleet| [fleet.total.source_requests, fleet.total.destination_requests]),
        ),
    ]
}

fn phases(fleets: &[Overview], one: &dyn Fn(&PhaseView) -> Option<f64>) -> Values {
    let of_one = |fleet: &Overview| {
        let phases = fleet.phases.iter();
        let value =
            |phase: &PhaseView| Some((named(fleet, Some(("phase", phase.name()))), one(phase)?));
        phases.filter_map(value).collect::<Vec<_>>()
    };
    Values::Gauge(fleets.iter().flat_map(of_one).collect())
}

fn named(fleet: &Overview, more: Option<(&'static str, &str)>) -> Labels {
    let mut labels = vec![("fleet", fleet.fleet.clone())];
    labels.extend(more.map(|(name, value)| (name, value.to_owned())));
    labels
}
