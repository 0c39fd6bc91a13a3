//! The documents, cut into what the tests look at: blocks, tables, headings.

use std::fs;
use std::path::{Path, PathBuf};

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub struct Page {
    /// From the repository's root, as `docs/redis.md`.
    pub name: String,
    pub text: String,
}

/// A fenced block.
#[derive(Debug)]
pub struct Block {
    pub language: String,
    pub text: String,
    /// Of its first fence, counted from 1.
    pub line: usize,
    /// What the comment above it says, without its marks.
    pub comment: Option<String>,
}

impl Page {
    pub fn read(name: &str) -> Page {
        let text = fs::read_to_string(root().join(name));
        Page {
            name: name.to_owned(),
            text: text.unwrap_or_else(|e| panic!("{name}: {e}")),
        }
    }

    pub fn blocks(&self) -> Vec<Block> {
        let lines: Vec<&str> = self.text.lines().collect();
        let mut blocks = Vec::new();
        let mut at = 0;
        while at < lines.len() {
            if let Some(language) = lines[at].strip_prefix("```") {
                let length = lines[at + 1..].iter().position(|line| *line == "```");
                let length = length.unwrap_or_else(|| panic!("{}:{at}: no end", self.name));
                blocks.push(Block {
                    language: language.to_owned(),
                    text: lines[at + 1..at + 1 + length].join("\n") + "\n",
                    line: at + 1,
                    comment: comment_above(&lines[..at]),
                });
                at += length + 1;
            }
            at += 1;
        }
        blocks
    }

    /// Those of this language, over all of the page.
    pub fn blocks_of(&self, language: &str) -> Vec<Block> {
        let mut blocks = self.blocks();
        blocks.retain(|block| block.language == language);
        blocks
    }

    /// All that is no block.
    pub fn prose(&self) -> String {
        let mut is_block = false;
        let lines = self.text.lines().filter(|line| {
            let is_fence = line.starts_with("```");
            is_block ^= is_fence;
            !is_block && !is_fence
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// The cells of all rows of tables, the heads among them.
    pub fn rows(&self) -> Vec<Vec<String>> {
        let rows = self.text.lines().filter(|line| line.starts_with("| "));
        rows.map(cells).collect()
    }

    /// The rows of the first table whose head begins with this, without the head.
    pub fn table(&self, head: &str) -> Vec<Vec<String>> {
        let mut lines = self.text.lines();
        assert!(lines.any(|l| l.starts_with(head)), "{}: {head}", self.name);
        let rows = lines.take_while(|line| line.starts_with("| "));
        rows.skip(1).map(cells).collect()
    }
}

fn comment_above(lines: &[&str]) -> Option<String> {
    lines.last().filter(|line| line.ends_with("-->"))?;
    let begin = lines.iter().rposition(|line| line.starts_with("<!--"))?;
    let text = lines[begin..].join("\n");
    let text = text.trim_start_matches("<!--").trim_end_matches("-->");
    Some(text.trim().to_owned())
}

pub fn cells(row: &str) -> Vec<String> {
    let row = row.trim().replace("\\|", "\0");
    let row = row.strip_prefix('|').unwrap_or(&row);
    let row = row.strip_suffix('|').unwrap_or(row);
    let cells = row.split('|').map(|cell| cell.trim().replace('\0', "|"));
    cells.collect()
}

/// What stands in the first pair of backticks.
pub fn code(cell: &str) -> &str {
    cell.split('`').nth(1).unwrap_or_default()
}

/// All that stands in backticks.
pub fn codes(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// README.md, and the pages of docs/ by name.
pub fn documents() -> Vec<Page> {
    let mut names: Vec<PathBuf> = fs::read_dir(root().join("docs"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "md"))
        .collect();
    names.sort();
    let names = names.iter().map(|path| path.strip_prefix(root()).unwrap());
    let names = names.map(|path| path.display().to_string());
    let all = ["README.md".to_owned()].into_iter().chain(names);
    let pages: Vec<Page> = all.map(|name| Page::read(&name)).collect();
    assert!(pages.len() > 10);
    pages
}

/// The texts of all sources, file by file.
pub fn source_files() -> Vec<String> {
    fn walk(dir: &Path, all: &mut Vec<String>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, all);
            } else if path.extension().is_some_and(|e| e == "rs" || e == "lua") {
                all.push(fs::read_to_string(path).unwrap());
            }
        }
    }
    let mut all = Vec::new();
    walk(&root().join("src"), &mut all);
    all
}

/// The same as one text.
pub fn sources() -> String {
    source_files().concat()
}
