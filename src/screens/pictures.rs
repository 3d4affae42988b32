//! Draws the pictures of the screen in docs/guide.md, and sees that they still show it:
//! `UPDATE_PICTURES=1 cargo test --lib pictures` draws them anew.

use std::fmt::Write as _;
use std::path::Path;

use ratatui::buffer::Cell;

use super::tests::drawn;
use super::*;
use crate::format::escape::is_plain;
use crate::limits::beat::Member;
use crate::monitor::activity::{Held, Phase};
use crate::overview::{LimitsView, TotalView};

/// Pixels of a cell, and around the whole.
const COLUMN: f64 = 8.4;
const LINE: f64 = 19.0;
const MARGIN: f64 = 14.0;
/// Name, columns, lines, colours.
const PICTURES: [(&str, u16, u16, bool); 4] = [
    ("status-watch-80.svg", 80, 24, true),
    ("status-watch-80-plain.svg", 80, 24, false),
    ("status-watch-200.svg", 200, 30, true),
    ("status-watch-200-plain.svg", 200, 30, false),
];
/// With colours it is a dark terminal; without, one as light or dark as the reader's page.
const DARK: &str = ".p{fill:#0d1117}.t{fill:#e6edf3}.r{fill:#ff7b72}.g{fill:#7ee787}.y{fill:#e3b341}\
                    .c{fill:#79c0ff}.k{fill:#0d1117}.v{fill:#e6edf3}";
const PLAIN: &str = ".p{fill:#f6f8fa}.t{fill:#1f2328}.k{fill:#f6f8fa}.v{fill:#1f2328}\
                     @media(prefers-color-scheme:dark){.p{fill:#0d1117}.t{fill:#e6edf3}\
                     .k{fill:#0d1117}.v{fill:#e6edf3}}";
const FONT: &str = "text{white-space:pre;font:14px ui-monospace,SFMono-Regular,Menlo,Consolas,\
                    monospace}.b{font-weight:bold}.u{text-decoration:underline}";

/// Objects and GiB.
fn amount(objects: u64, gib: u64) -> Amount {
    Amount { objects, bytes: gib << 30 }
}

fn phase(phase: Phase, done: Amount, of: Option<Amount>, a_second: (f64, f64)) -> PhaseView {
    PhaseView {
        phase,
        active: phase == Phase::Copying,
        objects: done.objects,
        bytes: done.bytes,
        of_objects: of.map(|of| of.objects),
        of_bytes: of.map(|of| of.bytes),
        objects_per_second: a_second.0,
        bytes_per_second: a_second.1 * f64::from(1 << 20),
        seconds_left: (phase == Phase::Copying).then_some([28_500, 33_000]),
    }
}

fn pair(source: &str, listed: Amount, copied: Amount, failed: u64) -> PairView {
    let (source, destination) = (source.to_owned(), format!("{source}-cn"));
    let failed = amount(failed, 0);
    let amounts = PairAmounts { listed, to_copy: listed, copied, failed, checked: amount(0, 0) };
    PairView { source, destination, amounts }
}

fn worker(name: &str, silent: u64, copied: u64, rate: u64, holds: &str) -> WorkerView {
    let lives = silent < 60;
    let held = Held { object: holds.to_owned(), bytes: 5 << 30 };
    WorkerView {
        name: name.to_owned(),
        kind: Member::Worker,
        lives,
        silent_seconds: silent,
        phase: Some(Phase::Copying),
        copied,
        copied_bytes: copied << 20,
        failed: 0,
        bytes_per_second: (rate << 20) as f64,
        held: if lives { 5 } else { 0 },
        holds: if lives { vec![held] } else { vec![] },
    }
}

fn failure(objects: u64, reason: &str, example: &str) -> FailureView {
    FailureView { reason: reason.to_owned(), objects, example: example.to_owned() }
}

