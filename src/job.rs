//! The job: one object to move, and every form in which one can arrive.

use crate::object::ObjectId;

/// One object to move from the source to the destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Where the object is.
    pub src: ObjectId,
    /// Where it goes.
    pub des: ObjectId,
    /// Its size in bytes as listed; the source's own answer decides when the copy begins.
    pub size: u64,
    /// The version to fetch; `None` where the message says `"null"`.
    pub version: Option<String>,
}
