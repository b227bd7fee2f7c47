"""Distance on the lab's links: what the machine sends to a host waits first, as if the host were in a far-away cloud.

A process of the lab's own holds each packet for a while. Linux has `tc netem` for this, but not every kernel has netem.
What the mirror sends is not delayed: to a cloud's hosts their mirrors are near.
"""

from __future__ import annotations

import fcntl
import os
import select
import socket
import struct
import subprocess
import sys
import time
from collections import deque
from pathlib import Path
from urllib.parse import urlsplit

from lab import host_processes, network
from lab.definition import BRIDGE, CHECKOUT, GATEWAY, MIRROR_URL, NETWORK, REGISTRY_URL, state_dir
from lab.progress import failure

LINK = f"{BRIDGE}-far"
TABLE = 7700  # routing table, and where our routing rules begin: after the kernel's `local`, before its `main`
UP_WITHIN_S = 5.0

# linux/if_tun.h
_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000


def rules() -> list[str]:
    """What the machine itself sends to the lab takes the delaying link, but for the mirror's answers."""
    local = f"to {NETWORK} iif lo"
    near = [f"{local} ipproto tcp sport {urlsplit(url).port} lookup main" for url in (MIRROR_URL, REGISTRY_URL)]
    return [f"{rule} pref {TABLE + number}" for number, rule in enumerate([*near, f"{local} lookup {TABLE}"], 1)]


def present_rules() -> list[str]:
    """Those of our routing rules that are there, as `ip rule` shows them."""
    preferences = {f"{rule.rpartition(' ')[2]}:" for rule in rules()}
    return [line for line in network.command("ip", "rule", "show").splitlines() if line.split()[0] in preferences]


def _argument() -> str:
    return str(state_dir() / "delay")


def current_ms() -> float:
    """The delay that is set, in ms; 0 if none is."""
    for pid in host_processes.with_argument(_argument()):
        return float(Path(f"/proc/{pid}/cmdline").read_text().split("\0")[-2])
    return 0.0


def stop() -> None:
    """Remove the delay, if there is one."""
    for rule in rules():
        preference = rule.rpartition(" ")[2]
        if any(line.startswith(f"{preference}:") for line in present_rules()):
            network.command("ip", "rule", "delete", "pref", preference)
    for pid in host_processes.with_argument(_argument()):
        host_processes.end(pid)


def start(delay_ms: float) -> None:
    """Make each round trip between the machine and a host `delay_ms` longer; instead of an earlier delay."""
    stop()
    if delay_ms <= 0:
        return
    log = state_dir() / "delay.log"
    with log.open("ab") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "lab.host_delay", _argument(), str(delay_ms)],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            cwd=CHECKOUT,
            start_new_session=True,
        )
    made = host_processes.wait_until(lambda: LINK in network.links() or process.poll() is not None, UP_WITHIN_S)
    if not made or process.poll() is not None:
        raise failure("delay the lab's links", "the delaying process does not run", log)
    lines = [
        f"link set {LINK} mtu {network.mtu()} up",
        f"route add {NETWORK} dev {LINK} src {GATEWAY} table {TABLE}",
        *(f"rule add {rule}" for rule in rules()),
    ]
    network.command("ip", "-batch", "-", given="\n".join(lines))


def round_trip_ms(address: str) -> float:
    """How long it takes to be connected to a host's sshd: one round trip, and little more."""
    begin = time.monotonic()
    with socket.create_connection((address, 22), timeout=10):
        return (time.monotonic() - begin) * 1000


def hold_packets(delay_s: float) -> None:
    """Take packets from the link, hold each for `delay_s`, and send it on over the bridge; does not return."""
    link = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(link, _TUNSETIFF, struct.pack("16sH22x", LINK.encode(), _IFF_TUN | _IFF_NO_PI))
    bridge = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    bridge.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, BRIDGE.encode())
    waiting: deque[tuple[float, bytes]] = deque()
    poll = select.poll()
    poll.register(link, select.POLLIN)
    while True:
        poll.poll(max(0.0, waiting[0][0] - time.monotonic()) * 1000 if waiting else None)
        try:
            while packet := os.read(link, 65536):
                if packet[0] >> 4 == 4:
                    waiting.append((time.monotonic() + delay_s, packet))
        except BlockingIOError:
            pass
        except OSError as error:  # not up yet
            print(error, file=sys.stderr, flush=True)
            time.sleep(0.01)
        while waiting and waiting[0][0] <= time.monotonic():
            _, packet = waiting.popleft()
            try:
                bridge.sendto(packet, (socket.inet_ntoa(packet[16:20]), 0))
            except OSError as error:  # as on any link, what can't be sent is lost, and TCP sends it again
                print(error, file=sys.stderr, flush=True)


if __name__ == "__main__":
    hold_packets(float(sys.argv[2]) / 1000)
