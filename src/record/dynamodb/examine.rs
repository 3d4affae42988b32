//! How a table is set up, and whether its calls are allowed, for `check`.
//!
//! No call here changes anything: writes carry a condition that cannot hold, or lack the table's key,
//! and the service checks the permission first.

use aws_sdk_dynamodb::error::ProvideErrorMetadata as _;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, KeyType, TableDescription};

use super::DynamoRecords;
use super::copied_by_index::{INDEX, is_ordered};
use crate::error::Result;
use crate::record::{IndexForm, NoteKey, TableCall, TableFacts};

/// The condition of the writes below: the item exists, which it never does.
const THERE: &str = "attribute_exists(#Key)";

impl DynamoRecords {
    /// DescribeTable. Fails with `Usage` if the table's key is not that of the records.
    pub async fn facts(&self) -> Result<TableFacts> {
        let answer = self.client.describe_table().table_name(&self.table).send().await;
        let answer = answer.map_err(|e| self.error("DescribeTable", &e))?;
        self.check_schema(answer.table())?;
        let arn = answer.table().and_then(TableDescription::table_arn).map(str::to_owned);
        Ok(TableFacts { arn, index: index_form(answer.table()) })
    }

    /// Makes a call of this kind without changing anything.
    pub async fn rehearse(&self, call: TableCall) -> Result<()> {
        let note = NoteKey::new("check");
        match call {
            TableCall::GetItem => self.get(note.as_str().to_owned()).await.map(drop),
            TableCall::BatchGetItem => self.get_notes(&[note]).await.map(drop),
            TableCall::DeleteItem => self.delete_notes(&[note]).await,
            TableCall::UpdateItem => self.refused_update(&note).await,
            TableCall::PutItem => self.refused_put(&note).await,
            TableCall::Query => self.empty_query(&note).await,
            TableCall::Insert => self.refused_insert().await,
        }
    }

    /// An item without the table's key.
    async fn refused_insert(&self) -> Result<()> {
        let statement = format!("INSERT INTO \"{}\" VALUE {{'lastError': 'none'}}", self.table);
        match self.client.execute_statement().statement(statement).send().await {
            Ok(_) => Ok(()),
            Err(error) => match error.as_service_error().and_then(|error| error.code()) {
                Some("ValidationException") => Ok(()),
                _ => Err(self.error("ExecuteStatement", &error)),
            },
        }
    }

    async fn refused_update(&self, note: &NoteKey) -> Result<()> {
        let update = self.client.update_item().table_name(&self.table).key("Key", text(note));
        let update = update.update_expression("SET lastError = :none");
        let none = AttributeValue::S("none".to_owned());
        let update = update.expression_attribute_values(":none", none);
        let update = update.condition_expression(THERE).expression_attribute_names("#Key", "Key");
        match update.send().await {
            Ok(_) => Ok(()),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(()),
                _ => Err(self.error("UpdateItem", &error)),
            },
        }
    }

    async fn refused_put(&self, note: &NoteKey) -> Result<()> {
        let put = self.client.put_item().table_name(&self.table).item("Key", text(note));
        let put = put.condition_expression(THERE).expression_attribute_names("#Key", "Key");
        match put.send().await {
            Ok(_) => Ok(()),
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(_)) => Ok(()),
                _ => Err(self.error("PutItem", &error)),
            },
        }
    }

    async fn empty_query(&self, note: &NoteKey) -> Result<()> {
        let query = self.client.query().table_name(&self.table).index_name(INDEX).limit(1);
        let query = query.key_condition_expression("desBucket = :bucket");
        let query = query.expression_attribute_values(":bucket", text(note));
        query.send().await.map(drop).map_err(|e| self.error("Query", &e))
    }
}

fn text(note: &NoteKey) -> AttributeValue {
    AttributeValue::S(note.as_str().to_owned())
}

fn index_form(table: Option<&TableDescription>) -> IndexForm {
    let indexes = table.map(TableDescription::global_secondary_indexes).unwrap_or_default();
    let Some(index) = indexes.iter().find(|index| index.index_name() == Some(INDEX)) else {
        return IndexForm::Missing;
    };
    let has = |name: &str, kind: &KeyType| {
        index.key_schema().iter().any(|k| k.attribute_name() == name && k.key_type() == kind)
    };
    match has("desBucket", &KeyType::Hash) && has("desKey", &KeyType::Range) {
        true if is_ordered(table) => IndexForm::Whole,
        true => IndexForm::Partial,
        false => IndexForm::Unordered,
    }
}
