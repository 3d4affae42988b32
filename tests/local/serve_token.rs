//! Who may read what is served: the token, its session, and addresses that need one.

use std::os::unix::fs::PermissionsExt;

use testkit::local::{ALL, Local};
use testkit::process::Running;
use testkit::web::{ask, get, served};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// `status --serve` with a token, and its address.
async fn guarded(local: &mut Local) -> (Running, String) {
    local.write("token", &format!("{TOKEN}\n"));
    private(local);
    let mut status =
        local.spawn(&["status", "--serve", "127.0.0.1:0", "--serve-token-file", "token"]);
    let address = served(&mut status).await;
    (status, address)
}

fn private(local: &Local) {
    let mode = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(local.work().join("token"), mode).unwrap();
}

#[tokio::test]
async fn a_token_is_asked_for_and_a_browser_gets_a_session_for_it() {
    let mut local = Local::new().await;
    let (status, address) = guarded(&mut local).await;
    for path in ["/metrics", "/api/state", "/api/events", "/api/failures", "/page.js"] {
        let answer = get(&address, path).await.with_status(401);
        assert_eq!(answer.headers["www-authenticate"], "Bearer");
        assert!(!answer.body.contains("fleets"), "{answer:?}");
    }
    let page = get(&address, "/").await.with_status(401);
    assert!(page.body.contains("type=\"password\""), "a person can show the token: {page:?}");
    for open in ["/healthz", "/login.js", "/page.css"] {
        get(&address, open).await.with_status(200);
    }
    let bearer = format!("Bearer {TOKEN}");
    let right = [("Authorization", bearer.as_str())];
    let wrong = [("Authorization", "Bearer 0123456789abcdef0123456789abcdeF")];
    ask(&address, "GET", "/metrics", &right).await.with_status(200);
    ask(&address, "GET", "/metrics", &wrong).await.with_status(401);
    let refused = ask(&address, "POST", "/login", &wrong).await.with_status(401);
    assert!(!refused.headers.contains_key("set-cookie"), "{refused:?}");
    let login = ask(&address, "POST", "/login", &right).await.with_status(204);
    let cookie = &login.headers["set-cookie"];
    assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Strict"), "{cookie}");
    assert!(!cookie.contains(TOKEN), "the cookie is not the token: {cookie}");
    let session = cookie.split(';').next().unwrap();
    let page = ask(&address, "GET", "/", &[("Cookie", session)]).await.with_status(200);
    assert!(page.body.contains("/page.js"), "{page:?}");
    let forged = format!("{}0", &session[..session.len() - 1]);
    let other = if forged == session { "s3_migration_session=1" } else { &forged };
    ask(&address, "GET", "/", &[("Cookie", other)]).await.with_status(401);
    // The name of the host does not matter: another page has no session.
    ask(&address, "GET", "/healthz", &[("Host", "proxy.example")]).await.with_status(200);
    status.signal("TERM");
    let ended = status.ended().await.with_status(0);
    assert!(!ended.all().contains(TOKEN), "{}", ended.all());
}

#[tokio::test]
async fn the_environment_may_hold_the_token() {
    let mut local = Local::new().await;
    local.set("S3_MIGRATION_SERVE_TOKEN", TOKEN);
    let mut status = local.spawn(&["status", "--serve", "127.0.0.1:0"]);
    let address = served(&mut status).await;
    get(&address, "/metrics").await.with_status(401);
    let bearer = format!("Bearer {TOKEN}");
    ask(&address, "GET", "/metrics", &[("Authorization", &bearer)]).await.with_status(200);
    status.signal("TERM");
    status.ended().await.with_status(0);
}

#[tokio::test]
async fn what_would_be_open_to_others_is_refused_before_anything_begins() {
    let mut local = Local::new().await;
    let run = ["run", ALL[0], ALL[1], "--serve"];
    let open = local.run(&[&run[..], &["0.0.0.0:0"]].concat()).await.with_status(2);
    open.says(&["0.0.0.0:0 can be reached from other machines", "--serve-token-file"]);
    let odd = local.run(&[&run[..], &["example.com"]].concat()).await.with_status(2);
    assert!(odd.stderr.contains("write an IP address and a port"), "{}", odd.all());
    let files = ["127.0.0.1:0", "--serve-token-file", "token"];
    let with_file = [&run[..], &files].concat();
    local.run(&with_file).await.with_status(2).says(&["the token in token cannot be read"]);
    local.write("token", TOKEN);
    let mode = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(local.work().join("token"), mode).unwrap();
    local.run(&with_file).await.with_status(2).says(&["every user of this machine can read"]);
    local.write("token", "too-short");
    private(&local);
    let short = local.run(&with_file).await.with_status(2);
    short.says(&["the token in token cannot be used"]);
    assert!(!short.all().contains("too-short"), "{}", short.all());
    std::fs::remove_file(local.work().join("token")).unwrap();
    local.assert_untouched("a refused --serve").await;
    local.embedded();
    local.set("MetricsAddress", "0.0.0.0:0");
    local.run(&["worker"]).await.with_status(2).says(&["needs a token"]);
    local.set("MetricsAddress", "9100");
    let wrong = local.run(&["worker"]).await.with_status(2);
    assert!(wrong.stderr.contains("an IP address and a port like"), "{}", wrong.all());
}
