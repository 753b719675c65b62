#!/usr/bin/env python3
"""A hostile address, a hostile device, or a thief, against a cloud, an origin and a camera in processes of their own.

    python3 interop/peers/siege.py address target/release/sightline
    python3 interop/peers/siege.py device target/release/sightline --seconds 60
    python3 interop/peers/siege.py thief  target/release/sightline --seconds 600

`address` is one address without any right, against servers with 1,024 descriptors: 2,000 half handshakes on each port in turn, 2,000 slow requests, floods of broken TLS and of log
lines, while a camera connects, publishes and is watched again and again. `device` has a valid certificate, bearer token and stream tokens, and tries all at once what attacks.md names; beside it eighteen other
devices ask for servers by MQTT and HTTP, and a camera is watched by four viewers, before and meanwhile. `thief` reads the camera's
stream token off the wire once and publishes with it for as long as it can; then it has the device's key as well. Needs nothing but
Python; written without a line of Sightline, so that it can't share its mistakes. Prints what it saw; exits with 1 where a promise is broken.
"""
import argparse, json, os, resource, shutil, signal, socket, ssl, statistics, struct, subprocess, sys, tempfile, threading, time, urllib.error, urllib.request, uuid

MEMORY_MORE_BYTES_MAX = 64 << 20
P99_FACTOR_MAX = 2.0
# Below this a p99 is noise of two processors that also carry the attack.
P99_FLOOR_MS = 25.0
# A device may ask once a second for long; so many of them ask that there is a question each eighth of a second.
ASK_INTERVAL_SECS = 2.2
ASKERS = 18
BROKEN = []


def promise(holds, words):
    print(("kept   " if holds else "BROKEN ") + words, flush=True)
    if not holds:
        BROKEN.append(words)


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def http(url, body=None, bearer=None, timeout=10, method=None):
    headers = {"Content-Type": "application/json"}
    if bearer:
        headers["Authorization"] = "Bearer " + bearer
    data = None if body is None else (body if isinstance(body, bytes) else json.dumps(body).encode())
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, headers, method=method), timeout=timeout) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read()


def eventually(what, ask, limit=30):
    until = time.monotonic() + limit
    while time.monotonic() < until:
        try:
            found = ask()
        except OSError:
            found = None
        if found:
            return found
        time.sleep(0.05)
    raise SystemExit(f"{what}: not within {limit} s")


class Installation:
    """A cloud and an origin on free ports of loopback, in a directory of their own."""

    def __init__(self, program, rtmp_url_port=None, is_limited=False):
        self.is_limited = is_limited
        self.program, self.dir, self.processes = os.path.abspath(program), tempfile.mkdtemp(prefix="siege-"), {}
        self.http, self.mqtts, self.rtmp, self.live = (free_port() for _ in range(4))
        self.advertised = rtmp_url_port or self.rtmp
        self.write("cloud.toml", f"data_dir='{self.dir}/cloud'\n[http]\nlisten='127.0.0.1:{self.http}'\n[mqtt]\nlisten='127.0.0.1:{self.mqtts}'\n")
        self.write(
            "origin.toml",
            f"server_id='origin-a'\ndata_dir='{self.dir}/origin'\n[rtmp]\nlisten='127.0.0.1:{self.rtmp}'\n[http]\nlisten='127.0.0.1:{self.live}'\n"
            f"[rtmps]\nlisten='127.0.0.1:{free_port()}'\n"
            f"[cloud]\nurl='http://127.0.0.1:{self.http}'\ncluster_key_file='{self.dir}/cloud/cluster.key'\nrtmp_url='rtmp://127.0.0.1:{self.advertised}/live'\n",
        )
        self.start("cloud", "cloud", "--config", f"{self.dir}/cloud.toml")
        eventually("the cloud is up", lambda: http(self.api("/.well-known/jwks.json"))[0] == 200)
        self.start("origin", "origin", "--config", f"{self.dir}/origin.toml")
        eventually("the origin is known", lambda: any(s["alive"] for s in self.get("/api/v1/servers")["items"]))

    def write(self, name, text):
        with open(f"{self.dir}/{name}", "w") as file:
            file.write(text)

    def start(self, name, *args):
        log = open(f"{self.dir}/{name}.log", "ab")
        # `ulimit -n 1024` sets both; the soft one alone is raised at the start.
        hard = 1024 if self.is_limited else resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        limit = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
        self.processes[name] = subprocess.Popen([self.program, *args], stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=limit)

    def api(self, path):
        return f"http://127.0.0.1:{self.http}{path}"

    def get(self, path):
        return json.loads(http(self.api(path))[1])

    def run(self, *args):
        return subprocess.run([self.program, *args, "--dir", f"{self.dir}/cloud"], check=True, capture_output=True).stdout

    def add(self, device):
        self.run("device", "add", device, "--json")

    def file(self, device, ending):
        return f"{self.dir}/cloud/devices/{device}.{ending}"

    def bearer(self, device):
        with open(self.file(device, "token")) as file:
            return file.read().strip()

    def camera(self, device):
        files = "\n".join(f"{key}='{self.file(device, end)}'" for key, end in (("cert", "pem"), ("key", "key")))
        self.write(
            f"{device}.toml",
            f"device_id='{device}'\nsource='test'\n[mqtt]\nurl='mqtts://127.0.0.1:{self.mqtts}'\nca='{self.dir}/cloud/ca.pem'\n{files}\n"
            "[stream]\ntrigger='always_on'\nquality='low'\nstream_type='rtmp'\nreconnect_interval_sec=1\n",
        )
        self.start(device, "camera", "--config", f"{self.dir}/{device}.toml")
        return eventually("the camera is live", lambda: next((s["playback"] for s in self.get("/api/v1/streams")["items"] if s["device"] == device), None))

    def resident(self, name):
        with open(f"/proc/{self.processes[name].pid}/statm") as file:
            return int(file.read().split()[1]) * resource.getpagesize()

    def log_bytes(self):
        return sum(os.path.getsize(f"{self.dir}/{name}.log") for name in ("cloud", "origin"))

    def stop(self):
        for process in reversed(self.processes.values()):
            process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
        shutil.rmtree(self.dir, ignore_errors=True)


