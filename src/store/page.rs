//! A page of a listing, small enough to hold hundreds of them: one text and a row for each object.

use std::fmt;
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

/// An object that a listing shows and that goes no further, for what its key is or for what is not
/// told of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Odd {
    /// Where it stands in the listing: its key, or the key before where its own cannot be read.
    pub at: Vec<u8>,
    /// The key's bytes; of one that cannot be read, what the listing has in its place.
    pub key: Vec<u8>,
    /// Bytes, where the listing tells.
    pub size: Option<u64>,
    /// What keeps it.
    pub flaw: Flaw,
}

/// What keeps a listed object from being copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flaw {
    /// Its key is no UTF-8.
    NotUtf8,
    /// There is a key, and its text is none.
    Unreadable,
    /// There is no key, or an empty one.
    NoKey,
    /// No size is told.
    NoSize,
}

impl Flaw {
    /// Words for the user.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotUtf8 => "its key is no UTF-8, and others are not carried",
            Self::Unreadable => "its key cannot be read in the listing",
            Self::NoKey => "it is listed without a key",
            Self::NoSize => "it is listed without a size",
        }
    }
}

impl Odd {
    /// Whether `key` is the object's key.
    pub fn is_known(&self) -> bool {
        matches!(self.flaw, Flaw::NotUtf8 | Flaw::NoSize)
    }
}

impl fmt::Display for Odd {
    /// The key and the flaw on one line, whatever the key's bytes are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key.escape_ascii(), self.flaw.as_str())
    }
}

/// One page of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListPage {
    text: String,
    rows: Vec<Row>,
    /// The token for the next page; `None` on what calls itself the last.
    pub next: Option<String>,
    /// What goes no further, in the listing's order.
    pub odd: Vec<Odd>,
    /// The last key that the page shows, also where that is of no current object; `None`: as the
    /// objects and the odd ones say.
    pub end: Option<Vec<u8>>,
    /// It shows as many keys as a page has at most, by its own word or as Amazon S3's.
    pub is_full: bool,
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

    /// The last key that the page shows, of whatever it is.
    pub fn end(&self) -> Option<&[u8]> {
        let last = self.last().map(|listed| listed.key.as_bytes());
        let odd = self.odd.last().map(|odd| odd.at.as_slice());
        self.end.as_deref().into_iter().chain(last).chain(odd).max()
    }

    /// The first place whose key the next one does not follow in byte order.
    pub fn disorder(&self) -> Option<usize> {
        let key = |at: usize| self.rows.get(at).map(|row| self.part(row.key));
        (1..self.rows.len()).find(|at| key(*at) <= key(at - 1)).map(|at| at - 1)
    }

    /// Leaves out what is listed again right after itself, as it was: of another size or ETag it is not the
    /// same object.
    pub fn drop_repeats(&mut self) {
        let Self { text, rows, .. } = self;
        let same = |one: Span, other: Span| part(text, one) == part(text, other);
        rows.dedup_by(|later, earlier| {
            same(later.key, earlier.key)
                && later.size == earlier.size
                && same(later.etag, earlier.etag)
        });
    }

    /// How many objects in front have keys up to `key`, in a page in key order.
    pub fn count_through(&self, key: &[u8]) -> usize {
        self.rows.partition_point(|row| self.part(row.key).as_bytes() <= key)
    }

    /// Whether the page, which is in key order, has this key.
    pub fn has(&self, key: &str) -> bool {
        self.rows.binary_search_by(|row| self.part(row.key).cmp(key)).is_ok()
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
        part(&self.text, span)
    }
}

fn part(text: &str, span: Span) -> &str {
    let start = span.start as usize;
    text.get(start..start + span.len as usize).unwrap_or_default()
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
    fn a_page_finds_its_keys_and_drops_what_repeats() {
        let twice = [Listed::new("a", 1), Listed::new("a", 2), Listed::new("b", 1)];
        let other = Listed { etag: Some("e"), ..Listed::new("b", 1) };
        let mut page: ListPage = twice.into_iter().chain([other]).collect();
        page.drop_repeats();
        assert_eq!(page.len(), 4, "of another size or ETag it is another one");
        let keys = ["a", "b", "b", "c"];
        let mut page: ListPage = keys.iter().map(|key| Listed::new(key, 1)).collect();
        assert_eq!(page.disorder(), Some(1));
        page.drop_repeats();
        assert_eq!(page.disorder(), None);
        assert_eq!(page.iter().map(|listed| listed.key).collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(["", "b", "~"].map(|key| page.count_through(key.as_bytes())), [0, 2, 3]);
        assert_eq!((page.has("b"), page.has("bb")), (true, false));
        assert_eq!(page.end(), Some(&b"c"[..]));
        let odd = b"c\xff".to_vec();
        page.odd.push(Odd { at: odd.clone(), key: odd, size: None, flaw: Flaw::NotUtf8 });
        assert_eq!(page.end(), Some(&b"c\xff"[..]));
        assert!(page.odd[0].to_string().starts_with("c\\xff: its key is no UTF-8"));
    }

    /// Promise 1.
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
