"""A program on the legacy's file that reads before it writes on the same connection. It ends when its input does.

habits.py FILE NAME HABIT TURN: one of the habits below, about 300 writes a second while it has its turn. Programs that share a
file harm each other, so they take turns by a lock on TURN, as the processes of one application would.
"""

import fcntl
import json
import random
import sqlite3
import sys
import threading
import time

EVERY = 1 / 300
path, name, habit, turn = sys.argv[1:]
rows = random.Random(name)
done = {"writes": 0, "errors": [], "worst_ms": 0.0}


def connect():
    connection = sqlite3.connect(path, isolation_level=None, timeout=5)
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def reading(connection):
    cursor = connection.execute("SELECT id FROM messages")
    cursor.fetchone()
    return cursor


def attempt(work):
    began = time.monotonic()
    try:
        work()
        done["writes"] += 1
    except sqlite3.Error as error:
        done["errors"].append(f"{getattr(error, 'sqlite_errorname', '')} {error}")
    done["worst_ms"] = max(done["worst_ms"], 1000 * (time.monotonic() - began))


def write(connection):
    # As many rows go as come, so that the file stays as it is.
    number = done["writes"]
    if number % 3 == 2:
        connection.execute("UPDATE messages SET content = ? WHERE id = ?", (f"again {number}", f"{name}-{number // 3 % 100}"))
    elif number % 3 == 1:
        connection.execute("UPDATE sessions SET end_time = ? WHERE id = ?", (f"{number}", f"{name}-session"))
    else:
        connection.execute(
            "INSERT OR REPLACE INTO messages (id, session_id, agent_type, message_type, content, cost) "
            "VALUES (?, ?, 'worker', 'response', ?, ?)",
            (f"{name}-{number // 3 % 100}", f"{name}-session", f"text {number} " + "x" * rows.randrange(300), number / 7),
        )


def pace(began, writes):
    time.sleep(max(0.0005, began + writes * EVERY - time.monotonic()))


def open_read(connection):
    """A read stays open, as node-sqlite3's get leaves it until it is finalised."""
    began = time.monotonic()
    for at in range(30):
        cursor = reading(connection)
        time.sleep(0.001)
        attempt(lambda: write(connection))
        cursor.close()
        pace(began, at + 1)


def deferred(connection):
    """A transaction begins with a read, as many mappers begin it."""
    began = time.monotonic()
    for at in range(30):
        def transaction():
            connection.execute("BEGIN")
            try:
                connection.execute("SELECT count(*) FROM sessions").fetchone()
                time.sleep(0.001)
                write(connection)
                connection.execute("COMMIT")
            except sqlite3.Error:
                connection.execute("ROLLBACK")
                raise
        attempt(transaction)
        pace(began, at + 1)


def kept(connection):
    """A statement is not reset for seconds."""
    cursor, began = reading(connection), time.monotonic()
    length = rows.uniform(0.5, 2)
    at = 0
    while time.monotonic() < began + length and not over.is_set():
        attempt(lambda: write(connection))
        at += 1
        pace(began, at)
    cursor.close()
    time.sleep(0.005)


def endless(connection):
    """Two connections that read by turns: there is a snapshot at every moment."""
    pair = [connection, connect()]
    held = reading(pair[0])
    at, began = 0, time.monotonic()
    while not over.is_set():
        one = pair[at % 2]
        attempt(lambda: write(one))
        next_held = reading(pair[(at + 1) % 2])
        held.close()
        held = next_held
        at += 1
        pace(began, at)
    held.close()


over = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
work = {"open-read": open_read, "deferred": deferred, "kept": kept, "endless": endless}[habit]
with open(turn, "w") as lock:
    connection = connect()
    fcntl.flock(lock, fcntl.LOCK_EX)
    connection.execute("INSERT OR REPLACE INTO sessions (id, initial_task, work_dir) VALUES (?, 'task', '/')", (f"{name}-session",))
    fcntl.flock(lock, fcntl.LOCK_UN)
    print("ready", flush=True)
    while not over.is_set():
        fcntl.flock(lock, fcntl.LOCK_EX)
        work(connection)
        fcntl.flock(lock, fcntl.LOCK_UN)
        time.sleep(0.001)
    connection.close()
print(json.dumps(done), flush=True)
