//! Proofs of parts: what is damaged on the way, found late, or continued by another attempt.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::http::{Answer, Length, Request};
use crate::proof::{migrate, noise, own_etags, stage_proofs};
use crate::stage::{FROM, Stage, TO};
use crate::store::{Data, MIB, Object, md5};

/// Whether the bytes from the beginning of part `number` are asked for, in parts of `part_size`.
fn reads_part(request: &Request, number: usize, part_size: usize) -> bool {
    let range = format!("bytes={}-", (number - 1) * part_size);
    request.reads() && request.header("range").starts_with(&range)
}

fn sends_part(request: &Request, number: &str) -> bool {
    request.is_part() && request.query["partNumber"] == number
}

/// The first body that the source sends of a part of each object has a wrong byte.
fn flip_first_reading(stage: &Stage, number: usize, part_size: usize) {
    let mut readings = BTreeMap::<Vec<u8>, u32>::new();
    stage.store.edit(move |request, answer, _| {
        if reads_part(request, number, part_size) {
            let readings = readings.entry(request.key.clone()).or_default();
            *readings += 1;
            if *readings == 1 {
                answer.body[1000] ^= 0x40;
            }
        }
    });
}

/// A destination under SSE-KMS, which names it in every answer. Parts go with their digest in front.
fn kms(stage: &mut Stage) {
    stage.set("Destination_SSE", "aws:kms");
    own_etags(stage, true);
    stage.store.edit(|request, answer, _| {
        if request.bucket == TO && request.method != "GET" {
            answer.set("x-amz-server-side-encryption", "aws:kms");
        }
    });
}

/// The source refuses or cuts what the store answers to the readings of a part with these numbers.
fn spoil_readings(stage: &Stage, part: (usize, usize), spoilt: [u32; 2], cut: bool) {
    let mut reading = 0;
    stage.store.edit(move |request, answer, _| {
        if reads_part(request, part.0, part.1) {
            reading += 1;
            if spoilt.contains(&reading) && cut {
                answer.length = Length::Claimed(answer.body.len() as u64);
                answer.body.truncate(answer.body.len() / 2);
            } else if spoilt.contains(&reading) {
                *answer = Answer::error(500, "InternalError", "not now");
            }
        }
    });
}

/// Promises 0, 3.
#[tokio::test]
async fn a_damaged_part_is_found_where_no_memory_is_to_spare() {
    // Parts of 20 MiB are too large to be held.
    for part_mib in [16, 20] {
        let mut stage = Stage::new().await;
        stage.set("MaxMemory", "32");
        stage.set("ChunkSize", &part_mib.to_string());
        stage.set("StreamThreshold", "0");
        // Both are read again at the same time.
        for key in ["a", "b"] {
            stage.store.put(key, Object::new(noise(40 * MIB, 7)));
        }
        flip_first_reading(&stage, 2, part_mib * MIB);
        spoil_readings(&stage, (1, part_mib * MIB), [3, 5], true);
        let (said, report) = migrate(&stage, 0).await;
        stage.store.assert_whole();
        assert_eq!(stage_proofs(&report["proofs"]), (2, 0, 0), "{said}");
        assert_eq!(stage.store.asked(|r| sends_part(r, "2")), 4, "{said}");
        assert_eq!(stage.store.asked(|r| sends_part(r, "1")), 2, "{said}");
    }
}

/// Promise 6.
#[tokio::test]
async fn with_little_memory_no_part_is_read_twice() {
    let mut stage = Stage::new().await;
    stage.set("MaxMemory", "32");
    stage.set("StreamThreshold", "0");
    for key in ["a", "b"] {
        stage.store.put(key, Object::new(noise(60 * MIB, 7)));
    }
    let (said, report) = migrate(&stage, 0).await;
    stage.store.assert_whole();
    assert_eq!(stage_proofs(&report["proofs"]), (2, 0, 0), "{said}");
    for part in 1..=12 {
        assert_eq!(stage.store.asked(|r| reads_part(r, part, 5 * MIB)), 2, "part {part}: {said}");
    }
}

