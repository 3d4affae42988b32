//! Builds what a command works with: backends, both sides, engine, settings.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::available_parallelism;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use crate::aws::stored_credentials::StoredProvider;
use crate::config::{Config, Credentials, JobType, Mode, QueueBackend, StateBackend};
use crate::digest::lanes::Lanes;
use crate::error::{ErrorKind, Result};
use crate::filter::patterns::Patterns;
use crate::job::PackLimits;
use crate::limits::FUNCTION;
use crate::monitor::Monitor;
use crate::params::ssm::SsmParameters;
use crate::params::{InParameter, ParameterStore, load_ignore_list, load_pairs};
use crate::queue::sqlite::SqliteQueue;
use crate::queue::sqs::SqsQueue;
use crate::queue::{LetterBox, Queue};
use crate::record::RecordStore;
use crate::record::dynamodb::DynamoRecords;
use crate::record::sqlite::SqliteRecords;
use crate::retry::{Policy, retry};
use crate::sqlite::Database;
use crate::store::Side;
use crate::store::pace::level::AtOnce;
use crate::store::pace::{Paced, Pacing};
use crate::store::s3::S3Store;
use crate::transfer::memory::MemoryBudget;
use crate::transfer::part_times::PartTimes;
use crate::transfer::{Engine, Looks, Settings, StoreEvidence};
use crate::worker::{RuleBook, Rules};
use crate::{aws, worker};

pub mod comparisons;
pub mod fleets;
pub mod known_stores;

/// A stop waits for a running poll, since a dropped one would strand its messages. Amazon SQS
/// allows 20 s and each poll is paid for
/// (<https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-short-and-long-polling.html>),
/// but an idle worker that polls every 5 s makes 17,280 requests a day, less than a cent; a poll
/// that finds messages answers at once.
const SQS_POLL: Duration = Duration::from_secs(5);
/// Polling the embedded queue costs nothing; a short wait hardly delays a stop.
const EMBEDDED_POLL: Duration = Duration::from_secs(1);

/// Both sides of a migration.
#[derive(Clone, Debug)]
pub struct Sides {
    /// Where objects are read.
    pub source: Arc<Paced>,
    /// Where they are written.
    pub destination: Arc<Paced>,
}

impl Sides {
    /// Connects both sides. `standalone`: the command `run`, for which both sides take the default
    /// chain unless configured otherwise; for other commands JobType decides.
    pub async fn open(
        config: &Config,
        parameters: &Arc<dyn ParameterStore>,
        standalone: bool,
    ) -> Result<Self> {
        Ok(Self::paced(config, stores(config, parameters, standalone).await?))
    }

    /// The same, for reading only: the destination is asked for the checksums that it keeps, too.
    pub async fn open_to_read(
        config: &Config,
        parameters: &Arc<dyn ParameterStore>,
        standalone: bool,
    ) -> Result<Self> {
        let (source, destination) = stores(config, parameters, standalone).await?;
        Ok(Self::paced(config, (source, destination.asking_for_sums())))
    }

    fn paced(config: &Config, (source, destination): (S3Store, S3Store)) -> Self {
        Self {
            source: paced(config, source, Side::Source),
            destination: paced(config, destination, Side::Destination),
        }
    }
}

async fn stores(
    config: &Config,
    parameters: &Arc<dyn ParameterStore>,
    standalone: bool,
) -> Result<(S3Store, S3Store)> {
    // Concurrently, since finding a region or a role may take seconds.
    tokio::try_join!(
        store(config, parameters, Side::Source, standalone),
        store(config, parameters, Side::Destination, standalone),
    )
}

/// One side without its wrapper: nothing paces its calls or watches its bodies.
pub async fn store(
    config: &Config,
    parameters: &Arc<dyn ParameterStore>,
    side: Side,
    standalone: bool,
) -> Result<S3Store> {
    let who = credentials(config, side, standalone);
    let name = config.basic.ssm_parameter_credentials.clone();
    let reader = InParameter { parameters: Arc::clone(parameters), name: name.clone() };
    let stored = Some(StoredProvider::new(name, Arc::new(reader)));
    match side {
        Side::Source => S3Store::source(config, who, stored).await,
        Side::Destination => S3Store::destination(config, who, stored).await,
    }
}

fn paced(config: &Config, store: S3Store, side: Side) -> Arc<Paced> {
    let AtOnce { first, requests, .. } = at_once(config);
    let pacing = Pacing { first, ceiling: requests, log_interval: config.debug.log_interval };
    Arc::new(Paced::new(Arc::new(store), side, pacing))
}

/// The limits of concurrency, from the configuration or, if it says `auto`, from the machine.
pub fn at_once(config: &Config) -> AtOnce {
    let cores = available_parallelism().map_or(1, usize::from);
    let memory = MemoryBudget::of_machine(config.mode.max_memory).total();
    let room = usize::try_from(memory / config.debug.chunk_size).unwrap_or(usize::MAX);
    AtOnce::new(config.mode.max_parallel_file.fixed(), config.mode.max_thread.fixed(), cores, room)
}