def stream_request(device, transport="rtmp"):
    return {
        "request_id": uuid.uuid4().hex, "device_id": device, "stream_type": transport, "quality": "low", "preferred_region": "",
        "max_bitrate": 1000000, "supports_adaptive": True, "timestamp": int(time.time()),
    }


# ---- MQTT 3.1.1, the little that is needed -------------------------------------------------------------------------------------------


def mqtt_text(text):
    data = text.encode()
    return struct.pack(">H", len(data)) + data


def mqtt_packet(first, body):
    length, size = b"", len(body)
    while True:
        length += bytes([size % 128 | (128 if size >= 128 else 0)])
        size //= 128
        if not size:
            return bytes([first]) + length + body


class Mqtt:
    def __init__(self, installation, device, source="127.0.0.1", will=None, keep_alive=30, files=None):
        context = ssl.create_default_context(cafile=f"{installation.dir}/cloud/ca.pem")
        context.load_cert_chain(*(files or (installation.file(device, "pem"), installation.file(device, "key"))))
        raw = socket.create_connection(("127.0.0.1", installation.mqtts), 10, (source, 0))
        self.socket, self.buffer = context.wrap_socket(raw, server_hostname="localhost"), b""
        flags, extra = 2, b""
        if will:
            flags, extra = 2 | 4 | 8, mqtt_text(will[0]) + struct.pack(">H", len(will[1])) + will[1]
        self.send(0x10, mqtt_text("MQTT") + bytes([4, flags]) + struct.pack(">H", keep_alive) + mqtt_text(device) + extra)
        kind, body = self.receive(10)
        if kind != 0x20 or body[1] != 0:
            raise ConnectionError(f"CONNACK {body!r}")

    def send(self, first, body):
        self.socket.sendall(mqtt_packet(first, body))

    def publish(self, topic, payload, qos=0, number=1, retain=False):
        self.send(0x30 | qos << 1 | retain, mqtt_text(topic) + (struct.pack(">H", number) if qos else b"") + payload)

    def subscribe(self, topic, number=1):
        self.send(0x82, struct.pack(">H", number) + mqtt_text(topic) + b"\0")

    def receive(self, timeout):
        self.socket.settimeout(timeout)
        while True:
            size, shift, at = 0, 0, 1
            while at < len(self.buffer):
                size, shift, at = size | (self.buffer[at] & 127) << shift, shift + 7, at + 1
                if not self.buffer[at - 1] & 128:
                    if len(self.buffer) >= at + size:
                        kind, body, self.buffer = self.buffer[0], self.buffer[at : at + size], self.buffer[at + size :]
                        return kind, body
                    break
            more = self.socket.recv(65536)
            if not more:
                raise ConnectionError("the broker has closed")
            self.buffer += more

    def close(self):
        self.socket.close()