/// Promises 0, 3.
#[tokio::test]
async fn damage_that_was_found_is_not_forgotten_when_the_second_look_fails() {
    let mut stage = Stage::new().await;
    kms(&mut stage);
    stage.store.put("x", Object::new(noise(12 * MIB, 1)));
    flip_first_reading(&stage, 2, 5 * MIB);
    spoil_readings(&stage, (2, 5 * MIB), [2, 3], false);
    let (said, report) = migrate(&stage, 0).await;
    stage.store.assert_whole();
    assert_eq!(stage_proofs(&report["proofs"]), (1, 0, 0), "{said}");
    // The other attempt has begun anew.
    assert_eq!(stage.store.asked(|r| sends_part(r, "3")), 2, "{said}");
}

/// Promises 0, 3.
#[tokio::test]
async fn a_second_look_outlasts_a_cut_body() {
    let stage = Stage::new().await;
    stage.store.put("x", Object::new(noise(12 * MIB, 1)));
    flip_first_reading(&stage, 2, 5 * MIB);
    spoil_readings(&stage, (2, 5 * MIB), [2, 4], true);
    let (said, report) = migrate(&stage, 0).await;
    stage.store.assert_whole();
    assert_eq!(stage_proofs(&report["proofs"]), (1, 0, 0), "{said}");
    assert_eq!(stage.store.asked(|r| reads_part(r, 1, 5 * MIB)), 2, "one attempt: {said}");
}

/// The destination refuses part 3 as often as one attempt tries.
fn refuse_part_three(stage: &Stage) {
    let mut refused = 0;
    stage.store.answer(move |request, _| {
        let refuses = sends_part(request, "3") && refused < 2;
        refused += u32::from(refuses);
        refuses.then(|| Answer::error(500, "InternalError", "not now"))
    });
}

/// Promises 0, 3.
#[tokio::test]
async fn a_part_of_an_earlier_attempt_that_nobody_compared_is_not_vouched_for() {
    let mut stage = Stage::new().await;
    stage.set("MaxThread", "1");
    kms(&mut stage);
    stage.store.put("x", Object::new(noise(12 * MIB, 1)));
    refuse_part_three(&stage);
    let (said, report) = migrate(&stage, 0).await;
    stage.store.assert_whole();
    assert_eq!(stage.store.asked(|r| sends_part(r, "2")), 1, "continued: {said}");
    assert_eq!(stage_proofs(&report["proofs"]), (0, 1, 0), "{said}");
}

/// Promises 0, 3.
#[tokio::test]
async fn a_damaged_part_of_an_earlier_attempt_is_found_by_the_checksum_of_the_whole() {
    let mut stage = Stage::new().await;
    stage.set("MaxThread", "1");
    let data = noise(12 * MIB, 1);
    let crc = BASE64_STANDARD.encode(crc_fast::crc64_nvme(&data).to_be_bytes());
    stage.store.put("x", Object::new(data));
    stage.store.edit(move |request, answer, _| {
        if request.bucket == FROM && request.key() == "x" {
            answer.set("x-amz-checksum-crc64nvme", crc.clone());
            answer.set("x-amz-checksum-type", "FULL_OBJECT");
        }
    });
    flip_first_reading(&stage, 2, 5 * MIB);
    refuse_part_three(&stage);
    let (said, report) = migrate(&stage, 0).await;
    stage.store.assert_whole();
    assert_eq!(stage.store.asked(|r| sends_part(r, "1")), 1, "continued: {said}");
    assert_eq!(stage_proofs(&report["proofs"]), (1, 0, 0), "{said}");
}

