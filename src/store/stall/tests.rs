//! Silence on a paused clock.

use futures_util::{FutureExt, Stream, StreamExt, TryStreamExt, stream};

use super::*;
use crate::store::pace::Paced;
use crate::store::tests::{Fake, answer, upload, whole, written};

const S: Duration = Duration::from_secs(1);

/// One byte after each of these pauses.
fn bytes_after(pauses: Vec<Duration>) -> impl Stream<Item = Result<Bytes>> + Send {
    let byte = |pause| async move {
        sleep(pause).await;
        Ok(Bytes::from_static(b"b"))
    };
    stream::iter(pauses).then(byte)
}

/// Answers every GET with such a body of 9 bytes, silent after these.
fn source(pauses: &'static [u64]) -> Arc<Paced> {
    let get = Box::new(move |_| {
        let bytes = bytes_after(pauses.iter().map(|pause| S * *pause as u32).collect());
        async move { Ok(answer(Body::new(bytes.chain(stream::pending()), 9))) }.boxed()
    });
    Fake { get, ..Fake::default() }.paced(8)
}

/// Promise 9.
#[tokio::test(start_paused = true)]
async fn a_body_that_falls_silent_is_cut() {
    let began = Instant::now();
    let mut body = source(&[1, 19, 19]).get(&whole("b")).await.unwrap().body;
    for _ in 0..3 {
        body.next().await.unwrap().unwrap();
    }
    let error = body.next().await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("b/key (source): no byte of the body arrived for 20 s"));
    assert_eq!(began.elapsed(), S * (39 + 20));
    assert!(body.next().await.is_none());
}

/// Promise 9.
#[tokio::test(start_paused = true)]
async fn a_body_that_nobody_reads_has_not_stalled() {
    let mut body = source(&[1, 1]).get(&whole("b")).await.unwrap().body;
    assert!(body.next().now_or_never().is_none());
    sleep(S * 3600).await;
    body.next().await.unwrap().unwrap();
    sleep(S * 3600).await;
    body.next().await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_get_without_an_answer_is_cut() {
    let began = Instant::now();
    let error = Fake::default().paced(8).get(&whole("b")).await.map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(began.elapsed(), ANSWER);
}

/// A destination that takes one piece after each of these pauses, then none, or the answer.
fn destination(pauses: &'static [u64], answers: bool) -> Arc<Paced> {
    let upload_part = Box::new(move |payload| {
        async move {
            let Payload::Streamed { mut body, .. } = payload else { unreachable!() };
            for pause in pauses {
                sleep(S * *pause as u32).await;
                body.try_next().await?;
            }
            if answers { Ok(written()) } else { std::future::pending().await }
        }
        .boxed()
    });
    Fake { upload_part, ..Fake::default() }.paced(8)
}

/// Sends one byte after each of these pauses.
async fn send(to: &Paced, pauses: Vec<Duration>) -> (Result<Written>, Duration) {
    let (began, length) = (Instant::now(), pauses.len() as u64);
    let body = Body::new(bytes_after(pauses), length);
    let payload = Payload::Streamed { body, trailer: false };
    (to.upload_part(&upload("b"), 1, payload).await, began.elapsed())
}

/// Promise 9.
#[tokio::test(start_paused = true)]
async fn a_destination_that_takes_nothing_more_is_cut() {
    let at_once = vec![Duration::ZERO; 5];
    let (sent, after) = send(&destination(&[1, 29, 29], false), at_once).await;
    let error = sent.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("no byte of the part was accepted for 30 s"), "{error}");
    assert_eq!(after, S * (59 + 30));
}

/// Promise 9.
#[tokio::test(start_paused = true)]
async fn a_destination_that_waits_for_a_slow_source_has_not_stalled() {
    let (sent, _) = send(&destination(&[0; 5], true), vec![S * 100; 5]).await;
    sent.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_part_that_was_taken_whole_is_answered_soon_or_cut() {
    let at_once = vec![Duration::ZERO; 2];
    let (sent, after) = send(&destination(&[0, 0], false), at_once).await;
    assert!(sent.unwrap_err().to_string().contains("no answer to the part for 120 s"));
    assert_eq!(after, ANSWER);
}

/// Asks for a piece of the body once, and never again, whatever arrives.
fn asks_once() -> Arc<Paced> {
    let upload_part = Box::new(move |payload| {
        async move {
            let Payload::Streamed { mut body, .. } = payload else { unreachable!() };
            let mut asked = false;
            std::future::poll_fn(move |cx| {
                if !std::mem::replace(&mut asked, true) {
                    assert!(body.poll_next_unpin(cx).is_pending());
                }
                Poll::<Result<Written>>::Pending
            })
            .await
        }
        .boxed()
    });
    Fake { upload_part, ..Fake::default() }.paced(8)
}

// A connection that cannot send what it has does not ask for more when it is woken.
/// Promise 9.
#[tokio::test(start_paused = true)]
async fn a_destination_that_takes_nothing_of_what_it_waited_for_is_cut() {
    let (sent, after) = send(&asks_once(), vec![S * 5]).await;
    assert!(sent.unwrap_err().to_string().contains("no byte of the part was accepted for 30 s"));
    assert_eq!(after, S * (5 + 30));
}
