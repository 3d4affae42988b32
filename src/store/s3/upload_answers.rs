//! Answers about uploads and tags, read by the names of their elements.
//!
//! Stores differ in the root element (`InitiateMultipartUpload`, `ListPartsResponse`), and the SDK
//! insists on one: it would lose the id of an upload that has been created. Here the names without
//! their namespace decide, whatever the root. Formats:
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateMultipartUpload.html>,
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListParts.html>,
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListMultipartUploads.html>,
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html>,
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObjectTagging.html>.
//!
//! A document that was cut, an HTML page and an error in an answer with status 200 are errors.

use std::time::SystemTime;

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::Event;

use super::convert::{decode_key, parse_crc64nvme};
use crate::aws::ErrorAnswer;
use crate::error::{Error, ErrorKind, Result};
use crate::object::Etag;
use crate::store::Part;

/// Deeper than any real answer; an attacker's document must not exhaust the stack.
const DEEPEST: usize = 16;

/// An element with what it holds.
#[derive(Debug, Default)]
struct XmlElement {
    name: String,
    text: String,
    children: Vec<XmlElement>,
}

impl XmlElement {
    /// The text of the first child of this name that has one; `None` if there is none.
    fn text(&self, name: &str) -> Option<&str> {
        let texts = self.children.iter().filter(|child| child.name == name);
        texts.map(|child| child.text.as_str()).find(|text| !text.trim().is_empty())
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a XmlElement> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// True, false, or missing.
    fn flag(&self, name: &str) -> Result<Option<bool>> {
        match self.text(name).map(str::trim) {
            None => Ok(None),
            Some(text) if text.eq_ignore_ascii_case("true") => Ok(Some(true)),
            Some(text) if text.eq_ignore_ascii_case("false") => Ok(Some(false)),
            Some(text) => Err(Error::invalid(format!("{name} is {text:?}"))),
        }
    }
}

fn cut() -> Error {
    Error::new(ErrorKind::Unavailable, "the answer ends in the middle of its document")
}

/// The root element. White space may come before everything: S3 sends it while it completes.
fn root(document: &[u8]) -> Result<XmlElement> {
    let mut reader = Reader::from_reader(document.trim_ascii());
    let mut open: Vec<XmlElement> = Vec::new();
    let mut root: Option<XmlElement> = None;
    loop {
        match reader.read_event().map_err(|e| cut().with_source(e))? {
            Event::Start(_) | Event::Empty(_) if root.is_some() || open.len() >= DEEPEST => {
                return Err(cut());
            }
            Event::Start(element) => open.push(named(element.local_name().as_ref())),
            Event::Empty(element) => {
                let element = named(element.local_name().as_ref());
                close(element, &mut open, &mut root);
            }
            Event::End(_) => {
                let element = open.pop().ok_or_else(cut)?;
                close(element, &mut open, &mut root);
            }
            Event::Text(text) => match open.last_mut() {
                Some(element) => element.text.push_str(&String::from_utf8_lossy(&text)),
                None if text.trim_ascii().is_empty() => {}
                None => return Err(cut()),
            },
            Event::CData(text) => {
                let element = open.last_mut().ok_or_else(cut)?;
                element.text.push_str(&String::from_utf8_lossy(&text));
            }
            Event::GeneralRef(entity) => {
                let element = open.last_mut().ok_or_else(cut)?;
                let name = String::from_utf8_lossy(&entity).into_owned();
                match entity.resolve_char_ref() {
                    Ok(Some(character)) => element.text.push(character),
                    _ => element.text.push_str(resolve_predefined_entity(&name).unwrap_or("?")),
                }
            }
            Event::Eof => return root.filter(|_| open.is_empty()).ok_or_else(cut),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
        }
    }
}

fn named(name: &[u8]) -> XmlElement {
    XmlElement { name: String::from_utf8_lossy(name).into_owned(), ..XmlElement::default() }
}

fn close(element: XmlElement, open: &mut [XmlElement], root: &mut Option<XmlElement>) {
    match open.last_mut() {
        Some(parent) => parent.children.push(element),
        None => *root = Some(element),
    }
}

/// The root element of an answer with status 200 that is neither an error nor a page for people.
fn answer(document: &[u8]) -> Result<XmlElement> {
    let root = root(document)?;
    if root.name == "Error" {
        let code = root.text("Code").unwrap_or_default().trim();
        let text = root.text("Message").unwrap_or_default();
        let refusal =
            ErrorAnswer { status: 200, code, text, body: "", request_id: None, retry_after: None };
        return Err(refusal.error("the answer holds an error"));
    }
    if root.name.eq_ignore_ascii_case("html") {
        let message = "an HTML page came instead of the store's answer: is Endpoint right?";
        return Err(Error::new(ErrorKind::Unavailable, message));
    }
    Ok(root)
}

/// The id of a created upload; `None` if the answer names none.
pub(super) fn upload_id(document: &[u8]) -> Option<String> {
    let root = answer(document).ok()?;
    root.text("UploadId").map(|id| id.trim().to_owned())
}

/// A page of parts.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct PartsPage {
    pub(super) parts: Vec<Part>,
    /// More parts follow these.
    pub(super) more: bool,
}

