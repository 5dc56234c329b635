# SPDX-License-Identifier: Apache-2.0
"""An open-loop HTTPS load: requests have a time at which they are meant to be sent, and latency counts from it, so that a
server that stalls is charged for those that had to wait (coordinated omission)."""

import collections
import select
import socket
import time


class _Connection:
    """One keep-alive connection with at most one request on its way."""

    def __init__(self, host, port, context):
        plain = socket.create_connection((host, port), 10)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.tls = context.wrap_socket(plain, server_hostname=host)
        self.answer = b""
        self.due = None

    def send(self, payload, due):
        self.answer, self.due = b"", due
        self.tls.sendall(payload)

    def read(self):
        """The head of the answer once all of it is there, else None."""
        while True:
            self.answer += self.tls.recv(65536)
            head, found, body = self.answer.partition(b"\r\n\r\n")
            if found and len(body) >= _content_length(head):
                return head
            if not self.tls.pending():
                return None


def _content_length(head):
    rows = (row.split(b":", 1) for row in head.split(b"\r\n")[1:])
    return next(int(row[1]) for row in rows if row[0].lower() == b"content-length")


def open_loop(host, port, context, request, rate, seconds, connections=16):
    """Sorted latencies in seconds, and the heads of answers that were no 200.

    request: (method, path, body). Waits by select(): its time-out has microseconds, that of epoll milliseconds.
    """
    method, path, body = request
    head = f"{method} {path} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    payload = head.encode() + body
    idle = collections.deque(_Connection(host, port, context) for _ in range(connections))
    every = list(idle)
    busy, waiting, latencies, errors = {}, collections.deque(), [], []
    start = time.perf_counter() + 0.2
    total, sent = int(rate * seconds), 0
    while len(latencies) < total:
        now = time.perf_counter()
        while sent < total and start + sent / rate <= now:
            waiting.append(start + sent / rate)
            sent += 1
        while waiting and idle:
            connection = idle.popleft()
            connection.send(payload, waiting.popleft())
            busy[connection.tls] = connection
        until = start + sent / rate - time.perf_counter() if sent < total else 10
        ready, _, _ = select.select(list(busy), [], [], max(0, until))
        for tls in ready:
            head = busy[tls].read()
            if head is None:
                continue
            connection = busy.pop(tls)
            latencies.append(time.perf_counter() - connection.due)
            if not head.startswith(b"HTTP/1.1 200"):
                errors.append(head[:20])
            idle.append(connection)
    for connection in every:
        connection.tls.close()
    return sorted(latencies), errors


def percentile(ordered, p):
    return ordered[min(len(ordered) - 1, int(len(ordered) * p / 100))]
