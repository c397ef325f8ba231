import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsm_ref.video.boxes import MAX_UNLISTED, Box, boxes, promised_end, unlisted_samples


def box(kind: bytes, body: bytes, size: int | None = None) -> bytes:
    return (len(body) + 8 if size is None else size).to_bytes(4, "big") + kind + body


def words(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(4, "big") for number in numbers)


def inside(kinds: list[bytes], body: bytes) -> bytes:
    for kind in reversed(kinds):
        body = box(kind, body)
    return body


TABLE = [b"moov", b"trak", b"mdia", b"minf", b"stbl"]


def claimed(data: bytes) -> int:
    return unlisted_samples(io.BytesIO(data), len(data))


def test_sizes_of_32_bits_of_64_bits_and_to_the_end() -> None:
    large = words(1) + b"mdat" + (20).to_bytes(8, "big") + b"data"
    data = box(b"ftyp", b"isom") + large + box(b"free", b"rest", size=0)
    assert list(boxes(io.BytesIO(data), 0, len(data))) == [
        Box(b"ftyp", 8, 12),
        Box(b"mdat", 28, 32),
        Box(b"free", 40, 44),
    ]
    assert promised_end(io.BytesIO(data), len(data)) == 44


@pytest.mark.parametrize("size", [2, 7])
def test_an_impossible_size_ends_the_walk(size: int) -> None:
    data = box(b"ftyp", b"isom") + box(b"mdat", b"", size=size) + box(b"free", b"")
    assert [found.kind for found in boxes(io.BytesIO(data), 0, len(data))] == [b"ftyp"]


def test_an_index_that_lists_every_sample_is_believed_by_its_length() -> None:
    assert claimed(inside(TABLE, box(b"stsz", words(0, 0, 2**31)))) == 0


def test_samples_of_one_size_need_room_in_the_file() -> None:
    too_many = MAX_UNLISTED + 1
    assert claimed(inside(TABLE, box(b"stsz", words(0, 1, too_many)))) == too_many
    assert claimed(inside(TABLE, box(b"stsz", words(0, 1, MAX_UNLISTED)))) == 0
    index = inside(TABLE, box(b"stsz", words(0, 1, too_many)))
    assert unlisted_samples(io.BytesIO(index), too_many) == 0


def test_a_fragment_lists_its_samples_or_has_few() -> None:
    bomb = words(0x000001, MAX_UNLISTED + 1, 0)
    assert claimed(inside([b"moof", b"traf"], box(b"trun", bomb))) == MAX_UNLISTED + 1
    listed = words(0x000201, MAX_UNLISTED + 1, 0)
    assert claimed(inside([b"moof", b"traf"], box(b"trun", listed))) == 0


@given(st.binary(max_size=300))
def test_any_bytes_can_be_walked(data: bytes) -> None:
    assert promised_end(io.BytesIO(data), len(data)) >= 0
    assert claimed(inside(TABLE, data)) >= 0
