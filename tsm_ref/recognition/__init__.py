"""A video to predictions, and predictions to a table for people or JSON for programs.

::

    recognize   decode, sample, preprocess, run, average, label: a `Recognition`
    asked       other windows, clips and crops than the profile says
    answers     what each head of the network says: best classes, labels, timeline
    windows     a long video in sliding windows, and their timeline of segments
    verdict     which of the windows of several lengths speaks for each moment
    cutter      the frames of sliding windows, while they are decoded
    light       windows in which the light changes, or that show nothing
    bars        windows whose picture stands between black bars
    stopwatch   where the time goes, stage by stage
    inputs      what a model takes: pictures, optical flow, or something else
    room        whether the clips of a profile have room in memory
    streams     two networks of one video, of pictures and of optical flow
    features    what the network's head reads of a video, for every clip or window
    render      the table and the JSON, which ``recognition.schema.json`` describes

>>> from tsm_ref.checkpoint import weights_folder
>>> from tsm_ref.model import load
>>> clip = weights_folder() / "samples" / "pan_left.mp4"
>>> recognize(load("camera-motion", engine="numpy"), clip).predictions[0].label
'pan left'
"""

from tsm_ref.recognition.answers import Answer, Prediction
from tsm_ref.recognition.asked import sampled
from tsm_ref.recognition.features import ClipFeatures, as_npz, features_of, views_of
from tsm_ref.recognition.inputs import check_classifies, sees_flow
from tsm_ref.recognition.recognize import Recognition, recognize
from tsm_ref.recognition.render import as_json, as_table
from tsm_ref.recognition.streams import check_streams, recognize_streams
from tsm_ref.recognition.windows import Segment

__all__ = [
    "Answer",
    "ClipFeatures",
    "Prediction",
    "Recognition",
    "Segment",
    "as_json",
    "as_npz",
    "as_table",
    "check_classifies",
    "check_streams",
    "features_of",
    "recognize",
    "recognize_streams",
    "sampled",
    "sees_flow",
    "views_of",
]