/// Ranges of keys that are listed at once. A request takes S3 50 to 150 ms, and a core a few ms for
/// a page of 1,000 keys.
pub fn list_concurrency(config: &Config) -> usize {
    let cores = available_parallelism().map_or(1, usize::from);
    config.mode.list_concurrency.fixed().unwrap_or((32 * cores).min(64))
}

/// The credentials of a side.
pub fn credentials(config: &Config, side: Side, standalone: bool) -> Credentials {
    let endpoint = match side {
        Side::Source => &config.source.endpoint,
        Side::Destination => &config.destination.endpoint,
    };
    let by_job_type = match (config.basic.job_type, side) {
        (JobType::Put, Side::Source) | (JobType::Get, Side::Destination) => Credentials::Default,
        (JobType::Put, Side::Destination) | (JobType::Get, Side::Source) => Credentials::Ssm,
    };
    let is_own = standalone || endpoint.role.is_some();
    let default = if is_own { Credentials::Default } else { by_job_type };
    endpoint.credentials.unwrap_or(default)
}

/// Parameters in SSM Parameter Store of the machine's own account. The SDK is set up only when the
/// first parameter is requested: outside EC2 that takes seconds, and `run` seldom needs one.
pub fn parameters() -> Arc<dyn ParameterStore> {
    Arc::new(LazyParameters::default())
}

#[derive(Debug, Default)]
struct LazyParameters(OnceCell<SsmParameters>);

#[async_trait]
impl ParameterStore for LazyParameters {
    async fn get(&self, name: &str) -> Result<Option<String>> {
        let connect = || async { aws::load_sdk_config().await.map(|sdk| SsmParameters::new(&sdk)) };
        let parameters = self.0.get_or_try_init(connect).await?;
        first(|| parameters.get(name)).await
    }
}

/// Tries the first call to a service a few times: one lost answer must not end a worker that has
/// hardly begun, and a wrong name or endpoint should show within seconds.
pub async fn first<T, F>(call: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    retry(Policy::probe(), &CancellationToken::new(), call).await
}

/// The queue of the configuration.
pub async fn queue(config: &Config) -> Result<Arc<dyn Queue>> {
    Ok(letter_box(config).await?)
}

/// The same, with its dead letters.
pub async fn letter_box(config: &Config) -> Result<Arc<dyn LetterBox>> {
    let name = &config.basic.sqs_queue_name;
    Ok(match config.backend.queue {
        QueueBackend::Sqs => Arc::new(sqs_queue(config).await?),
        QueueBackend::Embedded => {
            let database = Database::open(&config.backend.path).await?;
            let receives = config.backend.max_receive_count;
            Arc::new(SqliteQueue::open(&database, name, receives).await?)
        }
    })
}

/// The queue of the configuration on Amazon SQS.
pub async fn sqs_queue(config: &Config) -> Result<SqsQueue> {
    let sdk = aws::load_sdk_config().await?;
    first(|| SqsQueue::connect(&sdk, &config.basic.sqs_queue_name)).await
}

/// The records of the configuration in Amazon DynamoDB.
pub async fn dynamodb_table(config: &Config) -> Result<DynamoRecords> {
    let sdk = aws::load_sdk_config().await?;
    first(|| DynamoRecords::connect(&sdk, &config.basic.table_queue_name)).await
}

/// The records of the configuration.
pub async fn state(config: &Config) -> Result<Arc<dyn RecordStore>> {
    Ok(match config.backend.state {
        StateBackend::DynamoDb => Arc::new(dynamodb_table(config).await?),
        StateBackend::Embedded => {
            Arc::new(SqliteRecords::new(&Database::open(&config.backend.path).await?))
        }
    })
}

/// The engine that moves the objects.
pub fn engine(
    config: &Config,
    sides: Sides,
    state: Arc<dyn RecordStore>,
    monitor: Arc<Monitor>,
) -> Arc<Engine> {
    Arc::new(Engine {
        source: sides.source,
        destination: sides.destination,
        notes: Arc::<dyn RecordStore>::clone(&state),
        state,
        budget: MemoryBudget::of_machine(config.mode.max_memory),
        lanes: Lanes::new(),
        evidence: StoreEvidence::new(config),
        looks: Looks::default(),
        part_times: PartTimes::default(),
        settings: Settings::new(config, at_once(config).parts),
        monitor,
        instance: instance(),
    })
}

/// The settings of a worker with this configuration.
pub fn worker_settings(config: &Config) -> worker::WorkerSettings {
    let poll = match config.backend.queue {
        QueueBackend::Sqs => SQS_POLL,
        QueueBackend::Embedded => EMBEDDED_POLL,
    };
    let parallel = at_once(config).objects;
    worker::WorkerSettings::new(config, parallel, poll, config.backend.max_receive_count)
}

