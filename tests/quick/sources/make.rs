//! Inventories in S3's form
//! (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-inventory-location.html>).

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use flate2::Compression;
use flate2::write::GzEncoder;
use parquet::basic::Compression as PageCompression;
use parquet::data_type::{BoolType, ByteArrayType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use s3_migration::digest::md5;
use s3_migration::error::Result;
use s3_migration::object::{Etag, ObjectKey};
use s3_migration::sources::inventory::{Access, Address, Inventory};
use s3_migration::sources::sort::{KeyRow, Sorted};
use serde_json::{Value, json};
use tempfile::TempDir;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio_util::sync::CancellationToken;

pub const BUCKET: &str = "source-bucket";
pub const CREATED_MS: u64 = 1_763_942_400_123;
const CONFIGURATION: &str = "inventories/source-bucket/all";

/// One row. What is `None` is an empty cell.
#[derive(Clone, Debug)]
pub struct Object {
    pub key: String,
    pub size: Option<u64>,
    pub version: Option<&'static str>,
    pub latest: Option<bool>,
    pub deleted: bool,
    pub modified_ms: u64,
}

/// A current object.
pub fn object(key: impl Into<String>, size: u64) -> Object {
    let modified_ms = 1_600_000_000_000 + size * 1000;
    Object {
        key: key.into(),
        size: Some(size),
        version: None,
        latest: Some(true),
        deleted: false,
        modified_ms,
    }
}

impl Object {
    pub fn modified(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.modified_ms)
    }

    pub fn etag(&self) -> String {
        hex::encode(md5(self.key.as_bytes()))
    }

    /// What is read if all columns are there.
    pub fn row(&self, version: Option<&str>) -> KeyRow {
        KeyRow {
            key: ObjectKey::new(&self.key),
            size: self.size.unwrap(),
            etag: Some(Etag::new(self.etag())),
            last_modified: Some(self.modified()),
            storage_class: Some("STANDARD_IA".to_owned()),
            version: version.map(str::to_owned),
            restored: false,
        }
    }

    /// The cell of a CSV column.
    fn cell(&self, column: &str) -> String {
        match column {
            "Bucket" => BUCKET.to_owned(),
            "Key" => utf8_percent_encode(&self.key, NON_ALPHANUMERIC)
                .to_string()
                .replace("%20", "+")
                .replace("%2F", "/"),
            "VersionId" => self.version.unwrap_or_default().to_owned(),
            "IsLatest" => self.latest.map(|latest| latest.to_string()).unwrap_or_default(),
            "IsDeleteMarker" => self.deleted.to_string(),
            "Size" => self.size.map(|size| size.to_string()).unwrap_or_default(),
            "LastModifiedDate" => OffsetDateTime::from(self.modified()).format(&Rfc3339).unwrap(),
            "ETag" => self.etag(),
            "StorageClass" => "STANDARD_IA".to_owned(),
            "EncryptionStatus" => "SSE-S3".to_owned(),
            other => panic!("no column {other}"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Csv,
    Parquet,
}

pub const FORMATS: [Format; 2] = [Format::Csv, Format::Parquet];

/// All columns of an inventory of current objects, and of one of all versions.
pub const CURRENT: &[&str] =
    &["Bucket", "Key", "Size", "LastModifiedDate", "ETag", "StorageClass", "EncryptionStatus"];
pub const VERSIONS: &[&str] = &[
    "Bucket",
    "Key",
    "VersionId",
    "IsLatest",
    "IsDeleteMarker",
    "Size",
    "LastModifiedDate",
    "ETag",
    "StorageClass",
];

/// An inventory in folders as S3 lays them out.
pub struct Made {
    pub folder: TempDir,
    pub manifest: PathBuf,
    pub files: Vec<PathBuf>,
}

impl Made {
    /// One data file for each of `files`.
    pub fn new(format: Format, columns: &[&str], files: &[Vec<Object>]) -> Self {
        Self::one_by_one(format, columns, files.iter().cloned())
    }

    /// The same, of whose objects no more is held than one file's.
    pub fn one_by_one(
        format: Format,
        columns: &[&str],
        files: impl Iterator<Item = Vec<Object>>,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join(CONFIGURATION);
        let manifest = root.join("2025-11-24T00-00Z/manifest.json");
        fs::create_dir_all(manifest.parent().unwrap()).unwrap();
        fs::create_dir_all(root.join("data")).unwrap();
        let mut made = Self { folder, manifest, files: Vec::new() };
        let mut listed = Vec::new();
        for (number, objects) in files.enumerate() {
            let (ending, content) = match format {
                Format::Csv => ("csv.gz", csv(columns, &objects)),
                Format::Parquet => ("parquet", parquet(columns, &objects)),
            };
            let key = format!("{CONFIGURATION}/data/0000-{number}.{ending}");
            listed.push(json!({"key": key, "size": content.len(),
                               "MD5checksum": hex::encode(md5(&content))}));
            made.files.push(made.folder.path().join(key));
            fs::write(made.files.last().unwrap(), content).unwrap();
        }
        let (name, schema) = match format {
            Format::Csv => ("CSV", columns.join(", ")),
            Format::Parquet => ("Parquet", message(columns)),
        };
        made.write_manifest(&json!({
            "sourceBucket": BUCKET, "destinationBucket": "arn:aws:s3:::inventories",
            "version": "2016-11-30", "creationTimestamp": CREATED_MS.to_string(),
            "fileFormat": name, "fileSchema": schema, "files": listed,
        }));
        made
    }

    /// The manifest, changed; its checksum follows.
    pub fn edit(&self, change: impl FnOnce(&mut Value)) {
        let text = fs::read(&self.manifest).unwrap();
        let mut manifest = serde_json::from_slice(&text).unwrap();
        change(&mut manifest);
        self.write_manifest(&manifest);
    }

    /// Data file number `at`, changed; the manifest follows.
    pub fn replace(&self, at: usize, content: &[u8]) {
        fs::write(&self.files[at], content).unwrap();
        self.edit(|manifest| {
            manifest["files"][at]["size"] = json!(content.len());
            manifest["files"][at]["MD5checksum"] = json!(hex::encode(md5(content)));
        });
    }

    fn write_manifest(&self, manifest: &Value) {
        let text = manifest.to_string();
        fs::write(self.checksum(), format!("{}\n", hex::encode(md5(text.as_bytes())))).unwrap();
        fs::write(&self.manifest, text).unwrap();
    }

    pub fn checksum(&self) -> PathBuf {
        self.manifest.with_extension("checksum")
    }

    pub async fn open(&self) -> Result<Inventory> {
        open(&self.manifest).await
    }

    /// All rows below `prefix`.
    pub async fn rows(&self, prefix: &str) -> Result<Vec<KeyRow>> {
        collect(self.open().await?.sorted(BUCKET, prefix).await?).await
    }
}

pub async fn open(manifest: &Path) -> Result<Inventory> {
    let access =
        Access { store: None, max_retry: 1, folder: None, cancel: CancellationToken::new() };
    Inventory::open(Address::parse(manifest.to_str().unwrap())?, access).await
}

pub async fn collect(mut sorted: Sorted) -> Result<Vec<KeyRow>> {
    let mut rows = Vec::new();
    while let Some(page) = sorted.next_page().await? {
        assert!((1..=1000).contains(&page.len()));
        rows.extend(page);
    }
    Ok(rows)
}

pub fn csv(columns: &[&str], objects: &[Object]) -> Vec<u8> {
    let mut text = String::new();
    for object in objects {
        let cells: Vec<String> =
            columns.iter().map(|column| format!("\"{}\"", object.cell(column))).collect();
        text += &(cells.join(",") + "\n");
    }
    gzip(text.as_bytes())
}

pub fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// Rows of one row group: less than a file has, so that there are several.
const GROUP: usize = 2500;

fn message(columns: &[&str]) -> String {
    let field = |column: &&str| match *column {
        "Bucket" => "required binary bucket (UTF8);",
        "Key" => "required binary key (UTF8);",
        "VersionId" => "optional binary version_id (UTF8);",
        "IsLatest" => "optional boolean is_latest;",
        "IsDeleteMarker" => "optional boolean is_delete_marker;",
        "Size" => "optional int64 size;",
        "LastModifiedDate" => "optional int64 last_modified_date (TIMESTAMP_MILLIS);",
        "ETag" => "optional binary e_tag (UTF8);",
        "StorageClass" => "optional binary storage_class (UTF8);",
        "EncryptionStatus" => "optional binary encryption_status (UTF8);",
        other => panic!("no column {other}"),
    };
    format!("message s3.inventory {{ {} }}", columns.iter().map(field).collect::<String>())
}

pub fn parquet(columns: &[&str], objects: &[Object]) -> Vec<u8> {
    let schema = Arc::new(parse_message_type(&message(columns)).unwrap());
    let properties = WriterProperties::builder().set_compression(PageCompression::SNAPPY).build();
    let mut content = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut content, schema, Arc::new(properties)).unwrap();
    for objects in objects.chunks(GROUP) {
        let mut group = writer.next_row_group().unwrap();
        for column in columns {
            write_column(&mut group, column, objects);
        }
        group.close().unwrap();
    }
    writer.close().unwrap();
    content
}

fn write_column(
    group: &mut SerializedRowGroupWriter<'_, &mut Vec<u8>>,
    column: &str,
    objects: &[Object],
) {
    let mut writer = group.next_column().unwrap().unwrap();
    let levels = |present: &dyn Fn(&Object) -> bool| -> Vec<i16> {
        objects.iter().map(|object| i16::from(present(object))).collect()
    };
    match column {
        "Size" => {
            let values: Vec<i64> =
                objects.iter().filter_map(|object| object.size.map(|size| size as i64)).collect();
            let levels = levels(&|object| object.size.is_some());
            writer.typed::<Int64Type>().write_batch(&values, Some(&levels), None).unwrap();
        }
        "LastModifiedDate" => {
            let values: Vec<i64> = objects.iter().map(|object| object.modified_ms as i64).collect();
            writer
                .typed::<Int64Type>()
                .write_batch(&values, Some(&levels(&|_| true)), None)
                .unwrap();
        }
        "IsLatest" => {
            let values: Vec<bool> = objects.iter().filter_map(|object| object.latest).collect();
            let levels = levels(&|object| object.latest.is_some());
            writer.typed::<BoolType>().write_batch(&values, Some(&levels), None).unwrap();
        }
        "IsDeleteMarker" => {
            let values: Vec<bool> = objects.iter().map(|object| object.deleted).collect();
            writer
                .typed::<BoolType>()
                .write_batch(&values, Some(&levels(&|_| true)), None)
                .unwrap();
        }
        "VersionId" => {
            let present = |object: &Object| object.version.is_some();
            let values: Vec<_> =
                objects.iter().filter_map(|object| object.version.map(Into::into)).collect();
            let levels = levels(&present);
            writer.typed::<ByteArrayType>().write_batch(&values, Some(&levels), None).unwrap();
        }
        // Keys are not encoded in Parquet.
        "Key" => {
            let values: Vec<_> = objects.iter().map(|object| object.key.as_str().into()).collect();
            writer.typed::<ByteArrayType>().write_batch(&values, None, None).unwrap();
        }
        other => {
            let cells = objects.iter().map(|object| object.cell(other).into_bytes().into());
            let levels = levels(&|_| true);
            let levels = (other != "Bucket").then_some(&levels[..]);
            let values: Vec<_> = cells.collect();
            writer.typed::<ByteArrayType>().write_batch(&values, levels, None).unwrap();
        }
    }
    writer.close().unwrap();
}
