//! The queue and the records that a command reads: those of the configuration, or those of a `run`
//! in this folder.

use std::sync::Arc;

use tracing::info;

use crate::config::{Config, QueueBackend, StateBackend};
use crate::error::{Error, Result};
use crate::queue::LetterBox;
use crate::queue::sqlite::SqliteQueue;
use crate::record::RecordStore;
use crate::record::sqlite::SqliteRecords;
use crate::sqlite::Database;
use crate::wiring;

/// What was found.
pub(super) struct Backends {
    pub(super) records: Arc<dyn RecordStore>,
    pub(super) queues: Vec<Arc<dyn LetterBox>>,
    /// The queue that takes new jobs; `None`: no worker serves one.
    pub(super) takes: Option<Arc<dyn LetterBox>>,
    /// They are those of a `run`.
    pub(super) of_run: bool,
}

impl Backends {
    /// Opens the backends; `None` if they are embedded and their file does not exist: it is not
    /// created just by looking.
    ///
    /// `run` uses the SQLite file whatever the configuration says. If that file is there and the
    /// configuration names no backend, a `run` is meant: a cluster has no such file.
    pub(super) async fn open(config: &Config) -> Result<Option<Self>> {
        let (queue, state) = (config.backend.queue, config.backend.state);
        let file = &config.backend.path;
        let there = file.exists();
        let in_cloud = queue == QueueBackend::Sqs && state == StateBackend::DynamoDb;
        let of_run = there && in_cloud;
        let here = of_run || queue == QueueBackend::Embedded;
        if !there && !in_cloud {
            return Ok(None);
        }
        if of_run {
            info!("looking at the runs in {}", file.display());
        }
        let absent = |error: Error| {
            error.note(format_args!("there is no {} of a run here either", file.display()))
        };
        let records: Arc<dyn RecordStore> = match of_run || state == StateBackend::Embedded {
            true => Arc::new(SqliteRecords::new(&Database::open(file).await?)),
            false => wiring::state(config).await.map_err(absent)?,
        };
        let own = match of_run {
            true => None,
            false => Some(wiring::letter_box(config).await?),
        };
        let mut queues = Vec::new();
        if here {
            let database = Database::open(file).await?;
            for name in SqliteQueue::names(&database).await? {
                let receives = config.backend.max_receive_count;
                let queue = SqliteQueue::open(&database, &name, receives).await?;
                queues.push(Arc::new(queue) as Arc<dyn LetterBox>);
            }
        } else {
            queues.extend(own.clone());
        }
        let only = || queues.first().filter(|_| queues.len() == 1).cloned();
        Ok(Some(Self { records, takes: own.or_else(only), queues, of_run }))
    }
}
