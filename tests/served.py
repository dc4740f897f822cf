"""``esrgan serve`` in a process of its own, and what a client does with it."""

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import requests


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Service:
    """A running ``esrgan serve``."""

    def __init__(self, network, *options, command=Path(sys.executable).parent / "esrgan"):
        self.url = f"http://127.0.0.1:{(port := free_port())}"
        command = [command, "serve", "-m", network, "--device", "cpu", "--port", port, *options]
        self.process = subprocess.Popen([str(word) for word in command], stderr=subprocess.PIPE, text=True)
        end = time.monotonic() + 180
        while time.monotonic() < end:
            assert self.process.poll() is None, self.process.stderr.read()
            try:
                if requests.get(f"{self.url}/health", timeout=5).status_code == 200:
                    return
            except requests.ConnectionError:
                time.sleep(0.3)
        raise AssertionError("never ready")

    def post(self, data, field="image"):
        return requests.post(f"{self.url}/upscale", files={field: ("x", data)}, timeout=120)

    def memory(self):
        main = psutil.Process(self.process.pid)
        return sum(each.memory_info().rss for each in (main, *main.children(recursive=True)))

    def end(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        self.process.stderr.close()
        return code
