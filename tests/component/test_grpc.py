# SPDX-License-Identifier: Apache-2.0
"""lib/grpc as real grpc-go sees it, of the version that kubelet has."""

import json
import pathlib
import signal
import socket
import subprocess

import pytest

TOOLS = pathlib.Path(__file__).resolve().parent.parent / "tools"


class Echo:
    """The echo server (tests/programs/grpc_echo.c) on a listener that outlives it."""

    def __init__(self, program, path):
        self.program, self.path = program, str(path)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(self.path)
        self.listener.listen(128)
        self.process = None
        self.start()

    def start(self):
        """A new process that accepts; the old one, if any, is the caller's to end."""
        fd = self.listener.fileno()
        command = ["bash", "-c", f'exec 3<&{fd} {fd}<&-; exec "$0"', self.program]
        if fd == 3:
            command = [self.program]
        self.process = subprocess.Popen(command, pass_fds=(fd,), stdout=subprocess.PIPE, text=True)
        assert json.loads(self.process.stdout.readline()) == {"ready": True}
        return self.process

    @staticmethod
    def end(process):
        """By SIGTERM: its own counts."""
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=20)
        assert process.returncode == 0
        return json.loads(out)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()
        self.listener.close()


@pytest.fixture(scope="session")
def grpc_go():
    path = subprocess.run([TOOLS / "path", "grpc-go"], check=True, capture_output=True, text=True).stdout.strip()
    return pathlib.Path(path) / "grpc-go"


@pytest.fixture
def echo(bin_dir, tmp_path):
    server = Echo(str(bin_dir.parent / "tests" / "grpc_echo"), tmp_path / "s")
    yield server
    server.close()


@pytest.fixture
def client(grpc_go, echo):
    """client("call", ...flags): what grpc-go printed, a list of objects."""

    def run(verb, *flags):
        done = subprocess.run(
            [grpc_go, "--socket", echo.path, *flags, verb], check=True, capture_output=True, text=True, timeout=120
        )
        return [json.loads(line) for line in done.stdout.splitlines()]

    return run


@pytest.mark.parametrize("size", [0, 1, 1000, 16384, 65536, 4 << 20])
def test_a_call_is_answered(client, size):
    assert client("call", "--size", str(size)) == [{"code": "OK", "message": "", "bytes": size, "same": True}]


# What kubelets and other callers have put there: the socket's path is no authority to HTTP.
@pytest.mark.parametrize("authority", ["localhost", "/run/csi/csi.sock", "%2Frun%2Fcsi.sock"])
def test_any_authority_will_do(client, authority):
    assert client("call", "--authority", authority)[0]["code"] == "OK"


@pytest.mark.parametrize(
    "flags, code, message",
    [
        (["--method", "/test.Echo/Deny"], "PermissionDenied", "100% no\nor ü"),
        (["--method", "/test.Echo/Nope"], "Unimplemented", "unknown method /test.Echo/Nope"),
        (["--method", "/other/Echo"], "Unimplemented", "unknown method /other/Echo"),
        (
            ["--size", str((4 << 20) + 1)],
            "ResourceExhausted",
            "message of 4194305 bytes, at most 4194304 are taken",
        ),
    ],
)
def test_an_error_has_its_code_and_text(client, flags, code, message):
    got = client("call", *flags)[0]
    assert (got["code"], got["message"]) == (code, message)


def test_a_deadline_ends_the_call_and_its_handler(client, echo):
    assert client("call", "--method", "/test.Echo/Never", "--timeout", "50ms")[0]["code"] == "DeadlineExceeded"
    assert Echo.end(echo.process)["cancelled"] == 1


def test_a_storm_of_cancelled_calls_costs_no_connection(client, echo):
    got = client("storm", "--method", "/test.Echo/Never", "--n", "4000")[0]
    assert got == {"codes": {"DeadlineExceeded": 4000}, "after": "OK"}
    counts = Echo.end(echo.process)
    assert counts["connections"] == 1
    assert counts["calls"] > 3000


def test_keepalive_pings_are_no_offence(client, echo):
    # grpc-go pings once in 10 s at the most; a server of its own kind closes at the third one of these.
    assert [a["code"] for a in client("idle", "--ping", "10s", "--seconds", "31")] == ["OK", "OK"]
    assert Echo.end(echo.process)["connections"] == 1


def test_a_restart_under_load_fails_no_call(client, echo, grpc_go):
    load = subprocess.Popen(
        [grpc_go, "--socket", echo.path, "--seconds", "6", "--workers", "8", "load"], stdout=subprocess.PIPE, text=True
    )
    served = 0
    for overlap in (True, False, True, False):
        with pytest.raises(subprocess.TimeoutExpired):
            load.wait(timeout=1)
        old = echo.process
        if overlap:
            echo.start()
            served += Echo.end(old)["calls"]
        else:
            served += Echo.end(old)["calls"]
            echo.start()
    out, _ = load.communicate(timeout=60)
    got = json.loads(out)
    assert got["failed"] == {}
    served += Echo.end(echo.process)["calls"]
    assert served >= got["calls"] > 1000
