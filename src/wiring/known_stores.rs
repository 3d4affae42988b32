//! Stores what has been learned about each store next to the records; the ini can pin it.
//!
//!
//! Each fact is kept for [`LAST`], so that an upgraded store is learned again. Nothing depends on
//! it: every fact is found out again at the first refusal, so a fact that cannot be kept is not
//! missed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use crate::config::Config;
use crate::quirk::Quirk;
use crate::record::{NoteKey, Notes, RecordStore};
use crate::store::profile::Profile;
use crate::store::{Reads, Side};
use crate::wiring::Sides;

/// How long a fact is believed.
const LAST: Duration = Duration::from_secs(14 * 24 * 60 * 60);
/// How often a running process stores what is new.
const EVERY: Duration = Duration::from_secs(60);
/// How long the table may take for them.
const LONGEST: Duration = Duration::from_secs(15);

/// One fact, as stored and printed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreFact {
    /// The bucket.
    pub bucket: String,
    /// The quirk's name.
    pub quirk: String,
    /// The quirk's number; 1 for quirks that have none.
    pub value: u64,
    /// When it was learned, in seconds since 1970.
    pub at: u64,
}

/// What is known about one side's store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KnownStore {
    /// `source` or `destination`.
    pub side: String,
    /// Its facts.
    pub facts: Vec<StoreFact>,
}

/// What copies have lost compared with their sources.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MetadataLoss {
    /// `source` or `destination`: the side that has not kept it.
    pub side: String,
    /// Its bucket.
    pub bucket: String,
    /// What is lost.
    pub what: String,
    /// How many objects are known to have lost it.
    pub objects: u64,
}

/// The profiles of both sides, and where they are stored.
#[derive(Clone, Debug)]
pub struct Profiles {
    sides: Sides,
    state: Arc<dyn Notes>,
    notes: [NoteKey; 2],
}

impl Profiles {
    /// Loads the stored facts of both sides.
    pub async fn load(config: &Config, sides: &Sides, state: &Arc<dyn RecordStore>) -> Self {
        let state: Arc<dyn Notes> = Arc::<dyn RecordStore>::clone(state);
        let profiles = Self { sides: sides.clone(), state, notes: notes(config) };
        for (profile, facts) in
            profiles.both().into_iter().zip(kept(config, &*profiles.state).await)
        {
            for fact in facts {
                if let Some(quirk) = Quirk::named(&fact.quirk) {
                    debug!(bucket = fact.bucket, "known about this store: {}", quirk.meaning());
                    profile.remember(&fact.bucket, quirk, fact.value, at(fact.at));
                }
            }
        }
        profiles
    }

    fn both(&self) -> [&Profile; 2] {
        [self.sides.source.profile(), self.sides.destination.profile()]
    }

    /// The losses that this process has seen on either side.
    pub fn losses(&self) -> Vec<MetadataLoss> {
        let sides = [Side::Source, Side::Destination].into_iter().zip(self.both());
        let losses = |(side, profile): (Side, &Profile)| {
            let losses = profile.losses().into_iter();
            losses.map(move |(bucket, what, objects)| MetadataLoss {
                side: side.to_string(),
                bucket,
                what,
                objects,
            })
        };
        sides.flat_map(losses).collect()
    }

    /// Stores what has been learned since the last time. If the table does not answer, it is learned
    /// again: nothing waits for it for long.
    pub async fn keep(&self) {
        if tokio::time::timeout(LONGEST, self.keep_news()).await.is_err() {
            debug!("could not save what was learned about the store: the table does not answer");
        }
    }

    async fn keep_news(&self) {
        for (profile, note) in self.both().into_iter().zip(&self.notes) {
            let Some(learned) = profile.news() else { continue };
            // Other processes have learned facts too.
            let before = self.state.notes(std::slice::from_ref(note)).await.unwrap_or_default();
            let before = before.into_iter().flatten().next().unwrap_or_default();
            let facts = merged(parse(&before), learned);
            let text = serde_json::to_vec(&facts).unwrap_or_default();
            match self.state.set_note(note, &text).await {
                Ok(()) => info!(facts = facts.len(), "noted the quirks of this store"),
                Err(error) => debug!("could not save what was learned about the store: {error}"),
            }
        }
    }

    /// Stores what is new from time to time, and at the end.
    pub async fn keep_until(self, end: CancellationToken) {
        while end.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
            self.keep().await;
        }
        self.keep().await;
    }
}

/// The stored facts of both sides, source first, without those older than [`LAST`].
pub async fn kept(config: &Config, state: &dyn Notes) -> [Vec<StoreFact>; 2] {
    let oldest = SystemTime::now().checked_sub(LAST).map_or(0, seconds);
    let texts = state.notes(&notes(config)).await.unwrap_or_default();
    let mut texts = texts.into_iter().map(Option::unwrap_or_default);
    [(); 2].map(|()| {
        let facts = parse(&texts.next().unwrap_or_default());
        facts.into_iter().filter(|fact| fact.at >= oldest).collect()
    })
}

/// The same, for printing.
pub fn printed([source, destination]: [Vec<StoreFact>; 2]) -> Vec<KnownStore> {
    let known = |side: Side, facts| KnownStore { side: side.to_string(), facts };
    vec![known(Side::Source, source), known(Side::Destination, destination)]
}

fn notes(config: &Config) -> [NoteKey; 2] {
    let endpoints = [&config.source.endpoint, &config.destination.endpoint];
    let [source, destination] = endpoints.map(|endpoint| {
        let url = endpoint.url.as_deref().unwrap_or("aws");
        url.trim_end_matches('/').to_owned()
    });
    [
        NoteKey::new(format_args!("store:source:{source}")),
        NoteKey::new(format_args!("store:destination:{destination}")),
    ]
}

fn parse(text: &[u8]) -> Vec<StoreFact> {
    serde_json::from_slice(text).unwrap_or_default()
}

/// The latest fact of each bucket and quirk.
fn merged(
    before: Vec<StoreFact>,
    learned: Vec<(String, Quirk, u64, SystemTime)>,
) -> Vec<StoreFact> {
    let learned = learned.into_iter().map(|(bucket, quirk, value, at)| StoreFact {
        bucket,
        quirk: quirk.name().to_owned(),
        value,
        at: seconds(at),
    });
    let mut facts = BTreeMap::new();
    for fact in before.into_iter().chain(learned) {
        let slot = facts.entry((fact.bucket.clone(), fact.quirk.clone()));
        let kept: &mut StoreFact = slot.or_insert_with(|| fact.clone());
        if fact.at >= kept.at {
            *kept = fact;
        }
    }
    facts.into_values().collect()
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_of_each_fact_is_kept() {
        let fact = |quirk: &str, value, at| StoreFact {
            bucket: "b".to_owned(),
            quirk: quirk.to_owned(),
            value,
            at,
        };
        let before = vec![fact("max-parts", 1000, 5), fact("no-tags", 1, 5)];
        let learned = vec![
            ("b".to_owned(), Quirk::MaxParts, 500, at(6)),
            ("b".to_owned(), Quirk::NoTags, 1, at(4)),
        ];
        let expected = [fact("max-parts", 500, 6), fact("no-tags", 1, 5)];
        assert_eq!(merged(before, learned), expected);
    }
}
