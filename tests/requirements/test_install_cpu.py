"""The CPU set installs where pip knows no index with torch's CPU build (stand-ins on disk, no network)."""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

pytestmark = pytest.mark.stack

SCRIPT = Path(__file__).parents[2] / "requirements" / "install_cpu.sh"
PYTORCH = "https://download.pytorch.org/whl/cpu"
SETUP = "[metadata]\nname = stand_in\nversion = 1\n[options]\npy_modules =\n"


def wheel(folder: Path, name: str, number: str) -> Path:
    """A wheel with nothing but its name, in the folder of a package index."""
    info = f"{name}-{number}.dist-info"
    files = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {number}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    records = [f"{path},sha256={_digest(text)},{len(text)}" for path, text in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*records, f"{info}/RECORD,,", ""])
    path = folder / name / f"{name}-{number}-py3-none-any.whl"
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in files.items():
            archive.writestr(file, text)
    link = f'<a href="{path.name.replace("+", "%2B")}">{path.name}</a>'
    (path.parent / "index.html").write_text(f"<!DOCTYPE html><html><body>{link}</body></html>")
    return path


def torch_wheel(checkout: Path, index: str) -> None:
    """Put a build of torch into an index, and its hash into the lock."""
    path = wheel(checkout.parent / index, "torch", "9.9.9+cpu")
    pin_torch(checkout, hashlib.sha256(path.read_bytes()).hexdigest())


def pin_torch(checkout: Path, digest: str) -> None:
    lock = f"# a comment\ntorch==9.9.9+cpu --hash=sha256:{digest}\n"
    (checkout / "requirements" / "cpu_torch.txt").write_text(lock)


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


@pytest.fixture
def checkout(tmp_path):
    """A checkout whose lock names one package, an index with that alone, and an environment that has pip."""
    checkout = tmp_path / "checkout"
    (checkout / "requirements").mkdir(parents=True)
    small = wheel(tmp_path / "index", "small", "1.0")
    lock = f"small==1.0 --hash=sha256:{hashlib.sha256(small.read_bytes()).hexdigest()}\n"
    (checkout / "requirements" / "cpu.lock").write_text(lock)
    pin_torch(checkout, "0" * 64)
    (checkout / "setup.cfg").write_text(SETUP)
    (checkout / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "setuptools.build_meta"\n'
    )
    text = SCRIPT.read_text()
    assert text.count(PYTORCH) == 1
    (checkout / "requirements" / SCRIPT.name).write_text(
        text.replace(PYTORCH, (tmp_path / "pytorch").as_uri())
    )
    # As if pip had been installed last, as venv does.
    venv.create(checkout / ".venv", symlinks=True)
    (packages,) = (checkout / ".venv" / "lib").glob("python*/site-packages")
    here = Path(sysconfig.get_path("purelib"))
    for name in ("pip", "setuptools", "_distutils_hack", f"setuptools-{version('setuptools')}.dist-info"):
        (packages / name).symlink_to(here / name)
    (checkout / ".venv" / "bin" / "pip").symlink_to("python")
    (checkout / "recipes").symlink_to(SCRIPT.parents[1] / "recipes")
    return checkout


def install(checkout: Path) -> subprocess.CompletedProcess[str]:
    """Run the installer where pip knows the stand-in of PyPI alone."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHON"))
    }
    index = (checkout.parent / "index").as_uri()
    environment |= {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": index, "PYTHON": sys.executable}
    command = ["bash", "requirements/install_cpu.sh"]
    return subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, timeout=120)


def installed(checkout: Path) -> set[str]:
    return {
        path.name.removesuffix(".dist-info")
        for path in checkout.glob(".venv/lib/*/site-packages/*.dist-info")
    }


def test_torch_comes_from_pytorchs_own_index_where_no_other_has_it(checkout):
    torch_wheel(checkout, "pytorch")
    wheel(checkout.parent / "pytorch", "small", "1.0")  # other bytes under a name of the lock
    done = install(checkout)
    assert done.returncode == 0, done.stderr
    assert {"torch-9.9.9+cpu", "small-1.0", "stand_in-1"} <= installed(checkout)
    assert "pip finds no torch==9.9.9+cpu in its indexes, or cannot reach them." in done.stderr
    assert "Taking it from PyTorch's own index" in done.stderr


def test_pytorchs_index_is_not_asked_where_another_has_torch(checkout):
    torch_wheel(checkout, "index")
    done = install(checkout)
    assert done.returncode == 0, done.stderr
    assert "torch-9.9.9+cpu" in installed(checkout)
    assert "PyTorch" not in done.stderr


def test_torch_with_other_bytes_is_refused(checkout):
    torch_wheel(checkout, "index")
    pin_torch(checkout, "0" * 64)
    done = install(checkout)
    assert done.returncode == 2
    assert "THESE PACKAGES DO NOT MATCH THE HASHES" in done.stderr
    assert not installed(checkout) & {"torch-9.9.9+cpu", "small-1.0", "stand_in-1"}


def test_torch_that_no_index_has_ends_the_installation_with_the_remedy(checkout):
    (checkout.parent / "pytorch").mkdir()
    done = install(checkout)
    assert done.returncode == 2
    assert "could not install torch==9.9.9+cpu from there either: name an index that has it" in done.stderr
    assert not installed(checkout) & {"small-1.0", "stand_in-1"}


def test_another_error_of_pip_is_shown_as_it_is(checkout):
    (checkout / "requirements" / "cpu_torch.txt").write_text("torch==9.9.9+cpu\nnot a requirement\n")
    done = install(checkout)
    assert done.returncode == 2
    assert "not a requirement" in done.stderr
    assert "PyTorch" not in done.stderr
