//! The proxy by itself: what every fault does is what its name says, seen by a client that tries
//! nothing twice.

use aws_sdk_s3::Client;
use aws_sdk_s3::error::ProvideErrorMetadata;

use crate::bench::Bench;
use testkit::local::{BUCKETS, noise};
use testkit::proxy::{Fault, Outcome, Rule};

const LENGTH: usize = 300_000;

/// A client of the source's proxy, and an object of that source.
async fn bench() -> (Bench, Client, Vec<u8>) {
    let bench = Bench::empty().await;
    let body = noise(LENGTH, 1);
    bench.local.source.put("object", body.clone()).await;
    let direct = bench.local.source.client.config();
    let client = direct.to_builder().endpoint_url(bench.source.url());
    (bench, Client::from_conf(client.build()), body)
}

async fn read(client: &Client) -> Result<Vec<u8>, String> {
    let get = client.get_object().bucket(BUCKETS[0]).key("object").send().await;
    let get = get.map_err(|e| e.code().unwrap_or("cut").to_owned())?;
    Ok(get.body.collect().await.map_err(|_| "body".to_owned())?.to_vec())
}

async fn write(client: &Client, body: &[u8]) -> Result<(), String> {
    let put = client.put_object().bucket(BUCKETS[0]).key("written").body(body.to_vec().into());
    put.send().await.map(drop).map_err(|e| e.code().unwrap_or("cut").to_owned())
}

#[tokio::test]
async fn without_faults_everything_passes_and_is_noted() {
    let (bench, client, body) = bench().await;
    for _ in 0..3 {
        assert!(read(&client).await.as_ref() == Ok(&body));
        write(&client, &body).await.unwrap();
    }
    let seen = bench.source.seen();
    assert_eq!(seen.len(), 6);
    assert!(seen.iter().all(|seen| seen.outcome == Outcome::Status(200)), "{seen:?}");
    let (first, second) = (&seen[0].call, &seen[1].call);
    assert_eq!((first.operation.as_str(), first.key.as_str()), ("GetObject", "object"));
    assert_eq!((second.operation.as_str(), second.bucket.as_str()), ("PutObject", BUCKETS[0]));
    assert_eq!(bench.local.source.get("written").await, body);
}

#[tokio::test]
async fn an_answers_body_is_bent_as_it_is_told() {
    let (bench, client, body) = bench().await;
    let mut flipped = body.clone();
    flipped[7] ^= 1;
    let longer = [&body[..], b"++"].concat();
    for (fault, expected) in [
        (Fault::slow_down(), Err("SlowDown")),
        (Fault::Reset, Err("cut")),
        (Fault::LostAnswer, Err("cut")),
        (Fault::ResetInAnswer(1000), Err("body")),
        (Fault::CutAnswer(1000), Err("body")),
        (Fault::ShortAnswer(5), Ok(body[..LENGTH - 5].to_vec())),
        (Fault::LongAnswer(2), Ok(longer)),
        (Fault::BytesBehindAnswer(2), Ok(body.clone())),
        (Fault::FlipInAnswer(7), Ok(flipped)),
        (Fault::Rewritten("doubled", |body| [&body[..], &body].concat()), Ok(body.repeat(2))),
        (Fault::Slow(3_000_000), Ok(body.clone())),
        (Fault::error_after_the_work(500, "InternalError"), Err("InternalError")),
    ] {
        let name = fault.name();
        let faults = bench.source.inject(1, vec![Rule::on("GetObject", fault).once()]);
        let got = read(&client).await;
        assert!(got == expected.map_err(str::to_owned), "{name}: {:?}", got.map(|b| b.len()));
        assert_eq!(faults.injected(), 1, "{name}");
        assert!(read(&client).await.as_ref() == Ok(&body), "{name} is over");
    }
}

#[tokio::test]
async fn a_requests_body_is_bent_as_it_is_told() {
    let (bench, client, body) = bench().await;
    let arrived = async || bench.local.source.keys().await.contains(&"written".to_owned());
    for (fault, works) in [
        (Fault::Reset, false),
        (Fault::ResetInRequest(1000), false),
        // The payload is signed: the endpoint refuses it.
        (Fault::FlipInRequest(9), false),
        (Fault::LostAnswer, true),
        (Fault::error_after_the_work(503, "SlowDown"), true),
    ] {
        let name = fault.name();
        bench.source.inject(1, vec![Rule::on("PutObject", fault).once()]);
        assert!(write(&client, &body).await.is_err(), "{name}");
        assert_eq!(arrived().await, works, "{name}");
        client.delete_object().bucket(BUCKETS[0]).key("written").send().await.unwrap();
    }
}

#[tokio::test]
async fn what_is_held_or_stalled_waits_for_the_test() {
    let (bench, client, body) = bench().await;
    for fault in [Fault::Hold, Fault::HoldAnswer] {
        for lets_go in [true, false] {
            let rule = Rule::on("GetObject", fault.clone());
            let faults = bench.source.inject(1, vec![rule]);
            let (got, ()) = tokio::join!(read(&client), async {
                faults.held().await;
                match lets_go {
                    true => faults.let_go(),
                    false => faults.drop_held(),
                }
            });
            assert!(got == if lets_go { Ok(body.clone()) } else { Err("cut".to_owned()) });
            faults.end();
        }
    }
    let faults = bench.source.inject(1, vec![Rule::on("GetObject", Fault::StallInAnswer(10))]);
    let (got, ()) = tokio::join!(read(&client), async {
        faults.held().await;
        faults.end();
    });
    assert_eq!(got, Err("body".to_owned()));
    assert!(read(&client).await == Ok(body));
}

#[tokio::test]
async fn a_server_that_is_out_refuses_until_it_comes_back() {
    let (bench, client, body) = bench().await;
    assert!(read(&client).await.is_ok());
    bench.source.go_out();
    assert!(read(&client).await.is_err() && read(&client).await.is_err());
    bench.source.refused(1).await;
    bench.source.come_back();
    assert!(read(&client).await == Ok(body));
}

#[tokio::test]
async fn the_seed_alone_decides() {
    let (bench, client, _) = bench().await;
    let mut runs = Vec::new();
    for seed in [5, 5, 6] {
        let faults =
            bench.source.inject(seed, vec![Rule::on("GetObject", Fault::Reset).chance(0.5)]);
        let mut run = Vec::new();
        for _ in 0..40 {
            run.push(read(&client).await.is_ok());
        }
        faults.end();
        runs.push(run);
    }
    assert_eq!(runs[0], runs[1]);
    assert_ne!(runs[0], runs[2]);
    assert!((5..35).contains(&runs[0].iter().filter(|ok| **ok).count()));
}
