//! Reads records page by page, whole: by the index if only those of one bucket are wanted.

use std::sync::atomic::Ordering;

use aws_sdk_dynamodb::types::AttributeValue;

use super::item::{self, Item};
use super::{DynamoRecords, copied_by_index, notes};
use crate::error::{Error, ErrorKind, Result};
use crate::record::{Record, RecordsPage, RecordsRequest};

/// Begins the tokens of pages of the index; those of the table are keys.
const BY_INDEX: &str = "index:";

impl DynamoRecords {
    pub(super) async fn page_of_records(&self, request: &RecordsRequest) -> Result<RecordsPage> {
        let token = request.token.as_deref();
        let by_index = token.and_then(|token| token.strip_prefix(BY_INDEX));
        let may_query = match token {
            // What was begun in one order cannot be continued in the other.
            Some(_) => by_index.is_some(),
            None => self.ordered_index.load(Ordering::Relaxed),
        };
        if let (true, Some(within)) = (may_query, &request.within) {
            let prefix = within.key.as_str();
            match self.query(&within.bucket, prefix, None, by_index).await? {
                Some((items, last)) => {
                    let next = copied_by_index::next(last.as_ref(), prefix);
                    let next = next.map(|token| format!("{BY_INDEX}{token}"));
                    return Ok(RecordsPage { records: read(&items, request)?, next });
                }
                None if token.is_some() => {
                    let table = &self.table;
                    let text = format!("Query {table}: reading the index is no longer allowed");
                    return Err(Error::new(ErrorKind::Denied, text));
                }
                None => {}
            }
        }
        self.page_of_table(request).await
    }

    async fn page_of_table(&self, request: &RecordsRequest) -> Result<RecordsPage> {
        let key = |key: &str| [("Key".to_owned(), AttributeValue::S(key.to_owned()))].into();
        let start: Option<Item> = request.token.as_deref().map(key);
        let scan = self.client.scan().table_name(&self.table).set_exclusive_start_key(start);
        let page = scan.send().await.map_err(|e| self.error("Scan", &e))?;
        let next = page.last_evaluated_key.as_ref().and_then(|key| item::text(key, "Key"));
        let next = next.map(str::to_owned);
        Ok(RecordsPage { records: read(&page.items.unwrap_or_default(), request)?, next })
    }
}

fn read(items: &[Item], request: &RecordsRequest) -> Result<Vec<Record>> {
    let mut records = Vec::with_capacity(items.len());
    for item in items.iter().filter(|item| !item.contains_key(notes::NOTE)) {
        let record = item::record(item)?;
        if request.is_within(&record.id.des) {
            records.push(record);
        }
    }
    Ok(records)
}
