//! The record in Amazon DynamoDB.
//!
//! One item per object, under the original's partition key `src_bucket/src_key`. Two pairs that
//! share a source would share that key: it belongs to the destination that was recorded first, and
//! every other destination has an item under an alternate key ([`item::alternate_key`]). Each write
//! is conditional on the item's destination, so neither can overwrite the other.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{
    AttributeValue, KeyType, ReturnValuesOnConditionCheckFailure, TableDescription,
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use futures_util::StreamExt;
use futures_util::stream;

use self::item::Item;
use self::update::Update;
use super::rules::{Change, Refusal, Row, Write};
use super::{
    AttemptEnd, Attempts, Board, BoardChange, CopiesPage, CopiesRequest, JobStatus, MAX_LOOKED_UP,
    NoteKey, Notes, Outcome, PastCopies, Record, RecordId, RecordList, RecordTally, Recorded,
    RecordsPage, RecordsRequest, Seal, Stamp, Start,
};
use crate::aws;
use crate::error::{Error, ErrorKind, RECORDS, Result};
use crate::object::Revision;

mod batch;
mod board;
mod copied_by_index;
mod copied_by_key;
mod examine;
mod failures;
mod item;
mod notes;
mod pages;
mod update;

/// An answer must begin within this time; the service normally answers within milliseconds.
const READ_TIMEOUT: Duration = Duration::from_secs(15);

/// Outcomes written concurrently, one call each: a batch cannot update under a condition. Eight
/// hide the latency without a burst that a small provisioned table would throttle.
const WRITES_AT_ONCE: usize = 8;

/// The table of records. It retries no call itself (see `crate::retry`); every write is safe to
/// retry.
#[derive(Debug)]
pub struct DynamoRecords {
    client: Client,
    table: String,
    /// Batches are refused: the permission is missing, or the store does not support them.
    no_batches: AtomicBool,
    /// The index can be read in key order.
    ordered_index: AtomicBool,
}

/// The result of a conditional write.
enum WriteResult {
    Done,
    /// Refused because of this item, which has the right source and destination.
    Refused(Item),
}

impl DynamoRecords {
    /// The records in `table`; checks its key schema first. A missing permission to describe the
    /// table is no error: the first write will show whether the table fits.
    pub async fn connect(config: &SdkConfig, table: &str) -> Result<Self> {
        let client = Client::from_conf(
            aws_sdk_dynamodb::config::Builder::from(config)
                .retry_config(RetryConfig::disabled())
                .timeout_config(aws::timeouts(Some(READ_TIMEOUT)))
                .build(),
        );
        let (table, no_batches) = (table.to_owned(), AtomicBool::new(false));
        let ordered_index = AtomicBool::new(false);
        let mut state = Self { client, table, no_batches, ordered_index };
        match state.client.describe_table().table_name(&state.table).send().await {
            Ok(answer) => {
                state.check_schema(answer.table())?;
                state.ordered_index = copied_by_index::is_ordered(answer.table()).into();
            }
            // Missing credentials are not a missing permission.
            Err(e) if e.raw_response().is_some() && aws::code(&e) == Some(NOT_ALLOWED) => {
                tracing::debug!(
                    state.table,
                    "no permission to describe the table: its keys are not checked"
                );
            }
            Err(e) => return Err(state.error("DescribeTable", &e)),
        }
        Ok(state)
    }

    fn check_schema(&self, table: Option<&TableDescription>) -> Result<()> {
        let keys: Vec<_> = table.map(|t| t.key_schema()).unwrap_or_default().iter().collect();
        match keys.as_slice() {
            [only] if only.attribute_name() == "Key" && *only.key_type() == KeyType::Hash => Ok(()),
            _ => Err(Error::usage(format!(
                "the DynamoDB table {} cannot hold the records: its key must be the partition key \
                 Key (a string) alone; create another table and set table_queue_name",
                self.table
            ))),
        }
    }

