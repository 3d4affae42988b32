//! Spans that say what their lines are about: fields of the journal and of JSON lines.
//!
//! They have level ERROR, so that no filter removes the fields from lines that it passes.

use tracing::{Span, error_span};

use crate::object::ObjectId;

/// The field that names the request.
pub const REQUEST: &str = "request";

/// For lines of one invocation of a function: field `request`, its id.
pub fn of_request(id: &str) -> Span {
    error_span!("invocation", request = id)
}

/// For lines about one message of the queue: field `job`, its id.
pub fn of_job(id: &str) -> Span {
    error_span!("job", job = id)
}

/// For lines about one object: fields `bucket` and `key`, the key byte for byte.
pub fn of_object(object: &ObjectId) -> Span {
    error_span!("object", bucket = object.bucket, key = object.key.as_str())
}

/// For lines about one part of an object: field `part`, its number from 1.
pub fn of_part(number: u32) -> Span {
    error_span!("part", part = number)
}
