//! A page of ListObjects, ListObjectsV2 or ListObjectVersions, read by a pull parser.
//!
//! The SDK builds an object of twenty optional fields for each key, which costs several times as
//! much as comparing it, and it takes a document that is no listing for an empty page. Formats:
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html>,
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjects.html>,
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectVersions.html>.
//!
//! Any other document is an error, even with status 200: a proxy's page, or an error that the store
//! reports late. Taken for a page it would be an empty one, and the last. If one object cannot be
//! read, it is [`Odd`]; the rest of the page counts.

use std::borrow::Cow;
use std::time::SystemTime;

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesRef, Event};

use super::key_encoding::KeyReading;
use crate::error::{Error, ErrorKind, Result};
use crate::store::{Flaw, ListPage, Listed, Odd};

/// Maximum number of keys on a page of Amazon S3.
const PAGE: u64 = 1000;

/// What a page says about itself; keys and markers as they are written.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The current objects.
    pub objects: ListPage,
    /// `IsTruncated`; `None`: there is no such element.
    pub truncated: Option<bool>,
    /// `NextContinuationToken`.
    pub token: Option<String>,
    /// `NextMarker` or `NextKeyMarker`.
    pub next: Option<Vec<u8>>,
    /// `NextVersionIdMarker`.
    pub next_version: Option<String>,
    /// The page says that its keys, markers included, are percent-encoded.
    pub encoded: bool,
    /// Some key has a percent sign or a plus.
    pub has_codes: bool,
    /// The page has the element `Marker`, as pages of version 1 have.
    pub has_marker: bool,
    /// `KeyCount`.
    pub key_count: Option<u64>,
    /// `MaxKeys`.
    pub max_keys: Option<u64>,
    /// How many keys and folders it shows.
    pub shown: u64,
    /// The prefixes in `CommonPrefixes`.
    pub folders: Vec<Vec<u8>>,
    /// The version of the last key shown.
    pub last_version: String,
}

impl Page {
    /// Whether it shows fewer keys than it says it has.
    pub fn is_short(&self) -> bool {
        self.key_count.is_some_and(|count| count > self.shown)
    }

    /// Whether it answers a version 2 request in the form of version 1.
    pub fn is_version_1(&self) -> bool {
        self.token.is_none()
            && self.key_count.is_none()
            && (self.has_marker || self.next.is_some() || self.truncated == Some(true))
    }

