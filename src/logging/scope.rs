//! What the lines are about that are written inside: fields of the journal and of JSON lines.
//!
//! At level ERROR, so that no filter takes the fields away from the lines that it lets through.

use tracing::{Span, error_span};

use crate::object::ObjectId;

/// Lines about one message of the queue: field `job`, its id.
pub fn of_job(id: &str) -> Span {
    error_span!("job", job = id)
}

/// Lines about one object: fields `bucket` and `key`, the key byte for byte.
pub fn of_object(object: &ObjectId) -> Span {
    error_span!("object", bucket = object.bucket, key = object.key.as_str())
}

/// Lines about one part of an object: field `part`, its number from 1.
pub fn of_part(number: u32) -> Span {
    error_span!("part", part = number)
}
