//! Makes a process a member of its fleet: `crate::limits`.

use std::path::Path;
use std::sync::Arc;

use crate::aws::partition::Partition;
use crate::config::{Config, Endpoint, StateBackend};
use crate::error::{Error, Result};
use crate::estimate::TransferWay;
use crate::estimate::prices::Prices;
use crate::limits::beat::Member;
use crate::limits::fleet::{Fleet, Membership, Terms};
use crate::limits::pricing::Pricing;
use crate::limits::{board_of_queue, board_of_runs};
use crate::monitor::Monitor;
use crate::record::RecordStore;
use crate::wiring::{Sides, instance};

/// Joins the fleet of this configuration; a `run` joins the runs on the same file.
pub async fn join(
    config: &Config,
    sides: &Sides,
    state: &Arc<dyn RecordStore>,
    member: Member,
    monitor: Option<&Arc<Monitor>>,
) -> Result<Membership> {
    Ok(enter(config, sides, state, member, monitor).await?.spawn())
}

/// The same for a process that looks at the fleet itself.
pub async fn enter(
    config: &Config,
    sides: &Sides,
    state: &Arc<dyn RecordStore>,
    member: Member,
    monitor: Option<&Arc<Monitor>>,
) -> Result<Fleet> {
    let is_run = member == Member::Run;
    let board = if is_run { board_of_runs() } else { board_of_queue(&config.basic.sqs_queue_name) };
    let throttles = [&sides.source, &sides.destination].map(|side| Arc::clone(side.throttle()));
    let terms = Terms {
        state: Arc::<dyn RecordStore>::clone(state),
        board,
        name: instance(),
        member,
        config: config.limits.clone(),
        pricing: pricing(config)?,
        throttles,
        monitor: monitor.cloned(),
        embedded: is_run || config.backend.state == StateBackend::Embedded,
    };
    Ok(Fleet::join(terms).await)
}

/// The prices of this file, or else of the configured one, or else the shipped ones.
pub fn prices(config: &Config, file: Option<&Path>) -> Result<Prices> {
    let Some(path) = file.or(config.limits.price_file.as_deref()) else {
        return Prices::shipped();
    };
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|e| Error::usage(format!("{name} cannot be read: {e}")))?;
    Prices::parse(&name, &text)
}

fn pricing(config: &Config) -> Result<Pricing> {
    let prices = prices(config, None)?;
    let regions = regions(config);
    let class = config.mode.storage_class.of_all();
    Ok(Pricing::new(&prices, &regions, way(&regions), class))
}

/// The regions of both sides on Amazon S3; `None`: the side is somewhere else.
pub fn regions(config: &Config) -> [Option<String>; 2] {
    let own = own_region();
    let region = |side: &Endpoint| {
        side.url.is_none().then(|| side.region.clone().unwrap_or_else(|| own.clone()))
    };
    [region(&config.source.endpoint), region(&config.destination.endpoint)]
}

/// The region that the environment sets; empty if it sets none.
pub fn own_region() -> String {
    let own = std::env::var("AWS_REGION").or_else(|_| std::env::var("AWS_DEFAULT_REGION"));
    own.unwrap_or_default()
}

/// How bytes leave the source.
pub fn way([source, destination]: &[Option<String>; 2]) -> TransferWay {
    let partition = |region: &str| Partition::of_region(region);
    match (source, destination) {
        (Some(source), Some(destination)) if source == destination => TransferWay::SameRegion,
        (Some(source), Some(destination)) if partition(source) == partition(destination) => {
            TransferWay::OtherRegion
        }
        _ => TransferWay::Internet,
    }
}