    /// Two keys as they are written that would become the same key under this reading, if the
    /// page's keys are in order.
    pub fn merged(&self, reading: KeyReading) -> Option<[&str; 2]> {
        if !self.encoded || !self.has_codes {
            return None;
        }
        let mut before: Option<(&str, Cow<'_, [u8]>)> = None;
        for Listed { key, .. } in self.objects.iter() {
            let decoded = reading.decode(key.as_bytes());
            if let Some((raw, earlier)) = &before
                && *raw != key
                && *earlier == decoded
            {
                return Some([*raw, key]);
            }
            before = Some((key, decoded));
        }
        None
    }

    /// The objects with their keys decoded.
    pub fn decoded(&mut self, reading: KeyReading) -> ListPage {
        let raw = std::mem::take(&mut self.objects);
        if !self.encoded || !self.has_codes {
            return raw;
        }
        let mut page = ListPage::default();
        for listed in raw.iter() {
            add(&mut page, &reading.decode(listed.key.as_bytes()), listed);
        }
        for odd in raw.odd {
            let at = reading.decode(&odd.at).into_owned();
            let key = if odd.is_known() { at.clone() } else { odd.key };
            page.odd.push(Odd { at, key, ..odd });
        }
        page.odd.sort();
        page.end = raw.end.map(|end| reading.decode(&end).into_owned());
        page.is_full = raw.is_full;
        page
    }
}

/// Adds an object by the bytes of its key.
fn add(page: &mut ListPage, key: &[u8], listed: Listed<'_>) {
    match std::str::from_utf8(key) {
        Ok(key) => page.push(Listed { key, ..listed }),
        Err(_) => {
            let (at, key) = (key.to_vec(), key.to_vec());
            page.odd.push(Odd { at, key, size: Some(listed.size), flaw: Flaw::NotUtf8 });
        }
    }
}

/// Reads a page. A document that ends before its root element does is `Unavailable`: it was cut in
/// transit. One with impossible content is `Invalid`.
pub fn read(document: &[u8]) -> Result<Page> {
    let mut reader = Reader::from_reader(document);
    // An unescaped ampersand is one key's flaw, not the page's.
    reader.config_mut().allow_dangling_amp = true;
    let mut state = State::default();
    loop {
        let event = reader.read_event().map_err(|e| cut().with_source(e))?;
        match event {
            Event::Start(element) => state.open(element.local_name().as_ref())?,
            Event::End(_) => state.close()?,
            Event::Empty(element) if !state.open.is_empty() => {
                state.open(element.local_name().as_ref())?;
                state.close()?;
            }
            // Something in transit has added it.
            Event::Text(text) if state.ended && !text.trim_ascii().is_empty() => {
                return Err(cut());
            }
            Event::Text(text) => state.text.extend_from_slice(&text),
            Event::CData(text) => state.text.extend_from_slice(&text),
            Event::GeneralRef(entity) => state.entity(&entity),
            Event::Eof => return state.end(),
            Event::Empty(_)
            | Event::Comment(_)
            | Event::Decl(_)
            | Event::PI(_)
            | Event::DocType(_) => {}
        }
    }
}

fn cut() -> Error {
    Error::new(ErrorKind::Unavailable, "the answer ends in the middle of its document")
}

/// Whether this may be the root element of a page: stores call theirs `ListBucketResult`, as S3
/// does, or name it after the call.
fn is_root(name: &[u8]) -> bool {
    name.get(..4).is_some_and(|list| list.eq_ignore_ascii_case(b"List"))
}

/// Whether a document that begins like this is a page or a part of one; any other is not the
/// store's.
pub(super) fn is_listing(head: &str) -> bool {
    let root = head.split('<').find(|element| element.starts_with(|c: char| c.is_alphabetic()));
    root.is_some_and(|root| {
        let name =
            root.split(|c: char| !c.is_alphanumeric() && c != ':').next().unwrap_or_default();
        is_root(name.rsplit(':').next().unwrap_or_default().as_bytes())
    })
}

fn wrong(what: impl Into<String>) -> Error {
    Error::invalid(what.into())
}

/// An element by its position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Element {
    /// `Contents` or `Version`.
    Object,
    /// `DeleteMarker`.
    Deleted,
    Folder,
    FolderPrefix,
    Key,
    Size,
    ETag,
    LastModified,
    StorageClass,
    VersionId,
    IsLatest,
    Restoring,
    RestoredUntil,
    Truncated,
    Token,
    Next,
    NextVersion,
    Encoding,
    Marker,
    KeyCount,
    MaxKeys,
    Other,
}

impl Element {
    fn named(depth: usize, parent: Option<Self>, name: &[u8]) -> Self {
        let in_entry = matches!(parent, Some(Self::Object | Self::Deleted));
        match (depth, in_entry, name) {
            (1, _, b"Contents" | b"Version") => Self::Object,
            (1, _, b"DeleteMarker") => Self::Deleted,
            (1, _, b"CommonPrefixes") => Self::Folder,
            (1, _, b"IsTruncated") => Self::Truncated,
            (1, _, b"NextContinuationToken") => Self::Token,
            (1, _, b"NextMarker" | b"NextKeyMarker") => Self::Next,
            (1, _, b"NextVersionIdMarker") => Self::NextVersion,
            (1, _, b"EncodingType") => Self::Encoding,
            (1, _, b"Marker") => Self::Marker,
            (1, _, b"KeyCount") => Self::KeyCount,
            (1, _, b"MaxKeys") => Self::MaxKeys,
            (2, true, b"Key") => Self::Key,
            (2, true, b"Size") => Self::Size,
            (2, true, b"ETag") => Self::ETag,
            (2, true, b"LastModified") => Self::LastModified,
            (2, true, b"StorageClass") => Self::StorageClass,
            (2, true, b"VersionId") => Self::VersionId,
            (2, true, b"IsLatest") => Self::IsLatest,
            (2, false, b"Prefix") if parent == Some(Self::Folder) => Self::FolderPrefix,
            (3, true, b"IsRestoreInProgress") => Self::Restoring,
            (3, true, b"RestoreExpiryDate") => Self::RestoredUntil,
            _ => Self::Other,
        }
    }
}

