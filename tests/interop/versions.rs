//! Stores that keep versions, as a source and as a destination.

use std::sync::Arc;

use crate::harness::{Case, Outcome};
use crate::objects::{Object, put, some_noise};
use crate::rows::{ALL, OWN, Row};
use crate::servers::Servers;
use crate::stage::Stage;

/// The cases of this file.
pub fn cases(servers: &Arc<Servers>) -> Vec<Case> {
    let mut cases = Vec::new();
    for row in ALL.into_iter().filter(|row| row.has_versions) {
        let (one, other) = (Arc::clone(servers), Arc::clone(servers));
        let name = format!("{}_to_own::versions", row.name);
        cases.push(Case::new(name, move || current_versions_are_copied(one, row)));
        let name = format!("own_to_{}::versions", row.name);
        cases.push(Case::new(name, move || nothing_is_written_twice(other, row)));
    }
    cases
}

/// The latest version is what arrives, a delete marker is no object, and a new version of the same size is a
/// difference.
async fn current_versions_are_copied(servers: Arc<Servers>, row: &'static Row) -> Outcome {
    let mut stage = Stage::new(&servers, row, &OWN).await?;
    stage.set("JobsenderCompareVersionId", "True");
    stage.set("GetObjectWithVersionId", "True");
    let (client, bucket) = (stage.source.client.clone(), stage.source.bucket.clone());
    client.enable_versions(&bucket).await;
    let replaced =
        |number: u8| Object { body: vec![number; 100].into(), ..Object::small("replaced") };
    let large = |from: usize| Object {
        body: some_noise(from, 6 << 20),
        parts: vec![5 << 20, 1 << 20],
        ..Object::small("large")
    };
    for object in [replaced(1), replaced(2), Object::small("deleted"), large(1), large(2)] {
        let answer = put(&client, &bucket, &object, row).await;
        assert!(answer.is_ok(), "{:?}: {} {}", object.key, answer.status, answer.text());
    }
    client.call("DELETE", (&bucket, "deleted"), &[], &[], "").await;

    let arrived = async |objects: &[Object]| {
        let (client, bucket) = (&stage.destination.client, &stage.destination.bucket);
        crate::objects::assert_arrived(client, bucket, objects, [row, &OWN]).await;
    };
    let first = stage.migrate().await.with_status(0);
    assert_eq!(first.json()["copied"], 2, "{}", first.all());
    arrived(&[large(2), replaced(2)]).await;
    let second = stage.migrate().await.with_status(0);
    assert_eq!(second.json()["copied"], 0, "{}", second.all());
    put(&client, &bucket, &replaced(3), row).await;
    let third = stage.migrate().await.with_status(0);
    assert_eq!(third.json()["copied"], 1, "{}", third.all());
    arrived(&[large(2), replaced(3)]).await;
    Ok(())
}

/// A destination that keeps versions has one of each object, also after a second run.
async fn nothing_is_written_twice(servers: Arc<Servers>, row: &'static Row) -> Outcome {
    let stage = Stage::new(&servers, &OWN, row).await?;
    let (client, bucket) = (&stage.destination.client, &stage.destination.bucket);
    client.enable_versions(bucket).await;
    let mut objects: Vec<Object> =
        (0..5).map(|number| Object::small(format!("small/{number}"))).collect();
    let large = Object { parts: vec![5 << 20, 1 << 20], ..Object::small("large") };
    objects.insert(0, Object { body: some_noise(3, 6 << 20), ..large });
    for object in &objects {
        put(&stage.source.client, &stage.source.bucket, object, &OWN).await;
    }
    for copied in [objects.len(), 0] {
        let ended = stage.migrate().await.with_status(0);
        assert_eq!(ended.json()["copied"], copied, "{}", ended.all());
        let versions = client.versions(bucket).await;
        let keys: Vec<&str> = versions.iter().map(|version| version.key.as_str()).collect();
        let wanted: Vec<&str> = objects.iter().map(|object| object.key.as_str()).collect();
        assert_eq!(keys, wanted, "one version of each");
    }
    Ok(())
}