/// Two pairs, two reasons for failures, and four workers. One of them was killed.
fn fleet() -> Overview {
    let all = amount(3_811_204, 41_500);
    Overview {
        fleet: "the fleet of queue s3_migration_file_list, table s3_migration_file_list".to_owned(),
        since: None,
        phases: vec![
            phase(Phase::Comparing, all, Some(all), (0.0, 0.0)),
            phase(Phase::Copying, amount(1_284_420, 14_870), Some(all), (83.4, 912.6)),
            phase(Phase::Closing, amount(0, 0), None, (0.0, 0.0)),
        ],
        pairs: vec![
            pair("media-archive", amount(3_204_117, 39_100), amount(1_101_311, 13_902), 12),
            pair("web-logs", amount(607_087, 2_400), amount(183_109, 968), 0),
        ],
        workers: vec![
            worker("i-0a4f63b1-1024", 4, 402_118, 311, "media-archive/2024/takes/0017.mxf"),
            worker("i-0c19e7d2-1019", 11, 398_004, 296, "media-archive/2024/takes/0018.mxf"),
            worker("i-0f3a9c55-1022", 7, 381_220, 305, "web-logs/2025/06/11/edge-04.gz"),
            worker("i-07be12aa-1031", 187, 103_066, 0, ""),
        ],
        failures: vec![
            failure(
                9,
                "GetObject source InvalidObjectState 403",
                "media-archive/2019/reel-7.mov: InvalidObjectState: in the archive, not restored",
            ),
            failure(
                3,
                "PutObject destination AccessDenied 403",
                "media-archive/legal/hold.pdf: AccessDenied: s3:PutObjectTagging",
            ),
        ],
        waiting_for: vec![
            "bucket media-archive-cn (destination): SlowDown 503, since 40 s".to_owned(),
        ],
        paused: None,
        limits: LimitsView { destination_bandwidth: Some(1 << 30), ..LimitsView::default() },
        total: TotalView {
            copied: 1_284_420,
            copied_bytes: 14_870 << 30,
            failed: 12,
            deleted: 0,
            read_bytes: 14_902 << 30,
            sent_bytes: 14_891 << 30,
            source_requests: 4_112_870,
            destination_requests: 4_391_034,
            cost: 1361.48,
            currency: "USD".to_owned(),
        },
        ..Overview::default()
    }
}

/// The classes of a cell's text.
fn classes(cell: &Cell) -> String {
    let has = |modifier| cell.modifier.contains(modifier);
    let colour = match cell.fg {
        _ if has(Modifier::REVERSED) => "k",
        Color::Red => "r",
        Color::Green => "g",
        Color::Yellow => "y",
        Color::Cyan => "c",
        _ => "t",
    };
    let bold = if has(Modifier::BOLD) { " b" } else { "" };
    let underlined = if has(Modifier::UNDERLINED) { " u" } else { "" };
    format!("{colour}{bold}{underlined}")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// What the terminal shows, as a picture that needs no font and no program of its own.
fn svg(screen: &Screen, columns: u16, lines: u16) -> String {
    let buffer = drawn(screen, columns, lines);
    let (width, height) =
        (f64::from(columns) * COLUMN + 2.0 * MARGIN, f64::from(lines) * LINE + 2.0 * MARGIN);
    let colours = if screen.colour { DARK } else { PLAIN };
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\">\n\
         <style>{colours}{FONT}</style>\n<rect class=\"p\" width=\"100%\" height=\"100%\" rx=\"8\"/>\n"
    );
    for y in 0..lines {
        let mut x = 0;
        while x < columns {
            let first = &buffer[(x, y)];
            let style = (classes(first), first.modifier);
            let same = |x: &u16| (classes(&buffer[(*x, y)]), buffer[(*x, y)].modifier) == style;
            let end = (x..columns).take_while(same).last().unwrap_or(x) + 1;
            let text: String = (x..end).map(|x| buffer[(x, y)].symbol()).collect();
            part(&mut svg, (x, y), &text, &style);
            x = end;
        }
    }
    svg.push_str("</svg>\n");
    svg
}

/// Cells of one style next to each other.
fn part(
    svg: &mut String,
    (x, y): (u16, u16),
    text: &str,
    (classes, modifier): &(String, Modifier),
) {
    assert!(text.chars().all(is_plain), "{text:?}");
    let (left, top) = (MARGIN + f64::from(x) * COLUMN, MARGIN + f64::from(y) * LINE);
    let width = |text: &str| text.chars().count() as f64 * COLUMN;
    if modifier.contains(Modifier::REVERSED) {
        let width = width(text);
        let _ = writeln!(
            svg,
            "<rect class=\"v\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{LINE}\"/>"
        );
    }
    let is_underlined = modifier.contains(Modifier::UNDERLINED);
    let text = if is_underlined { text } else { text.trim_end() };
    if text.is_empty() {
        return;
    }
    // A reader's font may have other widths.
    let _ = writeln!(
        svg,
        "<text class=\"{classes}\" x=\"{left:.1}\" y=\"{:.1}\" textLength=\"{:.1}\" \
         xml:space=\"preserve\">{}</text>",
        top + 0.75 * LINE,
        width(text),
        escaped(text)
    );
}

#[test]
fn the_pictures_in_the_guide_show_the_screen_as_it_is() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/pictures");
    for (name, columns, lines, colour) in PICTURES {
        let screen = Screen { fleets: vec![fleet()], colour, ..Screen::default() };
        let (file, svg) = (folder.join(name), svg(&screen, columns, lines));
        if std::env::var_os("UPDATE_PICTURES").is_some() {
            std::fs::write(&file, &svg).unwrap();
        }
        let kept = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(kept == svg, "{name} is old: UPDATE_PICTURES=1 cargo test --lib pictures");
    }
}
