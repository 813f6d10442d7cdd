"""The functions' code in one archive: the sources, and beside them what Python makes of them."""

import contextlib
import hashlib
import importlib.util
import io
import py_compile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent

#: On the PYTHONPATH of the functions and of the API.
RUNTIME = ROOT / "dev" / "runtime"

#: What a function consists of, besides the packages that the emulator's own environment already holds.
SOURCES = ("common", "functions", "tasks")


def digest(*parts: bytes) -> str:
    joined = hashlib.sha256()
    for part in parts:
        joined.update(hashlib.sha256(part).digest())
    return joined.hexdigest()[:16]


def source_digest(root: Path = ROOT) -> str:
    """Changes with every name and content of the sources."""
    return digest(*(part for path in source_files(root) for part in (str(path).encode(), path.read_bytes())))


def archive(root: Path = ROOT) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as package:
        for path in source_files(root):
            name = path.relative_to(root).as_posix()
            package.writestr(name, path.read_bytes())
            if path.suffix == ".py" and (compiled := byte_code(path, name)):
                package.writestr(importlib.util.cache_from_source(name), compiled)
    return buffer.getvalue()


def source_files(root: Path) -> Iterator[Path]:
    for folder in SOURCES:
        found = (path for path in (root / folder).rglob("*") if "__pycache__" not in path.parts)
        yield from sorted(path for path in found if path.is_file())


def byte_code(path: Path, name: str) -> bytes | None:
    """Saves each start of a function a fifth of a second; none for a file with a mistake, which its import will show.

    It is of the kind that is not compared with its source's time, which an archive does not keep.
    """
    unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH
    with tempfile.NamedTemporaryFile() as file, contextlib.suppress(py_compile.PyCompileError):
        py_compile.compile(str(path), file.name, name, doraise=True, invalidation_mode=unchecked)
        return Path(file.name).read_bytes()
    return None
