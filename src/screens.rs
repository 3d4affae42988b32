//! The full screen of `status --watch`: draws an overview, and reads keys.
//!
//! What it looks like follows from a [`Screen`] alone, so that tests draw it without a terminal.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Paragraph};

use columns::{Columns, shortened};

use crate::format::escape::shown;
use crate::format::human;
use crate::limits::fleet::rate_in_words;
use crate::monitor::activity::{Amount, PairAmounts};
use crate::overview::{FailureView, Overview, PairView, PhaseView, WorkerView};

mod columns;
mod keys;
mod terminal;

pub use keys::{Action, Input};
pub use terminal::{KeyReader, Terminal};

/// What is on the screen.
#[derive(Clone, Debug, Default)]
pub struct Screen {
    /// The fleets; one is shown.
    pub fleets: Vec<Overview>,
    /// Which one.
    pub shown: usize,
    /// What was done last.
    pub message: String,
    /// Why the fleets are not up to date; empty: they are.
    pub stale: String,
    /// A limit that is being typed.
    pub input: Option<String>,
    /// Colours may be used.
    pub colour: bool,
}

/// Rows of a list, its title and its header.
const LEAST: u16 = 3;

impl Screen {
    /// The fleet that is shown.
    pub fn fleet(&self) -> Option<&Overview> {
        self.fleets.get(self.shown % self.fleets.len().max(1))
    }

    /// Takes in what was seen of the fleets, or why nothing was.
    pub fn take(&mut self, seen: Result<Vec<Overview>, String>) {
        match seen {
            Ok(fleets) => (self.fleets, self.stale) = (fleets, String::new()),
            Err(why) => self.stale = why,
        }
    }

    /// Draws all of it, on a terminal of any size.
    pub fn draw(&self, frame: &mut Frame<'_>) {
        let area = frame.area();
        let [title, body, footer] =
            Layout::vertical([Constraint::Length(1), Constraint::Min(0), Constraint::Length(1)])
                .areas(area);
        frame.render_widget(self.title(title.width), title);
        frame.render_widget(self.footer(), footer);
        match self.fleet() {
            Some(fleet) => self.body(frame, body, fleet),
            None if self.stale.is_empty() => {
                frame.render_widget(Paragraph::new("nothing yet: no process has joined"), body);
            }
            None => frame.render_widget(Paragraph::new(shown(&self.stale).to_string()), body),
        }
    }

    fn body(&self, frame: &mut Frame<'_>, area: Rect, fleet: &Overview) {
        let waits = u16::try_from(fleet.waiting_for.len()).unwrap_or(u16::MAX).min(2);
        let wanted = |rows: usize| u16::try_from(rows).unwrap_or(u16::MAX).saturating_add(2);
        // What does not fit is cut from the longest list first, and each keeps a line or two.
        let lists = [
            wanted(fleet.pairs.len()),
            wanted(fleet.workers.len()),
            if fleet.failures.is_empty() { 0 } else { wanted(fleet.failures.len()) },
        ];
        let fixed = 4 + 3 + waits;
        let [pairs, workers, failures] = fitted(lists, area.height.saturating_sub(fixed));
        let rows = [4, 3, waits, pairs, workers, failures].map(Constraint::Length);
        let [a, b, c, d, e, f] = Layout::vertical(rows).areas(area);
        self.phases(frame, a, fleet);
        self.spent(frame, b, fleet);
        let waits = fleet.waiting_for.iter().map(|why| {
            Line::styled(format!("waits for {}", shown(why)), self.style(Color::Yellow))
        });
        frame.render_widget(Paragraph::new(waits.collect::<Vec<_>>()), c);
        self.pairs(frame, d, fleet);
        self.workers(frame, e, fleet);
        self.failures(frame, f, fleet);
    }

    fn style(&self, colour: Color) -> Style {
        let style = Style::new();
        if self.colour { style.fg(colour) } else { style }
    }

    fn strong(&self, colour: Color) -> Style {
        self.style(colour).add_modifier(Modifier::BOLD)
    }