# ---- RTMP, a publisher's side --------------------------------------------------------------------------------------------------------


def amf(value):
    if value is None:
        return b"\5"
    if isinstance(value, str):
        return b"\2" + mqtt_text(value)
    if isinstance(value, dict):
        return b"\3" + b"".join(mqtt_text(key) + amf(item) for key, item in value.items()) + b"\0\0\x09"
    return b"\0" + struct.pack(">d", value)


def chunked(kind, stream, payload, time_ms=0, csid=4, size=128):
    header = bytes([csid]) + struct.pack(">I", time_ms)[1:] + struct.pack(">I", len(payload))[1:] + bytes([kind]) + struct.pack("<I", stream)
    parts = [payload[at : at + size] for at in range(0, len(payload), size)] or [b""]
    return header + bytes([0xC0 | csid]).join(parts)


class Refused(Exception):
    pass


# Constrained Baseline, 1280x720; whose picture it is says its mark.
SPS, PPS = bytes.fromhex("6742c01fda014016ec0440000003004000000c83c60ca8"), bytes.fromhex("68ce0fc8")
AVCC = b"\1" + SPS[1:4] + b"\xff\xe1" + struct.pack(">H", len(SPS)) + SPS + b"\1" + struct.pack(">H", len(PPS)) + PPS
MARK = b"A-PICTURE-OF-THE-THIEF"


def picture(is_key, fill=b""):
    nal = (b"\x65" if is_key else b"\x41") + MARK + fill
    return (b"\x17" if is_key else b"\x27") + b"\1\0\0\0" + struct.pack(">I", len(nal)) + nal


class Publisher:
    def __init__(self, port, name, source="127.0.0.1", app="live"):
        self.socket = socket.create_connection(("127.0.0.1", port), 5, (source, 0))
        self.seen = b""
        self.socket.sendall(b"\3" + bytes(8) + os.urandom(1528))
        self.exactly(1 + 1536 + 1536)
        self.socket.sendall(bytes(1536))
        self.socket.sendall(chunked(20, 0, amf("connect") + amf(1) + amf({"app": app, "tcUrl": f"rtmp://127.0.0.1/{app}"}), csid=3))
        self.until(b"NetConnection.Connect.Success")
        self.socket.sendall(chunked(20, 0, amf("createStream") + amf(2) + amf(None), csid=3))
        self.until(b"_result")
        self.socket.sendall(chunked(20, 1, amf("publish") + amf(3) + amf(None) + amf(name) + amf("live"), csid=3))
        self.until(b"NetStream.Publish.Start")
        self.socket.sendall(chunked(2 - 1, 0, struct.pack(">I", 65536), csid=2))
        self.video(b"\x17\0\0\0\0" + AVCC, 0)

    def exactly(self, count):
        self.socket.settimeout(5)
        while count:
            more = self.socket.recv(count)
            if not more:
                raise Refused("closed in the handshake")
            count -= len(more)

    def until(self, word):
        self.socket.settimeout(5)
        self.seen = b""
        while word not in self.seen:
            try:
                more = self.socket.recv(65536)
            except OSError as error:
                raise Refused(str(error)) from error
            if not more or b"BadName" in self.seen or b"_error" in self.seen or b"Unauthorized" in self.seen:
                raise Refused(self.seen[-200:])
            self.seen += more

    def video(self, body, time_ms):
        self.socket.sendall(chunked(9, 1, body, time_ms, csid=6, size=65536))

    def stream(self, until):
        """Pictures at 25 a second until it is ended or the time has come. Gives whether it was ended."""
        began, number = time.monotonic(), 0
        self.socket.settimeout(0.001)
        try:
            while time.monotonic() < until:
                self.video(picture(number % 25 == 0, bytes(400)), int((time.monotonic() - began) * 1000))
                number += 1
                try:
                    if not self.socket.recv(65536):
                        return True
                except (TimeoutError, ssl.SSLError):
                    pass
                time.sleep(0.04)
        except OSError:
            return True
        return False

    def close(self):
        self.socket.close()


