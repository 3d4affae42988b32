#!/usr/bin/env python3
"""Prints what is linked into a binary, as CycloneDX 1.5 in JSON.

    packer/sbom.py --target TRIPLE --binary FILE --version VERSION --committed SECONDS [--linked NAME=VERSION ...]

The crates are those that cargo resolves for this target without tests, build scripts and procedural
macros, each with its checksum from Cargo.lock. --linked names what does not come from cargo, such as the C
library. The same commit and binary give the same bytes, which cargo-cyclonedx does not promise
(https://github.com/CycloneDX/cyclonedx-rust-cargo/issues/514).
"""

import argparse
import hashlib
import json
import re
import subprocess
import time
import uuid

NAME = "s3-migration"


def crates(target):
    """Each crate's reference with its licence, and what it depends on."""
    tree = ["cargo", "tree", "--locked", "--package", NAME, "--target", target]
    tree += ["--edges", "normal,no-proc-macro", "--prefix", "depth", "--format", " {p}|{l}"]
    lines = subprocess.run(tree, check=True, stdout=subprocess.PIPE, text=True).stdout
    licences, depends, path = {}, {}, []
    # Below a crate that the tree has shown already it shows nothing, and marks it with (*).
    for line in lines.splitlines():
        depth, name, version, licence = re.match(
            r"(\d+) (\S+) v(\S+)[^|]*\|(.*?)(?: \(\*\))?$", line
        ).groups()
        crate = (name, version)
        licences[crate] = re.sub(" */ *", " OR ", licence)
        depends.setdefault(crate, set())
        path[int(depth) :] = [crate]
        if len(path) > 1:
            depends[path[-2]].add(crate)
    return licences, depends


def checksums():
    """The SHA-256 of each crate's archive."""
    package = r'name = "(.+)"\nversion = "(.+)"\nsource = ".+"\nchecksum = "(.+)"'
    with open("Cargo.lock", encoding="utf-8") as lock:
        return {(name, version): sum for name, version, sum in re.findall(package, lock.read())}


def purl(crate):
    return "pkg:cargo/{}@{}".format(*crate)


def component(crate, licence, checksum):
    described = {"type": "library", "bom-ref": purl(crate)}
    described |= {"name": crate[0], "version": crate[1], "purl": purl(crate)}
    if licence:
        described["licenses"] = [{"expression": licence}]
    if checksum:
        described["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    return described


def main():
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for needed in ["--target", "--binary", "--version", "--committed"]:
        parser.add_argument(needed, required=True)
    parser.add_argument("--linked", action="append", default=[])
    given = parser.parse_args()

    licences, depends = crates(given.target)
    known = checksums()
    with open(given.binary, "rb") as binary:
        digest = hashlib.sha256(binary.read()).hexdigest()
    own = (NAME, given.version)
    about = component(own, licences[own], digest) | {"type": "application"}
    about["properties"] = [{"name": "target", "value": given.target}]
    components = [
        component(crate, licences[crate], known.get(crate))
        for crate in sorted(licences)
        if crate != own
    ]
    for linked in given.linked:
        name, version = linked.split("=")
        ref = f"pkg:generic/{name}@{version}"
        components.append(
            {"type": "library", "bom-ref": ref, "name": name, "version": version, "purl": ref}
        )
    written = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(int(given.committed)))
    bom = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": uuid.uuid5(uuid.NAMESPACE_URL, f"{purl(own)}#{digest}").urn,
        "version": 1,
        "metadata": {"timestamp": written, "component": about},
        "components": components,
        "dependencies": [
            {"ref": purl(crate), "dependsOn": sorted(map(purl, depends[crate]))}
            for crate in sorted(depends)
        ],
    }
    print(json.dumps(bom, indent=1))


main()
