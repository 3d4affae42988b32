//! The paths, and what each answers.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Query, Request, State};
use axum::http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, SET_COOKIE, WWW_AUTHENTICATE};
use axum::http::{Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::stream::unfold;

use super::answers::{FailureAnswer, FailureQuery};
use super::guard::{self, COOKIE_NAME, Refusal};
use super::look::Look;
use super::{Host, Wrong, metrics};
use crate::error::ErrorKind;

/// Between two signs of life of a stream of events.
const ALIVE: Duration = Duration::from_secs(15);
/// A search that takes longer is given up.
const SEARCH: Duration = Duration::from_secs(60);
const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

/// The files of the page: path, media type, content.
const FILES: &[(&str, &str, &str)] = &[
    ("/page.js", "text/javascript; charset=utf-8", include_str!("assets/page.js")),
    ("/failures.js", "text/javascript; charset=utf-8", include_str!("assets/failures.js")),
    ("/charts.js", "text/javascript; charset=utf-8", include_str!("assets/charts.js")),
    ("/words.js", "text/javascript; charset=utf-8", include_str!("assets/words.js")),
    ("/login.js", "text/javascript; charset=utf-8", include_str!("assets/login.js")),
    ("/page.css", "text/css; charset=utf-8", include_str!("assets/page.css")),
    ("/icon.svg", "image/svg+xml", include_str!("assets/icon.svg")),
    ("/uplot.js", "text/javascript; charset=utf-8", include_str!("assets/uplot/uPlot.iife.min.js")),
    ("/uplot.css", "text/css; charset=utf-8", include_str!("assets/uplot/uPlot.min.css")),
    ("/uplot-licence.txt", TEXT, include_str!("assets/uplot/LICENSE")),
];
const PAGE: &str = concat!(include_str!("assets/head.html"), include_str!("assets/page.html"));
const LOGIN: &str = concat!(include_str!("assets/head.html"), include_str!("assets/login.html"));
/// What a process without a page says of itself.
const NO_PAGE: &str =
    "s3-migration: /metrics, /healthz, /readyz; the page is served by status --serve\n";

type Shared = State<Arc<Host>>;

/// All paths.
pub(super) fn router(host: Arc<Host>) -> Router {
    let mut router = Router::new()
        .route("/", get(page))
        .route("/login", post(login))
        .route("/metrics", get(metrics_text))
        .route("/healthz", get(alive))
        .route("/readyz", get(ready));
    if host.look.is_some() {
        for &(path, kind, content) in FILES {
            let file = move || async move { answer(StatusCode::OK, kind, content) };
            router = router.route(path, get(file));
        }
        router = router
            .route("/api/state", get(state))
            .route("/api/events", get(events))
            .route("/api/failures", get(failures));
    }
    router.layer(from_fn_with_state(Arc::clone(&host), guarded)).with_state(host)
}

fn answer(
    status: StatusCode,
    kind: &'static str,
    content: impl Into<axum::body::Body>,
) -> Response {
    (status, [(CONTENT_TYPE, HeaderValue::from_static(kind))], content.into()).into_response()
}

fn plain(status: StatusCode, words: &str) -> Response {
    answer(status, TEXT, format!("{words}\n"))
}

/// Lets pass only who may read, and adds the headers.
async fn guarded(State(host): Shared, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let mut answer = match guard::check(host.door.token.as_ref(), request.headers(), path) {
        Ok(()) => next.run(request).await,
        Err(Refusal::WrongHost) => plain(
            StatusCode::MISDIRECTED_REQUEST,
            "this server answers only to localhost and loopback addresses",
        ),
        Err(Refusal::NoToken) => {
            let is_person = path == "/" && request.method() == Method::GET && host.look.is_some();
            let mut answer = match is_person {
                true => answer(StatusCode::UNAUTHORIZED, HTML, LOGIN),
                false => plain(StatusCode::UNAUTHORIZED, "a token is needed"),
            };
            answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            answer
        }
    };
    guard::secure(answer.headers_mut());
    answer
}

async fn page(State(host): Shared) -> Response {
    match host.look {
        Some(_) => answer(StatusCode::OK, HTML, PAGE),
        None => answer(StatusCode::OK, TEXT, NO_PAGE),
    }
}

/// Gives a browser that shows the token a session: scripts cannot read it, other pages cannot use
/// it.
async fn login(State(host): Shared, headers: HeaderMap) -> Response {
    let Some(token) = &host.door.token else { return plain(StatusCode::OK, "no token is needed") };
    if !guard::bearer(&headers).is_some_and(|given| token.is(given)) {
        return plain(StatusCode::UNAUTHORIZED, "this is not the token");
    }
    let is_tls = headers.get("x-forwarded-proto").is_some_and(|proto| proto == "https");
    let secure = if is_tls { "; Secure" } else { "" };
    let session = token.session();
    let cookie = format!("{COOKIE_NAME}={session}; Path=/; HttpOnly; SameSite=Strict{secure}");
    let mut answer = StatusCode::NO_CONTENT.into_response();
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        answer.headers_mut().insert(SET_COOKIE, cookie);
    }
    answer
}

