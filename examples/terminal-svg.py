#!/usr/bin/env python3
"""A picture of a terminal: text from stdin (`tmux capture-pane -p`) to SVG on stdout. Standard library only.

Usage: tmux capture-pane -p | python3 terminal-svg.py > docs/demo.svg
"""

import sys
from xml.sax.saxutils import escape

CHAR, LINE, PAD = 8.4, 19, 16

lines = sys.stdin.read().rstrip().expandtabs().split("\n")
width = max(len(line) for line in lines) * CHAR + 2 * PAD
height = len(lines) * LINE + 2 * PAD
print(
    f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" width="{width:.0f}" height="{height}">'
    f'<rect width="100%" height="100%" rx="8" fill="#1c2128"/>'
    f'<g font-family="ui-monospace, Menlo, Consolas, monospace" font-size="14" fill="#d0d7de" xml:space="preserve">'
)
for at, line in enumerate(lines):
    prompt, typed = "", line
    for sign in ("$ ", "# "):
        if sign in line and " " not in line.split(sign)[0]:
            prompt, typed = line.split(sign, 1)[0] + sign, line.split(sign, 1)[1]
            break
    y = PAD + (at + 0.75) * LINE
    mark = f'<tspan fill="#7ee787">{escape(prompt)}</tspan>' if prompt else ""
    weight = ' font-weight="bold"' if prompt else ""
    print(f'<text x="{PAD}" y="{y:.0f}">{mark}<tspan{weight}>{escape(typed)}</tspan></text>')
print("</g></svg>")
