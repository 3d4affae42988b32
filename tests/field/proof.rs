//! Bytes, ETags and parts that are not what they are said to be.

use std::collections::BTreeMap;

use crate::http::{Answer, Request};
use crate::stage::{FROM, Stage, TO};
use crate::store::{Data, MIB, Object, etag_in_parts, md5};

/// Bytes that no other seed gives.
pub fn noise(size: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(next).take(size).collect()
}

fn quoted(text: impl std::fmt::Display) -> String {
    format!("\"{text}\"")
}

/// An object one byte of which has changed since its ETag was computed.
fn rotten(size: usize) -> Object {
    let mut data = noise(size, 99);
    let etag = quoted(md5(&data));
    *data.last_mut().unwrap() ^= 1;
    Object::new(data).etag(etag)
}

/// Flips a byte of one in `every` bodies that the source sends.
fn flip_bodies(stage: &Stage, every: usize) {
    let mut bodies = 0;
    stage.store.edit(move |request, answer, _| {
        if request.reads() && !answer.body.is_empty() {
            bodies += 1;
            if bodies % every == 0 {
                let at = bodies % answer.body.len();
                answer.body[at] ^= 0x40;
            }
        }
    });
}

fn is_put(request: &Request) -> bool {
    request.method == "PUT" && request.bucket == TO && !request.asks("partNumber")
}

fn asks_for_part(request: &Request) -> bool {
    request.method == "HEAD" && request.asks("partNumber")
}

/// What `status` says that the records of the runs so far prove.
async fn proofs(stage: &mut Stage) -> (u64, u64, u64) {
    stage.ini("[Backend]\nQueue = embedded\nState = embedded\n");
    let status = stage.run(&["status", "--json"]).await.with_status(0);
    stage_proofs(&status.json()["proofs"])
}

pub fn stage_proofs(proofs: &serde_json::Value) -> (u64, u64, u64) {
    let of = |name: &str| proofs[name].as_u64().unwrap();
    (of("source"), of("transit"), of("none"))
}

/// `run` on this stage, and what it proves, in its summary.
pub async fn migrate(stage: &Stage, status: i32) -> (String, serde_json::Value) {
    let run = stage.run(&["run", "--json", "s3://from-here", "s3://to-there"]).await;
    let run = run.with_status(status);
    (run.all(), run.json())
}

/// Promises 0, 3.
#[tokio::test]
async fn an_object_with_an_md5_etag_goes_in_one_streamed_piece() {
    let mut stage = Stage::new().await;
    stage.store.put("seven", Object::new(noise(7 * MIB, 1)));
    let (_, report) = migrate(&stage, 0).await;
    stage.store.assert_whole();
    assert_eq!((stage.store.asked(Request::reads), stage.store.asked(is_put)), (1, 1));
    assert_eq!(stage.store.data().arrived("seven").unwrap().etag, quoted(md5(&noise(7 * MIB, 1))));
    assert_eq!(stage_proofs(&report["proofs"]), (1, 0, 0));
    assert_eq!(proofs(&mut stage).await, (1, 0, 0));
}

/// Promises 0, 3.
#[tokio::test]
async fn bytes_that_flip_on_their_way_never_arrive() {
    for threshold in ["8", "0"] {
        let mut stage = Stage::new().await;
        stage.set("StreamThreshold", threshold);
        stage.set("Mode_MaxRetry", "20");
        for i in 0..8 {
            stage.store.put(format!("k{i}"), Object::new(noise(7 * MIB, i)));
        }
        flip_bodies(&stage, 5);
        let (said, report) = migrate(&stage, 0).await;
        stage.store.assert_whole();
        assert_eq!(stage_proofs(&report["proofs"]), (8, 0, 0), "{threshold}: {said}");
    }
}

