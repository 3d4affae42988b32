//! Reads which content was copied, in the order of the index.
//!
//! A query reads 4 KB of the index, about a dozen records, for half a unit; a lookup by key costs
//! that much for each record
//! (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html>).

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use aws_sdk_dynamodb::operation::query::QueryError;
use aws_sdk_dynamodb::types::{AttributeValue, IndexStatus, KeyType, TableDescription};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::item::{self, Item};
use super::{DynamoRecords, NOT_ALLOWED};
use crate::aws;
use crate::error::{Error, Result};
use crate::object::{ObjectId, ObjectKey};
use crate::record::{CopiesPage, CopiesRequest, Copy, RecordId};

/// The index of the table.
pub(super) const INDEX: &str = "desBucket-index";

/// Whether the index keeps the records of a bucket in key order, with all attributes that are
/// needed. The original's index has no sort key, and one that is being created or deleted cannot be
/// read (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/GSI.OnlineOps.html>).
pub(super) fn is_ordered(table: Option<&TableDescription>) -> bool {
    let indexes = table.map(TableDescription::global_secondary_indexes).unwrap_or_default();
    let index = indexes.iter().find(|index| index.index_name() == Some(INDEX));
    index.is_some_and(|index| {
        let is = |name: &str, kind: &KeyType| {
            index.key_schema().iter().any(|k| k.attribute_name() == name && k.key_type() == kind)
        };
        let kind = index.projection().and_then(|projection| projection.projection_type());
        let whole = kind.is_some_and(|kind| kind.as_str() == "ALL");
        let absent = [IndexStatus::Creating, IndexStatus::Deleting];
        let there = index.index_status().is_none_or(|status| !absent.contains(status));
        there && whole && is("desBucket", &KeyType::Hash) && is("desKey", &KeyType::Range)
    })
}

/// Where a page ends: the key of its last item, in the table and in the index.
#[derive(Serialize, Deserialize)]
struct IndexToken(String, String);

impl DynamoRecords {
    /// One Query of the index; `None` if reading it is or was denied.
    pub(super) async fn page_of_copies(
        &self,
        request: &CopiesRequest,
    ) -> Result<Option<CopiesPage>> {
        let after = request.after.as_ref().map(ObjectKey::as_str);
        let Some((items, last)) =
            self.query(&request.bucket, &request.prefix, after, request.token.as_deref()).await?
        else {
            return Ok(None);
        };
        let next = next(last.as_ref(), &request.prefix);
        let is_within = |copy: &Copy| copy.id.des.key.as_str().starts_with(&request.prefix);
        let copies = items.iter().filter_map(copy).filter(is_within).collect();
        Ok(Some(CopiesPage { copies, next }))
    }

    /// One Query of the index for the keys of a bucket with a prefix: the items, and the key of the
    /// last one if more follow. `None` if reading the index is or was denied.
    pub(super) async fn query(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<&str>,
        token: Option<&str>,
    ) -> Result<Option<(Vec<Item>, Option<Item>)>> {
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let (condition, from) = condition(prefix, after);
        let mut values = HashMap::from([(":bucket".to_owned(), text(bucket))]);
        values.extend(from.map(|from| (":from".to_owned(), text(from))));
        let start = token.map(|token| start(bucket, token)).transpose()?;
        let asked = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(INDEX)
            .key_condition_expression(condition)
            .set_expression_attribute_values(Some(values))
            .set_exclusive_start_key(start)
            .send()
            .await;
        let answer = match asked {
            Ok(answer) => answer,
            Err(refused) if self.may_not_query(&refused) => return Ok(None),
            Err(failed) => return Err(self.error("Query", &failed)),
        };
        Ok(Some((answer.items.unwrap_or_default(), answer.last_evaluated_key)))
    }

    /// Whether reading the index is denied; if so, it is not tried again.
    fn may_not_query(&self, error: &SdkError<QueryError, HttpResponse>) -> bool {
        let refused = error.raw_response().is_some() && aws::code(error) == Some(NOT_ALLOWED);
        if refused && self.ordered_index.swap(false, Ordering::Relaxed) {
            warn!(
                table = self.table,
                "what was copied is looked up object by object, which costs about twelve times as \
                 much: allow dynamodb:Query on the table's index {INDEX}"
            );
        }
        refused
    }
}

/// The token of the page after the item with this key, unless the keys with the prefix have ended.
pub(super) fn next(last: Option<&Item>, prefix: &str) -> Option<String> {
    let goes_on =
        |key: &&Item| item::text(key, "desKey").is_some_and(|key| key.starts_with(prefix));
    last.filter(goes_on).and_then(token)
}

/// The keys to read: those after a key, or those with the prefix. No operand may be empty.
fn condition<'a>(prefix: &'a str, after: Option<&'a str>) -> (&'static str, Option<&'a str>) {
    match after.filter(|after| *after >= prefix && !after.is_empty()) {
        Some(after) => ("desBucket = :bucket AND desKey > :from", Some(after)),
        None if prefix.is_empty() => ("desBucket = :bucket", None),
        None => ("desBucket = :bucket AND begins_with(desKey, :from)", Some(prefix)),
    }
}

fn token(key: &Item) -> Option<String> {
    let text = |name| item::text(key, name).map(str::to_owned);
    serde_json::to_string(&IndexToken(text("Key")?, text("desKey")?)).ok()
}

fn start(bucket: &str, token: &str) -> Result<Item> {
    let parsed = serde_json::from_str(token);
    let IndexToken(key, des_key) =
        parsed.map_err(|e| Error::invalid("a token of copies").with_source(e))?;
    let parts = [("Key", key), ("desBucket", bucket.to_owned()), ("desKey", des_key)];
    Ok(parts.map(|(name, text)| (name.to_owned(), AttributeValue::S(text))).into())
}

/// A finished copy, if the item is one.
fn copy(item: &Item) -> Option<Copy> {
    let text = |name| item::text(item, name);
    let des = ObjectId::new(text("desBucket")?, text("desKey")?);
    let src = item::source(text("Key")?, text("srcBucket"), &des).ok()?;
    item::row(item).copy(RecordId { src, des })
}
