//! The screen as text, on terminals of several sizes.

use std::time::{Duration, SystemTime};

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;

use super::*;
use crate::config::LimitsConfig;
use crate::overview::test_readings::cluster;

fn fleet() -> Overview {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
    let mut fleet =
        cluster().overview("the fleet of queue q, table t", &LimitsConfig::default(), "USD", now);
    fleet.limits.destination_bandwidth = Some(50 << 20);
    fleet.limits.destination_requests = Some(200);
    fleet
}

pub(super) fn drawn(screen: &Screen, width: u16, height: u16) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| screen.draw(frame)).unwrap();
    terminal.backend().buffer().clone()
}

fn lines(buffer: &Buffer) -> Vec<String> {
    let (width, height) = (buffer.area.width, buffer.area.height);
    let cell = |x: u16, y: u16| buffer[(x, y)].symbol().to_owned();
    let line = |y| (0..width).map(|x| cell(x, y)).collect::<String>().trim_end().to_owned();
    (0..height).map(line).collect()
}

fn text(screen: &Screen, width: u16, height: u16) -> String {
    lines(&drawn(screen, width, height)).join("\n")
}

#[test]
fn everything_is_there_at_80_by_24() {
    let screen = Screen { fleets: vec![fleet()], ..Screen::default() };
    let text = text(&screen, 80, 24);
    println!("{text}");
    for words in [
        "the fleet of queue q, table t - running",
        "copying   700 of 1,000",
        "5.0/s 500 B/s",
        "about 1m",
        "not begun",
        "total 700 copied, 0 failed, 0 deleted",
        "spent 0 requests, 0 B read, 0 B sent, 0.50 USD",
        "limit source off; destination 50.0 MiB/s, 200/s requests",
        "waits for bucket to (destination): 503",
        "from -> to",
        "3 s ago",
        "silent for 5m",
        "from/a\\u{1b}[31m",
        "AccessDenied",
        "p pause  r resume  l limit  q quit",
    ] {
        assert!(text.contains(words), "no {words:?} in\n{text}");
    }
}

#[test]
fn billions_of_objects_are_in_percent_if_there_is_no_room() {
    let mut fleet = fleet();
    let copying = &mut fleet.phases[1];
    (copying.objects, copying.of_objects) = (2_345_678_901, Some(9_876_543_210));
    copying.seconds_left = Some([100_000, 300_000]);
    let screen = Screen { fleets: vec![fleet], ..Screen::default() };
    let narrow = text(&screen, 80, 24);
    assert!(narrow.contains("2,345,678,901 (24 %)"), "{narrow}");
    assert!(narrow.contains("1day 3h to 3days 11h"), "{narrow}");
    assert!(text(&screen, 200, 24).contains("2,345,678,901 of 9,876,543,210"));
}

#[test]
fn a_wide_terminal_shows_names_in_full_and_a_small_one_does_not_break() {
    let mut fleet = fleet();
    fleet.failures[0].example = format!("from/{}: denied", "long/".repeat(10));
    fleet.pairs[0].source = "a".repeat(63);
    fleet.pairs[0].destination = "b".repeat(63);
    let screen = Screen { fleets: vec![fleet.clone()], ..Screen::default() };
    let wide = text(&screen, 200, 50);
    println!("{wide}");
    assert!(wide.contains(&format!("{} -> {}", "a".repeat(63), "b".repeat(63))), "{wide}");
    assert!(wide.contains(&fleet.failures[0].example), "{wide}");
    assert!(wide.contains("GetObject source AccessDenied 403"), "{wide}");
    for (width, height) in [(1, 1), (10, 3), (40, 10), (79, 12), (300, 4)] {
        let shown = text(&screen, width, height);
        assert_eq!(shown.lines().count().max(1), usize::from(height), "{shown}");
    }
}

#[test]
fn a_resize_draws_for_the_new_size() {
    let screen = Screen { fleets: vec![fleet()], ..Screen::default() };
    let mut terminal = Terminal::new(TestBackend::new(200, 50)).unwrap();
    terminal.draw(|frame| screen.draw(frame)).unwrap();
    terminal.backend_mut().resize(80, 24);
    terminal.draw(|frame| screen.draw(frame)).unwrap();
    let after = lines(terminal.backend().buffer());
    assert_eq!(after, lines(&drawn(&screen, 80, 24)));
}

#[test]
fn long_lists_say_how_much_of_them_is_shown() {
    let mut fleet = fleet();
    let worker = fleet.workers[0].clone();
    fleet.workers =
        (0..100).map(|n| WorkerView { name: format!("i-{n:03}"), ..worker.clone() }).collect();
    let screen = Screen { fleets: vec![fleet], ..Screen::default() };
    let text = text(&screen, 80, 24);
    assert!(text.contains("i-000") && text.contains(" of 100 "), "{text}");
    assert!(
        text.contains("from -> to") && text.contains("AccessDenied"),
        "the others stay: {text}"
    );
}

#[test]
fn colours_are_used_only_if_they_are_wanted() {
    let mut fleet = fleet();
    fleet.paused = Some("the command pause".to_owned());
    let colours = |colour| {
        let screen = Screen { fleets: vec![fleet.clone()], colour, ..Screen::default() };
        let buffer = drawn(&screen, 80, 24);
        let plain = buffer.content().iter().filter(|cell| cell.fg == Color::Reset).count();
        buffer.content().len() - plain
    };
    assert_eq!(colours(false), 0);
    assert!(colours(true) > 0);
    let screen = Screen { fleets: vec![fleet], ..Screen::default() };
    assert!(text(&screen, 80, 24).contains("PAUSED: the command pause"));
}

#[test]
fn what_is_typed_and_what_was_done_is_in_the_last_line() {
    let mut screen = Screen { fleets: vec![fleet()], ..Screen::default() };
    screen.input = Some("50".to_owned());
    assert!(text(&screen, 80, 24).ends_with("limit, such as 50M or off: 50_  (Enter, Esc)"));
    screen.input = None;
    screen.message = "paused".to_owned();
    assert!(text(&screen, 80, 24).ends_with("paused  (p pause  r resume  l limit  q quit)"));
    screen.take(Ok(Vec::new()));
    assert!(text(&screen, 80, 24).contains("nothing yet"));
}

#[test]
fn numbers_that_are_not_up_to_date_say_so_until_they_are() {
    let mut screen = Screen::default();
    screen.take(Err("no answer".to_owned()));
    assert!(text(&screen, 80, 24).contains("no answer"));
    screen.take(Ok(vec![fleet()]));
    screen.take(Err("denied\u{1b}[31m".to_owned()));
    let shown = text(&screen, 80, 24);
    assert!(shown.contains("NOT UP TO DATE: denied\\u{1b}[31m"), "{shown}");
    assert!(shown.contains("copying   700 of 1,000"), "the last numbers stay: {shown}");
    screen.take(Ok(vec![fleet()]));
    assert!(!text(&screen, 80, 24).contains("NOT UP TO DATE"));
}
