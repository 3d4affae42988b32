//! A conditional write as an UpdateItem's expressions.
//!
//! The conditions are spelled out without relying on how a comparison with an absent attribute
//! ends: compatible stores may differ there.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use super::item::{self, Item};
use crate::record::RecordId;
use crate::record::rules::{Assign, Column, Condition, Value, Write};

/// An UpdateItem without its table and key.
#[derive(Clone, Debug, Default)]
pub(super) struct Update {
    set: Vec<String>,
    remove: Vec<String>,
    add: Vec<String>,
    /// The condition on an existing record.
    fence: String,
    pub(super) names: HashMap<String, String>,
    pub(super) values: HashMap<String, AttributeValue>,
}

impl Update {
    /// The write to the record of `id`.
    pub(super) fn new(id: &RecordId, write: Write<'_>) -> Self {
        let mut update = Self::default();
        update.name("Key");
        for (name, text) in item::identity(id) {
            update.set_to(name, AttributeValue::S(text.to_owned()));
        }
        for condition in &write.conditions {
            let condition = update.condition_of(condition);
            update.fence.push_str(" AND ");
            update.fence.push_str(&condition);
        }
        for (column, assign) in write.assignments {
            update.assign(column, assign);
        }
        update
    }

    fn assign(&mut self, column: Column, assign: Assign<'_>) {
        let name = column.name();
        match assign {
            Assign::Set(value) => self.set_to(name, item::attribute(column, &value)),
            Assign::IfAbsent(value) => {
                self.value(name, item::attribute(column, &value));
                self.set.push(format!("#{name} = if_not_exists(#{name}, :{name})"));
            }
            Assign::Add(number) => {
                self.value(name, AttributeValue::N(number.to_string()));
                self.add.push(format!("#{name} :{name}"));
            }
            Assign::Remove => {
                self.name(name);
                self.remove.push(format!("#{name}"));
            }
        }
    }

    /// The update expression.
    pub(super) fn expression(&self) -> String {
        let clauses = [("SET", &self.set), ("REMOVE", &self.remove), ("ADD", &self.add)];
        let clauses = clauses.iter().filter(|(_, parts)| !parts.is_empty());
        let clauses: Vec<_> = clauses.map(|(verb, p)| format!("{verb} {}", p.join(", "))).collect();
        clauses.join(" ")
    }

    /// The condition: an existing record must have the same destination and pass the fence.
    pub(super) fn condition(&self) -> String {
        let Self { fence, .. } = self;
        format!(
            "attribute_not_exists(#Key) OR \
             (#desBucket = :desBucket AND #desKey = :desKey{fence})"
        )
    }

    fn condition_of(&mut self, condition: &Condition<'_>) -> String {
        match condition {
            Condition::NoRecord => "attribute_not_exists(#Key)".to_owned(),
            Condition::Absent(column) => self.exists(*column, "attribute_not_exists"),
            Condition::Equals(column, value) => self.compared(*column, "=", value),
            Condition::AtMost(column, value) => self.compared(*column, "<=", value),
            Condition::Any(all) => joined(" OR ", all.iter().map(|one| self.condition_of(one))),
            Condition::NotAll(all) => joined(" OR ", all.iter().map(|one| self.negation_of(one))),
        }
    }

    fn negation_of(&mut self, condition: &Condition<'_>) -> String {
        match condition {
            Condition::NoRecord => "attribute_exists(#Key)".to_owned(),
            Condition::Absent(column) => self.exists(*column, "attribute_exists"),
            Condition::Equals(column, value) => self.is_not(*column, "<>", value),
            Condition::AtMost(column, value) => self.is_not(*column, ">", value),
            Condition::Any(all) => joined(" AND ", all.iter().map(|one| self.negation_of(one))),
            Condition::NotAll(all) => joined(" AND ", all.iter().map(|one| self.condition_of(one))),
        }
    }

    fn is_not(&mut self, column: Column, operator: &str, value: &Value<'_>) -> String {
        let absent = self.exists(column, "attribute_not_exists");
        let differs = self.compared(column, operator, value);
        joined(" OR ", [absent, differs].into_iter())
    }

