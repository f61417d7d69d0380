"""How good a model is."""

from __future__ import annotations

from typing import Any

from examples.deploy_model.training import Images


def accuracy(model: Any, images: Images) -> float:
    """The share of IMAGES that MODEL reads right, from 0 to 1."""
    return share_right(model.predict(images.pixels), images)


def share_right(answers: Any, images: Images) -> float:
    """The share of ANSWERS that are right, one to each of IMAGES, rounded as it is shown."""
    right = sum(answer == digit for answer, digit in zip(answers, images.digits, strict=True))
    return round(int(right) / len(images), 4)
