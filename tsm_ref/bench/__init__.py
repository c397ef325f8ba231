"""Speed beside other runtimes, honestly measured: ``python -m tsm_ref.bench``.

::

    workloads   the networks that are timed, their inputs and what they must answer
    frames      a network as other runtimes see it: pictures in a batch, shifts as slices
    formats     that network as files: ONNX, ncnn (tflite, torch_module: TensorFlow Lite, PyTorch)
    export      writes the file that each runtime opens
    own         a model file of one's own, beside ONNX Runtime where it is an ONNX
    ours        our engines, opened as a user opens them
    peers       the other runtimes, each as one function that opens a network
    worker      one measurement, in a process of its own
    runs        interleaved rounds of workers, and what their figures amount to
    latency     how long single frames take, of one stream and of many
    precisions  int8 beside float32 and bfloat16, speed beside accuracy
    precision_runs  their files, and one measurement of one of them
    opening     an engine in a precision, in a process of its own, whose memory is measured
    clips       video files from end to end, beside PyAV that only decodes
    clip_peer   the same files by PyAV, OpenCV and ONNX Runtime
    report      the table and the JSON document
    paper       the measurements of the paper, beside its numbers
    roofline    the limits of this machine, times per layer, a plot

Every (engine, model) pair runs in fresh processes, pinned to the same cores, its rounds interleaved
with those of the others, so that what slows the machine slows everyone. An engine is timed only
after its answer has been compared with float64. Only ratios within one run mean anything.
"""
