//! New records, many to a request.
//!
//! A small object has one write, its outcome, and no record before it. `BatchExecuteStatement`
//! takes 25 of these as PartiQL `INSERT`s, which succeed or fail independently. If the key is on
//! record already, the insert fails with `DuplicateItem` and changes nothing, so an insert is a
//! conditional write. It costs the write units of a PutItem. A refused insert has cost a unit too;
//! an UpdateItem with its full condition then writes the outcome. `BatchWriteItem` has no
//! conditions and would overwrite another destination's record or a live attempt's token;
//! `TransactWriteItems` costs twice the units, and one refused outcome undoes the others.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use aws_sdk_dynamodb::operation::batch_execute_statement::BatchExecuteStatementError;
use aws_sdk_dynamodb::types::{
    AttributeValue, BatchStatementError, BatchStatementErrorCodeEnum as Code, BatchStatementRequest,
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use tracing::warn;

use super::{DynamoRecords, NOT_ALLOWED, item, update};
use crate::aws;
use crate::error::{Error, ErrorKind, Result};
use crate::record::rules::Change;
use crate::record::{MAX_WRITTEN, Outcome, Recorded, all_failed};

/// The error code of a service without this operation.
const UNKNOWN_CALL: &str = "UnknownOperationException";

impl DynamoRecords {
    /// Inserts the outcomes that may be new; `None` for each that needs a write of its own.
    pub(super) async fn insert_new(&self, outcomes: &[Outcome]) -> Vec<Option<Recorded>> {
        let mut answers: Vec<Option<Recorded>> = outcomes.iter().map(|_| None).collect();
        let mut keys = HashSet::new();
        // An attempt with a token has a record, and so has one that saw a record. Of two outcomes
        // with the same key, the second is not new.
        let may_be_new = |at: &usize| {
            let outcome = &outcomes[*at];
            let seen = outcome.order.as_ref().is_some_and(|order| order.seen.is_some());
            outcome.lease.is_none() && !seen && keys.insert(item::primary_key(&outcome.id))
        };
        let new: Vec<usize> = (0..outcomes.len()).filter(may_be_new).collect();
        for chunk in new.chunks(MAX_WRITTEN) {
            // A single outcome is an UpdateItem, which never needs a second request.
            if chunk.len() == 1 || self.no_batches.load(Ordering::Relaxed) {
                break;
            }
            let inserted = self.insert(chunk.iter().map(|at| &outcomes[*at])).await;
            for (at, answer) in chunk.iter().zip(inserted) {
                answers[*at] = answer;
            }
        }
        answers
    }

    async fn insert(
        &self,
        outcomes: impl ExactSizeIterator<Item = &Outcome>,
    ) -> Vec<Option<Recorded>> {
        let count = outcomes.len();
        let statements: Result<Vec<_>> = outcomes.map(|outcome| self.statement(outcome)).collect();
        let statements = match statements {
            Ok(statements) => statements,
            Err(error) => return all_failed(&error, count).into_iter().map(Some).collect(),
        };
        let batch = self.client.batch_execute_statement().set_statements(Some(statements));
        let answer = match batch.send().await {
            Ok(answer) => answer,
            Err(refused) if self.has_no_batches(&refused) => {
                return (0..count).map(|_| None).collect();
            }
            Err(failed) => {
                let error = self.error("BatchExecuteStatement", &failed);
                return all_failed(&error, count).into_iter().map(Some).collect();
            }
        };
        let responses = answer.responses();
        // Only an outcome that the answer confirms is on record; one that it does not mention is
        // not.
        let answer = |at: usize| match responses.get(at).map(|response| response.error()) {
            Some(None) => Some(Ok(None)),
            Some(Some(refused)) => self.refused(refused),
            None => Some(Err(self.passing(ErrorKind::Unavailable, "not confirmed", ""))),
        };
        (0..count).map(answer).collect()
    }

    /// `INSERT` of the item that the outcome's UpdateItem would create.
    fn statement(&self, outcome: &Outcome) -> Result<BatchStatementRequest> {
        let item = update::new_item(&outcome.id, Change::Finish(outcome).write());
        let key = ("Key".to_owned(), AttributeValue::S(item::primary_key(&outcome.id)));
        let (names, values): (Vec<String>, Vec<AttributeValue>) = item
            .into_iter()
            .chain([key])
            .map(|(name, value)| (format!("'{name}': ?"), value))
            .unzip();
        let statement = format!("INSERT INTO \"{}\" VALUE {{{}}}", self.table, names.join(", "));
        BatchStatementRequest::builder()
            .statement(statement)
            .set_parameters(Some(values))
            .build()
            .map_err(|error| Error::invalid(error.to_string()))
    }

    /// The meaning of a refused statement; `None`: a write of its own will tell more.
    fn refused(&self, refused: &BatchStatementError) -> Option<Recorded> {
        let text = refused.message().unwrap_or_default();
        let kind = match refused.code()? {
            Code::ProvisionedThroughputExceeded
            | Code::ThrottlingError
            | Code::RequestLimitExceeded => ErrorKind::Throttled,
            Code::InternalServerError | Code::TransactionConflict => ErrorKind::Unavailable,
            _ => return None,
        };
        let code = refused.code().map_or("", |code| code.as_str());
        Some(Err(self.passing(kind, code, text)))
    }

    fn passing(&self, kind: ErrorKind, code: &str, text: &str) -> Error {
        let table = &self.table;
        Error::new(kind, format!("BatchExecuteStatement {table}: entry refused: {code} {text}"))
    }

    /// Whether the service refuses every batch; if so, none is tried again.
    fn has_no_batches(&self, error: &SdkError<BatchExecuteStatementError, HttpResponse>) -> bool {
        let code = aws::code(error);
        let refused = error.raw_response().is_some()
            && (code == Some(NOT_ALLOWED) || code == Some(UNKNOWN_CALL));
        if refused && !self.no_batches.swap(true, Ordering::Relaxed) {
            warn!(
                table = self.table,
                "small objects cost a write request each instead of one for 25: allow \
                 dynamodb:PartiQLInsert on the table"
            );
        }
        refused
    }
}
