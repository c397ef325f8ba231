"""What the paper reports, where it stands there, and why it is not what is measured here.

Source of all numbers: Lin, Gan, Han, "TSM: Temporal Shift Module for Efficient Video
Understanding", ICCV 2019 (arXiv 1811.08383).
"""

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["PARTS", "Part"]


@dataclass(frozen=True)
class Part:
    """One measurement: title, place in the paper, the numbers there, and what differs here."""

    title: str
    where: str
    reported: tuple[tuple[str, str], ...]
    differs: str


PARTS: Mapping[str, Part] = {
    "movement": Part(
        "Data movement against the share of the channels that are shifted",
        "figure 2a, section 3.2",
        (
            ("all channels shifted, processor", "up to 13.7 % of the network's time"),
            ("a small share (1/8)", "about 3 %"),
            ("network, clip", "ResNet-50, 8 frames"),
            ("processor", "Intel Xeon E5-2690"),
        ),
        "Here a shift is no step of its own: a convolution reads each channel from the frame that "
        "it comes from, so that its cost hardly grows with the share. The copies are what a shift "
        "as a step of its own would add, timed alone in NumPy on values of the same shapes: "
        "written as in the published Python code it copies every channel whatever the share, and "
        "only moved in place does its cost follow the share, as in the paper's figure.",
    ),
    "in-place": Part(
        "Residual against in-place shift",
        "figure 2b, section 3.2",
        (
            ("accuracy", "residual above in-place at every share; best at 1/4 (1/8 each way)"),
            ("in-place, all channels shifted", "2.6 points below the network without a shift"),
        ),
        "The paper compares accuracies on Kinetics; no twin with an in-place shift ships here, so "
        "that no accuracy is measured and none is claimed. What is measured is the cost: in front "
        "of the whole block the skip connection needs the shifted values, too, so that they are "
        "written out, while a residual shift is taken in by the one convolution that reads it.",
    ),
    "online": Part(
        "Offline against online: latency and memory",
        "table 5, section 4.2",
        (
            ("latency, TSN", "4.7 ms a frame"),
            ("latency, online TSM", "4.8 ms a frame"),
            ("Kinetics: TSN, offline, online TSM", "70.6, 74.1, 74.3 % top-1"),
            ("Something-Something: the same", "20.5, 47.3, 46.3 % top-1"),
        ),
        "The paper timed a GPU, this is a processor. What can be compared is the ratio of online "
        "TSM to TSN, which is the price of the state between frames. A clip at once reads the "
        "weights once for all of its frames, but answers only after the last of them. "
        "Memory is that of a whole process with its libraries. "
        "Accuracies are the paper's; none is measured here.",
    ),
    "cost": Part(
        "Cost of the backbones, and of networks that convolve in time",
        "tables 2 and 4, section 5.3",
        (
            ("TSM-ResNet-50, 8 frames", "24.3 M parameters, 33 G multiply-adds, 17.4 ms, 77.4/s"),
            ("TSM-ResNet-50, 16 frames", "24.3 M parameters, 65 G multiply-adds, 29.0 ms, 39.5/s"),
            ("ECO, 16 frames", "47.5 M parameters, 64 G multiply-adds, 30.6 ms, 45.6/s"),
            ("I3D, 32 frames, two clips", "28.0 M parameters, 153 G multiply-adds a clip"),
            (
                "I3D with non-local blocks",
                "35.3 M parameters, 306 G multiply-adds, 165.3 ms, 6.1/s",
            ),
        ),
        "Latency and throughput of the paper are of a GPU (Tesla P100), the throughput of batches "
        "of 16; here both are one clip at a time on a processor, so that one is the other's "
        "inverse. Parameters and multiply-adds depend on no machine: they differ from the paper's "
        "only by the number of classes, and ECO-Lite is the part of ECO without its 2-D branch. "
        "Each network takes turns with TSM-ResNet-50, to which its ratio is; weights are random.",
    ),
    "early": Part(
        "Early recognition",
        "figure 5, section 5.4",
        (
            ("data", "UCF101, against ECO"),
            ("after the first 10 % of the frames", "90 %, 6.6 points above the best ECO"),
        ),
        "Not UCF101: the data are clips that this command generates, and the models are the two "
        "that ship, which tell what the camera does, with the shift and without it. One frame "
        "shows no motion, so that both begin at chance, which in UCF101, where scenes give "
        "actions away, is not so; from the second frame on only the shift can know.",
    ),
}
"""The measurements by name, in the order in which they are made and shown."""
