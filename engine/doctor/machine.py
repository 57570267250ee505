"""What a run needs of the machine: versions that fit, open files, certificates, a way out through a proxy."""

from __future__ import annotations

import os
import platform
import re
import resource
import shlex
import sqlite3
import ssl
import stat
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from engine import __version__
from engine.connection import describe
from engine.doctor.check import Check, ok, problem, warning
from engine.loopback import LOOPBACK
from engine.run.parts import read_concurrency, submit_concurrency

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from engine.config import RunConfig

DISTRIBUTION = "media-batch-engine"
SQLITE_MIN = (3, 38)
"""The first one with ``->>``; tables that are STRICT came before."""
FILES_OF_ITS_OWN = 64
"""Ledger, log, output, the sockets of a monitor, modules being loaded: measured at 24, with room."""
FILES_PER_DOWNLOAD = 3
"""A socket, the part, and its directory while that is synced."""
OTHERS = stat.S_IRWXG | stat.S_IRWXO
INSTALL_HINT = "install it as tested: pip install -c requirements.lock media-batch-engine"

_REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9._-]+)\s*(?P<bounds>[^;]*)(?P<marker>;.*)?\Z")
_BOUND = re.compile(r"(?P<sign>>=|<)\s*(?P<version>[0-9.]+)")


def versions(_config: RunConfig) -> list[Check]:
    """Look at the program, Python, the libraries and SQLite."""
    system = f"{platform.system()} {platform.release()}, {platform.machine()}"
    checks = [ok("python", f"engine {__version__}, Python {platform.python_version()}, {system}"), libraries()]
    if sqlite3.sqlite_version_info < SQLITE_MIN:
        needed = ".".join(map(str, SQLITE_MIN))
        hint = "use a Python that is linked to a newer one"
        checks.append(problem("sqlite", f"SQLite {sqlite3.sqlite_version} is older than {needed}", hint))
    else:
        checks.append(ok("sqlite", f"SQLite {sqlite3.sqlite_version}"))
    return checks


def libraries() -> Check:
    """Hold the versions of the libraries against what the engine asks for."""
    try:
        required = list(_requirements())
    except metadata.PackageNotFoundError:
        return warning("libraries", f"{DISTRIBUTION} is not installed: nobody held its libraries to it", INSTALL_HINT)
    found, wrong = [], []
    for name, bounds in required:
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{name} is missing")
            continue
        found.append(f"{name} {version}")
        if not _is_within(version, bounds):
            wrong.append(f"{name} {version} is not {bounds}")
    if wrong:
        return problem("libraries", ", ".join(wrong), INSTALL_HINT)
    return ok("libraries", ", ".join(found))


def _requirements() -> Iterator[tuple[str, str]]:
    for text in metadata.requires(DISTRIBUTION) or ():
        match = _REQUIREMENT.match(text)
        if match and "extra" not in (match["marker"] or ""):
            yield match["name"], match["bounds"].strip()


def _is_within(version: str, bounds: str) -> bool:
    """Compare the leading numbers of versions; what is not understood passes."""
    own = _numbers(version)
    return all(
        own >= _numbers(bound["version"]) if bound["sign"] == ">=" else own < _numbers(bound["version"])
        for bound in _BOUND.finditer(bounds)
    )


def _numbers(version: str) -> tuple[int, ...]:
    match = re.match(r"[0-9.]*", version)
    return tuple(int(part) for part in match[0].split(".") if part) if match else ()