/// What has been read so far of one object; its buffers are reused for all objects.
#[derive(Debug, Default)]
struct Object {
    key: Vec<u8>,
    etag: String,
    class: String,
    version: String,
    /// Its key contains something that is not a character.
    unreadable: bool,
    size: Option<u64>,
    modified: Option<SystemTime>,
    /// `None` if the listing is not one of versions.
    latest: Option<bool>,
    restoring: bool,
    restored_until: bool,
}

/// Whether a key, encoded or not, is that of a folder marker.
fn is_marker(key: &[u8]) -> bool {
    [&b"/"[..], b"%2F", b"%2f"].iter().any(|end| key.len() > end.len() && key.ends_with(end))
}

impl Object {
    fn clear(&mut self) {
        self.key.clear();
        let Self { etag, class, version, .. } = self;
        for text in [&mut *etag, class, version] {
            text.clear();
        }
        (self.unreadable, self.size, self.modified, self.latest) = (false, None, None, None);
        (self.restoring, self.restored_until) = (false, false);
    }

    /// What keeps it from being treated as an ordinary object.
    fn flaw(&self) -> Option<Flaw> {
        match self.size {
            _ if self.unreadable => Some(Flaw::Unreadable),
            _ if self.key.is_empty() => Some(Flaw::NoKey),
            None => Some(Flaw::NoSize),
            Some(_) => None,
        }
    }

    /// What is known of it in addition to its key.
    fn listed(&self, size: u64) -> Listed<'_> {
        fn some(text: &str) -> Option<&str> {
            Some(text).filter(|text| !text.is_empty())
        }
        // A weak ETag (RFC 9110, section 8.8.3) names the same content.
        let etag = self.etag.trim();
        let etag = etag.strip_prefix("W/").unwrap_or(etag);
        Listed {
            key: "",
            size,
            etag: some(etag.trim_matches('"')),
            last_modified: self.modified,
            storage_class: some(&self.class),
            version: some(&self.version),
            restored: self.restored_until && !self.restoring,
        }
    }
}

#[derive(Debug, Default)]
struct State {
    page: Page,
    /// Open elements, including the root.
    open: Vec<Element>,
    ended: bool,
    object: Object,
    /// The text of the innermost element.
    text: Vec<u8>,
    /// Something in that text is not a character.
    unreadable: bool,
    /// Some object has a size.
    sized: bool,
    /// The last key shown.
    last: Vec<u8>,
}

impl State {
    fn open(&mut self, name: &[u8]) -> Result<()> {
        if self.open.is_empty() && (self.ended || !is_root(name)) {
            let name = String::from_utf8_lossy(name).into_owned();
            let message = format!("the answer is not a listing but a document {name:?}");
            return Err(Error::new(ErrorKind::Unavailable, message));
        }
        let element = Element::named(self.open.len(), self.open.get(1).copied(), name);
        if matches!(element, Element::Object | Element::Deleted) {
            self.object.clear();
        }
        self.open.push(element);
        self.text.clear();
        self.unreadable = false;
        Ok(())
    }

    /// A reference as XML defines it; also references to characters that XML 1.0 does not allow,
    /// since keys can contain them.
    fn entity(&mut self, entity: &BytesRef<'_>) {
        let name = String::from_utf8_lossy(entity);
        let number = name.strip_prefix('#').map(|digits| {
            let hexadecimal = digits.strip_prefix(['x', 'X']);
            let (digits, radix) = hexadecimal.map_or((digits, 10), |digits| (digits, 16));
            u32::from_str_radix(digits, radix).ok()
        });
        let known = match number {
            Some(number) => number.is_some_and(|number| character(number, &mut self.text)),
            None => resolve_predefined_entity(&name)
                .map(|known| self.text.extend_from_slice(known.as_bytes()))
                .is_some(),
        };
        if !known {
            self.unreadable = true;
            self.text.extend_from_slice(format!("&{name};").as_bytes());
        }
    }

