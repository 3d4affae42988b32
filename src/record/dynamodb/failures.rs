//! Finds records by their status, and marks failures that were answered by sending again.

use std::collections::HashMap;

use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::AttributeValue;
use tracing::warn;

use super::{DynamoRecords, item};
use crate::error::Result;
use crate::record::{JobStatus, RecordId, RecordsPage, Stamp};

/// The filter of a Scan for one status. The original's statuses are sets of strings, which the reader
/// must look into.
pub(super) const HAS_STATUS: &str = "#jobStatus = :jobStatus OR attribute_type(#jobStatus, :set)";
/// DynamoDB's name of the type of sets of strings.
pub(super) const STRING_SET: &str = "SS";

impl DynamoRecords {
    /// One page of a Scan. It reads about a megabyte of the table and returns the records with
    /// `status`.
    pub(super) async fn scan_page(
        &self,
        status: JobStatus,
        token: Option<&str>,
    ) -> Result<RecordsPage> {
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let start = token.map(|key| HashMap::from([("Key".to_owned(), text(key))]));
        let scan = self
            .client
            .scan()
            .table_name(&self.table)
            .consistent_read(true)
            .filter_expression(HAS_STATUS)
            .expression_attribute_names("#jobStatus", "jobStatus")
            .expression_attribute_values(":jobStatus", text(status.as_str()))
            .expression_attribute_values(":set", text(STRING_SET))
            .set_exclusive_start_key(start);
        let page = scan.send().await.map_err(|e| self.error("Scan", &e))?;
        let read = |found| match item::record(found) {
            Ok(record) => Some(record),
            Err(error) => {
                warn!("left out: {error}");
                None
            }
        };
        let last = page.last_evaluated_key.as_ref();
        let next = last.and_then(|key| item::text(key, "Key")).map(str::to_owned);
        let items = page.items.unwrap_or_default();
        let records = items.iter().filter_map(read).filter(|record| record.status == status);
        Ok(RecordsPage { next, records: records.collect() })
    }

    /// Under the primary key or the alternate one; neither is created.
    pub(super) async fn set_redriven(&self, id: &RecordId, seen: Stamp) -> Result<bool> {
        for key in [item::primary_key(id), item::alternate_key(id)] {
            if self.set_redriven_at(key, id, seen).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn set_redriven_at(&self, key: String, id: &RecordId, seen: Stamp) -> Result<bool> {
        let Some(end_time) = seen.end_time else { return Ok(false) };
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let number = |number: String| AttributeValue::N(number);
        let mut update = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("Key", AttributeValue::S(key))
            .update_expression("SET #redriven = #endTime ADD #redrives :one")
            .condition_expression(
                "#desBucket = :desBucket AND #desKey = :desKey \
                 AND (#jobStatus = :failed OR attribute_type(#jobStatus, :set)) \
                 AND #tryTimes = :tries AND #endTime = :end",
            )
            .expression_attribute_values(":set", text(STRING_SET))
            .expression_attribute_values(":one", number("1".to_owned()))
            .expression_attribute_values(":failed", text(JobStatus::Failed.as_str()))
            .expression_attribute_values(":tries", number(seen.tries.to_string()))
            .expression_attribute_values(":end", number(item::epoch(end_time)))
            .expression_attribute_values(":desBucket", text(&id.des.bucket))
            .expression_attribute_values(":desKey", text(id.des.key.as_str()));
        for name in
            ["redriven", "redrives", "desBucket", "desKey", "jobStatus", "tryTimes", "endTime"]
        {
            update = update.expression_attribute_names(format!("#{name}"), name);
        }
        let Err(error) = update.send().await else { return Ok(true) };
        match error.as_service_error() {
            Some(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(false),
            _ => Err(self.error("UpdateItem", &error)),
        }
    }
}
