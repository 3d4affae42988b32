//! What the demo migrates: the files of a folder, or generated objects.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::PART;
use crate::digest;
use crate::error::{Error, Result};
use crate::format::human;
use crate::logging::say;
use crate::object::{MIB, ObjectId};
use crate::store::{NewObject, ObjectStore, Part, Payload};

/// Larger objects are uploaded to the source in parts of this size, so that memory stays flat.
const UPLOAD_PART: u64 = 5 * MIB;
const UPLOADS_AT_ONCE: usize = 8;
/// The minimum number of parts of the object whose worker is killed.
const VICTIM_PARTS: u64 = 2;

/// The content of the source.
#[derive(Debug, Default)]
pub(super) struct Uploaded {
    pub objects: u64,
    pub bytes: u64,
    /// Symbolic links, sockets and the like, and files that could not be read.
    pub left_out: u64,
    /// The key of the largest multipart object, and its number of parts.
    pub victim: Option<(String, u64)>,
}

impl fmt::Display for Uploaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (objects, bytes) = (human::count(self.objects), human::bytes(self.bytes));
        write!(f, "{objects} objects with {bytes} put into the source")?;
        match self.left_out {
            0 => Ok(()),
            n => write!(f, " ({} left out: links, special or unreadable files)", human::count(n)),
        }
    }
}

/// One object to upload.
struct DemoObject {
    key: String,
    size: u64,
    from: ByteOrigin,
}

enum ByteOrigin {
    File(PathBuf),
    Made,
}

/// Uploads every regular file below `dir` to `bucket`, under its path; does not follow links.
pub(super) async fn upload_folder(
    store: &Arc<dyn ObjectStore>,
    bucket: &str,
    dir: &Path,
) -> Result<Uploaded> {
    if !dir.is_dir() {
        return Err(Error::usage(format!("{} is not a folder", dir.display())));
    }
    say(format_args!("putting the files of {} into the source ...", dir.display()));
    let (items, left_out) = {
        let dir = dir.to_owned();
        let walked = tokio::task::spawn_blocking(move || walk(&dir)).await;
        walked.map_err(|join| Error::cancelled().with_source(join))?
    };
    let mut uploaded = upload(store, bucket, items).await?;
    uploaded.left_out += left_out;
    Ok(uploaded)
}

/// Uploads objects of every kind to `bucket`: empty, tiny, around the threshold, with tens of
/// parts, and with keys that other tools lose.
pub(super) async fn upload_made(store: &Arc<dyn ObjectStore>, bucket: &str) -> Result<Uploaded> {
    say(format_args!("making objects and putting them into the source ..."));
    let longest = format!("long/{}", "k".repeat(1024 - 5));
    let odd = [
        "a//b",
        "./x",
        "../y",
        "/leading",
        "trailing/",
        " space ",
        "+",
        "%2F",
        "ü/文件",
        "tab\there",
        "new\nline",
        longest.as_str(),
    ];
    let sizes = [
        ("empty", 0),
        ("one byte", 1),
        ("threshold - 1", PART - 1),
        ("threshold", PART),
        ("threshold + 1", PART + 1),
        ("two parts", 2 * PART),
        ("tens of parts", 160 * MIB),
        ("more parts", 48 * MIB + 12_345),
    ];
    let small = (0..400).map(|n| (format!("small/{n:03}"), 1 + n * 97));
    let medium = (0..5).map(|n| (format!("medium/{n}"), (6 + 2 * n) * MIB + n));
    let items = odd
        .iter()
        .map(|key| ((*key).to_owned(), 1_000 + key.len() as u64))
        .chain(sizes.iter().map(|(key, size)| ((*key).to_owned(), *size)))
        .chain(small)
        .chain(medium)
        .map(|(key, size)| DemoObject { key, size, from: ByteOrigin::Made });
    upload(store, bucket, items.collect()).await
}

