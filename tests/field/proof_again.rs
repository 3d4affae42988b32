//! Proofs of parts: what is damaged on the way, found late, or continued by another attempt.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::http::{Answer, Length, Request};
use crate::proof::{migrate, noise, own_etags, stage_proofs};
use crate::stage::{FROM, Stage, TO};
use crate::store::{MIB, Object};

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
