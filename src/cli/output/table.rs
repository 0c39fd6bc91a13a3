//! Lists. On a terminal: columns below their names, as wide as what stands in them, cut to the
//! terminal. Otherwise: one line a row, a tab between cells, nothing cut and no names, for `cut`
//! and `awk`; programs read `--json`.
//!
//! Rows come in pages, so that a million of them need no more memory than a hundred. Columns grow
//! with later pages, and do not shrink.

use std::io::{self, Write};
use std::time::Duration;

use unicode_width::UnicodeWidthStr;

use super::terminal::Screen;
use super::times;
use crate::message::printable::visible;
use crate::message::timestamp::format_rfc3339;

/// Rows that are laid out together.
const PAGE: usize = 100;

/// Between two columns.
const GAP: usize = 2;

/// What stands below one name.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    name: &'static str,
    /// The width to which it may be cut; without it, it is shown whole.
    least: Option<usize>,
    is_number: bool,
    /// It is left out where the others leave no room.
    is_extra: bool,
}

impl Column {
    pub const fn whole(name: &'static str) -> Column {
        Column {
            name,
            least: None,
            is_number: false,
            is_extra: false,
        }
    }

    pub const fn cut(name: &'static str, least: usize) -> Column {
        Column {
            name,
            least: Some(least),
            is_number: false,
            is_extra: false,
        }
    }

    pub const fn number(name: &'static str) -> Column {
        Column {
            name,
            least: None,
            is_number: true,
            is_extra: false,
        }
    }

    /// The same, and left out where the others leave no room.
    pub const fn extra(self) -> Column {
        Column {
            is_extra: true,
            ..self
        }
    }
}

/// One value, which is shown to people and to programs in different forms.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    Nothing,
    Text(String),
    /// A text that says that something is wrong, or about to be.
    Bad(String),
    Warning(String),
    Count(u64),
    /// Unix milliseconds.
    Time(u64),
    /// How long something takes by now, in milliseconds.
    Length(u64),
}

impl Cell {
    pub fn text(value: &[u8]) -> Cell {
        match value {
            [] => Cell::Nothing,
            value => Cell::Text(String::from_utf8_lossy(value).into_owned()),
        }
    }
}

/// In which form cells are shown.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Form {
    Program,
    Long,
    /// Where the long one does not fit.
    Brief,
}

/// See the module's header.
pub struct Table {
    columns: Vec<Column>,
    screen: Screen,
    now: u64,
    rows: Vec<Vec<Cell>>,
    /// Chosen with the first page.
    form: Option<Form>,
    /// Which of the columns that there were are left out.
    hidden: Vec<bool>,
    /// The widest of each column so far, uncut.
    natural: Vec<usize>,
}

impl Table {
    /// `now`: Unix milliseconds.
    pub fn new(columns: &[Column], screen: Screen, now: u64) -> Table {
        Table {
            columns: columns.to_vec(),
            screen,
            now,
            rows: Vec::new(),
            form: None,
            hidden: Vec::new(),
            natural: Vec::new(),
        }
    }

    /// Adds a row: a cell for each column.
    pub fn push(&mut self, out: &mut impl Write, row: Vec<Cell>) -> io::Result<()> {
        self.rows.push(row);
        match self.rows.len() < PAGE {
            true => Ok(()),
            false => self.flush(out),
        }
    }

    /// Prints what has come so far.
    pub fn flush(&mut self, out: &mut impl Write) -> io::Result<()> {
        let rows = std::mem::take(&mut self.rows);
        if rows.is_empty() {
            return Ok(());
        }
        if !self.screen.is_terminal {
            for row in &rows {
                let cells: Vec<String> = row.iter().map(|c| self.show(c, Form::Program)).collect();
                writeln!(out, "{}", cells.join("\t"))?;
            }
            return Ok(());
        }
        let is_first = self.form.is_none();
        let (form, rows) = match self.form {
            Some(form) => (form, self.without_hidden(rows)),
            None => self.choose(rows),
        };
        self.form = Some(form);
        self.natural = self.measure(&rows, form);
        let widths = fit(&self.natural, &self.columns, self.screen.width);
        if is_first {
            let names = self.columns.iter().map(|column| column.name.to_uppercase());
            let names: Vec<(String, &str)> = names.map(|name| (name, "1")).collect();
            self.line(out, &names, &widths)?;
        }
        for row in &rows {
            let cells = row.iter().map(|cell| (self.show(cell, form), colour(cell)));
            self.line(out, &cells.collect::<Vec<_>>(), &widths)?;
        }
        Ok(())
    }

