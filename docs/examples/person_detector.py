#!/usr/bin/env python3
"""Looks for people in a stream, and notes each that it sees as a mark.

    python3 person_detector.py http://localhost:8080 cam-1

It reads decoded pictures from /live/{playback}/frames, gives them to the person detector that OpenCV brings, and sends what it finds to
/api/v1/streams/{device}/marks. Needs Python 3.9 and OpenCV 4: the packages python3-opencv, or opencv-python-headless.
SIGHTLINE_TOKEN is the operator's token, where the cloud asks for one.
"""

import argparse
import json
import os
import sys
import time
import urllib.error
import urllib.request

import cv2
import numpy

# The detector's window is 64 x 128 pixels: in smaller pictures it sees nobody, and larger ones only take longer.
WIDTH = 640
# Below it what looks like a person is a lamp post or a bush.
SCORE_MIN = 0.6
# Someone who was not seen for so long has gone, in seconds.
GONE_AFTER = 2.0
# A mark is made anew after so long, in seconds: who stands there for an hour is not one mark at its end.
MARK_LENGTH_MAX = 30.0


def detector():
    hog = cv2.HOGDescriptor()
    hog.setSVMDetector(cv2.HOGDescriptor_getDefaultPeopleDetector())
    return hog


def people(hog, picture):
    """The people in a picture: how sure, and where, in fractions of the picture."""
    height, width = picture.shape[:2]
    boxes, scores = hog.detectMultiScale(picture, winStride=(8, 8), padding=(8, 8), scale=1.05)
    found = []
    for rectangle, score in zip(boxes, numpy.array(scores).flatten()):
        if score < SCORE_MIN:
            continue
        x, y, w, h = (int(side) for side in rectangle)
        # The detector's boxes may reach over the picture's edges.
        left, top = max(0, x), max(0, y)
        right, bottom = min(width, x + w), min(height, y + h)
        box = {"x": left / width, "y": top / height, "width": (right - left) / width, "height": (bottom - top) / height}
        # It is the distance to a plane, not a share: above 2 it is never wrong.
        found.append((min(1.0, float(score) / 2), box))
    return sorted(found, key=lambda person: person[0], reverse=True)


class Presence:
    """Makes one mark of what lasts: from the first picture with somebody to the last."""

    def __init__(self):
        self.mark = None
        self.seen_us = 0

    def look(self, found, captured_us):
        """The mark that is over with this picture, if one is."""
        over = None
        if self.mark:
            began_us = self.mark["at"] * 1000
            if captured_us - self.seen_us > GONE_AFTER * 1e6 or captured_us - began_us > MARK_LENGTH_MAX * 1e6:
                over = self.end()
        if found:
            score, box = found[0]
            self.seen_us = captured_us
            if not self.mark:
                self.mark = {"kind": "person", "label": "Person", "at": captured_us // 1000, "score": 0.0, "text": ""}
            if score > self.mark["score"]:
                self.mark.update(score=score, box=box, text=f"{len(found)} in the picture")
        return over

    def end(self):
        mark, self.mark = self.mark, None
        if mark:
            mark["duration_ms"] = max(0, self.seen_us // 1000 - mark["at"])
        return mark


def parts(response):
    """The parts of a multipart answer: headers, and body."""
    while line := response.readline():
        if not line.startswith(b"--"):
            continue
        headers = {}
        while (line := response.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode().partition(":")
            headers[name.strip().lower()] = value.strip()
        yield headers, response.read(int(headers["content-length"]))


class Cloud:
    def __init__(self, url):
        self.url = url.rstrip("/")
        self.token = os.environ.get("SIGHTLINE_TOKEN")

    def call(self, path, body=None):
        headers = {"Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, headers=headers)
        with urllib.request.urlopen(request, timeout=15) as answer:
            return json.load(answer)

    def frames(self, device, fps):
        """A device's pictures. The cloud sends us on to the origin that has the stream."""
        right = self.call(f"/api/v1/streams/{device}/playback", {"ways": ["frames"]})
        url = f"{self.url}/live/{right['playback']}/frames?fps={fps}&width={WIDTH}&token={right['token']}"
        return urllib.request.urlopen(url, timeout=30)


def watch(cloud, device, fps):
    hog, presence = detector(), Presence()
    with cloud.frames(device, fps) as response:
        for headers, body in parts(response):
            picture = cv2.imdecode(numpy.frombuffer(body, numpy.uint8), cv2.IMREAD_COLOR)
            if picture is None:
                continue
            if mark := presence.look(people(hog, picture), int(headers["x-capture-time-us"])):
                made = cloud.call(f"/api/v1/streams/{device}/marks", mark)
                print(json.dumps(made), flush=True)
    if mark := presence.end():
        print(json.dumps(cloud.call(f"/api/v1/streams/{device}/marks", mark)), flush=True)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("cloud", help="the cloud's address, http://HOST:8080")
    arguments.add_argument("device", help="the device's id")
    arguments.add_argument("--fps", type=float, default=2.0, help="pictures a second to look at (2)")
    options = arguments.parse_args()
    cloud = Cloud(options.cloud)
    while True:
        try:
            watch(cloud, options.device, options.fps)
            print("the stream is over; trying again", file=sys.stderr)
        except (urllib.error.URLError, OSError, ValueError, KeyError) as error:
            words = error.read().decode(errors="replace") if isinstance(error, urllib.error.HTTPError) else str(error)
            print(f"{words}; trying again", file=sys.stderr)
        time.sleep(2)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
