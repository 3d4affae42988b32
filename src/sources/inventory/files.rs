//! The files of one inventory: its manifest, and the data files that it names.

use std::fmt;
use std::fs::File;
use std::io::{Read, Seek};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use futures_util::TryStreamExt;
use tokio::io::{AsyncSeekExt, AsyncWriteExt};
use tokio::task;
use tokio_util::sync::CancellationToken;

use super::super::open;
use super::manifest::DataFile;
use super::{Access, Address};
use crate::digest::{Md5Hasher, md5};
use crate::error::{Error, ErrorKind, Result};
use crate::object::ObjectId;
use crate::retry::Retrying;
use crate::store::{GetRequest, Md5, Reads};

/// The longest manifest that is read: about 300,000 data files.
const LONGEST_MANIFEST: u64 = 64 * 1024 * 1024;

/// Larger than most manifests: sets the time limit of one try, sufficient for this size on a bad
/// network.
const USUAL_MANIFEST: u64 = 4 * 1024 * 1024;

/// Where an inventory is, and how it is read.
#[derive(Debug)]
pub(super) enum InventoryPlace {
    Local(PathBuf),
    Object(Remote),
}

/// A manifest in a bucket. Its data files are read from the same bucket, under the keys that it
/// names: if an inventory was copied to another bucket, they are read from that bucket.
#[derive(Debug)]
pub(super) struct Remote {
    id: ObjectId,
    store: Arc<dyn Reads>,
    max_retry: u32,
    folder: PathBuf,
    cancel: CancellationToken,
}

impl fmt::Display for InventoryPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(path) => path.display().fmt(f),
            Self::Object(remote) => write!(f, "s3://{}", remote.id),
        }
    }
}

impl InventoryPlace {
    pub(super) fn new(address: Address, access: &Access) -> Result<Self> {
        let id = match address {
            Address::Local(path) => return Ok(Self::Local(path)),
            Address::Object(id) => id,
        };
        let store = access.store.clone().ok_or_else(|| {
            Error::usage(format!("s3://{id} cannot be read without a store; give a local path"))
        })?;
        Ok(Self::Object(Remote {
            id,
            store,
            max_retry: access.max_retry,
            folder: access.folder.clone().unwrap_or_else(std::env::temp_dir),
            cancel: access.cancel.clone(),
        }))
    }

    /// The manifest's text, compared with `manifest.checksum` next to it. S3 writes that file last;
    /// if it is missing, the inventory may have been copied without it.
    pub(super) async fn manifest(&self) -> Result<Vec<u8>> {
        let (text, checksum) = match self {
            Self::Local(path) => {
                let path = path.clone();
                blocking(move || {
                    let text = read_small(open(&path)?).map_err(|e| e.context(path.display()))?;
                    let beside = path.with_extension("checksum");
                    let checksum = beside.is_file().then(|| read_small(open(&beside)?));
                    Ok((text, checksum.transpose()?))
                })
                .await?
            }
            Self::Object(remote) => (remote.small(&remote.id).await?, remote.checksum().await?),
        };
        if let Some(checksum) = checksum {
            let expected = hex::decode(checksum.trim_ascii()).unwrap_or_default();
            if expected != md5(&text) {
                return Err(Error::invalid(format!(
                    "{self} is damaged: its MD5 is not the one in manifest.checksum"
                )));
            }
        }
        Ok(text)
    }

    /// Opens a data file at its first byte, with the size and the MD5 that the manifest names.
    pub(super) async fn data(&self, file: &DataFile) -> Result<File> {
        match self {
            Self::Local(manifest) => {
                let (manifest, file) = (manifest.clone(), file.clone());
                blocking(move || {
                    let path = find(&manifest, &file.key)?;
                    let mut content = open(&path)?;
                    let digest =
                        digest(&mut content).map_err(|e| unread(e).context(path.display()))?;
                    check(&file, digest, ErrorKind::Invalid)
                        .map_err(|e| e.context(path.display()))?;
                    Ok(content)
                })
                .await
            }
            Self::Object(remote) => remote.data(file).await,
        }
    }
}

