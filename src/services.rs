//! Everything a command works with, built from the configuration.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::OnceCell;

use crate::config::{Config, Credentials, JobType, QueueBackend, StateBackend};
use crate::error::{Error, Result};
use crate::monitor::Monitor;
use crate::object::MIB;
use crate::params::ParameterStore;
use crate::params::ssm::SsmParameters;
use crate::queue::Queue;
use crate::queue::embedded::EmbeddedQueue;
use crate::queue::sqs::SqsQueue;
use crate::sqlite::Database;
use crate::state::StateStore;
use crate::state::dynamodb::DynamoState;
use crate::state::embedded::EmbeddedState;
use crate::store::s3::S3Store;
use crate::store::s3::connect::Stored;
use crate::store::{ObjectStore, Side};
use crate::transfer::memory::MemoryBudget;
use crate::transfer::{Engine, Settings};
use crate::{aws, worker};

/// A long poll is as long as Amazon SQS allows, because each one is paid for
/// (<https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-short-and-long-polling.html>).
const SQS_POLL: Duration = Duration::from_secs(20);
/// The embedded queue costs nothing to ask; a short wait lets a stop through.
const EMBEDDED_POLL: Duration = Duration::from_secs(1);

/// Both sides of a migration.
#[derive(Clone, Debug)]
pub struct Sides {
    /// Where objects are read.
    pub source: Arc<dyn ObjectStore>,
    /// Where they are written.
    pub destination: Arc<dyn ObjectStore>,
}

impl Sides {
    /// Connects both sides. `standalone`: the command `run`, where both sides take the default
    /// chain unless told otherwise; elsewhere JobType decides.
    pub async fn open(
        config: &Config,
        parameters: &Arc<dyn ParameterStore>,
        standalone: bool,
    ) -> Result<Self> {
        let who = |side| credentials(config, side, standalone);
        let stored = || {
            let name = config.basic.ssm_parameter_credentials.clone();
            Some(Stored { parameters: Arc::clone(parameters), name })
        };
        // Together, since finding a region or a role may take seconds.
        let (source, destination) = tokio::try_join!(
            S3Store::source(config, who(Side::Source), stored()),
            S3Store::destination(config, who(Side::Destination), stored()),
        )?;
        Ok(Self { source: Arc::new(source), destination: Arc::new(destination) })
    }
}

/// Who asks on a side.
pub fn credentials(config: &Config, side: Side, standalone: bool) -> Credentials {
    let endpoint = match side {
        Side::Source => &config.source.endpoint,
        Side::Destination => &config.destination.endpoint,
    };
    let by_job_type = match (config.basic.job_type, side) {
        (JobType::Put, Side::Source) | (JobType::Get, Side::Destination) => Credentials::Default,
        (JobType::Put, Side::Destination) | (JobType::Get, Side::Source) => Credentials::Ssm,
    };
    let default = if standalone { Credentials::Default } else { by_job_type };
    endpoint.credentials.unwrap_or(default)
}

/// Parameters in SSM Parameter Store of the machine's own account. The set-up is looked for when
/// the first parameter is asked for: outside EC2 that takes seconds, and `run` seldom needs one.
pub fn parameters() -> Arc<dyn ParameterStore> {
    Arc::new(LazyParameters::default())
}

#[derive(Debug, Default)]
struct LazyParameters(OnceCell<SsmParameters>);

#[async_trait]
impl ParameterStore for LazyParameters {
    async fn get(&self, name: &str) -> Result<Option<String>> {
        let connect = || async { SsmParameters::new(&aws::load_sdk_config(None, None).await) };
        self.0.get_or_init(connect).await.get(name).await
    }
}

/// The queue of the configuration.
pub async fn queue(config: &Config) -> Result<Arc<dyn Queue>> {
    let name = &config.basic.sqs_queue_name;
    Ok(match config.backend.queue {
        QueueBackend::Sqs => {
            Arc::new(SqsQueue::connect(&aws::load_sdk_config(None, None).await, name).await?)
        }
        QueueBackend::Embedded => {
            let database = Database::open(&config.backend.path).await?;
            let receives = config.backend.max_receive_count;
            Arc::new(EmbeddedQueue::open(&database, name, receives).await?)
        }
    })
}

/// The records of the configuration.
pub async fn state(config: &Config) -> Result<Arc<dyn StateStore>> {
    let name = &config.basic.table_queue_name;
    Ok(match config.backend.state {
        StateBackend::DynamoDb => {
            Arc::new(DynamoState::connect(&aws::load_sdk_config(None, None).await, name).await?)
        }
        StateBackend::Embedded => {
            Arc::new(EmbeddedState::new(&Database::open(&config.backend.path).await?))
        }
    })
}

/// What moves the objects. Refuses a configuration whose parts would not fit into its memory.
pub fn engine(
    config: &Config,
    sides: Sides,
    state: Arc<dyn StateStore>,
    monitor: Arc<Monitor>,
) -> Result<Arc<Engine>> {
    let budget = MemoryBudget::of_machine(config.mode.max_memory);
    let largest = config.debug.chunk_size.max(config.mode.resumable_threshold);
    if largest > budget.total() {
        return Err(Error::usage(format!(
            "ChunkSize and ResumableThreshold need {} MiB in memory for one object, and {} MiB may \
             be used: raise MaxMemory in [Mode], or lower them",
            largest / MIB,
            budget.total() / MIB
        )));
    }
    Ok(Arc::new(Engine {
        source: sides.source,
        destination: sides.destination,
        state,
        budget,
        settings: Settings::from(config),
        monitor,
        instance: instance(),
    }))
}

/// What a worker of this configuration obeys.
pub fn worker_settings(config: &Config) -> worker::Settings {
    let poll = match config.backend.queue {
        QueueBackend::Sqs => SQS_POLL,
        QueueBackend::Embedded => EMBEDDED_POLL,
    };
    worker::Settings::new(config, poll, config.backend.max_receive_count)
}

/// This process's name in the records: the machine's name and the process id.
fn instance() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = match host.trim() {
        "" => "localhost",
        host => host,
    };
    format!("{host}-{}", std::process::id())
}
