//! Inventories in a bucket: over HTTP, and over a bad line.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use s3_endpoint::{Endpoint, EndpointOptions};
use s3_migration::digest::md5;
use s3_migration::error::{Error, ErrorKind, Result};
use s3_migration::object::ObjectId;
use s3_migration::sources::inventory::{Access, Address, Inventory};
use s3_migration::sources::sort::KeyRow;
use s3_migration::store::s3::S3Store;
use s3_migration::store::{NewObject, ObjectStore, Side};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::make::*;
use testkit::proxy::{Fault, Proxy, Rule};

/// Not the one that the manifest names: what is read is a copy.
const INVENTORIES: &str = "copied-inventories";
const DATA: [&str; 2] = ["0000-0.", "0000-1."];

/// An inventory of six objects in two files, read through a proxy.
struct Stage {
    made: Made,
    store: Arc<dyn ObjectStore>,
    proxy: Proxy,
    cancel: CancellationToken,
    _endpoint: Endpoint,
    _folder: TempDir,
}

impl Stage {
    /// Without those of its files whose names contain one of `missing`.
    async fn without(format: Format, missing: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = EndpointOptions {
            folder: folder.path().join("data"),
            access_key: "key".to_owned(),
            secret_key: "secret".to_owned(),
            buckets: vec![INVENTORIES.to_owned()],
            gate: None,
            own_etags: false,
        };
        let endpoint = Endpoint::start(options).await.unwrap();
        let proxy = Proxy::before_url(&endpoint.url()).await;
        let store = S3Store::with_key(Side::Source, proxy.url(), "key", "secret").await;
        let file = |name: &str| (0..3).map(|n| object(format!("{name}+ü {n}"), n)).collect();
        let made = Made::new(format, CURRENT, &[file("b"), file("a")]);
        let cancel = CancellationToken::new();
        let (store, _endpoint, _folder) = (Arc::new(store), endpoint, folder);
        let stage = Self { made, store, proxy, cancel, _endpoint, _folder };
        let files = [stage.made.manifest.clone(), stage.made.checksum()];
        for path in files.iter().chain(&stage.made.files) {
            let key = stage.key(path);
            if !missing.iter().any(|name| key.contains(name)) {
                stage.put(&key, fs::read(path).unwrap()).await;
            }
        }
        stage
    }

    async fn new(format: Format) -> Self {
        Self::without(format, &[]).await
    }

    fn key(&self, path: &Path) -> String {
        path.strip_prefix(self.made.folder.path()).unwrap().to_str().unwrap().to_owned()
    }

    async fn put(&self, key: &str, content: Vec<u8>) {
        let (id, proof) = (ObjectId::new(INVENTORIES, key), md5(&content).into());
        self.store.put(&id, &NewObject::default(), content.into(), proof).await.unwrap();
    }

    /// The fault for the first GETs of what has one of `names` in its key, this many of each.
    fn fault(&self, names: &[&str], most: u64, fault: &Fault) {
        let rule = |name: &&str| Rule::on("GetObject", fault.clone()).containing(*name).most(most);
        self.proxy.inject(1, names.iter().map(rule).collect());
    }

    async fn open(&self) -> Result<Inventory> {
        let access = Access {
            store: Some(Arc::<dyn ObjectStore>::clone(&self.store)),
            max_retry: 3,
            folder: None,
            cancel: self.cancel.clone(),
        };
        let address = format!("s3://{INVENTORIES}/{}", self.key(&self.made.manifest));
        Inventory::open(Address::parse(&address)?, access).await
    }

    async fn rows(&self) -> Result<Vec<KeyRow>> {
        collect(self.open().await?.sorted(BUCKET, "").await?).await
    }

    async fn refused(&self) -> Error {
        self.rows().await.unwrap_err()
    }

    async fn is_read(&self) {
        let keys: Vec<String> =
            self.rows().await.unwrap().iter().map(|row| row.key.as_str().to_owned()).collect();
        assert_eq!(keys, ["a+ü 0", "a+ü 1", "a+ü 2", "b+ü 0", "b+ü 1", "b+ü 2"]);
    }
}

/// Promise 1.
#[tokio::test]
async fn an_inventory_is_read_from_the_manifests_own_bucket() {
    for format in FORMATS {
        Stage::new(format).await.is_read().await;
    }
}

