"""A sampling calorimeter in Geant4 itself, through geant4-pybind."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .detector import geant4_calorimeter

__all__ = ["geant4_calorimeter"]


def __getattr__(name: str) -> Any:
    # Lazy, because the process in which Geant4 runs imports this package, too, and needs no torch.
    if name in __all__:
        from . import detector

        return getattr(detector, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
