//! Two endpoints, a proxy before each, and what must be true in the end.

use std::collections::BTreeMap;

use testkit::local::{ALL, BUCKETS, Local, MIB, Place, noise};
use testkit::process::Ended;
use testkit::proxy::{Proxy, Rule};

/// Bytes of an object in three parts.
pub const LARGE: usize = 11 * MIB;

/// Two endpoints, a proxy before each, and the binary that knows the proxies only.
pub struct Bench {
    pub local: Local,
    pub source: Proxy,
    pub destination: Proxy,
    objects: BTreeMap<String, Object>,
}

/// What is to be moved.
#[derive(Clone)]
pub struct Object {
    pub body: Vec<u8>,
    /// With headers and user metadata of its own.
    pub headers: bool,
    pub tags: bool,
}

impl Bench {
    /// With two buckets that are empty.
    pub async fn empty() -> Self {
        Self::of(Local::new().await).await
    }

    /// As [`Self::empty`], of two places that are there.
    pub async fn of(mut local: Local) -> Self {
        let source = Proxy::before_url(&local.source.endpoint.url()).await;
        let destination = Proxy::before_url(&local.destination.endpoint.url()).await;
        local.set("Source_Endpoint", source.url());
        local.set("Destination_Endpoint", destination.url());
        Self { local, source, destination, objects: BTreeMap::new() }
    }

    /// With an object in one piece and one in three parts.
    pub async fn new() -> Self {
        let mut bench = Self::empty().await;
        bench.put("small", noise(100_000, 1)).await;
        bench.put("large", noise(LARGE, 2)).await;
        bench
    }

    /// Puts an object into the source.
    pub async fn put(&mut self, key: &str, body: Vec<u8>) {
        self.put_object(key, Object { body, headers: false, tags: false }).await;
    }

    /// As [`Self::put`], with a CRC-64/NVME that the source keeps.
    pub async fn put_with_checksum(&mut self, key: &str, body: Vec<u8>) {
        let crc64nvme = base64::Engine::encode(
            &base64::prelude::BASE64_STANDARD,
            s3_migration::digest::crc64nvme(&body).to_be_bytes(),
        );
        let put = self.local.source.client.put_object().bucket(BUCKETS[0]).key(key);
        let put = put.checksum_crc64_nvme(crc64nvme).body(body.clone().into());
        put.send().await.expect("PutObject");
        self.objects.insert(key.to_owned(), Object { body, headers: false, tags: false });
    }

    /// As [`Self::put`], with all that an object can have.
    pub async fn put_object(&mut self, key: &str, object: Object) {
        let put = self.local.source.client.put_object().bucket(BUCKETS[0]).key(key);
        let put = match object.headers {
            true => put
                .content_type("text/x-log; charset=utf-8")
                .content_encoding("gzip")
                .content_language("de-AT")
                .content_disposition("attachment; filename=\"x\"")
                .cache_control("max-age=7")
                .metadata("colour", "blue")
                .metadata("length", object.body.len().to_string()),
            false => put,
        };
        let put = put.set_tagging(object.tags.then(|| "team=sea&a=b%20c".to_owned()));
        put.body(object.body.clone().into()).send().await.expect("PutObject");
        self.objects.insert(key.to_owned(), object);
    }

    /// Everything that is in the source.
    pub fn objects(&self) -> &BTreeMap<String, Object> {
        &self.objects
    }

    /// `run` of the two whole buckets, which must bring everything across.
    pub async fn arrives(&self) -> Ended {
        let ended = self.local.run(&["run", ALL[0], ALL[1], "--json"]).await.with_status(0);
        self.assert_arrived().await;
        let summary = ended.json();
        let all = self.objects.len();
        let (found, closing) = (&summary["compared"], &summary["closing"]);
        let accounts = [
            &found["listed"],
            &found["to_copy"],
            &summary["copied"],
            &closing["listed"],
            &closing["already_there"],
        ];
        assert!(accounts.iter().all(|count| **count == all), "{summary}");
        let nothing = [&summary["failed_count"], &closing["to_copy"], &found["already_there"]];
        assert!(nothing.iter().all(|count| **count == 0), "{summary}");
        ended
    }

    /// As [`Self::arrives`], with these faults on either side, each of which must have happened.
    pub async fn arrives_in_spite_of(&self, source: Vec<Rule>, destination: Vec<Rule>) -> Ended {
        let source = self.source.inject(1, source);
        let destination = self.destination.inject(1, destination);
        let ended = self.arrives().await;
        for (side, faults) in [("source", source), ("destination", destination)] {
            let missed = faults.missed();
            assert!(missed.is_empty(), "never at the {side}: {missed:?}: {}", ended.all());
        }
        ended
    }

    /// Every object is at the destination, byte for byte, and nothing else is; no upload is left.
    pub async fn assert_arrived(&self) {
        self.assert_equal().await;
        assert_eq!(self.local.destination.uploads().await, 0, "no upload is left");
    }

    /// Every object is at the destination, byte for byte, and no other.
    pub async fn assert_equal(&self) {
        for (key, Object { body, .. }) in &self.objects {
            let there = self.local.destination.get(key).await;
            let differs = there.iter().zip(body.iter()).filter(|(one, other)| one != other).count();
            let (here, there) = (body.len(), there.len());
            assert!(
                differs == 0 && here == there,
                "{key} is not what it was: {differs} bytes differ, of {here}, and {there} are there"
            );
        }
        let expected: Vec<_> = self.objects.keys().cloned().collect();
        assert_eq!(self.local.destination.keys().await, expected);
    }

    /// Every object has the headers, metadata and tags at the destination that it has at the source.
    pub async fn assert_same_headers(&self) {
        for key in self.objects.keys() {
            let (from, to) = (&self.local.source, &self.local.destination);
            let (from, to) =
                (described(from, BUCKETS[0], key).await, described(to, BUCKETS[1], key).await);
            assert_eq!(from, to, "{key}");
        }
    }
}

/// Everything that is kept with an object's bytes, in words.
async fn described(place: &Place, bucket: &str, key: &str) -> Vec<String> {
    let head = place.client.head_object().bucket(bucket).key(key).send().await.expect("HeadObject");
    let headers = [
        head.content_type(),
        head.content_encoding(),
        head.content_language(),
        head.content_disposition(),
        head.cache_control(),
        head.expires_string(),
    ];
    let mut metadata: Vec<_> = head.metadata().into_iter().flatten().collect();
    metadata.sort();
    let tags = place.client.get_object_tagging().bucket(bucket).key(key).send().await;
    let tags = tags.expect("GetObjectTagging").tag_set;
    let described = headers.iter().map(|value| format!("{value:?}"));
    let metadata = metadata.into_iter().map(|pair| format!("{pair:?}"));
    described.chain(metadata).chain(tags.into_iter().map(|tag| format!("{tag:?}"))).collect()
}
