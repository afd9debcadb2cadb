"""A program that writes as ACC does, in a process of its own: 300 transactions a second on one connection.

usage: acc.py STORE SESSIONS MESSAGES SEED OUT

Writes until its standard input ends. Then OUT has three numbers of eight bytes for each transaction: when it began (ns
on the monotonic clock), how long it took from there until its commit had returned, and what kind it was; standard
output has the errors as JSON.
"""

import array
import gc
import json
import random
import select
import sys
import time

EVERY = 1 / 300


def main():
    store, sessions, messages, seed, out = sys.argv[1], *map(int, sys.argv[2:5]), sys.argv[5]
    program = (Postgres if store.startswith("postgres:") else Sqlite)(store, seed)
    choose, noted, errors = random.Random(seed), array.array("q"), []
    gc.disable()
    clock, began = time.monotonic_ns, time.monotonic()
    print("ready", flush=True)
    number = 0
    while not select.select([sys.stdin], [], [], 0)[0]:
        kind = choose.randrange(12)
        script = program.script(kind, number, choose.randrange(sessions), choose.randrange(messages), choose.randrange(400))
        at = clock()
        try:
            program.run(script)
        except program.Error as error:
            errors.append(f"transaction {number}: {error}")
            program.recover()
        noted.extend((at, clock() - at, kind))
        number += 1
        time.sleep(max(0, began + number * EVERY - time.monotonic()))
    with open(out, "wb") as file:
        noted.tofile(file)
    print(json.dumps(errors))


class Sqlite:
    def __init__(self, path, seed):
        import sqlite3

        self.Error, self.seed = sqlite3.Error, seed
        self.connection = sqlite3.connect(path, isolation_level=None, timeout=1)
        for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON"):
            self.connection.execute(f"PRAGMA {pragma}")
        self.run = self.connection.executescript

    def recover(self):
        if self.connection.in_transaction:
            self.connection.rollback()

    def script(self, kind, number, session, message, size):
        session = f"(SELECT id FROM sessions LIMIT 1 OFFSET {session})"
        id = f"'live-{self.seed}-{number}'"
        insert = f"""INSERT INTO messages (id, session_id, agent_type, message_type, content, cost, tools_used)
            VALUES ({id}, {session}, 'worker', 'response', 'text ' || hex(randomblob({size})), {number % 100 / 7.0}, '["a"]');"""
        if kind < 6:
            return insert
        if kind < 8:
            return f"""BEGIN; {insert} INSERT OR REPLACE INTO session_summaries (session_id, total_messages, success_rate)
                SELECT session_id, count(*), 0.5 FROM messages WHERE session_id = {session} GROUP BY 1; COMMIT;"""
        if kind == 8:
            return f"UPDATE sessions SET status = 'completed', end_time = '{number}' WHERE id = {session};"
        if kind == 9:
            return f"DELETE FROM messages WHERE id = (SELECT id FROM messages LIMIT 1 OFFSET {message % 50});"
        if kind == 10:
            return f"""BEGIN; {insert} SAVEPOINT s; DELETE FROM messages WHERE session_id = {session}; ROLLBACK TO s;
                UPDATE messages SET content = 'again', exit_code = NULL WHERE id = {id}; COMMIT;"""
        return f"""BEGIN; INSERT OR REPLACE INTO sessions (id, initial_task, work_dir) VALUES ('s-{self.seed}-{number % 20}', 'task', '/');
            INSERT INTO sessions (id, initial_task, work_dir) VALUES ('s-{self.seed}-1', 'again', '/')
                ON CONFLICT (id) DO UPDATE SET initial_task = excluded.initial_task || {number}; COMMIT;"""


class Postgres:
    def __init__(self, url, seed):
        import psycopg

        self.Error, self.seed = psycopg.Error, seed
        self.connection = psycopg.connect(url, autocommit=True, prepare_threshold=None)
        self.run = self.connection.execute

    def recover(self):
        self.connection.execute("ROLLBACK")

    def script(self, kind, number, session, message, size):
        # As tests/bench/run numbers what it fills the tables with.
        session = f"md5('s{session + 1}')::uuid"
        id = f"md5('live-{self.seed}-{number}')::uuid"
        insert = f"""INSERT INTO messages (id, session_id, agent_type, message_type, content, cost, tools_used)
            VALUES ({id}, {session}, 'worker', 'response', 'text ' || repeat(md5('{number}'), {size // 16}), {number % 100 / 7.0}, '["a"]');"""
        if kind < 6:
            return insert
        if kind < 8:
            return f"""BEGIN; {insert} INSERT INTO session_summaries (session_id, total_messages, success_rate)
                SELECT session_id, count(*), 0.5 FROM messages WHERE session_id = {session} GROUP BY 1
                ON CONFLICT (session_id) DO UPDATE SET total_messages = excluded.total_messages; COMMIT;"""
        if kind == 8:
            return f"UPDATE sessions SET status = 'completed', end_time = now() WHERE id = {session};"
        if kind == 9:
            return f"DELETE FROM messages WHERE id = md5('m{message + 1}')::uuid;"
        if kind == 10:
            return f"""BEGIN; {insert} SAVEPOINT s; DELETE FROM messages WHERE session_id = {session}; ROLLBACK TO s;
                UPDATE messages SET content = 'again', exit_code = NULL WHERE id = {id}; COMMIT;"""
        upsert = f"""INSERT INTO sessions (id, initial_task, work_dir) VALUES (md5('live-{self.seed}-s%s')::uuid, 'task', '/')
            ON CONFLICT (id) DO UPDATE SET initial_task = excluded.initial_task || {number};"""
        return f"BEGIN; {upsert % (number % 20)} {upsert % 1} COMMIT;"


if __name__ == "__main__":
    main()
