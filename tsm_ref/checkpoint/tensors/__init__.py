"""Files of named tensors: PyTorch, Paddle, safetensors.

Read in this order; each knows only those above it.

=================  =============================================================================
``files``          what all of them have in common: names, shapes, values on request
``pickle_names``   what a pickle may name, and what stands for it here
``pickles``        a walker over opcodes that calls nothing
``states``         the sets of tensors in a tree of containers, and what was passed over
``mmengine``       the configuration that MMEngine keeps beside the weights, as facts
``epic_kitchens``  the settings that EPIC-Kitchens' action models keep beside theirs
``torch``          ``.pth``, ``.pth.tar`` and ``.pdparams``: the pickle and its storages
``renaming``       how the names of each family are turned into ours
``names``          whose names they are, translated into ours
``wrappers``       which set of a file is a network, and what wraps its names
``file_names``     what MIT, MMAction2 and PaddleVideo tell in names of files and folders
``fitting``        what the readers of all families share: a network that tensors fit into
``inception_nets`` BNInception by its names and shapes
``mobile_nets``    MobileNets, MobileOne and PP-LCNet by their names and shapes
``pulse_nets``     networks of a pulse by theirs
``residual_nets``  ResNets by theirs
``networks``       the network that has these names and shapes
``architectures``  names, network and profile together, as a `Checkpoint`
``safetensors``    the same for safetensors files, and ours among them
``archives``       ``.npz``, exported programs, shards, and archives around a model
``plain_hdf5``     a state dict in HDF5
=================  =============================================================================
"""
