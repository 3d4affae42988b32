//! Destinations and sources of other kinds: SSE-KMS, Object Lock, checksums, and answers that are no
//! store's.

use crate::bench::{Bench, LARGE, Object};
use crate::cloud::Cloud;
use testkit::local::{BUCKETS, MIB, Place, noise};
use testkit::proxy::{Answer, Fault, Outcome, Rule};
use testkit::resources::s3;
use testkit::stage::until;

/// A key of the destination's account.
const KEY: &str = "arn:aws:kms:us-east-1:222222222222:key/11111111-2222-3333-4444-555555555555";

/// Lets every new object of the destination be encrypted with SSE-KMS.
async fn encrypt_by_default(cloud: &Cloud) {
    use aws_sdk_s3::types::{
        ServerSideEncryption, ServerSideEncryptionByDefault, ServerSideEncryptionConfiguration,
        ServerSideEncryptionRule,
    };
    let by_default = ServerSideEncryptionByDefault::builder()
        .sse_algorithm(ServerSideEncryption::AwsKms)
        .kms_master_key_id(KEY)
        .build()
        .expect("a whole default");
    let rule = ServerSideEncryptionRule::builder()
        .apply_server_side_encryption_by_default(by_default)
        .build();
    let all = ServerSideEncryptionConfiguration::builder().rules(rule).build();
    let client = s3(cloud.stage.at_destination());
    let put = client.put_bucket_encryption().bucket(&cloud.stage.destination);
    let put = put.server_side_encryption_configuration(all.expect("a whole configuration"));
    put.send().await.expect("PutBucketEncryption");
}

/// Moves objects of these sizes into a bucket under SSE-KMS; no part is sent twice.
async fn arrives_under_kms(by_default: bool, settings: &[(&str, &str)], parts: usize) {
    let cloud = Cloud::of(&[0, 1000, LARGE]).await;
    if by_default {
        encrypt_by_default(&cloud).await;
    }
    cloud.send().await;
    let worker = cloud.worker(settings);
    cloud.assert_finished().await;
    // One more, with bytes that are not those of its Content-MD5: the bucket refuses them, and so
    // verifies what the others are proven by.
    assert_eq!(cloud.destination.calls("UploadPart"), parts + 1);
    for key in cloud.objects.keys() {
        let client = s3(cloud.stage.at_destination());
        let head = client.head_object().bucket(&cloud.stage.destination);
        let head = head.key(format!("moved/{key}")).send().await.expect("HeadObject");
        let sse = head.server_side_encryption().map(|sse| sse.as_str().to_owned());
        assert_eq!(sse.as_deref(), Some("aws:kms"), "{key}");
    }
    worker.terminate().await;
}

/// Promise 3.
#[tokio::test]
async fn under_kms_every_part_is_verified_in_front_and_sent_once() {
    arrives_under_kms(false, &[("Destination_SSE", "aws:kms"), ("KmsKeyId", KEY)], 3).await;
    arrives_under_kms(true, &[], 3).await;
}

// An upload that another process has begun: the record says that its parts were sent after their
// digests.
/// Promise 3.
#[tokio::test]
async fn under_kms_an_upload_is_continued_and_no_part_sent_again() {
    for verify in ["False", "True"] {
        let cloud = Cloud::of(&[LARGE]).await;
        encrypt_by_default(&cloud).await;
        let held = Rule::on("CompleteMultipartUpload", Fault::Hold).once();
        let held = cloud.destination.inject(1, vec![held]);
        cloud.send().await;
        let settings = [("VisibilityTimeout", "10"), ("ifVerifyMD5Twice", verify)];
        let killed = cloud.worker(&settings);
        held.held().await;
        drop(killed);
        held.drop_held();
        held.end();
        let _second = cloud.worker(&settings);
        cloud.assert_finished().await;
        // Each part is taken once. What is refused is the look of each worker whether the bucket
        // verifies Content-MD5: the second one trusts no part without it.
        let seen = cloud.destination.seen();
        let parts = seen.iter().filter(|seen| seen.call.operation == "UploadPart");
        let answers: Vec<_> = parts.map(|seen| seen.outcome).collect();
        let count = |status| answers.iter().filter(|o| **o == Outcome::Status(status)).count();
        assert_eq!((count(200), count(400), answers.len()), (3, 2, 5), "{verify}: {answers:?}");
    }
}

// 400 InvalidRequest, as Amazon S3 says it if a bucket has Object Lock.
/// Promise 3.
#[tokio::test]
async fn a_store_that_wants_a_digest_in_front_of_every_part_gets_one() {
    let mut bench = Bench::new().await;
    bench.put("another", noise(LARGE, 3)).await;
    let answer = Answer {
        message: "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Part requests with \
                  Object Lock parameters",
        ..Answer::of(400, "InvalidRequest")
    };
    let rule = Rule::on("UploadPart", Fault::Answer(answer)).lacking("content-md5:");
    let locked = bench.destination.inject(1, vec![rule]);
    bench.arrives().await;
    assert!(locked.injected() >= 1);
}

