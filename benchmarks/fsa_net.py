"""FSA-Net, the published network of the same input size that others are held against."""

from collections.abc import Callable
from pathlib import Path

import numpy as np


def load_fsa_net(folder: Path) -> Callable[[np.ndarray], np.ndarray]:
    """A function from uint8 RGB images (N, 64, 64, 3) to poses (N, 3) in degrees.

    Yang et al., CVPR 2019: the mean of its two ONNX exports, which take 64x64 BGR, (x - 127.5) / 128.
    """
    import onnxruntime

    paths = sorted(folder.glob("fsanet-*.onnx"))
    if len(paths) != 2:
        raise SystemExit(f"{folder}: expected the two FSA-Net files fsanet-*.onnx, found {len(paths)}")
    nets = [onnxruntime.InferenceSession(str(path)) for path in paths]

    def read(images: np.ndarray) -> np.ndarray:
        batch = ((images[..., ::-1].astype(np.float32) - 127.5) / 128).transpose(0, 3, 1, 2)  # (N, 3, 64, 64) BGR
        poses = [[net.run(None, {net.get_inputs()[0].name: x[None]})[0][0] for x in batch] for net in nets]  # pyright: ignore[reportIndexIssue]
        return np.mean(poses, axis=0)

    return read