/// Promise 1.
#[tokio::test]
async fn what_breaks_on_the_way_is_fetched_again() {
    let all = ["manifest.json", "manifest.checksum", DATA[0], DATA[1]];
    for fault in [Fault::slow_down(), Fault::CutAnswer(20), Fault::ResetInAnswer(20)] {
        let stage = Stage::new(Format::Csv).await;
        stage.fault(&all, 2, &fault);
        stage.is_read().await;
    }
    // What arrives whole, but not as it was.
    let stage = Stage::new(Format::Parquet).await;
    stage.fault(&DATA, 2, &Fault::FlipInAnswer(20));
    stage.is_read().await;
}

/// Promise 1.
#[tokio::test]
async fn what_stays_broken_is_an_error() {
    let stage = Stage::new(Format::Csv).await;
    stage.fault(&DATA[1..], u64::MAX, &Fault::CutAnswer(20));
    assert_eq!(stage.refused().await.kind(), ErrorKind::Unavailable);
    stage.proxy.heal();
    stage.fault(&DATA[1..], u64::MAX, &Fault::FlipInAnswer(20));
    let error = stage.refused().await;
    assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
    assert!(error.to_string().contains("the inventory file is damaged: its MD5 is "), "{error}");
    stage.proxy.heal();
    stage.fault(&["manifest.json"], u64::MAX, &Fault::FlipInAnswer(20));
    let error = stage.refused().await;
    assert!(error.to_string().contains("not the one in manifest.checksum"), "{error}");
    stage.proxy.heal();
    stage.is_read().await;
}

/// Promise 1.
#[tokio::test]
async fn a_file_that_is_not_the_manifests_is_refused() {
    let stage = Stage::new(Format::Csv).await;
    let key = stage.key(&stage.made.files[0]);
    stage.put(&key, csv(CURRENT, &[object("other", 1)])).await;
    let error = stage.refused().await;
    assert!(error.to_string().contains(" bytes, but the manifest says "), "{error}");
}

/// Promise 1.
#[tokio::test]
async fn only_the_checksum_may_be_missing_and_none_may_be_denied() {
    Stage::without(Format::Csv, &["manifest.checksum"]).await.is_read().await;
    for name in ["manifest.json", DATA[1]] {
        let error = Stage::without(Format::Csv, &[name]).await.refused().await;
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        assert!(error.to_string().contains(name), "{error}");
    }
    let stage = Stage::new(Format::Csv).await;
    for name in ["manifest.json", "manifest.checksum", DATA[1]] {
        stage.fault(&[name], 1, &Fault::error(403, "AccessDenied"));
        let error = stage.refused().await;
        assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    }
}

/// Promise 1.
#[tokio::test]
async fn cancelling_ends_the_reading_as_an_error() {
    for format in FORMATS {
        let stage = Stage::new(format).await;
        let inventory = stage.open().await.unwrap();
        stage.cancel.cancel();
        let error = inventory.sorted(BUCKET, "").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled);
        // Nor is a local one read to its end.
        let (folder, cancel) = (None, stage.cancel.clone());
        let access = Access { store: None, max_retry: 1, folder, cancel };
        let address = Address::Local(stage.made.manifest.clone());
        let inventory = Inventory::open(address, access).await.unwrap();
        let error = inventory.sorted(BUCKET, "").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled);
    }
}

#[tokio::test]
async fn a_bucket_needs_a_store_and_sorting_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let (none, cancel) = (folder.path().join("none"), CancellationToken::new());
    let access = Access { store: None, max_retry: 1, folder: Some(none), cancel };
    let address = Address::parse("s3://inventories/manifest.json").unwrap();
    let error = Inventory::open(address, access.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
    assert!(error.to_string().contains("cannot be read without a store"), "{error}");
    let made = Made::new(Format::Csv, CURRENT, &[vec![object("k", 1)]]);
    let inventory = Inventory::open(Address::Local(made.manifest.clone()), access).await.unwrap();
    let error = collect(inventory.sorted(BUCKET, "").await.unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
    assert!(error.to_string().starts_with("no temporary file can be created in "), "{error}");
}
