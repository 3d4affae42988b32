//! `--serve` and `MetricsAddress`: what a browser and a scraper get while a migration runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use testkit::gate::Hold;
use testkit::local::{ALL, Local, noise};
use testkit::process::{Running, until};
use testkit::web::{Answer, Events, ask, get, served};

const ANY_PORT: &str = "127.0.0.1:0";

/// A run that serves, held at its tenth object of forty.
async fn held() -> (Arc<Hold>, Local, Running, String) {
    let hold = Hold::new("PutObject", 10);
    let local = Local::gated(Some(hold.clone())).await;
    for n in 0..40 {
        local.source.put(&format!("object/{n:02}"), noise(1000, n)).await;
    }
    let mut run = local.spawn(&["run", ALL[0], ALL[1], "--serve", ANY_PORT]);
    let address = served(&mut run).await;
    hold.reached().await;
    (hold, local, run, address)
}

/// The samples of `/metrics`, by name with labels. Each belongs to a family whose type was said.
fn samples(answer: &Answer) -> BTreeMap<String, f64> {
    let kind = &answer.headers["content-type"];
    assert_eq!(kind, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(answer.body.ends_with("# EOF\n"), "{}", answer.body);
    let mut families = Vec::new();
    let mut samples = BTreeMap::new();
    for line in answer.body.lines().filter(|line| *line != "# EOF") {
        if let Some(family) = line.strip_prefix("# TYPE ") {
            families.push(family.split(' ').next().unwrap());
        }
        if line.starts_with('#') {
            continue;
        }
        let (name, value) = line.rsplit_once(' ').unwrap();
        let family = name.split('{').next().unwrap();
        assert!(families.iter().any(|known| family.starts_with(known)), "no type: {line}");
        assert!(family.starts_with("s3_migration_"), "{line}");
        let value: f64 = value.parse().unwrap_or_else(|e| panic!("{line}: {e}"));
        assert_eq!(samples.insert(name.to_owned(), value), None, "twice: {line}");
    }
    samples
}

#[tokio::test]
async fn a_run_serves_a_page_its_state_and_metrics() {
    let (hold, _local, run, address) = held().await;
    let page = get(&address, "/").await.with_status(200);
    assert!(page.headers["content-type"].starts_with("text/html"), "{page:?}");
    for part in ["\"/page.js\"", "\"/uplot.js\"", "\"/page.css\"", "\"/icon.svg\""] {
        assert!(page.body.contains(part), "{part}");
    }
    assert!(!page.body.contains("//"), "something from elsewhere: {}", page.body);
    for file in [
        "/page.js",
        "/failures.js",
        "/charts.js",
        "/words.js",
        "/page.css",
        "/icon.svg",
        "/uplot.js",
        "/uplot.css",
        "/uplot-licence.txt",
    ] {
        let file = get(&address, file).await.with_status(200);
        assert!(!file.body.is_empty());
    }
    until("the state says what was copied", async || {
        let state = get(&address, "/api/state").await.with_status(200).json();
        state["fleets"][0]["pairs"][0]["copied"]["objects"].as_u64().is_some_and(|n| n > 0)
    })
    .await;
    let state = get(&address, "/api/state").await.json();
    let fleet = &state["fleets"][0];
    assert_eq!(fleet["phases"][1]["of_objects"], 40, "{state}");
    assert_eq!(fleet["workers"][0]["kind"], "run", "{state}");
    let classes = fleet["sizes"].as_array().unwrap().iter();
    let sized: u64 = classes.map(|class| class["objects"].as_u64().unwrap()).sum();
    assert_eq!(sized, fleet["pairs"][0]["copied"]["objects"].as_u64().unwrap(), "{state}");
    assert!(!fleet["history"].as_array().unwrap().is_empty(), "{state}");

    let metrics = samples(&get(&address, "/metrics").await.with_status(200));
    let value =
        |name: &str| metrics.get(name).copied().unwrap_or_else(|| panic!("{name}: {metrics:#?}"));
    let copied = value("s3_migration_objects_copied_total");
    assert!((1.0..40.0).contains(&copied), "{copied}");
    assert_eq!(value("s3_migration_copied_bytes_total"), copied * 1000.0);
    assert_eq!(value("s3_migration_objects_to_copy_total"), 40.0);
    assert_eq!(value("s3_migration_object_size_bytes_count"), copied);
    assert_eq!(value("s3_migration_object_size_bytes_bucket{le=\"4096.0\"}"), copied);
    assert!(value("s3_migration_requests_total{side=\"source\"}") >= 10.0);
    assert_eq!(value("s3_migration_fleet_seen"), 1.0);
    for path in ["/healthz", "/readyz"] {
        assert_eq!(get(&address, path).await.with_status(200).body, "ok\n");
    }
    hold.open();
    run.ended().await.with_status(0);
}

#[tokio::test]
async fn events_bring_what_changes_and_say_when_the_run_has_ended() {
    let (hold, _local, run, address) = held().await;
    let mut events = Events::watch(&address).await;
    let first = events.until("event: state\ndata: {").await;
    assert!(first.starts_with("HTTP/1.1 200") && first.contains("text/event-stream"), "{first}");
    hold.open();
    let all = events.until("event: ended\ndata: {").await;
    assert!(all.matches("event: state").count() >= 1, "{all}");
    run.ended().await.with_status(0);
}

#[tokio::test]
async fn every_answer_carries_what_keeps_a_browser_safe() {
    let (hold, _local, run, address) = held().await;
    let evil = [("Host", "evil.example")];
    for answer in [
        get(&address, "/").await.with_status(200),
        get(&address, "/api/state").await.with_status(200),
        get(&address, "/nothing").await.with_status(404),
        ask(&address, "POST", "/", &[]).await.with_status(405),
        ask(&address, "GET", "/", &evil).await.with_status(421),
        ask(&address, "GET", "/metrics", &evil).await.with_status(421),
    ] {
        let header = |name: &str| answer.headers.get(name).map(String::as_str).unwrap_or_default();
        let policy = header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; script-src 'self'"), "{answer:?}");
        assert!(
            policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"),
            "{policy}"
        );
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("referrer-policy"), "no-referrer");
        assert_eq!(header("x-frame-options"), "DENY");
        assert_eq!(header("cache-control"), "no-store");
        assert_eq!(header("cross-origin-resource-policy"), "same-origin");
        assert_eq!(header("access-control-allow-origin"), "");
    }
    let port = address.rsplit(':').next().unwrap();
    for host in [format!("localhost:{port}"), "localhost:9".to_owned(), format!("[::1]:{port}")] {
        ask(&address, "GET", "/healthz", &[("Host", &host)]).await.with_status(200);
    }
    hold.open();
    run.ended().await.with_status(0);
}

