use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use s3_endpoint::{Endpoint, EndpointOptions, Gate, Passage};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::support::{ACCESS_KEY, BUCKET, Lab, SECRET_KEY, client, code, files};

#[tokio::test]
async fn only_the_right_key_and_secret_may_call() {
    let lab = Lab::new().await;
    let list = |access: &str, secret: &str| {
        let client = client(&lab.endpoint.url(), access, secret);
        async move { client.list_objects_v2().bucket(BUCKET).send().await.map(drop).map_err(code) }
    };
    assert_eq!(list(ACCESS_KEY, SECRET_KEY).await, Ok(()));
    assert_eq!(list(ACCESS_KEY, "wrong").await, Err("SignatureDoesNotMatch".to_owned()));
    assert_eq!(list("unknown", SECRET_KEY).await, Err("InvalidAccessKeyId".to_owned()));

    let url = format!("{}/{BUCKET}/k", lab.endpoint.url());
    for (method, headers) in [("GET", ""), ("PUT", ""), ("PUT", "expires: 0\r\n")] {
        let headers = format!("content-length: 0\r\n{headers}");
        let answer = lab.raw(method, &url, &headers, "").await;
        assert!(answer.contains("<Code>AccessDenied</Code>"), "{method} {headers} {answer}");
    }
    assert_eq!(lab.endpoint.stats()["ListObjectsV2"].requests, 1);
}

#[tokio::test]
async fn buckets_are_made_and_found() {
    let lab = Lab::new().await;
    lab.client.create_bucket().bucket("another").send().await.unwrap();
    lab.client.head_bucket().bucket("another").send().await.unwrap();
    let again = lab.client.create_bucket().bucket("another").send().await.unwrap_err();
    assert_eq!(code(again), "BucketAlreadyOwnedByYou");
    let listed = lab.client.list_buckets().send().await.unwrap();
    let names: Vec<_> = listed.buckets().iter().map(|bucket| bucket.name().unwrap()).collect();
    assert_eq!(names, ["another", BUCKET]);

    let missing = lab.client.head_bucket().bucket("missing").send().await.unwrap_err();
    assert_eq!(missing.raw_response().unwrap().status().as_u16(), 404);
    let list = lab.client.list_objects_v2().bucket("missing").send().await.unwrap_err();
    assert_eq!(code(list), "NoSuchBucket");
    let put = lab.client.put_object().bucket("missing").key("k").send().await.unwrap_err();
    assert_eq!(code(put), "NoSuchBucket");
}

#[tokio::test]
async fn requests_and_bytes_are_counted_by_operation() {
    let lab = Lab::new().await;
    lab.put("k", vec![7; 1000]).await;
    lab.get("k").await;
    lab.get("k").await;
    let stats = lab.endpoint.stats();
    assert_eq!((stats["PutObject"].requests, stats["PutObject"].bytes_in), (1, 1000));
    assert_eq!((stats["GetObject"].requests, stats["GetObject"].bytes_out), (2, 2000));
    assert_eq!(stats.len(), 2);
}

/// Notes every call and lets through as many as it has permits for.
struct Turnstile {
    seen: Mutex<Vec<String>>,
    arrivals: Semaphore,
    permits: Semaphore,
}

#[async_trait]
impl Gate for Turnstile {
    async fn before(&self, operation: &str, bucket: &str, key: &str) -> Passage {
        self.seen.lock().unwrap().push(format!("{operation} {bucket} {key}"));
        self.arrivals.add_permits(1);
        self.permits.acquire().await.unwrap().forget();
        Passage::Free
    }
}

#[tokio::test]
async fn a_gate_sees_and_holds_every_call() {
    let (arrivals, permits) = (Semaphore::new(0), Semaphore::new(0));
    let gate = Arc::new(Turnstile { seen: Mutex::default(), arrivals, permits });
    let options = EndpointOptions { gate: Some(gate.clone()), ..EndpointOptions::default() };
    let lab = Lab::with(options).await;
    let put = lab.put("k/1", vec![1]);
    tokio::pin!(put);
    tokio::select! {
        () = &mut put => panic!("the gate did not hold the call"),
        arrived = gate.arrivals.acquire() => arrived.unwrap().forget(),
    }
    assert_eq!(lab.files(), [""; 0]);
    gate.permits.add_permits(2);
    put.await;
    assert_eq!(lab.keys().await, ["k/1"]);
    assert_eq!(*gate.seen.lock().unwrap(), ["PutObject bucket k/1", "ListObjectsV2 bucket "]);
}

#[tokio::test]
async fn a_stopped_endpoint_leaves_no_task_and_no_file() {
    let lab = Lab::new().await;
    lab.put("k", vec![1]).await;
    let address = lab.endpoint.url().replace("http://", "");
    let mut held = TcpStream::connect(&address).await.unwrap();
    lab.endpoint.stop().await;
    assert!(TcpStream::connect(&address).await.is_err());
    // The connection that was open is closed from the other side.
    let mut byte = [0];
    let read = tokio::io::AsyncReadExt::read(&mut held, &mut byte).await;
    assert!(matches!(read, Ok(0) | Err(_)));
    assert_eq!(files(&lab.folder.path().join("data")), [""; 0]);
}

#[tokio::test]
async fn a_dropped_endpoint_closes_its_port() {
    let lab = Lab::new().await;
    let address = lab.endpoint.url().replace("http://", "");
    let mut held = TcpStream::connect(&address).await.unwrap();
    drop(lab.endpoint);
    let mut byte = [0];
    let read = tokio::io::AsyncReadExt::read(&mut held, &mut byte).await;
    assert!(matches!(read, Ok(0) | Err(_)));
    assert!(TcpStream::connect(&address).await.is_err());
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let folder = file.path().join("below-a-file");
    let options = EndpointOptions { folder: folder.clone(), ..EndpointOptions::default() };
    let error = Endpoint::start(options).await.map(|_| ()).unwrap_err();
    assert!(error.to_string().contains(folder.to_str().unwrap()), "{error}");
}
