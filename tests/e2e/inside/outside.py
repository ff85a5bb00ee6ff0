"""The world, for a test inside the VM: a few servers, and a record of every packet that reaches them.

Runs with nothing but Python in a network namespace that plays the internet, and once more in the machine's own, where
it plays whatever the machine may have listening: outside.py RECORD [PORT...]. What it is shown it calls by the name
that the test gave it: a token, which begins with `way-`.
"""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import sys
import threading
from collections.abc import Callable
from pathlib import Path

TOKEN = re.compile(rb"way-[a-z0-9-]+")
NAMES = {b"outside.test": "203.0.113.10", b"inside.test": "10.30.1.5", b"github.com": "203.0.113.20"}
NAME_SERVERS = ("203.0.113.10", "10.0.2.3")
PORTS = (22, 80, 443, 2375, 8081)
ETH_P_ALL, ETH_P_IP, ETH_P_IPV6 = 0x0003, 0x0800, 0x86DD


def answer(data: bytes) -> bytes:
    """Return what the world says: that it saw the token, as a web server would where it was asked as one."""
    found = TOKEN.search(data)
    body = b"outside saw " + (found[0] if found else b"no token")
    if b" HTTP/1." not in data:
        return body
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(body), body)


def converse(client: socket.socket) -> None:
    """Answer one client; on port 22 the server speaks first."""
    with client, contextlib.suppress(OSError):
        client.settimeout(30)
        if client.getsockname()[1] == 22:
            client.sendall(b"SSH-2.0-outside saw you\r\n")
        client.sendall(answer(client.recv(65536)))


def accept(port: int) -> None:
    """Serve one port, by IPv4 and IPv6."""
    with socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=64) as server:
        while True:
            client, _ = server.accept()
            threading.Thread(target=converse, args=(client,), daemon=True).start()


def echo() -> None:
    """Answer datagrams."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as server:
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        server.bind(("::", 9999))
        while True:
            data, client = server.recvfrom(65536)
            server.sendto(answer(data), client)


def name_server(own: str) -> None:
    """Answer questions for addresses, from this one; whatever is below a known name has its address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((own, 53))
        while True:
            query, client = server.recvfrom(4096)
            end = query.index(b"\0", 12) + 5
            labels, at = [], 12
            while query[at]:
                labels.append(query[at + 1 : at + 1 + query[at]])
                at += query[at] + 1
            address = NAMES.get(b".".join(labels[-2:]).lower())
            flags = 0x8180 if address else 0x8183
            head = query[:2] + struct.pack("!5H", flags, 1, 1 if address else 0, 0, 0)
            record = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 5, 4) + socket.inet_aton(address) if address else b""
            server.sendto(head + query[12:end] + record, client)


def watch(record: Path) -> None:
    """Write down every packet with a token that arrives: where it was going, and the token."""
    with record.open("a", buffering=1) as file, socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM) as everything:
        everything.bind(("eth0", ETH_P_ALL))
        while True:
            packet, (_, protocol, kind, _, _) = everything.recvfrom(65536)
            if kind == socket.PACKET_OUTGOING or protocol not in (ETH_P_IP, ETH_P_IPV6):
                continue
            if protocol == ETH_P_IP:
                target = socket.inet_ntoa(packet[16:20])
            else:
                target = socket.inet_ntop(socket.AF_INET6, packet[24:40])
            for token in set(TOKEN.findall(packet)):
                file.write(f"{target} {token.decode()}\n")


def start(target: Callable[..., None], *arguments: object) -> None:
    """Run it until the program ends."""
    threading.Thread(target=target, args=arguments).start()


def main() -> None:
    """Serve until killed."""
    record, ports = Path(sys.argv[1]), [int(word) for word in sys.argv[2:]]
    for port in ports or PORTS:
        start(accept, port)
    start(echo)
    if not ports:
        for own in NAME_SERVERS:
            start(name_server, own)
        start(watch, record)


if __name__ == "__main__":
    main()