impl Remote {
    async fn checksum(&self) -> Result<Option<Vec<u8>>> {
        let stem = self.id.key.as_str().strip_suffix(".json").unwrap_or(self.id.key.as_str());
        let id = ObjectId::new(&self.id.bucket, format!("{stem}.checksum"));
        match self.small(&id).await {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The whole content of a small object.
    async fn small(&self, id: &ObjectId) -> Result<Vec<u8>> {
        let store = Retrying::new(&*self.store, self.max_retry, &self.cancel);
        let read = || async {
            let mut body = store.inner.get(&whole(id.clone())).await?.body;
            let mut text = Vec::new();
            while let Some(bytes) = body.try_next().await? {
                text.extend(bytes);
                if text.len() as u64 > LONGEST_MANIFEST {
                    return Err(too_long().context(format_args!("s3://{id}")));
                }
            }
            Ok(text)
        };
        store.data(USUAL_MANIFEST, read).await
    }

    /// A data file, copied to a temporary one: it is verified before any of its rows counts, and a
    /// cut connection costs no more than fetching it again.
    async fn data(&self, file: &DataFile) -> Result<File> {
        let store = Retrying::new(&*self.store, self.max_retry, &self.cancel);
        store.data(file.size, || self.fetch(file)).await
    }

    async fn fetch(&self, file: &DataFile) -> Result<File> {
        let id = ObjectId::new(&self.id.bucket, &file.key);
        let mut body = self.store.get(&whole(id.clone())).await?.body;
        let unkept = |e: std::io::Error| {
            let folder = self.folder.display();
            Error::usage(format!("s3://{id}: no temporary file in {folder}: {e}")).with_source(e)
        };
        let copy = tempfile::tempfile_in(&self.folder).map_err(unkept)?;
        let mut copy = tokio::fs::File::from_std(copy);
        let (mut hasher, mut size) = (Md5Hasher::default(), 0);
        while let Some(bytes) = body.try_next().await? {
            hasher.update(&bytes);
            size += bytes.len() as u64;
            copy.write_all(&bytes).await.map_err(unkept)?;
        }
        copy.flush().await.map_err(unkept)?;
        check(file, (size, hasher.finish()), ErrorKind::Damaged)
            .map_err(|e| e.context(format_args!("s3://{id}")))?;
        copy.rewind().await.map_err(unkept)?;
        Ok(copy.into_std().await)
    }
}

fn whole(id: ObjectId) -> GetRequest {
    GetRequest { id, version: None, range: None, if_match: None }
}

async fn blocking<T: Send + 'static>(f: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    task::spawn_blocking(f).await.map_err(|join| Error::cancelled().with_source(join))?
}

fn read_small(file: File) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    let read = file.take(LONGEST_MANIFEST + 1).read_to_end(&mut text).map_err(unread)?;
    match read as u64 > LONGEST_MANIFEST {
        true => Err(too_long()),
        false => Ok(text),
    }
}

fn too_long() -> Error {
    Error::usage(format!("no manifest: longer than {LONGEST_MANIFEST} bytes"))
}

fn unread(error: std::io::Error) -> Error {
    Error::usage(format!("cannot be read: {error}")).with_source(error)
}

/// Size and MD5 of `file`, which is rewound afterwards.
fn digest(file: &mut File) -> std::io::Result<(u64, Md5)> {
    let (mut hasher, mut size, mut buffer) = (Md5Hasher::default(), 0, vec![0; 64 * 1024]);
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            read => {
                hasher.update(&buffer[..read]);
                size += read as u64;
            }
        }
    }
    file.rewind()?;
    Ok((size, hasher.finish()))
}

fn check(file: &DataFile, (size, md5): (u64, Md5), kind: ErrorKind) -> Result<()> {
    let wrong = if size != file.size {
        format!("{size} bytes, but the manifest says {}", file.size)
    } else if md5 != file.md5 {
        format!("its MD5 is {}, but the manifest says {}", hex::encode(md5), hex::encode(file.md5))
    } else {
        return Ok(());
    };
    Err(Error::new(kind, format!("the inventory file is damaged: {wrong}")))
}

/// The local copy of a data file: next to the manifest, under the last part of its key; or in the
/// folder `data` next to the manifest's folder (S3's own layout); or under its whole key in one of
/// the parent folders (a copy of the whole bucket). The first that exists is taken; its MD5 shows
/// whether it is the right one.
fn find(manifest: &Path, key: &str) -> Result<PathBuf> {
    let manifest = std::path::absolute(manifest).map_err(unread)?;
    let plain = |part: Component<'_>| matches!(part, Component::Normal(_));
    let name = Path::new(key).file_name().filter(|_| Path::new(key).components().all(plain));
    let (Some(name), Some(folder)) = (name, manifest.parent()) else {
        return Err(Error::invalid(format!("{} names a file {key:?}", manifest.display())));
    };
    let data = folder.parent().map(|above| above.join("data").join(name));
    let above = folder.ancestors().map(|above| above.join(key));
    let mut places = std::iter::once(folder.join(name)).chain(data).chain(above);
    places.find(|path| path.is_file()).ok_or_else(|| {
        let message = format!(
            "the inventory file {key} is missing: it is neither next to {}, nor in ../data, nor \
             under its whole key in a folder above",
            manifest.display()
        );
        Error::new(ErrorKind::NotFound, message)
    })
}