    fn title(&self, width: u16) -> Paragraph<'_> {
        let Some(fleet) = self.fleet() else { return Paragraph::new("s3-migration") };
        let living = fleet.workers.iter().filter(|worker| worker.lives).count();
        let state = match &fleet.paused {
            _ if !self.stale.is_empty() => {
                let why = format!("NOT UP TO DATE: {}", shown(&self.stale));
                Span::styled(why, self.strong(Color::Red))
            }
            Some(why) => Span::styled(format!("PAUSED: {}", shown(why)), self.strong(Color::Red)),
            None if living == 0 => Span::styled("no process lives", self.style(Color::Yellow)),
            None => Span::styled("running", self.strong(Color::Green)),
        };
        let room = usize::from(width).saturating_sub(state.content.chars().count() + 3);
        let name = shortened(&fleet.fleet, room);
        let bold = Style::new().add_modifier(Modifier::BOLD);
        Paragraph::new(Line::from(vec![Span::styled(name, bold), Span::raw(" - "), state]))
    }

    fn footer(&self) -> Paragraph<'_> {
        let line = match (&self.input, self.message.is_empty()) {
            (Some(input), _) => format!("limit, such as 50M or off: {input}_  (Enter, Esc)"),
            (None, true) => {
                let more = if self.fleets.len() > 1 { "  Tab next fleet" } else { "" };
                format!("p pause  r resume  l limit  q quit{more}")
            }
            (None, false) => format!("{}  (p pause  r resume  l limit  q quit)", self.message),
        };
        Paragraph::new(line).style(Style::new().add_modifier(Modifier::REVERSED))
    }

    fn phases(&self, frame: &mut Frame<'_>, area: Rect, fleet: &Overview) {
        let row = |phase: &PhaseView, objects: String| {
            let style = if phase.active { self.strong(Color::Cyan) } else { Style::new() };
            let rate = if phase.active { phase.rate_in_words() } else { "-".to_owned() };
            let left = phase.left_in_words();
            let cells = [
                phase.name().to_owned(),
                objects,
                human::bytes(phase.bytes),
                rate,
                left.strip_prefix("left: ").unwrap_or(&left).to_owned(),
            ];
            (cells, style)
        };
        let phases = |objects: fn(&PhaseView) -> String| Columns {
            head: ["phase", "objects", "bytes", "rate", "left"],
            numbers: &[],
            cut: &[&[1]],
            rows: fleet.phases.iter().map(|phase| row(phase, objects(phase))).collect(),
        };
        let mut shown = phases(PhaseView::objects_in_words);
        if !shown.fits(area.width) {
            shown = phases(PhaseView::objects_in_percent);
        }
        frame.render_widget(shown.table(area.width), area);
    }

    fn spent(&self, frame: &mut Frame<'_>, area: Rect, fleet: &Overview) {
        let limits = fleet.limits;
        let side = |bandwidth, requests| match (rate_in_words(true, bandwidth), requests) {
            (bytes, None) => bytes,
            (bytes, requests) => format!("{bytes}, {} requests", rate_in_words(false, requests)),
        };
        let source = side(limits.source_bandwidth, limits.source_requests);
        let destination = side(limits.destination_bandwidth, limits.destination_requests);
        let total = &fleet.total;
        let failed_style = if total.failed > 0 { self.strong(Color::Red) } else { Style::new() };
        let (copied, failed) = (human::count(total.copied), human::count(total.failed));
        let lines = vec![
            Line::from(vec![
                Span::raw(format!("total {copied} copied, ")),
                Span::styled(format!("{failed} failed"), failed_style),
                Span::raw(format!(", {} deleted", human::count(total.deleted))),
            ]),
            Line::raw(format!("spent {}", fleet.spent_in_words())),
            Line::raw(format!("limit source {source}; destination {destination}")),
        ];
        frame.render_widget(Paragraph::new(lines), area);
    }

    fn pairs(&self, frame: &mut Frame<'_>, area: Rect, fleet: &Overview) {
        let row = |pair: &PairView| {
            let count = |amount: Amount| human::count(amount.objects);
            let PairAmounts { listed, to_copy, copied, failed, .. } = pair.amounts;
            let cells = [
                format!("{} -> {}", shown(&pair.source), shown(&pair.destination)),
                count(listed),
                count(to_copy),
                count(copied),
                count(failed),
            ];
            (cells, Style::new())
        };
        let pairs = Columns {
            head: ["pair", "listed", "to copy", "copied", "failed"],
            numbers: &[1, 2, 3, 4],
            cut: &[&[0]],
            rows: fleet.pairs.iter().map(row).collect(),
        };
        list(frame, area, fleet.pairs.len(), pairs);
    }

    fn workers(&self, frame: &mut Frame<'_>, area: Rect, fleet: &Overview) {
        let row = |worker: &WorkerView| {
            let style = if worker.lives { Style::new() } else { self.style(Color::Yellow) };
            let oldest = worker.holds.first().map(|held| shown(&held.object).to_string());
            let cells = [
                shown(&worker.name).to_string(),
                worker.sign_in_words(),
                human::count(worker.copied),
                format!("{}/s", human::bytes(worker.bytes_per_second as u64)),
                human::count(worker.held),
                oldest.unwrap_or_default(),
            ];
            (cells, style)
        };
        let workers = Columns {
            head: ["process", "sign of life", "copied", "rate", "holds", "the oldest of them"],
            numbers: &[2, 3, 4],
            cut: &[&[0, 5]],
            rows: fleet.workers.iter().map(row).collect(),
        };
        list(frame, area, fleet.workers.len(), workers);
    }

    fn failures(&self, frame: &mut Frame<'_>, area: Rect, fleet: &Overview) {
        let row = |failure: &FailureView| {
            let [reason, example] =
                [&failure.reason, &failure.example].map(|text| shown(text).to_string());
            ([human::count(failure.objects), reason, example], self.style(Color::Red))
        };
        let failures = Columns {
            head: ["failed", "reason", "such as"],
            numbers: &[0],
            cut: &[&[2], &[1]],
            rows: fleet.failures.iter().map(row).collect(),
        };
        list(frame, area, fleet.failures.len(), failures);
    }
}

/// A list with a line above it that says how many are not shown.
fn list<const N: usize>(frame: &mut Frame<'_>, area: Rect, rows: usize, columns: Columns<N>) {
    let visible = usize::from(area.height.saturating_sub(2));
    let mut block = Block::new().borders(Borders::TOP);
    if rows > visible {
        block = block.title(format!(" {visible} of {rows} "));
    }
    frame.render_widget(columns.table(area.width).block(block), area);
}

/// The rows of each list: what is wanted, or less if there is less room.
fn fitted(mut wanted: [u16; 3], room: u16) -> [u16; 3] {
    while wanted.iter().map(|rows| u32::from(*rows)).sum::<u32>() > u32::from(room) {
        let Some(longest) = wanted.iter_mut().max_by_key(|rows| **rows) else { break };
        if *longest <= LEAST {
            break;
        }
        *longest -= 1;
    }
    wanted
}

#[cfg(test)]
mod pictures;
#[cfg(test)]
mod tests;