/// The CRC-64/NVME that one side keeps of an object, if it keeps one.
async fn crc64nvme(place: &Place, side: usize, key: &str) -> Option<String> {
    let head = place.client.head_object().bucket(BUCKETS[side]).key(key);
    let head = head.checksum_mode(aws_sdk_s3::types::ChecksumMode::Enabled).send().await;
    head.expect("HeadObject").checksum_crc64_nvme().map(str::to_owned)
}

/// A run with this Checksum; both objects have a CRC-64/NVME of their own at the destination.
async fn arrives_with(checksum: &str) {
    let mut bench = Bench::new().await;
    bench.local.set("Checksum", checksum);
    bench.put("empty", Vec::new()).await;
    let faults = vec![
        Rule::on("PutObject", Fault::FlipInRequest(5_000)).containing("small").once(),
        Rule::on("UploadPart", Fault::FlipInRequest(50_000)).part(2).once(),
        Rule::on("UploadPart", Fault::LostAnswer).part(3).once(),
    ];
    bench.arrives_in_spite_of(Vec::new(), faults).await;
    for key in bench.objects().keys() {
        assert!(
            crc64nvme(&bench.local.destination, 1, key).await.is_some(),
            "{key} has no checksum"
        );
    }
}

/// Promise 3.
#[tokio::test]
async fn what_is_bent_on_the_way_up_is_refused_whatever_the_checksum() {
    arrives_with("CRC64NVME").await;
    arrives_with("both").await;
}

// A source that keeps checksums of whole objects is a proof against the line, whatever was read
// over it: the parts make the very checksum that the source has, or the upload is begun anew.
/// Promise 3.
#[tokio::test]
async fn what_is_bent_on_the_way_down_is_found_by_the_sources_own_checksum() {
    let mut bench = Bench::empty().await;
    bench.local.set("Checksum", "CRC64NVME");
    for (key, size) in [("small", 100_000), ("large", LARGE)] {
        bench.put_with_checksum(key, noise(size, 2)).await;
    }
    let flip =
        |key: &str| Rule::on("GetObject", Fault::FlipInAnswer(50_000)).containing(key).once();
    bench.arrives_in_spite_of(vec![flip("small"), flip("large")], Vec::new()).await;
    for key in ["small", "large"] {
        let kept = crc64nvme(&bench.local.source, 0, key).await;
        assert!(
            kept.is_some() && kept == crc64nvme(&bench.local.destination, 1, key).await,
            "{key}"
        );
    }
    // The part that was bent is sent again within its upload.
    assert_eq!(bench.destination.calls("CreateMultipartUpload"), 1);
}

// A proxy's page with status 200 is neither an object nor a proof that one was written.
/// Promise 3.
#[tokio::test]
async fn a_success_without_an_etag_is_not_the_stores() {
    let bench = Bench::new().await;
    let page = || Fault::Answer(Answer::of(200, "Welcome"));
    let reads = vec![
        Rule::on("GetObject", page()).containing("small").once(),
        Rule::on("GetObject", page()).containing("large").once(),
    ];
    let writes = vec![Rule::on("PutObject", page()).once(), Rule::on("UploadPart", page()).once()];
    bench.arrives_in_spite_of(reads, writes).await;
}

// S3 answers a HEAD with a bare 400 if credentials have expired or SSE-C wants a key; a GET says
// why.
/// Promise 9.
#[tokio::test]
async fn a_head_that_is_refused_without_a_reason_is_asked_again_by_a_get() {
    let bench = Bench::new().await;
    let bare = Rule::on("HeadObject", Fault::error(400, "")).most(2);
    bench.arrives_in_spite_of(vec![bare], Vec::new()).await;

    let bench = Bench::new().await;
    let (head, get) = (Fault::error(400, ""), Fault::error(400, "InvalidRequest"));
    let rules = vec![Rule::on("HeadObject", head), Rule::on("GetObject", get).containing("large")];
    bench.source.inject(1, rules);
    let ended = bench.local.run(&["run", testkit::local::ALL[0], testkit::local::ALL[1]]).await;
    let ended = ended.with_status(1);
    assert!(ended.all().contains("GetObject s3://from-here/large (source): InvalidRequest"));
    assert!(bench.source.calls("HeadObject") <= 6, "what is refused for good is not asked again");
}

