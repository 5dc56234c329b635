# SPDX-License-Identifier: Apache-2.0
"""HTTPS in front of HTTPS that misbehaves on request: it forwards, counts, and applies rules that may change.

    proxy = FaultProxy(("127.0.0.1", 8200), ca="ca.pem", cert="server.pem", key="server.key").start()
    proxy.add("PUT:sys/leases/renew", "status", status=500)
    proxy.add("*:database/creds/", "drop", times=1)

From a shell a rule is METHOD:PATH-PREFIX:WHAT, where WHAT is a status or an action with =SECONDS if it takes some:

    python3 -m faultproxy --upstream HOST:PORT --ca F --cert F --key F [--listen HOST:PORT] [--rules FILE] [--log FILE]
        [PUT:sys/leases/renew:403 | GET:kv/:delay=2 | ...]

FILE of --rules holds one rule a line and is read again when it changes.
"""

import argparse
import collections
import contextlib
import dataclasses
import http.client
import http.server
import json
import pathlib
import socket
import ssl
import sys
import threading
import time

from procs import in_netns

ERRORS = b'{"errors":["injected"]}'
HTML = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>\n"
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "host"}

# What a rule can do. "Forwards" means that the server acts on the request.
ACTIONS = {
    "status": "answers status with body, does not forward",
    "html": "answers a proxy's page with status, does not forward",
    "endless": "answers 200 and a body without end, does not forward",
    "reset": "closes the connection, does not forward",
    "hang": "never answers, does not forward",
    "delay": "waits seconds, then forwards",
    "cut": "forwards, then closes in the middle of the answer's body",
    "trickle": "forwards, then sends the body one byte every seconds",
    "drop": "forwards, then closes without an answer",
}


@dataclasses.dataclass
class Rule:
    """Applies to METHOD:PREFIX, path without /v1/, method * for any. times: how often, None for ever."""

    match: str
    action: str
    status: int = 500
    body: bytes = ERRORS
    headers: dict = dataclasses.field(default_factory=dict)
    seconds: float = 1.0
    times: int | None = None

    def __post_init__(self):
        if self.action not in ACTIONS:
            raise ValueError(f"no action {self.action!r}; there are {', '.join(ACTIONS)}")
        if ":" not in self.match:
            raise ValueError(f"{self.match!r} is not METHOD:PREFIX")

    def matches(self, method, path):
        want, _, prefix = self.match.partition(":")
        return want in ("*", method) and path.startswith(prefix)

    @classmethod
    def parse(cls, text):
        method, _, rest = text.partition(":")
        prefix, _, what = rest.rpartition(":")
        name, _, seconds = what.partition("=")
        match = f"{method}:{prefix}"
        if name.isdigit():
            return cls(match, "status", status=int(name))
        return cls(match, name, **({"seconds": float(seconds)} if seconds else {}))


@dataclasses.dataclass(frozen=True)
class Seen:
    time: float
    method: str
    path: str
    status: int  # 0: no answer was given
    action: str  # "" where no rule applied


