"""Field-coded H.264, which no encoder at hand writes: two packets a picture, by our own bytes.

Every macroblock is stored as it is (I_PCM), so a slice is its header and samples. Source: ITU-T
H.264, 7.3.2.1 (sequence), 7.3.2.2 (picture), 7.3.3 (slice header), 7.3.5 (macroblock).
"""

from fractions import Fraction
from pathlib import Path

import av

ACROSS, DOWN = 2, 4
"""Macroblocks of 16x16 of a frame; a field has half as many rows of them."""


class Bits:
    """Bits that are written one after the other."""

    def __init__(self) -> None:
        self.text = ""

    def u(self, count: int, value: int) -> None:
        self.text += f"{value:0{count}b}"

    def ue(self, *values: int) -> None:
        """Exp-Golomb codes (9.1)."""
        for value in values:
            code = f"{value + 1:b}"
            self.text += "0" * (len(code) - 1) + code

    def align(self) -> None:
        self.text += "0" * (-len(self.text) % 8)

    def unit(self, head: int) -> bytes:
        """A NAL unit with its start code; zeros that would look like one are broken up (7.4.1)."""
        self.u(1, 1)
        self.align()
        body = int(self.text, 2).to_bytes(len(self.text) // 8, "big")
        escaped, zeros = bytearray(), 0
        for byte in body:
            if zeros >= 2 and byte <= 3:
                escaped.append(3)
                zeros = 0
            escaped.append(byte)
            zeros = zeros + 1 if byte == 0 else 0
        return b"\0\0\0\1" + bytes([head]) + bytes(escaped)


def parameters() -> bytes:
    """A sequence of frames or fields, and a picture without anything special."""
    sequence = Bits()
    sequence.u(24, 0x4D0028)  # main profile, level 4
    sequence.ue(0, 0, 2, 1)  # id, 4-bit frame_num, order of output is order of decoding, 1 frame
    sequence.u(1, 0)
    sequence.ue(ACROSS - 1, DOWN // 2 - 1)
    sequence.u(6, 0b001000)  # fields, no adaptive ones, direct_8x8, no cropping, no VUI
    picture = Bits()
    picture.ue(0, 0)
    picture.u(2, 0)
    picture.ue(0, 0, 0)
    picture.u(3, 0)
    picture.ue(0, 0, 0)  # three quantisers, as signed zeros
    picture.u(3, 0)
    # direct_8x8_inference must be 1 with fields
    sequence.text = sequence.text[:-6] + "001000"
    return sequence.unit(0x67) + picture.unit(0x68)


def field(number: int, bottom: bool) -> bytes:
    """One field, all of it grey of the brightness `number`; the first field is an IDR picture."""
    idr = not bottom
    bits = Bits()
    bits.ue(0, 7, 0)  # first macroblock, I slice, picture parameters
    bits.u(4, 0)
    bits.u(2, 0b10 | bottom)
    if idr:
        bits.ue(number % 2)
        bits.u(2, 0)
    else:
        bits.u(1, 0)
    bits.ue(0)  # slice_qp_delta
    for _ in range(ACROSS * DOWN // 2):
        bits.ue(25)  # I_PCM
        bits.align()
        for value, count in ((number % 200 + 20, 256), (128, 128)):
            bits.u(8 * count, int.from_bytes(bytes([value]) * count, "big"))
    return bits.unit(0x65 if idr else 0x61)


def field_coded(path: Path, pictures: int, rate: int = 25) -> Path:
    """A file of `pictures` frames, each in two packets that are half a frame apart."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream("h264", rate=2 * rate)
        stream.width, stream.height, stream.pix_fmt = 16 * ACROSS, 16 * DOWN, "yuv420p"
        for number in range(2 * pictures):
            data = field(number // 2, bool(number % 2))
            packet = av.Packet(parameters() + data if number % 2 == 0 else data)
            packet.stream, packet.time_base = stream, Fraction(1, 2 * rate)
            packet.pts = packet.dts = number
            packet.duration = 1
            packet.is_keyframe = number % 2 == 0
            output.mux(packet)
    return path
