//! The graph of rooms. A room is what stands at the top of `src`: a file, or a file and its folder.
//! It uses another one if one of its files names `crate::ROOM`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use super::reader::{Source, root, sources, words};

/// For each room the rooms that it uses, and in which files it does.
type Graph = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

#[test]
fn no_two_rooms_use_each_other() {
    let graph = graph(&sources());
    assert!(graph.len() > 20, "the rooms are not where they were: {:?}", graph.keys());
    if let Some(cycle) = cycle(&graph) {
        panic!("rooms in a circle:\n{cycle}");
    }
}

/// A room is entered by its name: `super::` that leads out of it would be an arrow that nobody sees.
#[test]
fn no_path_leads_out_of_a_room_by_super() {
    for source in sources() {
        assert!(!climbs_out(&source), "{} names the crate by super::", source.name);
    }
}

#[test]
fn the_picture_is_that_of_the_code() {
    let file = root().join("ARCHITECTURE.md");
    let (begin, end) = ("<!-- rooms -->\n```\n", "```\n<!-- end of rooms -->\n");
    let text = fs::read_to_string(&file).unwrap();
    let start = text.find(begin).expect("ARCHITECTURE.md has a picture of the rooms") + begin.len();
    let length = text[start..].find(end).expect("the picture of the rooms ends");
    let picture = picture(&sources());
    if std::env::var_os("UPDATE_ROOMS").is_some() {
        let text = format!("{}{picture}{}", &text[..start], &text[start + length..]);
        fs::write(&file, text).unwrap();
        return;
    }
    assert_eq!(
        &text[start..start + length],
        picture,
        "the rooms have changed: UPDATE_ROOMS=1 cargo test --test quick picture"
    );
}

#[test]
fn a_circle_is_named_with_its_files() {
    let file = |name: &str, text: &str| Source::new(name, text);
    let mut sources = vec![
        file("a.rs", "//! The top.\nuse crate::b::{c, d};"),
        file("b.rs", "fn f() { crate::c::g() } // crate::a"),
        file("b/inner.rs", "use crate::{c, b::a};\n#[cfg(test)]\nmod tests { use crate::a; }"),
        file("c.rs", "use crate::b_words;"),
        file("b_words.rs", ""),
    ];
    assert_eq!(cycle(&graph(&sources)), None);
    let drawn = picture(&sources);
    let drawn: Vec<&str> = drawn.lines().map(str::trim_end).collect();
    assert_eq!(drawn, ["a            The top.", "", "b", "", "c", "", "b_words"]);
    sources.push(file("c/deep/x.rs", "use crate::{b_words, a::{b}};"));
    let cycle = cycle(&graph(&sources)).unwrap();
    for line in ["a uses b: a.rs", "b uses c: b.rs, b/inner.rs", "c uses a: c/deep/x.rs"] {
        assert!(cycle.lines().any(|found| found == line), "{cycle}");
    }
}

#[test]
fn a_path_out_of_a_room_is_seen() {
    for (name, code, out) in [
        ("a.rs", "use super::b;", true),
        ("a.rs", "use self::b;", false),
        ("a/b.rs", "use super::c;", false),
        ("a/b.rs", "super::super::c()", true),
        ("lib.rs", "", false),
    ] {
        assert_eq!(climbs_out(&Source::new(name, code)), out, "{name}: {code}");
    }
}

/// `None`: the file is of no room.
fn room(source: &Source) -> Option<&str> {
    let top = source.name.split('/').next()?.trim_end_matches(".rs");
    (top != "lib").then_some(top)
}

fn graph(sources: &[Source]) -> Graph {
    let mut graph = Graph::new();
    for room in sources.iter().filter_map(room) {
        graph.entry(room.to_owned()).or_default();
    }
    let rooms: BTreeSet<String> = graph.keys().cloned().collect();
    for source in sources {
        let Some(from) = room(source) else { continue };
        // The binary's own file calls the crate by its name.
        let code = source.code.replace("s3_migration::", "crate::");
        for used in named(&code).filter(|used| *used != from && rooms.contains(*used)) {
            let arrows = graph.entry(from.to_owned()).or_default();
            arrows.entry(used.to_owned()).or_default().insert(source.name.clone());
        }
    }
    graph
}

/// The modules named right after `crate::`, also those of a group `crate::{a, b::{c}}`: `a` and `b`.
fn named(code: &str) -> impl Iterator<Item = &str> {
    code.split("crate::").skip(1).flat_map(|rest| {
        if !rest.starts_with('{') {
            return words(rest).take(1).collect::<Vec<_>>();
        }
        let (mut depth, mut names, mut begins) = (0, Vec::new(), 0);
        for (at, c) in rest.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' => {}
                _ => continue,
            }
            // What stands between two of these at the first level is one member of the group.
            if begins > 0 {
                names.extend(words(&rest[begins..at]).next());
            }
            begins = if depth == 1 && c != '}' { at + 1 } else { 0 };
            if depth == 0 {
                break;
            }
        }
        names
    })
}

fn climbs_out(source: &Source) -> bool {
    let depth = source.name.split('/').count();
    let climb = "super::".repeat(depth);
    source.name != "lib.rs" && source.code.contains(&climb)
}

/// A circle of rooms, as lines that name the files; `None` if there is none.
fn cycle(graph: &Graph) -> Option<String> {
    let mut done = BTreeSet::new();
    let path = graph.keys().find_map(|room| circle(graph, room, &mut Vec::new(), &mut done))?;
    let line = |pair: &[String]| {
        let files = graph[&pair[0]][&pair[1]].iter().cloned().collect::<Vec<_>>().join(", ");
        format!("{} uses {}: {files}", pair[0], pair[1])
    };
    Some(path.windows(2).map(line).collect::<Vec<_>>().join("\n"))
}

fn circle(
    graph: &Graph,
    room: &str,
    path: &mut Vec<String>,
    done: &mut BTreeSet<String>,
) -> Option<Vec<String>> {
    if let Some(start) = path.iter().position(|seen| seen == room) {
        let mut circle = path[start..].to_vec();
        circle.push(room.to_owned());
        return Some(circle);
    }
    if !done.insert(room.to_owned()) {
        return None;
    }
    path.push(room.to_owned());
    let found = graph[room].keys().find_map(|next| circle(graph, next, path, done));
    path.pop();
    found
}

/// The rooms in layers, the highest first, each with the first line of its documentation. A room stands
/// above all that it uses.
fn picture(sources: &[Source]) -> String {
    let graph = graph(sources);
    let mut heights: BTreeMap<&str, usize> = BTreeMap::new();
    // As many rounds as there are rooms are enough for any graph without a circle.
    for _ in 0..graph.len() {
        for (room, uses) in &graph {
            let below = uses.keys().filter_map(|used| heights.get(used.as_str())).max();
            heights.insert(room, below.map_or(1, |height| height + 1));
        }
    }
    let mut layers: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
    for (room, height) in heights {
        layers.entry(height).or_default().push(room);
    }
    let line = |room: &&str| {
        let own = sources.iter().find(|source| source.name == format!("{room}.rs"));
        let what = own.and_then(|source| source.header.lines().next()).unwrap_or_default();
        format!("{room:<12} {what}\n")
    };
    let layer = |rooms: &Vec<&str>| rooms.iter().map(line).collect::<String>();
    layers.values().rev().map(layer).collect::<Vec<_>>().join("\n")
}
