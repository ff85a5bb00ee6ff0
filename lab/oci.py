"""Small images under the release's names, made without a container engine and pushed to a registry.

Each image is a stand-in for one of the release's: scripts (`lab/standins/<name>`, a tree laid over the root), for
busybox or Perl, that do a miniature of the real service under the real program's name, so that the production compose
file, configurations and health checks are used unchanged. The state is no miniature: Redis is what Valkey was forked
from, and reads the same configuration. Programs come from the distribution's packages.

An image has a base layer that all share, layers for programs that busybox lacks, its own small layer, and a layer
of bytes that do not compress, so that a pull takes long enough to be disturbed. Layers are plain tars:
unpacking gzip is slow in an emulated machine, and its bytes depend on the zlib in use. Same inputs, same digests.
"""

from __future__ import annotations

import hashlib
import http.client
import io
import json
import random
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

STANDINS: Final = Path(__file__).with_name("standins")

MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
CONFIG: Final = "application/vnd.oci.image.config.v1+json"
LAYER: Final = "application/vnd.oci.image.layer.v1.tar"

APPLETS: Final = (
    "[ basename cat chmod chown cp cut date dd dirname echo env false grep head hexdump hostname httpd id ip kill ls "
    "mkdir mount mv nc nslookup od ping printf ps pwd rm sed sh sha256sum sleep sort stat stty sync tail test timeout "
    "top touch tr true umask uname wc wget which xargs xxd"
)
ACCOUNTS: Final = {
    "etc/passwd": b"root:x:0:0:root:/:/bin/sh\npolis:x:65532:65532:polis:/:/bin/sh\n",
    "etc/group": b"root:x:0:\npolis:x:65532:\n",
    "etc/nsswitch.conf": b"hosts: files dns\n",
}
LIBRARIES: Final = ("**/*.so.*",)
MODULES: Final = (
    "AutoLoader",
    "Carp",
    "Config",
    "DynaLoader",
    "Errno",
    "Exporter",
    "Socket",
    "XSLoader",
    "bytes",
    "constant",
    "overloading",
    "strict",
    "vars",
    "warnings",
)
"""Modules of Perl that the scripts, and what they use, ask for."""

PROGRAMS: Final[Mapping[str, Mapping[str, Sequence[str]]]] = {
    "libc": {"libc6": ("**/ld-linux*.so.*", "**/libc.so.6", "**/libm.so.6")},
    "perl": {
        "perl-base": (
            "usr/bin/perl",
            *(f"**/perl-base/{name}.pm" for name in MODULES),
            "**/warnings/register.pm",
            "**/auto/Socket/Socket.so",
        ),
        "libcrypt1": LIBRARIES,
    },
    "tls": {"libssl3": ("**/libssl.so.*", "**/libcrypto.so.*")},
    "perl-tls": {"libnet-ssleay-perl": ("**/Net/SSLeay.pm", "**/Net/SSLeay/SSLeay.so", "**/autosplit.ix")},
    "redis": {
        "redis-server": ("usr/bin/redis-server*",),
        "redis-tools": ("usr/bin/redis-check-rdb", "usr/bin/redis-cli"),
        "libcap2": ("**/libcap.so.*",),
        "libstdc++6": ("**/libstdc++.so.6*",),
        **dict.fromkeys(("libatomic1", "libgcc-s1", "libgcrypt20", "libgpg-error0", "libjemalloc2"), LIBRARIES),
        **dict.fromkeys(("liblz4-1", "liblzf1", "liblzma5", "libsystemd0", "libzstd1"), LIBRARIES),
    },
    "nft": {
        "nftables": ("usr/sbin/nft",),
        **dict.fromkeys(("libbsd0", "libedit2", "libgmp10", "libjansson4", "libmd0", "libmnl0"), LIBRARIES),
        **dict.fromkeys(("libnftables1", "libnftnl11", "libtinfo6", "libxtables12"), LIBRARIES),
    },
}
"""What busybox cannot do: layer → package → files. Each is a layer of its own, after the base layer."""

BUSYBOX: Final = "busybox-static"
PACKAGES: Final = tuple(sorted({BUSYBOX, *(package for files in PROGRAMS.values() for package in files)}))

BALLAST: Final = 2**20
"""Bytes of the incompressible layer at least; at most twice as much."""

TIMEOUT: Final = 30.0
"""Seconds for one answer of the registry."""


@dataclass(frozen=True)
class Standin:
    """What one image is started as, as whom, and which layers of programs it needs beside busybox."""

    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    user: str = ""
    programs: tuple[str, ...] = ()


