import errno
import hashlib
import socket
from types import SimpleNamespace

import pytest
from range_server import range_server

from nnunet_attention.errors import CommandError
from nnunet_attention.msd import download as module
from nnunet_attention.msd.download import download

CHUNK = 65536
CONTENT = bytes(range(256)) * 1240  # 4.8 chunks
MD5 = hashlib.md5(CONTENT).hexdigest()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with range_server() as served:
        served.files["a.tar"] = CONTENT
        yield served


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_file_arrives_whole_and_nothing_else_stays(server, tmp_path):
    seen = []
    target = tmp_path / "new" / "a.tar"
    download(f"{server.url}/a.tar", target, MD5, lambda *step: seen.append(step))
    assert target.read_bytes() == CONTENT
    assert names(target.parent) == ["a.tar"]
    assert seen[0] == (0, len(CONTENT))
    assert seen[-1] == (len(CONTENT), len(CONTENT))


def test_dropped_connections_are_continued_where_they_broke(server, tmp_path):
    server.drop_after = 2 * CHUNK
    download(f"{server.url}/a.tar", tmp_path / "a.tar", MD5, waits_seconds=(0,))
    assert (tmp_path / "a.tar").read_bytes() == CONTENT
    assert server.asked == [None, "bytes=131072-", "bytes=262144-"]


def test_a_later_call_continues_an_earlier_one(server, tmp_path):
    url, target = f"{server.url}/a.tar", tmp_path / "a.tar"
    server.drop_after = 2 * CHUNK
    with pytest.raises(CommandError, match=r"0\.1 MB are kept; run the command again"):
        download(url, target, MD5, waits_seconds=())
    assert names(tmp_path) == ["a.tar.part", "a.tar.part.json"]
    server.drop_after = None
    download(url, target, MD5)
    assert target.read_bytes() == CONTENT
    assert server.asked == [None, "bytes=131072-"]


def test_server_without_ranges_sends_all_again(server, tmp_path):
    url, target = f"{server.url}/a.tar", tmp_path / "a.tar"
    server.drop_after = 2 * CHUNK
    with pytest.raises(CommandError):
        download(url, target, MD5, waits_seconds=())
    server.drop_after, server.ranges = None, False
    download(url, target, MD5)
    assert target.read_bytes() == CONTENT


def test_file_that_changed_there_is_begun_anew(server, tmp_path):
    url, target = f"{server.url}/a.tar", tmp_path / "a.tar"
    server.drop_after = 2 * CHUNK
    with pytest.raises(CommandError):
        download(url, target, waits_seconds=())
    server.drop_after, server.files["a.tar"] = None, CONTENT[::-1]
    download(url, target)
    assert target.read_bytes() == CONTENT[::-1]


def test_part_of_another_address_is_not_continued(server, tmp_path):
    server.files["b.tar"] = CONTENT[::-1]
    server.drop_after = 2 * CHUNK
    with pytest.raises(CommandError):
        download(f"{server.url}/a.tar", tmp_path / "x", waits_seconds=())
    server.drop_after = None
    download(f"{server.url}/b.tar", tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == CONTENT[::-1]
    assert server.asked[-1] is None


def test_connection_that_always_drops_at_the_same_place_is_given_up(server, tmp_path):
    server.ranges, server.drop_after = False, 2 * CHUNK
    with pytest.raises(CommandError, match="cannot be downloaded"):
        download(f"{server.url}/a.tar", tmp_path / "a.tar", waits_seconds=(0, 0))
    assert len(server.asked) == 3


def test_wrong_sum_is_named_and_removed(server, tmp_path):
    with pytest.raises(CommandError, match=f"is {MD5}, wanted {'0' * 32}; it was removed"):
        download(f"{server.url}/a.tar", tmp_path / "a.tar", "0" * 32)
    assert names(tmp_path) == []


def test_part_that_is_complete_is_only_checked(server, tmp_path):
    url, target = f"{server.url}/a.tar", tmp_path / "a.tar"
    server.drop_after = 2 * CHUNK
    with pytest.raises(CommandError):
        download(url, target, waits_seconds=())
    (tmp_path / "a.tar.part").write_bytes(CONTENT)
    asked = len(server.asked)
    download(url, target, MD5)
    assert target.read_bytes() == CONTENT
    assert len(server.asked) == asked


def test_part_longer_than_the_file_is_begun_anew(server, tmp_path):
    url, target = f"{server.url}/a.tar", tmp_path / "a.tar"
    server.drop_after = 2 * CHUNK
    with pytest.raises(CommandError):
        download(url, target, waits_seconds=())
    (tmp_path / "a.tar.part").write_bytes(CONTENT * 2)
    server.drop_after = None
    download(url, target, MD5, waits_seconds=(0,))
    assert target.read_bytes() == CONTENT


def test_server_that_does_not_say_a_size_is_trusted_to_the_sum(server, tmp_path):
    server.sends_size = False
    download(f"{server.url}/a.tar", tmp_path / "a.tar", MD5)
    server.drop_after = 2 * CHUNK
    with pytest.raises(CommandError, match="MD5"):
        download(f"{server.url}/a.tar", tmp_path / "b.tar", MD5)


@pytest.mark.parametrize(("status", "said"), [(404, "404 Not Found"), (403, "403 Forbidden")])
def test_refusal_is_told_at_once(server, tmp_path, status, said):
    server.status = status
    with pytest.raises(CommandError, match=said):
        download(f"{server.url}/a.tar", tmp_path / "a.tar")
    assert len(server.asked) == 1


def test_no_connection_is_one_honest_line(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/a.tar"
        with pytest.raises(CommandError, match="Connection refused; run the command") as caught:
            download(url, tmp_path / "a.tar")
    assert "\n" not in str(caught.value)
    assert "--from" in str(caught.value)


def test_full_disk_is_named_before_anything_is_received(server, tmp_path, monkeypatch):
    monkeypatch.setattr(module.shutil, "disk_usage", lambda folder: SimpleNamespace(free=1))
    with pytest.raises(CommandError, match="make room"):
        download(f"{server.url}/a.tar", tmp_path / "a.tar")


def test_disk_that_fills_on_the_way_keeps_what_is_there(server, tmp_path, monkeypatch):
    def fail(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "_append", fail)
    with pytest.raises(CommandError, match="left on device; what has been downloaded is kept"):
        download(f"{server.url}/a.tar", tmp_path / "a.tar")
    assert names(tmp_path) == ["a.tar.part", "a.tar.part.json"]
