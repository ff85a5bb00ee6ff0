"""Tries ways around, all at once: attempts.py ATTEMPTS (JSON) PATIENCE, inside whatever network namespace it is in.

Prints a JSON object: each attempt's name and what came of it. An attempt got through when what it received is
something that only its target says; of those that expect no answer, the target's own record tells. An attempt may name
a router, which is then chosen by a mark: the namespace's own routes stay as they are.
"""

from __future__ import annotations

import json
import re
import socket
import ssl
import struct
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

PATIENCE = float(sys.argv[2])
"""Seconds that a target has to answer."""

SO_MARK = 36


def marks(attempts: list[dict[str, Any]]) -> dict[str, int]:
    """Return a mark for each router that is asked for."""
    routers = sorted({attempt["via"] for attempt in attempts if attempt.get("via")})
    return {router: 200 + index for index, router in enumerate(routers)}


def route(routers: dict[str, int], verb: str) -> None:
    """Make, or take away, a table of routes for each mark."""
    for router, mark in routers.items():
        family = "-6" if ":" in router else "-4"
        subprocess.run(["ip", family, "rule", verb, "fwmark", str(mark), "table", str(mark)], check=True)
        if verb == "add":
            words = ["ip", family, "route", "replace", "default", "via", router, "dev", "eth0", "table", str(mark)]
            subprocess.run(words, check=True)


def opened(attempt: dict[str, Any], kind: int, protocol: int = 0) -> socket.socket:
    """Return a socket whose packets take the attempt's router."""
    family = socket.AF_INET6 if ":" in attempt["host"] else socket.AF_INET
    found = socket.socket(family, kind, protocol)
    found.settimeout(PATIENCE)
    if attempt["mark"]:
        found.setsockopt(socket.SOL_SOCKET, SO_MARK, attempt["mark"])
    return found


def checksum(data: bytes) -> int:
    """Return the Internet checksum."""
    padded = data + b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def tcp(attempt: dict[str, Any]) -> bytes:
    """Connect, say something, and return everything that is said until the connection ends."""
    with opened(attempt, socket.SOCK_STREAM) as client:
        client.connect((attempt["host"], attempt["port"]))
        client.sendall(attempt["send"].encode("latin-1"))
        received, until = b"", time.monotonic() + PATIENCE
        while time.monotonic() < until and not re.search(attempt["expect"].encode(), received):
            try:
                data = client.recv(65536)
            except OSError:
                break
            if not data:
                break
            received += data
        return received


def tls(attempt: dict[str, Any]) -> bytes:
    """Shake hands, and return the name in the certificate of whoever answers."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with opened(attempt, socket.SOCK_STREAM) as plain:
        plain.connect((attempt["host"], attempt["port"]))
        with context.wrap_socket(plain) as client:
            return client.getpeercert(binary_form=True) or b""


def udp(attempt: dict[str, Any]) -> bytes:
    """Send a datagram, and return the answer."""
    with opened(attempt, socket.SOCK_DGRAM) as client:
        client.sendto(attempt["send"].encode("latin-1"), (attempt["host"], attempt["port"]))
        return client.recv(65536)


def dns(attempt: dict[str, Any]) -> bytes:
    """Ask a name server for the address of a name."""
    labels = b"".join(struct.pack("!B", len(label)) + label for label in attempt["send"].encode().split(b"."))
    kind = 28 if attempt.get("aaaa") else 1
    query = struct.pack("!6H", 4711, 0x0100, 1, 0, 0, 0) + labels + struct.pack("!BHH", 0, kind, 1)
    with opened(attempt, socket.SOCK_DGRAM) as client:
        client.sendto(query, (attempt["host"], 53))
        answer = client.recv(4096)
    if answer[3] & 0xF or not answer[7]:
        return b"no such name"
    return socket.inet_ntoa(answer[-4:]).encode() if kind == 1 else b"an address of IPv6"


def icmp(attempt: dict[str, Any]) -> bytes:
    """Ping, with something to say; nobody waits for an answer."""
    with opened(attempt, socket.SOCK_RAW, socket.IPPROTO_ICMP) as raw:
        body = struct.pack("!HH", 1, 1) + attempt["send"].encode()
        head = struct.pack("!BBH", 8, 0, checksum(struct.pack("!BBH", 8, 0, 0) + body))
        raw.sendto(head + body, (attempt["host"], 0))
    return b""


def raw(attempt: dict[str, Any]) -> bytes:
    """Send an IP packet as it is told: from any source, of any protocol."""
    body = attempt["send"].encode()
    if attempt["protocol"] == socket.IPPROTO_UDP:
        body = struct.pack("!HHHH", 9999, 9999, 8 + len(body), 0) + body
    source = socket.inet_aton(attempt["source"])
    target = socket.inet_aton(attempt["host"])
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(body), 1, 0, 64, attempt["protocol"], 0, source, target)
    with opened(attempt, socket.SOCK_RAW, socket.IPPROTO_RAW) as sender:
        sender.sendto(head + body, (attempt["host"], 0))
    return b""


KINDS = {"tcp": tcp, "tls": tls, "udp": udp, "dns": dns, "icmp": icmp, "raw": raw}


def run(attempt: dict[str, Any]) -> dict[str, Any]:
    """Try one way; return what was received, whether it is what the target says, or why nothing came."""
    try:
        received = KINDS[attempt["kind"]](attempt)
    except OSError as error:
        return {"through": False, "said": f"{type(error).__name__}: {error}"}
    through = bool(attempt["expect"]) and re.search(attempt["expect"].encode(), received) is not None
    return {"through": through, "said": received.decode("latin-1")[:300]}


def main() -> None:
    """Try all of them, each for itself."""
    attempts = json.loads(sys.argv[1])
    routers = marks(attempts)
    for attempt in attempts:
        attempt["mark"] = routers.get(attempt.get("via") or "", 0)
    route(routers, "add")
    try:
        with ThreadPoolExecutor(max_workers=len(attempts)) as pool:
            results = dict(zip((attempt["name"] for attempt in attempts), pool.map(run, attempts), strict=True))
    finally:
        route(routers, "del")
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
