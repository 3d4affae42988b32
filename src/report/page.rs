//! The page of a report, for people: one file, complete without any other.
//!
//! Pure: the page follows from the numbers.

use std::fmt::Write as _;
use std::time::SystemTime;

use super::certificate::{self, CertifiedFile};
use super::chart;
use super::line::{LineOutcome, moment};
use super::totals::{Amount, ReportTotals};
use crate::format::escape::shown;
use crate::format::human;
use crate::record::Proven;

/// The name of its file.
pub const FILE: &str = "report.html";
/// Rows of a table that may be long.
const SHOWN: usize = 25;
const STYLE: &str = include_str!("page.css");

/// What the page says in addition to the numbers.
#[derive(Clone, Debug, Default)]
pub struct PageFacts {
    /// When the report was written.
    pub created: String,
    /// What wrote it.
    pub program: String,
    /// Which records are in it.
    pub scope: Vec<String>,
    /// What the last comparison of both sides found, in words, and whether all was there.
    pub closing: Option<(String, bool)>,
    /// The requests and what they cost.
    pub cost: Option<CostFacts>,
}

/// Requests and costs, by name.
#[derive(Clone, Debug, Default)]
pub struct CostFacts {
    /// How many of each.
    pub requests: Vec<(String, u64)>,
    /// The amount for each, with its currency.
    pub costs: Vec<(String, String)>,
    /// The sum, with its currency. It means nothing without `costs`.
    pub total: String,
    /// By which prices, and what is not in it.
    pub note: String,
}

/// The page. `root`: the Merkle root over the lines in `files`.
pub fn page(
    facts: &PageFacts,
    totals: &ReportTotals,
    files: &[CertifiedFile],
    root: &str,
) -> String {
    let mut page = String::with_capacity(32 * 1024);
    let _ = write!(
        page,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>Migration report</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n"
    );
    head(&mut page, facts, totals);
    tiles(&mut page, totals);
    routes(&mut page, totals);
    outcomes(&mut page, facts, totals);
    failures(&mut page, totals, files);
    proofs(&mut page, totals);
    timeline(&mut page, totals);
    sizes(&mut page, totals);
    workers(&mut page, totals);
    cost(&mut page, facts.cost.as_ref());
    certificate(&mut page, files, root);
    page.push_str("</body>\n</html>\n");
    page
}

