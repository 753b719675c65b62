#!/usr/bin/env python3
"""Kills an origin that records, again and again, and looks at what is left.

    python3 interop/peers/kill_recordings.py target/debug/sightline [--kills 200] [--streams 5] [--seed 1]

Several publishers stream without a pause; the origin is killed with SIGKILL at random moments and started again at once. Afterwards each file is
decoded whole by ffmpeg up to its last complete fragment, the origin's own list is compared with the directory, and of each kill it is said how much of
what had been sent was lost. Prints one line of JSON; exit status 1 where something was lost that should not be.
"""

import argparse, json, os, random, shutil, signal, socket, subprocess, sys, tempfile, threading, time, urllib.error, urllib.request

# A fragment of two seconds, and what the network and the reader hold.
LOST_SEC_MAX = 2.6


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def started(program, config, rtmp, log):
    origin = subprocess.Popen([program, "origin", "--config", config], stdout=log, stderr=log)
    while True:
        try:
            socket.create_connection(("127.0.0.1", rtmp), 0.2).close()
            return origin
        except OSError:
            if origin.poll() is not None:
                sys.exit(f"the origin ended: {log.name}")
            time.sleep(0.02)


def listed(http, stream):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{http}/vod/{stream}/list?limit=1000", timeout=20) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        return {"files": [], "gaps": [], "error": error.code}


def decoded(path):
    run = subprocess.run(["ffmpeg", "-v", "error", "-i", path, "-map", "0:v", "-f", "null", "-"], capture_output=True, text=True)
    return [line for line in run.stderr.splitlines() if line.strip()]


def publish(over, clip, url):
    while not over.is_set():
        command = ["ffmpeg", "-v", "quiet", "-re", "-stream_loop", "-1", "-i", clip, "-c", "copy", "-f", "flv", url]
        publisher = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        while publisher.poll() is None and not over.wait(0.05):
            pass
        publisher.terminate()
        publisher.wait()
        over.wait(0.1)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("program")
    arguments.add_argument("--kills", type=int, default=200)
    arguments.add_argument("--streams", type=int, default=5)
    arguments.add_argument("--seed", type=int, default=1)
    asked = arguments.parse_args()
    chance = random.Random(asked.seed)
    work = tempfile.mkdtemp()
    rtmp, rtmps, http = free_port(), free_port(), free_port()
    config = os.path.join(work, "origin.toml")
    with open(config, "w") as file:
        file.write(
            f"server_id = 'o1'\ndata_dir = '{work}/data'\n[rtmp]\nlisten = '127.0.0.1:{rtmp}'\n[rtmps]\nlisten = '127.0.0.1:{rtmps}'\n"
            f"[http]\nlisten = '127.0.0.1:{http}'\n[whep]\nenabled = false\n[auth]\nallow_unsigned_publish = true\n[record]\nflv = false\n"
        )
    clip = os.path.join(work, "clip.mp4")
    subprocess.run(
        ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25", "-t", "60", "-c:v", "libx264", "-preset", "ultrafast",
         "-g", "50", "-pix_fmt", "yuv420p", clip], check=True)
    log = open(os.path.join(work, "origin.log"), "w")
    origin = started(asked.program, config, rtmp, log)
    streams = [f"cam-{number}" for number in range(asked.streams)]
    # Each publisher is started again when it has ended, at once: there is always something to lose.
    over = threading.Event()
    threads = [threading.Thread(target=publish, args=(over, clip, f"rtmp://127.0.0.1:{rtmp}/live/{stream}")) for stream in streams]
    for thread in threads:
        thread.start()
    kills, index_ms, known, changed = [], [], {}, []
    try:
        for number in range(asked.kills):
            # Until every stream is live again, and a moment more.
            while True:
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{http}/metrics", timeout=5) as answer:
                        text = answer.read().decode()
                    if f'sightline_origin_recordings{{state="on"}} {asked.streams}' in text:
                        break
                except OSError:
                    pass
                time.sleep(0.05)
            live_since = time.time()
            time.sleep(chance.uniform(0.0, 4.0))
            origin.send_signal(signal.SIGKILL)
            origin.wait()
            kills.append((live_since, time.time()))
            for stream in streams:
                folder = os.path.join(work, "data/recordings", stream)
                for name in os.listdir(folder) if os.path.isdir(folder) else []:
                    size = os.path.getsize(os.path.join(folder, name))
                    if known.setdefault((stream, name), [number, size])[0] != number and known[(stream, name)][1] != size:
                        changed.append(name)
            origin = started(asked.program, config, rtmp, log)
            before = time.perf_counter()
            for stream in streams:
                listed(http, stream)
            index_ms.append((time.perf_counter() - before) * 1000)
            if number % 20 == 19:
                print(f"{number + 1} of {asked.kills}", file=sys.stderr)
        time.sleep(3)
    finally:
        over.set()
        for thread in threads:
            thread.join()
    lost, broken, missing, files = [], [], [], 0
    for stream in streams:
        answer = listed(http, stream)
        names = {file["name"] for file in answer["files"]}
        broken += answer.get("unreadable", [])
        folder = os.path.join(work, "data/recordings", stream)
        for name in os.listdir(folder):
            files += 1
            path = os.path.join(folder, name)
            if name not in names and b"moof" in open(path, "rb").read():
                missing.append(name)
        spans = sorted((file["from"] / 1000, file["to"] / 1000) for file in answer["files"])
        for live_since, kill in kills:
            # What was sent before all were live again is not counted.
            ends = [end for begin, end in spans if begin < kill]
            lost.append(max(0, kill - max([live_since] + ends)))
        for file in answer["files"]:
            url = f"http://127.0.0.1:{http}/vod/{stream}/{file['from']}-{file['to']}.mp4"
            out = os.path.join(work, "out.mp4")
            urllib.request.urlretrieve(url, out)
            broken += decoded(out)
    origin.send_signal(signal.SIGTERM)
    origin.wait()
    lost.sort()
    at = lambda share: round(lost[min(len(lost) - 1, int(len(lost) * share))], 2) if lost else None
    figures = {
        "kills": len(kills), "streams": asked.streams, "files": files, "lost_sec_median": at(0.5), "lost_sec_p99": at(0.99), "lost_sec_max": at(1),
        "unreadable": len(broken), "not_listed": len(missing), "changed_later": len(changed),
        "list_of_all_ms_median": round(sorted(index_ms)[len(index_ms) // 2], 1), "list_of_all_ms_max": round(max(index_ms), 1),
    }
    print(json.dumps(figures))
    is_good = not broken and not missing and not changed and lost and lost[-1] <= LOST_SEC_MAX
    if is_good:
        shutil.rmtree(work)
    else:
        print(f"kept: {work} {broken[:3]} {missing[:3]} {changed[:3]}", file=sys.stderr)
    sys.exit(0 if is_good else 1)


main()