async fn metrics_text(State(host): Shared) -> Response {
    let fleets = match &host.look {
        Some(look) => metrics::of_fleets(look.fleets().as_deref()),
        None => Vec::new(),
    };
    let text = metrics::text(&host.shown.process, fleets);
    answer(StatusCode::OK, metrics::MEDIA_TYPE, text)
}

async fn alive(State(host): Shared) -> Response {
    health((host.shown.health.hangs)())
}

async fn ready(State(host): Shared) -> Response {
    health(not_ready(&host))
}

fn health(wrong: Wrong) -> Response {
    match wrong {
        None => plain(StatusCode::OK, "ok"),
        Some(why) => plain(StatusCode::SERVICE_UNAVAILABLE, &why),
    }
}

fn not_ready(host: &Host) -> Wrong {
    let idle = (host.shown.health.idle)();
    idle.or_else(|| host.look.as_ref().and_then(|look| look.wrong()))
}

async fn state(State(host): Shared) -> Response {
    let state = host.look.as_ref().map(|look| look.state().to_string());
    answer(StatusCode::OK, JSON, state.unwrap_or_default())
}

/// The state, again after each look, until the process ends.
async fn events(State(host): Shared) -> Response {
    let (Some(look), Ok(permit)) = (&host.look, Arc::clone(&host.streams).try_acquire_owned())
    else {
        return plain(StatusCode::SERVICE_UNAVAILABLE, "too many browsers watch already");
    };
    let mut told = look.watch();
    told.mark_changed();
    let end = host.end.clone();
    let stream = unfold(Some((told, permit)), move |watching| {
        let end = end.clone();
        async move {
            let (mut told, permit) = watching?;
            let changed = end.run_until_cancelled(told.changed()).await;
            let is_over = !matches!(changed, Some(Ok(())));
            let text = told.borrow_and_update().to_string();
            let event = match is_over {
                true => Event::default().event("ended").data(text),
                false => Event::default().event("state").data(text),
            };
            let next = (!is_over).then_some((told, permit));
            Some((Ok::<_, Infallible>(event), next))
        }
    });
    Sse::new(stream).keep_alive(KeepAlive::new().interval(ALIVE)).into_response()
}

async fn failures(State(host): Shared, Query(query): Query<FailureQuery>) -> Response {
    let Some(look) = &host.look else { return StatusCode::NOT_FOUND.into_response() };
    match tokio::time::timeout(SEARCH, found(&host, look, query)).await {
        Ok(answer) => answer,
        Err(_) => plain(StatusCode::GATEWAY_TIMEOUT, "the search takes too long"),
    }
}

async fn found(host: &Host, look: &Look, query: FailureQuery) -> Response {
    let _turn = host.searches.acquire().await;
    match look.source.failures(&query.asked()).await {
        Ok(page) => {
            let text = serde_json::to_string(&FailureAnswer::from(page)).unwrap_or_default();
            answer(StatusCode::OK, JSON, text)
        }
        Err(error) if error.kind() == ErrorKind::Usage => {
            plain(StatusCode::BAD_REQUEST, &error.to_string())
        }
        Err(error) => plain(StatusCode::BAD_GATEWAY, &error.to_string()),
    }
}
