//! The wrapper on a paused clock: what is in flight, and that nothing locks up.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::error::Error;
use crate::retry::{Policy, retry};
use crate::store::tests::{Fake, answer, upload, whole, written};

const SERVICE: Duration = Duration::from_millis(100);

fn throttled() -> Error {
    Error::new(ErrorKind::Throttled, "slow down")
}

fn body(text: &'static [u8]) -> Body {
    Body::new(stream::iter([Ok(Bytes::from_static(text))]), text.len() as u64)
}

async fn read(paced: &Paced, bucket: &str) -> Result<Vec<Bytes>> {
    paced.get(&whole(bucket)).await?.body.try_collect().await
}

/// Waits as long as the store says, so that nothing depends on chance.
const PATIENT: Policy = Policy {
    tries: 1,
    patient: true,
    outlasts: Duration::ZERO,
    base: Duration::from_millis(1),
    cap: Duration::from_millis(1),
    timeout: Duration::from_secs(60),
};

/// A store that sustains this many concurrent requests, and the most it was asked.
struct Capacity {
    carries: AtomicUsize,
    now: AtomicUsize,
    most: AtomicUsize,
    refused: AtomicUsize,
}

impl Capacity {
    fn of(carries: usize) -> Arc<Self> {
        let [now, most, refused] = [0, 0, 0].map(AtomicUsize::new);
        Arc::new(Self { carries: AtomicUsize::new(carries), now, most, refused })
    }

    async fn serve(self: Arc<Self>) -> Result<()> {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        sleep(SERVICE).await;
        self.now.fetch_sub(1, Ordering::SeqCst);
        if now > self.carries.load(Ordering::SeqCst) {
            self.refused.fetch_add(1, Ordering::SeqCst);
            return Err(throttled());
        }
        Ok(())
    }

    fn uploads(self: &Arc<Self>) -> Fake {
        let capacity = Arc::clone(self);
        let upload_part = Box::new(move |_| {
            Arc::clone(&capacity).serve().map(|served| served.map(|()| written())).boxed()
        });
        Fake { upload_part, ..Fake::default() }
    }

    /// Puts `count` parts, all begun at once.
    async fn put(&self, paced: &Arc<Paced>, count: usize) {
        self.most.store(0, Ordering::SeqCst);
        self.refused.store(0, Ordering::SeqCst);
        let cancel = CancellationToken::new();
        let one = || async {
            let payload =
                || Payload::Held { bytes: Bytes::from_static(b"b"), proof: Proof::default() };
            let put = || paced.upload_part(upload_ref(), 1, payload());
            retry(PATIENT, &cancel, put).await
        };
        for put in join_all((0..count).map(|_| one())).await {
            put.unwrap();
        }
    }
}

fn upload_ref() -> &'static Upload {
    static UPLOAD: std::sync::LazyLock<Upload> = std::sync::LazyLock::new(|| upload("b"));
    &UPLOAD
}

/// Promise 9.
#[tokio::test(start_paused = true)]
async fn a_throttled_store_gets_fewer_at_once_and_more_again_when_it_carries_more() {
    let capacity = Capacity::of(10);
    let paced = capacity.uploads().paced(64);
    capacity.put(&paced, 2_000).await;
    assert_eq!(capacity.most.load(Ordering::SeqCst), 64, "at first");
    capacity.put(&paced, 2_000).await;
    assert!(capacity.most.load(Ordering::SeqCst) <= 12, "learned");
    // Each time it asks for one too many, that one is refused, and the level falls again.
    assert!(capacity.refused.load(Ordering::SeqCst) < 100, "few are asked in vain");
    capacity.carries.store(1_000, Ordering::SeqCst);
    capacity.put(&paced, 4_000).await;
    assert_eq!(capacity.most.load(Ordering::SeqCst), 64, "at last");
    assert_eq!(paced.lane("b").limit(), 64);
}