    fn close(&mut self) -> Result<()> {
        let Some(element) = self.open.pop() else { return Err(cut()) };
        self.ended = self.open.is_empty();
        let (object, page, bytes) = (&mut self.object, &mut self.page, self.text.as_slice());
        match element {
            Element::Other | Element::Folder => {}
            Element::Object => self.add(),
            Element::Deleted => self.shown(),
            Element::FolderPrefix => {
                page.shown += 1;
                page.folders.push(bytes.to_vec());
            }
            Element::Key => {
                object.key.extend_from_slice(bytes);
                object.unreadable |= self.unreadable;
            }
            Element::LastModified => object.modified = time(text(bytes)),
            Element::IsLatest => object.latest = Some(is_true(bytes)),
            Element::Restoring => object.restoring = is_true(bytes),
            Element::RestoredUntil => object.restored_until = true,
            // A value that is not a number counts as no size.
            Element::Size => object.size = text(bytes).trim().parse().ok(),
            Element::ETag => object.etag.push_str(text(bytes)),
            Element::StorageClass => object.class.push_str(text(bytes)),
            Element::VersionId => object.version.push_str(text(bytes)),
            Element::Truncated => page.truncated = Some(truncated(text(bytes))?),
            Element::Token => {
                let token = String::from_utf8(bytes.to_vec());
                let token = token.map_err(|e| wrong("the token is not UTF-8").with_source(e))?;
                page.token = Some(token).filter(|token| !token.is_empty());
            }
            Element::Next => page.next = Some(bytes.to_vec()).filter(|next| !next.is_empty()),
            Element::NextVersion => page.next_version = Some(text(bytes).to_owned()),
            Element::Encoding => page.encoded = text(bytes).trim().eq_ignore_ascii_case("url"),
            Element::Marker => page.has_marker = true,
            Element::KeyCount => page.key_count = text(bytes).trim().parse().ok(),
            Element::MaxKeys => page.max_keys = text(bytes).trim().parse().ok(),
        }
        self.text.clear();
        Ok(())
    }

    /// Adds the object that has been read.
    fn add(&mut self) {
        self.sized |= self.object.size.is_some();
        // s3proxy gives no size for a folder marker. If the object is not empty after all, reading
        // it shows that: its length differs from the listed one.
        if self.object.size.is_none() && is_marker(&self.object.key) {
            self.object.size = Some(0);
        }
        let (object, objects) = (&self.object, &mut self.page.objects);
        if object.latest != Some(false) {
            match (object.flaw(), object.size) {
                (None, Some(size)) => add(objects, &object.key, object.listed(size)),
                (flaw, size) => {
                    let flaw = flaw.unwrap_or(Flaw::NoSize);
                    let key = object.key.clone();
                    let at = if flaw == Flaw::NoSize { &key } else { &self.last }.clone();
                    objects.odd.push(Odd { at, key, size, flaw });
                }
            }
        }
        self.shown();
    }

    /// Keeps the last key shown, whatever it belongs to.
    fn shown(&mut self) {
        let (object, page) = (&self.object, &mut self.page);
        page.shown += 1;
        page.has_codes |= object.key.iter().any(|byte| b"%+".contains(byte));
        if object.flaw().is_none_or(|flaw| flaw == Flaw::NoSize) {
            self.last.clone_from(&object.key);
            page.last_version.clone_from(&object.version);
        }
    }

    fn end(mut self) -> Result<Page> {
        if !self.ended || !self.open.is_empty() {
            return Err(cut());
        }
        let page = &mut self.page;
        if page.truncated.is_none() && page.shown == 0 && page.token.is_none() {
            return Err(wrong("the page does not say whether it is the last (IsTruncated)"));
        }
        if !self.sized && page.objects.odd.iter().any(|odd| odd.flaw == Flaw::NoSize) {
            return Err(wrong("the page has objects without a size (Size)"));
        }
        page.objects.end = Some(self.last).filter(|last| !last.is_empty());
        page.objects.is_full = page.shown >= page.max_keys.unwrap_or(PAGE);
        Ok(self.page)
    }
}

