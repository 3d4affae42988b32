//! The benchmark's kind of bucket: many small objects, more than a page has.

use std::sync::Arc;

use crate::harness::{Case, Outcome};
use crate::objects::{Object, put};
use crate::rows::{RCLONE, VERSITYGW};
use crate::servers::Servers;
use crate::stage::Stage;

/// Two pages of a listing, and a bit.
const OBJECTS: usize = 2_100;
/// So many are put at once.
const AT_ONCE: usize = 16;

/// The cases of this file.
pub fn cases(servers: &Arc<Servers>) -> Vec<Case> {
    let servers = Arc::clone(servers);
    vec![Case::new("versitygw_to_rclone::many_small", move || many_small(servers))]
}

async fn many_small(servers: Arc<Servers>) -> Outcome {
    let stage = Stage::new(&servers, &VERSITYGW, &RCLONE).await?;
    let keys: Vec<String> =
        (0..OBJECTS).map(|number| format!("{:02}/{number:05}", number % 17)).collect();
    let mut tasks = tokio::task::JoinSet::new();
    for keys in keys.chunks(OBJECTS.div_ceil(AT_ONCE)) {
        let (client, bucket) = (stage.source.client.clone(), stage.source.bucket.clone());
        let keys = keys.to_vec();
        tasks.spawn(async move {
            for key in keys {
                assert!(put(&client, &bucket, &Object::small(key), &VERSITYGW).await.is_ok());
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("all are put");
    }
    let first = stage.migrate().await.with_status(0);
    assert_eq!(first.json()["copied"], OBJECTS, "{}", first.all());
    let (client, bucket) = (&stage.destination.client, &stage.destination.bucket);
    let from = stage.source.client.list(&stage.source.bucket).await;
    let to = client.list(bucket).await;
    assert_eq!(from.len(), OBJECTS);
    // Sizes and MD5s, as both tell them.
    assert!(from == to, "the listings differ");
    let second = stage.migrate().await.with_status(0);
    assert_eq!(second.json()["copied"], 0, "{}", second.all());
    Ok(())
}
