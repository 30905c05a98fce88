"""Fetch what the examples train on into the user's cache: film reviews, and prose."""

from __future__ import annotations

import sys

from finetuning.data import REVIEWS
from prose.data import BIBLE
from training.archives import NoDataError


def main() -> None:
    """Fetch all that can be had; fail where something cannot."""
    wrong = []
    for shipped in (REVIEWS, BIBLE):
        try:
            shipped.fetch()
        except NoDataError as error:
            wrong.append(str(error))
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
