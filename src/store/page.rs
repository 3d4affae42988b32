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
    /// The ETag without quotation marks, if the listing gives one.
    pub etag: Option<&'a str>,
    /// When it was written, to the millisecond.
    pub last_modified: Option<SystemTime>,
    /// The storage class, if the listing gives one.
    pub storage_class: Option<&'a str>,
    /// The current version, if it was asked for; `"null"` is passed on as it is.
    pub version: Option<&'a str>,
    /// Whether an archived object has a temporary readable copy.
    pub restored: bool,
}

impl<'a> Listed<'a> {
    /// An object of which only the key and the size are known.
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

/// An object that a listing shows but that is not processed further, because of its key or because
/// of something that the listing does not say about it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Odd {
    /// Where it stands in the listing: its key, or the previous key if its own cannot be read.
    pub at: Vec<u8>,
    /// The key's bytes; if the key cannot be read, what the listing has in its place.
    pub key: Vec<u8>,
    /// Bytes, if the listing says.
    pub size: Option<u64>,
    /// What keeps it from being copied.
    pub flaw: Flaw,
}

/// What keeps a listed object from being copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flaw {
    /// Its key is not UTF-8.
    NotUtf8,
    /// There is a key, but its text cannot be read.
    Unreadable,
    /// There is no key, or an empty one.
    NoKey,
    /// The listing gives no size.
    NoSize,
}

impl Flaw {
    /// The flaw in words for the user.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotUtf8 => "its key is not UTF-8, and such keys are not copied",
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
    /// The key and the flaw on one line, whatever bytes the key has.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key.escape_ascii(), self.flaw.as_str())
    }
}

/// One page of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListPage {
    text: String,
    rows: Vec<Row>,
    /// The token for the next page; `None` on a page that calls itself the last.
    pub next: Option<String>,
    /// The objects that are not processed further, in the listing's order.
    pub odd: Vec<Odd>,
    /// The last key that the page shows, even if it is not a current object's; `None` if it is the
    /// last of the objects and the odd ones.
    pub end: Option<Vec<u8>>,
    /// The page shows as many keys as a page can have, by its own statement or by Amazon S3's
    /// limit.
    pub is_full: bool,
}

/// Where the parts of one object stand in the page's text; an unknown part is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    key: Span,
    etag: Span,
    class: Span,
    version: Span,
    size: u64,
    /// Milliseconds since 1970; anything older counts as unknown.
    modified: Option<u64>,
    restored: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    start: u32,
    len: u32,
}

impl ListPage {
    /// Adds an object after the others.
    pub fn push(&mut self, listed: Listed<'_>) {
        let class = match (self.rows.last(), listed.storage_class) {
            // Most have the same class as the object before.
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

    /// The object at this index.
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

    /// The same objects with other keys: without the first `cut` bytes, which `add` replaces.
    pub fn renamed(&self, cut: usize, add: &str) -> Self {
        let mut page = Self::default();
        for listed in self.iter() {
            let key = [add, listed.key.get(cut..).unwrap_or_default()].concat();
            page.push(Listed { key: &key, ..listed });
        }
        page
    }

    /// The last object.
    pub fn last(&self) -> Option<Listed<'_>> {
        self.get(self.len().checked_sub(1)?)
    }

    /// The last key that the page shows, whatever it belongs to.
    pub fn end(&self) -> Option<&[u8]> {
        let last = self.last().map(|listed| listed.key.as_bytes());
        let odd = self.odd.last().map(|odd| odd.at.as_slice());
        self.end.as_deref().into_iter().chain(last).chain(odd).max()
    }

    /// The first index whose key is not followed by a greater one in byte order.
    pub fn disorder(&self) -> Option<usize> {
        let key = |at: usize| self.rows.get(at).map(|row| self.part(row.key));
        (1..self.rows.len()).find(|at| key(*at) <= key(at - 1)).map(|at| at - 1)
    }

    /// Drops an object that is listed twice in a row and unchanged: with another size or ETag it is
    /// a different object.
    pub fn drop_repeats(&mut self) {
        let Self { text, rows, .. } = self;
        let same = |one: Span, other: Span| part(text, one) == part(text, other);
        rows.dedup_by(|later, earlier| {
            same(later.key, earlier.key)
                && later.size == earlier.size
                && same(later.etag, earlier.etag)
        });
    }

    /// How many objects at the start have keys up to `key`, in a page in key order.
    pub fn count_through(&self, key: &[u8]) -> usize {
        self.rows.partition_point(|row| self.part(row.key).as_bytes() <= key)
    }

    /// Whether the page has this key; the page must be in key order.
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
        assert!(page.odd[0].to_string().starts_with("c\\xff: its key is not UTF-8"));
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
