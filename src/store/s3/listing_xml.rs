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

use std::time::SystemTime;

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesRef, Event};

use super::listing_page::{Page, add};
use crate::error::{Error, ErrorKind, Result};
use crate::store::{Flaw, Listed, Odd};

/// Maximum number of keys on a page of Amazon S3.
const PAGE: u64 = 1000;

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
mod tests;
