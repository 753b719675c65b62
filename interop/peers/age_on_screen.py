#!/usr/bin/env python3
"""How old the picture on a browser's screen is, and how long the first one takes: by WebRTC, by HTTP-FLV and by HLS.

    python3 interop/peers/age_on_screen.py target/release/sightline [--quality low] [--secs 60] [--clicks 20] [--json]

Starts `sightline demo` and headless Chromium (chromedriver) on this machine and reads the bar code that the test scene draws: the time of
capture, in the picture. One line a way: median and 95th percentile in milliseconds, and how far the player's own word of the age is from that. A page takes a way because the ones before it are kept
from it: no RTCPeerConnection, then no answer for `.flv`.
"""
import argparse
import http.server
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

WAYS = {
    "whep": "",
    "flv": "delete window.RTCPeerConnection;",
    # mpegts.js asks by fetch, or by XMLHttpRequest where there is none.
    "hls": "delete window.RTCPeerConnection; const fetched = window.fetch; window.fetch = (url, ...more) =>"
    " String(url.url ?? url).includes('.flv') ? Promise.reject(new TypeError('kept away')) : fetched(url, ...more);",
}
PAGE = """<!doctype html><body style="margin:0"><script>BEFORE
window.opened = performance.now();</script>
<script type="module" src="http://SERVER/js/embed.js"></script>
<sightline-player playback="PLAYBACK" style="width:100vw"></sightline-player>
<script type="module">
await customElements.whenDefined('sightline-player');
const player = document.querySelector('sightline-player');
player.addEventListener('state', ({detail}) => { window.via = detail.via; });
const look = () => {
  const video = player.shadowRoot?.querySelector('video');
  if (!video) return setTimeout(look, 1);
  window.video = video;
  video.requestVideoFrameCallback((now) => { window.first ??= now - window.opened; });
};
look();
</script>"""
STAMP = """
const video = window.video;
if (!video || !video.videoWidth) return null;
const width = video.videoWidth, height = video.videoHeight, side = Math.floor(width / 64);
const canvas = window.stampCanvas ??= document.createElement('canvas');
canvas.width = 48 * side; canvas.height = 2 * side;
const context = canvas.getContext('2d', {willReadFrequently: true});
context.drawImage(video, side * 8, height - side * 3, 48 * side, 2 * side, 0, 0, 48 * side, 2 * side);
const now = Date.now(), pixels = context.getImageData(0, 0, canvas.width, canvas.height).data, bytes = new Uint8Array(12);
for (let bit = 0; bit < 96; bit++) {
  const x = Math.floor((bit % 48 + 0.5) * side), y = Math.floor((Math.floor(bit / 48) + 0.5) * side);
  if (pixels[(y * canvas.width + x) * 4 + 1] > 128) bytes[bit >> 3] |= 128 >> (bit & 7);
}
let crc = 0xffff;
for (let at = 0; at < 10; at++) {
  crc ^= bytes[at] << 8;
  for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? (crc << 1 ^ 0x1021) & 0xffff : crc << 1 & 0xffff;
}
if (crc !== (bytes[10] << 8 | bytes[11])) return null;
let captured = 0;
for (let at = 4; at < 10; at++) captured = captured * 256 + bytes[at];
const told = document.querySelector('sightline-player').age;
return [now - captured, told && told.ms, told && told.by];
"""


def ask(method, url, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)["value"] if "/session" in url else json.load(answer)


def eventually(what, ask_it, limit=30):
    until = time.monotonic() + limit
    while True:
        try:
            if (found := ask_it()) is not None:
                return found
        except OSError:
            pass
        if time.monotonic() > until:
            sys.exit(f"{what}: not within {limit} s")
        time.sleep(0.1)


class Browser:
    def __init__(self, port):
        self.driver = subprocess.Popen(["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        base = f"http://127.0.0.1:{port}"
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--autoplay-policy=no-user-gesture-required", "--window-size=1280,800"]
        wanted = {"capabilities": {"alwaysMatch": {"goog:chromeOptions": {"binary": "/usr/bin/chromium", "args": arguments}}}}
        opened = eventually("a browser", lambda: ask("POST", f"{base}/session", wanted))
        self.session = f"{base}/session/{opened['sessionId']}"

    def open(self, url):
        ask("POST", f"{self.session}/url", {"url": url})

    def run(self, script):
        return ask("POST", f"{self.session}/execute/sync", {"script": script, "args": []})

    def close(self):
        # A browser that does not answer any more is ended with its driver.
        try:
            ask("DELETE", self.session)
        except OSError as error:
            print(f"the browser: {error}", file=sys.stderr)
        self.driver.terminate()
        self.driver.wait()


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program")
    parser.add_argument("--quality", default="low")
    parser.add_argument("--secs", type=int, default=60)
    parser.add_argument("--clicks", type=int, default=20)
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--port", type=int, default=18600, help="the first of six ports in a row")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="age-"))
    address = [f"127.0.0.1:{options.port + at}" for at in range(6)]
    ports = ["--http", address[0], "--mqtt", address[1], "--rtmp", address[2], "--rtmps", address[3]]
    log = open(home / "demo.log", "w")
    browser = None
    demo = subprocess.Popen([options.program, "demo", "--dir", home / "demo", "--quality", options.quality, *ports], stdout=log, stderr=log)
    try:
        def playback():
            live = ask("GET", f"http://{address[0]}/api/v1/streams")["items"]
            return live[0]["playback"] if live else None
        stream = eventually("a stream", playback)
        for way, before in WAYS.items():
            page = PAGE.replace("BEFORE", before).replace("SERVER", address[0]).replace("PLAYBACK", stream)
            (home / f"{way}.html").write_text(page)
        handler = lambda *args: Quiet(*args, directory=str(home))
        pages = http.server.ThreadingHTTPServer(("127.0.0.1", options.port + 4), handler)
        threading.Thread(target=pages.serve_forever, daemon=True).start()
        browser = Browser(options.port + 5)
        for way in options.ways.split(","):
            url = f"http://{address[4]}/{way}.html"
            clicks = []
            for _ in range(options.clicks):
                browser.open(url)
                clicks.append(eventually(f"a picture by {way}", lambda: browser.run("return window.first ?? null")))
                browser.open("about:blank")
            browser.open(url)
            eventually(f"a picture by {way}", lambda: browser.run("return window.first ?? null"))
            time.sleep(5)
            ages, apart, clocks, until = [], [], set(), time.monotonic() + options.secs
            while time.monotonic() < until:
                if (read := browser.run(STAMP)) is not None:
                    ages.append(read[0])
                    if read[1] is not None:
                        apart.append(read[1] - read[0])
                        clocks.add(read[2])
                time.sleep(0.25)
            via = browser.run("return window.via ?? null")
            found = {
                "way": way, "via": via, "quality": options.quality, "readings": len(ages),
                "age_ms": {"median": round(statistics.median(ages)), "p95": round(percentile(ages, 0.95))},
                # What the player says less what the bar code says.
                "player_apart_ms": {"median": round(statistics.median(apart)), "p95": round(percentile([abs(ms) for ms in apart], 0.95)), "readings": len(apart),
                    "by": sorted(clocks)} if apart else None,
                "click_ms": {"median": round(statistics.median(clicks)), "p95": round(percentile(clicks, 0.95))} if clicks else None,
            }
            print(json.dumps(found) if options.json else f"{way} (via {via}): age {found['age_ms']}, player's word {found['player_apart_ms']}, click {found['click_ms']}", flush=True)
    finally:
        if browser:
            browser.close()
        demo.terminate()
        demo.wait()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


if __name__ == "__main__":
    main()
