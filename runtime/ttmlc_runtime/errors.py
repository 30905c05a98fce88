"""The exceptions that a user of the runtime may want to catch."""

from __future__ import annotations


class RuntimeFault(Exception):
    """The base of them all."""


class BackendError(RuntimeFault):
    """The device or its library is not to be had, or cannot do what is asked."""


class ConfigError(RuntimeFault, ValueError):
    """A config does not fit the model: a wrong value, an unknown key, a requirement that does not hold."""


class InputError(RuntimeFault, ValueError):
    """What a model was called with does not fit it."""


class AutogradError(RuntimeFault):
    """Gradients cannot be computed: nothing was recorded, or what was recorded no longer holds."""


class WeightsError(RuntimeFault):
    """A checkpoint cannot be read or written, or does not fit the model.

    Where tensors were compared with parameters, ``report`` is the whole comparison: a
    ``ttmlc_runtime.weights.LoadReport``.
    """

    def __init__(self, message: str, report: object = None) -> None:
        super().__init__(message)
        self.report = report