#[tokio::test(start_paused = true)]
async fn a_get_holds_its_permit_until_its_body_is_read_or_dropped() {
    let get = Box::new(|_| async { Ok(answer(body(b"ab"))) }.boxed());
    let paced = Fake { get, ..Fake::default() }.paced(1);
    let mut first = paced.get(&whole("b")).await.unwrap();
    assert!(paced.get(&whole("b")).now_or_never().is_none(), "the body is not read yet");
    first.body.next().await.unwrap().unwrap();
    let second = paced.get(&whole("b")).now_or_never().expect("all of it is read").unwrap();
    assert!(paced.get(&whole("b")).now_or_never().is_none());
    drop(second);
    read(&paced, "b").await.unwrap();
}

/// Promise 9.
#[tokio::test(start_paused = true)]
async fn buckets_and_sides_are_independent() {
    let get = Box::new(|request: GetRequest| {
        async move {
            match request.id.bucket.as_str() {
                "busy" => Err(throttled()),
                _ => Ok(answer(body(b"a"))),
            }
        }
        .boxed()
    });
    let paced = Fake { get, ..Fake::default() }.paced(8);
    for _ in 0..5 {
        assert!(read(&paced, "busy").await.is_err());
        sleep(Duration::from_secs(2)).await;
    }
    read(&paced, "idle").await.unwrap();
    assert_eq!((paced.lane("busy").limit(), paced.lane("idle").limit()), (1, 8));
}

/// Promise 9.
#[tokio::test(start_paused = true)]
async fn a_throttled_listing_counts_and_waits_for_nothing() {
    let list = Box::new(|_| async { Err(throttled()) }.boxed());
    let get = Box::new(|_| async { Ok(answer(body(b"ab"))) }.boxed());
    let paced = Fake { get, list, ..Fake::default() }.paced(2);
    let held = [paced.get(&whole("b")).await.unwrap(), paced.get(&whole("b")).await.unwrap()];
    let request = ListRequest { bucket: "b".to_owned(), ..ListRequest::default() };
    assert!(paced.list(&request).await.is_err());
    assert_eq!(paced.lane("b").limit(), 1);
    // The surplus permit is retired when it comes back.
    let [first, second] = held;
    drop(first);
    assert!(paced.get(&whole("b")).now_or_never().is_none());
    drop(second);
    assert!(paced.get(&whole("b")).now_or_never().is_some());
}

/// Promise 9.
#[tokio::test(start_paused = true)]
async fn a_streamed_part_never_locks_up() {
    let get = Box::new(|_| async { Ok(answer(body(b"ab"))) }.boxed());
    let source = Fake { get, ..Fake::default() }.paced(3);
    let upload_part = Box::new(|payload| {
        async move {
            let Payload::Streamed { body, .. } = payload else { unreachable!() };
            sleep(SERVICE).await;
            body.try_collect::<Vec<_>>().await?;
            Ok(written())
        }
        .boxed()
    });
    let destination = Fake { upload_part, ..Fake::default() }.paced(1);
    let part = || async {
        let room = destination.room("b").await?;
        let GetAnswer { body, .. } = source.get(&whole("b")).await?;
        let payload = Payload::Streamed { body: body.with_room(room), trailer: false };
        destination.upload_part(upload_ref(), 1, payload).await
    };
    let parts = timeout(Duration::from_secs(3600), join_all((0..50).map(|_| part()))).await;
    assert!(parts.expect("it ends").into_iter().all(|part| part.is_ok()));
}

/// Promise 9.
#[tokio::test(start_paused = true)]
async fn who_waits_for_a_permit_is_not_given_up_as_unanswered() {
    let capacity = Capacity::of(1);
    let paced = capacity.uploads().paced(1);
    // 1,000 parts of 0.1 s one by one: the last waits longer than its only try may take.
    capacity.put(&paced, 1_000).await;
}

