"""Files of named tensors: PyTorch, Paddle, safetensors.

Read in this order; each knows only those above it.

=================  =============================================================================
``files``          what all of them have in common: names, shapes, values on request
``pickle_names``   what a pickle may name, and what stands for it here
``pickles``        a walker over opcodes that calls nothing
``states``         the sets of tensors in a tree of containers, and what was passed over
``mmengine``       what MMEngine and MMCV keep beside the weights
``torch``          ``.pth``, ``.pth.tar`` and ``.pdparams``: the pickle and its storages
``names``          whose names they are, translated into ours
``wrappers``       which set of tensors of a file is a network, and what wraps its names
``file_names``     what the names of files and folders tell
``networks``       the network that has these names and shapes
``architectures``  names, network and profile together, as a `Checkpoint`
``safetensors``    the same for safetensors files, and ours among them
=================  =============================================================================
"""
