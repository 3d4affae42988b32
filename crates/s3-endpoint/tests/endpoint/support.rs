use std::path::Path;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use percent_encoding::percent_decode_str;
use s3_endpoint::{Endpoint, EndpointOptions};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub const ACCESS_KEY: &str = "demo-access";
pub const SECRET_KEY: &str = "demo-secret";
pub const BUCKET: &str = "bucket";
pub const MIB: usize = 1024 * 1024;

/// An endpoint with one bucket, and a client for it.
pub struct Lab {
    pub endpoint: Endpoint,
    pub client: Client,
    pub folder: TempDir,
}

impl Lab {
    pub async fn new() -> Self {
        Self::with(EndpointOptions::default()).await
    }

    pub async fn with(options: EndpointOptions) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = EndpointOptions {
            folder: folder.path().join("data"),
            access_key: ACCESS_KEY.to_owned(),
            secret_key: SECRET_KEY.to_owned(),
            buckets: vec![BUCKET.to_owned()],
            ..options
        };
        let endpoint = Endpoint::start(options).await.unwrap();
        let client = client(&endpoint.url(), ACCESS_KEY, SECRET_KEY);
        Self { endpoint, client, folder }
    }

    pub async fn put(&self, key: &str, body: impl Into<ByteStream>) {
        self.client.put_object().bucket(BUCKET).key(key).body(body.into()).send().await.unwrap();
    }

    pub async fn get(&self, key: &str) -> Vec<u8> {
        let answer = self.client.get_object().bucket(BUCKET).key(key).send().await.unwrap();
        answer.body.collect().await.unwrap().to_vec()
    }

    pub async fn begin(&self, key: &str) -> String {
        let create = self.client.create_multipart_upload().bucket(BUCKET).key(key);
        create.send().await.unwrap().upload_id.unwrap()
    }

    pub async fn part(&self, key: &str, id: &str, number: i32, body: Vec<u8>) -> CompletedPart {
        let upload = self.client.upload_part().bucket(BUCKET).key(key).upload_id(id);
        let upload = upload.part_number(number).body(body.into());
        let e_tag = upload.send().await.unwrap().e_tag;
        CompletedPart::builder().part_number(number).set_e_tag(e_tag).build()
    }

    /// Completes the upload; an error is answered by its code.
    pub async fn complete(
        &self,
        key: &str,
        id: &str,
        parts: Vec<CompletedPart>,
    ) -> Result<String, String> {
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let complete = self.client.complete_multipart_upload().bucket(BUCKET).key(key);
        let answer = complete.upload_id(id).multipart_upload(parts).send().await;
        answer.map(|answer| answer.e_tag.unwrap()).map_err(code)
    }

    /// The names of the files that hold data.
    pub fn files(&self) -> Vec<String> {
        files(&self.folder.path().join("data"))
    }

    /// Sends a request as it is and closes the sending side; the whole answer as text.
    pub async fn raw(&self, method: &str, url: &str, headers: &str, body: &str) -> String {
        let base = self.endpoint.url();
        let host = base.strip_prefix("http://").unwrap();
        let target = url.strip_prefix(&base).unwrap();
        let head = format!("{method} {target} HTTP/1.1\r\nhost: {host}\r\n{headers}\r\n");
        let mut stream = TcpStream::connect(host).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// The signed URL of a PutObject of any body.
    pub async fn signed_put(&self, key: &str) -> String {
        let expiry = PresigningConfig::expires_in(Duration::from_secs(60)).unwrap();
        let put = self.client.put_object().bucket(BUCKET).key(key);
        put.presigned(expiry).await.unwrap().uri().to_owned()
    }

    pub async fn keys(&self) -> Vec<String> {
        let listing = self.client.list_objects_v2().bucket(BUCKET).send().await.unwrap();
        listing.contents().iter().map(|object| object.key.clone().unwrap()).collect()
    }
}

pub fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

pub fn client(url: &str, access_key: &str, secret_key: &str) -> Client {
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(url)
        .force_path_style(true)
        .credentials_provider(Credentials::new(access_key, secret_key, None, None, "test"))
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .retry_config(RetryConfig::disabled());
    Client::from_conf(config.build())
}

/// The S3 error code, or the HTTP status if the answer had no body to name one.
pub fn code<E: ProvideErrorMetadata + std::fmt::Debug>(error: SdkError<E>) -> String {
    let status = error.raw_response().map(|raw| raw.status().as_u16().to_string());
    let code = error.code().map(str::to_owned);
    code.or(status).unwrap_or_else(|| format!("{error:?}"))
}

/// Undoes `encoding-type=url`.
pub fn decoded(key: &str) -> String {
    percent_decode_str(&key.replace('+', " ")).decode_utf8().unwrap().into_owned()
}

/// Bytes that repeat nowhere near.
pub fn noise(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    fastrand::Rng::with_seed(len as u64).fill(&mut bytes);
    bytes
}
