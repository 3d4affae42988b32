#!/usr/bin/env python3
"""Prints the copyright notices and licences of all that is linked into a binary.

    packer/notices.py SBOM [NAME=FILE ...]

SBOM is what packer/sbom.py has printed. A crate's texts are those that its package has; NAME=FILE says where
those of a component are that is no crate. It fails if a component has none. Equal texts are printed once.
cargo-about would have to be compiled on each machine that runs the tests.
"""

import html.parser
import json
import os
import re
import subprocess
import sys

LICENCE_FILE = re.compile(r"(licen[cs]e|copying|copyright|notice|unlicense|patents)", re.IGNORECASE)
# Their packages have none; the author and the licence are the same.
SAME_AS = {"base64-simd": "outref", "hex-simd": "outref", "vsimd": "outref"}
# The text of this licence names no author: if a package has none, that of this crate serves.
APACHE = "aws-config"
HEADER = """\
Third-party notices

s3-migration contains the works below, in compiled form. Each is used under its licence, or under one of
those that it offers; s3-migration.cdx.json names them for each crate. SQLite, which is part of
libsqlite3-sys, is in the public domain.
"""
RULE = "=" * 80


class Text(html.parser.HTMLParser):
    """The text of a page: Rust has its notices as one."""

    def __init__(self, page):
        super().__init__()
        self.text = ""
        self.feed(re.sub(r"(?s)<(style|head)>.*?</\1>", "", page))

    def handle_data(self, data):
        self.text += data


def tidied(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        text = file.read()
    if path.endswith(".html"):
        text = Text(text).text
    lines = [line.rstrip() for line in text.replace("\f", "").splitlines()]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n")


def folders(target):
    """Where the package of each crate is."""
    metadata = subprocess.run(
        ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", target],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    return {
        (package["name"], package["version"]): os.path.dirname(package["manifest_path"])
        for package in json.loads(metadata)["packages"]
    }


def licence_files(folder):
    """Those of vendored C code are further down."""
    for path, inside, files in os.walk(folder):
        inside[:] = sorted(set(inside) - {"target", ".git"})
        for file in sorted(files):
            if LICENCE_FILE.match(file) and not file.endswith((".rs", ".py", ".go", ".c", ".h")):
                yield os.path.join(path, file)


def without_the_long_one(files, licence):
    """A crate that may also be used under a shorter licence than Apache's."""
    short = [file for file in files if "apache" not in os.path.basename(file).lower()]
    return files if "AND" in licence or not short else short


def main():
    path, *others = sys.argv[1:]
    with open(path, encoding="utf-8") as file:
        sbom = json.load(file)
    components = sbom["components"]
    where = folders(sbom["metadata"]["component"]["properties"][0]["value"])
    by_name = {name: folder for (name, _), folder in where.items()}
    given = dict(other.split("=", 1) for other in others)
    files = {"uPlot (the charts of the page)": ["src/serve/assets/uplot/LICENSE"]}
    for component in components:
        name, version = component["name"], component["version"]
        if not component["purl"].startswith("pkg:cargo/"):
            found = [given[name]] if name in given else []
        elif where[name, version].startswith(os.getcwd() + os.sep):
            found = ["LICENSE"]
        else:
            licence = component["licenses"][0]["expression"]
            found = list(licence_files(by_name.get(SAME_AS.get(name), where[name, version])))
            if not found and "Apache-2.0" in licence.split():
                found = list(licence_files(by_name[APACHE]))
            found = without_the_long_one(found, licence)
        if not found:
            sys.exit(f"notices: {name} {version} has no licence file")
        files[f"{name} {version}"] = found

    # Many differ in line breaks only.
    texts = {}
    for name in sorted(files):
        for path in files[name]:
            text = tidied(path)
            _, users = texts.setdefault(" ".join(text.lower().split()), (text, []))
            if name not in users:
                users.append(name)
    print(HEADER)
    for text, users in sorted(texts.values(), key=lambda kept: kept[1]):
        print(RULE, *users, RULE, "", text, "", sep="\n")


main()