def open_files(config: RunConfig) -> list[Check]:
    """Hold the limit of open files against what may be open at once."""
    description = describe(config)
    submits = min(submit_concurrency(description), config.limits.max_in_flight)
    reads = min(read_concurrency(description), config.limits.max_in_flight)
    downloads = FILES_PER_DOWNLOAD * config.downloads.concurrency if config.downloads.enabled else 0
    needed = submits + reads + downloads + FILES_OF_ITS_OWN
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        return [
            problem(
                "open_files",
                f"{soft:,} files may be open at once; limits.max_in_flight and downloads.concurrency may take {needed}",
                f"ulimit -n {needed} (LimitNOFILE={needed} in a unit of systemd), or lower downloads.concurrency",
            )
        ]
    limit = "any number of" if soft == resource.RLIM_INFINITY else f"{soft:,}"
    return [ok("open_files", f"{limit} files may be open at once; up to {needed:,} are needed")]


def key_file(config: RunConfig) -> list[Check]:
    """Look at who else may read the file with the key, where one is named."""
    path, name = config.provider.api_key_file, "key_file"
    if path is None or not path.is_file():
        return []  # whether a key is to be had is another check
    if path.stat().st_mode & OTHERS:
        return [warning(name, f"others on this machine can read {path}", f"chmod 600 {shlex.quote(str(path))}")]
    return [ok(name, f"only you can read {path}")]


def certificates(urls: tuple[str, ...], environ: Mapping[str, str] = os.environ) -> list[Check]:
    """Look at the certificate authorities that the servers at ``urls`` are judged by."""
    name = "certificates"
    if not any(url.startswith("https:") for url in urls):
        return [ok(name, "none is needed: the provider is on this machine")]
    for variable, is_there in (("SSL_CERT_FILE", Path.is_file), ("SSL_CERT_DIR", Path.is_dir)):
        path = environ.get(variable)
        if path and not is_there(Path(path)):
            return [problem(name, f"{variable} names {path}, which is not there", f"correct it, or unset {variable}")]
    file = environ.get("SSL_CERT_FILE")
    try:
        known = ssl.create_default_context(cafile=file or None).cert_store_stats()["x509_ca"]
    except (ssl.SSLError, OSError) as error:
        reason = error.strerror or type(error).__name__
        return [problem(name, f"the certificates in {file} cannot be read ({reason})", "it must be PEM text")]
    paths = ssl.get_default_verify_paths()
    in_directory = bool(paths.capath and any(Path(paths.capath).iterdir()))
    if not known and not in_directory:
        hint = "install the system's ca-certificates, or: export SSL_CERT_FILE=$(python -m certifi)"
        return [problem(name, "no certificate authority is known, so no server can be trusted", hint)]
    return [ok(name, f"from {file or paths.cafile or paths.capath}, {ssl.OPENSSL_VERSION}")]


def proxy_for(url: str) -> str:
    """Return the proxy that requests to ``url`` go through, as the HTTP library chooses it; empty for none."""
    parts = urlsplit(url)
    proxies = getproxies()
    if parts.hostname is None or parts.hostname in LOOPBACK:  # where the client of a run uses none either
        return ""
    if parts.scheme not in proxies or proxy_bypass(parts.hostname):
        return ""
    return proxies[parts.scheme]


def proxies(urls: tuple[str, ...]) -> list[Check]:
    """Look at the proxies that the environment names for the addresses of the provider."""
    name = "proxy"
    found = sorted({proxy for url in urls if url and (proxy := proxy_for(url))})
    if "all" in getproxies() and not found:
        hint = "export HTTPS_PROXY=... if the provider is reached through it only"
        return [warning(name, "ALL_PROXY is set, and not used: requests go out directly", hint)]
    if not found:
        return [ok(name, "none: requests go out directly")]
    shown = ", ".join(map(_without_password, found))
    if any(not proxy.startswith(("http://", "https://")) for proxy in found):
        return [problem(name, f"requests would go through {shown}, which is no http proxy", "HTTPS_PROXY=http://...")]
    hint = "see that the provider's output hosts can be reached directly from here"
    return [warning(name, f"requests go through {shown}; downloads never use a proxy", hint)]


def _without_password(proxy: str) -> str:
    parts = urlsplit(proxy if "//" in proxy else f"//{proxy}")
    return f"{parts.scheme or 'http'}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")