/// A destination whose ETags of parts are in no MD5's form, and that takes a body whatever its
/// Content-MD5.
fn nameless(stage: &Stage) {
    stage.store.answer(|request, _| {
        request.headers.retain(|(name, _)| name != "content-md5");
        None
    });
    stage.store.edit(|request, answer, data: &mut Data| {
        if request.is_part() && answer.status == 200 {
            let number = request.query["partNumber"].parse::<u32>().unwrap();
            let stored = &data.uploads[&request.query["uploadId"]].parts[&number];
            answer.set("ETag", format!("\"own-{}\"", md5(stored)));
        }
        if request.method == "GET" && request.asks("uploadId") {
            let text = String::from_utf8(std::mem::take(&mut answer.body)).unwrap();
            answer.body = text.replace("<ETag>&quot;", "<ETag>&quot;own-").into_bytes();
        }
    });
    stage.store.data().completed_etag = Box::new(|parts| format!("\"own-{}\"", parts.len()));
}

/// Promise 0.
#[tokio::test]
async fn parts_are_verified_by_what_was_answered_and_not_by_what_was_asked_for() {
    for (checksum, ranges) in [("CRC64NVME", true), ("MD5", true), ("MD5", false)] {
        let mut stage = Stage::new().await;
        stage.set("Checksum", checksum);
        stage.store.put("x", Object::new(noise(12 * MIB, 1)));
        nameless(&stage);
        if !ranges {
            stage.store.answer(|request, _| {
                request.headers.retain(|(name, _)| name != "range");
                None
            });
        }
        let (said, report) = migrate(&stage, 0).await;
        stage.store.assert_whole();
        assert_eq!(stage_proofs(&report["proofs"]), (0, 0, 1), "{checksum} {ranges}: {said}");
    }
}

/// Promise 0.
#[tokio::test]
async fn an_md5_etag_proves_a_part_where_the_checksum_asked_for_is_not_answered() {
    let mut stage = Stage::new().await;
    stage.set("Checksum", "CRC64NVME");
    stage.store.put("x", Object::new(noise(12 * MIB, 1)).etag("\"own\""));
    let (said, report) = migrate(&stage, 0).await;
    stage.store.assert_whole();
    assert_eq!(stage_proofs(&report["proofs"]), (0, 1, 0), "{said}");
    assert_eq!(stage.store.asked(Request::is_part), 3, "streamed once each: {said}");
}

/// Promise 3.
#[tokio::test]
async fn a_checksum_that_a_store_answers_is_compared_with_what_was_sent() {
    let mut stage = Stage::new().await;
    stage.set("Checksum", "CRC64NVME");
    stage.store.put("x", Object::new(noise(12 * MIB, 1)).etag("\"own\""));
    let mut damaged = false;
    stage.store.edit(move |request, answer, data: &mut Data| {
        if request.is_part() && answer.status == 200 {
            let number = request.query["partNumber"].parse::<u32>().unwrap();
            let upload = data.uploads.get_mut(&request.query["uploadId"]).unwrap();
            let stored = upload.parts.get_mut(&number).unwrap();
            if number == 2 && !damaged {
                damaged = true;
                stored[7] ^= 1;
            }
            let crc = crc_fast::crc64_nvme(stored).to_be_bytes();
            answer.set("x-amz-checksum-crc64nvme", BASE64_STANDARD.encode(crc));
        }
    });
    nameless(&stage);
    let (said, report) = migrate(&stage, 0).await;
    stage.store.assert_whole();
    assert_eq!(stage_proofs(&report["proofs"]), (0, 1, 0), "{said}");
    assert_eq!(stage.store.asked(|r| sends_part(r, "2")), 2, "{said}");
}

/// Promise 8.
#[tokio::test]
async fn a_completion_without_an_etag_is_known_by_the_object_that_it_made() {
    for (what, lost, repeats) in [
        ("its answer is lost", true, false),
        ("it is always answered without a body", false, false),
        ("and the same when it is sent again", false, true),
    ] {
        let stage = Stage::new().await;
        stage.store.put("x", Object::new(noise(12 * MIB, 1)));
        stage.store.data().completed_etag = Box::new(|parts| format!("\"own-{}\"", parts.len()));
        stage.store.answer(move |request, data: &mut Data| {
            let is_known = || data.uploads.contains_key(&request.query["uploadId"]);
            let again = repeats && request.is_completion() && !is_known();
            again.then(|| Answer::new(200, ""))
        });
        stage.store.edit(move |request, answer, _| {
            if request.is_completion() && answer.status == 200 {
                *answer = match lost {
                    true => Answer::dropped(),
                    false => Answer::new(200, ""),
                };
            }
        });
        let (said, report) = migrate(&stage, 0).await;
        stage.store.assert_whole();
        assert_eq!(stage_proofs(&report["proofs"]), (1, 0, 0), "{what}: {said}");
        assert_eq!(stage.store.asked(Request::is_part), 3, "{what}: {said}");
    }
}

