//! Reports: one self-contained HTML page with figures drawn as inline SVG. It asks nobody for anything, follows the
//! reader's light or dark setting, prints, and says every figure in words too.

mod axis;
mod bars;
mod plot;

use std::fmt::Write as _;

pub(crate) use bars::{Bars, Histogram};
pub(crate) use plot::{Plot, Series};

const STYLE: &str = include_str!("report/style.css");

/// What a card says about its figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is as it should be.
    Pass,
    /// It is not.
    Fail,
    /// Nothing is asked of it.
    Neutral,
}

/// A figure at the top of a report.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Card<'a> {
    /// What it is.
    pub(crate) name: &'a str,
    /// The figure, with its unit.
    pub(crate) value: &'a str,
    /// What it is held against, or where it comes from.
    pub(crate) note: &'a str,
    /// How it stands.
    pub(crate) verdict: Verdict,
}

/// A page that grows block by block. All text is escaped.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    title: String,
    blocks: Vec<Block>,
}

#[derive(Debug, Clone)]
enum Block {
    Card(String),
    Other(String),
}

impl Page {
    /// An empty page.
    pub(crate) fn new(title: &str) -> Self {
        Self { title: title.to_owned(), blocks: Vec::new() }
    }

    /// A heading.
    #[must_use]
    pub(crate) fn section(self, heading: &str) -> Self {
        self.with(format!("<h2>{}</h2>", escaped(heading)))
    }

    /// A paragraph.
    #[must_use]
    pub(crate) fn paragraph(self, text: &str) -> Self {
        self.with(format!("<p>{}</p>", escaped(text)))
    }

    /// Text in a fixed font, line for line.
    #[must_use]
    pub(crate) fn verbatim(self, text: &str) -> Self {
        self.with(format!("<pre>{}</pre>", escaped(text)))
    }

    /// A card; cards that follow each other stand in one row.
    #[must_use]
    pub(crate) fn card(mut self, card: &Card<'_>) -> Self {
        let (class, mark) = match card.verdict {
            Verdict::Pass => ("pass", "<span class=\"mark\">\u{2713} passed</span>"),
            Verdict::Fail => ("fail", "<span class=\"mark\">\u{2717} failed</span>"),
            Verdict::Neutral => ("neutral", ""),
        };
        self.blocks.push(Block::Card(format!(
            "<li class=\"card {class}\"><span class=\"name\">{}</span><strong>{}</strong>{mark}<span class=\"note\">{}</span></li>",
            escaped(card.name),
            escaped(card.value),
            escaped(card.note)
        )));
        self
    }

    /// A table. Columns whose cells are all numbers are aligned to the right.
    #[must_use]
    pub(crate) fn table(self, caption: &str, head: &[&str], rows: &[Vec<String>]) -> Self {
        self.with(table(caption, head, rows))
    }

    /// Lines through points.
    #[must_use]
    pub(crate) fn line_plot(self, plot: &Plot<'_>) -> Self {
        self.with(plot.lines())
    }

    /// Points.
    #[must_use]
    pub(crate) fn scatter(self, plot: &Plot<'_>) -> Self {
        self.with(plot.points())
    }

    /// Bars, in groups where there are several series.
    #[must_use]
    pub(crate) fn bars(self, bars: &Bars<'_>) -> Self {
        self.with(bars.figure())
    }

    /// How often values fall where.
    #[must_use]
    pub(crate) fn histogram(self, histogram: &Histogram<'_>) -> Self {
        self.with(histogram.figure())
    }

    /// A part that is closed until the reader opens it.
    #[must_use]
    pub(crate) fn details(self, summary: &str, fill: impl FnOnce(Self) -> Self) -> Self {
        let inner = fill(Self::new("")).body();
        self.with(format!("<details><summary>{}</summary>{inner}</details>", escaped(summary)))
    }

    /// The page's HTML.
    pub(crate) fn finish(&self) -> String {
        let title = escaped(&self.title);
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n<style>\n{STYLE}</style>\n\
             </head>\n<body>\n<main>\n<h1>{title}</h1>\n{}</main>\n</body>\n</html>\n",
            self.body()
        )
    }

    fn body(&self) -> String {
        let mut html = String::new();
        let mut in_cards = false;
        for block in &self.blocks {
            let is_card = matches!(block, Block::Card(_));
            if is_card != in_cards {
                html.push_str(if is_card { "<ul class=\"cards\">\n" } else { "</ul>\n" });
                in_cards = is_card;
            }
            let (Block::Card(text) | Block::Other(text)) = block;
            html.push_str(text);
            html.push('\n');
        }
        if in_cards {
            html.push_str("</ul>\n");
        }
        html
    }

    fn with(mut self, html: String) -> Self {
        self.blocks.push(Block::Other(html));
        self
    }
}

/// A table that scrolls in itself where the page is narrow.
fn table(caption: &str, head: &[&str], rows: &[Vec<String>]) -> String {
    let is_number = |cell: &String| {
        let bare = cell.trim_end_matches(['%', ' ']).replace(',', "");
        bare.is_empty() || cell == "\u{2013}" || bare.parse::<f64>().is_ok()
    };
    let class = |column: usize| {
        let right = rows.iter().filter_map(|row| row.get(column)).all(is_number);
        if right && !rows.is_empty() { " class=\"number\"" } else { "" }
    };
    let mut html = String::from("<div class=\"scroll\" tabindex=\"0\"><table>");
    if !caption.is_empty() {
        let _ = write!(html, "<caption>{}</caption>", escaped(caption));
    }
    html.push_str("<thead><tr>");
    for (column, name) in head.iter().enumerate() {
        let _ = write!(html, "<th scope=\"col\"{}>{}</th>", class(column), escaped(name));
    }
    html.push_str("</tr></thead><tbody>");
    for row in rows {
        html.push_str("<tr>");
        for (column, cell) in row.iter().enumerate() {
            let _ = write!(html, "<td{}>{}</td>", class(column), escaped(cell));
        }
        html.push_str("</tr>");
    }
    html.push_str("</tbody></table></div>");
    html
}

/// A drawing with its caption, its legend and, for those who cannot see it, its figures in a table.
fn figure(caption: &str, legend: &[&str], drawing: &str, figures: &str) -> String {
    let mut html = String::from("<figure>");
    let _ = write!(html, "<figcaption>{}</figcaption>", escaped(caption));
    if legend.len() > 1 {
        html.push_str("<ul class=\"legend\">");
        for (index, name) in legend.iter().enumerate() {
            let colour = index % COLOURS;
            let _ = write!(html, "<li><span class=\"swatch s{colour}\"></span>{}</li>", escaped(name));
        }
        html.push_str("</ul>");
    }
    html.push_str(drawing);
    if !figures.is_empty() {
        let _ = write!(html, "<details class=\"figures\"><summary>Figures</summary>{figures}</details>");
    }
    html.push_str("</figure>");
    html
}

/// Colours of `style.css`, `s0` to `s5`; a seventh series begins again.
const COLOURS: usize = 6;

/// Text that HTML takes as text, in elements and in quoted attributes. Control characters, which HTML forbids, become
/// U+FFFD.
pub(crate) fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            '\n' | '\t' => html.push(letter),
            control if control.is_control() => html.push('\u{fffd}'),
            other => html.push(other),
        }
    }
    html
}

#[cfg(test)]
mod tests;