/// Promises 0, 3.
#[tokio::test]
async fn a_damaged_reading_never_replaces_a_good_copy() {
    // The store takes whatever comes, whatever its Content-MD5.
    for size in [500, 6 * MIB, 12 * MIB] {
        let stage = Stage::new().await;
        stage.store.put("x", Object::new(noise(size, 1)));
        stage.store.put("good", Object::new("good"));
        stage.store.data().bucket(TO).insert(b"x".to_vec(), Object::new("the old good copy"));
        stage.store.answer(|request, _| {
            request.headers.retain(|(name, _)| name != "content-md5");
            None
        });
        let mut bodies = 0;
        stage.store.edit(move |request, answer, _| {
            if request.reads() && request.key() == "x" && !answer.body.is_empty() {
                bodies += 1;
                let at = bodies % answer.body.len();
                answer.body[at] ^= 1;
            }
        });
        migrate(&stage, 1).await;
        let there = stage.store.data().arrived("x").unwrap().data.clone();
        assert!(there == b"the old good copy", "{size}: replaced by {} bytes", there.len());
    }
}

/// Promises 0, 3.
#[tokio::test]
async fn damage_at_the_source_is_a_failure_by_name() {
    for size in [500, 7 * MIB, 12 * MIB] {
        for (name, others) in [("a-first", 5), ("z-last", 5), ("alone", 0)] {
            let stage = Stage::new().await;
            for i in 0..others {
                stage.store.put(format!("good{i}"), Object::new(noise(300, i)));
            }
            stage.store.put(name, rotten(size));
            let (said, _) = migrate(&stage, 1).await;
            assert!(said.contains("damaged at the source"), "{size} {name}: {said}");
            let data = stage.store.data();
            assert!(data.arrived(name).is_none(), "{size} {name} was copied");
            assert_eq!(data.destination().len(), others as usize);
            assert!(data.uploads.is_empty(), "{size} {name}: an upload is left");
        }
    }
}

/// Promises 0, 3.
#[tokio::test]
async fn a_bucket_whose_etags_are_its_own_is_copied_and_said_once() {
    let stage = Stage::new().await;
    for (i, size) in [1, 500, 3000, 6 * MIB, 12 * MIB].into_iter().enumerate() {
        let etag = quoted(md5(format!("own {i}").as_bytes()));
        stage.store.put(format!("k{i}"), Object::new(noise(size, 1)).etag(etag));
    }
    let (said, report) = migrate(&stage, 0).await;
    stage.store.assert_whole();
    assert_eq!(said.matches("[own-etags]").count(), 1, "{said}");
    assert_eq!(stage_proofs(&report["proofs"]), (0, 5, 0));
}

/// Promises 0, 3.
#[tokio::test]
async fn answers_of_another_length_under_the_same_etag_are_broken_readings() {
    for size in [500, 7 * MIB, 12 * MIB] {
        for other in [0, 100, size + 100] {
            for also_head in [false, true] {
                let stage = Stage::new().await;
                let object = Object::new(noise(size, 1));
                let etag = object.etag.clone();
                stage.store.put("x", object.clone());
                stage.store.data().bucket(TO).insert(b"x".to_vec(), Object::new("old"));
                stage.store.answer(move |request, _| {
                    let heads = also_head && request.method == "HEAD" && request.bucket == FROM;
                    let answers = request.key() == "x" && (request.reads() || heads);
                    answers.then(|| Answer::new(200, vec![7; other]).with("ETag", etag.clone()))
                });
                let (said, _) = migrate(&stage, 1).await;
                let there = stage.store.data().arrived("x").unwrap().data.clone();
                assert!(there == b"old", "{size} {other} {also_head}: overwritten");
                let left = stage.store.data().uploads.len();
                assert_eq!(left, 0, "{size} {other} {also_head}: uploads left");
                assert!(said.contains("from-here/x"), "{size} {other} {also_head}: {said}");
            }
        }
    }
}

#[tokio::test]
async fn a_job_that_is_out_of_date_takes_what_is_there_now() {
    let stage = Stage::new().await;
    stage.store.put("x", Object::new("as it was listed"));
    let mut listed = 0;
    stage.store.answer(move |request, data: &mut Data| {
        // Replaced between the first listing and the first reading.
        if request.reads() && listed == 0 {
            listed += 1;
            data.put("x", Object::new("as it is now, longer than before"));
        }
        None
    });
    migrate(&stage, 0).await;
    stage.store.assert_whole();
}

