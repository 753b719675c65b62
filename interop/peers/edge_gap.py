#!/usr/bin/env python3
"""What an edge adds, and how long its viewers wait when an origin is killed: `edge_gap.py PROGRAM [TIMES]`.

Cloud, two origins, an edge of both and a camera (the test scene, preset low) in a process each, on free ports of this machine; the edge pulls
over TLS. First pictures are timed from the request for HTTP-FLV to the end of the first key frame: at the origin, at the edge as its first
viewer, and at the edge beside another. Then the camera's origin is killed, and the longest time between two pictures of a viewer is taken.
"""

import http.client as http_client
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

from click_to_picture import free_port, get, until

LINGER_SEC = 1


class Stack:
    def __init__(self, program):
        self.program, self.home, self.started = program, tempfile.mkdtemp(prefix="edge"), []
        self.http, self.mqtts = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"

    def start(self, role, name, settings):
        path = f"{self.home}/{name}.toml"
        with open(path, "w") as file:
            file.write(settings)
        log = open(f"{self.home}/{name}.log", "w")
        self.started.append(subprocess.Popen([self.program, role, "--config", path], stdout=log, stderr=log, stdin=subprocess.DEVNULL))
        return self.started[-1]

    def cloud(self):
        self.start("cloud", "cloud", f"data_dir = 'cloud'\n[http]\nlisten = '{self.http}'\n[mqtt]\nlisten = '{self.mqtts}'\n")
        until("the cloud", lambda: get(f"http://{self.http}/.well-known/jwks.json"))

    def origin(self, name, more=""):
        http, rtmp, rtmps = [f"127.0.0.1:{free_port()}" for _ in range(3)]
        settings = f"""server_id = '{name}'
data_dir = '{name}'
[rtmp]
listen = '{rtmp}'
[rtmps]
listen = '{rtmps}'
cert = 'cloud/server.pem'
key = 'cloud/server.key'
[http]
listen = '{http}'
[record]
enabled = false
[cloud]
url = 'http://{self.http}'
cluster_key_file = 'cloud/cluster.key'
{more}"""
        return self.start("origin", name, settings), http

    def camera(self):
        subprocess.run([self.program, "device", "add", "cam-1", "--dir", f"{self.home}/cloud"], check=True, capture_output=True)
        of_device = "cloud/devices/cam-1"
        self.start("camera", "camera", f"""device_id = 'cam-1'
source = 'test'
[mqtt]
url = 'mqtts://{self.mqtts}'
ca = 'cloud/ca.pem'
cert = '{of_device}.pem'
key = '{of_device}.key'
[stream]
trigger = 'always_on'
quality = 'low'
""")
        items = lambda what: (get(f"http://{self.http}/api/v1/{what}") or {"items": []})["items"]
        until("the origins", lambda: len(items("servers")) == 3)
        return until("the stream", lambda: [stream for stream in items("streams") if stream["fps"] > 0])[0]

    def end(self):
        for process in self.started:
            if process.poll() is None:
                process.kill()
                process.wait()


def pictures(http, playback):
    """When each picture has come, from a key frame on."""
    with urllib.request.urlopen(f"http://{http}/live/{playback}.flv", timeout=20) as stream:
        stream.read(13)
        while len(head := stream.read(11)) == 11:
            body = stream.read(int.from_bytes(head[1:4], "big"))
            stream.read(4)
            if head[0] == 9 and body[1] == 1:
                yield time.time()


def watch(http, playback, seen):
    """Until the edge is ended."""
    try:
        for at in pictures(http, playback):
            seen.append(at)
    except (OSError, http_client.HTTPException):
        pass


def first_ms(http, playback):
    asked, viewer = time.time(), pictures(http, playback)
    took = (next(viewer) - asked) * 1000
    viewer.close()
    return took


def show(what, took):
    print(f"{what}: median {statistics.median(took):.0f} ms, most {max(took):.0f} ms")


def main():
    times, stack = int(sys.argv[2]) if len(sys.argv) > 2 else 10, Stack(sys.argv[1])
    try:
        stack.cloud()
        (a, a_http), (b, b_http) = stack.origin("a"), stack.origin("b")
        upstreams = f"upstreams = ['https://{a_http}', 'https://{b_http}']"
        _, edge = stack.origin("edge", f"[edge]\n{upstreams}\nca = 'cloud/ca.pem'\nlinger_sec = {LINGER_SEC}\n")
        stream = stack.camera()
        playback, home, home_http = stream["playback"], *((a, a_http) if stream["server"] == "a" else (b, b_http))
        show("first picture at the origin", [first_ms(home_http, playback) for _ in range(times)])
        cold = []
        for _ in range(times):
            cold.append(first_ms(edge, playback))
            time.sleep(LINGER_SEC + 1.5)
        show("at the edge, its first viewer", cold)
        other = pictures(edge, playback)
        next(other)
        show("at the edge, beside another", [first_ms(edge, playback) for _ in range(times)])
        other.close()

        seen = []
        threading.Thread(target=watch, args=(edge, playback, seen), daemon=True).start()
        time.sleep(5)
        killed_at = time.time()
        home.kill()
        time.sleep(10)
        gaps = [(later - earlier, later) for earlier, later in zip(seen, seen[1:]) if earlier > seen[0] + 2]
        usual = max(gap for gap, at in gaps if at < killed_at)
        print(f"longest time between two pictures: {usual * 1000:.0f} ms before, {max(gaps)[0] * 1000:.0f} ms where the origin was killed")
        print(f"{sum(at > killed_at for at in seen)} pictures in the 10 s since")
    finally:
        stack.end()


if __name__ == "__main__":
    main()
