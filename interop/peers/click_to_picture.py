#!/usr/bin/env python3
"""From a viewer's click to the first picture of a camera that sleeps: `click_to_picture.py PROGRAM [TIMES]`.

Cloud, origin and camera (the test scene, preset low, trigger on_demand) in a process each, on free ports of this machine. Each time the
camera sleeps, and the origin has forgotten its stream; then HTTP-FLV is asked for, and the time taken until its first key frame is whole.
The last viewer stays for three leases.
"""

import json
import math
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

LEASE_SEC = 4
# Longer than the origin keeps a stream whose camera has gone.
FORGOTTEN_SEC = 3


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def get(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return json.load(answer)
    except (OSError, ValueError):
        return None


def until(what, holds, limit_sec=30):
    end = time.time() + limit_sec
    while time.time() < end:
        if found := holds():
            return found
        time.sleep(0.1)
    raise SystemExit(f"{what}: not within {limit_sec} s")


def tag(stream):
    """The next tag of an FLV file: its kind and its body."""
    head = stream.read(11)
    if len(head) < 11:
        raise SystemExit("the stream is over")
    body = stream.read(int.from_bytes(head[1:4], "big"))
    stream.read(4)
    return head[0], body


def main():
    program, times = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 20
    home = tempfile.mkdtemp(prefix="click")
    http, mqtts, rtmp, rtmps, origin = [f"127.0.0.1:{free_port()}" for _ in range(5)]
    files = {
        "cloud": f"data_dir='{home}/cloud'\n[http]\nlisten='{http}'\n[mqtt]\nlisten='{mqtts}'\n[on_demand]\nlease_sec={LEASE_SEC}\n",
        "origin": f"data_dir='{home}/origin'\n[rtmp]\nlisten='{rtmp}'\n[rtmps]\nlisten='{rtmps}'\ncert='{home}/cloud/server.pem'\n"
        f"key='{home}/cloud/server.key'\n[http]\nlisten='{origin}'\n[limits]\npublisher_grace_sec=1\n[cloud]\nurl='http://{http}'\n"
        f"cluster_key_file='{home}/cloud/cluster.key'\n",
        "camera": f"device_id='cam-1'\nsource='test'\n[mqtt]\nurl='mqtts://{mqtts}'\nca='{home}/cloud/ca.pem'\n"
        f"cert='{home}/cloud/devices/cam-1.pem'\nkey='{home}/cloud/devices/cam-1.key'\n[stream]\ntrigger='on_demand'\nquality='low'\n",
    }
    running = []

    def start(role):
        with open(f"{home}/{role}.toml", "w") as file:
            file.write(files[role])
        log = open(f"{home}/{role}.log", "w")
        running.append(subprocess.Popen([program, role, "--config", file.name], stdout=log, stderr=subprocess.STDOUT))

    def live():
        return get(f"http://{http}/api/v1/streams")["items"]

    try:
        start("cloud")
        until("the cloud", lambda: get(f"http://{http}/.well-known/jwks.json"))
        start("origin")
        until("the origin", lambda: any(server["alive"] for server in get(f"http://{http}/api/v1/servers")["items"]))
        subprocess.run([program, "device", "add", "cam-1", "--json", "--dir", f"{home}/cloud"], check=True, stdout=subprocess.DEVNULL)
        start("camera")
        until("the camera", lambda: get(f"http://{http}/api/v1/devices/cam-1/config")["reported"])
        until("its connection", lambda: get(f"http://{http}/api/v1/devices/cam-1")["online"])
        playback = get(f"http://{http}/api/v1/devices/cam-1")["playback"]
        took = []
        for number in range(times):
            until("it sleeps", lambda: not live())
            time.sleep(FORGOTTEN_SEC)
            began = time.time()
            with urllib.request.urlopen(f"http://{origin}/live/{playback}.flv", timeout=15) as stream:
                stream.read(13)
                while True:
                    kind, body = tag(stream)
                    if kind == 9 and body[1] == 1 and body[0] >> 4 == 1:
                        break
                took.append(time.time() - began)
                until("it is reported", live)
                if number == times - 1:
                    end, last, gap = time.time() + 3 * LEASE_SEC, time.time(), 0.0
                    while time.time() < end:
                        tag(stream)
                        gap, last = max(gap, time.time() - last), time.time()
                    print(f"watched for {3 * LEASE_SEC} s, the longest gap {gap * 1000:.0f} ms")
            left = time.time()
            until("it sleeps again", lambda: not live())
            print(f"{took[-1] * 1000:.0f} ms; asleep {time.time() - left:.1f} s after the last viewer", flush=True)
        took.sort()
        p95 = took[math.ceil(len(took) * 0.95) - 1]
        print(f"median {took[len(took) // 2] * 1000:.0f} ms, p95 {p95 * 1000:.0f} ms, most {took[-1] * 1000:.0f} ms, of {len(took)}")
    finally:
        for process in reversed(running):
            process.send_signal(signal.SIGTERM)
        for process in running:
            process.wait(15)


if __name__ == "__main__":
    main()