#[tokio::test]
async fn however_a_store_refuses_to_tell_part_sizes_the_etag_is_kept_where_it_can_be_guessed() {
    for status in [400, 403, 404, 405, 412, 416, 501] {
        let stage = Stage::new().await;
        for (key, parts) in [("a", [8, 4]), ("b", [8, 2])] {
            let size = (parts[0] + parts[1]) * MIB;
            let sizes = parts.map(|mib| mib * MIB);
            stage.store.put(key, Object::new(noise(size, 1)).in_parts(&sizes));
        }
        stage
            .store
            .answer(move |request, _| asks_for_part(request).then(|| Answer::new(status, "")));
        let (said, report) = migrate(&stage, 0).await;
        stage.store.assert_whole();
        assert_eq!(stage_proofs(&report["proofs"]), (2, 0, 0), "{status}: {said}");
        let data = stage.store.data();
        for key in ["a", "b"] {
            let (there, own) =
                (&data.arrived(key).unwrap().etag, &data.source()[key.as_bytes()].etag);
            assert_eq!(there, own, "{status} {key}");
        }
    }
}

#[tokio::test]
async fn a_wrong_guess_of_part_sizes_is_no_damage_and_costs_no_second_upload() {
    let stage = Stage::new().await;
    stage.store.put("x", Object::new(noise(12 * MIB, 1)).in_parts(&[11 * MIB, MIB]));
    stage.store.answer(|request, _| asks_for_part(request).then(|| Answer::new(501, "")));
    let (said, report) = migrate(&stage, 0).await;
    stage.store.assert_whole();
    assert_eq!(stage_proofs(&report["proofs"]), (0, 1, 0), "{said}");
    assert_eq!(stage.store.asked(Request::is_part), 2, "{said}");
}

#[tokio::test]
async fn tags_are_compared_however_they_are_written() {
    for dress in [
        |digest: String| format!("W/\"{digest}\""),
        |digest: String| format!("\"{}\"", digest.to_uppercase()),
        |digest: String| digest,
    ] {
        let stage = Stage::new().await;
        for (key, size) in [("small", 1), ("medium", 7 * MIB), ("large", 12 * MIB)] {
            let data = noise(size, 1);
            let etag = dress(md5(&data));
            stage.store.put(key, Object::new(data).etag(etag));
        }
        // The listing and the answers need not agree in it.
        stage.store.edit_listing(FROM, |_, page| page.replace("W/", ""));
        let (said, report) = migrate(&stage, 0).await;
        stage.store.assert_whole();
        assert_eq!(stage_proofs(&report["proofs"]), (3, 0, 0), "{said}");
    }
}

#[tokio::test]
async fn a_store_that_ignores_ranges_is_read_from_the_beginning() {
    let stage = Stage::new().await;
    stage.store.put("a", Object::new(noise(17 * MIB, 1)));
    stage.store.put("b", Object::new(noise(22 * MIB, 2)));
    stage.store.answer(|request, _| {
        request.headers.retain(|(name, _)| name != "range");
        None
    });
    let (said, _) = migrate(&stage, 0).await;
    stage.store.assert_whole();
    assert_eq!(said.matches("[no-ranges]").count(), 1, "{said}");
}

/// Promises 0, 3.
#[tokio::test]
async fn multipart_etags_of_a_store_of_its_own_are_said_once() {
    for made in [
        |digest: String, count: usize| format!("{}-{count}", md5(digest.as_bytes()).to_uppercase()),
        |digest: String, count: usize| format!("{}-{count}", md5(digest.as_bytes())),
        |digest: String, _: usize| md5(digest.as_bytes()),
        |digest: String, _: usize| format!("own-{}", &digest[..8]),
    ] {
        let stage = Stage::new().await;
        for i in 0..3 {
            stage.store.put(format!("k{i}"), Object::new(noise(12 * MIB, i)));
        }
        stage.store.data().completed_etag =
            Box::new(move |parts| quoted(made(etag_in_parts(parts), parts.len())));
        let (said, report) = migrate(&stage, 0).await;
        stage.store.assert_whole();
        assert_eq!(said.matches("[own-multipart-etags]").count(), 1, "{said}");
        assert_eq!(stage.store.asked(Request::is_part), 9, "{said}");
        assert_eq!(stage_proofs(&report["proofs"]), (3, 0, 0), "{said}");
    }
}

