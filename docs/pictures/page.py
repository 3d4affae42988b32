#!/usr/bin/env python3
"""Makes the pictures of the page in docs/guide.md: page-light.png, page-dark.png, page-phone.png.

It serves the files of src/serve/assets with the numbers of a made-up fleet, and takes pictures of them in Chromium:

    python3 -m venv /tmp/pictures && /tmp/pictures/bin/pip install playwright==1.65.2
    /tmp/pictures/bin/python docs/pictures/page.py

Debian's chromium is used if it is there.
"""

import http.server
import json
import math
import pathlib
import shutil
import socketserver
import threading

from playwright.sync_api import sync_playwright

HERE = pathlib.Path(__file__).resolve().parent
ASSETS = HERE.parent.parent / "src/serve/assets"
KINDS = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
PATHS = {"/": "page.html", "/uplot.js": "uplot/uPlot.iife.min.js", "/uplot.css": "uplot/uPlot.min.css"}
BEGAN = 1_767_225_600_000
STEP = 30_000
MIB, GIB, TIB = 1 << 20, 1 << 30, 1 << 40


def history():
    points, sent, copied, failed = [], 0, 0, 0
    for n in range(360):
        speed = 420 + 90 * math.sin(n / 23) + 40 * math.sin(n / 3) - (260 if 150 < n < 171 else 0)
        sent += int(speed * MIB * STEP / 1000)
        copied += int(speed / 3.1)
        failed += 3 if n % 40 == 39 else 0
        points.append({"at": BEGAN + n * STEP, "read": int(sent * 1.01), "sent": sent, "copied": copied, "failed": failed})
    return points


def amount(objects, size):
    return {"objects": objects, "bytes": size}


def phase(name, active, objects, size, of, of_size, rates=(0, 0), left=None):
    return {
        "phase": name, "active": active, "objects": objects, "bytes": size, "of_objects": of, "of_bytes": of_size,
        "objects_per_second": rates[0], "bytes_per_second": rates[1], "seconds_left": left,
    }


def worker(n):
    held = [{"object": f"photos-eu/2024/{n + 3:02}/wedding/IMG_{4711 + n}.CR3", "bytes": (38 + n) * MIB}]
    return {
        "name": f"i-0a1b2c3d4e5f{n:05}", "kind": "worker", "lives": True, "silent_seconds": 2 + n, "phase": "copying",
        "copied": 12_034 - 31 * n, "copied_bytes": 1_220 * GIB, "failed": 3 * n, "bytes_per_second": (104 - n) * MIB,
        "held": 5, "holds": held,
    }


def classes(bounds, objects):
    return [{"up_to": bound, "objects": count} for bound, count in zip([*bounds, None], objects)]


def state():
    points = history()
    now = points[-1]
    copied, sent = now["copied"], now["sent"]
    fleet = {
        "fleet": "the fleet of queue photos, table photos", "since": BEGAN // 1000, "paused": None, "waiting_for": [],
        "limits": {"source_bandwidth": 500 * MIB, "source_requests": None, "destination_bandwidth": None, "destination_requests": None},
        "phases": [
            phase("comparing", False, 118_204, 14 * TIB, 118_204, 14 * TIB),
            phase("copying", True, copied, sent, 112_350, 13 * TIB, (4.6, 437 * MIB), [19_400, 21_200]),
            phase("closing", False, 0, 0, None, None),
        ],
        "pairs": [
            {"source": "photos-eu", "destination": "photos-archive", "listed": amount(97_000, 12 * TIB), "to_copy": amount(92_100, 11 * TIB),
             "copied": amount(copied - 12_000, sent - TIB), "failed": amount(24, 3 * GIB), "checked": amount(0, 0)},
            {"source": "logs-eu", "destination": "logs-archive", "listed": amount(21_204, 2 * TIB), "to_copy": amount(20_250, 2 * TIB),
             "copied": amount(12_000, TIB), "failed": amount(0, 0), "checked": amount(0, 0)},
        ],
        "workers": [worker(n) for n in range(4)], "failures": [],
        "total": {"copied": copied, "copied_bytes": sent, "failed": 24, "deleted": 0, "read_bytes": now["read"], "sent_bytes": sent,
                  "source_requests": 412_000, "destination_requests": 633_000, "cost": 101.37, "currency": "USD"},
        "sizes": classes([0, 4096, 65536, MIB, 8 * MIB, 64 * MIB, 512 * MIB, 4 * GIB, 32 * GIB, 256 * GIB],
                         [31, 860, 2_210, 5_400, 13_900, 21_300, 4_180, 460, 12, 0, 0]),
        "seconds": classes([0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800],
                           [340, 1_210, 4_400, 9_300, 15_200, 11_800, 4_100, 1_300, 520, 140, 43, 0, 0]),
        "history": points,
    }
    reason = {"redriven": 0, "bytes": 0, "example": {}}
    reasons = [
        {**reason, "reason": "archived-at-source", "objects": 18, "cure": "restore these objects at the source (s3:RestoreObject)"},
        {**reason, "reason": "denied-at-source", "objects": 6, "cure": "allow this call in the caller's IAM policy, and in the resource's policy"},
    ]
    return {"version": "0.1.0", "now": now["at"], "age_seconds": 0, "wrong": None, "fleets": [fleet],
            "reasons": {"at": now["at"] // 1000, "by_reason": reasons}}


def failures():
    def line(n):
        archived = n % 4 != 3
        return {
            "object": f"photos-eu/2019/{n + 1:02}/scan-{300 + 7 * n}.tif", "destination": f"photos-archive/2019/{n + 1:02}/scan-{300 + 7 * n}.tif",
            "size": (130 + n) * MIB, "reason": "archived-at-source" if archived else "denied-at-source", "tries": 1 if archived else 3,
            "error": "GetObject: the object is in GLACIER and must be restored first" if archived else
                     "GetObject: AccessDenied (403); the key's policy does not allow this caller",
            "ended": BEGAN // 1000 + 640 * n, "redriven": False,
        }
    return {"failures": [line(n) for n in range(8)], "looked": 24, "next": "r.8."}


class Page(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        path = self.path.split("?")[0]
        file = ASSETS / PATHS.get(path, path.lstrip("/"))
        if path == "/api/events":
            self.answer("text/event-stream", f"event: state\ndata: {json.dumps(state())}\n\n".encode())
            self.server.taken.wait()
        elif path == "/api/failures":
            self.answer("application/json", json.dumps(failures()).encode())
        elif file.is_file():
            self.answer(KINDS[file.suffix], file.read_bytes())
        else:
            self.send_error(404)

    def answer(self, kind, body):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    taken = threading.Event()


def main():
    server = Server(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}/"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name, width, height, theme in [
            ("page-light", 1200, 1800, "light"), ("page-dark", 1200, 900, "dark"), ("page-phone", 390, 844, "light"),
        ]:
            context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=theme, timezone_id="UTC")
            page = context.new_page()
            page.goto(url)
            page.wait_for_selector("#failures tbody tr")
            page.wait_for_selector("#seconds canvas")
            page.screenshot(path=HERE / f"{name}.png")
            context.close()
        browser.close()
    server.taken.set()


if __name__ == "__main__":
    main()
