# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL with a data folder and a port of its own."""

import getpass
import os
import pathlib
import secrets
import shutil
import signal
import subprocess

from procs import BedError, free_ports, in_netns, wait_until

try:
    import psycopg
except ModuleNotFoundError as e:
    hint = "psycopg is missing: run tests/tools/fetch python, then this with the python3 in $(tests/tools/path python)"
    raise ModuleNotFoundError(hint) from e

DATABASE = "app"
ADMIN = "dbroot"


def find_programs():
    """Folder with initdb and postgres: the newest that Debian has installed, else from PATH."""
    found = [p.parent for p in pathlib.Path("/usr/lib/postgresql").glob("*/bin/postgres")]
    if found:
        return max(found, key=lambda p: int(p.parent.name) if p.parent.name.isdigit() else 0)
    postgres = shutil.which("postgres")
    if postgres is None:
        raise BedError("PostgreSQL is not installed: run scripts/install-packages test")
    return pathlib.Path(postgres).parent


class PostgreSQL:
    """One server. Data outlives stop() and kill(), not the work folder."""

    def __init__(self, work, *, listen="127.0.0.1", netns=None):
        self._work = work
        self._programs = find_programs()
        # initdb and postgres refuse to run as root.
        self._user = "postgres" if os.geteuid() == 0 else getpass.getuser()
        self._data = work.path / "pg" / "data"
        self.netns = netns
        self.host = listen
        self.port = None
        self.password_file = work.path / "pg.password"

    @property
    def password(self):
        return self.password_file.read_text()

    def start(self):
        if not (self._data / "PG_VERSION").exists():
            self._init()
        for _ in range(3):
            if self.port is None:
                (self.port,) = free_ports(1, self.host, self.netns)
            process = self._work.start(
                "postgres",
                [self._programs / "postgres", "-D", self._data, "-p", self.port],
                user=self._user,
                netns=self.netns,
                stop_signal=signal.SIGINT,
            )
            wait_until("PostgreSQL", lambda: self._answers() or not process.alive(), 60)
            if process.alive():
                break
            self.port = None  # somebody was faster
        else:
            raise BedError(f"PostgreSQL does not start:\n{self._work.log_tail('postgres')}")
        if not self.query("select 1 from pg_database where datname = %s", DATABASE, database="postgres"):
            self.query(f"create database {DATABASE}", database="postgres")
        return self

    def stop(self):
        process = self._work.process("postgres")
        if process is not None:
            process.stop()

    def restart(self):
        self.stop()
        return self.start()

    def _init(self):
        self.password_file.write_text(secrets.token_hex(16))
        self.password_file.chmod(0o600)
        folder = self._data.parent
        folder.mkdir(exist_ok=True)
        # initdb reads the password as the server's user.
        handed = folder / "password"
        handed.write_text(self.password)
        handed.chmod(0o600)
        if os.geteuid() == 0:
            for path in (folder, handed):
                shutil.chown(path, self._user, self._user)
        argv = [self._programs / "initdb", "-D", self._data, "-A", "scram-sha-256", "-U", ADMIN, "-N"]
        argv += [f"--pwfile={handed}", "-E", "UTF8", "--locale=C"]
        if os.geteuid() == 0:
            argv = ["setpriv", f"--reuid={self._user}", f"--regid={self._user}", "--clear-groups", "--", *argv]
        with open(self._work.path / "initdb.log", "wb") as log:
            done = subprocess.run(
                [str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", check=False
            )
        handed.unlink()
        if done.returncode != 0:
            raise BedError(f"initdb failed:\n{self._work.log_tail('initdb')}")
        addresses = ",".join(dict.fromkeys(["127.0.0.1", self.host]))
        with open(self._data / "postgresql.conf", "a", encoding="ascii") as conf:
            conf.write(
                f"listen_addresses='{addresses}'\nunix_socket_directories=''\nmax_connections=200\n"
                "fsync=off\nsynchronous_commit=off\n"
            )
        if self.host != "127.0.0.1":
            with open(self._data / "pg_hba.conf", "a", encoding="ascii") as hba:
                hba.write("host all all 10.0.0.0/8 scram-sha-256\n")

    def _answers(self):
        try:
            self.connect(database="postgres").close()
        except psycopg.OperationalError:
            return False
        return True

    def connect(self, user=ADMIN, password=None, database=DATABASE):
        """A psycopg connection in autocommit, as the administrator unless told otherwise."""
        password = self.password if password is None else password
        return in_netns(
            self.netns,
            lambda: psycopg.connect(
                host=self.host,
                port=self.port,
                user=user,
                password=password,
                dbname=database,
                autocommit=True,
                connect_timeout=5,
            ),
        )

    def query(self, sql, *params, database=DATABASE):
        """Rows of one statement, run as the administrator; [] where it has none."""
        with self.connect(database=database) as connection:
            cursor = connection.execute(sql, params or None)
            return cursor.fetchall() if cursor.description else []

    def users(self):
        """Names of the dynamic users that exist now."""
        return {r[0] for r in self.query("select rolname from pg_roles where rolname like 'v-%'")}

    def login(self, user, password):
        """True when the database accepts this login, False when it refuses; raises when it cannot be asked."""
        try:
            self.connect(user, password).close()
        except psycopg.OperationalError as e:
            if "password authentication failed" in str(e) or f'role "{user}" does not exist' in str(e):
                return False
            raise
        return True
