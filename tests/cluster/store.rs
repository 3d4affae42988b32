//! The promises of `ObjectStore`, one suite for every server that an `S3Store` talks to.

use bytes::Bytes;
use futures_util::TryStreamExt;
use md5::{Digest, Md5};
use s3_endpoint::{Endpoint, EndpointOptions};
use s3_migration::error::{Error, ErrorKind};
use s3_migration::object::{ByteRange, Etag, ObjectId};
use s3_migration::store::s3::S3Store;
use s3_migration::store::{GetAnswer, GetRequest, NewObject, ObjectStore, Proof, Side, Written};
use tempfile::TempDir;

use testkit::ministack::{ACCOUNT_A, Ministack};
use testkit::resources;

mod bodies;
mod line;
mod objects;
mod uploads;
mod versions;

/// A store with one empty bucket.
struct Lab {
    store: Box<dyn ObjectStore>,
    bucket: String,
    _server: Option<(Endpoint, TempDir)>,
}

/// A server that we did not write.
async fn ministack() -> Lab {
    let server = Ministack::shared();
    let bucket = resources::bucket(&server.sdk_config(ACCOUNT_A)).await;
    let store = S3Store::with_key(Side::Source, &server.endpoint(), ACCOUNT_A, "test").await;
    Lab { store: Box::new(store), bucket, _server: None }
}

/// The same, all calls made by the SDK.
async fn ministack_by_sdk() -> Lab {
    let server = Ministack::shared();
    let bucket = resources::bucket(&server.sdk_config(ACCOUNT_A)).await;
    let store = S3Store::with_key(Side::Source, &server.endpoint(), ACCOUNT_A, "test").await;
    Lab { store: Box::new(store.by_sdk()), bucket, _server: None }
}

/// The endpoint of the demo.
async fn endpoint() -> Lab {
    on_endpoint(|store| store).await
}

/// The same, all calls made by the SDK.
async fn endpoint_by_sdk() -> Lab {
    on_endpoint(S3Store::by_sdk).await
}

async fn on_endpoint(way: impl Fn(S3Store) -> S3Store) -> Lab {
    let (folder, bucket) = (tempfile::tempdir().expect("a temporary folder"), "bucket".to_owned());
    let options = EndpointOptions {
        folder: folder.path().join("data"),
        access_key: "key".to_owned(),
        secret_key: "secret".to_owned(),
        buckets: vec![bucket.clone()],
        gate: None,
        own_etags: false,
    };
    let endpoint = Endpoint::start(options).await.expect("a free port");
    let store = S3Store::with_key(Side::Source, &endpoint.url(), "key", "secret").await;
    Lab { store: Box::new(way(store)), bucket, _server: Some((endpoint, folder)) }
}

impl Lab {
    fn id(&self, key: &str) -> ObjectId {
        ObjectId::new(&self.bucket, key)
    }

    async fn put(&self, key: &str, body: &[u8]) -> Written {
        let (id, new, digest) = (self.id(key), NewObject::default(), md5(body));
        let put = self.store.put(&id, &new, Bytes::copy_from_slice(body), digest).await;
        put.expect("a put")
    }

    async fn get(&self, key: &str) -> Result<Vec<u8>, Error> {
        self.store.get(&self.whole(key)).await.map(whole_body)?.await
    }

    /// The request for all bytes of an object.
    fn whole(&self, key: &str) -> GetRequest {
        GetRequest { id: self.id(key), version: None, range: None, if_match: None }
    }

    fn range(&self, key: &str, start: u64, len: u64) -> GetRequest {
        GetRequest { range: Some(ByteRange { start, len }), ..self.whole(key) }
    }

    fn pinned(&self, key: &str, etag: &Etag) -> GetRequest {
        GetRequest { if_match: Some(etag.clone()), ..self.whole(key) }
    }
}

async fn whole_body(answer: GetAnswer) -> Result<Vec<u8>, Error> {
    let chunks: Vec<Bytes> = answer.body.try_collect().await?;
    Ok(chunks.concat())
}

fn md5(body: &[u8]) -> Proof {
    Proof { md5: Some(Md5::digest(body).into()), crc64nvme: None }
}

fn kind<T>(answer: Result<T, Error>) -> Option<ErrorKind> {
    answer.err().map(|error| error.kind())
}

/// One test for each promise.
macro_rules! suite {
    ($lab:path) => {
        suite!($lab, objects:
            a_listing_goes_on_by_token_in_byte_order,
            a_listing_begins_at_the_prefix_and_after_a_key,
            every_key_is_listed_written_and_read_as_it_is,
            a_head_and_a_get_tell_the_same,
            a_range_is_read_and_the_whole_size_told,
            a_read_that_is_pinned_fails_once_the_object_is_replaced,
            what_is_missing_is_not_found,
            what_is_current_is_told_and_what_is_not_there_only_of_the_key,
            what_is_deleted_is_gone_and_may_be_deleted_again,
            a_body_with_another_digest_is_refused,
            headers_and_user_metadata_come_back,
            tags_come_back,
        );
        suite!($lab, uploads:
            parts_become_the_object,
            a_part_with_another_digest_is_refused,
            a_part_sent_again_replaces_the_one_before,
            only_uploads_of_the_very_key_are_listed,
            an_upload_that_has_ended_is_gone,
            a_completion_with_a_wrong_part_leaves_the_upload,
            metadata_of_an_upload_is_that_of_the_object,
        );
        suite!($lab, bodies:
            a_streamed_part_is_stored_with_and_without_a_checksum_behind_it,
            a_streamed_body_that_is_cut_or_of_another_length_stores_nothing,
            a_body_with_another_checksum_is_refused,
        );
    };
    ($lab:path, $module:ident: $($name:ident),* $(,)?) => {
        $(#[tokio::test]
        async fn $name() {
            super::$module::$name(&$lab().await).await;
        })*
    };
}

mod on_ministack {
    suite!(super::ministack);
}

mod on_ministack_by_sdk {
    suite!(super::ministack_by_sdk);
}

// What ministack does otherwise than Amazon S3: it takes undersized parts at completion, takes no
// tags for an upload, makes a checksum of the parts' checksums if one of the whole is wanted, and
// a thousand parts would keep it busy for long.
mod on_the_demos_endpoint {
    suite!(super::endpoint);
    suite!(super::endpoint, uploads:
        more_parts_than_fit_one_page_are_listed_in_order,
        a_part_that_is_too_small_is_refused_at_completion,
        tags_of_an_upload_are_those_of_the_object,
    );
    suite!(super::endpoint, bodies: the_checksum_of_an_upload_is_that_of_the_whole);
}

mod on_the_demos_endpoint_by_sdk {
    suite!(super::endpoint_by_sdk);
    suite!(super::endpoint_by_sdk, uploads: tags_of_an_upload_are_those_of_the_object);
    suite!(super::endpoint_by_sdk, bodies: the_checksum_of_an_upload_is_that_of_the_whole);
}
