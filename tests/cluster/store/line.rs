//! What goes over the line, to a server that gives the answers it is given.

use s3_migration::store::{Reads, Writes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::*;

/// Answers each connection's first request with `answer`, without reading its body, and closes;
/// hands out the requests' heads.
async fn server(answer: &'static str) -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let (heads, received) = mpsc::channel(100);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                match stream.read_u8().await {
                    Ok(byte) => head.push(byte),
                    Err(_) => break,
                }
            }
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = heads.send(String::from_utf8_lossy(&head).to_lowercase()).await;
        }
    });
    (url, received)
}

async fn store(url: &str, lean: bool) -> S3Store {
    let store = S3Store::with_key(Side::Source, url, "key", "secret").await;
    if lean { store } else { store.by_sdk() }
}

fn whole(key: &str) -> GetRequest {
    let id = ObjectId::new("bucket", key);
    GetRequest { id, version: None, range: None, if_match: None }
}

const OK: &str =
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nETag: \"e\"\r\nConnection: close\r\n\r\nok";

#[tokio::test]
async fn a_server_that_refuses_before_it_has_read_the_body_is_heard() {
    const BUSY: &str = "HTTP/1.1 503 Slow Down\r\nContent-Length: 36\r\nRetry-After: 3\r\n\
                        Connection: close\r\n\r\n<Error><Code>SlowDown</Code></Error>";
    let (url, _heads) = server(BUSY).await;
    let store = store(&url, true).await;
    let (id, new) = (ObjectId::new("bucket", "k"), NewObject::default());
    let body = Bytes::from(vec![7; 32 << 20]);
    for _ in 0..5 {
        let put = store.put(&id, &new, body.clone(), md5(b"not looked at"));
        let refused = put.await.expect_err("a refusal");
        assert_eq!(refused.kind(), ErrorKind::Throttled, "{refused}");
        assert_eq!(refused.retry_after().map(|pause| pause.as_secs()), Some(3));
    }
}

/// Promise 5.
#[tokio::test]
async fn bytes_are_asked_for_as_they_are_stored_and_that_is_not_signed() {
    for lean in [true, false] {
        let (url, mut heads) = server(OK).await;
        let store = store(&url, lean).await;
        store.get(&whole("a//../k")).await.expect("an answer");
        let get = heads.recv().await.expect("a request");
        assert!(get.starts_with("get /bucket/a//../k"), "{get}");
        drop(store.head(&ObjectId::new("bucket", "k"), None).await);
        let head = heads.recv().await.expect("a request");
        for request in [get, head] {
            assert!(request.contains("\r\naccept-encoding: identity\r\n"), "{request}");
            let (_, signed) = request.split_once("signedheaders=").expect("a signature");
            assert!(!signed.split(',').next().unwrap_or_default().contains("accept-encoding"));
        }
    }
}

/// Promise 3.
#[tokio::test]
async fn the_digest_of_a_body_is_among_what_is_signed() {
    let (url, mut heads) = server(OK).await;
    let id = ObjectId::new("bucket", "k");
    let body = Bytes::from_static(b"body");
    let put = store(&url, true).await.put(&id, &NewObject::default(), body, md5(b"body")).await;
    put.expect("a put");
    let head = heads.recv().await.expect("a request");
    assert!(head.contains("\r\nx-amz-content-sha256: unsigned-payload\r\n"), "{head}");
    let (_, signed) = head.split_once("signedheaders=").expect("a signature");
    assert!(signed.split(',').next().unwrap_or_default().contains("content-md5"), "{head}");
}

/// Promise 3.
#[tokio::test]
async fn a_body_that_is_cut_is_an_error_and_no_end() {
    const CUT: &str = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nETag: \"e\"\r\n\r\nonly";
    for lean in [true, false] {
        let (url, _heads) = server(CUT).await;
        let answer = store(&url, lean).await.get(&whole("k")).await.expect("an answer");
        assert_eq!(answer.body.length(), 9);
        assert_eq!(kind(whole_body(answer).await), Some(ErrorKind::Unavailable));
    }
}

#[tokio::test]
async fn an_endpoint_that_is_not_there_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    drop(listener);
    for lean in [true, false] {
        let refused = store(&url, lean).await.get(&whole("k")).await;
        let refused = refused.map(|_| ()).expect_err("nobody is there");
        assert_eq!(refused.kind(), ErrorKind::Unavailable, "{refused}");
        let said = refused.to_string();
        assert!(said.starts_with("GetObject s3://bucket/k (source): "), "{said}");
        assert!(said.contains(&format!("the request went to {url}: check Endpoint")), "{said}");
    }
}

#[tokio::test]
async fn a_connection_serves_call_after_call() {
    let lab = endpoint().await;
    for i in 0..20 {
        let body = vec![i; 100_000];
        lab.put("k", &body).await;
        assert!(lab.get("k").await.expect("a get") == body);
        assert_eq!(kind(lab.get("absent").await), Some(ErrorKind::NotFound));
    }
    let (endpoint, _) = lab._server.as_ref().expect("the demo's endpoint");
    assert_eq!(endpoint.connections(), 1);
}
