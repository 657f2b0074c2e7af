"""The diagonal of the Hessian, for Optimal Brain Damage (LeCun, Denker & Solla 1989): what a weight's removal costs.

Of the squared error of a trained net's outputs, in the Gauss-Newton form: h(w) is the mean over images of the squared
gradient of a random combination of the outputs. It needs no labels, and does not vanish where the loss is at its least.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pruning.errors import PruningError
from pruning.modes import all_gradients, evaluating


def diagonal_hessian(model: nn.Module, images: Tensor, seed: int = 0) -> dict[str, Tensor]:
    """Parameter name -> its diagonal, of the parameter's shape; one backward pass an image.

    Args:
        model: left as it was, gradients included.
        images: (B, C, H, W) representative inputs; some hundred.
        seed: of the combinations of outputs.
    """
    names, parameters = zip(*model.named_parameters(), strict=True)
    sums = [torch.zeros_like(parameter) for parameter in parameters]
    generator = torch.Generator().manual_seed(seed)
    with evaluating(model), all_gradients(model):
        for image in images.to(parameters[0].device).split(1):
            answer = one_output(model(image))  # (1, outputs)
            direction = torch.randn(answer.shape, generator=generator).to(answer)
            gradients = torch.autograd.grad(answer, parameters, direction, allow_unused=True)
            for total, gradient in zip(sums, gradients, strict=True):
                if gradient is not None:
                    total.addcmul_(gradient, gradient, value=1 / len(images))
    return dict(zip(names, sums, strict=True))


def one_output(answer: Any) -> Tensor:
    """What a model gives, which scores that look at images need to be one tensor; PruningError where it is not."""
    if not isinstance(answer, Tensor):
        raise PruningError(
            f"The model gives a {type(answer).__name__}; scores that look at images need one that gives a single "
            "tensor: wrap it in a module that does."
        )
    return answer


def obd_scores(weights: Mapping[str, Tensor], hessian: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """h * w^2 / 2 of each weight, by name: squared units of the output; for `weights.masks.make_masks`."""
    return {name: hessian[name] * weight.detach().square() / 2 for name, weight in weights.items()}