    /// The first form that fits. In the briefest the columns are gone that may be.
    fn choose(&mut self, rows: Vec<Vec<Cell>>) -> (Form, Vec<Vec<Cell>>) {
        let Some(width) = self.screen.width else {
            return (Form::Long, rows);
        };
        for form in [Form::Long, Form::Brief] {
            if total(&self.measure(&rows, form)) <= width {
                return (form, rows);
            }
        }
        self.hidden = self.columns.iter().map(|column| column.is_extra).collect();
        self.columns.retain(|column| !column.is_extra);
        (Form::Brief, self.without_hidden(rows))
    }

    fn without_hidden(&self, mut rows: Vec<Vec<Cell>>) -> Vec<Vec<Cell>> {
        for row in rows.iter_mut().filter(|_| !self.hidden.is_empty()) {
            let mut hidden = self.hidden.iter();
            row.retain(|_| hidden.next() != Some(&true));
        }
        rows
    }

    /// How wide the columns are, uncut, with these rows.
    fn measure(&self, rows: &[Vec<Cell>], form: Form) -> Vec<usize> {
        let names = self.columns.iter().map(|column| column.name.width());
        let mut natural: Vec<usize> = names.collect();
        for row in rows {
            for (width, cell) in natural.iter_mut().zip(row) {
                *width = (*width).max(self.show(cell, form).width());
            }
        }
        for (width, before) in natural.iter_mut().zip(&self.natural) {
            *width = (*width).max(*before);
        }
        natural
    }

    fn show(&self, cell: &Cell, form: Form) -> String {
        match (cell, form) {
            (Cell::Nothing, _) => "-".into(),
            (Cell::Text(text) | Cell::Bad(text) | Cell::Warning(text), _) => match &**text {
                "" => "-".into(),
                text => visible(text),
            },
            (Cell::Count(n), Form::Program) => n.to_string(),
            (Cell::Count(n), _) => times::count(*n),
            (Cell::Time(ms), Form::Program) => format_rfc3339(*ms),
            (Cell::Time(ms), Form::Long) => times::moment(*ms, self.now),
            (Cell::Time(ms), Form::Brief) => times::ago(*ms, self.now),
            (Cell::Length(ms), Form::Program) => ms.to_string(),
            (Cell::Length(ms), _) => times::coarse(Duration::from_millis(*ms)),
        }
    }

    fn line(
        &self,
        out: &mut impl Write,
        cells: &[(String, &str)],
        widths: &[usize],
    ) -> io::Result<()> {
        let (mut at, mut line) = (0, String::new());
        let last = cells.len() - 1;
        for (n, (text, colour)) in cells.iter().enumerate() {
            let left = self
                .screen
                .width
                .map_or(usize::MAX, |width| width - at.min(width));
            let width = widths[n].min(left);
            let text = shorten(text, width);
            let pad = " ".repeat(width.saturating_sub(text.width()));
            let (before, after) = match self.columns[n].is_number {
                true => (&*pad, ""),
                false if n == last => ("", ""),
                false => ("", &*pad),
            };
            let text = match self.screen.has_colours && !colour.is_empty() {
                true => format!("\x1b[{colour}m{text}\x1b[0m"),
                false => text,
            };
            line.push_str(&format!("{before}{text}{after}"));
            at += width + GAP;
            if n < last && self.screen.width.is_none_or(|width| at < width) {
                line.push_str(&" ".repeat(GAP));
            }
        }
        writeln!(out, "{}", line.trim_end())
    }
}

fn total(widths: &[usize]) -> usize {
    widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1)
}