    fn exists(&mut self, column: Column, function: &str) -> String {
        self.name(column.name());
        format!("{function}(#{})", column.name())
    }

    /// Every compared value has a placeholder of its own, next to those of the assigned ones.
    fn compared(&mut self, column: Column, operator: &str, value: &Value<'_>) -> String {
        let (name, placeholder) = (column.name(), format!(":value{}", self.values.len()));
        self.name(name);
        let comparison = format!("#{name} {operator} {placeholder}");
        self.values.insert(placeholder, item::attribute(column, value));
        comparison
    }

    /// Every name goes through a placeholder, since `Size`, `Key` and others are reserved words.
    fn name(&mut self, name: &str) {
        self.names.insert(format!("#{name}"), name.to_owned());
    }

    fn value(&mut self, name: &str, value: AttributeValue) {
        self.name(name);
        self.values.insert(format!(":{name}"), value);
    }

    fn set_to(&mut self, name: &str, value: AttributeValue) {
        self.value(name, value);
        self.set.push(format!("#{name} = :{name}"));
    }
}

/// In parentheses if there are several: the service refuses redundant ones.
fn joined(operator: &str, conditions: impl Iterator<Item = String>) -> String {
    let conditions: Vec<String> = conditions.collect();
    match conditions.as_slice() {
        [only] => only.clone(),
        several => format!("({})", several.join(operator)),
    }
}

/// The item that the write makes if there is none yet, without its key.
pub(super) fn new_item(id: &RecordId, write: Write<'_>) -> Item {
    let texts = item::identity(id).map(|(name, text)| (name, AttributeValue::S(text.to_owned())));
    let values = write.new_row().into_values();
    let values = values.map(|(column, value)| (column.name(), item::attribute(column, &value)));
    texts.into_iter().chain(values).map(|(name, value)| (name.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests {
    use Condition::{Absent, Any, Equals, NotAll};

    use super::*;
    use crate::object::ObjectId;

    #[test]
    fn a_write_is_spelled_out_without_redundant_parentheses() {
        let id = RecordId { src: ObjectId::new("src", "k"), des: ObjectId::new("des", "k") };
        let lease = || Equals(Column::Lease, Value::text("l"));
        let etag = Equals(Column::SourceEtag, Value::text("e"));
        let write = Write {
            assignments: vec![
                (Column::Size, Assign::IfAbsent(Value::Number(7))),
                (Column::Version, Assign::Set(Value::NoVersion)),
                (Column::Tries, Assign::Add(1)),
                (Column::Deleted, Assign::Remove),
            ],
            conditions: vec![
                NotAll(vec![lease()]),
                Any(vec![Absent(Column::UploadId), etag]),
                NotAll(vec![Absent(Column::EndTime), lease()]),
            ],
        };
        let item = new_item(&id, write.clone());
        let update = Update::new(&id, write);
        let set = "SET #srcBucket = :srcBucket, #desBucket = :desBucket, #desKey = :desKey, \
                   #Size = if_not_exists(#Size, :Size), #versionId = :versionId";
        let expected = format!("{set} REMOVE #deleted ADD #tryTimes :tryTimes");
        assert_eq!(update.expression(), expected);
        assert_eq!(
            update.condition(),
            "attribute_not_exists(#Key) OR (#desBucket = :desBucket AND #desKey = :desKey \
             AND (attribute_not_exists(#lease) OR #lease <> :value3) \
             AND (attribute_not_exists(#uploadId) OR #sourceEtag = :value4) \
             AND (attribute_exists(#endTime) OR (attribute_not_exists(#lease) OR #lease <> :value5)))"
        );
        let texts = format!("{} {}", update.expression(), update.condition());
        assert!(update.names.keys().chain(update.values.keys()).all(|name| texts.contains(name)));
        let new = ["srcBucket", "desBucket", "desKey", "Size", "versionId", "tryTimes"];
        assert!(item.len() == new.len() && new.iter().all(|name| item.contains_key(*name)));
    }
}
