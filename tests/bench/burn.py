"""One process of an equal load.

usage: burn.py PLAN PLACE

PLAN is JSON: the intervals' length in seconds, and for each the processes at work, the CPU seconds they share, and the
bytes they write and bring to the disk. Says `ready`, reads the moment to begin at, and ends with the last interval.
"""

import json
import os
import sys
import time

# Bursts in an interval: crossfade, a broker and the server work for some milliseconds at a time.
PIECES = 10


def main():
    plan, place = json.load(open(sys.argv[1])), int(sys.argv[2])
    out = os.open(f"{sys.argv[1]}-{place}", os.O_CREAT | os.O_WRONLY) if any(part[2] for part in plan["parts"]) else None
    print("ready", flush=True)
    began = float(sys.stdin.readline())
    done, end = time.process_time(), began + len(plan["parts"]) * plan["every"]
    for number, (processes, cpu, size) in enumerate(plan["parts"]):
        if place >= processes:
            continue
        for piece in range(PIECES):
            time.sleep(max(0, began + (number + piece / PIECES) * plan["every"] - time.monotonic()))
            done += cpu / processes / PIECES
            # What a piece of time was too short for is done in the next one. The loop takes about 10 µs.
            while time.process_time() < done and time.monotonic() < end:
                for _ in range(400):
                    pass
        if out is not None and place == 0 and size:
            os.pwrite(out, b"x" * size, number * (1 << 20) % (64 << 20))
            os.fdatasync(out)


if __name__ == "__main__":
    main()
