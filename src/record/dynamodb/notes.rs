//! Notes of the jobsender, as separate items in the table of records.

use std::collections::HashMap;

use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};
use futures_util::StreamExt;
use futures_util::stream;

use super::DynamoRecords;
use super::item::Item;
use crate::error::{Error, ErrorKind, Result};
use crate::record::NoteKey;

/// The attribute that holds a note. An item without `jobStatus` is not a record, and one without
/// `desBucket` is not in the index.
pub(super) const NOTE: &str = "note";
/// A number that every note has, 0: the original's tool sorts all items by it and stops at one that
/// lacks it.
pub(super) const FIRST_TIME: &str = "firstTime";
/// Items removed concurrently.
const AT_ONCE: usize = 10;

impl DynamoRecords {
    /// `false` if there is one already and `replace` is not set.
    pub(super) async fn put_note(&self, key: &NoteKey, text: &[u8], replace: bool) -> Result<bool> {
        let condition = (!replace).then(|| "attribute_not_exists(#Key)".to_owned());
        let names = (!replace).then(|| HashMap::from([("#Key".to_owned(), "Key".to_owned())]));
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .item("Key", value(key))
            .item(NOTE, AttributeValue::B(Blob::new(text)))
            .item(FIRST_TIME, AttributeValue::N("0".to_owned()))
            .set_condition_expression(condition)
            .set_expression_attribute_names(names);
        match put.send().await {
            Ok(_) => Ok(true),
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(_)) => Ok(false),
                _ => Err(self.error("PutItem", &error)),
            },
        }
    }

    pub(super) async fn get_notes(&self, keys: &[NoteKey]) -> Result<Vec<Option<Vec<u8>>>> {
        let mut found: HashMap<String, Vec<u8>> = HashMap::new();
        let mut left: Vec<NoteKey> = keys.to_vec();
        while !left.is_empty() {
            // Notes may be large, and an answer has at most 16 MB: keys that it leaves out are
            // requested again.
            let asked = left.len();
            let items = self.ask_notes(&left).await?;
            left.clear();
            for item in items.0 {
                found.extend(note(item));
            }
            left.extend(items.1);
            if left.len() >= asked {
                let message = format!("BatchGetItem {}: no key was processed", self.table);
                return Err(Error::new(ErrorKind::Throttled, message));
            }
        }
        Ok(keys.iter().map(|key| found.remove(key.as_str())).collect())
    }

    async fn ask_notes(&self, keys: &[NoteKey]) -> Result<(Vec<Item>, Vec<NoteKey>)> {
        let keys = keys.iter().map(|key| HashMap::from([("Key".to_owned(), value(key))]));
        let keys =
            KeysAndAttributes::builder().set_keys(Some(keys.collect())).consistent_read(true);
        let keys = keys.build().map_err(|error| Error::invalid(error.to_string()))?;
        let asked = self.client.batch_get_item().request_items(&self.table, keys).send().await;
        let mut answer = asked.map_err(|e| self.error("BatchGetItem", &e))?;
        let items = answer.responses.as_mut().and_then(|tables| tables.remove(&self.table));
        let left = answer.unprocessed_keys.and_then(|mut tables| tables.remove(&self.table));
        let left = left.iter().flat_map(KeysAndAttributes::keys);
        let left = left.filter_map(|key| key.get("Key")?.as_s().ok().cloned().map(NoteKey));
        Ok((items.unwrap_or_default(), left.collect()))
    }

    pub(super) async fn delete_notes(&self, keys: &[NoteKey]) -> Result<()> {
        let delete = |key: NoteKey| async move {
            let delete = self.client.delete_item().table_name(&self.table).key("Key", value(&key));
            delete.send().await.map(drop).map_err(|e| self.error("DeleteItem", &e))
        };
        let mut deleted = stream::iter(keys.to_vec()).map(delete).buffer_unordered(AT_ONCE);
        while let Some(deleted) = deleted.next().await {
            deleted?;
        }
        Ok(())
    }
}

fn value(key: &NoteKey) -> AttributeValue {
    AttributeValue::S(key.as_str().to_owned())
}

fn note(mut item: Item) -> Option<(String, Vec<u8>)> {
    let key = item.remove("Key")?.as_s().ok().cloned()?;
    match item.remove(NOTE)? {
        AttributeValue::B(text) => Some((key, text.into_inner())),
        _ => None,
    }
}