/// How events are handled, from the bucket list, the ignore list and `[Filter]`.
pub fn event_rules(config: &Config, parameters: &Arc<dyn ParameterStore>) -> Arc<dyn RuleBook> {
    Arc::new(Configured::new(config, parameters))
}

#[derive(Debug)]
struct Configured {
    config: Config,
    parameters: Arc<dyn ParameterStore>,
    /// A bucket list with pairs has been read.
    has_listed: AtomicBool,
}

impl Configured {
    fn new(config: &Config, parameters: &Arc<dyn ParameterStore>) -> Self {
        let (config, parameters) = (config.clone(), Arc::clone(parameters));
        Self { config, parameters, has_listed: AtomicBool::new(false) }
    }
}

#[async_trait]
impl RuleBook for Configured {
    async fn read(&self) -> Result<Rules> {
        let (config, parameters) = (&self.config, Some(&*self.parameters));
        let (pairs, ignore) =
            tokio::join!(load_pairs(config, parameters), ignore_list(config, parameters));
        let pairs = match pairs {
            // Without a list there is the default place. If the list existed before, events do not
            // go there: the list may be about to be replaced, or have been deleted by mistake.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                if self.has_listed.load(Ordering::Relaxed) {
                    return Err(
                        error.note("it existed before: restart the workers to work without it")
                    );
                }
                Vec::new()
            }
            pairs => pairs?,
        };
        self.has_listed.fetch_or(!pairs.is_empty(), Ordering::Relaxed);
        let mut rules = Rules::without_list(config);
        rules.routes.pairs = pairs;
        Ok(Rules { ignore: ignore?, filter: config.filter.clone(), ..rules })
    }
}

/// The objects that are not migrated, from the ignore list.
pub async fn ignore_list(
    config: &Config,
    parameters: Option<&dyn ParameterStore>,
) -> Result<Patterns> {
    let list = load_ignore_list(config, parameters).await?;
    Patterns::parse(&list.text).map_err(|error| error.context(list.name))
}

/// How many objects share a message, from `[Mode]`.
pub fn packs(config: &Config) -> PackLimits {
    let Mode { pack_objects, resumable_threshold, .. } = config.mode;
    PackLimits { objects: pack_objects, largest: resumable_threshold }
}

/// This process's name in the records: the machine's name and the process id. On EC2's Nitro
/// instances the machine's name is the instance's id, which the board's asset tag provides without
/// a request (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/identify_ec2_instances.html>).
/// In Lambda it is the log stream's id, by which the function's log is found.
pub fn instance() -> String {
    if let Ok(stream) = std::env::var("AWS_LAMBDA_LOG_STREAM_NAME") {
        let id = stream.rsplit(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
        if !id.is_empty() {
            return format!("{FUNCTION}{id}");
        }
    }
    let text = |file: &str| std::fs::read_to_string(file).unwrap_or_default().trim().to_owned();
    let tag = text("/sys/devices/virtual/dmi/id/board_asset_tag");
    let machine = match tag.starts_with("i-") {
        true => tag,
        false => text("/proc/sys/kernel/hostname"),
    };
    let machine = if machine.is_empty() { "localhost" } else { &machine };
    format!("{machine}-{}", std::process::id())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// A bucket list that may come and go, and no other parameter.
    #[derive(Debug, Default)]
    struct List(Mutex<Option<&'static str>>);

    impl List {
        fn is(&self, text: Option<&'static str>) {
            *self.0.lock().unwrap() = text;
        }
    }

    #[async_trait]
    impl ParameterStore for List {
        async fn get(&self, name: &str) -> Result<Option<String>> {
            let list = *self.0.lock().unwrap();
            Ok(list.filter(|_| name == "s3_migration_bucket_para").map(str::to_owned))
        }
    }

    #[tokio::test]
    async fn a_bucket_list_that_has_vanished_leads_to_no_default_place() {
        let list = Arc::new(List::default());
        let parameters: Arc<dyn ParameterStore> = Arc::clone(&list) as _;
        let rules = Configured::new(&Config::default(), &parameters);
        assert_eq!(rules.read().await.unwrap().routes.pairs, [], "there never was one");
        list.is(Some("[]"));
        rules.read().await.unwrap();
        list.is(None);
        assert_eq!(rules.read().await.unwrap().routes.pairs, [], "nor one with a pair");
        list.is(Some(r#"[{"src_bucket":"a","des_bucket":"b"}]"#));
        assert_eq!(rules.read().await.unwrap().routes.pairs.len(), 1);
        list.is(None);
        let error = rules.read().await.unwrap_err().to_string();
        assert!(error.contains("s3_migration_bucket_para"), "{error}");
        list.is(Some("[]"));
        assert_eq!(rules.read().await.unwrap().routes.pairs, [], "somebody has emptied it");
    }
}