class FaultProxy:
    """Runs in threads of this process. netns: path of the network namespace to listen and connect in."""

    def __init__(self, upstream, *, ca, cert, key, listen=("127.0.0.1", 0), netns=None, log=None):
        self.upstream = upstream
        self.netns = netns
        self._log = open(log, "a", buffering=1, encoding="ascii") if log else None
        self._lock = threading.Lock()
        self._rules = []
        self._seen = []
        self.closing = threading.Event()
        self.client = ssl.create_default_context(cafile=ca)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(cert, key)
        self._server = in_netns(netns, lambda: _Server(listen, _Handler))
        self._server.proxy = self
        self._server.tls = tls
        self.host, self.port = self._server.server_address[:2]
        self._thread = None

    @property
    def address(self):
        return f"https://{self.host}:{self.port}"

    def start(self):
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def close(self):
        self.closing.set()
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()
        if self._log:
            self._log.close()
            self._log = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.close()

    # -- rules

    def add(self, match, action, **settings):
        """A new rule, before the older ones. Returns it, for remove()."""
        rule = Rule(match, action, **settings)
        with self._lock:
            self._rules.insert(0, rule)
        return rule

    def remove(self, rule):
        with self._lock:
            self._rules = [r for r in self._rules if r is not rule]

    def set_rules(self, rules):
        with self._lock:
            self._rules = list(rules)

    def clear(self):
        self.set_rules([])

    def rule_for(self, method, path):
        """The rule that applies now; counts it."""
        with self._lock:
            for rule in self._rules:
                if rule.matches(method, path) and rule.times != 0:
                    if rule.times is not None:
                        rule.times -= 1
                    return rule
        return None

    # -- counts

    def note(self, method, path, status, action):
        seen = Seen(time.time(), method, path, status, action)
        with self._lock:
            self._seen.append(seen)
            if self._log:
                self._log.write(json.dumps(dataclasses.asdict(seen)) + "\n")

    def seen(self, match="*:"):
        """Requests that were answered or given up, oldest first."""
        rule = Rule(match, "status")
        with self._lock:
            return [s for s in self._seen if rule.matches(s.method, s.path)]

    def count(self, match="*:"):
        return len(self.seen(match))

    def counts(self):
        """How often each (method, path) was asked for."""
        return collections.Counter((s.method, s.path) for s in self.seen())

    def forget(self):
        with self._lock:
            self._seen.clear()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def finish_request(self, request, client_address):
        # The handshake happens in the connection's own thread: one that stalls holds up nobody.
        request.settimeout(30)
        try:
            with self.tls.wrap_socket(request, server_side=True) as wrapped:
                wrapped.settimeout(None)
                self.RequestHandlerClass(wrapped, client_address, self)
        except OSError:
            pass  # a client that goes away is none of our business

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Upstream(http.client.HTTPSConnection):
    def __init__(self, proxy):
        super().__init__(*proxy.upstream, context=proxy.client, timeout=60)
        self._netns = proxy.netns

    def connect(self):
        plain = in_netns(self._netns, lambda: socket.create_connection((self.host, self.port), self.timeout))
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = self._context.wrap_socket(plain, server_hostname=self.host)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def setup(self):
        super().setup()
        self._connection = None

    def finish(self):
        if self._connection is not None:
            self._connection.close()
        with contextlib.suppress(OSError):
            super().finish()

    def log_message(self, *_):
        pass

    def handle_any(self):
        proxy = self.server.proxy
        self._path = self.path.partition("?")[0].removeprefix("/v1/")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        rule = proxy.rule_for(self.command, self._path)
        self._action = rule.action if rule else ""
        self._noted = False
        try:
            getattr(self, f"_do_{self._action or 'forward'}")(rule, body)
        except OSError:
            self.close_connection = True
        finally:
            self._note(0)

    do_GET = do_POST = do_PUT = do_DELETE = do_LIST = do_PATCH = do_HEAD = handle_any

    def _note(self, status):
        """Before the client can see the answer, so that a count which follows it is complete."""
        if not self._noted:
            self._noted = True
            self.server.proxy.note(self.command, self._path, status, self._action)

    def _ask(self, body):
        """Status, headers and body of the upstream's answer."""
        headers = {k: v for k, v in self.headers.items() if k.lower() not in HOP_BY_HOP}
        for attempt in (0, 1):
            fresh = self._connection is None
            if fresh:
                self._connection = _Upstream(self.server.proxy)
            try:
                self._connection.request(self.command, self.path, body or None, headers)
                response = self._connection.getresponse()
                answer = response.read()
                break
            except (OSError, http.client.HTTPException):
                self._connection.close()
                self._connection = None
                # Only a kept connection that was closed meanwhile is worth a second try.
                if fresh or attempt:
                    return 502, {"Content-Type": "text/html"}, HTML
        kept = {k: v for k, v in response.getheaders() if k.lower() not in HOP_BY_HOP}
        return response.status, kept, answer

    def _head(self, status, headers, length):
        self._note(status)
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if length is not None and status not in (204, 304):
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def _send(self, status, headers, body):
        self._head(status, headers, len(body))
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    def _do_forward(self, _rule, body):
        self._send(*self._ask(body))

    def _do_status(self, rule, _body):
        self._send(rule.status, {"Content-Type": "application/json", **rule.headers}, rule.body)

    def _do_html(self, rule, _body):
        self._send(rule.status, {"Content-Type": "text/html", **rule.headers}, HTML)

    def _do_endless(self, rule, _body):
        self.close_connection = True
        self._head(200, {"Content-Type": "application/json", "Connection": "close", **rule.headers}, None)
        self.wfile.write(b'{"data":{"value":"')
        block = b"x" * 16384
        while not self.server.proxy.closing.is_set():
            self.wfile.write(block)

    def _do_reset(self, _rule, _body):
        self.close_connection = True

    def _do_hang(self, _rule, _body):
        self.close_connection = True
        self.connection.settimeout(0.1)
        while not self.server.proxy.closing.is_set():
            try:
                if not self.connection.recv(1):
                    break
            except TimeoutError:
                pass

    def _do_delay(self, rule, body):
        self.server.proxy.closing.wait(rule.seconds)
        self._do_forward(rule, body)

    def _do_cut(self, _rule, body):
        status, headers, answer = self._ask(body)
        self.close_connection = True
        self._head(status, headers, len(answer))
        self.wfile.write(answer[: len(answer) // 2])

    def _do_trickle(self, rule, body):
        status, headers, answer = self._ask(body)
        self._head(status, headers, len(answer))
        for i in range(len(answer)):
            self.wfile.write(answer[i : i + 1])
            self.wfile.flush()
            if self.server.proxy.closing.wait(rule.seconds):
                self.close_connection = True
                break

    def _do_drop(self, _rule, body):
        self._ask(body)
        self.close_connection = True


def _split(address):
    host, _, port = address.rpartition(":")
    return host, int(port)


def main(argv=None):
    parser = argparse.ArgumentParser(prog="faultproxy", description=__doc__.splitlines()[0])
    parser.add_argument("--upstream", required=True, type=_split, metavar="HOST:PORT")
    parser.add_argument("--listen", default=("127.0.0.1", 0), type=_split, metavar="HOST:PORT")
    for name in ("ca", "cert", "key"):
        parser.add_argument(f"--{name}", required=True, type=pathlib.Path)
    parser.add_argument("--rules", type=pathlib.Path, help="more rules, one a line, read again when the file changes")
    parser.add_argument("--log", type=pathlib.Path, help="one JSON line per request")
    parser.add_argument("rule", nargs="*", type=Rule.parse)
    args = parser.parse_args(argv)

    proxy = FaultProxy(args.upstream, ca=args.ca, cert=args.cert, key=args.key, listen=args.listen, log=args.log)
    proxy.set_rules(args.rule)
    with proxy:
        print(proxy.address, flush=True)
        known = None
        while True:
            if args.rules and args.rules.exists() and args.rules.stat().st_mtime_ns != known:
                known = args.rules.stat().st_mtime_ns
                proxy.set_rules([*args.rule, *map(Rule.parse, args.rules.read_text().split())])
            time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main())
