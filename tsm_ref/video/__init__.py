"""Video in: decoding (PyAV, imported only when used), sampling, resizing and preprocessing."""

from tsm_ref.video.camera import Camera
from tsm_ref.video.decode import VideoFile, frames, packet_times, probe, read_frames, scan
from tsm_ref.video.pipe import Pipe
from tsm_ref.video.resize import resize_opencv, resize_pil
from tsm_ref.video.sampling import SAMPLERS, Windows, frame_times, sliding_windows
from tsm_ref.video.source import DecodedFrames, Frame, FrameSource, VideoInfo
from tsm_ref.video.transforms import PRESETS, normalize, preprocess, resize_and_crop

__all__ = [
    "PRESETS",
    "SAMPLERS",
    "Camera",
    "DecodedFrames",
    "Frame",
    "FrameSource",
    "Pipe",
    "VideoFile",
    "VideoInfo",
    "Windows",
    "frame_times",
    "frames",
    "normalize",
    "packet_times",
    "preprocess",
    "probe",
    "read_frames",
    "resize_and_crop",
    "resize_opencv",
    "resize_pil",
    "scan",
    "sliding_windows",
]