STANDIN: Final[Mapping[str, Standin]] = {
    "certgen": Standin(entrypoint=("/usr/bin/g3fcgen",), user="65532", programs=("libc", "perl")),
    "gate": Standin(entrypoint=("/usr/local/bin/init.sh",), programs=("libc", "perl", "nft")),
    "init": Standin(cmd=("/bin/sh",), programs=("libc", "nft")),
    "resolver": Standin(entrypoint=("/usr/bin/coredns",), user="65532", programs=("libc", "perl")),
    "scanner": Standin(entrypoint=("/init",), user="65532"),
    "sentinel": Standin(entrypoint=("/entrypoint.sh",), user="65532", programs=("libc", "perl")),
    "state": Standin(cmd=("valkey-server", "/etc/valkey/valkey.conf"), user="65532", programs=("libc", "tls", "redis")),
    "toolbox": Standin(
        cmd=("/usr/local/bin/polis-mcp-agent",), user="65532", programs=("libc", "perl", "tls", "perl-tls")
    ),
    "workspace": Standin(entrypoint=("/sbin/init",)),
}
"""The nine images by the part of their name after `polis-`."""


@dataclass(frozen=True)
class Image:
    """A manifest and the blobs that it names, by digest."""

    manifest: bytes
    blobs: Mapping[str, bytes]

    @property
    def digest(self) -> str:
        """Return what a pull by digest asks for."""
        return digest_of(self.manifest)

    @property
    def identity(self) -> str:
        """Return what an engine calls the image: the digest of its configuration."""
        identity: str = json.loads(self.manifest)["config"]["digest"]
        return identity


@dataclass(frozen=True)
class Programs:
    """The distribution's packages, each unpacked into a directory of its name below `root`."""

    root: Path
    architecture: str

    def pick(self, package: str, patterns: Sequence[str]) -> dict[str, bytes | str]:
        """Return files and links of a package by their place in a merged /usr; a link is a str, its target."""
        base = self.root / package
        matches = {pattern: [path for path in base.glob(pattern) if not path.is_dir()] for pattern in patterns}
        if missing := [pattern for pattern in patterns if not matches[pattern]]:
            raise LabError(f"the package {package} has none of: {', '.join(missing)}")
        found = sorted({path for paths in matches.values() for path in paths})
        return {
            _merged(path.relative_to(base).as_posix()): str(path.readlink()) if path.is_symlink() else path.read_bytes()
            for path in found
        }


def publish(
    *,
    registry: str,
    namespace: str,
    versions: Sequence[str],
    cache: Path,
    changed: Mapping[str, Collection[str]] | None = None,
) -> dict[str, dict[str, str]]:
    """Make sure that all nine images of all `versions` are in the registry; return reference → digest and id.

    `registry` is host:port, spoken to by HTTP. References are without it, for a guest knows it by another name:
    `<namespace>/polis-gate:v0.5.0`. Every image of a version is its own, unless `changed` names for that version the
    images that are: the others are then those of the first version, digest and all. What is there is not sent again.

    Raises:
        LabError: a package cannot be had, or the registry refuses or does not answer.

    """
    programs = fetch(cache)
    published: dict[str, dict[str, str]] = {}
    target = Registry(registry)
    for version in versions:
        own = STANDIN.keys() if changed is None else changed.get(version, STANDIN.keys())
        for name in STANDIN:
            image = build(programs, name, version if name in own else versions[0])
            repository = f"{namespace}/polis-{name}"
            target.push(repository, version, image)
            published[f"{repository}:{version}"] = {"digest": image.digest, "id": image.identity}
    return published


def fetch(cache: Path) -> Programs:
    """Return the packages that the stand-ins are made of, downloaded by apt once and kept in `cache`."""
    architecture = _run(["dpkg", "--print-architecture"], cwd=None).strip()
    wanted = hashlib.sha256(" ".join((architecture, *PACKAGES)).encode()).hexdigest()[:16]
    root = cache / f"programs-{wanted}"
    if not root.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as temporary:
            debs, trees = Path(temporary, "debs"), Path(temporary, "trees")
            debs.mkdir()
            trees.mkdir()
            _run(["apt-get", "-qq", "download", *PACKAGES], cwd=debs)
            for deb in debs.glob("*.deb"):
                _run(["dpkg-deb", "-x", str(deb), str(trees / deb.name.split("_")[0])], cwd=None)
            try:
                trees.rename(root)
            except OSError:
                # Another process was faster, and its trees are as good.
                if not root.is_dir():
                    raise
    return Programs(root, architecture)


def build(programs: Programs, name: str, generation: str) -> Image:
    """Return one image. `generation` is any text; another one gives another digest."""
    standin = STANDIN[name]
    layers = [
        _base_layer(programs),
        *(_program_layer(programs, layer) for layer in standin.programs),
        _own_layer(name, generation),
        _ballast_layer(name),
    ]
    config = {
        "architecture": programs.architecture,
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": {
            "User": standin.user,
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "Entrypoint": list(standin.entrypoint) or None,
            "Cmd": list(standin.cmd) or None,
            "WorkingDir": "/",
            "Labels": {"org.opencontainers.image.version": generation},
        },
        "rootfs": {"type": "layers", "diff_ids": [digest_of(layer) for layer in layers]},
    }
    blobs = [_json(config), *layers]
    descriptors = [
        {"mediaType": CONFIG if index == 0 else LAYER, "digest": digest_of(blob), "size": len(blob)}
        for index, blob in enumerate(blobs)
    ]
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptors[0],
        "layers": descriptors[1:],
    }
    return Image(_json(manifest), {digest_of(blob): blob for blob in blobs})


