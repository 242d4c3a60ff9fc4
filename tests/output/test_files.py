"""A file or folder has its name only when it is whole."""

import os
import stat

import pytest

from verl_egrsd.output.files import completed, completed_folder, write_completed


def test_a_file_gets_its_name_when_the_block_ends(tmp_path):
    path = tmp_path / "new" / "card.json"
    with completed(path) as temporary:
        temporary.write_text("{}")
        assert not path.exists()
    assert path.read_text() == "{}"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_after_an_error_the_file_is_the_one_before(tmp_path, error):
    path = tmp_path / "card.json"
    write_completed(path, "before")
    with pytest.raises(error), completed(path) as temporary:  # noqa: PT012
        temporary.write_text("half")
        raise error
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_text_becomes_utf_8_and_bytes_stay_as_they_are(tmp_path):
    write_completed(tmp_path / "a", "é")
    write_completed(tmp_path / "b", b"\xff")
    assert ((tmp_path / "a").read_bytes(), (tmp_path / "b").read_bytes()) == ("é".encode(), b"\xff")


def test_a_folder_gets_its_name_when_the_block_ends_and_never_replaces_another(tmp_path):
    folder = tmp_path / "new" / "pages"
    with completed_folder(folder) as temporary:
        (temporary / "index.html").touch()
        assert not folder.exists()
    assert [path.name for path in folder.iterdir()] == ["index.html"]
    assert list(folder.parent.iterdir()) == [folder]
    with pytest.raises(FileExistsError, match="pages exists already"), completed_folder(folder):
        pass


def test_after_an_error_nothing_is_left_of_a_folder(tmp_path):
    with pytest.raises(RuntimeError), completed_folder(tmp_path / "pages"):
        raise RuntimeError
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
def test_files_and_folders_have_the_users_umask(tmp_path, umask):
    previous = os.umask(umask)
    try:
        write_completed(tmp_path / "report.json", "{}")
        with completed_folder(tmp_path / "pages") as folder:
            (folder / "index.html").touch()
    finally:
        os.umask(previous)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    file = 0o666 & ~umask
    assert modes == {"report.json": file, "pages": 0o777 & ~umask, "index.html": file}