/// Promises 0, 3.
#[tokio::test]
async fn damage_while_parts_are_joined_stays_damage() {
    type Joins = fn(&[Vec<u8>]) -> (Vec<u8>, String);
    let joins: [(&str, Joins); 3] = [
        ("the last part is lost", |parts| {
            let parts = &parts[..parts.len() - 1];
            (parts.concat(), etag_in_parts(parts))
        }),
        ("the last part is lost, the ETag is its own", |parts| {
            (parts[..parts.len() - 1].concat(), quoted(format!("{}-3", md5(b"own"))))
        }),
        ("a byte is another one, the ETag is its own", |parts| {
            let mut data = parts.concat();
            data[6 * MIB] ^= 1;
            (data, quoted(format!("{}-3", md5(b"own"))))
        }),
    ];
    for (what, join) in joins {
        let stage = Stage::new().await;
        stage.store.put("big", Object::new(noise(12 * MIB, 1)));
        stage.store.data().completed_etag = Box::new(move |parts| join(parts).1);
        stage.store.edit(move |request, _, data: &mut Data| {
            if request.is_completion() && data.arrived("big").is_some() {
                let whole = data.source()[b"big".as_slice()].data.clone();
                let parts: Vec<Vec<u8>> = whole.chunks(5 * MIB).map(<[u8]>::to_vec).collect();
                let key = b"big".as_slice();
                data.bucket(TO).get_mut(key).unwrap().data = join(&parts).0;
            }
        });
        let (said, _) = migrate(&stage, 1).await;
        assert!(said.contains("damaged") && said.contains("big"), "{what}: {said}");
    }
}

/// A destination whose ETags of bodies are 32 digits of its own.
pub fn own_etags(stage: &Stage, verifies: bool) {
    stage.store.answer(move |request, _| {
        if !verifies {
            request.headers.retain(|(name, _)| name != "content-md5");
        }
        None
    });
    stage.store.edit(|request, answer, data: &mut Data| {
        let is_body = request.method == "PUT" && request.bucket == TO && answer.status == 200;
        if is_body {
            let own = quoted(md5(format!("own {}", md5(&request.body)).as_bytes()));
            answer.set("ETag", own.clone());
            let whole = !request.asks("partNumber");
            if let Some(object) = data.bucket(TO).get_mut(&request.key).filter(|_| whole) {
                object.etag = own;
            }
        }
        if request.method == "GET" && request.asks("uploadId") {
            let text = String::from_utf8(std::mem::take(&mut answer.body)).unwrap();
            let mut rest = text.as_str();
            let mut edited = String::new();
            while let Some((before, after)) = rest.split_once("&quot;") {
                let (digest, after) = after.split_once("&quot;").unwrap();
                let own = md5(format!("own {digest}").as_bytes());
                edited += &format!("{before}&quot;{own}&quot;");
                rest = after;
            }
            answer.body = (edited + rest).into_bytes();
        }
    });
}

/// Promises 0, 3.
#[tokio::test]
async fn etags_of_a_store_of_its_own_are_learned_and_proofs_say_what_was_verified() {
    for (verifies, expected) in [(true, (3, 0, 0)), (false, (0, 0, 3))] {
        let stage = Stage::new().await;
        for (key, size) in [("a", 500), ("b", 7 * MIB), ("c", 12 * MIB)] {
            stage.store.put(key, Object::new(noise(size, 1)));
        }
        own_etags(&stage, verifies);
        let (said, report) = migrate(&stage, 0).await;
        stage.store.assert_whole();
        assert_eq!(said.matches("[own-etags]").count(), 1, "{verifies}: {said}");
        assert_eq!(stage_proofs(&report["proofs"]), expected, "{verifies}: {said}");
    }
}

#[tokio::test]
async fn a_limit_of_parts_is_learned_from_the_refusal() {
    for words in ["Part number must be an integer between 1 and 1000, inclusive", "partNumber"] {
        let mut stage = Stage::new().await;
        stage.set("StreamThreshold", "0");
        for i in 0..2 {
            stage.store.put(format!("k{i}"), Object::new(noise(30 * MIB, i)));
        }
        stage.store.answer(move |request, _| {
            let number = request.query.get("partNumber").and_then(|n| n.parse::<u32>().ok());
            let above = request.is_part() && number > Some(4);
            above.then(|| Answer::error(400, "InvalidArgument", words))
        });
        let (said, _) = migrate(&stage, 0).await;
        stage.store.assert_whole();
        assert!(said.contains("[max-parts]"), "{said}");
        let data = stage.store.data();
        let most = data.destination().values().map(|object| object.parts.len()).max();
        assert_eq!(most, Some(4), "{said}");
    }
}

