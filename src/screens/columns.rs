//! Tables whose columns are as wide as what is in them.
//!
//! Pure: the room is an argument.

use ratatui::layout::{Alignment, Constraint};
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Row, Table};

/// What a cut text ends with.
const CUT: &str = "..";
/// No column is cut to less.
const LEAST: usize = 8;
/// From this width on, columns are further apart.
const WIDE: u16 = 100;

/// A table, not laid out yet.
pub(super) struct Columns<const N: usize> {
    /// The names of the columns.
    pub head: [&'static str; N],
    /// Columns of numbers.
    pub numbers: &'static [usize],
    /// Columns that may be cut: of each group the widest first, and only if that is not enough, the
    /// next group.
    pub cut: &'static [&'static [usize]],
    /// Its rows, each with its style.
    pub rows: Vec<([String; N], Style)>,
}

impl<const N: usize> Columns<N> {
    /// Whether nothing is cut on a terminal of this many columns.
    pub fn fits(&self, room: u16) -> bool {
        self.widths(usize::MAX).iter().sum::<usize>() <= room_for_text::<N>(room)
    }

    /// The table for a terminal of this many columns.
    pub fn table(self, room: u16) -> Table<'static> {
        let spacing = spacing(room);
        let widths = self.widths(room_for_text::<N>(room));
        let row = |cells: [String; N]| {
            let cells = cells.into_iter().zip(widths).enumerate().map(|(at, (text, width))| {
                let is_number = self.numbers.contains(&at);
                let side = if is_number { Alignment::Right } else { Alignment::Left };
                Line::from(shortened(&text, width)).alignment(side)
            });
            Row::new(cells.collect::<Vec<_>>())
        };
        let underlined = Style::new().add_modifier(Modifier::UNDERLINED);
        let head = row(self.head.map(str::to_owned)).style(underlined);
        let rows: Vec<_> =
            self.rows.into_iter().map(|(cells, style)| row(cells).style(style)).collect();
        let lengths =
            widths.map(|width| Constraint::Length(u16::try_from(width).unwrap_or(u16::MAX)));
        Table::new(rows, lengths).header(head).column_spacing(spacing)
    }

    /// As wide as the widest cell; what is too much is taken from the columns that may be cut.
    fn widths(&self, room: usize) -> [usize; N] {
        let mut widths = self.head.map(width);
        for (cells, _) in &self.rows {
            for (width, cell) in widths.iter_mut().zip(cells) {
                *width = (*width).max(self::width(cell));
            }
        }
        let mut surplus = widths.iter().sum::<usize>().saturating_sub(room);
        for group in self.cut {
            while surplus > 0 {
                let widest = group.iter().copied().max_by_key(|at| widths[*at]);
                let Some(at) = widest.filter(|at| widths[*at] > LEAST) else { break };
                widths[at] -= 1;
                surplus -= 1;
            }
        }
        widths
    }
}

fn spacing(room: u16) -> u16 {
    if room >= WIDE { 3 } else { 1 }
}

fn room_for_text<const N: usize>(room: u16) -> usize {
    usize::from(room).saturating_sub(usize::from(spacing(room)) * N.saturating_sub(1))
}

fn width(text: &str) -> usize {
    Line::raw(text).width()
}

/// A text, cut to this width.
pub(super) fn shortened(text: &str, room: usize) -> String {
    if width(text) <= room {
        return text.to_owned();
    }
    let (mut shown, mut taken) = (String::new(), CUT.len());
    for c in text.chars() {
        taken += width(c.encode_utf8(&mut [0; 4]));
        if taken > room {
            break;
        }
        shown.push(c);
    }
    shown + CUT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_widest_columns_that_may_be_cut_are_cut_first() {
        let row =
            ["123456", "a long name indeed", "an even longer name than that"].map(str::to_owned);
        let columns = Columns {
            head: ["n", "name", "other"],
            numbers: &[0],
            cut: &[&[1, 2]],
            rows: vec![(row, Style::new())],
        };
        assert!(columns.fits(55) && !columns.fits(54));
        assert_eq!(columns.widths(80), [6, 18, 29]);
        assert_eq!(columns.widths(44), [6, 18, 20]);
        assert_eq!(columns.widths(36), [6, 15, 15]);
        assert_eq!(columns.widths(1), [6, LEAST, LEAST]);
        let columns = Columns { cut: &[&[2], &[1]], ..columns };
        assert_eq!(columns.widths(44), [6, 18, 20]);
        assert_eq!(columns.widths(36), [6, 18, 12]);
        assert_eq!(columns.widths(30), [6, 16, LEAST]);
    }

    #[test]
    fn a_cut_text_says_so() {
        assert_eq!(shortened("from/here", 9), "from/here");
        assert_eq!(shortened("from/here", 8), "from/h..");
        assert_eq!(shortened("\u{6587}\u{4ef6}\u{6587}\u{4ef6}", 6), "\u{6587}\u{4ef6}..");
        assert_eq!(shortened("ab", 1), "..");
    }
}
