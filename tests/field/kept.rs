//! Metadata and tags that a destination drops, or that a source cannot send or does not count.

use crate::http::Answer;
use crate::stage::{FROM, Stage, TO};
use crate::store::{Object, large};

/// Promise 5.
#[tokio::test]
async fn metadata_that_a_destination_drops_is_told() {
    let stage = Stage::new().await;
    for i in 0..30 {
        let object = Object::new("x").header("Cache-Control", "max-age=5");
        stage.store.put(format!("k{i}"), object.header("x-amz-meta-owner", "me"));
    }
    stage.store.answer(|request, _| {
        if request.writes() {
            request.headers.retain(|(name, _)| !name.starts_with("x-amz-meta-"));
        }
        None
    });
    let ended = stage.migrate().await.with_status(0);
    let text = ended.all();
    assert!(ended.stdout.contains("20 objects: user metadata"), "{text}");
    assert!(!text.contains("Cache-Control"), "{text}");
}

/// Promise 5.
#[tokio::test]
async fn tags_that_a_destination_drops_are_told() {
    for counts in [true, false] {
        let stage = Stage::new().await;
        for i in 0..30 {
            stage.store.put(format!("k{i}"), Object::new("x").tags("k=v"));
        }
        stage.store.edit(move |request, answer, data| {
            if request.writes() {
                data.bucket(TO).values_mut().for_each(|object| object.tags.clear());
            }
            if !counts {
                answer.remove("x-amz-tagging-count");
            }
        });
        let ended = stage.migrate().await.with_status(0);
        assert!(ended.stdout.contains("20 objects: tags"), "{counts}: {}", ended.all());
    }
}

/// Promise 5.
#[tokio::test]
async fn metadata_that_is_kept_is_not_spoken_of() {
    let stage = Stage::new().await;
    let object = Object::new("x").header("x-amz-meta-Owner", "me").header("Expires", "0");
    stage.store.put("small", object.header("Cache-Control", "max-age=5, public"));
    stage.store.put("plain", Object::new("x").tags("k=v"));
    stage.store.put("large", large().header("Content-Type", "image/png"));
    stage.store.edit(|request, answer, _| {
        let copy = request.bucket == TO && request.method == "HEAD";
        if copy && !answer.headers.iter().any(|(name, _)| name == "content-type") {
            answer.set("content-type", "binary/octet-stream");
        }
    });
    let ended = stage.migrate().await.with_status(0);
    assert!(!ended.all().contains("metadata"), "{}", ended.all());
    assert!(!ended.all().contains("tags"), "{}", ended.all());
}

/// Promise 5.
#[tokio::test]
async fn metadata_that_a_source_cannot_send_is_told() {
    let stage = Stage::new().await;
    stage.store.put("odd", Object::new("x").header("x-amz-missing-meta", "2"));
    let ended = stage.migrate().await.with_status(0);
    assert!(ended.stdout.contains("x-amz-missing-meta"), "{}", ended.all());
}

/// Promise 5.
#[tokio::test]
async fn tags_arrive_also_where_they_are_not_counted() {
    let stage = Stage::new().await;
    for i in 0..60 {
        stage.store.put(format!("k{i:02}"), Object::new("x").tags("k=v"));
    }
    stage.store.edit(|_, answer, _| answer.remove("x-amz-tagging-count"));
    stage.migrate().await.with_status(0);
    let data = stage.store.data();
    assert!(data.destination().values().all(|object| object.tags == "k=v"));
}

/// Objects with tags at a source that does not count them, whose question for tags is answered so this
/// often (for ever: `u32::MAX`).
async fn tags_refused(objects: u32, answer: fn() -> Answer, times: u32) -> Stage {
    let mut stage = Stage::new().await;
    stage.set("PackObjects", "1");
    stage.set("MaxParallelFile", "1");
    for i in 0..objects {
        stage.store.put(format!("k{i:02}"), Object::new("x").tags("k=v"));
    }
    let mut asked = 0;
    stage.store.answer(move |request, _| {
        let refuses = request.bucket == FROM && request.asks("tagging") && asked < times;
        asked += u32::from(refuses);
        refuses.then(answer)
    });
    stage.store.edit(|_, answer, _| answer.remove("x-amz-tagging-count"));
    stage
}

fn with_tags(stage: &Stage) -> usize {
    let data = stage.store.data();
    data.destination().values().filter(|object| object.tags == "k=v").count()
}

/// Promise 5.
#[tokio::test]
async fn a_passing_refusal_of_one_question_costs_no_tags() {
    let refusals: [fn() -> Answer; 5] = [
        || Answer::new(404, ""),
        || Answer::new(400, ""),
        || Answer::error(400, "ExpiredToken", "it is over"),
        || Answer::error(400, "InvalidToken", "it is not known"),
        || Answer::error(404, "NoSuchTagSet", "there are none"),
    ];
    for (i, refusal) in refusals.into_iter().enumerate() {
        let stage = tags_refused(6, refusal, 1).await;
        let ended = stage.migrate().await.with_status(0);
        // The last of them is an answer: this object has none.
        assert_eq!(with_tags(&stage), if i < 4 { 6 } else { 5 }, "{i}: {}", ended.all());
    }
}

/// Promises 0, 5.
#[tokio::test]
async fn a_source_that_knows_no_tags_is_told_of_once() {
    let refusals: [(fn() -> Answer, u32); 4] = [
        (|| Answer::error(501, "NotImplemented", "no"), 15),
        (|| Answer::new(405, ""), 15),
        // Each is asked three times, as many at once as are copied.
        (|| Answer::new(404, ""), 60),
        (|| Answer::error(400, "InvalidArgument", "tagging"), 60),
    ];
    for (refusal, most) in refusals {
        let stage = tags_refused(90, refusal, u32::MAX).await;
        let ended = stage.migrate().await.with_status(0);
        stage.store.assert_whole();
        let asked = stage.store.asked(|request| request.asks("tagging"));
        assert!(asked as u32 <= most, "asked {asked} times: {}", ended.all());
        assert_eq!(ended.stderr.matches("without their tags").count(), 1, "{}", ended.all());
    }
}

/// Promise 5.
#[tokio::test]
async fn where_an_object_has_had_tags_no_refusal_means_that_there_are_none() {
    let mut stage = Stage::new().await;
    stage.set("PackObjects", "1");
    stage.set("MaxParallelFile", "1");
    for i in 0..4 {
        stage.store.put(format!("k{i}"), Object::new("x").tags("k=v"));
    }
    stage.store.answer(|request, _| {
        let refuses = request.bucket == FROM && request.asks("tagging") && request.key() == "k2";
        refuses.then(|| Answer::new(404, ""))
    });
    stage.store.edit(|_, answer, _| answer.remove("x-amz-tagging-count"));
    let ended = stage.migrate().await.with_status(1);
    assert_eq!(with_tags(&stage), 3, "{}", ended.all());
    assert!(stage.store.data().arrived("k2").is_none(), "{}", ended.all());
}

/// Promise 5.
#[tokio::test]
async fn objects_without_tags_are_asked_a_few_times_only() {
    let mut stage = Stage::new().await;
    stage.set("PackObjects", "1");
    stage.set("MaxParallelFile", "1");
    for i in 0..90 {
        stage.store.put(format!("k{i:02}"), Object::new("x"));
    }
    stage.migrate().await.with_status(0);
    assert_eq!(stage.store.asked(|request| request.asks("tagging")), 20);
}
