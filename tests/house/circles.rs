//! No circle between the modules of a folder.
//!
//! A module is a file or a folder. It uses another of the same folder if a path in it, or in anything
//! below it, leads there: `use` and paths in the code alike, also by a name that the folder passes on. What
//! a module uses of its own folder itself is not looked at, as a folder may hold what its modules share.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{is_test, sources, without_tests};

/// Where a module is, from the root of the crate: `http::tls`.
type Module = Vec<String>;

#[derive(Default)]
struct Code {
    /// All paths that begin at the root of the crate.
    paths: BTreeSet<Module>,
    /// What a name stands for that was imported.
    names: BTreeMap<String, Module>,
}

#[test]
fn no_circle_between_the_modules_of_a_folder() {
    let code = read_all();
    let mut edges: BTreeMap<(Module, String), BTreeSet<String>> = BTreeMap::new();
    for (module, Code { paths, .. }) in &code {
        for target in paths.iter().map(|path| resolve(path, &code, 0)) {
            let common = module.iter().zip(&target).take_while(|(a, b)| a == b);
            let common = common.count();
            if let (Some(from), Some(to)) = (module.get(common), target.get(common)) {
                let from = (module[..common].to_vec(), from.clone());
                edges.entry(from).or_default().insert(to.clone());
            }
        }
    }
    assert!(edges.len() > 100, "{}", edges.len());
    let circles = edges
        .keys()
        .filter_map(|(folder, module)| circle(&edges, folder, module));
    let circles: Vec<String> = circles.collect();
    assert!(circles.is_empty(), "circles:\n{}", circles.join("\n"));
}

#[test]
fn a_circle_is_found() {
    let edge = |from: &str, to: &[&str]| {
        let to: BTreeSet<String> = to.iter().map(|to| to.to_string()).collect();
        ((vec!["f".to_owned()], from.to_owned()), to)
    };
    let edges = BTreeMap::from([edge("a", &["b"]), edge("b", &["c"]), edge("c", &["a", "d"])]);
    let found = circle(&edges, &["f".to_owned()], "a");
    assert_eq!(found.as_deref(), Some("f: a -> b -> c -> a"));
    let mut code = Code::default();
    let text = "use super::{x, y::{Z as W, V}};\nlet a = crate::p::q();\n// super::comment\n";
    code.read(text, &["f".to_owned(), "m".to_owned()]);
    let paths: Vec<String> = code.paths.iter().map(|path| path.join("::")).collect();
    assert_eq!(paths, ["f::x", "f::y::V", "f::y::Z", "p::q"]);
    assert_eq!(code.names["W"].join("::"), "f::y::Z");
}

fn read_all() -> BTreeMap<Module, Code> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all = BTreeMap::new();
    for (path, text) in sources().iter().filter(|(path, _)| !is_test(path)) {
        let path = path.strip_prefix(&root).unwrap().with_extension("");
        let mut module: Module = path
            .iter()
            .map(|part| part.to_string_lossy().into_owned())
            .collect();
        module.retain(|part| !["mod", "lib", "main"].contains(&&**part));
        let code: &mut Code = all.entry(module.clone()).or_default();
        code.read(&without_tests(text), &module);
    }
    all
}

/// To which module a path leads.
fn resolve(path: &[String], code: &BTreeMap<Module, Code>, depth: usize) -> Module {
    let known = (1..=path.len())
        .rev()
        .find(|n| code.contains_key(&path[..*n]));
    let length = known.unwrap_or(0);
    let passed_on = path.get(length).filter(|_| length > 0 && depth < 5);
    match passed_on.and_then(|name| code[&path[..length]].names.get(name)) {
        Some(meant) => resolve(meant, code, depth + 1),
        None => path[..length].to_vec(),
    }
}

impl Code {
    fn read(&mut self, text: &str, module: &[String]) {
        let lines = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        let text: String = lines.flat_map(|line| [line, "\n"]).collect();
        for statement in text.split_inclusive(';') {
            let begin = statement.rfind("use ").filter(|at| {
                let before = statement[..*at].trim_end_matches("pub ");
                before.is_empty() || before.ends_with(['\n', ' ', ')'])
            });
            let is_tree = |tree: &&str| !tree.contains(['=', '"', '\'']);
            match begin.map(|at| &statement[at + 4..]).filter(is_tree) {
                Some(tree) => self.read_tree(tree.trim_end_matches(';'), &[], module),
                None => self.read_code(statement, module),
            }
        }
    }

    /// Reads what is imported: `a::{b, c::{d as e, f}}`.
    fn read_tree(&mut self, tree: &str, before: &[String], module: &[String]) {
        let tree = tree.trim();
        if let Some((prefix, rest)) = tree.split_once('{') {
            let mut path = before.to_vec();
            path.extend(segments(prefix));
            let rest = rest.trim_end().strip_suffix('}').expect("a brace");
            let (mut depth, mut from) = (0, 0);
            for (at, c) in rest.char_indices().chain([(rest.len(), ',')]) {
                match c {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    ',' if depth == 0 => {
                        self.read_tree(&rest[from..at], &path, module);
                        from = at + 1;
                    }
                    _ => {}
                }
            }
            return;
        }
        let (path, name) = tree.split_once(" as ").unwrap_or((tree, ""));
        let mut whole = before.to_vec();
        whole.extend(segments(path));
        if whole.last().is_some_and(|last| last == "self") {
            whole.pop();
        }
        let Some(last) = whole.last().cloned() else {
            return;
        };
        let name = if name.is_empty() { &last } else { name.trim() };
        let path = absolute(&whole, module).unwrap_or_else(|| {
            // A module of its own, or a crate.
            [module, &whole].concat()
        });
        self.names.insert(name.to_owned(), path.clone());
        if absolute(&whole, module).is_some() {
            self.paths.insert(path);
        }
    }

    fn read_code(&mut self, text: &str, module: &[String]) {
        let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
        for path in text.split(|c| !is_path(c)) {
            let path: Vec<String> = segments(path).collect();
            self.paths.extend(absolute(&path, module));
        }
    }
}

fn segments(path: &str) -> impl Iterator<Item = String> {
    path.split("::")
        .map(|part| part.trim().to_owned())
        .filter(|part| !part.is_empty())
}

/// A path from the root of the crate, if it is one of the crate.
fn absolute(path: &[String], module: &[String]) -> Option<Module> {
    let first = path.first()?;
    if path.len() < 2 {
        return None;
    }
    match &**first {
        "crate" => Some(path[1..].to_vec()),
        "self" => Some([module, &path[1..]].concat()),
        "super" => {
            let up = path.iter().take_while(|part| *part == "super").count();
            let base = module.get(..module.len().checked_sub(up)?)?;
            Some([base, &path[up..]].concat())
        }
        _ => None,
    }
}

/// A way from `module` back to itself.
fn circle(
    edges: &BTreeMap<(Module, String), BTreeSet<String>>,
    folder: &[String],
    module: &str,
) -> Option<String> {
    let mut ways = vec![vec![module.to_owned()]];
    let mut seen = BTreeSet::new();
    while let Some(way) = ways.pop() {
        let last = way.last().expect("it begins with one").clone();
        for next in edges.get(&(folder.to_vec(), last)).into_iter().flatten() {
            if next == module {
                let way = [&way[..], &[module.to_owned()]].concat().join(" -> ");
                return Some(format!("{}: {way}", folder.join("::")));
            }
            if seen.insert(next.clone()) {
                ways.push([&way[..], std::slice::from_ref(next)].concat());
            }
        }
    }
    None
}
