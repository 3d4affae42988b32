//! Answers about uploads and their parts that are cut, refused, or of another form.

use crate::http::{Answer, Request};
use crate::stage::{PATHS, Stage, stage_by};
use crate::store::{MIB, Object, large};

/// Whether an upload is begun.
pub fn begins(request: &Request) -> bool {
    request.method == "POST" && request.asks("uploads")
}

/// Puts other roots around the answers about uploads.
pub fn rename(answer: &mut Answer, from: &str, to: &str) {
    let text = String::from_utf8(std::mem::take(&mut answer.body)).unwrap();
    answer.body = text.replace(from, to).into_bytes();
}

fn asks_for_a_part(request: &Request) -> bool {
    request.method == "HEAD" && request.asks("partNumber")
}

fn lists_uploads(request: &Request) -> bool {
    request.method == "GET" && request.key.is_empty() && request.asks("uploads")
}

fn lists_parts(request: &Request) -> bool {
    request.method == "GET" && request.asks("uploadId")
}

#[tokio::test]
async fn answers_about_uploads_are_read_whatever_their_root() {
    for path in PATHS {
        let stage = stage_by(path).await;
        stage.store.put("large", large());
        stage.store.answer(|request, data| {
            let none = lists_uploads(request) && data.uploads.is_empty();
            none.then(|| Answer::error(404, "NoSuchUpload", "there is none"))
        });
        stage.store.edit(|request, answer, _| {
            if begins(request) {
                rename(answer, "InitiateMultipartUploadResult", "InitiateMultipartUpload");
            }
            if lists_parts(request) {
                rename(answer, "ListPartsResult", "ListPartsResponse");
            }
            if request.is_completion() {
                rename(answer, "CompleteMultipartUploadResult", "Completed");
                answer.body.splice(..0, *b" \n ");
            }
        });
        stage.migrate().await.with_status(0);
        stage.store.assert_whole();
        assert_eq!(stage.store.asked(begins), 1, "{path}: one upload");
    }
}

#[tokio::test]
async fn an_upload_whose_id_is_lost_is_found_and_aborted() {
    let stage = Stage::new().await;
    stage.store.put("large", large());
    let mut lost = 0;
    stage.store.edit(move |request, answer, _| {
        if begins(request) && lost < 1 {
            lost += 1;
            answer.body.truncate(answer.body.len() / 2);
        }
    });
    stage.migrate().await.with_status(0);
    stage.store.assert_whole();
}

#[tokio::test]
async fn a_list_of_parts_that_is_cut_is_asked_for_again() {
    let stage = Stage::new().await;
    stage.store.put("large", large());
    let mut cut = false;
    stage.store.edit(move |request, answer, _| {
        if lists_parts(request) && !cut {
            cut = true;
            answer.body.truncate(answer.body.len() - 40);
        }
    });
    stage.migrate().await.with_status(0);
    stage.store.assert_whole();
    let parts = stage.store.asked(Request::is_part);
    assert_eq!(parts, 3, "no part is sent again");
}

#[tokio::test]
async fn uploads_that_cannot_be_listed_cost_adoption_only() {
    for refusal in [403, 405, 501] {
        let stage = Stage::new().await;
        for key in ["a", "b", "c"] {
            stage.store.put(key, large());
        }
        stage.store.answer(move |request, _| {
            let code = if refusal == 403 { "AccessDenied" } else { "NotImplemented" };
            lists_uploads(request).then(|| Answer::error(refusal, code, "no"))
        });
        let ended = stage.migrate().await;
        let said = ended.stderr.matches("[no-upload-listing]").count();
        ended.with_status(0);
        assert_eq!(said, 1, "{refusal}: said once");
        stage.store.assert_whole();
    }
}

#[tokio::test]
async fn parts_that_cannot_be_listed_are_known_by_their_answers() {
    let stage = Stage::new().await;
    stage.store.put("large", large());
    stage.store.answer(|request, _| {
        lists_parts(request).then(|| Answer::error(501, "NotImplemented", "no"))
    });
    stage.migrate().await.with_status(0);
    stage.store.assert_whole();
}

#[tokio::test]
async fn a_head_of_a_part_that_is_refused_is_not_asked_for_again() {
    for status in [400, 405, 412, 416, 501] {
        let stage = Stage::new().await;
        for key in ["a", "b", "c", "d", "e", "f"] {
            let object = Object::new(vec![1; 6 * MIB]).in_parts(&[5 * MIB, MIB]);
            stage.store.put(key, object);
        }
        stage
            .store
            .answer(move |request, _| asks_for_a_part(request).then(|| Answer::new(status, "")));
        stage.migrate().await.with_status(0);
        stage.store.assert_whole();
        let asked = stage.store.asked(asks_for_a_part);
        assert!(asked <= 5, "{status}: asked {asked} times, five objects at once");
    }
}

#[tokio::test]
async fn a_head_of_a_part_that_is_ignored_is_given_up() {
    let mut stage = Stage::new().await;
    stage.set("MaxParallelFile", "1");
    for i in 0..9 {
        let object = Object::new(vec![1; 6 * MIB]).in_parts(&[5 * MIB, MIB]);
        stage.store.put(format!("k{i}"), object);
    }
    stage.store.answer(|request, _| {
        if asks_for_a_part(request) {
            request.query.remove("partNumber");
        }
        None
    });
    stage.migrate().await.with_status(0);
    stage.store.assert_whole();
    assert_eq!(stage.store.asked(asks_for_a_part), 4);
}
