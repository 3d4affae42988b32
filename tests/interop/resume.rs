//! A run that is killed in the middle of an object goes on from the parts that the store has.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::harness::{Case, Outcome};
use crate::objects::{Object, assert_arrived, put, some_noise};
use crate::rows::{ALL, OWN, Row};
use crate::servers::Servers;
use crate::stage::Stage;
use testkit::local::MIB;
use testkit::proxy::{Fault, Proxy, Rule};

/// Five whole parts and a short one.
const SIZES: [usize; 6] = [5 * MIB, 5 * MIB, 5 * MIB, 5 * MIB, 5 * MIB, 1];
/// So many of them are there when the next one is held.
const SENT: u64 = 3;

/// The cases of this file: each store as a destination, and as a source if its ETags tell of parts.
pub fn cases(servers: &Arc<Servers>) -> Vec<Case> {
    let mut cases = Vec::new();
    for row in ALL {
        let as_source = row.has_s3_etags.then_some([row, &OWN]);
        for [source, destination] in [[&OWN, row]].into_iter().chain(as_source) {
            let servers = Arc::clone(servers);
            let name = format!("{}_to_{}::kill_and_resume", source.name, destination.name);
            cases.push(Case::new(name, move || killed_midway(servers, source, destination)));
        }
    }
    cases
}

async fn killed_midway(
    servers: Arc<Servers>,
    source: &'static Row,
    destination: &'static Row,
) -> Outcome {
    let mut stage = Stage::new(&servers, source, destination).await?;
    let proxy = Proxy::before_url(&stage.destination.url).await;
    stage.set("Destination_Endpoint", proxy.url());
    // One part after the other, so that it is known which have arrived.
    stage.set("MaxThread", "1");
    let body = some_noise(9, SIZES.iter().sum());
    let object = Object { body, parts: SIZES.to_vec(), ..Object::small("large") };
    let answer = put(&stage.source.client, &stage.source.bucket, &object, source).await;
    assert!(answer.is_ok(), "{} {}", answer.status, answer.text());

    let faults = proxy.inject(1, vec![Rule::on("UploadPart", Fault::Hold).after(SENT)]);
    let (from, to) = (stage.source.name(), stage.destination.name());
    let run = stage.spawn(&["run", &from, &to]);
    faults.held().await;
    run.kill().await;
    faults.drop_held();
    let under_way = proxy.calls("UploadPart") as u64 - SENT;
    assert!(under_way <= 2, "{under_way} parts are held");

    let ended = stage.migrate().await.with_status(0);
    assert_eq!(ended.json()["copied"], 1, "{}", ended.all());
    let mut parts: BTreeMap<u32, u64> = BTreeMap::new();
    for part in proxy.seen().iter().filter(|seen| seen.call.operation == "UploadPart") {
        *parts.entry(part.call.part.expect("a part has a number")).or_default() += 1;
    }
    let once: Vec<u32> = (1..).take(SIZES.len()).collect();
    assert_eq!(parts.keys().copied().collect::<Vec<_>>(), once, "{parts:?}");
    let sent: u64 = parts.values().sum();
    assert_eq!(sent, SIZES.len() as u64 + under_way, "only what was held is sent again: {parts:?}");
    assert!(parts.iter().all(|(_, times)| *times <= 2), "{parts:?}");
    assert_eq!(proxy.calls("CreateMultipartUpload"), 1);
    let (client, bucket) = (&stage.destination.client, &stage.destination.bucket);
    assert_arrived(client, bucket, &[object], [source, destination]).await;
    assert_eq!(client.uploads(bucket).await, 0, "no upload is left");
    Ok(())
}
