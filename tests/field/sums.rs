//! Checksums that the source keeps of its objects.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use s3_migration::digest::sums::{Algorithm, of};

use crate::http::{Answer, Request};
use crate::stage::{FROM, Stage};
use crate::store::{MIB, Object};

const KIND: &str = "x-amz-checksum-type";

fn noise(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at.wrapping_mul(at) >> 5) as u8).collect()
}

/// As a header has it.
fn told(algorithm: Algorithm, data: &[u8]) -> String {
    BASE64_STANDARD.encode(of(algorithm, data).bytes())
}

/// An object with a checksum of `vouched`, which may be other bytes than its own. Its ETag is that of an
/// upload in parts, or under SSE-KMS: nothing but the checksum tells of the whole.
fn vouched(algorithm: Algorithm, data: Vec<u8>, vouched: &[u8], in_parts: bool) -> Object {
    let size = data.len();
    let object = match in_parts {
        true => Object::new(data).in_parts(&[size / 2, size - size / 2]),
        false => Object::new(data).header("x-amz-server-side-encryption", "aws:kms"),
    };
    let object = object.header(algorithm.header(), told(algorithm, vouched));
    object.header(KIND, "FULL_OBJECT")
}

/// The store tells checksums to those only that ask.
async fn stage(path: &str) -> Stage {
    let mut stage = Stage::new().await;
    stage.set("HttpPath", path);
    stage.store.edit(|request, answer, _| {
        if request.header("x-amz-checksum-mode") != "ENABLED" {
            answer.headers.retain(|(name, _)| !name.starts_with("x-amz-checksum-"));
        }
    });
    stage
}

/// Promise 3.
#[tokio::test]
async fn what_was_sent_is_compared_with_the_checksum_of_the_source() {
    for path in ["lean", "sdk"] {
        let stage = stage(path).await;
        let mut objects = 0;
        for algorithm in Algorithm::ALL {
            for (size, in_parts) in [(300, false), (12 * MIB, false), (12 * MIB, true)] {
                let data = noise(size);
                let object = vouched(algorithm, data.clone(), &data, in_parts);
                stage.store.put(format!("{algorithm:?}{size}{in_parts}"), object);
                objects += 1;
            }
        }
        let ended = stage.run(&["run", "--json", "s3://from-here", "s3://to-there"]).await;
        let report: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
        ended.with_status(0);
        stage.store.assert_whole();
        assert_eq!(report["proofs"]["source"], objects, "{path}: {report}");
    }
}

/// Promise 3.
#[tokio::test]
async fn an_object_that_is_not_what_its_checksum_says_is_damaged_at_the_source() {
    for path in ["lean", "sdk"] {
        for algorithm in Algorithm::ALL {
            let stage = stage(path).await;
            for (key, size, in_parts) in
                [("small", 300, false), ("large", 12 * MIB, false), ("parts", 12 * MIB, true)]
            {
                let (data, mut other) = (noise(size), noise(size));
                other[size / 3] ^= 1;
                stage.store.put(key, vouched(algorithm, data, &other, in_parts));
            }
            // Its ETag is right, and it goes in one streamed piece.
            let (data, other) = (noise(7 * MIB), noise(7 * MIB - 1));
            let streamed = Object::new(data).header(algorithm.header(), told(algorithm, &other));
            stage.store.put("streamed", streamed);
            stage.store.put("good", Object::new("x"));
            let ended = stage.migrate().await.with_status(1);
            stage.store.assert_arrived(&["good"]);
            let data = stage.store.data();
            let arrived: Vec<_> = data.destination().keys().collect();
            assert_eq!(arrived, [b"good"], "{path} {algorithm:?}: {}", ended.all());
            assert!(data.uploads.is_empty(), "{path} {algorithm:?}: an upload is left");
            assert!(ended.all().contains(algorithm.name()), "{algorithm:?}: {}", ended.all());
            assert!(ended.all().contains("damaged at the source"), "{}", ended.all());
        }
    }
}

/// Promise 3.
#[tokio::test]
async fn bytes_that_flip_are_read_again_until_they_have_their_checksum() {
    for algorithm in Algorithm::ALL {
        let stage = stage("lean").await;
        for (key, size) in [("small", 300), ("large", 12 * MIB)] {
            let data = noise(size);
            stage.store.put(key, vouched(algorithm, data.clone(), &data, false));
        }
        let mut bodies = 0;
        stage.store.edit(move |request, answer, _| {
            if request.reads() && answer.body.len() > 100 {
                bodies += 1;
                if bodies <= 3 {
                    answer.body[bodies] ^= 4;
                }
            }
        });
        stage.migrate().await.with_status(0);
        stage.store.assert_whole();
    }
}

/// Promise 3.
#[tokio::test]
async fn a_checksum_of_the_parts_is_none_of_the_whole() {
    let stage = stage("lean").await;
    let data = noise(12 * MIB);
    for (key, kind) in [("composite", Some("COMPOSITE")), ("untold", None)] {
        let object = Object::new(data.clone()).in_parts(&[8 * MIB, 4 * MIB]);
        let object = object.header("x-amz-checksum-crc32", "AAAAAA==");
        let kind = kind.into_iter();
        stage.store.put(key, kind.fold(object, |object, kind| object.header(KIND, kind)));
    }
    stage.migrate().await.with_status(0);
    stage.store.assert_whole();
}

/// Promise 3.
#[tokio::test]
async fn a_store_that_refuses_to_be_asked_for_checksums_is_not_asked_again() {
    for (path, status) in [("lean", 400), ("lean", 501), ("sdk", 400), ("sdk", 501)] {
        let mut stage = stage(path).await;
        stage.set("MaxParallelFile", "1");
        stage.store.put("large", Object::new(noise(12 * MIB)));
        for i in 0..20 {
            stage.store.put(format!("k{i}"), Object::new("x"));
        }
        let asks = |request: &Request| !request.header("x-amz-checksum-mode").is_empty();
        stage.store.answer(move |request, _| {
            let refused = request.bucket == FROM && asks(request);
            refused.then(|| Answer::error(status, "InvalidArgument", "x-amz-checksum-mode"))
        });
        let ended = stage.migrate().await.with_status(0);
        stage.store.assert_whole();
        assert_eq!(ended.stderr.matches("[no-checksums]").count(), 1, "{}", ended.stderr);
        assert!(stage.store.asked(asks) < 10, "{path} {status}: asked again and again");
    }
}
