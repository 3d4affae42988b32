//! Where the keys come from, according to the command line and the configuration.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::cli::OriginArgs;
use crate::compare::{KeyOrigin, Keys, Names};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::format::human;
use crate::params::Pair;
use crate::sources::inventory::{Access, Address, Inventory};
use crate::store::pace::Paced;
use crate::wiring::Sides;

/// The keys to compare. A file of names has been read to its end, and every entry belongs to a
/// pair; inventories have been opened, and their age has been logged.
pub(super) async fn keys(
    config: &Config,
    args: &OriginArgs,
    pairs: &[Pair],
    sides: &Sides,
    cancel: &CancellationToken,
) -> Result<Keys> {
    let names = args.keys.clone().map(Names::Keys);
    if let Some(names) = names.or_else(|| args.manifest.clone().map(Names::Manifest)) {
        names.check(pairs).await?;
        return Ok(Keys::Named(names));
    }
    let side = async |address: &Option<String>, sorts: bool, store: &Arc<Paced>| {
        let folder = config.backend.temporary_folder.clone();
        match address {
            Some(address) => {
                let access = Access {
                    store: Some(Arc::<Paced>::clone(store)),
                    max_retry: config.mode.max_retry,
                    folder,
                    cancel: cancel.clone(),
                };
                let inventory = Inventory::open(Address::parse(address)?, access).await?;
                tell(&inventory);
                Ok::<_, Error>(KeyOrigin::Inventory(Arc::new(inventory)))
            }
            None if sorts => Ok(KeyOrigin::Listing),
            None => Ok(KeyOrigin::Unordered(folder)),
        }
    };
    Ok(Keys::All([
        side(&args.inventory, config.source.endpoint.sorts_keys, &sides.source).await?,
        side(
            &args.destination_inventory,
            config.destination.endpoint.sorts_keys,
            &sides.destination,
        )
        .await?,
    ]))
}

/// An inventory is a picture of the past; anyone who reads the result must know that.
fn tell(inventory: &Inventory) {
    let age = Duration::from_secs(inventory.age(SystemTime::now()).as_secs());
    info!(
        bucket = inventory.bucket(),
        "the inventory is {} old: what has changed since is not in it",
        human::duration(age)
    );
}
