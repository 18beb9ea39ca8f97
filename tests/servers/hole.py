"""A real bad network, for root on Linux: a server in a network namespace, and a bridge between that can be cut.

It loses UDP packets as they come in, by netfilter: not every kernel has netem.
"""

from __future__ import annotations

import os
import shutil
import subprocess

# One for each process, so that two can have theirs at the same time.
_NUMBER = os.getpid()
_SUBNET = f"10.213.{_NUMBER % 250}"
HOST = f"{_SUBNET}.2"
_SERVER, _MIDDLE, _LINK = f"streampose-srv-{_NUMBER}", f"streampose-mid-{_NUMBER}", f"spose{_NUMBER}"
_LOSS = f"PREROUTING -i {_LINK} -p udp -m statistic --mode random"


def possible() -> bool:
    return os.name == "posix" and os.geteuid() == 0 and shutil.which("ip") is not None


class Hole:
    """Both ends keep their link, address and route; what they send vanishes.

    Raises:
        subprocess.CalledProcessError: the kernel has no namespaces, veth or bridge for us.
    """

    prefix = ("ip", "netns", "exec", _SERVER)

    def __init__(self) -> None:
        self._losing = 0.0
        try:
            for command in (
                f"netns add {_SERVER}",
                f"netns add {_MIDDLE}",
                f"link add {_LINK} type veth peer name m0 netns {_MIDDLE}",
                f"-n {_MIDDLE} link add m1 type veth peer name s0 netns {_SERVER}",
                f"-n {_MIDDLE} link add br0 type bridge forward_delay 0",
                f"-n {_MIDDLE} link set m0 master br0",
                f"-n {_MIDDLE} link set m1 master br0",
                *(f"-n {_MIDDLE} link set {name} up" for name in ("br0", "m0", "m1")),
                f"-n {_SERVER} link set lo up",
                f"-n {_SERVER} address add {HOST}/24 dev s0",
                f"-n {_SERVER} link set s0 up",
                f"address add {_SUBNET}.1/24 dev {_LINK}",
                f"link set {_LINK} up",
            ):
                self._ip(command)
        except subprocess.CalledProcessError:
            self.close()
            raise

    def cut(self, cut: bool) -> None:
        self._ip(f"-n {_MIDDLE} link set m1 " + ("nomaster" if cut else "master br0"))

    def lose(self, share: float) -> None:
        """Of the UDP packets that come from the server this share is lost."""
        self._flow()
        if share:
            command = f"iptables -t raw -A {_LOSS} --probability {share} -j DROP"
            subprocess.run(command.split(), check=True, capture_output=True)
            self._losing = share

    def _flow(self) -> None:
        if self._losing:
            command = f"iptables -t raw -D {_LOSS} --probability {self._losing} -j DROP"
            subprocess.run(command.split(), check=True, capture_output=True)
            self._losing = 0.0

    def close(self) -> None:
        self._flow()
        for command in (f"link delete {_LINK}", f"netns delete {_SERVER}", f"netns delete {_MIDDLE}"):
            subprocess.run(["ip", *command.split()], check=False, capture_output=True)

    @staticmethod
    def _ip(command: str) -> None:
        subprocess.run(["ip", *command.split()], check=True, capture_output=True)