def digest_of(data: bytes) -> str:
    """Return the digest under which a registry knows these bytes."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Registry:
    """One registry, spoken to by its HTTP API in plain text."""

    def __init__(self, address: str) -> None:
        self._address = address

    def push(self, repository: str, tag: str, image: Image) -> None:
        """Put an image under a tag, blobs first; what is there already stays as it is."""
        path = f"/v2/{repository}/manifests/{tag}"
        status, headers, _ = self._ask("HEAD", path, headers={"Accept": MANIFEST})
        if status == http.client.OK and headers.get("docker-content-digest") == image.digest:
            return
        for digest, blob in image.blobs.items():
            self._push_blob(repository, digest, blob)
        self._expect(http.client.CREATED, "PUT", path, image.manifest, {"Content-Type": MANIFEST})

    def _push_blob(self, repository: str, digest: str, blob: bytes) -> None:
        status, _, _ = self._ask("HEAD", f"/v2/{repository}/blobs/{digest}")
        if status == http.client.OK:
            return
        uploads = f"/v2/{repository}/blobs/uploads/"
        headers = self._expect(http.client.ACCEPTED, "POST", uploads)
        # The registry may name itself in full, by an address that is not ours; only the path matters.
        location = urlsplit(headers.get("location", ""))
        query = f"{location.query}&digest={digest}" if location.query else f"digest={digest}"
        stream = {"Content-Type": "application/octet-stream"}
        self._expect(http.client.CREATED, "PUT", f"{location.path}?{query}", blob, stream)

    def _expect(
        self, wanted: int, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> dict[str, str]:
        status, answer, text = self._ask(method, path, body, headers)
        if status != wanted:
            said = text.decode(errors="replace").strip()
            raise LabError(f"the registry answered {status} to {method} {path}: {said}")
        return answer

    def _ask(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(self._address, timeout=TIMEOUT)
        try:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            answer = {name.lower(): value for name, value in response.getheaders()}
            return response.status, answer, response.read()
        except (OSError, http.client.HTTPException) as error:
            raise LabError(f"the registry {self._address} does not answer: {error}") from error
        finally:
            connection.close()


def _base_layer(programs: Programs) -> bytes:
    busybox = programs.pick(BUSYBOX, ("**/bin/busybox",))
    links: dict[str, bytes | str] = {f"usr/bin/{applet}": "busybox" for applet in APPLETS.split()}
    merged: dict[str, bytes | str] = {name: f"usr/{name}" for name in ("bin", "lib", "lib64", "sbin")}
    places = {f"usr/{name}": _DIRECTORY for name in ("bin", "lib", "lib64", "sbin")} | {"tmp": _DIRECTORY}
    return _tar({**ACCOUNTS, **places, **links, **merged, **busybox})


def _program_layer(programs: Programs, layer: str) -> bytes:
    content: dict[str, bytes | str] = {}
    for package, patterns in PROGRAMS[layer].items():
        content |= programs.pick(package, patterns)
    return _tar(content)


def _own_layer(name: str, generation: str) -> bytes:
    content: dict[str, bytes | str] = {"usr/share/polis/generation": generation.encode() + b"\n"}
    for path in (STANDINS / name).rglob("*"):
        if path.is_file():
            content[_merged(path.relative_to(STANDINS / name).as_posix())] = path.read_bytes()
    return _tar(content)


def _ballast_layer(name: str) -> bytes:
    source = random.Random(f"polis-{name}")  # noqa: S311 - the same bytes every time are what is wanted
    return _tar({"usr/share/polis/ballast": source.randbytes(BALLAST + source.randrange(BALLAST))})


_DIRECTORY: Final = ""
"""In a layer's content: neither a file's bytes nor a link's target."""


def _tar(content: Mapping[str, bytes | str]) -> bytes:
    """Return a layer: directories as needed, files executable when they start like a program, times and owners 0."""
    entries = dict(content)
    for name in content:
        for parent in Path(name).parents[:-1]:
            entries.setdefault(parent.as_posix(), _DIRECTORY)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in sorted(entries):
            value = entries[name]
            info = tarfile.TarInfo(name)
            data = b""
            if isinstance(value, bytes):
                data, info.size = value, len(value)
                info.mode = 0o755 if value.startswith((b"#!", b"\x7fELF")) else 0o644
            elif value:
                info.type, info.linkname, info.mode = tarfile.SYMTYPE, value, 0o777
            else:
                info.type, info.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def _merged(path: str) -> str:
    """Move a path below /usr where the root has only links; packages and releases disagree about it."""
    return f"usr/{path}" if path.split("/", 1)[0] in {"bin", "lib", "lib64", "sbin"} else path


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _run(argv: Sequence[str], *, cwd: Path | None) -> str:
    if shutil.which(argv[0]) is None:
        raise LabError(f"{argv[0]} is not installed: the stand-ins are made from Debian packages")
    done = subprocess.run(argv, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LabError(f"{' '.join(argv)} failed:\n{done.stderr.strip()}")
    return done.stdout
