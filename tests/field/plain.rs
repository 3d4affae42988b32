//! The store without a habit: what holds for it is not to be put down to the habits.

use crate::stage::Stage;
use crate::store::{MIB, Object};

#[tokio::test]
async fn a_store_without_a_habit_gets_everything() {
    let stage = Stage::new().await;
    stage.store.put("a", Object::new("hello"));
    stage.store.put("b/c d+%2F\u{fc}", Object::new("x").header("x-amz-meta-owner", "me"));
    stage.store.put("empty", Object::new("").header("Cache-Control", "max-age=5"));
    stage.store.put("large", Object::new(vec![7; 12 * MIB]).header("Content-Type", "image/png"));
    stage.migrate().await.with_status(0);
    stage.store.assert_whole();
}

#[tokio::test]
async fn pages_of_any_size_are_followed() {
    let stage = Stage::new().await;
    stage.store.data().page = 7;
    for i in 0..100 {
        stage.store.put(format!("k{i:03}"), Object::new("x"));
    }
    stage.migrate().await.with_status(0);
    stage.store.assert_whole();
    let answered = stage.run(&["status", "--json"]).await;
    assert!(!answered.stderr.contains("panicked"), "{}", answered.all());
}