/// The widths of columns in a line that is not to be wider. Columns that may be cut are, from the
/// last to the first; what is too wide even then is cut at the end of the line.
fn fit(natural: &[usize], columns: &[Column], width: Option<usize>) -> Vec<usize> {
    let mut widths = natural.to_vec();
    let mut over = width.map_or(0, |width| total(natural).saturating_sub(width));
    for (width, column) in widths.iter_mut().zip(columns).rev() {
        let most = column.least.map_or(0, |least| width.saturating_sub(least));
        let less = most.min(over);
        *width -= less;
        over -= less;
    }
    widths
}

/// The text, or its beginning with a sign that there was more.
pub fn shorten(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut short = String::new();
    for c in text.chars() {
        short.push(c);
        if short.width() >= width {
            short.pop();
            break;
        }
    }
    if width > 0 {
        short.push('…');
    }
    short
}

/// Selects a colour of the terminal; nothing for its own.
fn colour(cell: &Cell) -> &'static str {
    match cell {
        Cell::Bad(_) => "31",
        Cell::Warning(_) => "33",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: &[Column] = &[
        Column::whole("time"),
        Column::number("tries"),
        Column::cut("url", 8),
        Column::cut("error", 6),
    ];

    fn printed(width: Option<usize>, is_terminal: bool, rows: &[[Cell; 4]]) -> Vec<String> {
        let screen = Screen {
            is_terminal,
            width,
            has_colours: false,
        };
        let mut table = Table::new(COLUMNS, screen, 1_795_693_182_000);
        let mut out = Vec::new();
        for row in rows {
            table.push(&mut out, row.to_vec()).unwrap();
        }
        table.flush(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    fn row(url: &str, error: &str) -> [Cell; 4] {
        let text = |text: &str| Cell::Text(text.into());
        let time = Cell::Time(1_795_693_002_000);
        [time, Cell::Count(1500), text(url), text(error)]
    }

    #[test]
    fn what_is_too_wide_loses_dates_then_ends_of_cells_then_the_end_of_the_line() {
        let rows = [
            row("http://customer.example/hook", "timeout: no answer"),
            row("http://h/", ""),
        ];
        assert_eq!(
            printed(None, true, &rows),
            [
                "TIME                           TRIES  URL                           ERROR",
                "2026-11-26T11:36:42Z (3m ago)  1,500  http://customer.example/hook  timeout: no answer",
                "2026-11-26T11:36:42Z (3m ago)  1,500  http://h/                     -",
            ]
        );
        let narrow = printed(Some(60), true, &rows);
        assert_eq!(
            narrow[1],
            "3m ago  1,500  http://customer.example/hook  timeout: no an…"
        );
        let narrower = printed(Some(34), true, &rows);
        assert_eq!(narrower[1], "3m ago  1,500  http://cus…  timeo…");
        let wide = [row("http://h/⚠️⚠️⚠️⚠️⚠️⚠️⚠️日本❤️", "⚠️ no answer ❤️")];
        for width in 1..120 {
            let all = printed(Some(width), true, &rows).into_iter();
            for line in all.chain(printed(Some(width), true, &wide)) {
                assert!(line.width() <= width, "{width}: {line}");
            }
        }
    }

    #[test]
    fn what_is_no_terminal_gets_tabs_and_all_there_is() {
        let lines = printed(Some(10), false, &[row("http://h/\t\x1b[31m", "")]);
        assert_eq!(
            lines,
            ["2026-11-26T11:36:42.000Z\t1500\thttp://h/\\t\\u{1b}[31m\t-"]
        );
    }

    #[test]
    fn characters_count_with_the_cells_that_they_take() {
        assert_eq!(shorten("日本語", 6), "日本語");
        assert_eq!(shorten("日本語", 5), "日本…");
        assert_eq!(shorten("日本語", 4), "日…");
        assert_eq!(shorten("abc", 0), "");
    }

    #[test]
    fn later_pages_keep_the_columns_of_the_first() {
        let mut rows = vec![row("http://a-rather-long-host.example/", "x"); PAGE];
        rows.extend([row("http://h/", "y"), row("http://h/", "z")]);
        let lines = printed(None, true, &rows);
        assert_eq!(lines.len(), PAGE + 3, "one line of names");
        let ends: Vec<usize> = [1, PAGE + 1].map(|n| lines[n].width()).into();
        assert_eq!(ends[0], ends[1], "{lines:?}");
    }
}
