//! A conditional write as data: what it demands of an existing record, and what it assigns.
//!
//! Pure: Amazon DynamoDB gets it as expressions; for SQLite it is evaluated here.

use super::row::{Column, Row, Value};

/// What happens to one column.
#[derive(Clone, Debug)]
pub enum Assign<'a> {
    /// It gets this value.
    Set(Value<'a>),
    /// It gets this value if it has none.
    IfAbsent(Value<'a>),
    /// This is added to its number; an absent one counts as 0.
    Add(u64),
    /// It loses its value.
    Remove,
}

/// What a write demands of an existing record.
#[derive(Clone, Debug)]
pub enum Condition<'a> {
    /// There is none: an existing record fails it.
    NoRecord,
    /// The column has no value.
    Absent(Column),
    /// The column has this value.
    Equals(Column, Value<'a>),
    /// The column has this value or a lesser one.
    AtMost(Column, Value<'a>),
    /// At least one of these holds.
    Any(Vec<Self>),
    /// At least one of these does not hold.
    NotAll(Vec<Self>),
}

impl Condition<'_> {
    /// Whether an existing record fulfils it.
    pub fn holds(&self, row: &Row<'_>) -> bool {
        let order = |column, value: &Value<'_>| row.get(column)?.compared_with(value);
        match self {
            Self::NoRecord => false,
            Self::Absent(column) => row.get(*column).is_none(),
            Self::Equals(column, value) => order(*column, value).is_some_and(|order| order.is_eq()),
            Self::AtMost(column, value) => order(*column, value).is_some_and(|order| order.is_le()),
            Self::Any(conditions) => conditions.iter().any(|condition| condition.holds(row)),
            Self::NotAll(conditions) => !all_hold(conditions, row),
        }
    }
}

/// Whether an existing record fulfils all of them.
pub fn all_hold(conditions: &[Condition<'_>], row: &Row<'_>) -> bool {
    conditions.iter().all(|condition| condition.holds(row))
}

/// A conditional write. If there is no record, it is made, whatever the conditions: nobody else
/// holds a record that does not exist.
#[derive(Clone, Debug, Default)]
pub struct Write<'a> {
    /// What is assigned; no column twice.
    pub assignments: Vec<(Column, Assign<'a>)>,
    /// What must hold of an existing record: all of them.
    pub conditions: Vec<Condition<'a>>,
}

impl<'a> Write<'a> {
    /// Assigns to `row`.
    pub fn apply(self, row: &mut Row<'a>) {
        for (column, assign) in self.assignments {
            let slot = row.slot(column);
            match assign {
                Assign::Set(value) => *slot = Some(value),
                Assign::IfAbsent(value) => drop(slot.get_or_insert(value)),
                Assign::Add(number) => {
                    let before = match slot {
                        Some(Value::Number(before)) => *before,
                        _ => 0,
                    };
                    *slot = Some(Value::Number(before.saturating_add(number)));
                }
                Assign::Remove => *slot = None,
            }
        }
    }

    /// The record that it makes if there is none.
    pub fn new_row(self) -> Row<'a> {
        let mut row = Row::default();
        self.apply(&mut row);
        row
    }

    pub(super) fn set(&mut self, column: Column, value: Value<'a>) {
        self.assignments.push((column, Assign::Set(value)));
    }

    pub(super) fn if_absent(&mut self, column: Column, value: Value<'a>) {
        self.assignments.push((column, Assign::IfAbsent(value)));
    }

    /// Sets the column, or removes its value if there is none to set.
    pub(super) fn set_or_remove(&mut self, column: Column, value: Option<Value<'a>>) {
        self.assignments.push((column, value.map_or(Assign::Remove, Assign::Set)));
    }

    pub(super) fn add_one(&mut self, column: Column) {
        self.assignments.push((column, Assign::Add(1)));
    }

    pub(super) fn remove(&mut self, columns: &[Column]) {
        self.assignments.extend(columns.iter().map(|column| (*column, Assign::Remove)));
    }

    pub(super) fn demand(&mut self, condition: Condition<'a>) {
        self.conditions.push(condition);
    }
}