/// Promises 0, 3.
#[tokio::test]
async fn the_closing_comparison_sees_other_bytes_of_the_same_length() {
    for size in [500, 7 * MIB, 12 * MIB] {
        for others in [0, 3] {
            let stage = Stage::new().await;
            stage.store.put("x", Object::new(noise(size, 1)));
            for i in 0..others {
                stage.store.put(format!("good{i}"), Object::new(noise(50, i)));
            }
            // What is stored, and listed from then on, is not what was answered.
            stage.store.edit(move |request, answer, data: &mut Data| {
                let stored = is_put(request) || request.is_completion();
                if stored && request.key() == "x" && answer.status == 200 {
                    let other = noise(size, 2);
                    let there = data.bucket(TO).get_mut(b"x".as_slice()).unwrap();
                    there.etag = match there.parts.is_empty() {
                        true => quoted(md5(&other)),
                        false => {
                            let pieces: Vec<Vec<u8>> =
                                other.chunks(5 * MIB).map(<[u8]>::to_vec).collect();
                            etag_in_parts(&pieces)
                        }
                    };
                    there.data = other;
                }
            });
            let (said, report) = migrate(&stage, 1).await;
            assert_eq!(report["differing"].as_array().unwrap().len(), 1, "{size}: {said}");
            assert!(report["differing"][0].as_str().unwrap().contains("from-here/x"), "{said}");
        }
    }
}

/// Promises 0, 3.
#[tokio::test]
async fn what_is_on_no_record_is_compared_where_both_sides_etags_are_of_a_kind() {
    // The copies of an earlier tool: the same sizes, MD5 ETags, and one has other bytes.
    let fill = |stage: &Stage, differing: &[u64], kms: bool| {
        for i in 0..4 {
            let (key, data) = (format!("k{i}"), noise(100, i));
            stage.store.put(&key, Object::new(data.clone()));
            let other = noise(100, 50 + i);
            let copy = match differing.contains(&i) {
                true if kms => Object::new(data).etag(quoted(md5(&other))),
                true => Object::new(other),
                false => Object::new(data),
            };
            let copy = match kms && differing.contains(&i) {
                true => copy.header("x-amz-server-side-encryption", "aws:kms"),
                false => copy,
            };
            stage.store.data().bucket(TO).insert(key.into_bytes(), copy);
        }
    };
    for (differing, kms, status) in
        [(vec![2], false, 1), (vec![2], true, 0), (vec![0, 1, 2, 3], true, 0), (vec![], false, 0)]
    {
        let stage = Stage::new().await;
        fill(&stage, &differing, kms);
        let (said, report) = migrate(&stage, status).await;
        let named = report["differing"].as_array().unwrap().len();
        assert_eq!(named, usize::from(status == 1), "{differing:?} {kms}: {said}");
    }
}

/// An object, and a copy of other bytes of the same length by an earlier tool, as its bucket's encryption
/// has it.
fn put_copies(stage: &Stage, [from, to]: [&str; 2], key: &str, seed: u64, copy: &str) {
    let (data, other) = (noise(100, seed), noise(100, seed + 1000));
    let copied = match copy {
        "same" => Object::new(data.clone()),
        "kms" => Object::new(data.clone())
            .etag(quoted(md5(&other)))
            .header("x-amz-server-side-encryption", "aws:kms"),
        _ => Object::new(other),
    };
    let mut all = stage.store.data();
    all.buckets.entry(from.to_owned()).or_default().insert(key.into(), Object::new(data));
    all.buckets.entry(to.to_owned()).or_default().insert(key.into(), copied);
}