// What cannot be put on record makes all work worthless: the worker says so and ends.
/// A worker that may not make these calls to the table, on objects of these sizes.
async fn ends_and_buries_nothing(sizes: &[usize], calls: &[&'static str]) {
    let cloud = Cloud::of(sizes).await;
    cloud.send().await;
    let denied = |call: &&'static str| Rule::on(call, Fault::error(400, "AccessDeniedException"));
    let refused = cloud.table.inject(1, calls.iter().map(denied).collect());
    let mut worker = cloud.worker(&[]);
    assert_eq!(worker.ended().await.code(), Some(3), "{}", worker.log());
    let says = calls[calls.len() - 1];
    until("the log is whole", async || worker.log().contains(says).then_some(())).await;
    refused.end();
    let status = cloud.stage.status().await;
    assert_eq!((&status["dead"], &status["failed"]), (&0.into(), &0.into()), "{status}");
    let _worker = cloud.worker(&[]);
    cloud.assert_finished().await;
}

/// Promise 9.
#[tokio::test]
async fn a_worker_whose_records_are_refused_ends_and_buries_nothing() {
    ends_and_buries_nothing(&[10, 20, 30, 40], &["BatchExecuteStatement", "UpdateItem"]).await;
    // It may write them, and not read them: what it fails to read is no object's fault.
    ends_and_buries_nothing(&[12 * MIB, 12 * MIB + 1, 12 * MIB + 2], &["GetItem"]).await;
}

// A PUT that is tried again for minutes may come after a newer copy by somebody else.
/// Promise 2.
#[tokio::test]
async fn a_small_object_replaced_while_its_put_is_tried_again_arrives_new() {
    let mut bench = Bench::empty().await;
    bench.put("small", noise(MIB, 1)).await;
    let rules = vec![
        Rule::on("PutObject", Fault::slow_down()).once(),
        Rule::on("PutObject", Fault::Hold).once(),
    ];
    let held = bench.destination.inject(1, rules);
    let running = bench.local.spawn(&["run", testkit::local::ALL[0], testkit::local::ALL[1]]);
    held.held().await;
    bench.put("small", noise(MIB, 2)).await;
    held.let_go();
    running.ended().await.with_status(0);
    bench.assert_arrived().await;
}

// HEAD tells of it, GET does not give it: nobody will continue an upload that has no part.
/// Promise 8.
#[tokio::test]
async fn a_large_object_that_cannot_be_read_leaves_no_upload() {
    for (status, code, words) in [
        (403, "InvalidObjectState", "restore it"),
        (403, "AccessDenied", "GetObject needs s3:GetObject"),
        (400, "KMS.DisabledException", "KMS key cannot be used"),
    ] {
        let bench = Bench::new().await;
        let rule = Rule::on("GetObject", Fault::error(status, code)).containing("large");
        bench.source.inject(1, vec![rule]);
        let ended = bench.local.run(&["run", testkit::local::ALL[0], testkit::local::ALL[1]]).await;
        let ended = ended.with_status(1);
        assert!(ended.stdout.contains(words), "{}", ended.all());
        assert_eq!(bench.local.destination.uploads().await, 0, "{code}");
        assert_eq!(bench.local.destination.keys().await, ["small"]);
    }
}

// Whoever makes the call: ours or the SDK's.
/// Promise 5.
#[tokio::test]
async fn every_request_says_what_the_configuration_wants() {
    for path in ["lean", "sdk"] {
        let mut bench = Bench::new().await;
        for (key, value) in [
            ("HttpPath", path),
            ("RequestPayer", "True"),
            ("Destination_ACL", "bucket-owner-full-control"),
            ("Destination_SSE", "AES256"),
            ("StorageClass", "STANDARD_IA"),
        ] {
            bench.local.set(key, value);
        }
        let wrong = || Fault::error(400, "InvalidRequest");
        let payer = Rule::always(wrong()).lacking("x-amz-request-payer: requester");
        let missing = |operation| {
            [
                "x-amz-acl: bucket-owner-full-control",
                "x-amz-server-side-encryption: aes256",
                "x-amz-storage-class: standard_ia",
            ]
            .map(|header| Rule::on(operation, wrong()).lacking(header))
        };
        let written = [missing("PutObject"), missing("CreateMultipartUpload")].concat();
        let faults = [bench.source.inject(1, vec![payer]), bench.destination.inject(1, written)];
        bench.arrives().await;
        assert!(faults.iter().all(|faults| faults.injected() == 0), "{path}");
    }
}

// A missing permission for tags is worth a warning, and not the objects.
/// Promise 5.
#[tokio::test]
async fn objects_whose_tags_may_not_be_read_arrive_without_them_and_with_one_warning() {
    let mut bench = Bench::empty().await;
    for (key, size) in [("one", 10), ("two", 20), ("large", LARGE)] {
        let object = Object { body: noise(size, 1), headers: true, tags: true };
        bench.put_object(key, object).await;
    }
    let denied = Rule::on("GetObjectTagging", Fault::error(403, "AccessDenied"));
    let denied = bench.source.inject(1, vec![denied]);
    let ended = bench.arrives().await;
    assert_eq!(denied.injected(), 3);
    let warning = "objects are copied without their tags";
    assert_eq!(ended.stderr.matches(warning).count(), 1, "{}", ended.all());
    assert!(ended.stderr.contains("s3:GetObjectTagging"), "{}", ended.all());
}