/// A page of ListParts.
pub(super) fn parts(document: &[u8]) -> Result<PartsPage> {
    let root = answer(document)?;
    let parts = root.all("Part").map(part).collect::<Result<Vec<_>>>()?;
    let truncated = root.flag("IsTruncated")?;
    if truncated.is_none() && parts.is_empty() && !root.name.contains("Parts") {
        return Err(strange(&root, "not a list of parts"));
    }
    // A missing flag means the end only if no other page is named either.
    let marker = root.text("NextPartNumberMarker").and_then(|marker| marker.trim().parse().ok());
    let more = truncated.unwrap_or_else(|| marker.is_some_and(|marker: u32| marker > 0));
    Ok(PartsPage { parts, more })
}

fn part(element: &XmlElement) -> Result<Part> {
    let number = |name: &str| element.text(name).and_then(|text| text.trim().parse::<u64>().ok());
    let whole = number("PartNumber").and_then(|n| u32::try_from(n).ok()).zip(number("Size"));
    let (number, size) =
        whole.ok_or_else(|| Error::invalid("a part without a number or a size"))?;
    let etag = Etag::new(element.text("ETag").unwrap_or_default());
    let crc64nvme = element.text("ChecksumCRC64NVME").and_then(|text| parse_crc64nvme(text.trim()));
    Ok(Part { number, size, etag, crc64nvme })
}

/// An upload as a page lists it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unfinished {
    pub(super) key: String,
    pub(super) id: String,
    pub(super) initiated: Option<SystemTime>,
    pub(super) class: Option<String>,
}

/// A page of unfinished uploads.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Uploads {
    pub(super) uploads: Vec<Unfinished>,
    /// The key and the upload after which the next page begins.
    pub(super) next: Option<(String, String)>,
}

/// A page of ListMultipartUploads. An upload whose key cannot be read is skipped: it is none that
/// we look for.
pub(super) fn uploads(document: &[u8]) -> Result<Uploads> {
    let root = answer(document)?;
    let encoded = root.text("EncodingType").is_some_and(|text| text.trim() == "url");
    let key = |text: &str| decode_key(text, encoded).ok();
    let upload = |upload: &XmlElement| {
        let key = upload.text("Key").and_then(key)?;
        let id = upload.text("UploadId")?.trim().to_owned();
        let class = upload.text("StorageClass").map(|class| class.trim().to_owned());
        Some(Unfinished { key, id, initiated: upload.text("Initiated").and_then(time), class })
    };
    let uploads: Vec<_> = root.all("Upload").filter_map(upload).collect();
    let truncated = root.flag("IsTruncated")?;
    if truncated.is_none() && uploads.is_empty() && !root.name.contains("Uploads") {
        return Err(strange(&root, "not a list of uploads"));
    }
    let next = root.text("NextKeyMarker").and_then(key).zip(root.text("NextUploadIdMarker"));
    let next = next.map(|(key, id)| (key, id.trim().to_owned()));
    Ok(Uploads { uploads, next: next.filter(|_| truncated != Some(false)) })
}

/// The object that a completion has made: its ETag and CRC-64/NVME. `None` if the answer does not
/// name the object: then the caller must look at the object itself.
pub(super) fn completed(document: &[u8]) -> Result<Option<(Etag, Option<u64>)>> {
    if document.trim_ascii().is_empty() {
        return Ok(None);
    }
    let root = answer(document)?;
    let Some(etag) = root.text("ETag") else { return Ok(None) };
    let crc64nvme = root.text("ChecksumCRC64NVME").and_then(|text| parse_crc64nvme(text.trim()));
    Ok(Some((Etag::new(etag.trim()), crc64nvme)))
}

