"""Starts the page."""

import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from html import escape
from pathlib import Path

from esrgan_lightning.errors import InputError, needs_extra
from esrgan_lightning.inference import NetworkPair
from esrgan_lightning.ops.hosts import OwnHosts

_UPLOAD = 32 * 2**20  # bytes of a file
_QUOTA = 2 * 2**30  # bytes of all uploads and results; above it the oldest go
_WAITING = 20  # requests of all visitors that wait for their turn; one more is refused
_VISITORS = 16  # whose pictures are kept; of more, the oldest is forgotten


def serve(
    pair: NetworkPair,
    *,
    runs: Path,
    examples: Mapping[str, Path],
    host: str = "127.0.0.1",
    port: int = 7860,
    allowed_hosts: Sequence[str] = (),
    browser: bool = False,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Serves the page until it is interrupted; everything that visitors brought or made is then removed.

    Args:
        pair: The networks.
        runs: Folder of the runs to follow.
        examples: Photos by the name that is shown, at least one.
        host: Address to listen at; the default is reached from this machine alone.
        port: To listen at; 0 takes a free one.
        allowed_hosts: As for :class:`~esrgan_lightning.ops.hosts.OwnHosts`.
        browser: Open the page.
        ready: Called with the page's address.
    """
    hosts = OwnHosts(host, allowed_hosts)
    _check_address(host, port)
    with _own_folder() as folder:
        try:
            import gradio as gr
            from starlette.middleware import Middleware

            from esrgan_lightning.ui.enlarge import EnlargeTab
            from esrgan_lightning.ui.follow import FollowTab
            from esrgan_lightning.ui.guard import Guard
        except ImportError as error:
            raise needs_extra("esrgan ui needs", "ui") from error
        # Files are removed an hour after they were made.
        with gr.Blocks(title="ESRGAN", analytics_enabled=False, delete_cache=(600, 3600)) as page:
            gr.Markdown(f"# ESRGAN ×{pair.scale}")
            # Names of files are text, and no Markdown.
            psnr, gan = map(escape, pair.names)
            gr.HTML(
                f"The PSNR network, {psnr} (α = 0), comes close to the original pixel by pixel, and is "
                f"smooth. The GAN network, {gan} (α = 1), is sharp: it invents what looks likely. "
                "α mixes their weights.",
                padding=False,
            )
            if pair.warning:
                gr.HTML(f"<strong>Note:</strong> {escape(pair.warning)}", padding=False)
            with gr.Tab("Enlarge"):
                EnlargeTab(pair, examples).build(page)
            with gr.Tab("Follow a run"):
                FollowTab(runs).build(page)
        guard = Middleware(Guard, hosts=hosts, folder=folder, upload_bytes=_UPLOAD + 2**16, quota=_QUOTA)
        page.queue(max_size=_WAITING, default_concurrency_limit=4, api_open=False)
        _, address, _ = page.launch(
            server_name=host,
            server_port=port or None,
            inbrowser=browser,
            share=False,
            prevent_thread_lock=True,
            quiet=True,
            footer_links=[],
            max_file_size=_UPLOAD,
            state_session_capacity=_VISITORS,
            app_kwargs={"middleware": [guard]},
            enable_monitoring=False,
            ssr_mode=False,
            # Gradio's own theme asks the network for its fonts.
            theme=gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["monospace"]),
        )
        if ready:
            ready(address)
        try:
            page.block_thread()
        finally:
            page.close(verbose=False)


def _check_address(host: str, port: int) -> None:
    """Raises InputError where nobody can listen there, before Gradio is loaded for seconds."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        raise InputError(
            f"{host}, port {port}, cannot be listened at ({error}): give another --port or --host"
        ) from error


@contextmanager
def _own_folder() -> Iterator[Path]:
    """All temporary files in a folder that is gone afterwards; SIGTERM ends the block as an error does."""
    with tempfile.TemporaryDirectory(prefix="esrgan_ui_") as folder:
        # Gradio reads them when it is imported; without the second it tells its makers of each start.
        os.environ |= {"GRADIO_TEMP_DIR": folder, "GRADIO_ANALYTICS_ENABLED": "False"}
        earlier = tempfile.tempdir, signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        tempfile.tempdir = folder
        try:
            yield Path(folder)
        finally:
            tempfile.tempdir = earlier[0]
            signal.signal(signal.SIGTERM, earlier[1])
            del os.environ["GRADIO_TEMP_DIR"]
