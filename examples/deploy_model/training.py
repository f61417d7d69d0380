"""The data, and the models that are trained on it: scikit-learn's handwritten digits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from sklearn.base import ClassifierMixin
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.svm import SVC

Model = Literal["svc", "forest", "logistic"]
SEED = 0


@dataclass(frozen=True)
class Images:
    """Pictures of digits, 64 pixels a row, and the digits that they show."""

    pixels: Any
    digits: Any

    def first(self, count: int) -> Images:
        """The first COUNT of them."""
        return Images(self.pixels[:count], self.digits[:count])

    def __len__(self) -> int:
        return len(self.digits)


@dataclass(frozen=True)
class Data:
    """The 1,797 pictures in three parts that share none: to train on, to evaluate on, to replay."""

    training: Images
    held_out: Images
    requests: Images


def load_data() -> Data:
    """The same three parts each time: 60 %, 20 % and 20 %."""
    pixels, digits = load_digits(return_X_y=True)
    train_x, rest_x, train_y, rest_y = train_test_split(
        pixels, digits, test_size=0.4, random_state=SEED, stratify=digits
    )
    held_x, asked_x, held_y, asked_y = train_test_split(
        rest_x, rest_y, test_size=0.5, random_state=SEED, stratify=rest_y
    )
    return Data(Images(train_x, train_y), Images(held_x, held_y), Images(asked_x, asked_y))


def fit(model: Model, images: Images) -> ClassifierMixin:
    """A MODEL trained on IMAGES. The same images give the same model."""
    return _untrained(model).fit(images.pixels, images.digits)


def _untrained(model: Model) -> ClassifierMixin:
    if model == "svc":
        return SVC(gamma=0.001)
    if model == "forest":
        return RandomForestClassifier(n_estimators=50, random_state=SEED)
    return LogisticRegression(max_iter=2000, random_state=SEED)