/// A text from outside, harmless between tags and in attributes.
fn html(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in shown(text).to_string().chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

fn head(page: &mut String, facts: &PageFacts, totals: &ReportTotals) {
    let (failed, unfinished) =
        (totals.of(LineOutcome::Failed).objects, totals.of(LineOutcome::Unfinished).objects);
    let all = human::count(totals.objects());
    let not_done = match (failed, unfinished) {
        (failed, 0) => format!("{} failed", human::count(failed)),
        (0, open) => format!("{} are unfinished", human::count(open)),
        (failed, open) => {
            format!("{} failed and {} are unfinished", human::count(failed), human::count(open))
        }
    };
    let own = match (totals.objects(), failed + unfinished) {
        (0, _) => "No object is on record".to_owned(),
        (_, 0) => format!("All {all} objects on record are done"),
        (objects, open) => {
            format!("{} of {all} objects are done, {not_done}", human::count(objects - open))
        }
    };
    let is_whole = facts.closing.as_ref().is_none_or(|(_, is_whole)| *is_whole);
    let is_good = failed + unfinished == 0 && is_whole && totals.objects() > 0;
    let tone = if is_good { "good" } else { "bad" };
    let _ = write!(page, "<h1>Migration report</h1>\n<div class=\"verdict {tone}\"><b>{own}</b>");
    match &facts.closing {
        Some((words, _)) => {
            for line in words.lines() {
                let _ = write!(page, "<br>{}", html(line.trim()));
            }
        }
        None => page.push_str(
            "<br>Not checked here: whether the source has further objects that are not at the \
             destination. <code>s3-migration verify</code> compares both sides.",
        ),
    }
    page.push_str("</div>\n<dl>\n");
    for place in &facts.scope {
        let _ = writeln!(page, "<dt>What</dt><dd>{}</dd>", html(place));
    }
    if let [([source, destination], _)] = totals.routes().as_slice() {
        for (name, bucket) in [("Source bucket", source), ("Destination bucket", destination)] {
            let _ = writeln!(page, "<dt>{name}</dt><dd>{}</dd>", html(bucket));
        }
    }
    if let Some((begin, end)) = totals.span {
        for (name, time) in [("Started", begin), ("Ended", end)] {
            let _ = writeln!(page, "<dt>{name}</dt><dd>{}</dd>", in_utc(time));
        }
    }
    let (created, program) = (html(&facts.created), html(&facts.program));
    let _ = writeln!(page, "<dt>This report</dt><dd>written {created} by {program}</dd>\n</dl>");
}

/// `2026-01-31 23:59:59 UTC`.
fn in_utc(time: SystemTime) -> String {
    let text = humantime::format_rfc3339_seconds(time).to_string();
    text.replace('T', " ").replace('Z', " UTC")
}

/// From which buckets to which, if there are several.
fn routes(page: &mut String, totals: &ReportTotals) {
    let routes = totals.routes();
    if routes.len() < 2 {
        return;
    }
    page.push_str("<h2>From where to where</h2>\n");
    let rows = routes.iter().take(SHOWN).map(|([source, destination], amount)| {
        let [objects, bytes] = numbers(*amount);
        vec![html(source), html(destination), objects, bytes]
    });
    let columns = ["Source bucket", "Destination bucket", "Objects", "Size"];
    table(page, &columns, &rows.collect::<Vec<_>>());
    if routes.len() > SHOWN {
        let _ = writeln!(page, "<p>and {} more pairs.</p>", routes.len() - SHOWN);
    }
}

fn tiles(page: &mut String, totals: &ReportTotals) {
    let copied = totals.of(LineOutcome::Copied);
    let span = totals.span.and_then(|(begin, end)| end.duration_since(begin).ok());
    let span = span.unwrap_or_default();
    let per_second = match span.as_secs_f64() {
        seconds if seconds > 0.0 => format!("{:.1} objects/s", copied.objects as f64 / seconds),
        _ => "-".to_owned(),
    };
    page.push_str("<div class=\"tiles\">\n");
    for (name, value, more) in [
        ("Copied", human::count(copied.objects), "objects".to_owned()),
        ("Data", human::bytes(copied.bytes), format!("{} bytes", human::count(copied.bytes))),
        ("Time", human::duration(span), "from the first start to the last end".to_owned()),
        ("Rate", human::rate(copied.bytes, span), per_second),
        (
            "Attempts",
            human::count(totals.attempts),
            format!("more than one at {}", human::objects(totals.repeated)),
        ),
    ] {
        let _ = writeln!(
            page,
            "<div class=\"tile\"><span>{name}</span><b>{value}</b><small>{more}</small></div>"
        );
    }
    page.push_str("</div>\n");
}

/// What columns of numbers are called.
const NUMBERS: [&str; 7] =
    ["Objects", "Size", "Share", "Total size", "Number", "Amount", "Compressed"];

/// A table; columns of numbers are aligned as such.
fn table(page: &mut String, columns: &[&str], rows: &[Vec<String>]) {
    let class = |at: usize| match columns.get(at).is_some_and(|name| NUMBERS.contains(name)) {
        true => " class=\"number\"",
        false => "",
    };
    page.push_str("<table>\n<thead><tr>");
    for (at, column) in columns.iter().enumerate() {
        let _ = write!(page, "<th{}>{column}</th>", class(at));
    }
    page.push_str("</tr></thead>\n<tbody>\n");
    for row in rows {
        page.push_str("<tr>");
        for (at, cell) in row.iter().enumerate() {
            let _ = write!(page, "<td{}>{cell}</td>", class(at));
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody>\n</table>\n");
}

fn numbers(amount: Amount) -> [String; 2] {
    [human::count(amount.objects), human::bytes(amount.bytes)]
}

fn row(name: &str, amount: Amount) -> Vec<String> {
    let [objects, bytes] = numbers(amount);
    vec![html(name), objects, bytes]
}

fn outcomes(page: &mut String, facts: &PageFacts, totals: &ReportTotals) {
    page.push_str("<h2>What became of the objects</h2>\n");
    let rows = LineOutcome::ALL.map(|outcome| {
        let words = match outcome {
            LineOutcome::Copied => "copied: at the destination",
            LineOutcome::Deleted => "deleted at the destination, as at the source",
            LineOutcome::Failed => "failed",
            LineOutcome::Unfinished => "unfinished: begun, and no end is on record",
        };
        (totals.of(outcome), words)
    });
    let rows = rows.into_iter().filter(|(amount, _)| amount.objects > 0);
    let rows: Vec<_> = rows.map(|(amount, words)| row(words, amount)).collect();
    table(page, &["Outcome", "Objects", "Size"], &rows);
    let counted = match facts.closing {
        Some(_) => "the comparison above counts them",
        None => "they are not counted here",
    };
    let _ = writeln!(
        page,
        "<p>Objects that were at the destination before are not on record: {counted}.</p>"
    );
}

fn failures(page: &mut String, totals: &ReportTotals, files: &[CertifiedFile]) {
    let groups = totals.reasons.groups();
    if groups.is_empty() {
        return;
    }
    page.push_str("<h2>What failed, and what to do</h2>\n");
    let rows = groups.iter().map(|group| {
        let left = group.objects - group.named.len() as u64;
        let mut named: Vec<String> =
            group.named.iter().map(|key| format!("<code>{}</code>", html(key))).collect();
        if left > 0 {
            named.push(format!("and {} more", human::count(left)));
        }
        vec![
            format!(
                "{}<br><small>{}: {}</small>",
                html(&group.cure),
                html(&group.word),
                html(&group.error)
            ),
            human::count(group.objects),
            human::bytes(group.bytes),
            format!("<div class=\"which\">{}</div>", named.join("<br>")),
        ]
    });
    let columns = ["To do, and the first error", "Objects", "Size", "Which"];
    table(page, &columns, &rows.collect::<Vec<_>>());
    let example = files.first().map_or_else(String::new, |file| html(&file.name));
    let _ = writeln!(
        page,
        "<p>When that is done, <code>s3-migration failed --redrive</code> tries them again. Each \
         failed object has a line with its error in the lists below ({example}); \
         <code>s3-migration failed</code> prints them.</p>"
    );
}

fn proofs(page: &mut String, totals: &ReportTotals) {
    let copied = totals.of(LineOutcome::Copied);
    if copied.objects == 0 {
        return;
    }
    page.push_str("<h2>What proves that the copies are unchanged</h2>\n");
    let kinds = [
        (
            Some(Proven::Source),
            "source: the bytes that were read have the digest (MD5, SHA or CRC) that the source \
             keeps of the object, and the destination has checked that it stored these bytes",
        ),
        (
            Some(Proven::Transit),
            "transit: the destination has checked that it stored the bytes that were read; the \
             source keeps no digest of the whole object to compare them with",
        ),
        (
            Some(Proven::Nothing),
            "none: the destination neither checks what it stores nor says what it has stored",
        ),
        (None, "not on record"),
    ];
    let rows = kinds.iter().map(|(proven, words)| (totals.proven(*proven), *words));
    let rows = rows.filter(|(amount, _)| amount.objects > 0).map(|(amount, words)| {
        let share = amount.objects as f64 * 100.0 / copied.objects as f64;
        let [objects, bytes] = numbers(amount);
        // No share of less than all is rounded up to it.
        vec![words.to_owned(), objects, bytes, format!("{:.1} %", (share * 10.0).floor() / 10.0)]
    });
    table(page, &["Proof", "Objects", "Size", "Share"], &rows.collect::<Vec<_>>());
}

fn timeline(page: &mut String, totals: &ReportTotals) {
    let width = totals.timeline.width();
    let steps: Vec<_> = totals.timeline.steps().collect();
    let (Some(first), Some(last)) = (steps.first(), steps.last()) else { return };
    let most = steps.iter().map(|(_, step)| step.bytes).max().unwrap_or_default();
    let objects = steps.iter().map(|(_, step)| step.objects).max().unwrap_or_default();
    page.push_str("<h2>When it was copied</h2>\n");
    let bars = steps.iter().map(|(begin, step)| {
        let (objects, bytes) = (human::objects(step.objects), human::bytes(step.bytes));
        // Objects of no bytes show as well.
        let height = if most > 0 { step.bytes as f64 / most as f64 } else { 0.0 };
        (height, step.objects > 0, format!("{}: {objects}, {bytes}", moment(*begin)))
    });
    page.push_str(&chart::bars(bars));
    let _ = writeln!(
        page,
        "<p class=\"axis\"><span>{}</span><span>{}</span></p>\n<p>A bar is what ended within {}; an \
         object counts in full when it ends. The highest bar stands for {}; most objects in one \
         bar: {}.</p>",
        in_utc(first.0),
        in_utc(last.0 + width),
        human::duration(width),
        human::bytes(most),
        human::count(objects),
    );
}

fn sizes(page: &mut String, totals: &ReportTotals) {
    if totals.sizes.objects() == 0 {
        return;
    }
    page.push_str("<h2>Sizes of what was copied</h2>\n");
    let (mut rows, mut above) = (Vec::new(), 0);
    for class in totals.sizes.classes() {
        let name = match class.up_to {
            Some(0) => "empty".to_owned(),
            Some(bytes) if above == 0 => format!("up to {}", human::bytes(bytes)),
            Some(bytes) => format!("{} to {}", human::bytes(above), human::bytes(bytes)),
            None => format!("more than {}", human::bytes(above)),
        };
        above = class.up_to.unwrap_or(above);
        if class.objects > 0 {
            rows.push(row(&name, Amount { objects: class.objects, bytes: class.bytes }));
        }
    }
    table(page, &["Size of an object", "Objects", "Total size"], &rows);
    let copied = totals.of(LineOutcome::Copied);
    if let Some(mean) = copied.bytes.checked_div(copied.objects) {
        let _ = writeln!(page, "<p>On average {} an object.</p>", human::bytes(mean));
    }
}

fn workers(page: &mut String, totals: &ReportTotals) {
    let workers = totals.workers();
    if workers.is_empty() {
        return;
    }
    page.push_str("<h2>Which machines copied</h2>\n");
    let rows = workers.iter().take(SHOWN).map(|(name, amount)| row(name, *amount));
    table(page, &["Worker", "Objects", "Size"], &rows.collect::<Vec<_>>());
    if workers.len() > SHOWN {
        let _ = writeln!(page, "<p>and {} more workers.</p>", workers.len() - SHOWN);
    }
}

fn cost(page: &mut String, cost: Option<&CostFacts>) {
    let Some(CostFacts { requests, costs, total, note }) = cost else { return };
    page.push_str("<h2>Requests and cost, estimated</h2>\n");
    let rows = requests.iter().filter(|(_, count)| *count > 0);
    let rows: Vec<_> = rows.map(|(name, count)| vec![html(name), human::count(*count)]).collect();
    table(page, &["Requests", "Number"], &rows);
    let sum = [("total".to_owned(), total.clone())];
    let rows = costs.iter().chain(&sum).map(|(name, amount)| vec![html(name), html(amount)]);
    if !costs.is_empty() {
        table(page, &["Cost", "Amount"], &rows.collect::<Vec<_>>());
    }
    let _ = writeln!(page, "<p>{}</p>", html(note));
}

fn certificate(page: &mut String, files: &[CertifiedFile], root: &str) {
    page.push_str("<h2>The list of objects, and its certificate</h2>\n");
    let rows = files.iter().take(SHOWN).map(|file| {
        let name = format!("<code>{}</code>", html(&file.name));
        vec![name, human::count(file.lines), human::bytes(file.bytes)]
    });
    table(page, &["File", "Objects", "Compressed"], &rows.collect::<Vec<_>>());
    if files.len() > SHOWN {
        let _ = writeln!(page, "<p>and {} more files.</p>", files.len() - SHOWN);
    }
    let _ = writeln!(
        page,
        "<p>The files above list every object. Their fingerprint, a Merkle root with SHA-256 over \
         all lines:</p>\n<p><code class=\"root\">{}</code></p>\n\
         <p><code>{}</code>, in the folder of this page, has it too, with the SHA-256 of every file of \
         the report, this page included. <code>s3-migration report --check FOLDER</code> computes all \
         of it again and says <code>intact</code>, or what was altered. Keep the root, or this page in \
         print, in another place than the files: whoever has it can tell that no line was altered, \
         added or removed.</p>",
        html(root),
        certificate::FILE
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{JobStatus, Record};
    use crate::report::line::tests::record;

    fn of(records: &[Record], closing: Option<(String, bool)>) -> String {
        let mut totals = ReportTotals::default();
        records.iter().for_each(|record| totals.add(record));
        let scope = vec!["s3://from/ -> s3://to/<b>".to_owned()];
        let facts = PageFacts { scope, closing, ..PageFacts::default() };
        page(&facts, &totals, &[CertifiedFile::new("objects-00001.jsonl.gz", 1, b"x")], "abc")
    }

    #[test]
    fn nothing_is_fetched_and_no_text_from_outside_is_a_tag() {
        let evil = "</code><script>alert(1)</script>\u{202e}&\"'";
        let failed = Record {
            status: JobStatus::Failed,
            last_error: Some(format!("denied <img src=x> {evil}")),
            instance: evil.to_owned(),
            ..record(evil)
        };
        let copied = Record { instance: evil.to_owned(), ..record(evil) };
        let text = of(&[failed, copied], Some((evil.to_owned(), true)));
        for wrong in ["<script", "<img", "<b>\"", "http://", "https://", "src=x>", "\u{202e}"] {
            assert!(!text.contains(wrong), "{wrong}");
        }
        assert!(!text.contains("url(") && !text.contains("@import"));
        assert!(text.contains("&lt;script&gt;") && text.contains("default-src 'none'"));
        for style in ["prefers-color-scheme: dark", "@media print"] {
            assert!(text.contains(style), "{style}");
        }
    }

    /// Promise 0.
    #[test]
    fn the_verdict_is_good_only_if_everything_is() {
        let failed = Record { status: JobStatus::Failed, ..record("f") };
        let open = Record { status: JobStatus::Running, ..record("o") };
        let there = || Some(("all there".to_owned(), true));
        for (records, closing, is_good, words) in [
            (vec![record("a")], there(), true, "All 1 objects on record are done"),
            (vec![record("a")], None, true, "Not checked here"),
            (vec![record("a")], Some(("2 missing".to_owned(), false)), false, "2 missing"),
            (
                vec![record("a"), failed.clone()],
                there(),
                false,
                "1 of 2 objects are done, 1 failed",
            ),
            (
                vec![record("a"), open.clone()],
                there(),
                false,
                "1 of 2 objects are done, 1 are unfinished",
            ),
            (
                vec![failed, open],
                there(),
                false,
                "0 of 2 objects are done, 1 failed and 1 are unfinished",
            ),
            (vec![], there(), false, "No object is on record"),
        ] {
            let text = of(&records, closing);
            assert!(text.contains(words), "{words}");
            assert_eq!(text.contains("verdict good"), is_good, "{words}");
        }
    }
}
