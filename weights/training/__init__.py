"""The recipe of the camera-motion models: data, network, training, evaluation."""
