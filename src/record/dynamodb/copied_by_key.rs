//! Looks up by key, a hundred to a request, which content was copied and how attempts ended.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};

use super::item::{self, Item};
use super::{DynamoRecords, RecordId};
use crate::error::{Error, ErrorKind, Result};
use crate::object::Revision;
use crate::record::{AttemptEnd, MAX_LOOKED_UP};

/// The attributes read of an item.
const ATTRIBUTES: [&str; 9] = [
    "Key",
    "desBucket",
    "desKey",
    "versionId",
    "sourceEtag",
    "jobStatus",
    "lastTimeProgress",
    "endTime",
    "deleted",
];

impl DynamoRecords {
    pub(super) async fn copied_from(&self, ids: &[RecordId]) -> Result<Vec<Option<Revision>>> {
        let found = self.found(ids).await?;
        Ok(found.iter().map(|item| item::row(item.as_ref()?).copied()).collect())
    }

    pub(super) async fn ends_of(&self, ids: &[RecordId]) -> Result<Vec<Option<AttemptEnd>>> {
        let found = self.found(ids).await?;
        Ok(found.iter().map(|item| item::row(item.as_ref()?).end()).collect())
    }

    /// Each item under its primary key, or under the alternate one if the primary belongs to
    /// another destination.
    async fn found(&self, ids: &[RecordId]) -> Result<Vec<Option<Item>>> {
        let primary = self.items(ids.iter().map(item::primary_key)).await?;
        let of = |items: &BTreeMap<String, Item>, key: &str, id: &RecordId| {
            items.get(key).filter(|item| item::is_of(item, id)).cloned()
        };
        let is_others = |id: &&RecordId| {
            let key = item::primary_key(id);
            primary.contains_key(&key) && of(&primary, &key, id).is_none()
        };
        let others = ids.iter().filter(is_others);
        let alternate = self.items(others.map(item::alternate_key)).await?;
        let answer = |id: &RecordId| {
            let own = of(&primary, &item::primary_key(id), id);
            own.or_else(|| of(&alternate, &item::alternate_key(id), id))
        };
        Ok(ids.iter().map(answer).collect())
    }

    /// The items that exist under these keys.
    async fn items(&self, keys: impl Iterator<Item = String>) -> Result<BTreeMap<String, Item>> {
        // A request with a duplicate key is refused.
        let keys: Vec<String> = keys.collect::<BTreeSet<_>>().into_iter().collect();
        let mut items = BTreeMap::new();
        for chunk in keys.chunks(MAX_LOOKED_UP) {
            let mut asked = Some(self.asked(chunk)?);
            while let Some(keys) = asked {
                let count = keys.keys().len();
                asked = self.ask(keys, &mut items).await?;
                if asked.as_ref().is_some_and(|left| left.keys().len() >= count) {
                    let message = format!("BatchGetItem {}: no key was processed", self.table);
                    return Err(Error::new(ErrorKind::Throttled, message));
                }
            }
        }
        Ok(items)
    }

    fn asked(&self, keys: &[String]) -> Result<KeysAndAttributes> {
        let names = ATTRIBUTES.map(|name| (format!("#{name}"), name.to_owned()));
        let projection: Vec<&str> = names.iter().map(|(placeholder, _)| &**placeholder).collect();
        let key =
            |key: &String| HashMap::from([("Key".to_owned(), AttributeValue::S(key.clone()))]);
        KeysAndAttributes::builder()
            .set_keys(Some(keys.iter().map(key).collect()))
            .projection_expression(projection.join(", "))
            .set_expression_attribute_names(Some(names.clone().into()))
            .build()
            .map_err(|error| Error::invalid(error.to_string()))
    }

    /// One request; returns the keys that the answer left unprocessed.
    async fn ask(
        &self,
        keys: KeysAndAttributes,
        items: &mut BTreeMap<String, Item>,
    ) -> Result<Option<KeysAndAttributes>> {
        let asked = self.client.batch_get_item().request_items(&self.table, keys).send().await;
        let mut answer = asked.map_err(|e| self.error("BatchGetItem", &e))?;
        let found = answer.responses.as_mut().and_then(|tables| tables.remove(&self.table));
        for item in found.unwrap_or_default() {
            if let Some(key) = item::text(&item, "Key") {
                items.insert(key.to_owned(), item);
            }
        }
        let left = answer.unprocessed_keys.and_then(|mut tables| tables.remove(&self.table));
        Ok(left.filter(|left| !left.keys().is_empty()))
    }
}