class Viewer(threading.Thread):
    """Reads HTTP-FLV and keeps, for each picture, when it came, its time and whose it is."""

    def __init__(self, installation, playback):
        super().__init__(daemon=True)
        self.port, self.playback, self.pictures, self.ends = installation.live, playback, [], 0
        self.start()

    def run(self):
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self.port), 5) as link:
                    link.settimeout(40)
                    link.sendall(f"GET /live/{self.playback}.flv HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
                    reader = link.makefile("rb")
                    while reader.readline() not in (b"\r\n", b""):
                        pass
                    reader.read(13)
                    while True:
                        head = reader.read(11)
                        if len(head) < 11:
                            break
                        body = reader.read(int.from_bytes(head[1:4], "big"))
                        reader.read(4)
                        if head[0] == 9 and len(body) > 5 and body[1] == 1:
                            media_ms = int.from_bytes(head[4:7], "big") | head[7] << 24
                            self.pictures.append((time.monotonic(), media_ms, MARK in body))
            except OSError:
                pass
            self.ends += 1
            time.sleep(0.2)

    def delays_ms(self, from_, to):
        """How much later than the earliest of them each picture came."""
        raw = [at * 1000 - media_ms for at, media_ms, _ in self.pictures if from_ <= at <= to]
        least = min(raw, default=0)
        return [each - least for each in raw]


def p99(values):
    return sorted(values)[len(values) * 99 // 100] if values else float("nan")


# ---- One hostile address -------------------------------------------------------------------------------------------------------------

CONNECTIONS = 2000
ATTACK_SECS = 20
WATCHED_LIMIT_SECS = 5.0
HOSTILE = "127.0.0.66"


def hold_open(port, first, drip, until):
    """As many connections as the other side takes, each with half of something, topped up; `drip` goes out each second."""
    links = []
    while time.monotonic() < until:
        while len(links) < CONNECTIONS and time.monotonic() < until:
            try:
                link = socket.create_connection(("127.0.0.1", port), 1, (HOSTILE, 0))
                link.sendall(first)
                link.setblocking(False)
                links.append(link)
            except OSError:
                break
        alive = []
        for link in links:
            try:
                if drip:
                    link.send(drip)
                if link.recv(4096) == b"":
                    raise OSError
                alive.append(link)
            except BlockingIOError:
                alive.append(link)
            except OSError:
                link.close()
        links = alive
        time.sleep(0.2)
    for link in links:
        link.close()


def flood(ports, blobs, until):
    while time.monotonic() < until:
        for port in ports:
            for blob in blobs:
                try:
                    with socket.create_connection(("127.0.0.1", port), 1, (HOSTILE, 0)) as link:
                        link.sendall(blob)
                except OSError:
                    pass


def seconds_to_watched(installation, device):
    """From asking for a server to a picture at a viewer."""
    began = time.monotonic()
    status, body = http(installation.api("/stream/request"), stream_request(device), installation.bearer(device))
    answer = json.loads(body)
    link = Publisher(installation.rtmp, f"{answer['stream_key']}?token={answer['token']}")
    link.video(picture(True), 0)
    playback, viewer = None, None
    for number in range(1, 300):
        link.video(picture(number % 10 == 0, bytes(400)), number * 40)
        if playback is None:
            # As the device's page has it; the API needs no origin for that.
            playback = installation.get(f"/api/v1/devices/{device}")["playback"]
        try:
            if viewer is None:
                viewer, seen = socket.create_connection(("127.0.0.1", installation.live), 2), b""
                viewer.settimeout(0.04)
                viewer.sendall(f"GET /live/{playback}.flv HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
            more = viewer.recv(65536)
            seen += more
            if MARK in seen:
                viewer.close()
                link.close()
                return time.monotonic() - began
            if not more:
                raise OSError("no such stream yet")
        except TimeoutError:
            pass
        except OSError:
            viewer = viewer and viewer.close()
            time.sleep(0.04)
    link.close()
    return float("inf")


def hostile_address(installation, _seconds):
    installation.add("cam-1")
    half_tls = b"\x16\x03\x01\x02\x00\x01"
    ports = {"http": installation.http, "mqtts": installation.mqtts, "rtmp": installation.rtmp, "live": installation.live}
    kinds = {f"{CONNECTIONS} half handshakes on {name}": (hold_open, port, half_tls if name != "rtmp" else b"\x03" + bytes(700), b"") for name, port in ports.items()}
    for name in ("http", "live"):
        kinds[f"{CONNECTIONS} slow requests on {name}"] = (hold_open, ports[name], b"GET / HTTP/1.1\r\nX: ", b"a")
    broken = [b"\x16\x03\x01\x00\x05hello", b"GET /stream/request HTTP/1.1\r\n\r\n", b"\x03" + bytes(1536) + os.urandom(400), b"\x10\x02\x00\x00"]
    kinds["floods of broken TLS and of log lines"] = (flood, list(ports.values()), broken, None)
    resource.setrlimit(resource.RLIMIT_NOFILE, (8192, max(8192, resource.getrlimit(resource.RLIMIT_NOFILE)[1])))
    print(f"calm: watched after {seconds_to_watched(installation, 'cam-1'):.2f} s", flush=True)
    for kind, (attack, *args) in kinds.items():
        before, logged = {name: installation.resident(name) for name in ("cloud", "origin")}, installation.log_bytes()
        most, until, took, failed = dict(before), time.monotonic() + ATTACK_SECS, [], 0
        child = os.fork()
        if child == 0:
            os.nice(10)
            attack(*args, until) if attack is hold_open else flood(args[0], args[1], until)
            os._exit(0)
        time.sleep(3)
        while time.monotonic() < until - 1:
            try:
                took.append(seconds_to_watched(installation, "cam-1"))
            except (OSError, Refused, KeyError) as error:
                failed += 1
                print("  a try failed:", repr(error)[:160], flush=True)
            most = {name: max(most[name], installation.resident(name)) for name in most}
            time.sleep(1)
        os.waitpid(child, 0)
        more = max(most[name] - before[name] for name in most)
        rate = (installation.log_bytes() - logged) / ATTACK_SECS
        promise(
            not failed and bool(took) and max(took) <= WATCHED_LIMIT_SECS and more <= MEMORY_MORE_BYTES_MAX and rate <= 10_000,
            f"{kind}: watched after {max(took, default=float('nan')):.2f} s at the most of {len(took)}, {failed} failed, {more / 2**20:.1f} MiB more, log {rate:.0f} bytes a second",
        )


# ---- One hostile device --------------------------------------------------------------------------------------------------------------


class Asker(threading.Thread):
    """A device that asks for a server as often as it may, by HTTP and MQTT in turn, and times the answers."""

    def __init__(self, installation, device, phase):
        super().__init__(daemon=True)
        self.installation, self.device, self.took, self.failed, self.phase = installation, device, {"http": [], "mqtt": []}, [], phase
        self.start()

    def run(self):
        link, bearer, turn = None, self.installation.bearer(self.device), 0
        time.sleep(self.phase)
        while True:
            turn += 1
            began, request = time.monotonic(), stream_request(self.device)
            try:
                if turn % 2:
                    status, body = http(self.installation.api("/stream/request"), request, bearer)
                    if status != 200:
                        raise ConnectionError(f"{status} {body[:120]}")
                else:
                    if link is None:
                        link = Mqtt(self.installation, self.device)
                        link.subscribe(f"devices/{self.device}/stream/response")
                        began = time.monotonic()
                    link.publish(f"devices/{self.device}/stream/request", json.dumps(request).encode(), 1, turn % 60000 + 1)
                    while True:
                        kind, body = link.receive(10)
                        if kind >> 4 == 3 and request["request_id"].encode() in body:
                            break
                self.took["http" if turn % 2 else "mqtt"].append((began, (time.monotonic() - began) * 1000))
            except OSError as error:
                self.failed.append((began, str(error)))
                link = None
            time.sleep(ASK_INTERVAL_SECS)


def attacks(installation, device, until):
    """Each a loop of its own in this (nice) process."""
    bearer, me = installation.bearer(device), f"devices/{device}"
    big = json.dumps({"event": "connection_error", "metrics": {"a": "x" * 200000}, "error_message": "y" * 50000}).encode()

    def mqtt_flood():
        link = Mqtt(installation, device)
        for number in range(1, 60000):
            link.publish(f"{me}/stream/status", big, 1, number)
            link.publish(f"{me}/motion", b'{"motion":true,"score":' + b"9" * 300 + b"}")
            link.publish(f"{me}/stream/request", json.dumps(stream_request(device)).encode(), 1, number)
            link.publish("devices/good-0/stream/status", big)

    def takeovers():
        for _ in range(50):
            Mqtt(installation, device, f"127.0.0.{2 + int(time.monotonic() * 10) % 20}", (f"{me}/motion", b"{}")).close()

    def topics():
        link = Mqtt(installation, device)
        for number in range(1, 5000):
            link.subscribe(f"{me}/{number}/#", number)
            link.publish(f"{me}/snapshot", os.urandom(120000), retain=True)

    def half_handshakes():
        links = [socket.create_connection(("127.0.0.1", installation.mqtts), 5) for _ in range(100)]
        for link in links:
            link.sendall(b"\x16\x03\x01\x02\x00\x01")
        time.sleep(2)

    def requests():
        http(installation.api("/stream/request"), stream_request(device), bearer)
        http(installation.api("/stream/request"), b"{" * 15000, bearer)
        http(installation.api(f"/api/v1/devices/{device}/certificate"), {"csr": "-----BEGIN CERTIFICATE REQUEST-----\n" + "A" * 9000}, bearer)

    def slow_requests():
        links = [socket.create_connection(("127.0.0.1", port), 5) for port in (installation.http, installation.live) * 50]
        for _ in range(20):
            for link in links:
                link.sendall(b"P")
            time.sleep(0.1)

    def publisher(fill, count):
        status, body = http(installation.api("/stream/request"), stream_request(device), bearer)
        if status != 200:
            return time.sleep(0.2)
        answer = json.loads(body)
        link = Publisher(installation.rtmp, f"{answer['stream_key']}?token={answer['token']}")
        link.video(picture(True), 0)
        burst = b"".join(chunked(9, 1, fill, 40, csid=6, size=65536) for _ in range(count))
        link.socket.settimeout(5)
        while time.monotonic() < until:
            link.socket.sendall(burst)

    def unread_viewers():
        streams = [s for s in installation.get("/api/v1/streams")["items"]]
        links = []
        for stream in streams * 20:
            link = socket.create_connection(("127.0.0.1", installation.live), 5)
            link.sendall(f"GET /live/{stream['playback']}.flv HTTP/1.1\r\nHost: h\r\n\r\n".encode())
            links.append(link)
        time.sleep(3)

    def own_playlist():
        """What it sends is kept for whoever asks for it by HLS: itself."""
        for stream in installation.get("/api/v1/streams")["items"]:
            if stream["device"] == device:
                http(f"http://127.0.0.1:{installation.live}/live/{stream['playback']}/index.m3u8", timeout=2)
        time.sleep(0.5)

    kinds = {
        "mqtt_flood": mqtt_flood, "mqtt_flood_2": mqtt_flood, "takeovers": takeovers, "topics": topics, "half_handshakes": half_handshakes,
        "requests": requests, "requests_2": requests, "slow_requests": slow_requests, "tiny_frames": lambda: publisher(b"\x27\1\0\0\0\0\0\0\1\x41", 2000),
        "big_frames": lambda: publisher(picture(False, bytes(60000)), 20), "unread_viewers": unread_viewers, "own_playlist": own_playlist,
    }
    rounds = dict.fromkeys(kinds, 0)

    def loop(name, body):
        while time.monotonic() < until:
            try:
                body()
            except (OSError, Refused, ValueError, KeyError):
                time.sleep(0.02)
            rounds[name] += 1

    threads = [threading.Thread(target=loop, args=each, daemon=True) for each in kinds.items()]
    for thread in threads:
        thread.start()
    time.sleep(max(0, until - time.monotonic()))
    return rounds


def hostile_device(installation, seconds):
    for device in [f"good-{number}" for number in range(ASKERS)] + ["cam-1", "bad"]:
        installation.add(device)
    playback = installation.camera("cam-1")
    askers = [Asker(installation, f"good-{number}", number * ASK_INTERVAL_SECS / ASKERS) for number in range(ASKERS)]
    viewers = [Viewer(installation, playback) for _ in range(4)]
    time.sleep(5)
    calm = (time.monotonic(), time.monotonic() + seconds / 2)
    time.sleep(seconds / 2)
    before = {name: installation.resident(name) for name in ("cloud", "origin")}
    logged, most = installation.log_bytes(), dict(before)
    rough = (time.monotonic(), time.monotonic() + seconds)
    child = os.fork()
    if child == 0:
        os.nice(19)
        print("rounds of the hostile device:", attacks(installation, "bad", rough[1]), flush=True)
        os._exit(0)
    while time.monotonic() < rough[1]:
        time.sleep(0.25)
        most = {name: max(most[name], installation.resident(name)) for name in most}
    os.waitpid(child, 0)
    span = lambda asker, way, part: [ms for at, ms in asker.took[way] if part[0] <= at <= part[1]]
    for way in ("http", "mqtt"):
        calm_ms, rough_ms = ([ms for asker in askers for ms in span(asker, way, part)] for part in (calm, rough))
        limit = max(P99_FLOOR_MS, p99(calm_ms) * P99_FACTOR_MAX)
        promise(
            p99(rough_ms) <= limit,
            f"a server by {way}: p50 {statistics.median(calm_ms):.1f} -> {statistics.median(rough_ms):.1f} ms, p99 {p99(calm_ms):.1f} -> "
            f"{p99(rough_ms):.1f} ms of {len(rough_ms)} (at most {limit:.1f})",
        )
    failed = [why for asker in askers for at, why in asker.failed if at >= rough[0]]
    promise(not failed, f"no question of another device failed: {len(failed)} {failed[:3]}")
    calm_ms, rough_ms = ([ms for viewer in viewers for ms in viewer.delays_ms(*part)] for part in (calm, rough))
    limit = max(P99_FLOOR_MS, p99(calm_ms) * P99_FACTOR_MAX)
    promise(
        p99(rough_ms) <= limit and not any(viewer.ends for viewer in viewers),
        f"pictures at four viewers: p99 of the delay over the least {p99(calm_ms):.1f} -> {p99(rough_ms):.1f} ms of {len(rough_ms)} (at most {limit:.1f}), "
        f"{sum(viewer.ends for viewer in viewers)} cut off",
    )
    for name, bytes_ in most.items():
        more = bytes_ - before[name]
        promise(more <= MEMORY_MORE_BYTES_MAX, f"{name}'s memory: {before[name] / 2**20:.1f} MiB and at most {more / 2**20:.1f} more")
    rate = (installation.log_bytes() - logged) / seconds
    promise(rate <= 10_000, f"log: {rate:.0f} bytes a second")
    audit = [row for row in installation.get("/api/v1/audit?limit=1000")["items"] if "bad" in json.dumps(row)]
    events = [event for event in installation.get("/api/v1/events?limit=1000")["items"] if event.get("device") == "bad"]
    kinds = sorted({event["event"] for event in events if "event" in event} | {event.get("kind", "") for event in events})
    promise(len(audit) <= 300 and bool(audit), f"its rows in the audit log: {len(audit)}; {sorted({row.get('action') for row in audit})}")
    promise(bool(events), f"its events: {len(events)}; {kinds}")


# ---- A thief -------------------------------------------------------------------------------------------------------------------------


class Wire(threading.Thread):
    """Between the camera and the origin: passes all on, and reads the first token that comes by."""

    def __init__(self):
        super().__init__(daemon=True)
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port, self.to, self.stolen = self.server.getsockname()[1], None, None
        self.start()

    def run(self):
        while True:
            camera, _ = self.server.accept()
            origin = socket.create_connection(("127.0.0.1", self.to))
            for pair in ((camera, origin, True), (origin, camera, False)):
                threading.Thread(target=self.pass_on, args=pair, daemon=True).start()

    def pass_on(self, from_, to, is_upward):
        seen = b""
        try:
            while data := from_.recv(65536):
                to.sendall(data)
                if is_upward and self.stolen is None:
                    seen = (seen + data)[-8192:]
                    self.stolen = self.read_name(seen)
        except OSError:
            pass
        for end in (from_, to):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    @staticmethod
    def read_name(seen):
        """The argument of `publish`, put together from its chunks."""
        at = seen.find(b"?token=")
        start = seen.rfind(b"\2", 0, at)
        if at < 0 or start < 0:
            return None
        length = struct.unpack(">H", seen[start + 1 : start + 3])[0]
        rest = seen[start + 3 :]
        for size in (len(rest), 128):
            # The camera may have cut it into chunks of 128 bytes with one byte of header between.
            name = rest[:length]
            if b"\xc3" in name:
                name = rest.replace(b"\xc3", b"", 2)[:length]
            if len(name) == length and name.isascii():
                return name.decode()
        return None


def thief(installation, wire, seconds):
    installation.add("cam-1")
    playback = installation.camera("cam-1")
    viewer = Viewer(installation, playback)
    name = eventually("a token goes over the wire", lambda: wire.stolen)
    print("stolen once:", name.split("?")[0], "and its token of", len(name), "characters", flush=True)
    time.sleep(5)
    began = time.monotonic()
    until, tries, taken, first = began + seconds, 0, 0, None
    while time.monotonic() < until:
        # From another address, and each tenth try from the camera's own.
        source = "127.0.0.1" if tries % 10 == 9 else "127.0.0.2"
        tries += 1
        try:
            link = Publisher(installation.rtmp, name, source)
            taken += 1
            link.stream(until)
            link.close()
        except (OSError, Refused):
            pass
        if first is None:
            events = [event for event in installation.get("/api/v1/events?limit=200")["items"] if "duel" in json.dumps(event)]
            first = time.monotonic() - began if events else None
        time.sleep(0.2)
    seen = [each for each in viewer.pictures if began <= each[0] <= until]
    of_thief, last, held, gaps = 0.0, began, 0.0, []
    for at, _, is_thief in seen:
        # A picture stands until the next; what stands for longer than two seconds is no stream.
        if at - last > 1:
            gaps.append(f"{last - began:.0f} s: {at - last:.1f} s")
        if is_thief:
            of_thief += min(at - last, 2.0)
        else:
            held += min(at - last, 2.0)
        last = at
    print(f"{tries} tries, {taken} let in; {len(seen)} pictures, {sum(each[2] for each in seen)} of the thief's; the viewer was cut {viewer.ends} times; without a picture at {gaps}")
    promise(held / seconds >= 0.99, f"the camera holds the stream {100 * held / seconds:.2f} % of {seconds} s")
    promise(of_thief <= 2, f"viewers see the thief's picture for {of_thief:.2f} s")
    promise(first is not None and first <= 10, f"the duel is in the events after {first and round(first, 1)} s")

    # With the device's key as well.
    for end in ("pem", "key"):
        shutil.copy(installation.file("cam-1", end), f"{installation.dir}/stolen.{end}")
    files = (f"{installation.dir}/stolen.pem", f"{installation.dir}/stolen.key")
    began, told, let_in = time.monotonic(), None, 0
    known = {json.dumps(event) for event in installation.get("/api/v1/events?limit=1000")["items"]}
    while time.monotonic() < began + 20 and told is None:
        try:
            Mqtt(installation, "cam-1", "127.0.0.3", files=files)
            let_in += 1
        except (OSError, ConnectionError):
            pass
        fresh = [event for event in installation.get("/api/v1/events?limit=1000")["items"] if json.dumps(event) not in known]
        if any("127.0.0.3" in json.dumps(event) for event in fresh):
            told = time.monotonic() - began
        time.sleep(0.5)
    promise(told is not None and told <= 10, f"a second client with the device's key is in the events after {told and round(told, 1)} s ({let_in} let in)")
    installation.processes["cam-1"].send_signal(signal.SIGTERM)
    installation.processes.pop("cam-1").wait(15)
    installation.run("device", "revoke", "cam-1")
    installation.add("cam-1")
    playback = installation.camera("cam-1")
    refused = 0
    for _ in range(20):
        try:
            Mqtt(installation, "cam-1", "127.0.0.3", files=files)
        except (OSError, ConnectionError):
            refused += 1
        time.sleep(0.1)
    promise(refused == 20, f"after a new enrolment the copied key is refused {refused} times of 20, and the camera streams as {playback}")


def main():
    # Ended from outside it ends what it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("what", choices=["address", "device", "thief"])
    options.add_argument("program", help="the `sightline` to be tried")
    options.add_argument("--seconds", type=int, default=60)
    options = options.parse_args()
    wire = Wire() if options.what == "thief" else None
    installation = Installation(options.program, wire and wire.port, options.what == "address")
    try:
        if wire:
            wire.to = installation.rtmp
            thief(installation, wire, options.seconds)
        elif options.what == "address":
            hostile_address(installation, options.seconds)
        else:
            hostile_device(installation, options.seconds)
    finally:
        installation.stop()
    sys.exit(1 if BROKEN else 0)


main()