    fn error<E>(&self, call: &'static str, error: &SdkError<E, HttpResponse>) -> Error
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let table = &self.table;
        if aws::classify(error) != ErrorKind::NotFound {
            return aws::error(format_args!("{call} {table}"), error).at(call, RECORDS, table);
        }
        let region = self.client.config().region().map_or("unknown", |region| region.as_ref());
        aws::error(
            format_args!(
                "there is no DynamoDB table {} in region {region}, create it with the partition key \
                 Key (a string) and the index desBucket-index, or set table_queue_name",
                self.table
            ),
            error,
        )
        .at(call, RECORDS, table)
    }

    async fn get(&self, key: String) -> Result<Option<Item>> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.table)
            .key("Key", AttributeValue::S(key))
            .consistent_read(true)
            .send()
            .await
            .map_err(|e| self.error("GetItem", &e))?;
        Ok(answer.item)
    }

    /// Writes to the record of `id`: under its primary key, or under the alternate one if the
    /// primary belongs to another destination.
    async fn write(&self, id: &RecordId, write: Write<'_>) -> Result<WriteResult> {
        let update = &Update::new(id, write);
        for key in [item::primary_key(id), item::alternate_key(id)] {
            let Some(item) = self.update(key, update).await? else { return Ok(WriteResult::Done) };
            if item::is_of(&item, id) {
                return Ok(WriteResult::Refused(item));
            }
        }
        Err(Error::invalid(format!(
            "UpdateItem {}: both records of {} belong to other destinations than {}",
            self.table, id.src, id.des
        )))
    }

    /// One conditional UpdateItem; returns the item that refused it, if any.
    async fn update(&self, key: String, update: &Update) -> Result<Option<Item>> {
        let outcome = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("Key", AttributeValue::S(key.clone()))
            .update_expression(update.expression())
            .condition_expression(update.condition())
            .set_expression_attribute_names(Some(update.names.clone()))
            .set_expression_attribute_values(Some(update.values.clone()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        let error = match outcome {
            Ok(_) => return Ok(None),
            Err(error) => error,
        };
        let item = match error.as_service_error() {
            Some(UpdateItemError::ConditionalCheckFailedException(refused)) => refused.item(),
            _ => return Err(self.error("UpdateItem", &error)),
        };
        // A compatible store may not return the item.
        match item.filter(|item| !item.is_empty()) {
            Some(item) => Ok(Some(item.clone())),
            None => self.get(key).await?.map(Some).ok_or_else(|| self.changed_meanwhile()),
        }
    }

    /// The record was deleted or replaced between two of our calls; the next try sees the new
    /// state.
    fn changed_meanwhile(&self) -> Error {
        let message = format!("UpdateItem {}: the record changed while it was written", self.table);
        Error::new(ErrorKind::Unavailable, message)
    }

    async fn carry_out(&self, change: Change<'_>) -> Recorded {
        let (id, mut write, mut obsolete) = (change.id(), change.write(), None);
        // The second write is about the upload that the first was refused for.
        for _ in 0..2 {
            let item = match self.write(id, write).await? {
                WriteResult::Done => return Ok(obsolete),
                WriteResult::Refused(item) => item,
            };
            match change.refused(&item::row(&item)) {
                Refusal::Repeated => return Ok(None),
                Refusal::Fenced => return Err(super::taken_over(id)),
                Refusal::OtherUpload { instead, dropped } => (write, obsolete) = (instead, dropped),
            }
        }
        Err(self.changed_meanwhile())
    }

    /// Every item of the table with the attributes in `projection`, page by page. It reads the
    /// whole table: one read unit per 8 KiB, regardless of projection and filter.
    fn scan(
        &self,
        projection: Option<&[&str]>,
        status: Option<JobStatus>,
    ) -> impl stream::Stream<Item = Result<Vec<Item>>> + use<> {
        let mut names = HashMap::new();
        for name in projection.unwrap_or_default().iter().chain(status.map(|_| &"jobStatus")) {
            names.insert(format!("#{name}"), (*name).to_owned());
        }
        let projected = projection.map(|all| all.iter().map(|n| format!("#{n}")).collect());
        let scan = self
            .client
            .scan()
            .table_name(&self.table)
            .set_projection_expression(projected.map(|all: Vec<String>| all.join(", ")))
            .set_filter_expression(status.map(|_| failures::HAS_STATUS.to_owned()))
            .set_expression_attribute_values(status.map(|status| {
                let values = [(":jobStatus", status.as_str()), (":set", failures::STRING_SET)];
                let text = |text: &str| AttributeValue::S(text.to_owned());
                values.map(|(name, value)| (name.to_owned(), text(value))).into()
            }))
            .set_expression_attribute_names(Some(names));
        let named = Self {
            client: self.client.clone(),
            table: self.table.clone(),
            no_batches: AtomicBool::new(true),
            ordered_index: AtomicBool::new(false),
        };
        stream::try_unfold((Some(None), named), move |(from, named)| {
            let scan = scan.clone();
            async move {
                let Some(from) = from else { return Ok(None) };
                let page = scan.set_exclusive_start_key(from).send().await;
                let page = page.map_err(|e| named.error("Scan", &e))?;
                let next = page.last_evaluated_key.map(Some);
                Ok(Some((page.items.unwrap_or_default(), (next, named))))
            }
        })
    }
}

/// DynamoDB's answer if a permission is missing.
const NOT_ALLOWED: &str = "AccessDeniedException";

fn count(tally: &mut RecordTally, row: &Row<'_>, since: SystemTime) {
    let size = row.size();
    match row.status() {
        JobStatus::Running => {
            tally.running += 1;
            tally.running_bytes += size;
        }
        JobStatus::Failed => tally.failed += 1,
        JobStatus::Done => {
            tally.done += 1;
            tally.done_bytes += size;
            if let Some(proven) = row.proven() {
                tally.proofs.count(proven);
            }
            if row.end_time().is_some_and(|end| end >= since) {
                tally.recent += 1;
                tally.recent_bytes += size;
            }
        }
    }
}

#[async_trait]
impl Attempts for DynamoRecords {
    async fn load(&self, id: &RecordId) -> Result<Option<Record>> {
        for key in [item::primary_key(id), item::alternate_key(id)] {
            match self.get(key).await? {
                Some(item) if item::is_of(&item, id) => return item::record(&item).map(Some),
                Some(_) => {}
                None => return Ok(None),
            }
        }
        Ok(None)
    }

    async fn begin(&self, start: &Start) -> Result<()> {
        self.carry_out(Change::Begin(start)).await.map(drop)
    }

    async fn seal(&self, seal: &Seal) -> Result<()> {
        self.carry_out(Change::Seal(seal)).await.map(drop)
    }

    /// Inserts new records 25 to a request; writes every outcome whose record exists already with a
    /// call of its own.
    async fn finish_each(&self, outcomes: &[Outcome]) -> Vec<Recorded> {
        let mut answers = self.insert_new(outcomes).await;
        let mut writes = Vec::new();
        for (at, outcome) in outcomes.iter().enumerate().filter(|(at, _)| answers[*at].is_none()) {
            writes.push(async move { (at, self.carry_out(Change::Finish(outcome)).await) });
        }
        let mut written = stream::iter(writes).buffer_unordered(WRITES_AT_ONCE);
        while let Some((at, answer)) = written.next().await {
            answers[at] = Some(answer);
        }
        answers.into_iter().map(|answer| answer.unwrap_or(Ok(None))).collect()
    }
}

#[async_trait]
impl PastCopies for DynamoRecords {
    /// Costs half a read unit for each record of up to 4 KiB, and for each missing one.
    async fn copied(&self, ids: &[RecordId]) -> Result<Vec<Option<Revision>>> {
        self.copied_from(ids).await
    }

    /// Costs as much as [`Self::copied`].
    async fn ends(&self, ids: &[RecordId]) -> Result<Vec<Option<AttemptEnd>>> {
        self.ends_of(ids).await
    }

    /// Costs half a read unit for each 4 KB of the index.
    async fn copies(&self, request: &CopiesRequest) -> Result<Option<CopiesPage>> {
        match self.ordered_index.load(Ordering::Relaxed) {
            true => self.page_of_copies(request).await,
            false => Ok(None),
        }
    }
}

#[async_trait]
impl Notes for DynamoRecords {
    async fn add_note(&self, key: &NoteKey, text: &[u8]) -> Result<bool> {
        self.put_note(key, text, false).await
    }

    async fn set_note(&self, key: &NoteKey, text: &[u8]) -> Result<()> {
        self.put_note(key, text, true).await.map(drop)
    }

    async fn notes(&self, keys: &[NoteKey]) -> Result<Vec<Option<Vec<u8>>>> {
        let mut notes = Vec::with_capacity(keys.len());
        for keys in keys.chunks(MAX_LOOKED_UP) {
            notes.extend(self.get_notes(keys).await?);
        }
        Ok(notes)
    }

    async fn remove_notes(&self, keys: &[NoteKey]) -> Result<()> {
        self.delete_notes(keys).await
    }

    /// Costs a write unit for each KiB of the board, or to read only, a read unit for each 4 KiB.
    async fn board(&self, key: &NoteKey, change: &BoardChange) -> Result<Option<Board>> {
        match *change == BoardChange::default() {
            true => Ok(Some(board::parts(self.get(key.as_str().to_owned()).await?))),
            false => self.change_board(key, change).await,
        }
    }
}

#[async_trait]
impl RecordList for DynamoRecords {
    /// Reads the whole table: see [`Self::scan`] for the cost.
    async fn tally(&self, since: SystemTime) -> Result<RecordTally> {
        const NEEDED: &[&str] = &[
            "jobStatus",
            "lastTimeProgress",
            "Size",
            "firstTime",
            "endTime",
            "proof",
            notes::NOTE,
        ];
        let mut tally = RecordTally::default();
        let (mut first, mut last) = (None, None);
        let mut pages = std::pin::pin!(self.scan(Some(NEEDED), None));
        while let Some(page) = pages.next().await {
            for item in page?.iter().filter(|item| !item.contains_key(notes::NOTE)) {
                let row = item::row(item);
                count(&mut tally, &row, since);
                first = first.into_iter().chain(row.first_time()).min();
                last = last.into_iter().chain(row.end_time()).max();
            }
        }
        tally.span = first.zip(last);
        Ok(tally)
    }

    /// Costs half a read unit for each 4 KB: of the index if the records of one bucket are asked for
    /// and the index can be read, otherwise of the whole table.
    async fn records(&self, request: &RecordsRequest) -> Result<RecordsPage> {
        self.page_of_records(request).await
    }

    /// Reads the table until it has found `limit` records: see [`Self::scan`] for the cost.
    async fn with_status(&self, status: JobStatus, limit: usize) -> Result<Vec<Record>> {
        let mut records = Vec::new();
        let mut pages = std::pin::pin!(self.scan(None, Some(status)));
        while records.len() < limit
            && let Some(page) = pages.next().await
        {
            let page = page?;
            let found = page.iter().filter(|item| item::row(item).status() == status);
            for item in found.take(limit - records.len()) {
                records.push(item::record(item)?);
            }
        }
        Ok(records)
    }

    /// Reads the whole table over all pages: see [`Self::scan`] for the cost, which consistency
    /// doubles.
    async fn page_with_status(
        &self,
        status: JobStatus,
        token: Option<&str>,
    ) -> Result<RecordsPage> {
        self.scan_page(status, token).await
    }

    async fn mark_redriven(&self, id: &RecordId, seen: Stamp) -> Result<bool> {
        self.set_redriven(id, seen).await
    }
}

#[cfg(test)]
mod tests;
