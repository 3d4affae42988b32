//! What servers that others wrote were seen to do, in `tests/interop/`, played for machines that cannot run them.

use crate::http::{Answer, Request};
use crate::stage::{FROM, Stage};
use crate::store::Object;

fn reads_a_marker(request: &Request) -> bool {
    matches!(request.method.as_str(), "GET" | "HEAD") && request.key.ends_with(b"/")
}

#[tokio::test]
async fn a_folder_marker_without_size_and_etag_arrives() {
    let stage = Stage::new().await;
    stage.store.put("folder/", Object::new(""));
    stage.store.put("folder/file", Object::new("content"));
    stage.store.edit_listing(FROM, |_, text| text.replacen("<Size>0</Size>", "", 1));
    stage.store.edit(|request, answer, _| {
        if reads_a_marker(request) {
            answer.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("etag"));
        }
    });
    stage.migrate().await.with_status(0);
    stage.store.assert_whole();
}

#[tokio::test]
async fn tags_refused_by_a_message_that_names_no_header_are_left_out() {
    let stage = Stage::new().await;
    stage.store.put("tagged", Object::new("content").tags("a=b"));
    stage.store.answer(|request, _| {
        let refused = !request.header("x-amz-tagging").is_empty();
        let said = "A header you provided implies functionality that is not implemented.";
        refused.then(|| Answer::error(501, "NotImplemented", said))
    });
    let ended = stage.migrate().await.with_status(0);
    assert!(ended.stderr.contains("[no-tags]"), "{}", ended.all());
    stage.store.assert_arrived(&["tagged"]);
}