/// Adds the character with this number; `false` if there is none.
fn character(number: u32, text: &mut Vec<u8>) -> bool {
    /// UTF-16 needs two numbers for a character beyond the first 65,536, and some stores write
    /// both.
    const FIRST: std::ops::Range<u32> = 0xD800..0xDC00;
    const SECOND: std::ops::Range<u32> = 0xDC00..0xE000;
    let as_utf8 = |character: char| character.encode_utf8(&mut [0; 4]).as_bytes().to_vec();
    if let Some(character) = char::from_u32(number) {
        text.extend(as_utf8(character));
        return true;
    }
    let six = |byte: u8| u32::from(byte & 0x3F);
    // Only a first half, in the form in which it is kept below, begins like this.
    if let (true, Some([0xED, b @ 0xA0..0xB0, c @ 0x80..0xC0])) =
        (SECOND.contains(&number), text.last_chunk())
    {
        let before = 0xD000 | six(*b) << 6 | six(*c);
        let whole = 0x1_0000 + ((before - FIRST.start) << 10) + (number - SECOND.start);
        if let Some(character) = char::from_u32(whole) {
            text.truncate(text.len() - 3);
            text.extend(as_utf8(character));
            return true;
        }
    }
    let half = FIRST.contains(&number) || SECOND.contains(&number);
    if half {
        // This is not UTF-8, so a key with half a character is recognised as such.
        let six = |shift: u32| 0x80 | (number >> shift & 0x3F) as u8;
        text.extend([0xE0 | (number >> 12) as u8, six(6), six(0)]);
    }
    half
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

fn is_true(text: &[u8]) -> bool {
    text.trim_ascii().eq_ignore_ascii_case(b"true")
}

/// A boolean as XML Schema defines it, in any case. Anything else is refused: taken for false, it
/// would end the listing.
fn truncated(said: &str) -> Result<bool> {
    match said.trim() {
        "1" => Ok(true),
        "0" => Ok(false),
        said if said.eq_ignore_ascii_case("true") => Ok(true),
        said if said.eq_ignore_ascii_case("false") => Ok(false),
        _ => Err(wrong(format!("IsTruncated is {said:?}, neither true nor false"))),
    }
}

/// A time as S3 writes it, or as HTTP does.
fn time(text: &str) -> Option<SystemTime> {
    let read = |format| DateTime::from_str(text.trim(), format).ok();
    let time = read(Format::DateTimeWithOffset).or_else(|| read(Format::HttpDate));
    time?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const PAGE: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!-- a note -->\n\
        <ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>b</Name><Prefix/>\
        <NextContinuationToken>1/a&amp;b+c==</NextContinuationToken><KeyCount>2</KeyCount>\
        <IsTruncated>true</IsTruncated><Contents><Key>a%2Fb+c%0A&lt;</Key>\
        <LastModified>2026-01-01T00:00:00.500Z</LastModified><ETag>&quot;e-2&quot;</ETag>\
        <Size>5</Size><Owner><ID>x</ID><Key>not this</Key></Owner>\
        <StorageClass>GLACIER</StorageClass><RestoreStatus><IsRestoreInProgress>false\
        </IsRestoreInProgress><RestoreExpiryDate>2026-02-01T00:00:00.000Z</RestoreExpiryDate>\
        </RestoreStatus></Contents>\
        <Contents><Size>0</Size><Key> k&#x41;</Key></Contents>\
        <EncodingType>url</EncodingType></ListBucketResult>\n";

    /// Promise 1.
    #[test]
    fn a_page_is_read_with_all_that_counts() {
        let mut page = read(PAGE.as_bytes()).unwrap();
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_767_225_600_500);
        let first = Listed {
            etag: Some("e-2"),
            last_modified: Some(at),
            storage_class: Some("GLACIER"),
            restored: true,
            ..Listed::new("a/b c\n<", 5)
        };
        let expected: Vec<_> = vec![first, Listed::new(" kA", 0)];
        assert_eq!(page.decoded(KeyReading::Form).iter().collect::<Vec<_>>(), expected);
        assert_eq!(page.token.as_deref(), Some("1/a&b+c=="));
        assert!(page.truncated == Some(true) && page.encoded);
        let upper = PAGE.replace("ListBucketResult", "LISTOBJECTSV2Response");
        assert_eq!(read(upper.as_bytes()).unwrap().shown, 2, "a root of another name");
    }

    /// Promise 1.
    #[test]
    fn of_versions_the_current_ones_count() {
        let document = "<ListVersionsResult><NextKeyMarker>k%20</NextKeyMarker>\
            <NextVersionIdMarker>m</NextVersionIdMarker><IsTruncated>true</IsTruncated>\
            <Version><Key>a+b</Key><VersionId>2</VersionId><IsLatest>true</IsLatest>\
            <Size>1</Size></Version>\
            <Version><Key>a+b</Key><VersionId>1</VersionId><IsLatest>false</IsLatest>\
            <Size>9</Size></Version>\
            <DeleteMarker><Key>gone</Key><VersionId>3</VersionId><IsLatest>true</IsLatest>\
            </DeleteMarker></ListVersionsResult>";
        let page = read(document.as_bytes()).unwrap();
        let expected = Listed { version: Some("2"), ..Listed::new("a+b", 1) };
        assert_eq!(page.objects.iter().collect::<Vec<_>>(), [expected]);
        let next = (page.next.as_deref(), page.next_version.as_deref());
        assert_eq!(next, (Some(&b"k%20"[..]), Some("m")));
    }

    /// Promise 1.
    #[test]
    fn a_document_that_was_cut_is_no_page() {
        let end = PAGE.trim_end().len();
        for at in 0..end {
            let error = read(&PAGE.as_bytes()[..at]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable, "cut at {at}: {error}");
        }
        assert!(read(&PAGE.as_bytes()[..end]).is_ok());
        let longer = format!("{PAGE}and more");
        assert_eq!(read(longer.as_bytes()).unwrap_err().kind(), ErrorKind::Unavailable);
    }

    fn listing(inner: &str) -> String {
        format!("<ListBucketResult><IsTruncated>false</IsTruncated>{inner}</ListBucketResult>")
    }

    fn read_all(inner: &str) -> ListPage {
        let mut page = read(listing(inner).as_bytes()).unwrap();
        page.decoded(KeyReading::Form)
    }

    #[test]
    fn a_folder_marker_without_a_size_is_empty() {
        for (key, encoding) in [("a/", ""), ("a%2F", "<EncodingType>url</EncodingType>")] {
            let page = read_all(&format!("<Contents><Key>{key}</Key></Contents>{encoding}"));
            assert_eq!(page.iter().collect::<Vec<_>>(), [Listed::new("a/", 0)], "{key}");
            assert_eq!(page.odd, []);
        }
    }

    /// Promises 0, 1.
    #[test]
    fn one_object_that_cannot_be_leaves_the_others() {
        let good = "<Contents><Key>k</Key><Size>1</Size></Contents>";
        let url = "<EncodingType>url</EncodingType>";
        for (inner, key, flaw) in [
            ("<Key>x</Key>", "x", Flaw::NoSize),
            ("<Key>x</Key><Size>-1</Size>", "x", Flaw::NoSize),
            ("<Key>x</Key><Size/>", "x", Flaw::NoSize),
            ("<Size>1</Size>", "", Flaw::NoKey),
            ("<Key></Key><Size>1</Size>", "", Flaw::NoKey),
            ("<Key/><Size>1</Size>", "", Flaw::NoKey),
            ("<Key>a&unknown;b</Key><Size>1</Size>", "a&unknown;b", Flaw::Unreadable),
            ("<Key>a&#xFFFFFFFFFF;</Key><Size>1</Size>", "a&#xFFFFFFFFFF;", Flaw::Unreadable),
        ] {
            for end in ["", url] {
                let page = read_all(&format!("{good}<Contents>{inner}</Contents>{end}"));
                assert_eq!(page.iter().collect::<Vec<_>>(), [Listed::new("k", 1)], "{inner}");
                let [odd] = page.odd.as_slice() else { panic!("{inner}: {page:?}") };
                assert_eq!((odd.key.as_slice(), odd.flaw), (key.as_bytes(), flaw), "{inner}");
            }
        }
        let page =
            read_all(&format!("{good}<Contents><Key>%E9</Key><Size>7</Size></Contents>{url}"));
        let (at, key) = (b"\xe9".to_vec(), b"\xe9".to_vec());
        assert_eq!(page.odd, [Odd { at, key, size: Some(7), flaw: Flaw::NotUtf8 }]);
        assert_eq!((page.len(), page.end()), (1, Some(&b"\xe9"[..])));
    }

    /// Promises 0, 1.
    #[test]
    fn characters_that_xml_cannot_have_are_read_as_they_are_meant() {
        for (written, key) in [
            ("a&#x1;&#10;", "a\u{1}\n"),
            ("&#0;&#xFFFE;", "\0\u{fffe}"),
            ("&#xD83D;&#xDE00;", "\u{1f600}"),
            ("&#55357;&#56832;", "\u{1f600}"),
            ("a & b", "a & b"),
            ("&#X41;&amp;", "A&"),
            (" a ", " a "),
        ] {
            let page =
                read_all(&format!("<Contents><Key>{written}</Key><Size>1</Size></Contents>"));
            assert_eq!(page.get(0).map(|listed| listed.key), Some(key), "{written} {page:?}");
        }
        // Half a character stays half, whatever is next to it; the bits of "m`a" are those of one.
        for half in ["&#xD83D;a", "&#xDEA7;", "abc&#xDEA7;", "m`a&#xDE00;", "é\u{ff}&#56999;"] {
            let page = read_all(&format!("<Contents><Key>{half}</Key><Size>1</Size></Contents>"));
            assert_eq!(page.odd[0].flaw, Flaw::NotUtf8, "{half}");
        }
    }

    /// Promises 0, 1.
    #[test]
    fn whether_it_is_the_last_is_said_in_two_words_or_by_what_follows() {
        let page = |said: &str| {
            let text = format!(
                "<ListBucketResult>{said}<Contents><Key>k</Key><Size>1</Size></Contents>\
                 </ListBucketResult>"
            );
            read(text.as_bytes())
        };
        for (said, expected) in [
            ("true", true),
            (" TRUE\n", true),
            ("True", true),
            ("1", true),
            ("false", false),
            ("False", false),
        ] {
            let read = page(&format!("<IsTruncated>{said}</IsTruncated>")).unwrap();
            assert_eq!(read.truncated, Some(expected), "{said}");
        }
        for wrong in ["yes", "", "truefalse", "null"] {
            let error = page(&format!("<IsTruncated>{wrong}</IsTruncated>")).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.to_string().contains(&format!("IsTruncated is {wrong:?}")), "{error}");
        }
        let token = "<NextContinuationToken>t</NextContinuationToken>";
        let read = page(token).unwrap();
        assert_eq!((read.truncated, read.token.as_deref()), (None, Some("t")));
        assert_eq!(page("").unwrap().truncated, None);
        let marker = page("<Marker/><NextMarker>m</NextMarker>").unwrap();
        assert!(marker.is_version_1() && marker.next.as_deref() == Some(b"m"));
        assert!(!page(&format!("<KeyCount>1</KeyCount>{token}")).unwrap().is_version_1());
        assert!(page("<KeyCount>2</KeyCount>").unwrap().is_short());
        let folders = "<KeyCount>2</KeyCount><CommonPrefixes><Prefix>a/</Prefix></CommonPrefixes>";
        let read = page(folders).unwrap();
        assert_eq!((read.is_short(), read.folders), (false, vec![b"a/".to_vec()]));
    }

    /// Promise 1.
    #[test]
    fn what_cannot_be_is_named() {
        for (document, expected) in [
            ("<ListBucketResult><KeyCount>0</KeyCount></ListBucketResult>", "IsTruncated"),
            (&listing("<Contents><Key>k</Key></Contents>"), "size"),
        ] {
            let error = read(document.as_bytes()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    /// Promises 0, 1.
    #[test]
    fn tags_and_times_come_in_more_than_one_form() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
        for (tag, etag) in [
            ("&quot;e&quot;", Some("e")),
            ("e", Some("e")),
            ("W/&quot;e&quot;", Some("e")),
            ("", None),
            ("&quot;&quot;", None),
        ] {
            for time in [
                "2026-01-01T00:00:00.000Z",
                "2026-01-01T01:00:00+01:00",
                "Thu, 01 Jan 2026 00:00:00 GMT",
            ] {
                let page = read_all(&format!(
                    "<Contents><Key>k</Key><Size> 1 </Size><ETag>{tag}</ETag>\
                     <LastModified>{time}</LastModified></Contents>"
                ));
                let expected = Listed { etag, last_modified: Some(at), ..Listed::new("k", 1) };
                assert_eq!(page.get(0), Some(expected), "{tag} {time}");
            }
        }
    }

    /// Promise 1.
    #[test]
    fn what_is_no_listing_is_no_empty_one() {
        let end = "<IsTruncated>false</IsTruncated>";
        for document in [
            "<ListBucketResult/>".to_owned(),
            "<Error><Code>InternalError</Code></Error>".to_owned(),
            format!("<html><body>{end}</body></html>"),
            format!(
                "<ListBucketResult>{end}</ListBucketResult><ListBucketResult></ListBucketResult>"
            ),
            String::new(),
        ] {
            let error = read(document.as_bytes()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{document}: {error}");
        }
    }
}