/// The tags of an object. An element without them is a list of none only if it is the expected one.
pub(super) fn tags(document: &[u8]) -> Result<Vec<(String, String)>> {
    let root = answer(document)?;
    let sets: Vec<_> = root.all("TagSet").collect();
    if sets.is_empty() && root.name != "Tagging" {
        return Err(strange(&root, "no list of tags"));
    }
    let text = |tag: &XmlElement, name| tag.all(name).next().map(|child| child.text.clone());
    let tag = |tag: &XmlElement| {
        let key = text(tag, "Key").ok_or_else(|| Error::invalid("a tag without a key"))?;
        Ok((key, text(tag, "Value").unwrap_or_default()))
    };
    sets.iter().flat_map(|set| set.all("Tag")).map(tag).collect()
}

/// A different document than was requested: something in transit has made it up.
fn strange(root: &XmlElement, what: &str) -> Error {
    let message = format!("the answer is {what}: its root element is {:?}", root.name);
    Error::new(ErrorKind::Unavailable, message)
}

fn time(text: &str) -> Option<SystemTime> {
    DateTime::from_str(text.trim(), Format::DateTime).ok()?.try_into().ok()
}

/// Parses a document as each of the answers, for the fuzzer; returns the errors.
pub(super) fn read_all(document: &[u8]) -> Vec<Error> {
    let _ = upload_id(document);
    let errors = [
        parts(document).err(),
        uploads(document).err(),
        completed(document).err(),
        tags(document).err(),
    ];
    errors.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARTS: &str = "<?xml version=\"1.0\"?>\n<ns:ListPartsResponse xmlns:ns=\"x\">\
        <ns:UploadId>u</ns:UploadId><NextPartNumberMarker>2</NextPartNumberMarker>\
        <IsTruncated>True</IsTruncated><Part><PartNumber>1</PartNumber><ETag>&#34;a&quot;</ETag>\
        <Size>5</Size></Part><Part><PartNumber>2</PartNumber><ETag><![CDATA[\"b\"]]></ETag>\
        <Size>1</Size></Part></ns:ListPartsResponse>";

    #[test]
    fn whatever_the_root_is_called_an_upload_has_its_id() {
        for (document, id) in [
            (
                "<InitiateMultipartUpload><UploadId>a&amp;b</UploadId></InitiateMultipartUpload>",
                "a&b",
            ),
            ("<x:R xmlns:x=\"y\"><x:UploadId> c </x:UploadId></x:R>", "c"),
            (" \n<?xml version=\"1.0\"?><R><UploadId>d</UploadId></R>", "d"),
        ] {
            assert_eq!(upload_id(document.as_bytes()).as_deref(), Some(id), "{document}");
        }
        for document in [
            "",
            "<R/>",
            "<R><UploadId></UploadId></R>",
            "<R><UploadId>cut</UploadId>",
            "<Error><UploadId>x</UploadId></Error>",
            "<html><UploadId>x</UploadId></html>",
        ] {
            assert_eq!(upload_id(document.as_bytes()), None, "{document}");
        }
    }

    #[test]
    fn parts_are_read_by_their_elements() {
        let page = parts(PARTS.as_bytes()).unwrap();
        let part = |number, size, etag: &str| Part {
            number,
            size,
            etag: Etag::new(etag),
            crc64nvme: None,
        };
        assert_eq!(page, PartsPage { parts: vec![part(1, 5, "a"), part(2, 1, "b")], more: true });
        let none = "<ListPartsResult><IsTruncated>false</IsTruncated></ListPartsResult>";
        assert_eq!(parts(none.as_bytes()).unwrap(), PartsPage::default());
        assert!(!parts(b"<ListPartsResult/>").unwrap().more);
        let marked = "<L><NextPartNumberMarker>1</NextPartNumberMarker><Part><PartNumber>1\
            </PartNumber><Size>1</Size></Part></L>";
        assert!(parts(marked.as_bytes()).unwrap().more);
    }

    #[test]
    fn what_was_cut_or_is_no_list_is_an_error() {
        for end in 0..PARTS.len() {
            let error = parts(&PARTS.as_bytes()[..end]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", &PARTS[..end]);
        }
        for document in [
            "<html><IsTruncated>false</IsTruncated></html>",
            "<Error><Code>InternalError</Code></Error>",
            "<Other/>",
            "not XML",
            "<ListPartsResult></ListPartsResult>more",
        ] {
            assert_eq!(parts(document.as_bytes()).unwrap_err().kind(), ErrorKind::Unavailable);
            assert!(uploads(document.as_bytes()).is_err(), "{document}");
        }
        let odd = "<ListPartsResult><IsTruncated>yes</IsTruncated></ListPartsResult>";
        assert_eq!(parts(odd.as_bytes()).unwrap_err().kind(), ErrorKind::Invalid);
        let deep = "<a>".repeat(100_000);
        assert!(parts(deep.as_bytes()).is_err());
    }

    #[test]
    fn uploads_are_read_with_the_place_of_the_next() {
        let document = "<ListMultipartUploadsResult><EncodingType>url</EncodingType>\
            <NextKeyMarker>a%2Fb</NextKeyMarker><NextUploadIdMarker>u1</NextUploadIdMarker>\
            <IsTruncated>true</IsTruncated><Upload><Key>a%2Fb</Key><UploadId>u1</UploadId>\
            <Initiated>2026-01-01T00:00:00.000Z</Initiated></Upload><Upload><Key>%FF</Key>\
            <UploadId>u2</UploadId></Upload></ListMultipartUploadsResult>";
        let page = uploads(document.as_bytes()).unwrap();
        assert_eq!(page.next, Some(("a/b".to_owned(), "u1".to_owned())));
        let [upload] = &page.uploads[..] else { panic!("{page:?}") };
        assert_eq!((upload.key.as_str(), upload.id.as_str()), ("a/b", "u1"));
        assert!(upload.initiated.is_some());
        let last = document.replace("true", "false");
        assert_eq!(uploads(last.as_bytes()).unwrap().next, None);
    }

    #[test]
    fn tags_are_kept_as_they_are() {
        let document = "<?xml version=\"1.0\"?>\n<x:Tagging xmlns:x=\"y\"> <x:TagSet><x:Tag>\
            <x:Key>a&amp;b</x:Key><x:Value> c &#xE9;</x:Value></x:Tag><x:Tag><x:Key> </x:Key>\
            <x:Value/></x:Tag></x:TagSet></x:Tagging>";
        let expected = [("a&b", " c é"), (" ", "")];
        let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(tags(document.as_bytes()).unwrap(), expected);
        for none in ["<Tagging/>", "<Tagging><TagSet/></Tagging>", "<GetTags><TagSet/></GetTags>"] {
            assert_eq!(tags(none.as_bytes()).unwrap(), []);
        }
        for end in 0..document.len() {
            assert!(tags(&document.as_bytes()[..end]).is_err(), "{}", &document[..end]);
        }
        for other in ["<html><TagSet/></html>", "<Error><Code>InternalError</Code></Error>", "<L/>"]
        {
            assert_eq!(tags(other.as_bytes()).unwrap_err().kind(), ErrorKind::Unavailable);
        }
        let keyless = "<Tagging><TagSet><Tag><Value>v</Value></Tag></TagSet></Tagging>";
        assert_eq!(tags(keyless.as_bytes()).unwrap_err().kind(), ErrorKind::Invalid);
    }

    #[test]
    fn a_completion_tells_its_object_its_error_or_nothing() {
        let object = "  <?xml version=\"1.0\"?><CompleteMultipartUploadResult><ETag>\"e-2\"</ETag>\
            </CompleteMultipartUploadResult>";
        let (etag, _) = completed(object.as_bytes()).unwrap().unwrap();
        assert_eq!(etag, Etag::new("e-2"));
        for empty in ["", " \r\n", "<CompleteMultipartUploadResult/>"] {
            assert_eq!(completed(empty.as_bytes()).unwrap(), None);
        }
        let error = |code: &str| {
            completed(format!("<Error><Code>{code}</Code></Error>").as_bytes()).unwrap_err()
        };
        assert_eq!(error("InternalError").kind(), ErrorKind::Unavailable);
        assert_eq!(error("NoSuchUpload").kind(), ErrorKind::UploadGone);
        assert_eq!(completed(b"<Complete").unwrap_err().kind(), ErrorKind::Unavailable);
    }
}
