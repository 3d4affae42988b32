#!/usr/bin/env python3
"""Draws what a command prints as a picture of a terminal: COMMAND... > picture.svg

The picture needs no font and no program of its own, and follows the reader's light or dark scheme.
`just picture` draws docs/pictures/demo.svg with it.
"""

import html
import subprocess
import sys

COLUMN, LINE, MARGIN = 8.4, 19, 16


def main() -> None:
    command = sys.argv[1:]
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    program = command[0].rsplit("/", 1)[-1]
    lines = [f"$ {' '.join([program, *command[1:]])}", *run.stdout.splitlines()]
    width = max(80, *(len(line) for line in lines)) * COLUMN + 2 * MARGIN
    height = len(lines) * LINE + 2 * MARGIN
    print(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" role="img">\n'
        "<style>rect{fill:#f6f8fa}text{fill:#1f2328;white-space:pre;"
        "font:14px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}"
        "@media(prefers-color-scheme:dark){rect{fill:#0d1117}text{fill:#e6edf3}}</style>\n"
        f'<rect width="100%" height="100%" rx="8"/>'
    )
    for number, line in enumerate(lines):
        y = MARGIN + LINE * (number + 0.75)
        print(f'<text x="{MARGIN}" y="{y:.0f}" xml:space="preserve">{html.escape(line)}</text>')
    print("</svg>")


main()
