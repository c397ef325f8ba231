"""A video to the input of a network: decode, sample, resize, crop, normalise.

Read in this order; each knows only those above it. PyAV is imported by ``decode`` alone, when it is
used.

::

    source       a frame, a source of frames, what is known of a file
    sampling     which frames a network sees: numbers to numbers
    planes       pictures as decoders leave them, and what they are in red, green, blue
    resize       bilinear resizing, equal bit for bit to Pillow and to OpenCV
    transforms   a frame to its views, and views to the numbers that a network expects
    log          what FFmpeg only logs, file by file
    pictures     how a decoded picture is turned for display, and what it loses as 8-bit RGB
    boxes        the boxes of an MP4 file, to see that it lies
    clock        the second at which each picture is shown, whatever its timestamps say
    containers   what a file must look like from outside before a decoder sees it
    captures     where captures of a broadcast begin, and which flags of damage are believed
    delays       animations that do not say how long their pictures are shown
    kept         what was read of a file while it was looked through
    decode       files to frames, one at a time
    pipe         the same from a pipe
    camera       the same from a camera
    sparse       which packets must be decoded for a few pictures of a long file
    surveys      how many pictures a file holds, and when each is shown
    clips        videos that can be looked through, and then read again
    stills       folders of pictures, animated WebP and arrays, as clips
    flow         folders of flow images, and the optical flow of other clips
    ahead        decoding in another thread, while the last frame is still used
    reading      the wanted frames of a clip, decoded once each
"""

from tsm_ref.video.ahead import Ahead
from tsm_ref.video.camera import NETWORK, Camera, NetworkSource, is_address
from tsm_ref.video.clips import Clip, FileClip
from tsm_ref.video.clock import Clock, Timeline
from tsm_ref.video.decode import VideoFile, frames
from tsm_ref.video.flow import METHODS, RED_GREEN, open_flow
from tsm_ref.video.pipe import Pipe
from tsm_ref.video.reading import Small, read_frames, read_wanted, surveyed, updated
from tsm_ref.video.resize import resize_opencv, resize_pil
from tsm_ref.video.sampling import SAMPLERS, Windows, frame_times, sliding_windows
from tsm_ref.video.source import DecodedFrames, Frame, FrameSource, Repair, VideoInfo
from tsm_ref.video.stills import is_frames, open_clip
from tsm_ref.video.surveys import Mistaken, Survey, packet_times, probe, survey
from tsm_ref.video.transforms import PRESETS, normalize, preprocess, resize_and_crop

__all__ = [
    "METHODS",
    "NETWORK",
    "PRESETS",
    "RED_GREEN",
    "SAMPLERS",
    "Ahead",
    "Camera",
    "Clip",
    "Clock",
    "DecodedFrames",
    "FileClip",
    "Frame",
    "FrameSource",
    "Mistaken",
    "NetworkSource",
    "Pipe",
    "Repair",
    "Small",
    "Survey",
    "Timeline",
    "VideoFile",
    "VideoInfo",
    "Windows",
    "frame_times",
    "frames",
    "is_address",
    "is_frames",
    "normalize",
    "open_clip",
    "open_flow",
    "packet_times",
    "preprocess",
    "probe",
    "read_frames",
    "read_wanted",
    "resize_and_crop",
    "resize_opencv",
    "resize_pil",
    "sliding_windows",
    "survey",
    "surveyed",
    "updated",
]
