"""nginx and HAProxy in front of a server, each with the configuration that its page below docs/howto shows.

Knows what a test has to change in it (ports, paths, a timeout that is short) and refuses to know what is tested.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

from certificates import Authority

HOWTO = Path(__file__).parent.parent.parent / "docs" / "howto"
LIMIT = 20.0  # seconds, for a proxy to begin
NAMES = ["nginx", "haproxy"]

NGINX = """
daemon off;
worker_processes 1;
user {user};
pid {directory}/pid;
error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
access_log off;
client_body_temp_path {directory}/body;
proxy_temp_path {directory}/proxy;
fastcgi_temp_path {directory}/fastcgi;
uwsgi_temp_path {directory}/uwsgi;
scgi_temp_path {directory}/scgi;
{shown}
}}
"""


def installed(name: str) -> str | None:
    """Where the program *name* is; those of root are not on everybody's PATH."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


class Front:
    """A running proxy: `port` speaks TLS with a certificate that `context` trusts."""

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        self.port, self.context = port, context

    @property
    def wss(self) -> str:
        return f"wss://localhost:{self.port}"

    @property
    def https(self) -> str:
        return f"https://localhost:{self.port}"


def shown(name: str, **changes: str) -> str:
    """The configuration that the page shows, with each of *changes* in the place of what stands there."""
    blocks = re.findall(rf"^```{name}\n(.*?)^```", (HOWTO / f"{name}.md").read_text(), re.M | re.S)
    assert len(blocks) == 1, f"{name}.md shows {len(blocks)} configurations"
    text: str = blocks[0]
    for pattern, to in changes.items():
        pattern = pattern.replace("_", " +")
        assert re.search(pattern, text), f"{name}.md has no {pattern!r}"
        text = re.sub(pattern, to, text)
    return text


def configuration(name: str, directory: Path, port: int, server: int, patience: str) -> str:
    """A file for the proxy *name*; *patience* is in the place of the 60 s that it waits for a quiet websocket."""
    certificate = f"{directory}/both.pem"
    if name == "haproxy":
        return shown(
            name,
            **{
                "timeout_tunnel_60s": f"timeout tunnel {patience}",
                "bind_:443_ssl_crt_\\S+": f"bind 127.0.0.1:{port} ssl crt {certificate}",
                "127.0.0.1:8090": f"127.0.0.1:{server}",
            },
        )
    text = shown(
        name,
        **{
            "proxy.read.timeout_60s": f"proxy_read_timeout {patience}",
            "listen_443_ssl": f"listen 127.0.0.1:{port} ssl",
            "server.name_example.com": "server_name localhost",
            "/etc/letsencrypt\\S+fullchain.pem": certificate,
            "/etc/letsencrypt\\S+privkey.pem": certificate,
            "127.0.0.1:8090": f"127.0.0.1:{server}",
        },
    )
    return NGINX.format(user="root" if os.getuid() == 0 else "nobody", directory=directory, shown=text)


@asynccontextmanager
async def front(name: str, directory: Path, server: int, patience: str = "60s") -> AsyncIterator[Front]:
    """Run the proxy *name* before the server at the port *server*."""
    command = installed(name)
    if command is None:
        raise FileNotFoundError(f"{name} is not installed")
    authority = Authority(directory)
    issued = authority.issue("localhost", "127.0.0.1")
    (directory / "both.pem").write_bytes(issued.certificate.read_bytes() + issued.key.read_bytes())
    with closing(socket.socket()) as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
    file = directory / f"{name}.conf"
    file.write_text(configuration(name, directory, port, server, patience))
    arguments = ["-p", str(directory), "-c", str(file)] if name == "nginx" else ["-db", "-f", str(file)]
    log = directory / "log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            command, *arguments, stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        async with asyncio.timeout(LIMIT):
            while not await _listens(port):
                if process.returncode is not None:
                    raise RuntimeError(f"{name} ended: {log.read_text()}")
                await asyncio.sleep(0.02)
        yield Front(port, authority.client_context())
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True
