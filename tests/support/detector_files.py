"""Small files for the detectors whose networks a user gives: they find what can be told by hand."""

import numpy as np

from mien._onnx_graph import Graph, Value
from mien.detect.detector import DetectorSettings


def red_spot_yunet(folder, *, comment=b"", **settings):
    """Return the settings of a `yunet` for images of 64 x 64 pixels that finds what is red.

    Args:
        folder: Where its file goes.
        comment: Makes another file of it, which finds the same.
        settings: More of them.
    """
    path = folder / "red_spots.onnx"
    path.write_bytes(_red_spots() + (b"\x32" + bytes([len(comment)]) + comment if comment else b""))  # doc_string
    return DetectorSettings(model_path=path, **settings)


def mean_color_ssd(folder, *, comment=b"m", **settings):
    """Return the settings of an `ssd` that finds one face where the image's mean is red.

    Args:
        folder: Where its files go.
        comment: A letter, which the file of weights calls the network.
        settings: More of them.
    """
    config, weights = folder / "a.prototxt", folder / "a.caffemodel"
    config.write_text(MEAN_COLOR_SSD)
    weights.write_bytes(b"\x0a\x01" + comment)  # a Caffe network of that name without weights
    return DetectorSettings(model_path=weights, config_path=config, **settings)


def _red_spots():
    """A network with YuNet's twelve outputs that calls an 8x8 cell a face exactly where it is red."""
    graph = Graph("red_spots")
    outputs = []
    for stride in (8, 16, 32):
        graph.add("AveragePool", ["input"], f"mean{stride}", {"kernel_shape": [stride] * 2, "strides": [stride] * 2})
        cells = (64 // stride) ** 2
        for kind, channels in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
            weight = np.zeros((channels, 3, 1, 1), np.float32)
            if kind in ("cls", "obj") and stride == 8:
                weight[0, 2] = 1 / 255  # the blob is BGR
            name = f"{kind}_{stride}"
            graph.add(
                "Conv", [f"mean{stride}", graph.constant(f"w_{name}", weight)], f"c_{name}", {"kernel_shape": [1, 1]}
            )
            graph.add("Transpose", [f"c_{name}"], f"t_{name}", {"perm": [0, 2, 3, 1]})
            shape = graph.constant(f"s_{name}", np.array([1, cells, channels], np.int64))
            graph.add("Reshape", [f"t_{name}", shape], name)
            outputs.append(Value(name, "float32", (1, cells, channels)))
    return graph.serialise([Value("input", "float32", (1, 3, 64, 64))], outputs)


def settings_of(name, folder, **change):
    """Return settings for a detector by its name, with files in `folder` where it needs some."""
    given = {"yunet": red_spot_yunet, "ssd": mean_color_ssd}
    return given[name](folder, **change) if name in given else DetectorSettings(**change)


MEAN_COLOR_SSD = """
name: "mean_colour"
input: "data"
input_shape { dim: 1 dim: 3 dim: 300 dim: 300 }
layer { name: "mean" type: "Pooling" bottom: "data" top: "mean" pooling_param { pool: AVE global_pooling: true } }
layer { name: "slice" type: "Slice" bottom: "mean" top: "bg" top: "r" slice_param { axis: 1 slice_point: 2 } }
layer { name: "zero" type: "Power" bottom: "r" top: "zero" power_param { scale: 0 shift: 0 } }
layer { name: "one" type: "Power" bottom: "r" top: "one" power_param { scale: 0 shift: 1 } }
layer { name: "score" type: "Power" bottom: "r" top: "score" power_param { scale: 0.004 shift: 0.4 } }
layer { name: "x1" type: "Power" bottom: "r" top: "x1" power_param { scale: 0 shift: 0.25 } }
layer { name: "y1" type: "Power" bottom: "r" top: "y1" power_param { scale: 0 shift: 0.5 } }
layer { name: "x2" type: "Power" bottom: "r" top: "x2" power_param { scale: 0 shift: 0.75 } }
layer { name: "found" type: "Concat" bottom: "zero" bottom: "one" bottom: "score" bottom: "x1" bottom: "y1" bottom: "x2"
  bottom: "one" top: "found" concat_param { axis: 3 } }
"""
