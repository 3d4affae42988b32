//! The files of the page: all from this server, no markup made of text, the vendored library unchanged.

use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

fn assets() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/serve/assets")
}

/// Our own files of the page, with their names.
fn own() -> Vec<(String, String)> {
    let entries = fs::read_dir(assets()).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.filter(|path| path.is_file());
    let read = |path: PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        (name, fs::read_to_string(path).unwrap())
    };
    files.map(read).collect()
}

#[test]
fn the_page_names_no_other_server() {
    let files = own();
    assert!(files.len() >= 8, "{files:?}");
    for (name, text) in files {
        let text = text.replace("http://www.w3.org/2000/svg", "");
        for foreign in ["http:", "https:", "src=\"//", "url(", "@import", "data:"] {
            assert!(!text.contains(foreign), "{name} has {foreign}");
        }
    }
}

/// Keys and errors come from outside. The policy forbids these too; here a mistake is seen sooner.
#[test]
fn the_page_makes_no_markup_of_text() {
    for (name, text) in own() {
        for sink in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "new Function",
            "setHTML",
            "createContextualFragment",
            " style=\"",
            "onclick=",
        ] {
            assert!(!text.contains(sink), "{name} has {sink}");
        }
    }
}

#[test]
fn the_library_is_the_one_that_was_vendored() {
    let folder = assets().join("uplot");
    let read = |name: &str| fs::read(folder.join(name)).unwrap();
    let note = String::from_utf8(read("README.md")).unwrap();
    for name in ["uPlot.iife.min.js", "uPlot.min.css"] {
        let sum = hex::encode(Sha256::digest(read(name)));
        assert!(note.contains(&format!("| `{name}` | `{sum}` |")), "{name} is {sum}");
    }
    let library = String::from_utf8(read("uPlot.iife.min.js")).unwrap();
    let version = note.lines().next().unwrap().strip_prefix("# uPlot ").unwrap();
    assert!(library.contains(&format!("(v{version})")), "{version}");
    assert!(String::from_utf8(read("LICENSE")).unwrap().starts_with("The MIT License"));
}
