//! A page of a listing, small enough to hold hundreds of them: one text and a row for each object.

use std::time::{Duration, SystemTime};

/// One object as a listing shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed<'a> {
    /// The key, decoded.
    pub key: &'a str,
    /// Bytes.
    pub size: u64,
    /// The ETag without quotation marks, where the listing gives one.
    pub etag: Option<&'a str>,
    /// When it was written, to the millisecond.
    pub last_modified: Option<SystemTime>,
    /// The storage class, where the listing gives one.
    pub storage_class: Option<&'a str>,
    /// The current version, where it was asked for; `"null"` is given as it is.
    pub version: Option<&'a str>,
    /// An archived object of which a readable copy is there for a time.
    pub restored: bool,
}

impl<'a> Listed<'a> {
    /// An object of which no more is known.
    pub fn new(key: &'a str, size: u64) -> Self {
        Self {
            key,
            size,
            etag: None,
            last_modified: None,
            storage_class: None,
            version: None,
            restored: false,
        }
    }
}

/// One page of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListPage {
    text: String,
    rows: Vec<Row>,
    /// The token for the next page; `None` on the last.
    pub next: Option<String>,
}

/// Where the parts of one object stand in the page's text; an empty part is one that is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    key: Span,
    etag: Span,
    class: Span,
    version: Span,
    size: u64,
    /// Milliseconds since 1970; what is older is not told from unknown.
    modified: Option<u64>,
    restored: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    start: u32,
    len: u32,
}

impl ListPage {
    /// Adds an object behind the others.
    pub fn push(&mut self, listed: Listed<'_>) {
        let class = match (self.rows.last(), listed.storage_class) {
            // Most have the class of the one before.
            (Some(last), Some(class)) if self.part(last.class) == class => last.class,
            (_, class) => self.add(class),
        };
        let since_1970 = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).ok();
        let modified = listed.last_modified.and_then(since_1970);
        let row = Row {
            key: self.add(Some(listed.key)),
            etag: self.add(listed.etag),
            class,
            version: self.add(listed.version),
            size: listed.size,
            modified: modified.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
            restored: listed.restored,
        };
        self.rows.push(row);
    }

    /// The object in this place, counted from 0.
    pub fn get(&self, at: usize) -> Option<Listed<'_>> {
        let row = self.rows.get(at)?;
        let some = |span| Some(self.part(span)).filter(|text| !text.is_empty());
        let time = |ms| SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(ms));
        Some(Listed {
            key: self.part(row.key),
            size: row.size,
            etag: some(row.etag),
            last_modified: row.modified.and_then(time),
            storage_class: some(row.class),
            version: some(row.version),
            restored: row.restored,
        })
    }

    /// The last object.
    pub fn last(&self) -> Option<Listed<'_>> {
        self.get(self.len().checked_sub(1)?)
    }

    /// Number of objects.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether it has no object; the page may still not be the last.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The objects in the store's order.
    pub fn iter(&self) -> impl Iterator<Item = Listed<'_>> {
        (0..self.len()).filter_map(|at| self.get(at))
    }

    fn add(&mut self, text: Option<&str>) -> Span {
        // A page is a few hundred kilobytes; one of 4 GiB would never have been read.
        let text = text.unwrap_or_default();
        let offset = |at| u32::try_from(at).unwrap_or(u32::MAX);
        let span = Span { start: offset(self.text.len()), len: offset(text.len()) };
        self.text.push_str(text);
        span
    }

    fn part(&self, span: Span) -> &str {
        let start = span.start as usize;
        self.text.get(start..start + span.len as usize).unwrap_or_default()
    }
}

impl<'a> FromIterator<Listed<'a>> for ListPage {
    fn from_iter<T: IntoIterator<Item = Listed<'a>>>(objects: T) -> Self {
        let mut page = Self::default();
        objects.into_iter().for_each(|listed| page.push(listed));
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_gives_back_what_it_was_given() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_767_225_600_123);
        let full = Listed {
            etag: Some("e-2"),
            last_modified: Some(at),
            storage_class: Some("GLACIER"),
            version: Some("null"),
            restored: true,
            ..Listed::new("\u{fc}/\u{1}", 5 << 40)
        };
        let objects =
            [full, Listed::new("b", 0), Listed { key: "c", ..full }, Listed { key: "d", ..full }];
        let page: ListPage = objects.into_iter().collect();
        assert_eq!(page.iter().collect::<Vec<_>>(), objects);
        assert_eq!(page.last(), Some(objects[3]));
        assert_eq!((page.len(), page.is_empty()), (4, false));
        assert_eq!((page.get(4), ListPage::default().last()), (None, None));
        assert_eq!(
            page.text.matches("GLACIER").count(),
            2,
            "a class is kept once where it repeats"
        );
    }
}
