//! Boards: items with one attribute for each part, changed by one UpdateItem.

use std::collections::HashMap;

use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};

use super::DynamoRecords;
use super::item::Item;
use super::notes::{FIRST_TIME, NOTE};
use crate::error::Result;
use crate::record::{Board, BoardChange, NoteKey};

/// What the name of a part's attribute begins with.
const PART: &str = "part:";

impl DynamoRecords {
    /// One UpdateItem that answers with the whole item: writing one's own part and reading those of
    /// all others is a single request.
    pub(super) async fn change_board(
        &self,
        key: &NoteKey,
        change: &BoardChange,
    ) -> Result<Option<Board>> {
        let expressions = Expressions::of(change);
        let updated = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("Key", AttributeValue::S(key.as_str().to_owned()))
            .update_expression(expressions.update)
            .set_condition_expression(expressions.condition)
            .set_expression_attribute_names(Some(expressions.names))
            .set_expression_attribute_values(Some(expressions.values))
            .return_values(ReturnValue::AllNew)
            .send()
            .await;
        match updated {
            Ok(answer) => Ok(Some(parts(answer.attributes))),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(None),
                _ => Err(self.error("UpdateItem", &error)),
            },
        }
    }
}

/// The parts of an item.
pub(super) fn parts(item: Option<Item>) -> Board {
    let part = |(name, value): (String, AttributeValue)| match value {
        AttributeValue::B(text) => Some((name.strip_prefix(PART)?.to_owned(), text.into_inner())),
        _ => None,
    };
    item.into_iter().flatten().filter_map(part).collect()
}

#[derive(Debug, PartialEq)]
struct Expressions {
    update: String,
    condition: Option<String>,
    names: HashMap<String, String>,
    values: HashMap<String, AttributeValue>,
}

impl Expressions {
    fn of(change: &BoardChange) -> Self {
        let binary = |text: &[u8]| AttributeValue::B(Blob::new(text));
        // The note's attribute keeps it out of every count of records.
        let names = [("#note", NOTE), ("#first", FIRST_TIME)];
        let mut names = HashMap::from(names.map(|(name, of)| (name.to_owned(), of.to_owned())));
        let mut values = HashMap::from([
            (":note".to_owned(), binary(b"board")),
            (":first".to_owned(), AttributeValue::N("0".to_owned())),
        ]);
        let mut update = "SET #note = :note, #first = :first".to_owned();
        for (at, (part, text)) in change.set.iter().enumerate() {
            names.insert(format!("#s{at}"), format!("{PART}{part}"));
            values.insert(format!(":s{at}"), binary(text));
            update.push_str(&format!(", #s{at} = :s{at}"));
        }
        for (at, part) in change.remove.iter().enumerate() {
            names.insert(format!("#r{at}"), format!("{PART}{part}"));
            update.push_str(if at == 0 { " REMOVE " } else { ", " });
            update.push_str(&format!("#r{at}"));
        }
        let condition = change.only_if.as_ref().map(|(part, expected)| {
            names.insert("#c".to_owned(), format!("{PART}{part}"));
            match expected {
                Some(text) => {
                    values.insert(":c".to_owned(), binary(text));
                    "#c = :c".to_owned()
                }
                None => "attribute_not_exists(#c)".to_owned(),
            }
        });
        Self { update, condition, names, values }
    }
}
