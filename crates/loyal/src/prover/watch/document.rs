//! A text that is written twice: as Markdown, and as one web page.

use std::fmt::Write as _;

use crate::report::{Card, Page, Verdict};

/// A document that grows block by block.
#[derive(Debug, Clone)]
pub(super) struct Document {
    title: String,
    blocks: Vec<Block>,
}

#[derive(Debug, Clone)]
enum Block {
    Figure { name: String, value: String, note: String },
    Heading(String),
    Paragraph(String),
    Commands(String),
    Table { caption: String, head: Vec<String>, rows: Vec<Vec<String>> },
}

impl Document {
    pub(super) fn new(title: &str) -> Self {
        Self { title: title.to_owned(), blocks: Vec::new() }
    }

    /// A figure that stands out.
    pub(super) fn figure(&mut self, name: &str, value: &str, note: &str) {
        let [name, value, note] = [name, value, note].map(str::to_owned);
        self.blocks.push(Block::Figure { name, value, note });
    }

    pub(super) fn heading(&mut self, text: &str) {
        self.blocks.push(Block::Heading(text.to_owned()));
    }

    pub(super) fn paragraph(&mut self, text: &str) {
        self.blocks.push(Block::Paragraph(text.to_owned()));
    }

    /// Lines for a shell.
    pub(super) fn commands(&mut self, lines: &[String]) {
        self.blocks.push(Block::Commands(lines.join("\n")));
    }

    pub(super) fn table(&mut self, caption: &str, head: &[&str], rows: Vec<Vec<String>>) {
        let head = head.iter().map(|&name| name.to_owned()).collect();
        self.blocks.push(Block::Table { caption: caption.to_owned(), head, rows });
    }

    pub(super) fn markdown(&self) -> String {
        let mut text = format!("# {}\n", plain(&self.title));
        for block in &self.blocks {
            let _ = match block {
                Block::Figure { name, value, note } => {
                    write!(text, "\n- **{}: {}** ({})\n", plain(name), plain(value), plain(note))
                }
                Block::Heading(heading) => write!(text, "\n## {}\n", plain(heading)),
                Block::Paragraph(paragraph) => write!(text, "\n{}\n", plain(paragraph)),
                Block::Commands(lines) => {
                    // A fence that is longer than any in the text cannot be ended by it.
                    let longest = lines.split(|c| c != '`').map(str::len).max().unwrap_or(0);
                    let fence = "`".repeat(longest.max(2) + 1);
                    write!(text, "\n{fence}\n{lines}\n{fence}\n")
                }
                Block::Table { caption, head, rows } => {
                    let row = |cells: &[String]| {
                        format!(
                            "| {} |",
                            cells.iter().map(|cell| plain(cell)).collect::<Vec<_>>().join(" | ")
                        )
                    };
                    let lines: Vec<String> = rows.iter().map(|cells| row(cells)).collect();
                    let rule = "|---".repeat(head.len());
                    write!(text, "\n{}:\n\n{}\n{rule}|\n{}\n", plain(caption), row(head), lines.join("\n"))
                }
            };
        }
        text
    }

    pub(super) fn html(&self) -> String {
        let page = self.blocks.iter().fold(Page::new(&self.title), |page, block| match block {
            Block::Figure { name, value, note } => {
                page.card(&Card { name, value, note, verdict: Verdict::Neutral })
            }
            Block::Heading(heading) => page.section(heading),
            Block::Paragraph(paragraph) => page.paragraph(paragraph),
            Block::Commands(lines) => page.verbatim(lines),
            Block::Table { caption, head, rows } => {
                page.table(caption, &head.iter().map(String::as_str).collect::<Vec<_>>(), rows)
            }
        });
        page.finish()
    }
}

/// Text that Markdown takes as text: much of it comes from strangers.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '#' | '~' | '!' | '&' => {
                plain.push('\\');
                plain.push(letter);
            }
            control if control.is_control() => plain.push(' '),
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_words_stay_words() {
        let mut document = Document::new("Who <b>is</b> it");
        document.figure("E", "10^12", "of 10^9");
        document.paragraph("it answered [x](http://evil) | <script>alert(1)</script>\n# so");
        document.commands(&["echo '```'".to_owned(), "ls".to_owned()]);
        document.table("answers", &["query", "answer"], vec![vec!["a | b".to_owned(), "`c`".to_owned()]]);
        let markdown = document.markdown();
        assert!(
            markdown.contains("\\<script\\>") && markdown.contains("\\[x\\]") && !markdown.contains("\n# so")
        );
        assert!(
            markdown.contains("````\necho '```'\nls\n````") && markdown.contains("| a \\| b | \\`c\\` |")
        );
        let html = document.html();
        assert!(
            html.contains("&lt;script&gt;")
                && !html.contains("<script")
                && html.contains("default-src 'none'")
        );
    }
}
