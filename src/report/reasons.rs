//! Why objects failed: equal reasons are counted together, whatever object they name.
//!
//! Pure: the groups follow from the reasons.

use std::collections::BTreeMap;

use crate::record::RecordId;

/// At most this many different reasons; the rest are counted together.
const MOST: usize = 200;
/// What stands for the object's own name and for request ids.
const NAME: &str = "\u{2026}";
/// A word of at least this many letters and digits mixed is an id.
const ID: usize = 16;

/// Failures by reason.
#[derive(Clone, Debug, Default)]
pub struct Reasons {
    groups: BTreeMap<String, Group>,
    others: u64,
}

/// The failures with one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// How many objects.
    pub objects: u64,
    /// The first of them, `bucket/key` at the source.
    pub example: String,
}

impl Reasons {
    /// Counts a failure.
    pub fn add(&mut self, id: &RecordId, reason: Option<&str>) {
        let reason = reason.map_or("no reason is on record".to_owned(), |text| general(id, text));
        if let Some(group) = self.groups.get_mut(&reason) {
            group.objects += 1;
        } else if self.groups.len() < MOST {
            self.groups.insert(reason, Group { objects: 1, example: id.src.exact() });
        } else {
            self.others += 1;
        }
    }

    /// All groups, the largest first.
    pub fn groups(&self) -> Vec<(&str, &Group)> {
        let groups = self.groups.iter().map(|(reason, group)| (reason.as_str(), group));
        let mut groups: Vec<_> = groups.collect();
        groups.sort_by_key(|(_, group)| std::cmp::Reverse(group.objects));
        groups
    }

    /// Failures that are in none of the groups.
    pub fn others(&self) -> u64 {
        self.others
    }
}

/// The reason without what is the object's own.
fn general(id: &RecordId, reason: &str) -> String {
    let mut text = reason.to_owned();
    for name in [id.src.exact(), id.src.to_string(), id.des.exact(), id.des.to_string()] {
        text = text.replace(&name, NAME);
    }
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=' | '-');
    let mut general = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        let has = |test: fn(&char) -> bool| word.chars().filter(test).count();
        let digits = has(|c| c.is_ascii_digit());
        let is_id = word.len() >= ID && digits >= 3 && digits < word.len();
        general.push_str(if is_id { NAME } else { word });
        let next = after.find(is_word).unwrap_or(after.len());
        general.push_str(&after[..next]);
        rest = &after[next..];
    }
    general
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::ObjectId;

    #[test]
    fn one_cause_is_one_group_whatever_object_and_request_it_names() {
        let mut reasons = Reasons::default();
        for n in 0..MOST + 50 {
            let (src, des) = (ObjectId::new("from", format!("k/{n}")), ObjectId::new("to", "x"));
            let id = RecordId { src, des };
            let denied = format!("GetObject {}: AccessDenied (request 4442587FB7D0A2F{n})", id.src);
            reasons.add(&id, Some(&denied));
            reasons.add(&id, Some(&format!("reason {n}")));
            reasons.add(&id, None);
        }
        let groups = reasons.groups();
        let objects = MOST as u64 + 50;
        assert!(groups[0].1.objects == objects && groups[1].1.objects == objects);
        let named: Vec<&str> = groups[..2].iter().map(|(reason, _)| *reason).collect();
        let denied = "GetObject \u{2026}: AccessDenied (request \u{2026})";
        assert!(named.contains(&denied) && named.contains(&"no reason is on record"), "{named:?}");
        assert_eq!(groups.len(), MOST);
        let counted: u64 = groups.iter().map(|(_, group)| group.objects).sum();
        assert_eq!(counted + reasons.others(), 3 * objects);
        assert_eq!(groups[0].1.example, "from/k/0");
    }
}