/// Promises 0, 3.
#[tokio::test]
async fn an_encrypted_copy_excuses_no_other() {
    let here = [FROM, TO];
    for (kms, differ) in [(1, 1), (25, 1), (5, 22), (22, 0)] {
        let stage = Stage::new().await;
        for i in 0..3 {
            put_copies(&stage, here, &format!("a-good{i}"), i, "same");
        }
        for i in 0..kms {
            // Those that are encrypted come first, or last.
            let key = if differ > 20 { format!("z-kms{i}") } else { format!("b-kms{i}") };
            put_copies(&stage, here, &key, 100 + i, "kms");
        }
        for i in 0..differ {
            put_copies(&stage, here, &format!("c-other{i}"), 200 + i, "other");
        }
        let (said, report) = migrate(&stage, i32::from(differ > 0)).await;
        assert_eq!(report["closing"]["etag_differs"], differ, "{kms} {differ}: {said}");
        assert_eq!(report["closing"]["already_there"], 3 + kms, "{kms} {differ}: {said}");
        let named = report["differing"].as_array().unwrap();
        assert_eq!(named.len() as u64, differ.min(20), "{kms} {differ}: {said}");
        assert!(named.iter().all(|name| name.as_str().unwrap().contains("c-other")), "{said}");
    }
}

/// Promises 0, 3.
#[tokio::test]
async fn a_pair_of_buckets_is_judged_by_its_own_etags() {
    // The first pair's destination encrypts; in the second one a copy has other bytes. And the other way
    // round: what is equal in one pair says nothing about the other.
    for (first, second, status) in [("kms", "other", 1), ("same", "kms", 0)] {
        let mut stage = Stage::new().await;
        for i in 0..3 {
            put_copies(&stage, [FROM, TO], &format!("k{i}"), i, first);
            put_copies(&stage, ["from-2", "to-2"], &format!("k{i}"), 10 + i, "same");
        }
        put_copies(&stage, ["from-2", "to-2"], "odd", 50, second);
        stage.ini("[Basic]\nbucket_para_file = buckets.json\nssm_parameter_ignore_list =\n");
        let pair = |src: &str, des: &str| {
            format!(
                "{{\"src_bucket\": \"{src}\", \"src_prefix\": \"\", \"des_bucket\": \"{des}\", \
                 \"des_prefix\": \"\"}}"
            )
        };
        stage.write("buckets.json", &format!("[{}, {}]", pair(FROM, TO), pair("from-2", "to-2")));
        let run = stage.run(&["run", "--json"]).await.with_status(status);
        let report = run.json();
        assert_eq!(report["closing"]["etag_differs"], status, "{first} {second}: {}", run.all());
        let named = report["differing"].as_array().unwrap();
        assert!(named.iter().all(|name| name.as_str().unwrap().contains("from-2/odd")));
    }
}

/// Promises 0, 3.
#[tokio::test]
async fn objects_that_a_file_names_are_looked_at_in_the_end_as_well() {
    for (copy, status) in [("other", 1), ("kms", 0), ("same", 0)] {
        let stage = Stage::new().await;
        for i in 0..3 {
            put_copies(&stage, [FROM, TO], &format!("k{i}"), i, "same");
        }
        put_copies(&stage, [FROM, TO], "odd", 50, copy);
        stage.store.put("new", Object::new(noise(12 * MIB, 1)));
        stage.write("keys.txt", "k0\nk1\nodd\nnew\nk2\n");
        let arguments = ["run", "--json", "s3://from-here", "s3://to-there", "--keys", "keys.txt"];
        let run = stage.run(&arguments).await.with_status(status);
        assert_eq!(run.json()["closing"]["etag_differs"], status, "{copy}: {}", run.all());
    }
}

#[tokio::test]
async fn a_second_run_says_what_the_first_one_proved() {
    let mut stage = Stage::new().await;
    let sizes = BTreeMap::from([("a", 10), ("b", 7 * MIB), ("c", 12 * MIB)]);
    for (key, size) in &sizes {
        stage.store.put(key, Object::new(noise(*size, 1)));
    }
    let (_, report) = migrate(&stage, 0).await;
    assert_eq!(stage_proofs(&report["proofs"]), (3, 0, 0));
    let (_, report) = migrate(&stage, 0).await;
    assert_eq!(stage_proofs(&report["proofs"]), (0, 0, 0), "nothing was copied");
    assert_eq!(report["compared"]["already_there"], 3);
    assert_eq!(proofs(&mut stage).await, (3, 0, 0));
}
