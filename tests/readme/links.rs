//! Links between pages lead somewhere.

use crate::pages::{Page, cells, documents, root};

/// All pages that a reader may come to from README.md.
fn all() -> Vec<Page> {
    let others = [
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "fuzz/README.md",
        "tests/README.md",
        "tests/receivers/README.md",
    ];
    let mut pages = documents();
    pages.extend(others.map(Page::read));
    pages
}

/// Without blocks and code.
fn prose(page: &Page) -> String {
    let text = page.prose();
    let lines = text.lines();
    let lines = lines.map(|line| line.split('`').step_by(2).collect::<Vec<_>>().join(" "));
    lines.collect::<Vec<_>>().join("\n")
}

fn headings(page: &Page) -> Vec<String> {
    let text = page.prose();
    let lines = text.lines().filter(|line| line.starts_with('#'));
    lines.map(anchor).collect()
}

/// As GitHub makes it of a heading.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn every_link_leads_to_a_file_and_a_heading_that_are_there() {
    let mut found = 0;
    for page in all() {
        for part in prose(&page).split("](").skip(1) {
            let target = part.split(')').next().unwrap();
            if target.contains("://") {
                assert!(target.starts_with("https://"), "{}: {target}", page.name);
                continue;
            }
            found += 1;
            let (path, heading) = target.split_once('#').unwrap_or((target, ""));
            let folder = root().join(&page.name).parent().unwrap().to_owned();
            let file = match path {
                "" => root().join(&page.name),
                path => folder.join(path),
            };
            let file = file.canonicalize();
            let file = file.unwrap_or_else(|e| panic!("{}: {target}: {e}", page.name));
            if !heading.is_empty() {
                let name = file.strip_prefix(root().canonicalize().unwrap()).unwrap();
                let there = headings(&Page::read(name.to_str().unwrap()));
                let is_there = there.iter().any(|known| known == heading);
                assert!(is_there, "{}: {target}: only {there:?}", page.name);
            }
        }
    }
    assert!(found > 100, "{found}");
}

#[test]
fn the_page_of_contents_names_every_page() {
    let contents = Page::read("docs/README.md");
    for page in documents() {
        let name = page.name.strip_prefix("docs/").unwrap_or("README.md");
        let is_named = name == "README.md" || contents.text.contains(&format!("]({name})"));
        assert!(is_named, "{name}");
    }
    assert!(Page::read("README.md").text.contains("](docs/README.md)"));
}

#[test]
fn rows_of_a_table_have_as_many_cells_as_its_head() {
    for page in all() {
        let text = page.prose();
        let mut width = None;
        for line in text.lines() {
            width = match (line.starts_with('|'), width) {
                (false, _) => None,
                (true, None) => Some(cells(line).len()),
                (true, Some(width)) => {
                    assert_eq!(cells(line).len(), width, "{}: {line}", page.name);
                    Some(width)
                }
            };
        }
    }
}

#[test]
fn headings_of_a_page_differ() {
    for page in all().iter().filter(|page| page.name != "CHANGELOG.md") {
        let mut found = headings(page);
        let count = found.len();
        found.sort();
        found.dedup();
        assert_eq!(found.len(), count, "{}", page.name);
    }
}
