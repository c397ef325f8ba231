"""Frame by frame, with what is known so far: python examples/stream.py clip.mp4."""

import sys

import tsm_ref
from tsm_ref.video import frames, preprocess

model = tsm_ref.load("camera-motion")
stream = model.stream()
for frame in frames(sys.argv[1]):
    logits = stream.step(preprocess(frame.pixels[None], model.profile.preprocess)[0, :, 0])
    if logits is not None:
        print(f"{frame.time:6.2f} s  {model.labels[logits[0].argmax()]}")
