//! A page of ListObjectsV2 or ListObjectVersions, read by a pull parser.
//!
//! The SDK builds an object of twenty optional fields for each key, which costs several times what
//! comparing it does. Formats:
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html>,
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectVersions.html>.
//!
//! Whatever is no such document is an error, also where it came with status 200: a proxy's page, or an
//! error told late. Taken for a page it would be an empty one, and the last.

use std::borrow::Cow;
use std::time::SystemTime;

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesRef, Event};

use super::convert::decode_key;
use crate::error::{Error, ErrorKind, Result};
use crate::store::{ListPage, Listed};

/// What a page says of itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    /// The current objects, their keys decoded.
    pub(super) objects: ListPage,
    pub(super) truncated: bool,
    /// `NextContinuationToken`, or `NextKeyMarker` as it is written.
    pub(super) next: Option<String>,
    /// `NextVersionIdMarker`.
    pub(super) next_version: Option<String>,
    /// Keys, markers among them, are percent-encoded.
    pub(super) encoded: bool,
}

/// Reads a page. A document that ends before its root element does is `Unavailable`: it has been
/// cut on the way. One that says something that cannot be is `Invalid`.
pub(super) fn read(document: &[u8]) -> Result<Page> {
    let mut reader = Reader::from_reader(document);
    let mut reading = Reading::default();
    loop {
        let event = reader.read_event().map_err(|e| cut().with_source(e))?;
        match event {
            Event::Start(element) => reading.open(element.local_name().as_ref())?,
            Event::End(_) => reading.close()?,
            // Something on the way has put it there.
            Event::Text(text) if reading.ended && !text.trim_ascii().is_empty() => {
                return Err(cut());
            }
            Event::Text(text) => reading.text.extend_from_slice(&text),
            Event::CData(text) => reading.text.extend_from_slice(&text),
            Event::GeneralRef(entity) => reading.entity(&entity)?,
            Event::Eof => return reading.end(),
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

/// The root elements of pages.
const ROOTS: [&[u8]; 2] = [b"ListBucketResult", b"ListVersionsResult"];

fn wrong(what: impl Into<String>) -> Error {
    Error::invalid(what.into())
}

/// An element by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Element {
    /// `Contents` or `Version`.
    Object,
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
    Next,
    NextVersion,
    Encoding,
    Other,
}

impl Element {
    fn named(depth: usize, in_object: bool, name: &[u8]) -> Self {
        match (depth, in_object, name) {
            (1, _, b"Contents" | b"Version") => Self::Object,
            (1, _, b"IsTruncated") => Self::Truncated,
            (1, _, b"NextContinuationToken" | b"NextKeyMarker") => Self::Next,
            (1, _, b"NextVersionIdMarker") => Self::NextVersion,
            (1, _, b"EncodingType") => Self::Encoding,
            (2, true, b"Key") => Self::Key,
            (2, true, b"Size") => Self::Size,
            (2, true, b"ETag") => Self::ETag,
            (2, true, b"LastModified") => Self::LastModified,
            (2, true, b"StorageClass") => Self::StorageClass,
            (2, true, b"VersionId") => Self::VersionId,
            (2, true, b"IsLatest") => Self::IsLatest,
            (3, true, b"IsRestoreInProgress") => Self::Restoring,
            (3, true, b"RestoreExpiryDate") => Self::RestoredUntil,
            _ => Self::Other,
        }
    }
}

/// What has been read so far of one object; its buffers serve all of them.
#[derive(Debug, Default)]
struct Object {
    key: String,
    etag: String,
    class: String,
    version: String,
    has_key: bool,
    size: Option<u64>,
    modified: Option<SystemTime>,
    /// `None`: the listing is not one of versions.
    latest: Option<bool>,
    restoring: bool,
    restored_until: bool,
}

impl Object {
    fn clear(&mut self) {
        let Self { key, etag, class, version, .. } = self;
        for text in [&mut *key, etag, class, version] {
            text.clear();
        }
        (self.has_key, self.size, self.modified, self.latest) = (false, None, None, None);
        (self.restoring, self.restored_until) = (false, false);
    }

    fn listed(&self) -> Result<Listed<'_>> {
        fn some(text: &str) -> Option<&str> {
            Some(text).filter(|text| !text.is_empty())
        }
        if !self.has_key {
            return Err(wrong("an object without a key"));
        }
        let size = self.size.ok_or_else(|| wrong(format!("key {} has no size", self.key)))?;
        Ok(Listed {
            key: &self.key,
            size,
            etag: some(self.etag.trim_matches('"')),
            last_modified: self.modified,
            storage_class: some(&self.class),
            version: some(&self.version),
            restored: self.restored_until && !self.restoring,
        })
    }
}

#[derive(Debug, Default)]
struct Reading {
    page: Page,
    /// Open elements, the root among them.
    open: Vec<Element>,
    ended: bool,
    /// It has been said whether the page is the last.
    told: bool,
    object: Object,
    /// The text of the innermost element.
    text: Vec<u8>,
}

impl Reading {
    fn open(&mut self, name: &[u8]) -> Result<()> {
        if self.open.is_empty() && (self.ended || !ROOTS.contains(&name)) {
            let name = String::from_utf8_lossy(name).into_owned();
            let message = format!("the answer is no listing but a document {name:?}");
            return Err(Error::new(ErrorKind::Unavailable, message));
        }
        let in_object = self.open.get(1) == Some(&Element::Object);
        let element = Element::named(self.open.len(), in_object, name);
        if element == Element::Object {
            self.object.clear();
        }
        self.open.push(element);
        self.text.clear();
        Ok(())
    }

    fn entity(&mut self, entity: &BytesRef<'_>) -> Result<()> {
        let character = entity.resolve_char_ref().map_err(|e| wrong(e.to_string()))?;
        if let Some(character) = character {
            self.text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            return Ok(());
        }
        let name = String::from_utf8_lossy(entity);
        let known = resolve_predefined_entity(&name);
        let known = known.ok_or_else(|| wrong(format!("unknown entity &{name};")))?;
        self.text.extend_from_slice(known.as_bytes());
        Ok(())
    }

    fn close(&mut self) -> Result<()> {
        let Some(element) = self.open.pop() else { return Err(cut()) };
        self.ended = self.open.is_empty();
        let text = std::str::from_utf8(&self.text)
            .map_err(|e| wrong("text is not UTF-8").with_source(e))?;
        match element {
            Element::Other => {}
            Element::Object => {
                if self.object.latest != Some(false) {
                    self.page.objects.push(self.object.listed()?);
                }
            }
            Element::Key => {
                self.object.key.push_str(text);
                self.object.has_key = true;
            }
            Element::Size => {
                let size = text.trim().parse();
                self.object.size = Some(size.map_err(|_| wrong(format!("the size {text:?}")))?);
            }
            Element::ETag => self.object.etag.push_str(text),
            Element::LastModified => self.object.modified = time(text),
            Element::StorageClass => self.object.class.push_str(text),
            Element::VersionId => self.object.version.push_str(text),
            Element::IsLatest => self.object.latest = Some(is_true(text)),
            Element::Restoring => self.object.restoring = is_true(text),
            Element::RestoredUntil => self.object.restored_until = true,
            Element::Truncated => {
                self.page.truncated = is_true(text);
                self.told = true;
            }
            Element::Next => self.page.next = Some(text.to_owned()),
            Element::NextVersion => self.page.next_version = Some(text.to_owned()),
            Element::Encoding => self.page.encoded = text.trim() == "url",
        }
        self.text.clear();
        Ok(())
    }

    fn end(mut self) -> Result<Page> {
        if !self.ended || !self.open.is_empty() {
            return Err(cut());
        }
        if !self.told {
            return Err(wrong("the page does not say whether it is the last (IsTruncated)"));
        }
        if self.page.encoded {
            self.page.objects = decoded(&self.page.objects)?;
        }
        Ok(self.page)
    }
}

/// Whether keys are encoded may be said behind them.
fn decoded(objects: &ListPage) -> Result<ListPage> {
    let mut page = ListPage::default();
    for listed in objects.iter() {
        let key = match listed.key.contains(['%', '+']) {
            true => Cow::Owned(decode_key(listed.key, true)?),
            false => Cow::Borrowed(listed.key),
        };
        page.push(Listed { key: &key, ..listed });
    }
    Ok(page)
}

fn is_true(text: &str) -> bool {
    text.trim() == "true"
}

fn time(text: &str) -> Option<SystemTime> {
    DateTime::from_str(text.trim(), Format::DateTime).ok()?.try_into().ok()
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

    #[test]
    fn a_page_is_read_with_all_that_counts() {
        let page = read(PAGE.as_bytes()).unwrap();
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_767_225_600_500);
        let first = Listed {
            etag: Some("e-2"),
            last_modified: Some(at),
            storage_class: Some("GLACIER"),
            restored: true,
            ..Listed::new("a/b c\n<", 5)
        };
        let expected: Vec<_> = vec![first, Listed::new(" kA", 0)];
        assert_eq!(page.objects.iter().collect::<Vec<_>>(), expected);
        assert_eq!(page.next.as_deref(), Some("1/a&b+c=="));
        assert!(page.truncated && page.encoded);
    }

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
        assert_eq!(next, (Some("k%20"), Some("m")));
    }

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

    #[test]
    fn what_cannot_be_is_named() {
        let object = |inner: &str| {
            format!(
                "<ListBucketResult><Contents>{inner}</Contents><IsTruncated>false</IsTruncated>\
                 </ListBucketResult>"
            )
        };
        for (inner, expected) in [
            ("<Key>k</Key>", "key k has no size"),
            ("<Size>1</Size>", "without a key"),
            ("<Key>k</Key><Size>-1</Size>", "the size \"-1\""),
            ("<Key>&unknown;</Key><Size>1</Size>", "&unknown;"),
        ] {
            let error = read(object(inner).as_bytes()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.to_string().contains(expected), "{error}");
        }
        let encoded = object("<Key>%FF</Key><Size>1</Size>")
            .replace("<IsTruncated>", "<EncodingType>url</EncodingType><IsTruncated>");
        assert!(read(encoded.as_bytes()).unwrap_err().to_string().contains("not UTF-8"));
        let untold = "<ListBucketResult><KeyCount>0</KeyCount></ListBucketResult>";
        let error = read(untold.as_bytes()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }

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