#[tokio::test(start_paused = true)]
async fn requests_that_are_given_up_unanswered_lower_the_level() {
    let paced = Fake::default().paced(10);
    for _ in 0..4 {
        let payload = Payload::Held { bytes: Bytes::new(), proof: Proof::default() };
        let sent = paced.upload_part(upload_ref(), 1, payload);
        assert!(timeout(Duration::from_secs(121), sent).await.is_err());
    }
    assert_eq!(paced.lane("b").limit(), 6, "after the third and the fourth");
}

/// Promise 9.
#[tokio::test(start_paused = true)]
async fn bodies_that_break_lower_the_level() {
    let get = Box::new(|_| {
        let broken = || Err(Error::new(ErrorKind::Unavailable, "reset"));
        async move { Ok(answer(Body::new(stream::iter([broken()]), 9))) }.boxed()
    });
    let paced = Fake { get, ..Fake::default() }.paced(10);
    for _ in 0..3 {
        assert!(read(&paced, "b").await.is_err());
        sleep(Duration::from_secs(2)).await;
    }
    assert_eq!(paced.lane("b").limit(), 8);
}

/// Promise 9.
#[tokio::test(start_paused = true)]
async fn a_part_with_room_waits_for_none_and_gives_it_back() {
    let capacity = Capacity::of(1);
    let paced = capacity.uploads().paced(1);
    for _ in 0..3 {
        let room = paced.room("b").await.unwrap();
        assert!(paced.room("b").now_or_never().is_none(), "there is room for one");
        let body = body(b"ab").with_room(room);
        let payload = Payload::Streamed { body, trailer: false };
        paced.upload_part(upload_ref(), 1, payload).await.unwrap();
    }
    drop(paced.room("b").await.unwrap());
    assert!(paced.room("b").now_or_never().is_some(), "what is not used comes back");
}

/// Promise 9.
#[tokio::test(start_paused = true)]
async fn a_source_that_breaks_lowers_no_level_of_the_destination() {
    let upload_part = Box::new(|payload| {
        async move {
            let Payload::Streamed { body, .. } = payload else { unreachable!() };
            body.try_collect::<Vec<_>>().await?;
            Ok(written())
        }
        .boxed()
    });
    let paced = Fake { upload_part, ..Fake::default() }.paced(10);
    for _ in 0..10 {
        let reset = Err(Error::new(ErrorKind::Unavailable, "reset"));
        let body = Body::new(stream::iter([reset]), 2);
        let payload = Payload::Streamed { body, trailer: false };
        assert!(paced.upload_part(upload_ref(), 1, payload).await.is_err());
        sleep(Duration::from_secs(2)).await;
    }
    assert_eq!(paced.lane("b").limit(), 10);
}

/// How a GET ends that is throttled for ever while nothing else is asked, and after how long.
async fn asked_alone(list: Box<dyn Fn() -> Result<ListPage> + Send + Sync>) -> (Error, Duration) {
    let fake = Fake {
        get: Box::new(|_| async { Err(throttled()) }.boxed()),
        list: Box::new(move |_| std::future::ready(list()).boxed()),
        ..Fake::default()
    };
    let (paced, began) = (fake.paced(8), Instant::now());
    let (policy, cancel) = (Policy::data(5, 0), CancellationToken::new());
    let ended = retry(policy, &cancel, || read(&paced, "b")).await.unwrap_err();
    (ended, began.elapsed())
}

/// Promise 9.
#[tokio::test(start_paused = true)]
async fn an_object_that_is_throttled_for_ever_alone_fails_in_minutes() {
    let (ended, after) = asked_alone(Box::new(|| Ok(ListPage::default()))).await;
    assert_eq!(ended.kind(), ErrorKind::Invalid, "{ended}");
    assert!(ended.to_string().contains("trouble with this object alone"), "{ended}");
    assert!((300..600).contains(&after.as_secs()), "after {after:?}");
    let (ended, after) = asked_alone(Box::new(|| Err(throttled()))).await;
    assert_eq!(ended.kind(), ErrorKind::Throttled, "the bucket answers nobody: {ended}");
    assert!(after.as_secs() > 600, "after {after:?}");
}