/// Promises 0, 8.
#[tokio::test]
async fn an_older_object_of_the_same_size_is_not_taken_for_the_upload_that_is_gone() {
    let stage = Stage::new().await;
    stage.store.put("x", Object::new(noise(12 * MIB, 1)));
    stage.store.data().completed_etag = Box::new(|parts| format!("\"own-{}\"", parts.len()));
    let mut gone = false;
    stage.store.answer(move |request, data: &mut Data| {
        if request.is_completion() && !gone {
            gone = true;
            data.uploads.clear();
            let older = Object::new(noise(12 * MIB, 2)).etag("\"own-older\"");
            data.bucket(TO).insert(b"x".to_vec(), older);
        }
        None
    });
    let (said, _) = migrate(&stage, 0).await;
    assert_eq!(stage.store.asked(Request::is_part), 6, "{said}");
    stage.store.assert_whole();
}

fn lists_parts(request: &Request) -> bool {
    request.method == "GET" && request.asks("uploadId")
}

/// Promises 7, 9.
#[tokio::test]
async fn a_passing_refusal_to_list_parts_costs_no_part() {
    let mut stage = Stage::new().await;
    stage.set("MaxThread", "1");
    stage.store.put("x", Object::new(noise(12 * MIB, 1)));
    refuse_part_three(&stage);
    let mut refused = false;
    stage.store.answer(move |request, _| {
        let refuses = lists_parts(request) && !std::mem::replace(&mut refused, true);
        refuses.then(|| Answer::error(403, "AccessDenied", "Access Denied"))
    });
    let (said, _) = migrate(&stage, 0).await;
    stage.store.assert_whole();
    assert_eq!(stage.store.asked(|r| sends_part(r, "1")), 1, "continued: {said}");
    assert!(!said.contains("[no-part-listing]"), "{said}");
}

/// Promises 7, 10.
#[tokio::test]
async fn who_may_not_list_parts_begins_anew_and_aborts_nothing() {
    let mut stage = Stage::new().await;
    stage.set("MaxThread", "1");
    stage.store.put("x", Object::new(noise(12 * MIB, 1)));
    refuse_part_three(&stage);
    stage.store.answer(move |request, _| {
        lists_parts(request).then(|| Answer::error(403, "AccessDenied", "Access Denied"))
    });
    let (said, report) = migrate(&stage, 0).await;
    stage.store.assert_arrived(&["x"]);
    assert_eq!(stage_proofs(&report["proofs"]), (1, 0, 0), "{said}");
    let parts: Vec<usize> =
        stage.store.data().uploads.values().map(|upload| upload.parts.len()).collect();
    assert_eq!(parts, [2], "the upload begun earlier is left: {said}");
    assert_eq!(said.matches("no permission to list parts").count(), 1, "{said}");
}

/// Promise 4.
#[tokio::test]
async fn words_in_a_key_teach_nothing_about_the_store() {
    for key in ["catalog/part number 2.bin", "Content-MD5 list.bin"] {
        let mut stage = Stage::new().await;
        stage.set("MaxThread", "1");
        stage.store.put(key, Object::new(noise(12 * MIB, 1)));
        stage.store.answer(|request, _| {
            let refuses = sends_part(request, "2");
            refuses.then(|| Answer::error(400, "InvalidRequest", "this body is not wanted"))
        });
        let (said, _) = migrate(&stage, 1).await;
        assert!(!said.contains("[max-parts]"), "{said}");
        let sent = stage.store.asked(|r| sends_part(r, "1"));
        assert_eq!((sent, stage.store.asked(|r| sends_part(r, "2"))), (1, 1), "{said}");
    }
}
