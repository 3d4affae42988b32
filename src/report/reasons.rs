//! Why objects failed, by what cures it.
//!
//! Pure: the groups follow from the reasons.

use std::collections::BTreeMap;

use crate::reason::Reason;
use crate::record::RecordId;

/// This many objects of each group are named.
const NAMED: usize = 10;
/// Stands for an error that is not on record.
const UNTOLD: &str = "no reason is on record";

/// Failures by reason. There are as many groups as causes, however many objects fail.
#[derive(Clone, Debug, Default)]
pub struct Reasons {
    groups: BTreeMap<Reason, ReasonGroup>,
}

/// The failures with one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReasonGroup {
    /// The reason's word, as in `failed --reason`.
    pub word: String,
    /// What cures it.
    pub cure: String,
    /// The error of the first object.
    pub error: String,
    /// How many objects.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The first of them, `bucket/key` at the source.
    pub named: Vec<String>,
}

impl Reasons {
    /// Counts a failure.
    pub fn add(&mut self, id: &RecordId, bytes: u64, error: Option<&str>) {
        let error = error.unwrap_or(UNTOLD);
        let reason = Reason::of(error);
        let group = self.groups.entry(reason).or_insert_with(|| ReasonGroup {
            word: reason.word(),
            cure: reason.cure(error),
            error: error.to_owned(),
            objects: 0,
            bytes: 0,
            named: Vec::new(),
        });
        group.objects += 1;
        group.bytes = group.bytes.saturating_add(bytes);
        if group.named.len() < NAMED {
            group.named.push(id.src.exact());
        }
    }

    /// All groups, the largest first.
    pub fn groups(&self) -> Vec<&ReasonGroup> {
        let mut groups: Vec<_> = self.groups.values().collect();
        groups.sort_by_key(|group| std::cmp::Reverse(group.objects));
        groups
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::ObjectId;

    #[test]
    fn one_cause_is_one_group_whatever_object_and_request_it_names() {
        let mut reasons = Reasons::default();
        for n in 0..50 {
            let (src, des) = (ObjectId::new("from", format!("k/{n}")), ObjectId::new("to", "x"));
            let id = RecordId { src, des };
            let denied = format!(
                "GetObject s3://{} (source): AccessDenied: no (status 403, request 444{n})",
                id.src
            );
            reasons.add(&id, 2, Some(&denied));
            if n == 0 {
                reasons.add(&id, 1, None);
            }
        }
        let groups = reasons.groups();
        let words: Vec<&str> = groups.iter().map(|group| group.word.as_str()).collect();
        assert_eq!(words, ["denied-at-source", "other"]);
        assert_eq!((groups[0].objects, groups[0].bytes, groups[1].objects), (50, 100, 1));
        assert!(groups[0].cure.contains("GetObject is refused at the source"), "{groups:?}");
        assert_eq!((groups[0].named.len(), groups[0].named[0].as_str()), (NAMED, "from/k/0"));
        assert_eq!(groups[1].error, UNTOLD);
    }
}