fn walk(dir: &Path) -> (Vec<DemoObject>, u64) {
    let (mut items, mut left_out) = (Vec::new(), 0);
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else {
            left_out += 1;
            continue;
        };
        for entry in entries {
            let Ok(entry) = entry else {
                left_out += 1;
                continue;
            };
            // The type of the entry itself: links are not followed.
            let kind = entry.file_type();
            let path = entry.path();
            let key = path.strip_prefix(dir).ok().and_then(Path::to_str).map(str::to_owned);
            match (kind, entry.metadata(), key) {
                (Ok(kind), _, _) if kind.is_dir() => folders.push(path),
                (Ok(kind), Ok(metadata), Some(key)) if kind.is_file() && key.len() <= 1024 => {
                    items.push(DemoObject {
                        key,
                        size: metadata.len(),
                        from: ByteOrigin::File(path),
                    });
                }
                _ => left_out += 1,
            }
        }
    }
    (items, left_out)
}

async fn upload(
    store: &Arc<dyn ObjectStore>,
    bucket: &str,
    items: Vec<DemoObject>,
) -> Result<Uploaded> {
    let sent = stream::iter(items)
        .map(|item| async move { put(&**store, bucket, item).await })
        .buffer_unordered(UPLOADS_AT_ONCE);
    let add = |mut all: Uploaded, item: Option<(String, u64)>| async move {
        let Some((key, size)) = item else {
            all.left_out += 1;
            return Ok(all);
        };
        all.objects += 1;
        all.bytes += size;
        let parts = size.div_ceil(PART);
        let most = all.victim.as_ref().map_or(VICTIM_PARTS - 1, |(_, parts)| *parts);
        if parts > most {
            all.victim = Some((key, parts));
        }
        Ok(all)
    };
    sent.try_fold(Uploaded::default(), add).await
}

/// Uploads one object; `None` if its file cannot be read.
async fn put(
    store: &dyn ObjectStore,
    bucket: &str,
    item: DemoObject,
) -> Result<Option<(String, u64)>> {
    let target = ObjectId::new(bucket, &item.key);
    let new = described(&item);
    let Some(mut reader) = ByteReader::open(&item) else { return Ok(None) };
    let Ok(mut piece) = reader.next(UPLOAD_PART) else { return Ok(None) };
    let mut size = piece.len() as u64;
    if size < UPLOAD_PART {
        store.put(&target, &new, piece.clone(), digest::md5(&piece).into()).await?;
        return Ok(Some((item.key, size)));
    }
    let upload = store.create_upload(&target, &new).await?.upload;
    let mut parts = Vec::new();
    while !piece.is_empty() {
        let (number, md5, len) = (parts.len() as u32 + 1, digest::md5(&piece), piece.len() as u64);
        let payload = Payload::Held { bytes: piece, proof: md5.into() };
        let written = store.upload_part(&upload, number, payload).await?;
        parts.push(Part { number, size: len, etag: written.etag, crc64nvme: None });
        let cannot = |e| Error::usage(format!("{} cannot be read to its end: {e}", item.key));
        piece = reader.next(UPLOAD_PART).map_err(cannot)?;
        size += piece.len() as u64;
    }
    store.complete_upload(&upload, &parts, None).await?;
    Ok(Some((item.key, size)))
}

/// Headers that must arrive with the object.
fn described(item: &DemoObject) -> NewObject {
    let mut new = NewObject::default();
    let text = item.size.is_multiple_of(2);
    let content_type = if text { "text/plain; charset=utf-8" } else { "application/octet-stream" };
    new.headers.content_type = Some(content_type.to_owned());
    new.headers.cache_control = Some("max-age=60".to_owned());
    new.headers.user.insert("size".to_owned(), item.size.to_string());
    new
}

/// The bytes of an item, in order.
enum ByteReader {
    File(File),
    Made { random: fastrand::Rng, left: u64 },
}

impl ByteReader {
    fn open(item: &DemoObject) -> Option<Self> {
        match &item.from {
            ByteOrigin::File(path) => File::open(path).ok().map(Self::File),
            // The same data on every run.
            ByteOrigin::Made => {
                Some(Self::Made { random: fastrand::Rng::with_seed(item.size), left: item.size })
            }
        }
    }

    /// Up to `most` more bytes; fewer only at the end.
    fn next(&mut self, most: u64) -> std::io::Result<Bytes> {
        match self {
            Self::File(file) => {
                let mut piece = Vec::new();
                file.take(most).read_to_end(&mut piece)?;
                Ok(piece.into())
            }
            Self::Made { random, left } => {
                let len = most.min(*left);
                *left -= len;
                let mut piece = vec![0; len as usize];
                random.fill(&mut piece);
                Ok(piece.into())
            }
        }
    }
}
