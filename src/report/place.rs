//! Where a report is: a folder, or a prefix in a bucket.

use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use md5::{Digest as _, Md5};
use tokio_util::sync::CancellationToken;

use crate::error::{Error, ErrorKind, Result};
use crate::files::{cannot_write, replace};
use crate::object::{ObjectId, ObjectKey};
use crate::retry::{Policy, retry};
use crate::store::{GetRequest, Headers, ListRequest, NewObject, ObjectStore, Proof};

/// Holds the files of a report.
#[derive(Clone, Debug)]
pub enum Place {
    /// A folder on this machine.
    Folder(PathBuf),
    /// Objects whose keys begin with `prefix`.
    Bucket {
        /// Where the bucket is.
        store: Arc<dyn ObjectStore>,
        /// The bucket.
        bucket: String,
        /// Empty, or ends with `/`.
        prefix: String,
        /// MaxRetry.
        max_retry: u32,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => folder.display().fmt(f),
            Self::Bucket { bucket, prefix, .. } => {
                write!(f, "s3://{bucket}/{}", prefix.strip_suffix('/').unwrap_or(prefix))
            }
        }
    }
}

impl Place {
    /// The place with this name within this one.
    pub fn within(&self, name: &str) -> Self {
        match self {
            Self::Folder(folder) => Self::Folder(folder.join(name)),
            Self::Bucket { store, bucket, prefix, max_retry } => Self::Bucket {
                store: Arc::clone(store),
                bucket: bucket.clone(),
                prefix: format!("{prefix}{name}/"),
                max_retry: *max_retry,
            },
        }
    }

    /// Fails if it cannot be reached: before hours of work, not after them.
    pub async fn probe(&self, cancel: &CancellationToken) -> Result<()> {
        match self {
            Self::Folder(folder) => {
                std::fs::create_dir_all(folder).map_err(|error| cannot_write(folder, error))
            }
            Self::Bucket { store, bucket, prefix, .. } => {
                let (bucket, prefix) = (bucket.clone(), prefix.clone());
                let request =
                    ListRequest { bucket, prefix, max_keys: Some(1), ..ListRequest::default() };
                retry(Policy::probe(), cancel, || store.list(&request)).await.map(drop)
            }
        }
    }

    /// Writes a file whole.
    pub async fn put(
        &self,
        name: &str,
        content_type: &str,
        bytes: &Bytes,
        cancel: &CancellationToken,
    ) -> Result<()> {
        match self {
            Self::Folder(folder) => {
                std::fs::create_dir_all(folder).map_err(|error| cannot_write(folder, error))?;
                replace(&folder.join(name), bytes)
            }
            Self::Bucket { store, max_retry, .. } => {
                let id = self.object(name);
                let content_type = Some(content_type.to_owned());
                let headers = Headers { content_type, ..Headers::default() };
                let new = NewObject { headers, ..NewObject::default() };
                let proof = Proof::from(<[u8; 16]>::from(Md5::digest(bytes)));
                let policy = Policy::data(*max_retry, bytes.len() as u64);
                let put = || store.put(&id, &new, bytes.clone(), proof);
                retry(policy, cancel, put).await.map(drop)
            }
        }
    }

    /// Reads a file of at most `most` bytes: `None` if it does not exist, and an error of kind
    /// `Invalid` if it is longer.
    pub async fn get(
        &self,
        name: &str,
        most: u64,
        cancel: &CancellationToken,
    ) -> Result<Option<Bytes>> {
        match self {
            Self::Folder(folder) => read(&folder.join(name), most),
            Self::Bucket { store, max_retry, .. } => {
                let id = self.object(name);
                let request = GetRequest { id, version: None, range: None, if_match: None };
                let get = || async {
                    let answer = store.get(&request).await?;
                    if answer.meta.size > most {
                        return Err(too_long(name));
                    }
                    answer.body.read_all().await
                };
                match retry(Policy::data(*max_retry, most), cancel, get).await {
                    Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
                    got => got.map(Some),
                }
            }
        }
    }

    fn object(&self, name: &str) -> ObjectId {
        let (bucket, prefix) = match self {
            Self::Folder(_) => ("", ""),
            Self::Bucket { bucket, prefix, .. } => (bucket.as_str(), prefix.as_str()),
        };
        ObjectId { bucket: bucket.to_owned(), key: ObjectKey::new(format!("{prefix}{name}")) }
    }
}

fn read(path: &Path, most: u64) -> Result<Option<Bytes>> {
    let cannot = |error: std::io::Error| {
        Error::usage(format!("{} cannot be read: {error}", path.display())).with_source(error)
    };
    let file = match std::fs::File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(cannot)?,
    };
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > most {
        return Err(too_long(&path.display().to_string()));
    }
    Ok(Some(bytes.into()))
}

fn too_long(name: &str) -> Error {
    Error::invalid(format!("{name} is longer than its certificate says"))
}
