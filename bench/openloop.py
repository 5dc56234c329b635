# SPDX-License-Identifier: Apache-2.0
"""An open-loop HTTPS load: requests have a time at which they are meant to be sent, and latency counts from it, so that a
server that stalls is charged for those that had to wait (coordinated omission)."""

import asyncio
import time


async def _connection(host, port, context, payload, queue, latencies, errors):
    reader, writer = await asyncio.open_connection(host, port, ssl=context)
    try:
        while (due := await queue.get()) is not None:
            writer.write(payload)
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                int(row.split(b":")[1]) for row in head.split(b"\r\n") if row.lower().startswith(b"content-length")
            )
            await reader.readexactly(length)
            if not head.startswith(b"HTTP/1.1 200"):
                errors.append(head[:20])
            latencies.append(time.perf_counter() - due)
    finally:
        writer.close()


async def _load(host, port, context, path, body, rate, seconds, connections):
    head = f"POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    payload = head.encode() + body
    queue, latencies, errors = asyncio.Queue(), [], []
    workers = [
        asyncio.create_task(_connection(host, port, context, payload, queue, latencies, errors))
        for _ in range(connections)
    ]
    start = time.perf_counter() + 0.2
    for i in range(int(rate * seconds)):
        due = start + i / rate
        wait = due - time.perf_counter()
        if wait > 0:
            await asyncio.sleep(wait)
        queue.put_nowait(due)
    for _ in workers:
        queue.put_nowait(None)
    await asyncio.gather(*workers)
    return sorted(latencies), errors


def open_loop(host, port, context, path, body, rate, seconds, connections=16):
    """Sorted latencies in seconds, and what was no 200."""
    return asyncio.run(_load(host, port, context, path, body, rate, seconds, connections))


def percentile(ordered, p):
    return ordered[min(len(ordered) - 1, int(len(ordered) * p / 100))]
