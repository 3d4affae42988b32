//! The bytes: one file for each object or part, named by a counter, never by a key.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use crc_fast::{CrcAlgorithm, Digest as Crc};
use futures_util::{Stream, StreamExt, stream};
use md5::{Digest, Md5};
use s3s::StdError;

/// How much is read or written at once. It bounds the memory of one call, and a small object needs
/// a single trip to the blocking threads.
const CHUNK: usize = 256 * 1024;

/// The folder that holds the files.
pub(super) struct Folder {
    path: PathBuf,
    next: AtomicU64,
    /// ETags are not MD5s.
    own_etags: bool,
}

/// Bytes at rest. The file lives as long as any clone, so a reader keeps what it opened even if the
/// object is replaced or deleted.
#[derive(Clone)]
pub(super) struct Blob {
    file: Arc<OwnedFile>,
    pub(super) len: u64,
    pub(super) md5: [u8; 16],
    /// The bytes that its ETag spells.
    pub(super) tag: [u8; 16],
    pub(super) crc64nvme: u64,
}

struct OwnedFile(PathBuf);

impl Drop for OwnedFile {
    fn drop(&mut self) {
        // If the file cannot be removed, the folder's owner still removes the folder.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Why a body was not stored.
#[derive(Debug)]
pub(super) enum StoreError {
    /// The body ended early or its sender broke off.
    Body(StdError),
    /// The file could not be written.
    File(io::Error),
}

impl Folder {
    pub(super) fn open(path: PathBuf, own_etags: bool) -> io::Result<Self> {
        std::fs::create_dir_all(&path)?;
        Ok(Self { path, next: AtomicU64::new(0), own_etags })
    }

    /// Streams `body` into a new file; on an error, or if the caller gives up, the file is removed.
    pub(super) async fn store<S>(&self, mut body: S) -> Result<Blob, StoreError>
    where
        S: Stream<Item = Result<Bytes, StdError>> + Unpin,
    {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let owned = Arc::new(OwnedFile(self.path.join(number.to_string())));
        let mut file = None;
        let mut len = 0;
        let mut digest = Md5::new();
        let mut crc = Crc::new(CrcAlgorithm::Crc64Nvme);
        let mut pending = BytesMut::new();
        while let Some(bytes) = body.next().await {
            let bytes = bytes.map_err(StoreError::Body)?;
            len += bytes.len() as u64;
            digest.update(&bytes);
            crc.update(&bytes);
            pending.extend_from_slice(&bytes);
            if pending.len() >= CHUNK {
                file = Some(append(&owned, file, pending.split()).await?);
            }
        }
        append(&owned, file, pending).await?;
        let (md5, crc64nvme): ([u8; 16], _) = (digest.finalize().into(), crc.finalize());
        let tag = if self.own_etags { md5.map(|byte| !byte) } else { md5 };
        Ok(Blob { file: owned, len, md5, tag, crc64nvme })
    }
}

/// Appends to `file`, which the first write creates.
async fn append(
    owned: &Arc<OwnedFile>,
    file: Option<File>,
    bytes: BytesMut,
) -> Result<File, StoreError> {
    // The closure holds the file's owner too: if the caller is cancelled in between, the file is
    // still removed after it was created.
    let owned = Arc::clone(owned);
    let written = blocking(move || {
        let mut file = match file {
            Some(file) => file,
            None => File::create_new(&owned.0)?,
        };
        file.write_all(&bytes)?;
        Ok(file)
    });
    written.await.map_err(StoreError::File)
}

/// A piece of a blob.
pub(super) struct Segment {
    pub(super) blob: Blob,
    pub(super) range: Range<u64>,
}

struct Reader {
    segments: VecDeque<Segment>,
    open: Option<File>,
}

/// Reads the segments one after the other, a chunk at a time.
pub(super) fn read(segments: VecDeque<Segment>) -> impl Stream<Item = io::Result<Bytes>> {
    stream::try_unfold(Reader { segments, open: None }, |mut reader| async move {
        while reader.segments.front().is_some_and(|s| s.range.is_empty()) {
            reader.segments.pop_front();
            reader.open = None;
        }
        let Some(segment) = reader.segments.front_mut() else { return Ok(None) };
        let offset = segment.range.start;
        let len = (segment.range.end - offset).min(CHUNK as u64);
        segment.range.start += len;
        let owned = Arc::clone(&segment.blob.file);
        let open = reader.open.take();
        let (file, bytes) = blocking(move || read_at(&owned, open, offset, len)).await?;
        reader.open = Some(file);
        Ok(Some((bytes, reader)))
    })
}

fn read_at(
    owned: &OwnedFile,
    open: Option<File>,
    offset: u64,
    len: u64,
) -> io::Result<(File, Bytes)> {
    let file = match open {
        Some(file) => file,
        None => File::open(&owned.0)?,
    };
    // At most CHUNK, so the conversion cannot truncate.
    let mut bytes = vec![0; len as usize];
    file.read_exact_at(&mut bytes, offset)?;
    Ok((file, bytes.into()))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}
