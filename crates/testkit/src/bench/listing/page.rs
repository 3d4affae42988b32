//! A page of a listing, in the form of S3's answers.

use super::ask::Ask;
use super::bucket::{Object, Side};
use super::keys::{Keyspace, digits, hash, hex};

/// Approximate bytes per entry.
const ENTRY: usize = 256;

/// An entry of a page.
enum Entry {
    Key(u64, Object),
    /// A folder: a key up to and including its `/`.
    Folder(Vec<u8>),
}

/// A rendered page.
pub struct Page {
    /// The answer's body.
    pub xml: Vec<u8>,
    /// The number of keys and folders.
    pub entries: usize,
}

/// The requested page of the bucket `name`.
pub fn render(keys: &Keyspace, side: Side, name: &str, ask: &Ask) -> Page {
    let (entries, next) = entries(keys, side, ask);
    let mut xml = Vec::with_capacity(1024 + entries.len() * ENTRY);
    head(name, ask, entries.len(), next, &mut xml);
    for entry in &entries {
        if let Entry::Key(number, object) = entry {
            contents(keys, *number, *object, &mut xml);
        }
    }
    for entry in &entries {
        if let Entry::Folder(prefix) = entry {
            xml.extend_from_slice(b"<CommonPrefixes><Prefix>");
            text(prefix, ask.encoded, &mut xml);
            xml.extend_from_slice(b"</Prefix></CommonPrefixes>");
        }
    }
    xml.extend_from_slice(b"</ListBucketResult>");
    Page { xml, entries: entries.len() }
}

/// The entries of the page, and the number of the key that the next page begins with.
fn entries(keys: &Keyspace, side: Side, ask: &Ask) -> (Vec<Entry>, Option<u64>) {
    let mut entries = Vec::with_capacity(ask.max_keys);
    let mut at = match ask.token {
        Some(token) => token,
        None if ask.start_after.is_empty() => keys.from(&ask.prefix),
        None => keys.from(&ask.prefix).max(keys.after(&ask.start_after)),
    };
    let end = if side == Side::Empty { 0 } else { keys.behind(&ask.prefix) };
    while at < end {
        let Some(object) = side.object(at) else {
            at += 1;
            continue;
        };
        if entries.len() == ask.max_keys {
            return (entries, Some(at).filter(|_| ask.max_keys > 0));
        }
        match ask.by_folder.then(|| folder(keys, at, ask.prefix.len())).flatten() {
            Some(prefix) => {
                at = keys.behind(&prefix);
                entries.push(Entry::Folder(prefix));
            }
            None => {
                entries.push(Entry::Key(at, object));
                at += 1;
            }
        }
    }
    (entries, None)
}

/// The key up to the first `/` after the prefix, if there is one.
fn folder(keys: &Keyspace, number: u64, prefix: usize) -> Option<Vec<u8>> {
    let mut key = Vec::new();
    keys.write(number, &mut key);
    let end = key[prefix..].iter().position(|byte| *byte == b'/')?;
    key.truncate(prefix + end + 1);
    Some(key)
}

fn head(name: &str, ask: &Ask, entries: usize, next: Option<u64>, xml: &mut Vec<u8>) {
    xml.extend_from_slice(
        b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
          <ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">",
    );
    element("Name", name.as_bytes(), xml);
    xml.extend_from_slice(b"<Prefix>");
    text(&ask.prefix, ask.encoded, xml);
    xml.extend_from_slice(b"</Prefix>");
    if !ask.start_after.is_empty() {
        xml.extend_from_slice(b"<StartAfter>");
        text(&ask.start_after, ask.encoded, xml);
        xml.extend_from_slice(b"</StartAfter>");
    }
    if let Some(token) = ask.token {
        element("ContinuationToken", token.to_string().as_bytes(), xml);
    }
    if let Some(next) = next {
        element("NextContinuationToken", next.to_string().as_bytes(), xml);
    }
    element("KeyCount", entries.to_string().as_bytes(), xml);
    element("MaxKeys", ask.max_keys.to_string().as_bytes(), xml);
    if ask.by_folder {
        element("Delimiter", b"/", xml);
    }
    if ask.encoded {
        element("EncodingType", b"url", xml);
    }
    element("IsTruncated", next.is_some().to_string().as_bytes(), xml);
}

fn element(name: &str, value: &[u8], xml: &mut Vec<u8>) {
    xml.push(b'<');
    xml.extend_from_slice(name.as_bytes());
    xml.push(b'>');
    xml.extend_from_slice(value);
    xml.extend_from_slice(b"</");
    xml.extend_from_slice(name.as_bytes());
    xml.push(b'>');
}

/// A text of the client, which may contain any character.
fn text(value: &[u8], encoded: bool, xml: &mut Vec<u8>) {
    for byte in value {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' => xml.push(*byte),
            _ if encoded => {
                xml.push(b'%');
                hex(u64::from(*byte), 2, xml);
            }
            b'<' => xml.extend_from_slice(b"&lt;"),
            b'&' => xml.extend_from_slice(b"&amp;"),
            _ => xml.push(*byte),
        }
    }
}

fn contents(keys: &Keyspace, number: u64, object: Object, xml: &mut Vec<u8>) {
    xml.extend_from_slice(b"<Contents><Key>");
    keys.write(number, xml);
    xml.extend_from_slice(b"</Key><LastModified>2025-01-01T00:00:");
    digits(object.etag % 60, 2, xml);
    xml.extend_from_slice(b".000Z</LastModified><ETag>&quot;");
    hex(object.etag, 16, xml);
    hex(hash(object.etag), 16, xml);
    xml.extend_from_slice(b"&quot;</ETag><Size>");
    let width = object.size.checked_ilog10().map_or(1, |log| log as usize + 1);
    digits(object.size, width, xml);
    xml.extend_from_slice(b"</Size><StorageClass>STANDARD</StorageClass></Contents>");
}