/// Promise 1.
#[tokio::test]
async fn failures_come_a_page_at_a_time_and_are_searched_by_the_server() {
    let local = Local::new().await;
    for n in 0..60 {
        let put = local.source.client.put_object().bucket("from-here").key(format!("cold/{n:02}"));
        put.storage_class("GLACIER".into()).body(vec![7; 100].into()).send().await.unwrap();
    }
    local.source.put("fine", vec![1]).await;
    local.migrate().await.with_status(1);
    let mut status = local.spawn(&["status", "--serve", ANY_PORT]);
    let address = served(&mut status).await;
    let mut seen = Vec::new();
    let mut after = String::new();
    for wanted in [25, 25, 10] {
        let page = get(&address, &format!("/api/failures?after={after}")).await.with_status(200);
        let page = page.json();
        let failures = page["failures"].as_array().unwrap();
        assert_eq!(failures.len(), wanted, "{page}");
        for failure in failures {
            assert_eq!(failure["reason"], "archived-at-source", "{failure}");
            seen.push(failure["object"].as_str().unwrap().to_owned());
        }
        after = page["next"].as_str().unwrap_or_default().to_owned();
    }
    assert_eq!(after, "", "there are no more");
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 60, "each is there once");
    let found = async |query: &str| {
        let page = get(&address, &format!("/api/failures?{query}")).await.with_status(200).json();
        page["failures"].as_array().unwrap().len()
    };
    assert_eq!(found("search=COLD%2F4").await, 10, "whatever the case");
    assert_eq!(found("search=cold%2F42&reason=archived").await, 1);
    assert_eq!(found("reason=denied").await, 0);
    assert_eq!(found("search=no+such+key").await, 0);
    get(&address, "/api/failures?after=nonsense").await.with_status(400);
    let mut events = Events::watch(&address).await;
    events.until("\"reason\":\"archived-at-source\",\"objects\":60").await;
    status.signal("TERM");
    status.ended().await.with_status(0);
}

#[tokio::test]
async fn a_worker_serves_its_metrics_and_whether_it_lives() {
    let mut local = Local::new().await;
    local.embedded();
    local.set("MetricsAddress", ANY_PORT);
    local.source.put("a", noise(1000, 1)).await;
    local.run(&["jobsender"]).await.with_status(0);
    let mut worker = local.spawn(&["worker"]);
    let address = served(&mut worker).await;
    until("it has copied the object", async || {
        samples(&get(&address, "/metrics").await)["s3_migration_objects_copied_total"] == 1.0
    })
    .await;
    let metrics = samples(&get(&address, "/metrics").await);
    assert_eq!(metrics["s3_migration_transferred_bytes_total{side=\"destination\"}"], 1000.0);
    assert!(!metrics.keys().any(|name| name.contains("fleet")), "only its own: {metrics:?}");
    for path in ["/healthz", "/readyz"] {
        assert_eq!(get(&address, path).await.with_status(200).body, "ok\n");
    }
    for path in ["/api/state", "/api/failures", "/page.js"] {
        get(&address, path).await.with_status(404);
    }
    worker.signal("TERM");
    worker.ended().await.with_status(0);
}

#[tokio::test]
async fn a_jobsender_serves_between_its_comparisons() {
    let mut local = Local::new().await;
    local.embedded();
    local.source.put("a", noise(1000, 1)).await;
    let mut jobsender = local.spawn(&["jobsender", "--every", "1h", "--serve", ANY_PORT]);
    let address = served(&mut jobsender).await;
    until("it has listed the object", async || {
        let metrics = samples(&get(&address, "/metrics").await);
        metrics.get("s3_migration_objects_listed_total") == Some(&1.0)
    })
    .await;
    get(&address, "/").await.with_status(200);
    jobsender.signal("TERM");
    jobsender.ended().await.with_status(0);
}
