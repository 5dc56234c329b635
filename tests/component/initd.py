# SPDX-License-Identifier: Apache-2.0
"""A real systemd as the first process of namespaces of its own, with the units that a test gives it and no other."""

import os
import pathlib
import shutil
import subprocess

from procs import wait_until

SYSTEMD = pathlib.Path("/lib/systemd/systemd")
GROUP = f"leasehold-{os.getpid()}"
# What units of ours are ordered by; none of them starts anything by itself.
TARGETS = ["basic", "multi-user", "network", "network-online", "shutdown", "sockets", "sysinit", "umount"]

# The one hierarchy that every kernel has, wherever the host mounts it. Its root is our own group inside, so that systemd,
# which would take all hierarchies and mount what it misses, finds this one alone and leaves nothing in the host's.
ENTER = """
set -e
mount --make-rprivate /
mount -t cgroup2 cgroup2 {folder}/none
mkdir {folder}/none/{group}
echo $$ > {folder}/none/{group}/cgroup.procs
umount {folder}/none
exec unshare --cgroup sh {folder}/boot
"""
LEAVE = "mount --make-rprivate / && mount -t cgroup2 cgroup2 {folder}/none && find {folder}/none/{group} -depth -type d -exec rmdir {{}} +"

# Runs inside: what the host has is covered, not changed. /etc and /usr/bin are the host's below ours.
BOOT = """
set -e
mount --make-rprivate /
mount -t overlay overlay -o lowerdir={folder}/etc:/etc /etc
mount -t overlay overlay -o lowerdir={folder}/bin:/usr/bin /usr/bin
mount --bind {folder}/units /lib/systemd/system
mount --bind {folder}/none /lib/systemd/system-generators
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/tmp
mount -t cgroup2 cgroup2 /sys/fs/cgroup
exec {systemd} --system --unit=multi-user.target --log-target=console --log-level=info --show-status=0 --default-standard-output=null
"""


class Systemd:
    def __init__(self, work, name="systemd"):
        self.work = work
        self.folder = work.path / name
        for part in ("etc/systemd/system", "bin", "units", "none"):
            (self.folder / part).mkdir(parents=True)
        for target in TARGETS:
            text = f"[Unit]\nDescription={target}\nDefaultDependencies=no\nAllowIsolate=yes\n"
            (self.folder / "units" / f"{target}.target").write_text(text)
        self.process = None
        self._pid = None

    def program(self, path):
        """To be found in /usr/bin."""
        made = self.folder / "bin" / pathlib.Path(path).name
        shutil.copyfile(path, made)
        made.chmod(0o755)

    def unit(self, path):
        shutil.copyfile(path, self.folder / "units" / pathlib.Path(path).name)

    def etc(self, name):
        """A path below its /etc, to be filled before it starts."""
        made = self.folder / "etc" / name
        made.parent.mkdir(parents=True, exist_ok=True)
        return made

    def start(self):
        (self.folder / "boot").write_text(BOOT.format(folder=self.folder, systemd=SYSTEMD))
        unshare = ["unshare", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc", "--uts", "--ipc"]
        self.process = self.work.start(self.folder.name, [*unshare, "sh", "-c", ENTER.format(folder=self.folder, group=GROUP)])
        wait_until("systemd", self._is_up, 20)
        return self

    def stop(self):
        if self.process:
            self.process.kill()
            leave = ["unshare", "--mount", "sh", "-c", LEAVE.format(folder=self.folder, group=GROUP)]
            # Its processes are gone, the kernel lets go of the groups a moment later.
            wait_until("end of its groups", lambda: subprocess.run(leave, capture_output=True, check=False).returncode == 0, 10)

    def ctl(self, *args, check=True):
        """A finished systemctl."""
        done = self._inside("systemctl", *args)
        if check and done.returncode != 0:
            raise AssertionError(f"systemctl {args}: {done.stdout}{done.stderr}\n{self.work.log_tail(self.folder.name, 40)}")
        return done

    def show(self, unit, what):
        return self.ctl("show", "--value", "-p", what, unit).stdout.strip()

    def pid(self, unit):
        """The main process, by the number that it has outside; 0 for none."""
        inside = int(self.show(unit, "MainPID"))
        if not inside:
            return 0
        for status in pathlib.Path("/proc").glob("[0-9]*/status"):
            try:
                text = status.read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            numbers = next(line for line in text.splitlines() if line.startswith("NSpid:")).split()[1:]
            if len(numbers) > 1 and numbers[-1] == str(inside) and self._is_inside(status.parent):
                return int(status.parent.name)
        return 0

    def path(self, path):
        """Where its own path is found from outside."""
        return pathlib.Path(f"/proc/{self._pid}/root") / str(path).lstrip("/")

    def _inside(self, *argv):
        enter = ["nsenter", "-t", str(self._pid), "-m", "-p", "--", *argv]
        return subprocess.run(enter, capture_output=True, text=True, check=False, timeout=60)

    def _is_inside(self, proc):
        try:
            return (proc / "ns/pid").readlink() == pathlib.Path(f"/proc/{self._pid}/ns/pid").readlink()
        except (FileNotFoundError, ProcessLookupError):
            return False

    def _is_up(self):
        assert self.process.alive(), self.work.log_tail(self.folder.name)
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        if not children:
            return False
        self._pid = int(children[0])
        done = self._inside("systemctl", "is-system-running")
        return done.stdout.strip() in ("running", "degraded")
